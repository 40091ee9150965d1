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

from gateway import PATH
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


def per_request(machine, helper, start, name, warm, asked, requests, keep, path=PATH):
    """Instructions a request of a server that `start` starts behind a command of
    ours and returns as (port, process)."""
    if not shutil.which("valgrind"):
        raise Missing("valgrind is not installed")
    keep.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"\W+", "-", name)
    for old in keep.glob(f"callgrind.{slug}*"):
        old.unlink()
    port, process = start([*VALGRIND, f"--callgrind-out-file={keep}/callgrind.{slug}"])
    # So that caches and pools are filled.
    steadily(helper, port, token_file(machine.folder, f"{slug}-warm", path, warm), len(warm), 0, CONNECTIONS)
    dump(process)
    steadily(helper, port, token_file(machine.folder, slug, path, asked), requests, 0, CONNECTIONS)
    dump(process)
    # Pingora takes five minutes to end on SIGTERM.
    machine.stop(process, signal.SIGINT, patience=60)
    measured = keep / f"callgrind.{slug}.2"
    (keep / f"profile.{slug}.txt").write_text("\n".join(profile(measured, requests)) + "\n")
    return total(measured) / requests
