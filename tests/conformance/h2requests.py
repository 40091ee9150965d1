"""HTTP/2 requests with one thing wrong (RFC 9113 section 8), and some with nothing
wrong that must arrive as they were judged.
"""

from h2wire import DATA, END_HEADERS, END_STREAM, HEADERS, frame


def replaced(wire, name, value):
    return [(key, value if key == name else old) for key, old in wire.good()]


def without(*names):
    return lambda wire: [field for field in wire.good() if field[0] not in names]


def with_(*more):
    return lambda wire: wire.good(more=more)


def first(*more):
    """Before the pseudo-fields."""
    return lambda wire: list(more) + wire.good()


def set_(name, value):
    return lambda wire: replaced(wire, name, value)


def path(value):
    return set_(":path", value)


def socket(*more, protocol="websocket", missing=()):
    """Asks for a WebSocket (RFC 8441)."""
    return lambda wire: [(":method", "CONNECT"), (":protocol", protocol)] + [
        field for field in wire.good(more=more)[1:] if field[0] not in missing
    ]


# Malformed (a stream error, or 400): nothing may be forwarded.
REFUSED = [
    ("a name in upper case", with_(("X-Upper", "y"))),
    ("Connection", with_(("connection", "x"))),
    ("Connection: close", with_(("connection", "close"))),
    ("Keep-Alive", with_(("keep-alive", "timeout=5"))),
    ("Proxy-Connection", with_(("proxy-connection", "close"))),
    ("Transfer-Encoding", with_(("transfer-encoding", "chunked"))),
    ("Upgrade", with_(("upgrade", "websocket"))),
    ("TE: gzip", with_(("te", "gzip"))),
    ("TE: trailers, gzip", with_(("te", "trailers, gzip"))),
    ("an unknown pseudo-field", with_((":unknown", "x"))),
    (":status in a request", with_((":status", "200"))),
    ("pseudo-fields after a field", first(("x", "y"))),
    ("two :method", first((":method", "GET"))),
    ("two :path", first((":path", "/public/x"))),
    ("two :scheme", first((":scheme", "http"))),
    ("two :authority", first((":authority", "h"))),
    ("no :method", without(":method")),
    ("no :path", without(":path")),
    ("no :scheme", without(":scheme")),
    ("no :authority and no Host", without(":authority")),
    ("an empty :authority", set_(":authority", "")),
    ("an empty :path", path("")),
    ("a :path without a slash", path("any/acme/x")),
    ("a :path of * for GET", path("*")),
    ("an absolute :path", path("http://h/any/acme/x")),
    ("an absolute :path of another host", path("http://other/any/acme/x")),
    ("dot segments", path("/public/../any/acme/x")),
    ("escaped dot segments", path("/public/%2e%2e/any/acme/x")),
    ("two slashes", path("//any/acme/x")),
    ("an escaped slash", path("/any/acme%2fx")),
    ("a backslash", path("/any\\acme\\x")),
    ("a space in :path", path("/any/acme/x HTTP/1.1")),
    ("a line break in :path", path("/any/acme/x\r\nx: y")),
    ("a NUL in :path", path("/any/acme/x\0")),
    ("a tab in :path", path("/any/acme/\tx")),
    ("a byte above 0x7F in :path", path(b"/any/acme/\xe9")),
    ("a space in :method", set_(":method", "GET /public/x")),
    ("a line break in :method", set_(":method", "GET /\r\n")),
    ("an empty :method", set_(":method", "")),
    ("CONNECT", set_(":method", "CONNECT")),
    ("CONNECT as it should be", lambda wire: [(":method", "CONNECT"), (":authority", "h:80"), ("authorization", f"Bearer {wire.token}")]),
    ("extended CONNECT for another protocol", socket(protocol="connect-udp")),
    ("extended CONNECT for none", socket(protocol="")),
    ("extended CONNECT without :scheme", socket(missing=[":scheme"])),
    ("extended CONNECT without :path", socket(missing=[":path"])),
    ("extended CONNECT without :authority", socket(missing=[":authority"])),
    ("extended CONNECT with two :protocol", lambda wire: [(":protocol", "websocket")] + socket()(wire)),
    ("extended CONNECT with Connection and Upgrade", socket(("connection", "upgrade"), ("upgrade", "websocket"))),
    ("extended CONNECT with a Content-Length", socket(("content-length", "0"))),
    ("extended CONNECT with Host that differs", socket(("host", "other"))),
    (":protocol without CONNECT", first((":protocol", "websocket"))),
    ("user information in :authority", set_(":authority", "u@h")),
    ("a path in :authority", set_(":authority", "h/x")),
    ("a space in :authority", set_(":authority", "h h")),
    ("a line break in :authority", set_(":authority", "h\r\nx: y")),
    ("Host that differs", with_(("host", "other"))),
    ("Host that differs by its port", with_(("host", "h:81"))),
    ("two Host", lambda wire: without(":authority")(wire) + [("host", "h"), ("host", "h")]),
    ("a line break in a value", with_(("x", "y\r\nz: w"))),
    ("a bare line feed in a value", with_(("x", "y\nz: w"))),
    ("a carriage return in a value", with_(("x", "y\rz"))),
    ("a NUL in a value", with_(("x", "y\0"))),
    ("a space before a value", with_(("x", " y"))),
    ("a tab after a value", with_(("x", "y\t"))),
    ("a space in a name", with_(("x y", "z"))),
    ("a colon in a name", with_(("x:y", "z"))),
    ("a line break in a name", with_(("x\r\ny", "z"))),
    ("an empty name", with_(("", "z"))),
    ("a NUL in a name", with_(("x\0", "z"))),
    ("a Content-Length without a body", with_(("content-length", "5"))),
    ("two Content-Length", with_(("content-length", "0"), ("content-length", "0"))),
    ("a Content-Length with a sign", with_(("content-length", "+0"))),
    ("a Content-Length of two", with_(("content-length", "0, 0"))),
    ("an override of the method", with_(("x-http-method-override", "DELETE"))),
    ("an override of the target", with_(("x-original-url", "/admin"))),
]

