//! Requests that nobody well-meaning sends, over raw sockets. Each is refused
//! and the upstream saw nothing, or it saw exactly the bytes that were judged.

use crate::harness::Harness;
use crate::raw::Raw;

/// What is to become of a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// This status, and nothing reaches the upstream.
    Refused(u16),
    /// It is forwarded with this target and this body.
    Forwarded(&'static str, &'static str),
}

use Fate::{Forwarded, Refused};

struct Table {
    token: String,
    rows: Vec<(String, Fate)>,
}

impl Table {
    /// Where `make conformance` asks for it: it sends the same to another proxy.
    fn lend(&self) {
        let Some(path) = std::env::var_os("HOSTILE_TABLE") else { return };
        let rows = self.rows.iter().map(|(request, fate)| {
            let status = if let Refused(status) = fate { Some(status) } else { None };
            serde_json::json!([request.replace(&self.token, "{T}"), status])
        });
        let rows: Vec<serde_json::Value> = rows.collect();
        std::fs::write(path, serde_json::to_vec(&rows).unwrap()).unwrap();
    }

    /// A whole request; `{T}` stands for a good token.
    fn raw(&mut self, request: &str, fate: Fate) {
        self.rows.push((request.replace("{T}", &self.token), fate));
    }

    /// A good request but for its target.
    fn target(&mut self, target: &str, fate: Fate) {
        self.raw(
            &format!("GET {target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {{T}}\r\n\r\n"),
            fate,
        );
    }

    /// A good request but for these fields.
    fn fields(&mut self, fields: &str, fate: Fate) {
        self.raw(
            &format!(
                "GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {{T}}\r\n{fields}\r\n\r\n"
            ),
            fate,
        );
    }

    /// A good upload but for its framing.
    fn framing(&mut self, fields: &str, body: &str, fate: Fate) {
        self.raw(
            &format!(
                "POST /any/acme/echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {{T}}\r\n{fields}\r\n\r\n{body}"
            ),
            fate,
        );
    }

    /// A good request but for its Authorization fields.
    fn authorization(&mut self, fields: &str, fate: Fate) {
        self.raw(&format!("GET /any/acme/x HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n"), fate);
    }
}

