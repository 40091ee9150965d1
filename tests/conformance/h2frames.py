"""HTTP/2 below the request: frames, settings, windows, field blocks, each broken
in one way (RFC 9113 sections 3 to 6, RFC 7541), with the reaction that is due.
"""

import struct

from h2wire import (
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING, PREFACE,
    PRIORITY, PUSH, RST, SETTINGS, WINDOW, frame,
)

ONE = struct.pack(">I", 1)
FULL = struct.pack(">I", 0x7FFFFFFF)


def setting(key, value):
    return frame(SETTINGS, payload=struct.pack(">HI", key, value))


def opened(wire, path="/public/alive", end=False):
    """Stream 1, still open in our direction."""
    wire.request(wire.good(path, "GET" if end else "POST", token=False), end=end)


def after_end(kind):
    def send(wire):
        opened(wire, end=True)
        payload = wire.block(wire.good()) if kind == HEADERS else b"x"
        wire.send(frame(kind, END_HEADERS | END_STREAM, 1, payload))

    return send


def raw(*frames):
    return lambda wire: wire.send(b"".join(frames))


def on_open(*frames):
    def send(wire):
        opened(wire)
        wire.send(b"".join(frames))

    return send


def block(make):
    return lambda wire: wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, make(wire)))


def good_block(wire):
    return wire.block(wire.good())


def split(between):
    """A field block in two frames with something between them."""

    def send(wire):
        whole = good_block(wire)
        wire.send(
            frame(HEADERS, END_STREAM, 1, whole[:20]) + between
            + frame(CONTINUATION, END_HEADERS, 1, whole[20:])
        )

    return send


def ids(*streams):
    def send(wire):
        for stream in streams:
            wire.request(wire.good("/public/alive", token=False), stream)

    return send


