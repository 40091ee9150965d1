"""bypass-url-parser: thousands of tricks with path, method and fields that have opened
something somewhere. It starts at a route that takes a token and has none, so nothing
that it sends may reach the origin, but by the public route.
"""

import re
import subprocess

from tools import find


def run(world, report):
    program = find("bypass-url-parser")
    from importlib.metadata import version

    report.version = version("bypass-url-parser")
    for path in ("/protected",):
        since = len(world.upstream.seen)
        said = subprocess.run(
            [program, "-u", world.base + path, "-t", "4", "-S", "0", "-o", str(world.folder / "bypass")],
            capture_output=True, text=True, timeout=240, cwd=world.folder,
        )
        told = said.stdout + said.stderr
        with report.case(f"{path}: it ran"):
            tried = [int(count) for count in re.findall(r"(\d+) (?:payloads|URLs|commands|curl)", told)]
            assert said.returncode == 0 and tried and max(tried) > 500, told[-1500:]
            report.count(max(tried) - 1)
        with report.case(f"{path}: nothing got past"):
            passed = [it for it in world.upstream.seen[since:] if not it.target.startswith("/public/")]
            assert not passed, f"{len(passed)}: {[it.head for it in passed[:3]]}"
