"""HTTP/2 clients that keep a server busy without ever asking much of it. Each is
bounded in count; what is asked is that the connection ends or stays harmless, that
little is forwarded, that memory stays where it was, and that others are served.
"""

import struct

from h2wire import (
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, RST, SETTINGS,
    WINDOW, frame,
)


def drip(wire, pieces):
    """Sends until it is done or nobody listens any more."""
    wire.socket.settimeout(10)
    for piece in pieces:
        if not wire.send(piece):
            return


def streams(count):
    return range(1, 2 * count, 2)


def continuations(wire):
    whole = wire.block(wire.good())
    field = wire.block([("x", "y" * 1000)])
    drip(wire, [frame(HEADERS, END_STREAM, 1, whole)])
    drip(wire, (frame(CONTINUATION, 0, 1, field * 8) for _ in range(4000)))


def empty_continuations(wire):
    drip(wire, [frame(HEADERS, END_STREAM, 1, wire.block(wire.good()))])
    drip(wire, (frame(CONTINUATION, 0, 1) * 100 for _ in range(1000)))


def rapid_reset(wire):
    block = wire.block(wire.good("/any/acme/large"))
    reset = struct.pack(">I", 8)
    drip(wire, (
        frame(HEADERS, END_STREAM | END_HEADERS, stream, block) + frame(RST, 0, stream, reset)
        for stream in streams(5000)
    ))


def made_to_reset(wire):
    """The server is made to do the resetting (CVE-2025-8671)."""
    block = wire.block(wire.good("/any/acme/large"))
    drip(wire, (
        frame(HEADERS, END_STREAM | END_HEADERS, stream, block) + frame(WINDOW, 0, stream, bytes(4))
        for stream in streams(5000)
    ))


def settings(wire):
    one = frame(SETTINGS, payload=struct.pack(">HI", 3, 100))
    drip(wire, (one * 100 for _ in range(1000)))


def pings(wire):
    drip(wire, (frame(PING, 0, 0, bytes(8)) * 100 for _ in range(1000)))


def priorities(wire):
    one = b"".join(frame(PRIORITY, 0, stream, bytes(4) + b"\x10") for stream in streams(100))
    drip(wire, (one for _ in range(1000)))


def empty_data(wire):
    wire.request(wire.good("/any/acme/echo", "POST"), end=False)
    drip(wire, (frame(DATA, 0, 1) * 100 for _ in range(1000)))


def tiny_windows(wire):
    """Downloads that are let through byte by byte."""
    wire.window_updates = False
    for stream in streams(50):
        wire.request(wire.good("/any/acme/large"), stream)
    one = struct.pack(">I", 1)
    drip(wire, (
        b"".join(frame(WINDOW, 0, stream, one) for stream in streams(50)) for _ in range(200)
    ))


def table_bomb(wire):
    """One entry of 4 KB, then named a byte at a time: 16 KB that mean 64 MB."""
    entry = b"\x40" + wire.block([("x-bomb", "b" * 3900)])[1:]
    block = wire.block(wire.good()) + entry + b"\xbe" * 12000
    drip(wire, [frame(HEADERS, END_STREAM | END_HEADERS, 1, block)])


def many_fields(wire):
    wire.request(wire.good(more=[(f"x-{number}", "") for number in range(3000)]))


def large_field(wire):
    wire.request(wire.good(more=[("x", "y" * 100_000)]))


def too_many_streams(wire):
    for stream in streams(1000):
        if not wire.request(wire.good("/any/acme/echo", "POST"), stream, end=False):
            return


def malformed(wire):
    """Requests that are refused before anybody has looked at them."""
    drip(wire, (
        frame(HEADERS, END_STREAM | END_HEADERS, stream, wire.block(wire.good(more=[("X", "y")])))
        for stream in streams(2000)
    ))


def unknown_frames(wire):
    drip(wire, (frame(0xF0, 0, 0, bytes(16384)) for _ in range(2000)))


def padding(wire):
    wire.request(wire.good("/any/acme/echo", "POST"), end=False)
    drip(wire, (frame(DATA, 0x8, 1, b"\xff" + bytes(255)) * 10 for _ in range(1000)))


def unread(wire):
    """Answers that nobody reads, and acknowledgements that pile up behind them."""
    for stream in streams(100):
        wire.request(wire.good("/any/acme/large"), stream)
    drip(wire, (frame(PING, 0, 0, bytes(8)) * 100 for _ in range(200)))


# Name, what is sent, and how many requests may have been forwarded meanwhile.
CASES = [
    ("a flood of CONTINUATION", continuations, 0),
    ("a flood of empty CONTINUATION", empty_continuations, 0),
    ("a compression bomb", table_bomb, 0),
    ("3,000 fields", many_fields, 0),
    ("a field of 100 KB", large_field, 0),
    ("a flood of malformed requests", malformed, 0),
    ("rapid reset", rapid_reset, 1000),
    ("resets that the server is made to send", made_to_reset, 1000),
    ("a flood of SETTINGS", settings, 0),
    ("a flood of PING", pings, 0),
    ("a flood of PRIORITY", priorities, 0),
    ("a flood of empty DATA", empty_data, 1),
    ("a flood of padding", padding, 1),
    ("a flood of unknown frames", unknown_frames, 0),
    ("windows opened byte by byte", tiny_windows, 50),
    ("answers that nobody reads", unread, 100),
    ("1,000 streams at once", too_many_streams, 100),
]
