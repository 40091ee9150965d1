"""Portcullis beside nginx, HAProxy, Envoy and bare Pingora, on one machine, in
one run: `make compare`, about ten minutes; with QUICK=1 about two, for looking
whether it works. REVOKED=10000000 for the largest set (1,000,000 without).

Every proxy has one thread and one core to itself; the origin (nginx, 230 bytes
of JSON) and the load have the other. Rounds are interleaved, so that what else
the machine does meets all alike; ratios are of two rows in the same round.
Everything stays on 127.0.0.1 and is ended at the end, also by Ctrl-C.
"""
import os
import pathlib
import signal
import subprocess
import sys
import types

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import contenders  # noqa: E402
import load  # noqa: E402
import report  # noqa: E402
import single  # noqa: E402
from gateway import CLIENTS, OUT_OF_SCOPE, PATH, Gateway, call, claims, garbled, signed_hs256, token_request  # noqa: E402
from machine import LOAD_CORE, PROGRAM, ROOT, Machine, Missing, described, has_counters, pinned, resident_mib  # noqa: E402

QUICK = bool(os.environ.get("QUICK"))
PLAN = types.SimpleNamespace(
    rounds=1 if QUICK else int(os.environ.get("ROUNDS", 3)),
    seconds=1 if QUICK else int(os.environ.get("SECONDS", 3)),
    warm_up=not QUICK,
    fresh_tokens=3_000 if QUICK else 20_000,
    revoked=int(os.environ.get("REVOKED", 200_000 if QUICK else 1_000_000)),
    revocations=30 if QUICK else 200,
    connections=10_000,
    counted=500 if QUICK else 5_000,
    tokens_revoked=100,
)
OUT = ROOT / "target/compare"
LIST = 100_000


class Bench:
    """What was started, what is to be measured, and what came out."""

    def __init__(self, machine, helper):
        self.machine, self.helper, self.plan, self.out = machine, helper, PLAN, OUT
        self.counters = has_counters()
        self.rows = {}      # name -> one dict a round
        self.skipped = {}   # name -> why
        self.failed = {}
        self.plans = []     # (name, what measures it once)
        self.figures = {}   # single ones, by name

    def say(self, what):
        print(what, file=sys.stderr, flush=True)

    def attempt(self, name, do):
        """Does it, or notes why not; the rest goes on."""
        try:
            return do()
        except Missing as why:
            self.skipped[name] = str(why)
        except (RuntimeError, OSError, subprocess.SubprocessError) as why:
            self.failed[name] = str(why)
        self.say(f"  left out: {name}: {self.skipped.get(name) or self.failed[name]}")
        return None

    def wrk(self, name, served, tokens, path=PATH, refused=False, body=None):
        if served is None:
            return
        port, process = served
        script = load.lua(self.machine.folder, f"wrk-{len(self.plans)}", path, tokens, body)
        # Each token once: from then on those who keep tokens have seen it.
        if body is None:
            file = load.token_file(self.machine.folder, "seen", path, tokens)
            self.attempt(name, lambda: load.steadily(self.helper, port, file, len(tokens), 0))

        def once(seconds):
            command = load.wrk(port, script, seconds)
            return load.measured(process, command, load.read_wrk, self.counters, refused)

        self.plans.append((name, once))

    def h2(self, name, served, token):
        if served is None:
            return
        port, process = served
        log = self.machine.folder / "h2load.log"

        def once(seconds):
            command = load.h2load(port, PATH, token, seconds, log)
            return load.measured(process, command, lambda out: load.read_h2load(out, log), self.counters)

        self.plans.append((name, once))

    def rounds(self):
        for number in range(PLAN.rounds + PLAN.warm_up):
            warming = PLAN.warm_up and number == 0
            self.say("warming up" if warming else f"round {number + (not PLAN.warm_up)} of {PLAN.rounds}")
            for name, once in self.plans:
                if name in self.skipped or name in self.failed:
                    continue
                row = self.attempt(name, lambda: once(1 if warming else PLAN.seconds))
                if row and not warming:
                    self.rows.setdefault(name, []).append(row)


