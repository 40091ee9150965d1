//! WebSockets over HTTP/2 (RFC 8441): judged as the upgrade of HTTP/1.1 that they become,
//! and tunnels of one stream each. How they are cut is in `cuts`.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::backends::Http2;
use crate::harness::{Harness, ROUTES};
use crate::raw::Raw;
use crate::secure::{H2, Tunnel, Whole, request};
use crate::wait::PATIENCE;

const FLOOD: usize = 32 << 20;

/// An upstream that answers by the last segment of the path: `echo`, and says `hello`
/// first; `deaf` until it is released; `flood`, `fin` and `slam` by themselves; `wrong` to
/// another key, and a number with that status.
#[derive(Clone)]
struct Switch {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    open: watch::Sender<usize>,
    written: watch::Sender<usize>,
    released: watch::Sender<bool>,
}

impl Switch {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let switch = Switch {
            address: listener.local_addr().unwrap(),
            heads: Arc::default(),
            open: watch::Sender::default(),
            written: watch::Sender::default(),
            released: watch::Sender::default(),
        };
        let kept = switch.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let switch = kept.clone();
                tokio::spawn(async move {
                    switch.open.send_modify(|open| *open += 1);
                    let _ = switch.serve(stream).await;
                    switch.open.send_modify(|open| *open -= 1);
                });
            }
        });
        switch
    }

    async fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut buffer = Vec::new();
        while !buffer.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8(buffer).unwrap();
        self.heads.lock().unwrap().push(head.clone());
        let path = head.split([' ', '?']).nth(1).unwrap();
        let word = path.rsplit('/').next().unwrap();
        if let Ok(status) = word.parse::<u16>() {
            let length = if status == 204 { "" } else { "Content-Length: 2\r\n" };
            let answer = format!("HTTP/1.1 {status} Whatever\r\n{length}X-Kept: 1\r\n\r\n");
            stream.write_all(answer.as_bytes()).await?;
            return stream.write_all(b"no").await;
        }
        let key = fields(&head, "sec-websocket-key")[0].to_owned();
        let accept = derive_accept_key(if word == "wrong" { b"another" } else { key.as_bytes() });
        let mut answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade, X-Hop\r\n\
             X-Hop: 1\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
        );
        answer += if word == "echo" { "hello" } else { "" };
        stream.write_all(answer.as_bytes()).await?;
        let mut buffer = vec![7; 65_536];
        match word {
            "fin" => return stream.write_all(b"bye").await,
            "slam" => return stream.set_zero_linger(),
            "flood" => {
                let mut left = FLOOD;
                while left > 0 {
                    let written = stream.write(&buffer[..left.min(65_536)]).await?;
                    left -= written;
                    self.written.send_modify(|sum| *sum += written);
                }
            }
            "deaf" => {
                self.released.subscribe().wait_for(|released| *released).await.unwrap();
            }
            _ => {}
        }
        loop {
            let read = stream.read(&mut buffer).await?;
            if read == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..read]).await?;
        }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    async fn wait_open(&self, count: usize) {
        let mut open = self.open.subscribe();
        let waited = timeout(PATIENCE, open.wait_for(|open| *open == count)).await;
        waited.unwrap_or_else(|_| panic!("not {count}, {} are open", *self.open.borrow())).unwrap();
    }
}

fn fields<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    lines.filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
}

struct World {
    h: Harness,
    upstream: Switch,
    h2: H2,
    token: String,
}

impl World {
    async fn start() -> Self {
        World::with("").await
    }

    /// With these lines for the upstream.
    async fn with(lines: &str) -> Self {
        let upstream = Switch::start().await;
        let routes = format!(
            "{ROUTES}\n[[upstream]]\nname = \"switch\"\naddresses = [\"{}\"]\n{lines}\n\
             [[route]]\nname = \"talk\"\npath = \"/talk/{{account}}/{{*rest}}\"\n\
             upstream = \"switch\"\nenvironment = \"any\"\nbody_bytes = 0\n\
             allow = {{ GET = \"campaign.list\", POST = \"library.update\" }}\n",
            upstream.address
        );
        let h = Harness::builder().routes(routes).start().await;
        let token = h.token(&["reader"]).await;
        let wire = TcpStream::connect(h.data()).await.unwrap();
        let h2 = H2::wide(wire).await;
        World { h, upstream, h2, token }
    }