# Ends: a connection error with one of these codes, or just the end of it.
# Resets: a stream error; the connection may end for it. Serves: nothing happens.
CASES = [
    ("SETTINGS on a stream", raw(frame(SETTINGS, 0, 1)), "ends", "PROTOCOL_ERROR"),
    ("SETTINGS of five bytes", raw(frame(SETTINGS, 0, 0, bytes(5))), "ends", "FRAME_SIZE_ERROR"),
    ("SETTINGS acknowledged with a payload", raw(frame(SETTINGS, ACK, 0, bytes(6))), "ends", "FRAME_SIZE_ERROR"),
    ("ENABLE_PUSH of 2", raw(setting(2, 2)), "ends", "PROTOCOL_ERROR"),
    ("INITIAL_WINDOW_SIZE of 2^31", raw(setting(4, 1 << 31)), "ends", "FLOW_CONTROL_ERROR"),
    ("MAX_FRAME_SIZE of 16383", raw(setting(5, 16383)), "ends", "PROTOCOL_ERROR"),
    ("MAX_FRAME_SIZE of 2^24", raw(setting(5, 1 << 24)), "ends", "PROTOCOL_ERROR"),
    ("an unknown setting", raw(setting(0xF0F0, 7)), "serves", ""),
    ("HEADER_TABLE_SIZE of 0", raw(setting(1, 0)), "serves", ""),
    ("HEADER_TABLE_SIZE of 2^32-1", raw(setting(1, 0xFFFFFFFF)), "serves", ""),
    ("PING on a stream", raw(frame(PING, 0, 1, bytes(8))), "ends", "PROTOCOL_ERROR"),
    ("PING of seven bytes", raw(frame(PING, 0, 0, bytes(7))), "ends", "FRAME_SIZE_ERROR"),
    ("PING acknowledged out of the blue", raw(frame(PING, ACK, 0, bytes(8))), "serves", ""),
    ("GOAWAY on a stream", raw(frame(GOAWAY, 0, 1, bytes(8))), "ends", "PROTOCOL_ERROR"),
    ("WINDOW_UPDATE of 0", raw(frame(WINDOW, 0, 0, bytes(4))), "ends", "PROTOCOL_ERROR"),
    ("WINDOW_UPDATE of three bytes", raw(frame(WINDOW, 0, 0, bytes(3))), "ends", "FRAME_SIZE_ERROR"),
    ("a connection's window beyond 2^31-1", raw(frame(WINDOW, 0, 0, FULL)), "ends", "FLOW_CONTROL_ERROR"),
    ("WINDOW_UPDATE of 0 on a stream", on_open(frame(WINDOW, 0, 1, bytes(4))), "resets", "PROTOCOL_ERROR"),
    ("a stream's window beyond 2^31-1", on_open(frame(WINDOW, 0, 1, FULL)), "resets", "FLOW_CONTROL_ERROR"),
    ("windows beyond 2^31-1 by a setting", on_open(frame(WINDOW, 0, 1, struct.pack(">I", 0x7FFF0000)), setting(4, 0x7FFFFFFF)), "resets", "FLOW_CONTROL_ERROR"),
    ("WINDOW_UPDATE on an idle stream", raw(frame(WINDOW, 0, 9, ONE)), "ends", "PROTOCOL_ERROR"),
    ("RST_STREAM on stream 0", raw(frame(RST, 0, 0, bytes(4))), "ends", "PROTOCOL_ERROR"),
    ("RST_STREAM on an idle stream", raw(frame(RST, 0, 9, bytes(4))), "ends", "PROTOCOL_ERROR"),
    ("RST_STREAM of three bytes", on_open(frame(RST, 0, 1, bytes(3))), "ends", "FRAME_SIZE_ERROR"),
    ("PRIORITY on stream 0", raw(frame(PRIORITY, 0, 0, bytes(5))), "ends", "PROTOCOL_ERROR"),
    ("PRIORITY of four bytes", on_open(frame(PRIORITY, 0, 1, bytes(4))), "resets", "FRAME_SIZE_ERROR"),
    # RFC 9113 section 5.3.2 leaves it to us whether priorities are looked at.
    ("PRIORITY on itself", raw(frame(PRIORITY, 0, 9, struct.pack(">IB", 9, 1))), "any", "PROTOCOL_ERROR"),
    ("PRIORITY on an idle stream", raw(frame(PRIORITY, 0, 9, bytes(5))), "serves", ""),
    ("HEADERS that depend on themselves", lambda wire: wire.send(frame(HEADERS, 0x20 | END_STREAM | END_HEADERS, 1, struct.pack(">IB", 1, 1) + wire.block(wire.good("/public/alive", token=False)))), "any", "PROTOCOL_ERROR"),
    ("HEADERS on stream 0", ids(0), "ends", "PROTOCOL_ERROR"),
    ("an even stream", ids(2), "ends", "PROTOCOL_ERROR"),
    ("a stream number that goes back", ids(5, 3), "ends", "PROTOCOL_ERROR STREAM_CLOSED"),
    ("HEADERS after END_STREAM", after_end(HEADERS), "resets", "STREAM_CLOSED PROTOCOL_ERROR"),
    ("DATA after END_STREAM", after_end(DATA), "resets", "STREAM_CLOSED"),
    ("DATA on stream 0", raw(frame(DATA, 0, 0, b"x")), "ends", "PROTOCOL_ERROR"),
    ("DATA on an idle stream", raw(frame(DATA, 0, 9, b"x")), "ends", "PROTOCOL_ERROR STREAM_CLOSED"),
    ("DATA with more padding than there is", on_open(frame(DATA, PADDED, 1, b"\x09xx")), "ends", "PROTOCOL_ERROR"),
    ("DATA above MAX_FRAME_SIZE", on_open(frame(DATA, 0, 1, bytes(16385))), "ends", "FRAME_SIZE_ERROR"),
    ("HEADERS above MAX_FRAME_SIZE", block(lambda wire: bytes(16385)), "ends", "FRAME_SIZE_ERROR"),
    ("HEADERS with more padding than there is", lambda wire: wire.send(frame(HEADERS, PADDED | END_STREAM | END_HEADERS, 1, b"\xff" + good_block(wire))), "ends", "PROTOCOL_ERROR"),
    ("CONTINUATION out of the blue", raw(frame(CONTINUATION, END_HEADERS, 1, b"")), "ends", "PROTOCOL_ERROR"),
    ("CONTINUATION of another stream", split(frame(CONTINUATION, 0, 3, b"")), "ends", "PROTOCOL_ERROR"),
    ("PING within a field block", split(frame(PING, 0, 0, bytes(8))), "ends", "PROTOCOL_ERROR"),
    ("DATA within a field block", split(frame(DATA, 0, 1, b"x")), "ends", "PROTOCOL_ERROR"),
    ("an unknown frame within a field block", split(frame(0xF0, 0, 1, b"x")), "ends", "PROTOCOL_ERROR"),
    ("another HEADERS within a field block", split(frame(HEADERS, END_HEADERS | END_STREAM, 3, b"\x82")), "ends", "PROTOCOL_ERROR"),
    ("PUSH_PROMISE by a client", raw(frame(PUSH, END_HEADERS, 1, bytes(4) + b"\x82")), "ends", "PROTOCOL_ERROR"),
    ("an unknown frame", raw(frame(0xF0, 0xFF, 0, b"x"), frame(0xF1, 0, 9, b"y")), "serves", ""),
    ("flags that mean nothing", raw(frame(PING, 0xFE, 0, bytes(8))), "serves", ""),
    ("a reserved bit in a stream's number", lambda wire: wire.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, wire.block(wire.good("/public/alive", token=False))).replace(b"\0\0\0\1", b"\x80\0\0\1", 1)), "serves", ""),
    ("a field index that there is not", block(lambda wire: good_block(wire) + b"\xff\x7f"), "ends", "COMPRESSION_ERROR"),
    ("field index 0", block(lambda wire: good_block(wire) + b"\x80"), "ends", "COMPRESSION_ERROR"),
    ("a table above what was allowed", block(lambda wire: b"\x3f\xff\xff\xff\x0f" + good_block(wire)), "ends", "COMPRESSION_ERROR"),
    ("a table resized at the end of a block", block(lambda wire: good_block(wire) + b"\x20"), "ends", "COMPRESSION_ERROR"),
    ("a field block that breaks off", block(lambda wire: good_block(wire) + b"\x00\x7f"), "ends", "COMPRESSION_ERROR"),
    ("Huffman padding of a whole byte", block(lambda wire: good_block(wire) + b"\x00\x81\xff\x01x"), "ends", "COMPRESSION_ERROR"),
    ("Huffman padding of zeros", block(lambda wire: good_block(wire) + b"\x00\x01x\x81\x00"), "ends", "COMPRESSION_ERROR"),
    ("a Huffman end of string", block(lambda wire: good_block(wire) + b"\x00\x01x\x84\xff\xff\xff\xff"), "ends", "COMPRESSION_ERROR"),
    ("an integer without end", block(lambda wire: good_block(wire) + b"\x7f" + b"\xff" * 30), "ends", "COMPRESSION_ERROR"),
]

# Instead of how a connection begins. One that goes on without SETTINGS harms nobody.
PREFACES = [
    ("a preface that is wrong at its end", PREFACE[:-4] + b"XX\r\n"),
    ("a preface in lower case", PREFACE.lower()),
    ("a preface and no SETTINGS", PREFACE + frame(PING, 0, 0, bytes(8))),
    ("a preface and noise", PREFACE + bytes(range(256)) * 80),
    ("a preface and a request of HTTP/1.1", PREFACE + b"GET /any/acme/x HTTP/1.1\r\nHost: h\r\n\r\n" * 200),
]
