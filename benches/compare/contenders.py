"""The other proxies: nginx, HAProxy, Envoy and Pingora with nothing on it.

Each forwards to the same origin with keep-alive, on one thread. Where one also
judges, it does what it can of what Portcullis does: the signature, issuer,
audience, expiry, scope and account, and a list of revoked tokens.
"""
import json

from machine import PROXY_CORE, ROOT, Missing, free_port, said_by

ENVOY = ROOT / "target/tools/envoy/bin/envoy"
DENIED = 100_000


def nginx(folder, port, server, extra=""):
    conf = folder / f"nginx-{port}.conf"
    conf.write_text(
        # One process, with no master over it.
        f"daemon off; master_process off; error_log /dev/null; pid {folder}/nginx-{port}.pid;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 100000000; {extra}\n"
        f"server {{ listen 127.0.0.1:{port}; {server} }} }}\n"
    )
    return ["nginx", "-p", folder, "-c", conf]


def origin(machine, core):
    """230 bytes of JSON, whatever is asked."""
    port = free_port()
    answer = '{"items":[' + ",".join('{"id":%d,"name":"campaign"}' % n for n in range(8)) + "]}"
    ready = f"default_type application/json; location / {{ return 200 '{answer}'; }}"
    machine.start(core, nginx(machine.folder, port, ready), port)
    return port


def bare_nginx(machine, origin, wrap=()):
    port = free_port()
    forward = "location / { proxy_pass http://o; proxy_http_version 1.1; proxy_set_header Connection ''; }"
    upstream = f"upstream o {{ server 127.0.0.1:{origin}; keepalive 128; }}"
    command = [*wrap, *nginx(machine.folder, port, forward, upstream)]
    return port, machine.start(PROXY_CORE, command, port, patience=60)


def haproxy(machine, origin, algorithm=None, key=None, wrap=()):
    """Bare, or with `jwt_verify`; `key` is a secret or a file with a public key."""
    port = free_port()
    rules = ""
    if algorithm:
        denied = machine.folder / "denied.lst"
        if not denied.exists():
            denied.write_text("".join(f"00000000-0000-4000-8000-{n:012x}\n" for n in range(DENIED)))
        claim = "http-request set-var(txn.{0}) http_auth_bearer,jwt_payload_query('$.{0}'{1})\n "
        rules = (
            " http-request set-var(txn.bearer) http_auth_bearer\n"
            " http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')\n "
            + "".join(claim.format(name, "") for name in ("iss", "aud", "scope", "account", "jti"))
            + claim.format("exp", ",'int'")
            + f"http-request deny deny_status 401 unless {{ var(txn.alg) -m str {algorithm} }}\n"
            f" http-request deny deny_status 401 unless {{ var(txn.bearer),jwt_verify(txn.alg,\"{key}\") -m int 1 }}\n"
            " http-request deny deny_status 401 unless { var(txn.iss) -m str https://gateway.example }\n"
            " http-request deny deny_status 401 unless { var(txn.aud) -m str campaign-api }\n"
            " http-request deny deny_status 401 if { date,sub(txn.exp) -m int gt 0 }\n"
            f" http-request deny deny_status 401 if {{ var(txn.jti) -m str -f {denied} }}\n"
            " http-request deny unless { var(txn.scope) -m reg (^|\\ )campaign\\.list(\\ |$) }\n"
            " http-request deny unless { path,field(4,/),strcmp(txn.account) eq 0 }\n"
        )
    conf = machine.folder / f"haproxy-{port}.cfg"
    conf.write_text(
        "global\n nbthread 1\ndefaults\n mode http\n timeout connect 5s\n timeout client 60s\n"
        f" timeout server 60s\n http-reuse always\nfrontend f\n bind 127.0.0.1:{port}\n{rules}"
        f" default_backend b\nbackend b\n server o 127.0.0.1:{origin}\n"
    )
    return port, machine.start(PROXY_CORE, [*wrap, "haproxy", "-f", conf, "-db"], port, patience=60)


def envoy(machine, origin, jwks=None, cache=None):
    """Bare, or with `jwt_authn` and `rbac`; `cache` is a number of tokens."""
    if not ENVOY.exists():
        raise Missing("Envoy is not installed")
    port = free_port()
    filters = []
    if jwks:
        provider = {
            "issuer": "https://gateway.example",
            "audiences": ["campaign-api"],
            "local_jwks": {"inline_string": json.dumps(jwks)},
            "payload_in_metadata": "jwt",
        }
        if cache:
            provider["jwt_cache_config"] = {"jwt_cache_size": cache}
        filters = [
            envoy_filter(
                "jwt_authn", "jwt_authn.v3.JwtAuthentication",
                providers={"p": provider},
                rules=[{"match": {"prefix": "/"}, "requires": {"provider_name": "p"}}],
            ),
            envoy_filter("rbac", "rbac.v3.RBAC", rules={"action": "ALLOW", "policies": {"reader": {
                "permissions": [{"and_rules": {"rules": [
                    {"header": {"name": ":method", "string_match": {"exact": "GET"}}},
                    {"url_path": {"path": {"prefix": "/v1/accounts/acme/"}}},
                ]}}],
                "principals": [{"and_ids": {"ids": [
                    claim_is("scope", {"safe_regex": {"regex": "(.* )?campaign\\.list( .*)?"}}),
                    claim_is("account", {"exact": "acme"}),
                ]}}],
            }}}),
        ]
    filters.append(envoy_filter("router", "router.v3.Router"))
    manager = {
        "@type": f"{EXTENSIONS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "i", "codec_type": "AUTO", "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": "o"}},
        ]}]},
    }
    conf = machine.folder / f"envoy-{port}.json"
    conf.write_text(json.dumps({"static_resources": {
        "listeners": [{"address": address(port), "filter_chains": [{"filters": [
            {"name": "http", "typed_config": manager},
        ]}]}],
        "clusters": [{
            "name": "o", "type": "STATIC", "connect_timeout": "5s",
            "circuit_breakers": {"thresholds": [{"max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096}]},
            "load_assignment": {"cluster_name": "o", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": address(origin)}},
            ]}]},
        }],
    }}))
    command = [ENVOY, "-c", conf, "--concurrency", "1", "--disable-hot-restart", "-l", "error"]
    return port, machine.start(PROXY_CORE, command, port)


EXTENSIONS = "type.googleapis.com/envoy.extensions.filters"


def envoy_filter(name, kind, **settings):
    return {"name": name, "typed_config": {"@type": f"{EXTENSIONS}.http.{kind}", **settings}}


def claim_is(name, match):
    path = [{"key": "jwt"}, {"key": name}]
    metadata = {"filter": "envoy.filters.http.jwt_authn", "path": path, "value": {"string_match": match}}
    return {"metadata": metadata}


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bare_pingora(machine, origin, helper, wrap=()):
    port = free_port()
    command = [*wrap, helper, "bare", f"127.0.0.1:{port}", f"127.0.0.1:{origin}"]
    return port, machine.start(PROXY_CORE, command, port, patience=60)


def envoy_version():
    return str(ENVOY) if ENVOY.exists() and said_by(str(ENVOY), "--version") else None
