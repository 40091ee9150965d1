#!/usr/bin/env python3
"""Portcullis beside nginx and HAProxy, on one machine, in one run.

An nginx answers 230 bytes of JSON; in front of it stands one proxy at a time,
with one worker on one core; wrk keeps 64 connections busy from another core.
nginx and HAProxy only forward. Portcullis judges every request: 1,000 tokens
in rotation, route, scope, account, environment, revocation, access log, metrics.

What counts is processor time for each request of the proxy, and its ratio to
nginx in the same round: it hardly depends on what else the machine does.
Everything stays on 127.0.0.1, is bounded in time, and is ended at the end.
"""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

ROUNDS, SECONDS, CONNECTIONS, TOKENS = int(os.environ.get("ROUNDS", 5)), 4, 64, 1000
HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = HERE.parent.parent / "target/release/portcullis"
PATH = "/v1/accounts/acme/account_environments/prod/campaigns"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    for _ in range(200):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit(f"nothing listens on port {port}")


def start(core, *command, **more):
    pinned = ["taskset", "-c", str(core), *map(str, command)]
    return subprocess.Popen(pinned, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)


def cpu_seconds(process):
    """User and system time of a process and its children that live."""
    pids, seen = [process.pid], []
    while pids:
        pid = pids.pop()
        seen.append(pid)
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    ticks = 0
    for pid in seen:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def nginx(folder, port, server, extra=""):
    conf = folder / f"nginx-{port}.conf"
    conf.write_text(
        f"daemon off; worker_processes 1; error_log /dev/null; pid {folder}/nginx-{port}.pid;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; {extra}\n"
        f"server {{ listen 127.0.0.1:{port}; {server} }} }}\n"
    )
    return ["nginx", "-p", folder, "-c", conf]


def call(url, body, key=None):
    headers = {"Content-Type": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request, timeout=10))


def main():
    for tool in ("nginx", "haproxy", "wrk", "taskset"):
        if not shutil.which(tool):
            sys.exit(f"{tool} is missing: apt-get install nginx-light haproxy wrk util-linux")
    if not PROGRAM.exists():
        sys.exit("build it first: cargo build --release")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="compare-"))
    started = []
    try:
        run(folder, started)
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(timeout=20)
        shutil.rmtree(folder)


