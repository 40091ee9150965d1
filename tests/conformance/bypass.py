"""bypass-url-parser: thousands of tricks with path, method and fields that have opened
something somewhere. It starts at a route that takes a token and has none, so nothing
that it sends may reach the origin, but by the public route.
"""

import re
import subprocess
from importlib.metadata import version

from tools import find


def run(world, report):
    program = find("bypass-url-parser")
    report.version = version("bypass-url-parser")
    since = len(world.upstream.seen)
    said = subprocess.run(
        [program, "-u", world.base + "/protected", "-t", "4", "-S", "0", "-o", str(world.folder / "bypass")],
        capture_output=True, text=True, timeout=300, cwd=world.folder,
    )
    told = said.stdout + said.stderr
    with report.case("it ran"):
        tried = [int(count) for count in re.findall(r"(\d+) (?:payloads|URLs|commands|curl)", told)]
        assert said.returncode == 0 and tried and max(tried) > 500, told[-1500:]
        report.count(max(tried) - 1)
    with report.case("nothing got past"):
        passed = [it for it in world.upstream.seen[since:] if not it.target.startswith("/public/")]
        assert not passed, f"{len(passed)}: {[it.head for it in passed[:3]]}"
