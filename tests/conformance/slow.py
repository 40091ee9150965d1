"""slowhttptest: slow heads, slow bodies, slow reading, 200 clients of each, while an
honest client asks again and again.
"""

import re
import statistics
import subprocess
import time

from tools import find

SECONDS = 20
KINDS = {
    "slow heads": ["-H", "-i", "2", "-x", "24"],
    "slow bodies": ["-B", "-i", "2", "-s", "8192", "-x", "10"],
    "slow reading": ["-X", "-w", "64", "-y", "256", "-n", "1", "-z", "32", "-k", "3"],
}


def run(world, report):
    program = find("slowhttptest")
    for name, flags in KINDS.items():
        path = "/public/medium" if name == "slow reading" else "/public/x"
        with report.case(f"{name}: others are served"):
            command = [program, "-c", "200", "-r", "100", "-l", str(SECONDS), "-p", "3", *flags, "-u", world.base + path]
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            world.children.append(child)
            taken = []
            while child.poll() is None:
                begun = time.monotonic()
                world.get_with("/any/acme/x", world.token)
                taken.append(time.monotonic() - begun)
                time.sleep(0.02)
            world.children.remove(child)
            said = re.sub(r"\x1b\[[0-9;]*m", "", child.stdout.read())
            if found := re.search(r"slowhttptest version (\S+)", said):
                report.version = found[0]
            connected = re.findall(r"connected:\s+(\d+)|closed:\s+(\d+)", said)
            assert connected and any(int(a or b) > 50 for a, b in connected), said[-800:]
            assert len(taken) > 100, f"only {len(taken)} requests were answered"
            # Generous: this machine may be busy, and the origin here is in Python.
            median, late = statistics.median(taken), statistics.quantiles(taken, n=100)[98]
            assert median < 0.5 and late < 5, f"median {median:.3f} s, p99 {late:.3f} s"
        with report.case(f"{name}: little is held"):
            assert world.memory_kib() < 400 * 1024, f"{world.memory_kib() // 1024} MiB"
