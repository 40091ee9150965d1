"""The regression guard of `make bench`: instructions of the pure parts of a
request, counted by callgrind, beside those in baseline.json. They do not depend
on how busy the machine is, hardly on which one it is, and on the compiler.

`make bench-baseline` writes them anew: do so in the change that is meant to cost
or to save something, and say why there. TOLERANCE is in per cent.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from counts import VALGRIND

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / "baseline.json"
TOLERANCE = float(os.environ.get("TOLERANCE", 3))
# Below this many a handful more is more than the tolerance, and no matter.
SLACK = 30


def counted(helper):
    """Instructions of each part, by its name."""
    with tempfile.TemporaryDirectory(prefix="guard-") as folder:
        done = subprocess.run(
            [
                *VALGRIND, f"--callgrind-out-file={folder}/out",
                "--zero-before=*portcullis_counted*", "--dump-before=*portcullis_counting_ends*",
                helper, "parts",
            ],
            capture_output=True, text=True, timeout=600,
        )
        if done.returncode != 0:
            sys.exit(f"the parts did not run under valgrind:\n{done.stderr[-2000:]}")
        parts = {}
        for number, line in enumerate(done.stdout.splitlines(), 1):
            times, name = line.split(" ", 1)
            dump = pathlib.Path(folder, f"out.{number}").read_text()
            parts[name] = int(re.search(r"^(?:summary|totals): (\d+)", dump, re.M)[1]) / int(times)
        return parts


def compiler():
    done = subprocess.run(["rustc", "--version"], capture_output=True, text=True)
    return done.stdout.strip()


def compared(now, before):
    """Prints the table; returns the parts that cost more than they may."""
    worse = []
    print(f"{'instructions':36} {'baseline':>10} {'now':>10} {'':>8}")
    for name in [*before, *(name for name in now if name not in before)]:
        was, is_ = before.get(name), now.get(name)
        if was is None or is_ is None:
            print(f"{name:36} {was or '–':>10} {'–' if is_ is None else round(is_):>10}   not in both")
            worse.append(name)
            continue
        change = (is_ / was - 1) * 100
        mark = ""
        if is_ > was * (1 + TOLERANCE / 100) + SLACK:
            mark = "  MORE THAN IT MAY"
            worse.append(name)
        elif is_ < was * (1 - TOLERANCE / 100) - SLACK:
            mark = "  less: write the baseline anew"
        print(f"{name:36} {was:10,.0f} {is_:10,.0f} {change:+7.1f} %{mark}")
    return worse


def main(helper, *options):
    if not shutil.which("valgrind"):
        sys.exit("valgrind is missing: `make bench` installs it")
    now = counted(helper)
    if "--write" in options:
        parts = {name: round(count) for name, count in now.items()}
        BASELINE.write_text(json.dumps({"compiler": compiler(), "instructions": parts}, indent=2) + "\n")
        print(f"written: {BASELINE}")
        return
    baseline = json.loads(BASELINE.read_text())
    worse = compared(now, baseline["instructions"])
    if baseline["compiler"] != compiler():
        print(f"the baseline is of {baseline['compiler']}; this is {compiler()}")
    if worse:
        sys.exit(
            f"more instructions than {TOLERANCE:g} % above the baseline: {', '.join(worse)}.\n"
            "Find out why; if it is meant, `make bench-baseline` writes them anew."
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
