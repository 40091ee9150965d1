"""What is measured apart from the rounds: latency at half of capacity, revoking,
memory, and instructions under callgrind."""
import itertools

import contenders
import counts
import load
import report
import revoking
from gateway import OUT_OF_SCOPE, PATH, Gateway, garbled
from machine import Missing, resident_mib

WRONG_SCOPE = "Portcullis, wrong scope"


def at_half(bench, pingora, main, tokens):
    """The same constant rate for both: half of what Portcullis can do."""
    rates = [row["rate"] for row in bench.rows.get(report.SEEN, [])]
    if not rates:
        raise Missing("its capacity is not known")
    rate = report.median(rates) / 2
    file = load.token_file(bench.machine.folder, "half", PATH, tokens)
    bench.figures["half of capacity"] = rate
    for _ in range(bench.plan.rounds):
        for name, port in (("bare Pingora", pingora[0]), ("Portcullis", main.port)):
            count = int(rate * bench.plan.seconds)
            row = load.steadily(bench.helper, port, file, count, rate)
            bench.rows.setdefault(f"{name}, half of capacity", []).append(row)


def figures(bench, origin, made):
    """What is measured once, on a gateway of its own."""
    def memory():
        own = Gateway(bench.machine, origin, "memory", store=made.base.folder).start()
        own.key = made.base.key
        bench.figures["memory, idle"] = resident_mib(own.process)
        bench.say("revoking under use")
        found = bench.attempt(
            "revoking", lambda: revoking.revocations(own, made.credentials[0], bench.plan.revocations)
        )
        bench.figures.update(found or {})
        own.stop()

    def connections():
        own = Gateway(bench.machine, origin, "connections", store=made.base.folder).start()
        idle = resident_mib(own.process)
        bench.say(f"holding {bench.plan.connections:,} connections")
        held, grown = revoking.with_connections(own, made.tokens[0], bench.plan.connections)
        bench.figures[f"memory, {held:,} connections"] = grown
        if held < bench.plan.connections:
            bench.say(f"  the limit of open files allows {held:,}; 10,000 are reckoned from them")
            bench.figures["memory, 10,000 connections"] = idle + (grown - idle) * 10_000 / held

    bench.attempt("memory", memory)
    bench.attempt("10,000 connections", connections)
    bench.say("revoking on a slow disk")
    slow = bench.attempt("slow disk", lambda: revoking.slow_disk(bench.machine, bench.helper))
    bench.figures.update({f"slow disk, {name}": value for name, value in (slow or {}).items()})
    counted(bench, origin, made)


def counted(bench, origin, made):
    """Everybody who can under callgrind; Envoy would take too long to start."""
    machine, tokens = bench.machine, made.tokens[:100]

    def gateway(wrap):
        own = Gateway(machine, origin, f"counted-{next(numbers)}", store=made.base.folder, wrap=wrap, patience=180)
        own.start()
        return own.port, own.process

    def haproxy(algorithm, key):
        return lambda wrap: contenders.haproxy(machine, origin, algorithm, key, wrap)

    numbers = itertools.count()
    starts = {
        "nginx, forwarding only": (lambda wrap: contenders.bare_nginx(machine, origin, wrap), tokens),
        "HAProxy, forwarding only": (haproxy(None, None), tokens),
        "HAProxy, HS256, claims, list": (haproxy("HS256", made.secret), made.hs256[:100]),
        report.BARE: (lambda wrap: contenders.bare_pingora(machine, origin, bench.helper, wrap), tokens),
        report.SEEN: (gateway, tokens),
        "Portcullis, no token": (gateway, [""]),
        "Portcullis, bad signature": (gateway, [garbled(token) for token in tokens]),
        "Portcullis, revoked": (gateway, made.dead[:100]),
        WRONG_SCOPE: (gateway, tokens),
    }
    if made.rs256:
        starts["HAProxy, RS256, claims, list"] = (haproxy("RS256", made.rs256[1]), made.rs256[0][:100])
    rows = bench.figures["callgrind"] = {}
    for name, (start, asked) in starts.items():
        bench.say(f"counting instructions of {name}")
        warm = tokens if asked == [""] else asked
        count = bench.attempt(f"{name}, under callgrind", lambda: counts.per_request(
            machine, bench.helper, start, name, warm, asked, bench.plan.counted, bench.out,
            OUT_OF_SCOPE if name == WRONG_SCOPE else PATH,
        ))
        if count:
            rows[name] = count