fn paths(t: &mut Table) {
    for target in [
        // Dot segments, however they are spelt.
        "/any/acme/../other/x",
        "/any/acme/..",
        "/any/acme/.",
        "/any/acme/./x",
        "/../any/acme/x",
        "/any/acme/..;/x",
        "/any/acme/..;a=b/x",
        "/any/acme/.;/x",
        "/any/acme/;/x",
        "/any/acme/%2e%2e/x",
        "/any/acme/%2E%2E/x",
        "/any/acme/.%2e/x",
        "/any/acme/%2e./x",
        "/any/acme/%2e",
        "/any/acme/..%3b/x",
        "/any/acme/..%2fx",
        "/any/acme/..%5cx",
        "/any/acme/%252e%252e/x",
        "/any/acme/%25%32%65/x",
        "/any/acme/..%00/x",
        "/any/acme/..%09/x",
        "/any/acme/..%0d/x",
        "/any/acme/..\\x",
        "/any/acme/.%00./x",
        "/any/acme/%c0%ae%c0%ae/x",
        "/any/acme/%e0%80%ae/x",
        "/any/acme/%f0%80%80%ae/x",
        "/any/acme/%uff0e%uff0e/x",
        "/public/../any/acme/x",
        "/public/..;/any/acme/x",
        "/public/%2e%2e/any/acme/x",
        "/public/x/../../any/acme/x",
        "/public/..%2f..%2fany/acme/x",
        // Slashes.
        "//any/acme/x",
        "/any//acme/x",
        "/any/acme//x",
        "/any/acme/x//",
        "///",
        "//h/any/acme/x",
        "/any/acme/%2fx",
        "/any/acme/%2Fx",
        "/any%2facme/x",
        "/any/acme/%5cx",
        "/any/acme/%5C",
        "/any\\acme/x",
        "\\any\\acme\\x",
        "/any/acme/\\x",
        "/any/acme/x\\",
        "/any/acme/%255c",
        "/any/acme/%252f",
        "/any/acme/%25252f",
        "/any/acme/%c0%af",
        "/any/acme/%e0%80%af",
        // Escapes that are none, or that are needless.
        "/any/acme/%",
        "/any/acme/%2",
        "/any/acme/%zz",
        "/any/acme/%g0",
        "/any/acme/%u002f",
        "/any/acme/%61",
        "/any/acme/%41",
        "/any/acme/%7e",
        "/any/acme/%2d",
        "/an%79/acme/x",
        "/any/%61cme/x",
        "/any/acme/%30",
        "/any/acme/%5f",
        // Controls, and what is no URI character.
        "/any/acme/%00",
        "/any/acme/x%00.json",
        "/any/acme/%0a",
        "/any/acme/%0d%0aX:y",
        "/any/acme/%7f",
        "/any/acme/%01",
        "/any/acme/%ff",
        "/any/acme/%80",
        "/any/acme/%ed%a0%80",
        "/any/acme/{x}",
        "/any/acme/a|b",
        "/any/acme/a^b",
        "/any/acme/`a`",
        "/any/acme/a\"b",
        "/any/acme/<a>",
        "/any/acme/[a]",
        // Fragments.
        "/any/acme/x#y",
        "/any/acme/x?a#b",
        "/#",
    ] {
        t.target(target, Refused(400));
    }
    // Parameters that a lax server cuts off before it compares.
    for target in ["/public;a=b/../any", "/any;x/acme/../y"] {
        t.target(target, Refused(400));
    }
    // Another tenant's path, and what only looks like ours.
    for target in
        ["/any/other/x", "/any/ACME/x", "/any/acme%20/x", "/any/acm/x", "/any/acme2/x", "/any/*/x"]
    {
        t.target(target, Refused(403));
    }
    for target in
        ["/ANY/acme/x", "/any", "/anything/acme/x", "/any.json", "/", "/admin", "/metrics"]
    {
        t.target(target, Refused(404));
    }
    // Raw as it came.
    for target in [
        "/any/acme/a%20b",
        "/any/acme/caf%C3%A9",
        "/any/acme/caf%c3%a9",
        "/any/acme/a+b",
        "/any/acme/a:b@c!$&'()*,=",
        "/any/acme/...",
        "/any/acme/x?y=%2e%2e/../%00%zz//",
        "/any/acme/x?",
        "/any/acme/x??a=b&a=c",
        "/any/acme/100%25",
    ] {
        t.target(target, Forwarded(target, ""));
    }
}

fn request_lines(t: &mut Table) {
    let rest = "Host: h\r\nAuthorization: Bearer {T}\r\n\r\n";
    for line in [
        "GET any/acme/x HTTP/1.1",
        "GET ?x HTTP/1.1",
        "GET any:acme HTTP/1.1",
        "GET * HTTP/1.1",
        "GET  /any/acme/x HTTP/1.1",
        "GET /any/acme/x  HTTP/1.1",
        "GET\t/any/acme/x\tHTTP/1.1",
        "GET /any/acme/x HTTP/1.1 ",
        " GET /any/acme/x HTTP/1.1",
        "GET /any/acme/x y HTTP/1.1",
        "GET /any/acme/x",
        "/any/acme/x HTTP/1.1",
        "GET /any/acme/x HTTP/1.2",
        "GET /any/acme/x HTTP/2.0",
        "GET /any/acme/x HTTP/0.9",
        "GET /any/acme/x http/1.1",
        "GET /any/acme/x HTTP/1.10",
        "GET /any/acme/x HTTP/1.1x",
        "GET /any/acme/x HTTPS/1.1",
        "GE T /any/acme/x HTTP/1.1",
        "G(T /any/acme/x HTTP/1.1",
        "GET\u{b} /any/acme/x HTTP/1.1",
        "CONNECT h:80 HTTP/1.1",
        "CONNECT /any/acme/x HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET http://other/any/acme/x HTTP/1.1",
        "GET http://h:81/any/acme/x HTTP/1.1",
        "GET http://u@h/any/acme/x HTTP/1.1",
        "GET ftp://h/any/acme/x HTTP/1.1",
        "GET http://H/any/acme/x HTTP/1.1",
        "GET http://h HTTP/1.1",
        "GET http:///any/acme/x HTTP/1.1",
        "GET http:/any/acme/x HTTP/1.1",
        "GET http://h/../any/acme/x HTTP/1.1",
        "GET http://h\\@other/any/acme/x HTTP/1.1",
        "GET /any/acme/\u{e9} HTTP/1.1",
        "GET /any/acme/x\u{0} HTTP/1.1",
    ] {
        t.raw(&format!("{line}\r\n{rest}"), Refused(400));
    }
    let long = format!("{} /any/acme/x HTTP/1.1\r\n{rest}", "A".repeat(33));
    t.raw(&long, Refused(400));
    for line in
        ["PURGE /any/acme/x HTTP/1.1", "get /any/acme/x HTTP/1.1", "TRACE /any/acme/x HTTP/1.1"]
    {
        t.raw(&format!("{line}\r\n{rest}"), Refused(405));
    }
    t.raw(&format!("GET http://h/any/acme/x?y HTTP/1.1\r\n{rest}"), Forwarded("/any/acme/x?y", ""));
    t.raw(&format!("GET HTTP://h/any/acme/x HTTP/1.1\r\n{rest}"), Forwarded("/any/acme/x", ""));
    t.raw(&format!("\r\n\r\nGET /any/acme/x HTTP/1.1\r\n{rest}"), Forwarded("/any/acme/x", ""));
}

