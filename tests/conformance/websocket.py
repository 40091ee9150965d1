"""Autobahn's testsuite: its echo server behind the gateway, its fuzzing client in
front, with a token. Cases 1 to 7 and 10; 9 is about speed and size, 12 and 13 about
an extension that is between the two ends.
"""

import json

from tools import find

# What the suite itself counts as good enough.
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}


def run(world, report):
    wstest = find("wstest", "autobahn/bin/wstest")
    report.version = "autobahntestsuite 25.10.1"
    port, data = world.ports["sockets"], world.ports["data"]
    echo = world.spawn([wstest, "-m", "echoserver", "-w", f"ws://127.0.0.1:{port}"], "echo", cwd=world.folder)
    world.wait_for_port(port)
    spec = {
        "outdir": "autobahn",
        "servers": [{
            "agent": "gateway",
            "url": f"ws://127.0.0.1:{data}/sockets/echo",
            # It has no way to send a field of its own.
            "options": {"origin": f"http://127.0.0.1\r\nAuthorization: Bearer {world.token}"},
        }],
        "cases": [f"{number}.*" for number in (1, 2, 3, 4, 5, 6, 7, 10)],
        "exclude-cases": [],
        "exclude-agent-cases": {},
    }
    (world.folder / "spec.json").write_text(json.dumps(spec))
    try:
        client = world.spawn([wstest, "-m", "fuzzingclient", "-s", "spec.json"], "fuzz", cwd=world.folder)
        client.wait(300)
        world.children.remove(client)
    finally:
        world.stop(echo)
    index = world.folder / "autobahn/index.json"
    with report.case("the report"):
        results = json.loads(index.read_text())["gateway"]
        bad = [
            f"{case}: {it['behavior']}, close {it['behaviorClose']}" for case, it in results.items()
            if it["behavior"] not in GOOD or it["behaviorClose"] not in GOOD
        ]
        report.count(len(results) - len(bad) - 1, bad)
        assert len(results) > 290, f"only {len(results)} cases ran"