def run(folder, started):
    origin, plain, ha, data, admin, metrics = (free_port() for _ in range(6))
    answer = '{"items":[' + ",".join('{"id":%d,"name":"campaign"}' % n for n in range(8)) + "]}"
    ready = f"default_type application/json; location / {{ return 200 '{answer}'; }}"
    started.append(start(0, *nginx(folder, origin, ready)))
    forward = f"location / {{ proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ''; }}"
    upstream = f"upstream o {{ server 127.0.0.1:{origin}; keepalive 128; }}"
    haproxy = folder / "haproxy.cfg"
    haproxy.write_text(
        "global\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        " http-reuse always\n"
        f"frontend f\n bind 127.0.0.1:{ha}\n default_backend b\n"
        f"backend b\n server o 127.0.0.1:{origin}\n"
    )
    config = folder / "portcullis.toml"
    config.write_text(
        f'[server]\nlisten = ["127.0.0.1:{data}"]\nthreads = 1\n[admin]\nlisten = "127.0.0.1:{admin}"\n'
        f'[metrics]\nlisten = "127.0.0.1:{metrics}"\n[store]\npath = "{folder}/state"\n'
        f'[oauth]\nissuer = "http://127.0.0.1:{data}"\n'
        f'[[upstream]]\nname = "o"\naddresses = ["127.0.0.1:{origin}"]\n'
        '[[role]]\nid = "reader"\nlabel = "r"\ndescription = "r"\nscopes = ["campaign.list"]\n'
        '[[route]]\nname = "campaigns"\npath = "/v1/accounts/{account}/account_environments/{environment}/campaigns"\n'
        'upstream = "o"\nallow = { GET = "campaign.list" }\n'
    )
    key = subprocess.run(
        [PROGRAM, "admin", "create", "--config", config, "--name", "bench", "--role", "super-admin"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()
    proxies = {
        "nginx, forwarding only": (plain, start(1, *nginx(folder, plain, forward, upstream))),
        "HAProxy, forwarding only": (ha, start(1, "haproxy", "-f", haproxy, "-db")),
        "Portcullis, judging": (data, start(1, PROGRAM, "serve", "--config", config)),
    }
    started += [process for _, process in proxies.values()]
    for port, _ in proxies.values():
        wait_for(port)
    tokens = []
    for _ in range(10):
        made = call(f"http://127.0.0.1:{admin}/v1/credentials", {"name": "b", "account": "acme", "roles": ["reader"]}, key)
        body = {"grant_type": "client_credentials", "client_id": made["client_id"], "client_secret": made["client_secret"]}
        for _ in range(TOKENS // 10):
            tokens.append(call(f"http://127.0.0.1:{data}/oauth2/token", body)["access_token"])
    script = folder / "tokens.lua"
    script.write_text(
        "local tokens = {" + ",".join(f'"{t}"' for t in tokens) + "}\nlocal requests, n = {}, 0\n"
        "init = function()\n for i, t in ipairs(tokens) do\n"
        f'  requests[i] = wrk.format("GET", "{PATH}", {{ ["Host"] = "api.test", ["Authorization"] = "Bearer " .. t }})\n'
        " end\nend\nrequest = function() n = n % #requests + 1; return requests[n] end\n"
    )
    rows = {name: [] for name in proxies}
    for round_ in range(ROUNDS + 1):
        for name, (port, process) in proxies.items():
            before = cpu_seconds(process)
            out = subprocess.run(
                ["taskset", "-c", "0", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", script,
                 f"http://127.0.0.1:{port}{PATH}"],
                check=True, capture_output=True, text=True,
            ).stdout
            spent = cpu_seconds(process) - before
            if "Non-2xx" in out or "Socket errors" in out:
                sys.exit(f"{name}: not every request succeeded:\n{out}")
            count = int(re.search(r"(\d+) requests in", out)[1])
            p99 = re.search(r"99%\s+(\S+)", out)[1]
            if round_ > 0:  # the first one warms up
                rows[name].append((spent / count * 1e6, count / SECONDS, p99))
    print(f"{ROUNDS} rounds of {SECONDS} s, {CONNECTIONS} connections, one core for the proxy; medians")
    print(f"{'':28} {'CPU/request':>12} {'to nginx':>9} {'requests/s':>11} {'p99':>9}")
    port, process = proxies["Portcullis, judging"]
    script.write_text(
        'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f"wrk.body = [[{json.dumps(body)}]]\n"
    )
    minted = []
    for _ in range(ROUNDS):
        before = cpu_seconds(process)
        out = subprocess.run(
            ["taskset", "-c", "0", "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", script,
             f"http://127.0.0.1:{port}/oauth2/token"],
            check=True, capture_output=True, text=True,
        ).stdout
        if "Non-2xx" in out:
            sys.exit(f"not every token was minted:\n{out}")
        count = int(re.search(r"(\d+) requests in", out)[1])
        minted.append(((cpu_seconds(process) - before) / count * 1e6, count / SECONDS))
    base = [row[0] for row in rows["nginx, forwarding only"]]
    for name, measured in rows.items():
        ratio = statistics.median(row[0] / b for row, b in zip(measured, base))
        cpu, rate = (statistics.median(row[i] for row in measured) for i in (0, 1))
        print(f"{name:28} {cpu:9.2f} µs {ratio:9.2f} {rate:11.0f} {sorted(r[2] for r in measured)[len(measured) // 2]:>9}")
    cpu, rate = (statistics.median(row[i] for row in minted) for i in (0, 1))
    print(f"{'Portcullis, tokens minted':28} {cpu:9.2f} µs {'':9} {rate:11.0f}")


if __name__ == "__main__":
    main()
