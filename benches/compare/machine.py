"""Processes, ports and what the kernel knows of them.

Whatever is started here is pinned to a core and ended by `Machine.close`, also
after Ctrl-C; nothing else is ever touched.
"""
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "target/release/portcullis"
LOAD_CORE, PROXY_CORE = 0, 1


class Missing(Exception):
    """A contender or a figure that this machine can't have; says why."""


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


class Machine:
    """A folder of its own and the processes that were started in it."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-"))
        self.running = []
        # Ten thousand connections are two descriptors each in the gateway.
        wanted, hard = 40_000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        except (ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    def start(self, core, command, port, patience=20, env=None):
        """Starts a server and waits until it listens."""
        log = open(self.folder / f"{port}.log", "wb")
        process = subprocess.Popen(
            pinned(core, command), stdout=subprocess.DEVNULL, stderr=log,
            # Ctrl-C is for us; we end them in order.
            start_new_session=True, env={**os.environ, **(env or {})},
        )
        log.close()
        self.running.append(process)
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            if process.poll() is not None:
                break
            time.sleep(0.02)
        said = (self.folder / f"{port}.log").read_text(errors="replace").strip()
        self.stop(process)
        raise Missing(f"{pathlib.Path(str(command[0])).name} does not listen: {said[-400:]}")

    def stop(self, process, how=signal.SIGTERM, patience=20):
        """Ends one, by force if it doesn't listen. Its children end with it."""
        if process in self.running:
            self.running.remove(process)
        if process.poll() is None:
            process.send_signal(how)
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                # It leads a session of its own, in which its children are.
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def close(self):
        # An impatient second Ctrl-C must leave nobody behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for process in self.running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while self.running:
            process = self.running[-1]
            self.stop(process, patience=max(0.1, deadline - time.monotonic()))
        shutil.rmtree(self.folder, ignore_errors=True)


def family(process):
    """The process and those below it that live."""
    pids, seen = [process.pid], []
    while pids:
        pid = pids.pop()
        seen.append(pid)
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    return seen


def cpu_seconds(process):
    """User and system time of a process and its children, in seconds."""
    user = system = 0
    for pid in family(process):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        user += int(fields[11])
        system += int(fields[12])
    tick = os.sysconf("SC_CLK_TCK")
    return user / tick, system / tick


def resident_mib(process):
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


def has_counters():
    """Whether `perf` can count instructions here; many virtual machines can't."""
    if not shutil.which("perf"):
        return False
    said = subprocess.run(
        ["perf", "stat", "-x,", "-e", "instructions:u", "true"], capture_output=True, text=True
    ).stderr
    return any(line.split(",")[0].isdigit() for line in said.splitlines())


def said_by(*command):
    """The first line that a program prints of itself."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    text = (done.stdout + done.stderr).strip()
    return text.splitlines()[0] if text else None


def described(envoy):
    """The machine and the versions of all that takes part."""
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": f"{cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores",
        "kernel": platform.release(),
        "load before": os.getloadavg()[0],
        "portcullis": said_by(str(PROGRAM), "--version"),
        "nginx": said_by("nginx", "-v"),
        "haproxy": said_by("haproxy", "-v"),
        "envoy": envoy and (said_by(envoy, "--version") or "").split("version: ")[-1],
        "wrk": said_by("wrk", "-v"),
        "h2load": said_by("h2load", "--version"),
        "valgrind": said_by("valgrind", "--version"),
    }
