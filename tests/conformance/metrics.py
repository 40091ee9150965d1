"""`promtool check metrics` on what /metrics says, after some traffic."""

import subprocess
import urllib.error

from tools import find


def run(world, report):
    promtool = find("promtool", "debian/usr/bin/promtool")
    version = subprocess.run([promtool, "--version"], capture_output=True, text=True).stdout
    report.version = "promtool " + version.split()[2]
    with report.case("check metrics"):
        for token, path in [(world.token, "/any/acme/x"), ("x", "/any/acme/x"), ("x", "/nothing")]:
            try:
                world.get_with(path, token)
            except urllib.error.HTTPError:
                pass
        text = world.get(world.metrics + "/metrics")
        said = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
        assert said.returncode == 0 and not said.stderr + said.stdout, said
