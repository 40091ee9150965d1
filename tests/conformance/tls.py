"""TLS scanners: sslyze against Mozilla's intermediate profile, sslscan, testssl."""

import json
import re
import subprocess
import sys
from importlib.metadata import version

from report import Skip
from tools import find


def sslyze(world, report, target):
    said = subprocess.run(
        [sys.executable, "-m", "sslyze", "--mozilla_config=intermediate", target],
        capture_output=True, text=True, timeout=120,
    )
    with report.case("sslyze: Mozilla's intermediate profile"):
        verdict = said.stdout.partition("COMPLIANCE AGAINST")[2]
        # Our own authority is in nobody's list; all else must be in order.
        faults = [
            line.strip() for line in verdict.splitlines()
            if re.match(r"\s+\* ", line) and "certificate_path_validation" not in line
        ]
        assert "OK - Compliant" in verdict or (verdict and not faults), verdict or said.stderr
    for flaw in ("HEARTBLEED", "ROBOT ATTACK", "OPENSSL CCS INJECTION", "CRIME"):
        with report.case(f"sslyze: {flaw}"):
            found = re.search(rf"{flaw}.*?\n(.*?)\n\n", said.stdout, re.S | re.I)
            name = {"CRIME": "Deflate Compression"}.get(flaw, flaw)
            found = found or re.search(rf"{name}.*?\n(.*?)\n\n", said.stdout, re.S | re.I)
            assert found and "OK" in found[1], found and found[1]
    for version in ("SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1"):
        with report.case(f"sslyze: {version} is refused"):
            found = re.search(rf"{version} Cipher Suites:\n(.*?)\n\n", said.stdout, re.S)
            assert found and "rejected all" in found[1], found and found[1]


def sslscan(world, report, target):
    with report.case("sslscan"):
        program = find("sslscan")
        said = subprocess.run(
            [program, "--no-colour", target], capture_output=True, text=True, timeout=120
        ).stdout
        for version in ("SSLv2", "SSLv3", "TLSv1.0", "TLSv1.1"):
            assert re.search(rf"{version}\s+disabled", said), said
        for version in ("TLSv1.2", "TLSv1.3"):
            assert re.search(rf"{version}\s+enabled", said), said
        taken = re.findall(r"^(?:Preferred|Accepted)\s+\S+\s+(\d+) bits\s+(\S+)", said, re.M)
        weak = [name for bits, name in taken if int(bits) < 128 or not re.search("GCM|POLY1305", name)]
        assert len(taken) >= 3 and not weak, f"{weak} of {taken}"
        assert "vulnerable to heartbleed" not in said.replace("not vulnerable to heartbleed", "")
        assert "Session renegotiation not supported" in said, said


def start_testssl(world):
    """Takes a minute or two: begun first and asked last."""
    try:
        program = find("testssl")
    except Skip:
        return None
    command = [
        program, "--quiet", "--color", "0", "--warnings", "off", "-p", "-S", "-U", "-f", "-s",
        "--jsonfile", str(world.folder / "testssl.json"), f"127.0.0.1:{world.ports['tls']}",
    ]
    return world.spawn(command, "testssl", stdin=subprocess.DEVNULL)


# What it says of a certificate that a private authority made, and of what we don't do.
EXPECTED = {
    "cert_chain_of_trust", "cert_notAfter", "cert_validityPeriod", "OCSP_stapling", "cert_caIssuers",
    "cert_crlDistributionPoints", "cert_ocspURL", "cert_revocation", "DNS_CAArecord",
    "certificate_transparency", "cert_mustStapleExtension", "cert_trust", "cert_extlifeSpan",
    "cert_expirationStatus",
}


def testssl(world, report, child):
    with report.case("testssl"):
        if child is None:
            raise Skip("testssl is not installed")
        child.wait(240)
        world.children.remove(child)
        findings = json.loads((world.folder / "testssl.json").read_text())
        assert len(findings) > 40, findings
        bad = [
            f"{it['id']}: {it['severity']} {it['finding']}" for it in findings
            if it["severity"] in ("MEDIUM", "HIGH", "CRITICAL") and it["id"].split(" ")[0] not in EXPECTED
        ]
        report.count(len(findings) - len(bad) - 1)
        assert not bad, "; ".join(bad)


def run(world, report):
    report.version = f"sslyze {version('sslyze')}"
    target = f"127.0.0.1:{world.ports['tls']}"
    child = start_testssl(world)
    sslyze(world, report, target)
    sslscan(world, report, target)
    testssl(world, report, child)
