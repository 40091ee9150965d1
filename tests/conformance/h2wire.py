"""HTTP/2 frames by hand over a socket: a client that may lie about anything.

Frames and field blocks are put together byte by byte, since every library refuses
to say what no honest client would; hpack reads the answers.
"""

import struct
import time

from hpack import Decoder

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, ACK = 0x1, 0x4, 0x8, 0x1
CODES = {
    "PROTOCOL_ERROR": 1, "INTERNAL_ERROR": 2, "FLOW_CONTROL_ERROR": 3, "STREAM_CLOSED": 5,
    "FRAME_SIZE_ERROR": 6, "REFUSED_STREAM": 7, "CANCEL": 8, "COMPRESSION_ERROR": 9,
    "ENHANCE_YOUR_CALM": 11,
}
NAMES = {code: name for name, code in CODES.items()} | {0: "NO_ERROR"}


def frame(kind, flags=0, stream=0, payload=b""):
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream) + payload


class Fate:
    """What became of a stream, or of the whole connection."""

    def __init__(self):
        self.status = self.reset = None
        self.fields, self.trailers, self.body = [], [], b""
        self.ended = False

    def __repr__(self):
        if self.reset is not None:
            return f"{self.status or ''} reset {NAMES.get(self.reset, self.reset)}".strip()
        return str(self.status) + ("" if self.ended else " (open)")


class Wire:
    """One connection. `goaway` is the code that it was ended with, `closed` that it was."""

    def __init__(self, world, preface=True, secure=False, settings=()):
        self.socket = world.connect(secure)
        self.token = world.token
        self.decoder = Decoder()
        self.buffer = b""
        self.fates, self.others = {}, []
        self.goaway, self.closed = None, False
        self.window_updates = True
        self.settings_acknowledged = 0
        if preface:
            body = b"".join(struct.pack(">HI", key, value) for key, value in settings)
            self.send(PREFACE + frame(SETTINGS, payload=body))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """False once the other side no longer listens; that is an answer, too."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            self.closed = True
            return False

    def block(self, fields):
        """A field block, literally as given: no table, no Huffman coding, no check."""
        out = bytearray()
        for name, value in fields:
            for text in (b"\0", name, value):
                if text == b"\0":
                    out += text
                    continue
                raw = text.encode("latin-1") if isinstance(text, str) else text
                length = len(raw)
                if length < 127:
                    out.append(length)
                else:
                    out.append(127)
                    length -= 127
                    while length >= 128:
                        out.append(length % 128 + 128)
                        length //= 128
                    out.append(length)
                out += raw
        return bytes(out)

    def request(self, fields, stream=1, end=True, flags=0):
        block = self.block(fields)
        first, rest = block[:16384], block[16384:]
        flags |= END_STREAM if end else 0
        out = frame(HEADERS, flags | (0 if rest else END_HEADERS), stream, first)
        while rest:
            piece, rest = rest[:16384], rest[16384:]
            out += frame(CONTINUATION, 0 if rest else END_HEADERS, stream, piece)
        return self.send(out)

    def good(self, path="/any/acme/x", method="GET", more=(), token=True):
        """The fields of a request with nothing wrong."""
        fields = [(":method", method), (":scheme", "http"), (":authority", "h"), (":path", path)]
        if token:
            fields.append(("authorization", f"Bearer {self.token}"))
        return fields + list(more)

    def read(self, seconds):
        """One frame, or None if none came or the connection is over."""
        end = time.monotonic() + seconds
        while True:
            if len(self.buffer) >= 9:
                length = int.from_bytes(self.buffer[:3], "big")
                if len(self.buffer) >= 9 + length:
                    raw, self.buffer = self.buffer[: 9 + length], self.buffer[9 + length :]
                    return self.take(raw)
            left = end - time.monotonic()
            if left <= 0 or self.closed:
                return None
            self.socket.settimeout(left)
            try:
                piece = self.socket.recv(65536)
            except TimeoutError:
                return None
            except OSError:
                piece = b""
            finally:
                self.socket.settimeout(20)
            if not piece:
                self.closed = True
                return None
            self.buffer += piece

    def take(self, raw):
        kind, flags = raw[3], raw[4]
        stream = int.from_bytes(raw[5:9], "big") & 0x7FFFFFFF
        payload = raw[9:]
        fate = self.fates.setdefault(stream, Fate()) if stream else None
        if kind == HEADERS:
            fields = self.decoder.decode(payload)
            status = dict(fields).get(":status")
            if status is None:
                fate.trailers = fields
            elif not status.startswith("1"):
                fate.status, fate.fields = int(status), fields
        elif kind == DATA:
            fate.body += payload
            if payload and self.window_updates:
                step = struct.pack(">I", len(payload))
                self.send(frame(WINDOW, 0, 0, step) + frame(WINDOW, 0, stream, step))
        elif kind == RST:
            fate.reset = int.from_bytes(payload, "big")
            fate.ended = True
        elif kind == GOAWAY:
            self.goaway = int.from_bytes(payload[4:8], "big")
        elif kind == SETTINGS and flags & ACK:
            self.settings_acknowledged += 1
        elif kind == SETTINGS:
            self.send(frame(SETTINGS, ACK))
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            fate.ended = True
        self.others.append((kind, flags, stream, payload))
        return kind

    def fate(self, stream=1, seconds=5):
        """Waits until the stream is over, one way or another."""
        end = time.monotonic() + seconds
        while True:
            fate = self.fates.get(stream)
            if (fate and fate.ended) or self.closed:
                return fate or Fate()
            if self.goaway not in (None, 0) or time.monotonic() > end:
                return fate or Fate()
            self.read(end - time.monotonic())

    def wait(self, condition, seconds=5):
        end = time.monotonic() + seconds
        while not condition() and not self.closed and time.monotonic() < end:
            self.read(end - time.monotonic())
        return condition()

    def answers(self, stream=101):
        """Whether this connection still serves."""
        self.request(self.good("/public/alive", token=False), stream)
        return self.fate(stream).status == 200
