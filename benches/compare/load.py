"""Load, and what one run of it costs the proxy."""
import json
import re
import shutil
import subprocess

from machine import LOAD_CORE, Missing, cpu_seconds, family, pinned

CONNECTIONS = 64


def lua(folder, name, path, tokens, body=None):
    """A script for wrk: the tokens in rotation, and the percentiles at the end."""
    script = folder / f"{name}.lua"
    if body is not None:
        ask = f'wrk.method = "POST"\nwrk.path = "{path}"\nwrk.headers["Content-Type"] = "application/json"\nwrk.body = [[{body}]]\n'
    else:
        ask = (
            "local tokens = {" + ",".join(f'"{t}"' for t in tokens) + "}\nlocal requests, n = {}, 0\n"
            "init = function()\n for i, t in ipairs(tokens) do\n"
            '  local h = { ["Host"] = "api.test" }\n  if t ~= "" then h["Authorization"] = "Bearer " .. t end\n'
            f'  requests[i] = wrk.format("GET", "{path}", h)\n'
            " end\nend\nrequest = function() n = n % #requests + 1; return requests[n] end\n"
        )
    script.write_text(ask + (
        "done = function(s, l)\n"
        ' io.write(string.format("DONE %d %d %d %d %d %d %d\\n", s.requests, s.duration, s.errors.status,\n'
        "  s.errors.connect + s.errors.read + s.errors.write + s.errors.timeout,\n"
        "  l:percentile(50), l:percentile(99), l:percentile(99.9)))\nend\n"
    ))
    return script


def wrk(port, script, seconds):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, f"http://127.0.0.1:{port}/"]
    return pinned(LOAD_CORE, command)


def read_wrk(out):
    said = re.search(r"DONE (\d+) (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)", out)
    count, duration, refused, failed, p50, p99, p999 = map(int, said.groups())
    return {
        "count": count, "refused": refused, "failed": failed, "rate": count / duration * 1e6,
        "p50": p50, "p99": p99, "p999": p999,
    }


def h2load(port, path, token, seconds, log):
    """One token only: h2load can't rotate."""
    if not shutil.which("h2load"):
        raise Missing("h2load is not installed")
    log.unlink(missing_ok=True)
    bearer = ["-H", f"authorization: Bearer {token}", f"--log-file={log}"]
    command = ["h2load", "-t1", "-c8", "-m8", f"-D{seconds}", *bearer, f"http://127.0.0.1:{port}{path}"]
    return pinned(LOAD_CORE, command)


def read_h2load(out, log):
    done = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed", out)
    rate = re.search(r"finished in [\d.]+s, ([\d.]+) req/s", out)
    if not done or int(done[2]) == 0:
        raise Missing("it does not speak HTTP/2 in clear")
    refused = sum(map(int, re.search(r"(\d+) 3xx, (\d+) 4xx, (\d+) 5xx", out).groups()))
    # Each line: when it began, its status, how many microseconds it took.
    took = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    p50, p99, p999 = (took[int(share * (len(took) - 1))] for share in (0.5, 0.99, 0.999))
    return {
        "count": int(done[1]), "refused": refused, "failed": max(0, int(done[3]) - refused),
        "rate": float(rate[1]), "p50": p50, "p99": p99, "p999": p999,
    }


def measured(process, command, read, counters, expect_refusals=False):
    """Runs a load and says what each of its requests cost the proxy."""
    if counters:
        pids = ",".join(map(str, family(process)))
        command = ["perf", "stat", "-x,", "-e", "instructions:u,instructions:k", "-p", pids, "--", *command]
    before = cpu_seconds(process)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    after = cpu_seconds(process)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stdout[-500:]}{done.stderr[-500:]}")
    row = read(done.stdout)
    wrong = row["count"] - row["refused"] if expect_refusals else row["refused"]
    if row["failed"] or wrong:
        raise RuntimeError(f"not every request was {'refused' if expect_refusals else 'answered'}: {row}")
    row["user"], row["system"] = ((b - a) / row["count"] * 1e6 for a, b in zip(before, after))
    row["cpu"] = row["user"] + row["system"]
    for kind, line in zip(("user", "system"), re.findall(r"^(\d+),,instructions", done.stderr, re.M)):
        row[f"instructions_{kind}"] = int(line) / row["count"]
    if "instructions_user" in row:
        row["instructions"] = row["instructions_user"] + row["instructions_system"]
    return row


def steadily(helper, port, file, count, rate, connections=CONNECTIONS):
    """A constant rate, or with rate 0 just so many requests."""
    command = [helper, "load", f"127.0.0.1:{port}", file, str(count), str(int(rate)), str(connections)]
    done = subprocess.run(pinned(LOAD_CORE, command), capture_output=True, text=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"the load ended early: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def token_file(folder, name, path, tokens):
    file = folder / f"{name}.load"
    file.write_text(path + "\n" + "\n".join(tokens) + "\n")
    return file


def read_helper(out):
    said = json.loads(out)
    statuses = said.pop("statuses")
    count = sum(statuses.values())
    return {**said, "count": count, "refused": count - statuses.get("200", 0), "failed": 0}
