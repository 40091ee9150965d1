"""Instructions a request, counted by callgrind: in user space only, but the same
however busy the machine is, so that bare Pingora and Portcullis can be compared
to the per cent.

Each serves twice, with few requests and with many; the difference leaves the
start and the end out.
"""
import re
import shutil
import signal

from contenders import bare_pingora
from gateway import PATH, Gateway
from load import steadily, token_file
from machine import Missing

CONNECTIONS = 8
# A processor counts `rep movsb` once, callgrind once for each byte: it is to be
# left to copies that were worth it, which are none here.
TUNABLES = "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000"
VALGRIND = ["env", f"GLIBC_TUNABLES={TUNABLES}", "valgrind", "--tool=callgrind"]


def total(file):
    """What one callgrind file sums up to; a process writes one when it ends."""
    return int(re.search(r"^(?:summary|totals): (\d+)", file.read_text(errors="replace"), re.M)[1])


def between(few, many, serve):
    """`serve(count)` returns all instructions of a run with so many requests."""
    return (serve(many) - serve(few)) / (many - few)


def per_request(machine, helper, origin, store, tokens, few, many, keep):
    """Rows for bare Pingora, and for Portcullis judging and refusing."""
    if not shutil.which("valgrind"):
        raise Missing("valgrind is not installed")
    keep.mkdir(parents=True, exist_ok=True)
    runs = iter(range(1000))

    def run(name, start, ask, count, how):
        file = keep / f"callgrind.{name}.{count}"
        file.unlink(missing_ok=True)
        port, process = start([*VALGRIND, f"--callgrind-out-file={file}"])
        requests = token_file(machine.folder, f"counts-{name}", PATH, ask)
        # So that caches and pools are filled in both runs.
        warm = token_file(machine.folder, f"warm-{name}", PATH, tokens)
        steadily(helper, port, warm, len(tokens), 0, CONNECTIONS)
        steadily(helper, port, requests, count, 0, CONNECTIONS)
        machine.stop(process, how, patience=60)
        return total(file)

    def pingora(wrap):
        return bare_pingora(machine, origin, helper, wrap)

    def portcullis(wrap):
        name = f"counted-{next(runs)}"
        gateway = Gateway(machine, origin, name, store=store, wrap=wrap, patience=180).start()
        return gateway.port, gateway.process

    rows = {}
    for name, start, ask, how in (
        ("bare Pingora", pingora, tokens, signal.SIGINT),
        ("Portcullis, token seen before", portcullis, tokens, signal.SIGTERM),
        ("Portcullis, no token", portcullis, [""], signal.SIGTERM),
    ):
        slug = re.sub(r"\W+", "-", name)
        rows[name] = between(few, many, lambda count: run(slug, start, ask, count, how))
    return rows