fn hosts(t: &mut Table) {
    for hosts in [
        "X: y",
        "Host: h\r\nHost: h",
        "Host: h\r\nhost: other",
        "Host: a, b",
        "Host: a b",
        "Host: u@h",
        "Host: h/x",
        "Host: h?x",
        "Host: h#x",
        "Host: ",
        "Host: h:port",
        "Host: h:-1",
        "Host: h:1:2",
        "Host: [::1",
        "Host: ::1]",
        "Host: h\\x",
        "Host: h%00",
        "Host: \"h\"",
        "Host: h\u{0}",
        "Host:\th\tx",
        "Host : h",
        " Host: h",
        "Host: h\r\n Host: g",
        "Host: http://h",
        "Host: h:999999",
    ] {
        t.raw(
            &format!("GET /any/acme/x HTTP/1.1\r\n{hosts}\r\nAuthorization: Bearer {{T}}\r\n\r\n"),
            Refused(400),
        );
    }
}

fn framings(t: &mut Table) {
    let smuggled = "GET /any/acme/smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 4",
        "Content-Length: 4\r\nContent-Length: 5",
        "Content-Length: 4, 4",
        "Content-Length: +4",
        "Content-Length: -4",
        "Content-Length: 4.0",
        "Content-Length: 0x4",
        "Content-Length: 4e0",
        "Content-Length: ",
        "Content-Length: 4 4",
        "Content-Length: 4;",
        "Content-Length: \"4\"",
        "Content-Length: 99999999999999999999",
        "Content-Length : 4",
        "Content-Length\t: 4",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, gzip",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked;q=1",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: ",
        "Transfer-Encoding: chunked,",
        "Transfer-Encoding: ,chunked",
        "Transfer-Encoding: chunked\u{b}",
        "Transfer-Encoding:\u{b}chunked",
        "Transfer-Encoding: chu\0nked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: chunked\r\n\tx: y",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        ": x",
        "=: x",
        "X y: z",
        "X\u{0}: y",
        "X(: y",
        "X: \u{1}",
        "X: \u{7f}",
        "nocolon",
    ] {
        t.framing(fields, &format!("0\r\n\r\n{smuggled}"), Refused(400));
    }
    t.raw(
        "POST /any/acme/echo HTTP/1.0\r\nHost: h\r\nAuthorization: Bearer {T}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Refused(400),
    );
    let chunked = "Transfer-Encoding: chunked";
    for body in [
        "zz\r\nab\r\n0\r\n\r\n",
        "-1\r\nab\r\n0\r\n\r\n",
        "+2\r\nab\r\n0\r\n\r\n",
        "0x2\r\nab\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nab\r\n0\r\n\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
        " 2\r\nab\r\n0\r\n\r\n",
        "2 \r\nab\r\n0\r\n\r\n",
        "2\nab\r\n0\r\n\r\n",
        "2\r\nab\n0\r\n\r\n",
        "2\r\nab0\r\n\r\n",
        "2;x\ny\r\nab\r\n0\r\n\r\n",
        "2;\0\r\nab\r\n0\r\n\r\n",
        "\r\n2\r\nab\r\n0\r\n\r\n",
        "2\r\nab\r\n\r\n",
        "2\r\nab\r\n0\r\nX-Portcullis-Scope : a\r\n\r\n",
        "2\r\nab\r\n0\r\nGET /any/acme/smuggled HTTP/1.1\r\n\r\n",
        "2\r\nab\r\n0\r\na: b\r\n folded\r\n\r\n",
        "2\r\nab\r\n0\r\na: b\n\r\n",
    ] {
        t.framing(chunked, body, Refused(400));
    }
    t.framing(chunked, "2\r\nab\r\n0\r\n\r\n", Forwarded("/any/acme/echo", "ab"));
    t.framing(
        "Transfer-Encoding: Chunked",
        "2;x=y\r\nab\r\n0\r\n\r\n",
        Forwarded("/any/acme/echo", "ab"),
    );
    t.framing("Content-Length: 2", "ab", Forwarded("/any/acme/echo", "ab"));
    t.framing("Content-Length:2", "ab", Forwarded("/any/acme/echo", "ab"));
    // An alias of a framing field is dropped, not obeyed.
    t.framing(
        "Content-Length: 2\r\nTransfer_Encoding: chunked",
        "ab",
        Forwarded("/any/acme/echo", "ab"),
    );
    t.framing("Content-Length: 2\r\nContent_Length: 99", "ab", Forwarded("/any/acme/echo", "ab"));
    for fields in [
        "X-HTTP-Method-Override: DELETE",
        "X-HTTP-Method: DELETE",
        "X-Method-Override: DELETE",
        "x_http_method_override: DELETE",
        "X-Original-URL: /admin",
        "X-Rewrite-URL: /admin",
        "X_Original_Url: /admin",
        "Connection: host",
        "Connection: authorization, x-forwarded-for",
    ] {
        t.fields(fields, Refused(400));
    }
}

