"""What stands behind the gateway: an origin that keeps every byte it was sent.

HTTP/1.1 by hand, so that what arrives is looked at as it is and nothing is
repaired on the way. One thread for all connections.
"""

import asyncio
import json
import threading
from dataclasses import dataclass

PAGE = b"<!doctype html><meta charset=utf-8><link rel=icon href=data:,><title>page</title><p>page"


@dataclass
class Seen:
    """One request as it arrived."""

    head: str
    body: bytes
    # The lines behind its chunks.
    behind: bytes = b""

    @property
    def line(self):
        return self.head.split("\r\n", 1)[0]

    @property
    def method(self):
        return self.line.split(" ")[0]

    @property
    def target(self):
        return self.line.split(" ")[1]

    def fields(self):
        return [line.partition(":")[::2] for line in self.head.split("\r\n")[1:] if line]

    def values(self, name):
        return [value.strip() for key, value in self.fields() if key.lower() == name]


class Upstream:
    def __init__(self):
        # What came where a request line was due: somebody got bytes past a body's end.
        self.seen, self.nonsense = [], []
        self.loop = asyncio.new_event_loop()
        started = threading.Event()

        def run():
            asyncio.set_event_loop(self.loop)
            server = self.loop.run_until_complete(
                asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
            )
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            self.loop.run_forever()

        threading.Thread(target=run, daemon=True).start()
        started.wait()

    async def _serve(self, reader, writer):
        try:
            before = None
            while before := await self._exchange(reader, writer, before):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, ValueError):
            pass
        finally:
            writer.close()

    async def _exchange(self, reader, writer, before):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")[:-4]
        seen = Seen(head, b"")
        # Kept before the body: a request that was begun was let through, too.
        self.seen.append(seen)
        if len(seen.line.split(" ")) != 3:
            self.nonsense.append((before, head))
            raise ValueError("no request line")
        if "100-continue" in (value.lower() for value in seen.values("expect")):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "chunked" in (value.lower() for value in seen.values("transfer-encoding")):
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                seen.body += (await reader.readexactly(size + 2))[:-2]
            while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
                seen.behind += line
        elif lengths := seen.values("content-length"):
            seen.body = await reader.readexactly(int(lengths[0]))
        await self._answer(seen, writer)
        return seen

    async def _answer(self, seen, writer):
        path = seen.target.split("?")[0]
        kind, body = "application/json", b""
        if path.endswith("/events"):
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"
            )
            for number in range(3):
                event = f"id: {number}\ndata: event {number}\n\n".encode()
                writer.write(b"%x\r\n%s\r\n" % (len(event), event))
                await writer.drain()
                await asyncio.sleep(0.02)
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return
        if path.endswith("/trailers"):
            writer.write(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                b"%x\r\n%s\r\n0\r\nX-Sum: 42\r\n\r\n" % (len(seen.behind) or 1, seen.behind or b"-")
            )
            await writer.drain()
            return
        if path.endswith("/page"):
            kind, body = "text/html", PAGE
        elif path.endswith("/large"):
            kind, body = "application/octet-stream", bytes(4 << 20)
        elif path.endswith("/medium"):
            kind, body = "application/octet-stream", bytes(256 << 10)
        elif path.endswith("/echo"):
            kind, body = "application/octet-stream", seen.body
        elif path.endswith("/teapot"):
            writer.write(b"HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            return
        else:
            body = json.dumps({"method": seen.method, "target": seen.target}).encode()
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
            "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Marker: upstream\r\n\r\n".encode()
        )
        if seen.method != "HEAD":
            writer.write(body)
        await writer.drain()