# No credentials that count: 401, and nothing forwarded.
UNAUTHORISED = [
    ("no token", lambda wire: wire.good(token=False)),
    ("two Authorization", with_(("authorization", "Basic QTpC"))),
    ("the token in a cookie", lambda wire: wire.good(token=False, more=[("cookie", f"access_token={wire.token}")])),
    ("identity instead of a token", lambda wire: wire.good(token=False, more=[("x-portcullis-client-id", "root")])),
]

# Forwarded, with the target as it was sent and without these words anywhere.
FORWARDED = [
    ("a plain request", with_(), ""),
    ("TE: trailers", with_(("te", "trailers")), ""),
    ("Host that agrees", with_(("host", "h")), ""),
    ("Host alone", lambda wire: without(":authority")(wire) + [("host", "h")], ""),
    ("cookies in crumbs", with_(("cookie", "a=1"), ("cookie", "b=2")), ""),
    ("our name", with_(("x-portcullis-client-id", "spoofed")), "spoofed"),
    ("our name twice", with_(*[("x-portcullis-scope", "spoofed")] * 2), "spoofed"),
    ("our name with underscores", with_(("x_portcullis_account", "spoofed")), "spoofed"),
    ("our name with dots", with_(("x.portcullis.jti", "spoofed")), "spoofed"),
    ("a forwarded address", with_(("x-forwarded-for", "spoofed"), ("forwarded", "for=spoofed")), "spoofed"),
    ("a name like Transfer-Encoding", with_(("transfer_encoding", "spoofed")), "spoofed"),
    ("a name like Content-Length", with_(("content_length", "99")), "content_length"),
    ("a query with anything", path("/any/acme/x?y=%2e%2e/../%zz//"), ""),
    ("escapes that are due", path("/any/acme/caf%C3%A9%20x"), ""),
]


def trailers(fields, flags=END_STREAM):
    """An upload with these fields after its body."""

    def send(wire):
        wire.request(wire.good("/any/acme/echo", "POST"), end=False)
        wire.send(frame(DATA, 0, 1, b"ab"))
        wire.send(frame(HEADERS, END_HEADERS | flags, 1, wire.block(fields)))

    return send


def upload(body, *fields, pieces=1):
    def send(wire):
        wire.request(wire.good("/any/acme/echo", "POST", fields), end=False)
        for piece in range(pieces):
            wire.send(frame(DATA, END_STREAM if piece == pieces - 1 else 0, 1, body))

    return send


# What only shows after the head. The origin may have seen the request begin; it
# must not have been given a whole one.
BROKEN_UPLOADS = [
    ("a body longer than Content-Length", upload(b"abcdef", ("content-length", "2"))),
    ("a body longer in its second frame", upload(b"ab", ("content-length", "2"), pieces=2)),
    ("a body shorter than Content-Length", upload(b"ab", ("content-length", "20"))),
    ("trailers without END_STREAM", trailers([("x", "y")], flags=0)),
    ("a name in upper case in trailers", trailers([("X-Upper", "y")])),
    ("Connection in trailers", trailers([("connection", "x")])),
    ("a line break in trailers", trailers([("x", "y\r\nz: w")])),
]

# Whole uploads: the body arrives, the words never do. The h2 crate overlooks
# pseudo-fields in trailers; they go no further.
UPLOADS = [
    ("pseudo-fields in trailers", trailers([(":path", "/spoofed")]), b"ab"),
    (":status in trailers", trailers([(":status", "299")]), b"ab"),
    ("a body with its length", upload(b"ab", ("content-length", "2")), b"ab"),
    ("a body without a length", upload(b"ab"), b"ab"),
    ("a body in many frames", upload(b"ab", pieces=50), b"ab" * 50),
    ("identity in trailers", trailers([("x-portcullis-client-id", "spoofed"), ("x_portcullis_scope", "spoofed")]), b"ab"),
    ("credentials in trailers", trailers([("authorization", "Bearer spoofed")]), b"ab"),
    ("framing in trailers", trailers([("content-length", "99"), ("host", "spoofed")]), b"ab"),
]