fn authorizations(t: &mut Table) {
    for fields in [
        "X: y",
        "Authorization: Bearer",
        "Authorization: Bearer ",
        "Authorization: ",
        "Authorization: Bearer x",
        "Authorization: Bearer a.b.c",
        "Authorization: bearer",
        "Authorization: Basic QTpC",
        "Authorization: Bearer {T}\r\nAuthorization: Bearer {T}",
        "Authorization: Bearer {T}\r\nAuthorization: Basic QTpC",
        "Authorization: {T}",
        "Authorization: Bearer {T} x",
        "Authorization: Bearer {T},x",
        "Authorization: Bearer {T}=",
        "Authorization: Bearer {T}.x",
        "Authorization: Bearer x{T}",
        "Authorization: Bearer\t{T}",
        "Authorization: Bearer\u{a0}{T}",
        "Authorization: Bearer \"{T}\"",
        "Authorization: DPoP {T}",
        "Authorization: Bearer eyJhbGciOiJub25lIn0.e30.",
        "Authorization: Bearer ..",
        "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA",
        "Proxy-Authorization: Bearer {T}",
        "X-Authorization: Bearer {T}",
        "Cookie: access_token={T}",
        "X-Access-Token: {T}",
        "Authorization_: Bearer {T}",
        "X-Portcullis-Client-Id: admin\r\nX-Portcullis-Scope: library.clear",
    ] {
        t.authorization(fields, Refused(401));
    }
    t.raw("GET /any/acme/x?access_token={T} HTTP/1.1\r\nHost: h\r\n\r\n", Refused(401));
    t.raw(
        "GET /any/acme/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        Refused(401),
    );
    t.raw("GET /any/acme/x HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", Refused(401));
    t.authorization("aUTHORIZATION: bEARER   {T}", Forwarded("/any/acme/x", ""));
}

