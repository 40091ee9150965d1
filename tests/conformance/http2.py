"""HTTP/2 against RFC 9113: what h2spec looks for, and what attackers have found since.

After each case nothing was forwarded but what was judged, the gateway lives, and a
neighbour on a connection of its own is served; it asks during the floods, too.
"""

import threading
import time

import h2floods
import h2frames
import h2requests
from h2wire import CODES, Wire, frame, PING, ACK


# What the h2 crate says of most faults, also where the RFC has a word of its own for
# them (FRAME_SIZE_ERROR, COMPRESSION_ERROR): no client can do anything about it.
LESS_SPECIFIC = [CODES["PROTOCOL_ERROR"]]


class Neighbour:
    """A client with one long connection who asks again and again."""

    def __init__(self, world):
        self.wire = Wire(world)
        self.stream = -1

    def asks(self):
        self.stream += 2
        begun = time.monotonic()
        if not self.wire.answers(self.stream):
            raise AssertionError("a neighbour's connection was not served")
        return time.monotonic() - begun


def forwarded(world, since):
    return [seen for seen in world.upstream.seen[since:] if not seen.target.endswith("/alive")]


def check_end(wire, codes):
    """A connection error: GOAWAY with its code, or the end without a word."""
    wire.wait(lambda: wire.goaway not in (None, 0))
    if wire.goaway is None and not wire.closed:
        return f"nothing happened: {wire.fates}"
    allowed = [CODES[code] for code in codes.split()] + LESS_SPECIFIC
    if wire.goaway is not None and wire.goaway not in allowed + [0]:
        return f"GOAWAY {wire.goaway} instead of {codes}"
    wire.wait(lambda: False, 3)
    return None if wire.closed else "GOAWAY, but the connection stays"


def check_reset(wire, codes):
    fate = wire.fate(1)
    allowed = [CODES[code] for code in codes.split()] + LESS_SPECIFIC
    if fate.reset in allowed or wire.goaway in allowed:
        return None
    if wire.closed and wire.goaway is None:
        return None
    # It may have been answered before what is wrong arrived.
    if fate.status == 200 and fate.ended:
        return None
    return f"{fate}, GOAWAY {wire.goaway}"


def frames(world, report):
    for name, opening in h2frames.PREFACES:
        with report.case(name), Wire(world, preface=False) as wire:
            wire.send(opening)
            wire.wait(lambda: wire.goaway, 1)
            assert wire.closed or wire.goaway or wire.answers(), "the connection hangs"
    for name, send, kind, codes in h2frames.CASES:
        with report.case(name), Wire(world) as wire:
            since = len(world.upstream.seen)
            send(wire)
            if kind == "serves":
                wrong = None if wire.answers() else f"not served: {wire.fates} {wire.goaway}"
            elif kind == "any":
                wrong = None if wire.answers() or wire.goaway or wire.closed else "it hangs"
            else:
                wrong = (check_end if kind == "ends" else check_reset)(wire, codes)
            assert wrong is None, wrong
            assert not forwarded(world, since), forwarded(world, since)
    with report.case("PING is answered with what it carried"), Wire(world) as wire:
        wire.send(frame(PING, 0, 0, b"12345678"))
        wire.wait(lambda: (PING, ACK, 0, b"12345678") in wire.others)
        assert (PING, ACK, 0, b"12345678") in wire.others, wire.others


def refused(world, wire, since, statuses):
    """A status or a reset; or GOAWAY, which section 5.4.1 allows instead of a reset."""
    fate = wire.fate()
    assert not forwarded(world, since), f"forwarded: {forwarded(world, since)[0].head!r}"
    assert fate.status in statuses or fate.reset is not None or wire.goaway, f"{fate}"


def requests(world, report):
    for name, fields in h2requests.REFUSED:
        with report.case(name), Wire(world) as wire:
            since = len(world.upstream.seen)
            wire.request(fields(wire))
            refused(world, wire, since, [400])
            assert wire.goaway or wire.answers(), "then the connection was of no more use"
    for name, fields in h2requests.UNAUTHORISED:
        with report.case(name), Wire(world) as wire:
            since = len(world.upstream.seen)
            wire.request(fields(wire))
            refused(world, wire, since, [401])
    for name, fields, never in h2requests.FORWARDED:
        with report.case(name), Wire(world) as wire:
            since = len(world.upstream.seen)
            wire.request(fields(wire))
            fate, seen = wire.fate(), forwarded(world, since)
            assert fate.status == 200 and len(seen) == 1, f"{fate} {seen}"
            assert seen[0].target == dict(fields(wire))[":path"], seen[0].line
            assert not never or never not in seen[0].head.lower(), seen[0].head
            for ours in ("client-id", "account", "scope", "jti"):
                assert len(seen[0].values("x-portcullis-" + ours)) == 1, seen[0].head
            assert seen[0].values("host") == ["h"] and len(seen[0].values("cookie")) < 2


def uploads(world, report):
    for name, send in h2requests.BROKEN_UPLOADS:
        with report.case(name), Wire(world) as wire:
            since = len(world.upstream.seen)
            send(wire)
            fate = wire.fate()
            assert fate.status in (None, 400), f"{fate}"
            assert fate.reset is not None or fate.status or wire.goaway, f"{fate}"
            # At most the beginning of this one request, never a second, and no whole body.
            seen = forwarded(world, since)
            assert len(seen) < 2, seen
            assert not seen or seen[0].line == "POST /any/acme/echo HTTP/1.1", seen
            assert not seen or not seen[0].body, seen
            assert wire.goaway or wire.answers(), "then the connection was of no more use"
    for name, send, body in h2requests.UPLOADS:
        with report.case(name), Wire(world) as wire:
            since = len(world.upstream.seen)
            send(wire)
            fate, seen = wire.fate(), forwarded(world, since)
            assert fate.status == 200 and len(seen) == 1, f"{fate} {seen}"
            assert seen[0].body == body == fate.body, f"{seen[0].body} {fate.body}"
            assert "spoofed" not in seen[0].head, seen[0].head


def settle(world):
    """Until what an earlier flood left under way has arrived."""
    count = -1
    while count != len(world.upstream.seen):
        count = len(world.upstream.seen)
        time.sleep(0.3)


def floods(world, report):
    neighbour = Neighbour(world)
    neighbour.asks()
    for name, send, most in h2floods.CASES:
        settle(world)
        with report.case(name), Wire(world) as wire:
            since, memory = len(world.upstream.seen), world.memory_kib()
            sending = threading.Thread(target=send, args=(wire,))
            sending.start()
            slowest = 0
            while sending.is_alive():
                slowest = max(slowest, neighbour.asks())
            sending.join()
            # Gone, or still of use: never stuck.
            wire.window_updates = True
            neighbour.asks()
            assert slowest < 5, f"a neighbour waited {slowest:.1f} s"
            seen = forwarded(world, since)
            assert len(seen) <= most, f"{len(seen)} requests were forwarded"
            grown = (world.memory_kib() - memory) // 1024
            assert grown < 128, f"{grown} MiB more memory"


def run(world, report):
    for part in (frames, requests, uploads, floods):
        part(world, report)
        assert world.is_alive() and not world.panics(), "the gateway ended, or panicked"
