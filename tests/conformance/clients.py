"""What partners call with: curl, requests, httpx, aiohttp, websockets, Node, a browser.
Over HTTP/1.1, HTTP/2 in clear (prior knowledge) and TLS.
"""

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import threading
from importlib.metadata import version
from pathlib import Path

import aiohttp
import httpx
import requests
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

from report import Skip

FOLDER = Path(__file__).parent.parent / "clients/http"
CHROMIUM = "/usr/bin/chromium"


def echo_sockets(port):
    """A WebSocket server that says back what it hears, in a thread."""
    started, loop = threading.Event(), asyncio.new_event_loop()

    async def echo(socket):
        async for message in socket:
            await socket.send(message)

    async def main():
        async with serve(echo, "127.0.0.1", port, max_size=None) as server:
            started.set()
            loop.stop_serving = asyncio.Event()
            await loop.stop_serving.wait()
            server.close()

    threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True).start()
    started.wait()
    return lambda: loop.call_soon_threadsafe(loop.stop_serving.set)


def curl(world, report):
    def run(*arguments):
        command = ["curl", "--silent", "--show-error", "--include", "--cacert", world.ca, *arguments]
        said = subprocess.run(command, capture_output=True, timeout=60)
        assert said.returncode == 0, said.stderr.decode()
        head, _, body = said.stdout.partition(b"\r\n\r\n")
        # What goes before the answer itself.
        while head.split(b" ")[1].startswith(b"1"):
            head, _, body = body.partition(b"\r\n\r\n")
        return head.decode(), body

    bearer = ["--header", f"Authorization: Bearer {world.token}"]
    for how, flag, base, version_ in [
        ("HTTP/1.1", "--http1.1", world.base, "HTTP/1.1"),
        ("HTTP/1.0", "--http1.0", world.base, "HTTP/1."),
        ("h2c", "--http2-prior-knowledge", world.base, "HTTP/2"),
        ("HTTP/1.1 over TLS", "--http1.1", world.secure, "HTTP/1.1"),
        ("HTTP/2 over TLS", "--http2", world.secure, "HTTP/2"),
        ("TLS 1.2", "--tls-max=1.2", world.secure, "HTTP/2"),
        ("upgrade to h2c, which is not taken", "--http2", world.base, "HTTP/1.1"),
    ]:
        flag = flag.split("=")
        with report.case(f"curl, {how}: GET"):
            head, body = run(*flag, *bearer, base + "/any/acme/x?a=b")
            assert head.startswith(f"{version_}") and " 200" in head.split("\r\n")[0], head
            assert json.loads(body)["target"] == "/any/acme/x?a=b"
        with report.case(f"curl, {how}: POST"):
            head, body = run(*flag, *bearer, "--data", "x" * 5000, base + "/any/acme/echo")
            assert body == b"x" * 5000, head
        with report.case(f"curl, {how}: HEAD"):
            head, body = run(*flag, *bearer, "--head", base + "/any/acme/x")
            assert " 200" in head.split("\r\n")[0] and not body.strip(), head
        with report.case(f"curl, {how}: no token"):
            head, body = run(*flag, base + "/any/acme/x")
            assert " 401" in head.split("\r\n")[0] and "www-authenticate: bearer" in head.lower()
    with report.case("curl: Expect: 100-continue"):
        head, body = run(*bearer, "--http1.1", "--header", "Expect: 100-continue", "--data-binary",
                         "@" + world.ca, world.base + "/any/acme/echo")
        assert body == Path(world.ca).read_bytes(), head
    with report.case("curl: an upload in chunks"):
        head, body = run(*bearer, "--http1.1", "--header", "Transfer-Encoding: chunked",
                         "--data-binary", "@" + world.ca, world.base + "/any/acme/echo")
        assert body == Path(world.ca).read_bytes(), head
    with report.case("curl: two URLs, one connection"):
        said = subprocess.run(
            ["curl", "--silent", *bearer, "--write-out", "%{num_connects}\n", "--output", "/dev/null",
             "--output", "/dev/null", world.base + "/any/acme/x", world.base + "/any/acme/y"],
            capture_output=True, text=True, timeout=60)
        assert said.stdout.split() == ["1", "0"], said