    async fn open(&self, word: &str) -> Tunnel {
        let (answer, tunnel) = self.ask(&format!("/talk/acme/{word}")).await;
        assert_eq!(answer.status(), 200, "{word}");
        tunnel
    }

    async fn ask(&self, path: &str) -> (http::Response<()>, Tunnel) {
        let request = request("CONNECT", &format!("http://h{path}"), Some(&self.token));
        self.h2.tunnel(request, "websocket").await.unwrap()
    }

    async fn gauges_are_back(&self) {
        self.h.metered(&["portcullis_open_streams 0"]).await;
    }
}

async fn says(tunnel: &mut Tunnel, words: &str) {
    let mut read = vec![0; words.len()];
    timeout(PATIENCE, tunnel.read_exact(&mut read)).await.unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&read), words);
}

async fn echoes(tunnel: &mut Tunnel, words: &str) {
    tunnel.write_all(words.as_bytes()).await.unwrap();
    says(tunnel, words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_and_the_upstream_sees_an_honest_upgrade() {
    let World { h, upstream, h2, .. } = World::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let asked = Request::builder()
        .uri("http://api.test:8080/talk/acme/a%20b/echo?room=%201")
        .header("authorization", format!("Bearer {token}"))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat, mail")
        .header("sec-websocket-extensions", "permessage-deflate")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-accept", "spoofed")
        .header("sec_websocket_key", "kept, it is nobody's")
        .header("origin", "https://app.test")
        .header("cookie", "a=1")
        .header("cookie", "portcullis_session=secret")
        .header("x-portcullis-account", "spoofed")
        .header("x_portcullis.scope", "spoofed")
        .header("x-forwarded-for", "6.6.6.6")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut tunnel) = h2.tunnel(asked, "websocket").await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut names: Vec<&str> = answer.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["date", "sec-websocket-protocol"], "nothing of the other connection");
    says(&mut tunnel, "hello").await;
    for words in ["ping", "pong", &"long ".repeat(50_000)] {
        echoes(&mut tunnel, words).await;
    }
    let heads = upstream.heads();
    let [head] = &heads[..] else { panic!("{heads:?}") };
    assert!(head.starts_with("GET /talk/acme/a%20b/echo?room=%201 HTTP/1.1\r\n"), "{head}");
    for (name, value) in [
        ("host", "api.test:8080"),
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, mail"),
        ("sec-websocket-extensions", "permessage-deflate"),
        ("origin", "https://app.test"),
        ("cookie", "a=1"),
        ("x-portcullis-client-id", &minted.client_id),
        ("x-portcullis-account", "acme"),
        ("x-portcullis-scope", "campaign.list campaign.read env:*"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-proto", "http"),
    ] {
        assert_eq!(fields(head, name), [value], "{name}");
    }
    let keys = fields(head, "sec-websocket-key");
    assert!(keys.len() == 1 && keys[0].len() == 24 && keys[0] != "dGhlIHNhbXBsZSBub25jZQ==");
    for name in ["sec-websocket-accept", "authorization", "content-length", "transfer-encoding"] {
        assert!(fields(head, name).is_empty(), "{name}");
    }
    assert!(!head.contains("spoofed") && !head.contains(":protocol"), "{head}");
    tunnel.shutdown().await.unwrap();
    let line = h.logged(|line| line["route"] == "talk").await;
    assert_eq!((&line["method"], &line["status"]), (&json!("GET"), &json!(101)), "{line}");
    assert_eq!((&line["decision"], &line["reason"]), (&json!("allow"), &json!("")), "{line}");
    assert_eq!(line["bytes_in"], 8 + 250_000, "{line}");
    assert_eq!(line["bytes_out"], 8 + 250_000 + 5, "{line}");
}

/// What has no permit as an upgrade of HTTP/1.1 has none here, and the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn the_verdict_is_that_of_the_upgrade_of_http1() {
    let World { h, upstream, h2, token } = World::start().await;
    // What may POST may not GET, nor CONNECT.
    let library = h.token(&["library"]).await;
    let cut = h.token(&["reader"]).await;
    let (status, _) = h.admin("POST", "/v1/revocations", json!({ "token": cut })).await;
    assert_eq!(status, 200);
    for (path, token, status) in [
        ("/talk/acme/echo", Some(&token), 101),
        ("/talk/acme/echo", None, 401),
        ("/talk/acme/echo", Some(&"nonsense".to_owned()), 401),
        ("/talk/acme/echo", Some(&cut), 401),
        ("/talk/acme/echo", Some(&library), 403),
        ("/talk/other/echo", Some(&token), 403),
        ("/nowhere", Some(&token), 404),
        ("/backend/accounts/acme/tag-rebuild", Some(&library), 405),
        ("/talk/acme/../other/echo", Some(&token), 400),
        ("/talk//acme/echo", Some(&token), 400),
        ("/talk/acme/%2fecho", Some(&token), 400),
    ] {
        let before = upstream.heads().len();
        let mut raw = Raw::connect(h.data()).await;
        let bearer = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
        let head = format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\n{bearer}Connection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        raw.send(head).await;
        let said = raw.head().await.unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {said}");
        let asked = request("CONNECT", &format!("http://h{path}"), token.map(String::as_str));
        let (answer, mut tunnel) = h2.tunnel(asked, "websocket").await.unwrap();
        let switched = status == 101;
        let expected = if switched { 200 } else { status };
        assert_eq!(answer.status().as_u16(), expected, "{path}");
        let seen = if switched { 2 } else { 0 };
        assert_eq!(upstream.heads().len() - before, seen, "{path}");
        if !switched {
            let mut body = Vec::new();
            tunnel.read_to_end(&mut body).await.unwrap();
            let body: Value = serde_json::from_slice(&body).unwrap();
            let challenges = answer.headers().contains_key("www-authenticate");
            assert_eq!(challenges, [401, 403].contains(&status), "{path}");
            assert!(body["request_id"].is_string(), "{body}");
        }
    }
    let wrong = |line: &Value| line["reason"] == "wrong_account" && line["method"] == "GET";
    h.logged(wrong).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_websocket_is_refused_and_its_connection_goes_on() {
    let world = World::start().await;
    let World { h, upstream, h2, token } = &world;
    let asked = |uri: &str, fields: &[(&str, &str)]| {
        let mut builder = Request::builder().uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.header("authorization", format!("Bearer {token}")).body(()).unwrap()
    };
    let uri = "http://h/talk/acme/echo";
    for (what, request, protocol) in [
        ("another protocol", asked(uri, &[]), "connect-udp"),
        ("no protocol", asked(uri, &[]), ""),
        ("two protocols", asked(uri, &[]), "websocket, h2c"),
        ("a length", asked(uri, &[("content-length", "5")]), "websocket"),
        ("no length", asked(uri, &[("content-length", "0")]), "websocket"),
        ("another Host", asked(uri, &[("host", "g")]), "websocket"),
        ("an override", asked(uri, &[("x-original-url", "/talk/other/echo")]), "websocket"),
        ("our own page", asked("http://h/.well-known/jwks.json", &[]), "websocket"),
        ("our own endpoint", asked("http://h/oauth2/token", &[]), "websocket"),
    ] {
        let (answer, tunnel) = h2.tunnel(request, protocol).await.unwrap();
        assert_eq!(answer.status(), 400, "{what}");
        drop(tunnel);
    }
    // The h2 crate's client would not send these; its server resets what has them.
    let plain = Request::builder().method("CONNECT").uri("h:443").body(()).unwrap();
    assert_eq!(h2.ask(plain).await.unwrap().status(), 400);
    assert!(upstream.heads().is_empty(), "{:?}", upstream.heads());
    let connect = |line: &Value| line["method"] == "CONNECT" && line["path"] == "/talk/acme/echo";
    assert_eq!(h.logged(connect).await["reason"], "malformed_request");
    let mut tunnel = world.open("echo").await;
    says(&mut tunnel, "hello").await;
}

/// RFC 9110 section 9.3.6: any 2xx would be a tunnel.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_does_not_switch_has_its_say_unless_it_looks_like_a_tunnel() {
    let world = World::start().await;
    for (word, status) in [
        ("302", 302),
        ("403", 403),
        ("426", 426),
        ("503", 503),
        ("200", 502),
        ("201", 502),
        ("204", 502),
        ("wrong", 502),
    ] {
        // Often enough to have an address that fails left out.
        for _ in 0..6 {
            let (answer, mut tunnel) = world.ask(&format!("/talk/acme/{word}")).await;
            assert_eq!(answer.status().as_u16(), status, "{word}");
            let _ = tunnel.write_all(b"early").await;
            let mut body = Vec::new();
            tunnel.read_to_end(&mut body).await.unwrap();
            if status == 502 {
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(body["error"], "bad_gateway");
            } else {
                assert_eq!(
                    (&body[..], &answer.headers()["x-kept"]),
                    (&b"no"[..], &"1".parse().unwrap())
                );
            }
        }
        world.upstream.wait_open(0).await;
    }
    assert_eq!(world.upstream.heads().len(), 8 * 6, "none was sent twice");
    let told = |line: &Value| line["status"] == 502 && line["reason"] == "bad_gateway";
    world.h.logged(told).await;
    world.gauges_are_back().await;
    let uri = world.h.url("/talk/acme/200");
    let plain = world.h.http.get(uri).bearer_auth(&world.token).send().await.unwrap();
    assert_eq!(plain.status(), 200, "to others it is a page as before");
}

