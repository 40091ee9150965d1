"""Autobahn's testsuite: its fuzzing client in front of the gateway, with a token; behind
it an echo server of PyPI's websockets, which is as strict. Cases 1 to 7 and 10; 9 is
about speed, 12 and 13 about an extension that is between the two ends.
"""

import json

from sockets import echo_sockets
from tools import find

# What the suite itself counts as good enough.
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def run(world, report):
    wstest = find("wstest", "autobahn/bin/wstest")
    report.version = "autobahntestsuite 25.10.1"
    spec = {
        "outdir": "autobahn",
        "servers": [
            {
                "agent": "gateway",
                "url": f"ws://127.0.0.1:{world.ports['data']}/sockets/echo",
                # It has no way to send a field of its own.
                "origin": f"http://127.0.0.1\r\nAuthorization: Bearer {world.token}",
            },
            # What goes wrong without the gateway, too, is the echo server's.
            {"agent": "alone", "url": f"ws://127.0.0.1:{world.ports['sockets']}/"},
        ],
        "cases": [f"{number}.*" for number in (1, 2, 3, 4, 5, 6, 7, 10)],
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (world.folder / "spec.json").write_text(json.dumps(spec))
    stop = echo_sockets(world.ports["sockets"])
    try:
        client = world.spawn([wstest, "-m", "fuzzingclient", "-s", "spec.json"], "fuzz", cwd=world.folder)
        client.wait(300)
        world.children.remove(client)
    finally:
        stop()
    index = world.folder / "autobahn/index.json"
    with report.case("the report"):
        results = json.loads(index.read_text())
        for case, it in results["gateway"].items():
            said = it["behavior"], it["behaviorClose"]
            alone = results["alone"][case]["behavior"], results["alone"][case]["behaviorClose"]
            if GOOD.issuperset(said) or said == alone:
                report.passed += 1
            else:
                report.failures.append(f"{case}: {said}, without the gateway {alone}")
        assert len(results["gateway"]) > 240, results.keys()
        report.passed -= 1