def prepare(machine, origin, say):
    """The store that all gateways get a copy of, and the tokens."""
    say(f"making {CLIENTS} credentials and a token of each")
    base = Gateway(machine, origin, "base")
    base.make_admin()
    base.start()
    credentials = base.credentials(CLIENTS)
    tokens = base.tokens(credentials, CLIENTS)
    fresh = base.tokens(credentials, PLAN.fresh_tokens)
    dead = base.tokens(credentials, PLAN.tokens_revoked)
    for token in dead:
        call(base.admin, "POST", "/v1/revocations", {"jti": claims(token)["jti"]}, base.key)
    jwks = call(base.port, "GET", "/.well-known/jwks.json")
    base.stop()
    secret = "of-thirty-two-bytes-or-a-few-more"
    return types.SimpleNamespace(
        base=base, credentials=credentials, tokens=tokens, fresh=fresh, dead=dead, jwks=jwks,
        secret=secret, hs256=[signed_hs256(token, secret.encode()) for token in tokens],
    )


def rs256(machine, origin, made):
    """The same clients' tokens, signed with RSA, and the public key."""
    pem, public = machine.folder / "rsa.pem", machine.folder / "rsa.pub"
    for command in (
        ["openssl", "genpkey", "-quiet", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", pem],
        ["openssl", "pkey", "-in", pem, "-pubout", "-out", public],
    ):
        subprocess.run(command, check=True, capture_output=True)
    oauth = f'algorithm = "RS256"\nsigning_key_file = "{pem}"'
    signer = Gateway(machine, origin, "rsa", store=made.base.folder, oauth=oauth).start()
    tokens = signer.tokens(made.credentials, CLIENTS)
    signer.stop()
    return tokens, public


def arrange(bench, origin, made):
    """Starts everybody and says what is to be asked of whom."""
    machine, helper, tokens = bench.machine, bench.helper, made.tokens

    def gateway(name, revoked, **more):
        def start():
            own = Gateway(machine, origin, name, store=made.base.folder, patience=180, **more)
            if revoked:
                bench.say(f"  {revoked:,} revocations for it")
                own.revoke_beforehand(helper, revoked)
            own.key = made.base.key
            return own.start()
        bench.say(f"starting Portcullis ({name})")
        return bench.attempt(f"Portcullis ({name})", start)

    def served(own):
        return own and (own.port, own.process)

    bench.say("starting nginx, HAProxy, Envoy and bare Pingora")
    nginx = bench.attempt("nginx", lambda: contenders.bare_nginx(machine, origin))
    bench.wrk("nginx, forwarding only", nginx, tokens)
    ha = bench.attempt("HAProxy", lambda: contenders.haproxy(machine, origin))
    bench.wrk("HAProxy, forwarding only", ha, tokens)
    ha = bench.attempt("HAProxy HS256", lambda: contenders.haproxy(machine, origin, "HS256", made.secret))
    bench.wrk("HAProxy, HS256, claims, list", ha, made.hs256)
    if made.rs256:
        signed, public = made.rs256
        ha = bench.attempt("HAProxy RS256", lambda: contenders.haproxy(machine, origin, "RS256", public))
        bench.wrk("HAProxy, RS256, claims, list", ha, signed)
    envoys = {
        "Envoy, forwarding only": (),
        "Envoy, Ed25519 with cache, rbac": (made.jwks, 2 * CLIENTS),
        "Envoy, Ed25519 without cache, rbac": (made.jwks,),
    }
    for name, settings in envoys.items():
        envoys[name] = bench.attempt(name, lambda: contenders.envoy(machine, origin, *settings))
        bench.wrk(name, envoys[name], tokens)
    pingora = bench.attempt("bare Pingora", lambda: contenders.bare_pingora(machine, origin, helper))
    bench.wrk(report.BARE, pingora, tokens)

    main = gateway("main", LIST)
    bench.wrk(report.SEEN, served(main), tokens)
    if main:
        bench.plans += fresh_tokens(bench, main, made.fresh, tokens)
    for name, bearer, path in (
        ("no token", [""], PATH),
        ("bad signature", [garbled(t) for t in tokens], PATH),
        ("revoked", made.dead, PATH),
        ("wrong scope", tokens, OUT_OF_SCOPE),
    ):
        bench.wrk(f"Portcullis, refused: {name}", served(main), bearer, path, refused=True)
    bench.wrk("Portcullis, no revocations", served(gateway("none", 0)), tokens)
    bench.wrk(f"Portcullis, {PLAN.revoked:,} revocations", served(many := gateway("many", PLAN.revoked)), tokens)
    bench.wrk("Portcullis, 10 routes", served(gateway("few-routes", 0, routes=10)), tokens)
    bench.wrk("Portcullis, 10,000 routes", served(gateway("many-routes", 0, routes=10_000)), tokens)
    body = report.compact(token_request(made.credentials[0]))
    bench.wrk("Portcullis, tokens minted", served(main), [], "/oauth2/token", body=body)
    for name, server in (
        ("bare Pingora, HTTP/2", pingora),
        ("Envoy, Ed25519 with cache, rbac, HTTP/2", envoys["Envoy, Ed25519 with cache, rbac"]),
        ("Portcullis, token seen before, HTTP/2", served(main)),
    ):
        bench.h2(name, server, tokens[0])
    return pingora, main, many


def fresh_tokens(bench, gateway, tokens, usual):
    """Each token once by an empty cache, then once more, by the same client."""
    file = load.token_file(bench.machine.folder, "fresh", PATH, tokens)
    others = load.token_file(bench.machine.folder, "usual", PATH, usual)
    address = f"127.0.0.1:{gateway.port}"
    command = pinned(LOAD_CORE, [
        bench.helper, "load", address, file, str(len(tokens)), "0", str(load.CONNECTIONS),
    ])

    def ask():
        return load.measured(gateway.process, command, load.read_helper, bench.counters)

    def first(_seconds):
        gateway.forget_tokens()
        return ask()

    def again(_seconds):
        row = ask()
        # Other rows count on theirs being known.
        load.steadily(bench.helper, gateway.port, others, len(usual), 0)
        return row

    return [("Portcullis, token seen first", first), ("Portcullis, those tokens again", again)]


def main(helper):
    for tool in (PROGRAM, pathlib.Path(helper)):
        if not tool.exists():
            sys.exit(f"{tool} is missing: run `make compare`, which builds it")
    if os.cpu_count() < 2:
        sys.exit("two cores are needed: one for the proxy, one for the load")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    machine = Machine()
    try:
        bench = Bench(machine, helper)
        origin = contenders.origin(machine, LOAD_CORE)
        about = described(contenders.envoy_version())
        made = prepare(machine, origin, bench.say)
        made.rs256 = bench.attempt("RS256 tokens", lambda: rs256(machine, origin, made))
        pingora, gateway, many = arrange(bench, origin, made)
        bench.rounds()
        if many:
            # In use, and some time after the start, which takes more.
            bench.figures["memory, many revocations"] = resident_mib(many.process)
        if pingora and gateway:
            # Those who idle on the same core wake up now and then: latency has an eye for it.
            for process in machine.running[1:]:
                if process not in (pingora[1], gateway.process):
                    machine.stop(process)
            bench.attempt("half of capacity", lambda: single.at_half(bench, pingora, gateway, made.tokens))
        single.figures(bench, origin, made)
        report.write(OUT, bench, about, PLAN)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        machine.close()
    sys.exit(1 if bench.failed else 0)


if __name__ == "__main__":
    main(sys.argv[1])