fn spoofed_identities(t: &mut Table) {
    for name in [
        "X-Portcullis-Client-Id",
        "x-portcullis-client-id",
        "X_Portcullis_Client_Id",
        "X.Portcullis.Client.Id",
        "X-Portcullis_Client-Id",
        "X-PORTCULLIS-ACCOUNT",
        "X-Portcullis-Scope",
        "X-Portcullis-Jti",
        "X-Portcullis-Anything",
        "x_portcullis-scope",
        "X~Portcullis!Scope",
        "X-Portcullis%2e_Client-Id",
    ] {
        t.fields(&format!("{name}: spoofed"), Forwarded("/any/acme/x", ""));
        t.fields(&format!("{name}: spoofed\r\n{name}: spoofed"), Forwarded("/any/acme/x", ""));
        t.fields(&format!("Connection: {name}\r\n{name}: spoofed"), Forwarded("/any/acme/x", ""));
    }
    for fields in [
        "Connection: x-portcullis-client-id, x-portcullis-scope",
        "Connection: close, te",
        "Forwarded: for=spoofed",
        "X-Forwarded-For: spoofed",
        "X-Forwarded-Proto: spoofed",
        "X-Forwarded-Host: spoofed",
        "X-Real-IP: spoofed",
        "TE: spoofed, gzip",
        "Keep-Alive: spoofed",
        "Proxy-Connection: spoofed",
        "Trailer: X-Portcullis-Scope",
        "Upgrade: spoofed",
    ] {
        t.fields(fields, Forwarded("/any/acme/x", ""));
    }
}

fn table(token: String) -> Table {
    let mut table = Table { token, rows: Vec::new() };
    paths(&mut table);
    request_lines(&mut table);
    hosts(&mut table);
    framings(&mut table);
    authorizations(&mut table);
    spoofed_identities(&mut table);
    table
}

/// All of them, for those who make worse ones of them.
pub(crate) fn requests(token: &str) -> Vec<String> {
    table(token.to_owned()).rows.into_iter().map(|(request, _)| request).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_are_refused_or_forwarded_as_they_were_judged() {
    let h = Harness::start().await;
    let table = table(h.token(&["reader"]).await);
    assert!(table.rows.len() >= 250, "{} rows", table.rows.len());
    table.lend();
    let mut wrong = Vec::new();
    for (request, fate) in &table.rows {
        if let Err(what) = meets(&h, request, *fate).await {
            wrong.push(format!("{fate:?}: {what}\n  {:?}", request.replace(&table.token, "{T}")));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), table.rows.len(), wrong.join("\n"));
}

async fn meets(h: &Harness, request: &str, fate: Fate) -> Result<(), String> {
    let before = h.upstream.count();
    let mut raw = Raw::connect(h.data()).await;
    raw.send(request).await;
    let answer = raw.answer().await.ok_or("no answer")?;
    drop(raw);
    let seen = &h.upstream.seen()[before..];
    match fate {
        Refused(status) => {
            if answer.status != status {
                return Err(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
            }
            if let Some(seen) = seen.first() {
                return Err(format!("the upstream saw {}", seen.head));
            }
            let body: serde_json::Value = serde_json::from_slice(&answer.body)
                .map_err(|_| format!("the refusal is {:?} {:?}", answer.head, answer.body))?;
            let whole =
                ["error", "error_description", "request_id"].iter().all(|k| body[k].is_string());
            if !whole {
                return Err(format!("the refusal is {body}"));
            }
        }
        Forwarded(target, body) => {
            if answer.status != 200 {
                return Err(format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)));
            }
            let [seen] = seen else {
                return Err(format!("the upstream saw {} requests", seen.len()));
            };
            if seen.target() != target || seen.body != body.as_bytes() {
                return Err(format!("the upstream saw {} {:?}", seen.target(), seen.body));
            }
            let head = seen.head.to_ascii_lowercase();
            let ids = ["client-id", "account", "scope", "jti"];
            let ours =
                ids.iter().all(|id| head.matches(&format!("x-portcullis-{id}:")).count() == 1);
            if head.contains("spoofed")
                || !ours
                || head.contains("_encoding")
                || head.contains("_length")
            {
                return Err(format!("the upstream saw {}", seen.head));
            }
        }
    }
    Ok(())
}