def python(world, report):
    headers = {"Authorization": f"Bearer {world.token}"}
    for base in (world.base, world.secure):
        with report.case(f"requests: {base}"), requests.Session() as session:
            # Else REQUESTS_CA_BUNDLE wins over `verify`.
            session.trust_env, session.verify = False, world.ca
            for method in ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                answer = session.request(method, base + "/any/acme/x", headers=headers)
                assert answer.status_code == 200 and answer.json()["method"] == method, answer.text
            assert session.get(base + "/any/acme/x").status_code == 401
            assert session.get(base + "/nothing").status_code == 404
            answer = session.request("PURGE", base + "/any/acme/x", headers=headers)
            assert answer.status_code == 405 and "GET" in answer.headers["Allow"]
            # As a person would type it: the client escapes what must be.
            path = "/any/acme/caf\u00e9 au lait"
            assert session.get(base + path, headers=headers).json()["target"] == "/any/acme/caf%C3%A9%20au%20lait"
            parts = (b"%d," % number for number in range(1000))
            answer = session.post(base + "/any/acme/echo", data=parts, headers=headers)
            assert answer.content == b"".join(b"%d," % number for number in range(1000))
            files = {"file": ("a.txt", b"content")}
            answer = session.post(base + "/any/acme/echo", files=files, headers=headers)
            assert b"content" in answer.content
    for base, how in [
        (world.base, {"http1": True}),
        (world.base, {"http1": False, "http2": True}),
        (world.secure, {"http2": True}),
    ]:
        with report.case(f"httpx: {base} {how}"):
            trusted = ssl.create_default_context(cafile=world.ca)
            with httpx.Client(verify=trusted, headers=headers, **how) as client:
                answer = client.get(base + "/any/acme/x")
                assert answer.status_code == 200
                assert answer.http_version == ("HTTP/2" if how.get("http2") else "HTTP/1.1")
                assert len(client.get(base + "/any/acme/large").content) == 4 << 20
                body = os.urandom(2 << 20)
                assert client.post(base + "/any/acme/echo", content=body).content == body
                with client.stream("GET", base + "/any/acme/events") as events:
                    lines = [line for line in events.iter_lines() if line.startswith("data")]
                assert lines == [f"data: event {number}" for number in range(3)], lines

    async def over_aiohttp(base):
        trusted = ssl.create_default_context(cafile=world.ca)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trusted)) as session:
            async def ask(number):
                url = f"{base}/any/acme/{number}"
                async with session.get(url, headers=headers) as answer:
                    return (await answer.json())["target"]

            targets = await asyncio.gather(*(ask(number) for number in range(100)))
            assert targets == [f"/any/acme/{number}" for number in range(100)]
            async with session.ws_connect(base + "/sockets/echo", headers=headers) as socket:
                await socket.send_bytes(b"x" * 70_000)
                assert (await socket.receive_bytes()) == b"x" * 70_000
                await socket.ping(b"p")
            try:
                await session.ws_connect(base + "/sockets/echo")
            except aiohttp.WSServerHandshakeError as refused:
                assert refused.status == 401
            else:
                raise AssertionError("a socket was opened without a token")

    for base in (world.base, world.secure):
        with report.case(f"aiohttp: {base}"):
            asyncio.run(over_aiohttp(base))

    async def over_websockets(base):
        trusted = ssl.create_default_context(cafile=world.ca) if "wss" in base else None
        async with connect(base + "/sockets/x", additional_headers=headers, ssl=trusted) as socket:
            for number in range(200):
                await socket.send(f"message {number}")
                assert await socket.recv() == f"message {number}"
            await (await socket.ping())
        try:
            await connect(base + "/sockets/x", ssl=trusted)
        except websockets.exceptions.InvalidStatus as refused:
            assert refused.response.status_code == 401
        else:
            raise AssertionError("a socket was opened without a token")

    for base in (world.base, world.secure):
        with report.case(f"websockets: {base}"):
            asyncio.run(over_websockets(base.replace("http", "ws", 1)))


def javascript(world, report, name, script, missing):
    with report.case(name):
        if missing or not shutil.which("node") or not (FOLDER / "node_modules/undici").exists():
            raise Skip("not installed")
        means = {
            "BASE": world.base, "SECURE": world.secure, "TOKEN": world.token,
            "NODE_EXTRA_CA_CERTS": world.ca, "CHROMIUM": CHROMIUM,
        }
        said = subprocess.run(
            ["node", script], cwd=FOLDER, env=os.environ | means, capture_output=True, text=True,
            timeout=120,
        )
        lines = said.stdout.splitlines()
        failures = [f"{name}: {line}" for line in lines if line.startswith("FAILED")]
        report.count(sum(line.startswith("ok ") for line in lines) - 1, failures)
        assert lines and (said.returncode == 0 or failures), said.stderr


def run(world, report):
    curl_version = subprocess.run(["curl", "--version"], capture_output=True, text=True).stdout
    report.version = f"curl {curl_version.split()[1]}, httpx {version('httpx')}"
    stop = echo_sockets(world.ports["sockets"])
    try:
        curl(world, report)
        python(world, report)
        javascript(world, report, "Node", "node.mjs", False)
        javascript(world, report, "Chromium", "browser.mjs", not Path(CHROMIUM).exists())
    finally:
        stop()
