"""Instructions a request, counted by callgrind: in user space only, but the same
however busy the machine is, so that bare Pingora and Portcullis can be compared
to the per cent.

callgrind writes down what it has before the requests and after them, so start and
end are left out. target/compare/profile.*.txt say where the instructions went.
"""
import re
import shutil
import signal
import subprocess

from contenders import bare_pingora
from gateway import PATH, Gateway
from load import steadily, token_file
from machine import Missing

CONNECTIONS = 8
# A processor counts `rep movsb` once, callgrind once for each byte: so it is left
# to copies larger than any here.
TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000"
VALGRIND = ["env", f"GLIBC_TUNABLES={TUNABLES}", "valgrind", "--tool=callgrind"]
# What is shown of a profile: this many instructions a request and more.
SHOWN = 100


def total(file):
    """What one file of callgrind's sums up to."""
    return int(re.search(r"^(?:summary|totals): (\d+)", file.read_text(errors="replace"), re.M)[1])


def profile(file, requests):
    """Functions with what a request spends in each itself, dearest first."""
    text = subprocess.run(
        ["callgrind_annotate", "--threshold=100", file], capture_output=True, text=True
    ).stdout
    rows = re.findall(r"^ *([\d,]+) \(([ .\d]+)%\)\s+[^:\n]*:(.*?)(?: \[.*)?$", text, re.M)
    # Functions that never return are given all that goes on below them.
    costs = [(int(count.replace(",", "")) / requests, name) for count, share, name in rows if float(share) < 50]
    return [f"{cost:10,.0f}  {name}" for cost, name in costs if cost >= SHOWN]


def dump(process):
    """Has callgrind write down what it counted, and begin at zero."""
    done = subprocess.run(
        ["callgrind_control", "--dump", str(process.pid)], capture_output=True, text=True, timeout=60
    )
    if "OK" not in done.stdout:
        raise Missing(f"callgrind_control: {done.stdout}{done.stderr}")


def counted(machine, helper, served, file, name, tokens, asked, requests):
    """Instructions a request of one server that runs under callgrind."""
    port, process = served
    # So that caches and pools are filled.
    warm = token_file(machine.folder, f"warm-{name}", PATH, tokens)
    steadily(helper, port, warm, len(tokens), 0, CONNECTIONS)
    dump(process)
    steadily(helper, port, token_file(machine.folder, name, PATH, asked), requests, 0, CONNECTIONS)
    dump(process)
    measured = file.with_name(file.name + ".2")
    file.with_name(f"profile.{name}.txt").write_text("\n".join(profile(measured, requests)) + "\n")
    return total(measured) / requests


def per_request(machine, helper, origin, store, tokens, requests, keep):
    """Rows for bare Pingora, and for Portcullis judging and refusing."""
    if not shutil.which("valgrind"):
        raise Missing("valgrind is not installed")
    keep.mkdir(parents=True, exist_ok=True)
    rows = {}
    for name, asked, how in (
        ("bare Pingora", tokens, signal.SIGINT),
        ("Portcullis, token seen before", tokens, signal.SIGTERM),
        ("Portcullis, no token", [""], signal.SIGTERM),
    ):
        slug = re.sub(r"\W+", "-", name)
        for old in keep.glob(f"callgrind.{slug}*"):
            old.unlink()
        file = keep / f"callgrind.{slug}"
        wrap = [*VALGRIND, f"--callgrind-out-file={file}"]
        if name.startswith("Portcullis"):
            gateway = Gateway(machine, origin, slug, store=store, wrap=wrap, patience=180).start()
            served = gateway.port, gateway.process
        else:
            served = bare_pingora(machine, origin, helper, wrap)
        rows[name] = counted(machine, helper, served, file, slug, tokens, asked, requests)
        machine.stop(served[1], how, patience=60)
    return rows
