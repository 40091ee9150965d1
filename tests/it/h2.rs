//! HTTP/2 in front: the same judging, the same strictness, one stream at a time.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::Harness;
use crate::raw::Raw;
use crate::secure::{H2, Whole, request};
use crate::wait::until;

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_judged_and_a_refusal_keeps_the_connection() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for (method, path, token, status) in [
        ("GET", "/any/acme/x?a=%2F", Some(token.as_str()), 200),
        ("GET", "/any/acme/x", None, 401),
        ("GET", "/any/acme/x", Some("nonsense"), 401),
        ("GET", "/any/other/x", Some(&token), 403),
        ("GET", "/nowhere", Some(&token), 404),
        ("PUT", "/v1/accounts/acme/projects", Some(&token), 405),
        ("HEAD", "/any/acme/x", Some(&token), 200),
        ("GET", "/.well-known/jwks.json", None, 200),
        ("GET", "/any/acme/bytes-2000000", Some(&token), 200),
    ] {
        let answer = h2.exchange(request(method, &format!("http://h{path}"), token), b"").await;
        assert_eq!(answer.status, status, "{method} {path}");
        if status >= 400 {
            assert!(
                answer.json()["request_id"].is_string() && answer.field("x-request-id").is_some()
            );
        }
    }
    assert_eq!(h.upstream.count(), 3);
    assert_eq!(h.upstream.seen()[0].target(), "/any/acme/x?a=%2F");
    h.logged(|line| line["status"] == 403 && line["reason"] == "wrong_account").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_up_is_as_from_http1() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let h2 = H2::plain(h.data()).await;
    let spoofed = Request::builder()
        .method("POST")
        .uri("http://api.test:8080/any/acme/x")
        .header("authorization", format!("Bearer {token}"))
        .header("x-portcullis-client-id", "evil")
        .header("x_portcullis_account", "evil")
        .header("x.portcullis.scope", "evil")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-proto", "https")
        .header("transfer_encoding", "chunked")
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .header("te", "trailers")
        .header("x-kept", "yes")
        .body(())
        .unwrap();
    assert_eq!(h2.exchange(spoofed, b"hello").await.status, 200);
    let seen = h.upstream.last();
    assert_eq!((seen.method(), &seen.body[..]), ("POST", &b"hello"[..]));
    assert_eq!(seen.field("host"), Some("api.test:8080"));
    assert_eq!(seen.field("x-portcullis-client-id"), Some(minted.client_id.as_str()));
    assert_eq!(seen.field("x-portcullis-account"), Some("acme"));
    assert_eq!(seen.field("x-portcullis-scope"), Some("campaign.list campaign.read env:*"));
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some("api.test:8080"));
    assert_eq!(seen.field("cookie"), Some("a=1; b=2"));
    assert_eq!(seen.field("te"), Some("trailers"));
    assert_eq!(seen.field("x-kept"), Some("yes"));
    assert!(!seen.head.contains("evil") && seen.fields("transfer_encoding").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_readings_are_refused_as_on_http1() {
    let limits = "[server.limits]\ntarget_bytes = \"1KiB\"\nheader_bytes = \"4KiB\"\n";
    let h = Harness::builder().server(limits).start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    let long = "a".repeat(1100);
    let with = |uri: &str, fields: &[(&str, &str)]| {
        let mut builder = Request::builder().uri(uri);
        builder = builder.header("authorization", format!("Bearer {token}"));
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    };
    let fields: Vec<(String, String)> =
        (0..60).map(|n| (format!("x-{n}"), "y".repeat(60))).collect();
    let fields: Vec<(&str, &str)> = fields.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for (what, request, status) in [
        ("dot segment", with("http://h/any/acme/../other", &[]), 400),
        ("escaped slash", with("http://h/any/acme/a%2fb", &[]), 400),
        ("double slash", with("http://h/any//acme", &[]), 400),
        ("Host differs", with("http://h/any/acme/x", &[("host", "g")]), 400),
        ("two Hosts", with("http://h/any/acme/x", &[("host", "h"), ("host", "h")]), 400),
        ("two tokens", with("http://h/any/acme/x", &[("authorization", "Bearer x")]), 401),
        ("override", with("http://h/any/acme/x", &[("x-http-method-override", "PUT")]), 400),
        (
            "two lengths",
            with("http://h/any/acme/x", &[("content-length", "0"), ("content-length", "0")]),
            400,
        ),
        ("long target", with(&format!("http://h/any/acme/{long}"), &[]), 414),
        ("many fields", with("http://h/any/acme/x", &fields), 431),
        ("connect", Request::builder().method("CONNECT").uri("h:443").body(()).unwrap(), 400),
    ] {
        let answer = h2.ask(request).await.map(|answer| answer.status().as_u16());
        assert_eq!(answer.unwrap(), status, "{what}");
    }
    let told = || h.log.lines().iter().filter(|line| line["status"] == 431).count();
    until("one is told of", async || told() == 1).await;
    // Further above the limit the h2 crate answers by itself.
    for method in ["GET", "POST"] {
        let mut huge = with("http://h/any/acme/x", &[("x-huge", &"y".repeat(30_000))]);
        *huge.method_mut() = method.parse().unwrap();
        let answer = h2.begin(huge, method == "GET").await.0.await.unwrap();
        assert_eq!(answer.status(), 431, "{method}");
    }
    until("all three are told of", async || told() == 3).await;
    assert_eq!(h.upstream.count(), 0);
    let fine = h2.exchange(with("http://h/any/acme/x", &[("host", "h")]), b"").await;
    assert_eq!(fine.status, 200, "the connection is as good as before");
    let malformed = |line: &serde_json::Value| line["reason"] == "malformed_request";
    h.logged(|line| malformed(line) && line["method"] == "CONNECT").await;
    h.logged(|line| malformed(line) && line["path"] == "/any/acme/x" && line["method"] == "GET")
        .await;
    h.logged(|line| line["reason"] == "too_large" && line["status"] == 431).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_the_rules_of_the_connection_is_told_of_in_the_log() {
    let h = Harness::start().await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // Settings, and data of no stream (RFC 9113 section 6.1).
    raw.send(b"\0\0\0\x04\0\0\0\0\0").await;
    raw.send(b"\0\0\x01\0\0\0\0\0\0x").await;
    assert!(raw.is_closed().await);
    h.logged(|line| line["reason"] == "malformed_request" && line["status"] == 400).await;
}

/// A HEADERS frame without a body to come: GET, and `fields` (RFC 7541 appendix A).
fn get(stream: u8, fields: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, 1 + fields.len() as u8, 1, 5, 0, 0, 0, stream, 0x82];
    frame.extend_from_slice(fields);
    frame
}

/// What the h2 crate refuses before anybody sees a request is told all the same, and
/// counts like any other.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_no_requests_are_told_of_and_bounded() {
    let h = Harness::start().await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    // A status, which is for answers; then one that is good; then nothing but bad ones.
    raw.send(get(1, &[0x86, 0x84, 0x88])).await;
    raw.send(get(3, &[0x86, 0x84, 0x41, 1, b'h'])).await;
    let line = h.logged(|line| line["path"] == "/").await;
    assert_eq!(line["reason"], "no_route", "{line}");
    let told = || {
        let lines = h.log.lines();
        lines.iter().filter(|line| line["reason"] == "malformed_request").count()
    };
    until("one is told of", async || told() == 1).await;
    for stream in (5..67).step_by(2) {
        raw.send(get(stream, &[0x86, 0x84, 0x88])).await;
    }
    // The connection takes no more: GOAWAY, and the end.
    assert!(raw.is_closed().await);
    until("so many are told of", async || told() >= 32).await;
    let counted = "portcullis_decisions_total{decision=\"deny\",reason=\"malformed_request\",route=\"none\"} 32";
    h.metered(&[counted]).await;
    assert_eq!(told(), 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_beyond_the_limit_are_told_of_once() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let bearer = format!("Bearer {token}");
    let length = bearer.len() - 127;
    let mut fields = vec![0x86, 0x41, 1, b'h', 0x04, 16];
    fields.extend_from_slice(b"/any/acme/silent");
    fields.extend_from_slice(&[
        0x0f,
        0x08,
        0x7f,
        0x80 | (length % 128) as u8,
        (length / 128) as u8,
    ]);
    fields.extend_from_slice(bearer.as_bytes());
    // Uploads, whose first bytes are on their way when the stream is refused.
    let mut frames = Vec::new();
    for stream in 0..170_u32 {
        let stream = (2 * stream + 1).to_be_bytes();
        frames.extend_from_slice(&((1 + fields.len()) as u32).to_be_bytes()[1..]);
        frames.extend_from_slice(&[1, 4]);
        frames.extend_from_slice(&stream);
        frames.push(0x83);
        frames.extend_from_slice(&fields);
        frames.extend_from_slice(&[0, 0, 1, 0, 1]);
        frames.extend_from_slice(&stream);
        frames.push(b'a');
    }
    raw.send(frames).await;
    h.upstream.wait_for(100).await;
    let line = h.logged(|line| line["reason"] == "overloaded").await;
    assert_eq!((&line["status"], &line["decision"]), (&503.into(), &"deny".into()));
    let malformed = |line: &serde_json::Value| line["reason"] == "malformed_request";
    assert!(!h.log.lines().iter().any(malformed), "they keep to the rules");
    drop(raw);
    h.metered(&["portcullis_open_streams 0"]).await;
    let told = h.log.lines().into_iter().filter(|line| line["reason"] == "overloaded").count();
    assert_eq!(told, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_keep_to_their_limits() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    let post = |path: &str, length: Option<&str>| {
        let uri = format!("http://h{path}");
        let mut builder = Request::builder().method("POST").uri(uri);
        builder = builder.header("authorization", format!("Bearer {token}"));
        if let Some(length) = length {
            builder = builder.header("content-length", length);
        }
        builder.body(()).unwrap()
    };
    let (response, _upload) = h2.begin(post("/small/acme", Some("2000")), false).await;
    assert_eq!(Whole::of(response.await.unwrap()).await.status, 413, "announced");
    assert_eq!(h.upstream.count(), 0);
    let (response, mut upload) = h2.begin(post("/small/acme", None), false).await;
    upload.send_data(Bytes::from(vec![0; 2000]), false).unwrap();
    assert_eq!(Whole::of(response.await.unwrap()).await.status, 413, "counted");
    assert_eq!(h2.exchange(post("/small/acme", None), &[1; 1000]).await.status, 200);
    assert_eq!(h.upstream.last().body, [1; 1000]);
    let big = vec![7; 3 << 20];
    let (response, mut upload) = h2.begin(post("/any/acme/upload", None), false).await;
    upload.reserve_capacity(big.len());
    upload.send_data(big.into(), true).unwrap();
    assert_eq!(Whole::of(response.await.unwrap()).await.status, 200);
    assert_eq!(h.upstream.last().length, 3 << 20);
}

/// Many clients end an upload with an empty frame. Nothing of it may be left on the
/// upstream's connection, where the next request, anybody's, would have it in front.
#[tokio::test(flavor = "multi_thread")]
async fn an_upload_ends_once_whatever_ends_it() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    // What takes trailers has connections in common with uploads, which may have them.
    let ask = |method| {
        let mut ask = request(method, "http://h/any/acme/x", Some(&token));
        ask.headers_mut().insert("te", "trailers".parse().unwrap());
        ask
    };
    for frames in [&[b"ab".as_slice(), b""][..], &[b""], &[b"", b"ab", b"", b""]] {
        // Pingora's pool loses one now and then, and likes the newest best.
        for tried in 1.. {
            assert!(tried < 1000, "{frames:?}: nobody used its connection again");
            let (response, mut upload) = h2.begin(ask("POST"), false).await;
            for (at, frame) in frames.iter().enumerate() {
                // Each frame is to come by itself.
                tokio::task::yield_now().await;
                let is_last = at + 1 == frames.len();
                upload.send_data(Bytes::from_static(frame), is_last).unwrap();
            }
            assert_eq!(Whole::of(response.await.unwrap()).await.status, 200, "{frames:?}");
            let upload = h.upstream.last();
            assert_eq!(upload.body, frames.concat(), "{frames:?}");
            let get = h2.exchange(ask("GET"), b"").await;
            let seen = h.upstream.last();
            assert_eq!(get.status, 200, "{frames:?}");
            assert!(seen.head.starts_with("GET /any/acme/x "), "{frames:?}: {:?}", seen.head);
            if seen.connection == upload.connection {
                break;
            }
        }
    }
}

/// Of those that may go up, all do.
#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_request_smuggle_nothing() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let h2 = H2::plain(h.data()).await;
    for frames in [&[b"ab".as_slice()][..], &[b"ab", b""], &[]] {
        let mut ask = request("POST", "http://h/any/acme/x", Some(&token));
        ask.headers_mut().insert("trailer", "x-portcullis-account".parse().unwrap());
        let (response, mut upload) = h2.begin(ask, false).await;
        for frame in frames {
            tokio::task::yield_now().await;
            upload.send_data(Bytes::from_static(frame), false).unwrap();
        }
        let mut trailers = http::HeaderMap::new();
        for name in ["x-portcullis-account", "x_portcullis_jti", "content-length", "x-sum"] {
            trailers.insert(name, "smuggled".parse().unwrap());
        }
        upload.send_trailers(trailers).unwrap();
        assert_eq!(Whole::of(response.await.unwrap()).await.status, 200, "{frames:?}");
        let seen = h.upstream.last();
        assert_eq!(seen.body, frames.concat(), "{frames:?}");
        assert_eq!(seen.field("x-portcullis-account"), Some("acme"));
        assert!(!seen.head.contains("smuggled"), "{}", seen.head);
        assert_eq!(seen.trailers, "x-sum: smuggled\r\n", "{frames:?}");
        let get = h2.exchange(request("GET", "http://h/any/acme/x", Some(&token)), b"").await;
        assert_eq!(get.status, 200);
        assert!(h.upstream.last().head.starts_with("GET /any/acme/x "), "{frames:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_inside_a_body_are_judged_too() {
    let h = Harness::start().await;
    let token = h.token(&["operator"]).await;
    let h2 = H2::plain(h.data()).await;
    let uri = "http://h/v1/accounts/acme/account_environments/1/campaigns/2";
    for (body, status) in [
        (r#"{ "status":"pause"}"#, 200),
        (r#"{"status":"pause","name":"x"}"#, 403),
        (r#"{"status":1,"status":2}"#, 400),
    ] {
        let mut patch = request("PATCH", uri, Some(&token));
        patch.headers_mut().insert("content-type", "application/json".parse().unwrap());
        assert_eq!(h2.exchange(patch, body.as_bytes()).await.status, status, "{body}");
    }
    assert_eq!(h.upstream.count(), 1);
    assert_eq!(h.upstream.last().body, br#"{ "status":"pause"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_preface_is_closed_by_the_deadline() {
    let limits = "[server.limits]\nheader_timeout = \"1s\"\n";
    let h = Harness::builder().server(limits).start().await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut halves = Vec::new();
    for length in 1..preface.len() {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(&preface[..length]).await;
        halves.push(raw);
    }
    let mut whole = Raw::connect(h.data()).await;
    whole.send(preface).await;
    for mut raw in halves {
        assert!(raw.is_closed().await);
    }
    // What begins like one and is none is an ordinary bad request.
    let mut wrong = Raw::connect(h.data()).await;
    wrong.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\rX").await;
    assert_eq!(wrong.answer().await.unwrap().status, 400);
    // And it can't come late, as a second request.
    let mut late = Raw::connect(h.data()).await;
    late.send("GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(late.answer().await.unwrap().status, 200);
    late.send(preface).await;
    assert_eq!(late.answer().await.unwrap().status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preface_may_come_in_pieces() {
    let h = Harness::start().await;
    let (client, server) = tokio::io::duplex(1 << 16);
    let mut tcp = TcpStream::connect(h.data()).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    // Byte by byte, the preface and what follows.
    tokio::spawn(async move {
        let (mut from_client, mut to_client) = tokio::io::split(server);
        let (mut from_gateway, mut to_gateway) = tcp.split();
        let up = async {
            let mut byte = [0];
            loop {
                from_client.read_exact(&mut byte).await?;
                to_gateway.write_all(&byte).await?;
            }
            #[expect(unreachable_code, reason = "it names the type of the error")]
            Ok::<(), std::io::Error>(())
        };
        let down = tokio::io::copy(&mut from_gateway, &mut to_client);
        let _ = tokio::join!(up, down);
    });
    let h2 = H2::over(client).await;
    assert_eq!(h2.exchange(request("GET", "http://h/public/x", None), b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_told_goodbye() {
    let limits = "[server.limits]\nidle_timeout = \"1s\"\n";
    let h = Harness::builder().server(limits).start().await;
    let h2 = H2::plain(h.data()).await;
    assert_eq!(h2.exchange(request("GET", "http://h/public/x", None), b"").await.status, 200);
    let ended = tokio::time::timeout(Duration::from_secs(30), h2.driver).await.expect("an end");
    assert!(ended.unwrap().is_ok(), "GOAWAY, without an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_nothing_but_bad_requests_is_closed() {
    let h = Harness::start().await;
    let h2 = H2::plain(h.data()).await;
    for n in 0.. {
        let Ok(mut send) = h2.send.clone().ready().await else { break };
        let bad = Request::builder().uri("http://h/x").header("host", "g").body(()).unwrap();
        let Ok((response, _)) = send.send_request(bad, true) else { break };
        if response.await.is_err() {
            break;
        }
        assert!(n < 40, "it goes on and on");
    }
    let fresh = H2::plain(h.data()).await;
    assert_eq!(fresh.exchange(request("GET", "http://h/public/x", None), b"").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_connection_is_no_attack() {
    let h = Harness::start().await;
    let h2 = std::sync::Arc::new(H2::plain(h.data()).await);
    // Fewer at once than it may have: the gateway lets go of a stream's place later
    // than the client, and refuses what comes in between.
    let places = std::sync::Arc::new(tokio::sync::Semaphore::new(50));
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let (h2, places) = (std::sync::Arc::clone(&h2), std::sync::Arc::clone(&places));
        asking.spawn(async move {
            let _place = places.acquire_owned().await;
            h2.exchange(request("GET", "http://h/nowhere", None), b"").await.status
        });
    }
    while let Some(status) = asking.join_next().await {
        assert_eq!(status.unwrap(), 404);
    }
}