/// There is no upgrade to ask it for.
#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_speaks_http2_is_not_asked() {
    let upstream = Http2::start(None).await;
    let address = upstream.address;
    let routes = format!(
        "{ROUTES}\n[[upstream]]\nname = \"h2c\"\naddresses = [\"{address}\"]\nprotocol = \"h2c\"\n\
         [[route]]\nname = \"talk\"\npath = \"/talk/{{*rest}}\"\nupstream = \"h2c\"\n\
         allow = {{ GET = \"@public\" }}\n"
    );
    let h = Harness::builder().routes(routes).start().await;
    let h2 = H2::plain(h.data()).await;
    let talk = || request("GET", "http://h/talk/x", None);
    let (answer, _) = h2.tunnel(talk(), "websocket").await.unwrap();
    assert_eq!((answer.status().as_u16(), upstream.seen().len()), (502, 0));
    assert_eq!(h2.exchange(talk(), b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_early_waits_for_the_tunnel() {
    let world = World::start().await;
    for _ in 0..50 {
        let mut asked = request("CONNECT", "http://h/talk/acme/echo", Some(&world.token));
        asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
        let (answer, mut send) = world.h2.begin(asked, false).await;
        send.send_data(Bytes::from_static(b"early"), false).unwrap();
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        let mut receive = answer.into_body();
        let mut read = Vec::new();
        while read.len() < 10 {
            let data = timeout(PATIENCE, receive.data()).await.unwrap().unwrap().unwrap();
            read.extend_from_slice(&data);
        }
        assert_eq!(read, b"helloearly");
    }
    world.upstream.wait_open(0).await;
    world.gauges_are_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_may_end_it_and_nothing_stays_open() {
    let world = World::start().await;
    let mut neighbour = world.open("echo").await;
    says(&mut neighbour, "hello").await;
    // The client says that it has no more to say.
    let mut tunnel = world.open("echo").await;
    says(&mut tunnel, "hello").await;
    world.upstream.wait_open(2).await;
    tunnel.shutdown().await.unwrap();
    let mut rest = Vec::new();
    timeout(PATIENCE, tunnel.read_to_end(&mut rest)).await.unwrap().unwrap();
    world.upstream.wait_open(1).await;
    // It had none from the start.
    let mut asked = request("CONNECT", "http://h/talk/acme/deaf", Some(&world.token));
    asked.extensions_mut().insert(h2::ext::Protocol::from_static("websocket"));
    let (answer, _send) = world.h2.begin(asked, true).await;
    let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
    assert_eq!(Whole::of(answer).await.body, b"");
    world.upstream.released.send_replace(true);
    world.upstream.wait_open(1).await;
    // The client resets it.
    let mut tunnel = world.open("echo").await;
    says(&mut tunnel, "hello").await;
    world.upstream.wait_open(2).await;
    tunnel.send.send_reset(h2::Reason::CANCEL);
    world.upstream.wait_open(1).await;
    // The upstream closes, and breaks off.
    let mut tunnel = world.open("fin").await;
    let mut said = Vec::new();
    timeout(PATIENCE, tunnel.read_to_end(&mut said)).await.unwrap().unwrap();
    assert_eq!(said, b"bye");
    let mut tunnel = world.open("slam").await;
    timeout(PATIENCE, tunnel.read_to_end(&mut said)).await.unwrap().unwrap_err();
    world.upstream.wait_open(1).await;
    // The connection goes, and all that it had.
    echoes(&mut neighbour, "still here").await;
    world.h.metered(&["portcullis_open_streams 1"]).await;
    world.h2.driver.abort();
    world.upstream.wait_open(0).await;
    world.gauges_are_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_holds_up_nobody_and_fills_nothing() {
    let world = World::start().await;
    let mut neighbour = world.open("echo").await;
    says(&mut neighbour, "hello").await;
    let mut flooded = world.open("flood").await;
    // It comes to a halt while others go on.
    let (mut last, mut same) = (0, 0);
    while same < 50 {
        echoes(&mut neighbour, "ping").await;
        let now = *world.upstream.written.borrow();
        same = if now == last && now > 0 { same + 1 } else { 0 };
        last = now;
    }
    assert!(last < FLOOD / 2, "{last} bytes lie somewhere");
    // And goes on, nothing of it lost, once it is read.
    let (mut left, mut buffer) = (FLOOD, vec![0; 65_536]);
    while left > 0 {
        let read = timeout(PATIENCE, flooded.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0 && buffer[..read].iter().all(|byte| *byte == 7), "{left} are left");
        left -= read;
    }
    // The other way round: the upstream reads nothing.
    let mut deaf = world.open("deaf").await;
    let (mut sent, mut same) = (0, 0);
    let piece = vec![7; 65_536];
    while same < 50 {
        let written = timeout(Duration::ZERO, deaf.write(&piece)).await;
        let written = written.map_or(0, Result::unwrap);
        same = if written == 0 { same + 1 } else { 0 };
        sent += written;
        echoes(&mut neighbour, "ping").await;
        assert!(sent < FLOOD / 2, "{sent} bytes lie somewhere");
    }
    world.upstream.released.send_replace(true);
    let mut left = sent;
    while left > 0 {
        let read = timeout(PATIENCE, deaf.read(&mut buffer)).await.unwrap().unwrap();
        assert!(read > 0, "{left} are left");
        left -= read;
    }
}

/// It has a place among what may go on at once, as long as it lasts.
#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_for_tunnels() {
    let world = World::start().await;
    let limited = json!({"name": "n", "account": "acme", "roles": ["reader"], "concurrency": 1});
    let minted = world.h.mint_with(limited).await;
    let token = world.h.trade(&minted).await;
    let ask = async || {
        let asked = request("CONNECT", "http://h/talk/acme/echo", Some(&token));
        world.h2.tunnel(asked, "websocket").await.unwrap()
    };
    let (first, tunnel) = ask().await;
    let (second, _) = ask().await;
    assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 429));
    drop(tunnel);
    world.gauges_are_back().await;
    assert_eq!(ask().await.0.status(), 200);
}
