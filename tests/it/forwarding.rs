//! What goes up is what came in, and what comes down is what was answered.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::harness::Harness;
use crate::raw::{Raw, once};
use crate::websockets::gateway;

fn get(path: &str, token: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: api.test\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_receives_the_very_bytes_that_were_judged() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    for target in [
        "/any/acme/plain",
        "/any/acme/caf%C3%A9/a%20b/x:y@z;v=1?q=%2F..%2f//&filter[type][]=ab&e=%zz&x={y}|^`\\",
        "/any/acme/a+b?",
        "/any/acme/%e2%82%ac?a=1?b=2",
        "/any/acme/100%25",
    ] {
        let answer = once(h.data(), get(target, &token, "")).await.unwrap();
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(h.upstream.last().target(), target);
    }
    let absolute = "GET http://api.test/any/acme/x?y HTTP/1.1\r\nHost: api.test\r\n";
    let answer =
        once(h.data(), format!("{absolute}Authorization: Bearer {token}\r\n\r\n")).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(h.upstream.last().target(), "/any/acme/x?y", "forwarded in origin form");
}

/// Every byte that may stand in a query is forwarded as it is, or refused.
#[tokio::test(flavor = "multi_thread")]
async fn no_byte_of_a_target_is_altered() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    for place in ["/any/acme/x?a=", "/any/acme/x"] {
        for byte in 1..=255u8 {
            let mut request = format!("GET {place}").into_bytes();
            request.push(byte);
            request.extend_from_slice(
                format!("z HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n")
                    .as_bytes(),
            );
            let before = h.upstream.count();
            let answer = once(h.data(), &request).await.unwrap();
            let mut target = place.as_bytes().to_vec();
            target.push(byte);
            target.push(b'z');
            match answer.status {
                200 => assert_eq!(h.upstream.last().target().as_bytes(), target, "byte {byte:#x}"),
                status => {
                    assert_eq!(status, 400, "byte {byte:#x} after {place}");
                    assert_eq!(h.upstream.count(), before, "byte {byte:#x}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn identity_comes_from_us_alone() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let spoof = "X-Portcullis-Client-Id: evil\r\nx_portcullis_account: evil\r\nX.Portcullis.Scope: evil\r\n\
                 X-PORTCULLIS-JTI: evil\r\nX-Portcullis-Other: evil\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n\
                 X-Real-IP: 6.6.6.6\r\nTransfer_Encoding: chunked\r\nConnection: X-Portcullis-Account, close\r\nX-Kept: yes\r\n";
    let answer = once(h.data(), get("/any/acme/x", &token, spoof)).await.unwrap();
    assert_eq!(answer.status, 200);
    let seen = h.upstream.last();
    assert_eq!(seen.field("x-portcullis-client-id"), Some(minted.client_id.as_str()));
    assert_eq!(seen.field("x-portcullis-account"), Some("acme"));
    assert_eq!(seen.field("x-portcullis-scope"), Some("campaign.list campaign.read env:*"));
    assert!(seen.field("x-portcullis-jti").is_some());
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("http"));
    assert_eq!(seen.field("x-forwarded-host"), Some("api.test"));
    assert_eq!(seen.field("host"), Some("api.test"));
    assert_eq!(seen.field("x-kept"), Some("yes"));
    assert!(seen.field("authorization").is_none(), "the token was for us");
    assert!(seen.field("traceparent").is_some() && seen.field("x-request-id").is_some());
    assert!(!seen.head.contains("evil") && !seen.head.contains("6.6.6.6"), "{}", seen.head);
    assert!(!seen.head.to_lowercase().contains("transfer"), "{}", seen.head);

    let public = "GET /public/x HTTP/1.1\r\nHost: h\r\nX-Portcullis-Client-Id: evil\r\nx-portcullis_jti: evil\r\n\r\n";
    assert_eq!(once(h.data(), public).await.unwrap().status, 200);
    let seen = h.upstream.last();
    assert!(!seen.head.to_lowercase().contains("x-portcullis"), "{}", seen.head);
}

/// Spelling and number of the client's fields stay.
#[tokio::test(flavor = "multi_thread")]
async fn fields_go_up_as_they_came_but_for_those_of_the_hop() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let more = "x-LOWER-upper: 1\r\nAccept: a\r\nKeep-Alive: hop\r\nCookie: a=1;b=\"2\"\r\nTE: hop\r\n\
                Trailer: hop\r\nProxy-Connection: hop\r\nproxy-authorization: hop\r\nUser-Agent: me\r\n\
                Proxy-Authenticate: hop\r\nHTTP2-Settings: hop\r\nACCEPT: b\r\nX_Under: 2\r\n\
                cookie: portcullis_session=hop; c=3\r\nx-lower-UPPER: 4\r\n";
    let answer = once(h.data(), get("/any/acme/x", &token, more)).await.unwrap();
    assert_eq!(answer.status, 200);
    let seen = h.upstream.last();
    // Whatever was taken out, those of one name stay in order.
    let mut lines: Vec<&str> = seen.head.lines().skip(1).filter(|line| !line.is_empty()).collect();
    let ours = |line: &&str| line.starts_with("X-Portcullis-") || line.starts_with("X-Forwarded-");
    assert_eq!(lines.iter().filter(|line| ours(line)).count(), 7);
    lines.retain(|line| !ours(line) && !line.starts_with("X-Request-Id: "));
    lines.retain(|line| !line.starts_with("traceparent: "));
    lines.sort_by_key(|line| line.split(':').next().unwrap().to_lowercase());
    assert_eq!(
        lines,
        [
            "Accept: a",
            "ACCEPT: b",
            "cookie: a=1;b=\"2\"",
            "cookie: c=3",
            "Host: api.test",
            "User-Agent: me",
            "x-LOWER-upper: 1",
            "x-lower-UPPER: 4",
            "X_Under: 2",
        ]
    );
    let named = "X-Named: hop\r\nConnection: x-named, te\r\nTE: trailers\r\n";
    once(h.data(), get("/any/acme/x", &token, named)).await.unwrap();
    let seen = h.upstream.last();
    assert!(!seen.head.contains("hop"), "{}", seen.head);
    assert_eq!((seen.field("te"), seen.field("connection")), (Some("trailers"), Some("TE")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_is_believed() {
    let h = Harness::builder().server("trusted_proxies = [\"127.0.0.0/8\"]\n").start().await;
    let token = h.token(&["reader"]).await;
    let more = "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: front\r\nX-Request-Id: kept-1\r\n";
    once(h.data(), get("/any/acme/x", &token, more)).await.unwrap();
    let seen = h.upstream.last();
    assert_eq!(seen.field("x-forwarded-for"), Some("9.9.9.9, 127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-forwarded-host"), Some("front"));
    assert_eq!(seen.field("x-request-id"), Some("kept-1"));
    // The proxy's own fields come behind those that its client made up.
    let more = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: ftp\r\nX-Forwarded-Host: evil\r\n\
                X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: front\r\n";
    once(h.data(), get("/any/acme/x", &token, more)).await.unwrap();
    let seen = h.upstream.last();
    assert_eq!(seen.fields("x-forwarded-for"), ["6.6.6.6, 9.9.9.9, 127.0.0.1"]);
    assert_eq!(seen.fields("x-forwarded-proto"), ["https"]);
    assert_eq!(seen.fields("x-forwarded-host"), ["front"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn authorization_goes_on_or_is_replaced_when_told() {
    let h = Harness::builder().upstream("authorization = \"forward\"\n").start().await;
    let token = h.token(&["reader"]).await;
    once(h.data(), get("/any/acme/x", &token, "")).await.unwrap();
    assert_eq!(h.upstream.last().field("authorization"), Some(format!("Bearer {token}").as_str()));

    let h =
        Harness::builder().upstream("authorization = { set = \"Basic legacy\" }\n").start().await;
    let token = h.token(&["reader"]).await;
    once(h.data(), get("/any/acme/x", &token, "")).await.unwrap();
    assert_eq!(h.upstream.last().field("authorization"), Some("Basic legacy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_fields_come_down_unchanged() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    for status in [200, 201, 204, 302, 404, 409, 500, 503] {
        let path = format!("/any/acme/raw-status-{status}");
        let answer = once(h.data(), get(&path, &token, "")).await.unwrap();
        assert_eq!(answer.status, status);
        assert_eq!(answer.body, if status == 204 { b"".as_slice() } else { b"ok" });
        assert_eq!(answer.field("location"), Some("/x/y"));
        assert_eq!(answer.head.to_lowercase().matches("x-legacy: ").count(), 2, "{}", answer.head);
        assert_eq!(answer.head.to_lowercase().matches("set-cookie: ").count(), 2);
        assert!(
            answer.field("x-hop").is_none() && answer.field("keep-alive").is_none(),
            "{}",
            answer.head
        );
        assert!(answer.field("server").is_none(), "{}", answer.head);
    }
}

/// What is refused is read and left behind, if it is not much.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_body_does_not_cost_the_connection() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    let upload = |line: &str, token: &str| {
        format!(
            "{line} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 5\r\n\r\nGET /"
        )
    };
    for (line, token, status) in [
        ("POST /any/acme/x", "", 401),
        ("POST /nowhere", token.as_str(), 404),
        ("POST /any/other/x", token.as_str(), 403),
        ("PUT /oauth2/token", "", 405),
    ] {
        raw.send(upload(line, token)).await;
        let answer =
            raw.answer().await.unwrap_or_else(|| panic!("{line}: the connection is closed"));
        assert_eq!(answer.status, status, "{line}");
    }
    raw.send(format!(
        "GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    ))
    .await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    // Who waits for a 100 sends none.
    let waiting = upload("POST /nowhere", &token).replace("GET /", "");
    raw.send(waiting.replace("Content-Length", "Expect: 100-continue\r\nContent-Length")).await;
    assert_eq!(raw.answer().await.unwrap().status, 404);
    assert!(raw.is_closed().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_no_chunks_gets_none() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let head = format!("Host: h\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut raw = Raw::connect(h.data()).await;
    raw.send(format!("GET /any/acme/events HTTP/1.0\r\n{head}")).await;
    let head = raw.head().await.unwrap().to_ascii_lowercase();
    assert!(head.contains(" 200 ") && !head.contains("transfer-encoding"), "{head}");
    assert_eq!(raw.exactly(7).await, b"data: 1");
}

/// Without chunks only an end by force says that it is not the end.
#[tokio::test(flavor = "multi_thread")]
async fn half_an_answer_does_not_look_whole_to_whom_knows_no_chunks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (h, token) = gateway(listener.local_addr().unwrap(), "").await;
    let (seen, is_seen) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let mut stream = loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Whoever looks whether anybody is there says nothing.
            if stream.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {
                break stream;
            }
        };
        let half = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
        stream.write_all(half).await.unwrap();
        is_seen.await.unwrap();
    });
    let mut stream = TcpStream::connect(h.data()).await.unwrap();
    let head = format!("Host: h\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.write_all(format!("GET /hasty/acme HTTP/1.0\r\n{head}").as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.ends_with(b"half") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
    seen.send(()).unwrap();
    let end = timeout(Duration::from_secs(30), stream.read_buf(&mut read)).await.unwrap();
    assert!(end.is_err(), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_in_a_path_reaches_the_log() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    assert_eq!(h.ask("GET", &format!("/nope/{token}/x"), None).await.0, 404);
    assert_eq!(h.ask("GET", &format!("/nope/{}", minted.client_secret), None).await.0, 404);
    h.logged(|line| line["path"] == "/nope/***/x").await;
    h.logged(|line| line["path"] == "/nope/***").await;
    let dots = format!("/nope/{}", "e.y.J".repeat(20));
    assert_eq!(h.ask("GET", &dots, None).await.0, 404);
    h.logged(|line| line["path"] == dots.as_str()).await;
}

/// HEAD says how long the body of a GET would be (RFC 9110 section 8.6).
#[tokio::test(flavor = "multi_thread")]
async fn head_of_our_own_answers_is_honest() {
    let h = Harness::start().await;
    for path in ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server"] {
        let line = |method: &str| format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let get = once(h.data(), line("GET")).await.unwrap();
        let mut raw = Raw::connect(h.data()).await;
        raw.send(line("HEAD")).await;
        let head = raw.head().await.unwrap().to_ascii_lowercase();
        assert!(head.contains(&format!("content-length: {}\r\n", get.body.len())), "{head}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_bodies_pass_as_they_are() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let send = |request: String| async { once(h.data(), request).await.unwrap().status };
    let head = |method: &str, more: &str| {
        format!(
            "{method} /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{more}\r\n"
        )
    };
    for method in ["PATCH", "DELETE", "OPTIONS"] {
        assert_eq!(send(head(method, "")).await, 200);
        let seen = h.upstream.last();
        assert_eq!(seen.method(), method);
        assert!(seen.field("transfer-encoding").is_none() && seen.length == 0, "{}", seen.head);
    }
    assert_eq!(send(head("PATCH", "Content-Length: 0\r\n")).await, 200);
    assert_eq!(h.upstream.last().field("content-length"), Some("0"));
    assert_eq!(send(head("POST", "Content-Length: 5\r\n") + "hello").await, 200);
    assert_eq!(h.upstream.last().body, b"hello");
    let chunked =
        head("PUT", "Transfer-Encoding: chunked\r\n") + "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    assert_eq!(send(chunked).await, 200);
    assert_eq!(h.upstream.last().body, b"abcde");
    let answer = once(h.data(), head("HEAD", "Connection: close\r\n")).await;
    // HEAD has a length and no body, so the raw reader sees an end.
    assert!(answer.is_none_or(|a| a.body.is_empty()));
    assert_eq!(h.upstream.last().method(), "HEAD");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_kept_on_both_sides_also_after_a_refusal() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    let clear = format!(
        "DELETE /backend/accounts/acme/tag-clear HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let requests = [
        (get("/any/acme/1", &token, ""), 200),
        (get("/nowhere", &token, ""), 404),
        (get("/any/acme/2", "", ""), 401),
        (get("/any/acme/2", "bad.token.x", ""), 401),
        (clear, 403),
        (get("/v1//x", &token, ""), 400),
        (get("/any/acme/3", &token, ""), 200),
    ];
    for (request, status) in requests {
        raw.send(&request).await;
        let answer = raw.answer().await.unwrap_or_else(|| panic!("no answer to {request}"));
        assert_eq!(answer.status, status, "{request}");
        if status >= 400 {
            let json = answer.json();
            assert!(json["error"].is_string() && json["error_description"].is_string(), "{json}");
            assert_eq!(json["request_id"].as_str(), answer.field("x-request-id"));
        }
    }
    // Health checks have connections of their own.
    let by: std::collections::BTreeSet<usize> =
        h.upstream.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!((h.upstream.count(), by.len()), (2, 1), "the upstream's connection was used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_sending_is_no_fault_of_the_upstream() {
    let h = Harness::builder().upstream("read_timeout = \"300ms\"\n").start().await;
    let token = h.token(&["reader"]).await;
    for sent in ["", "half"] {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(format!(
            "POST /any/acme/echo HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 8\r\n\r\n{sent}"
        ))
        .await;
        let answer = raw.answer().await.unwrap();
        assert_eq!(
            (answer.status, answer.json()["error"].as_str()),
            (408, Some("request_timeout"))
        );
        let id = answer.json()["request_id"].clone();
        let line = h.logged(|line| line["request_id"] == id).await;
        assert_eq!(line["reason"], "client_timeout");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_upstream_is_502_and_a_slow_one_504() {
    let h = Harness::builder().upstream("read_timeout = \"1s\"\n").start().await;
    let token = h.token(&["reader"]).await;
    let (status, body) = h.ask("GET", "/dead/acme/x", Some(&token)).await;
    assert_eq!((status, body["error"].as_str()), (502, Some("bad_gateway")));
    let (status, body) = h.ask("GET", "/any/acme/slam", Some(&token)).await;
    assert_eq!((status, body["error"].as_str()), (502, Some("bad_gateway")));
    let (status, body) = h.ask("GET", "/any/acme/silent", Some(&token)).await;
    assert_eq!((status, body["error"].as_str()), (504, Some("upstream_timeout")));
    let line = h.logged(|line| line["path"] == "/any/acme/silent").await;
    assert_eq!(body["request_id"], line["request_id"]);
    let sent = h.upstream.seen().into_iter().find(|seen| seen.target() == "/any/acme/silent");
    assert_eq!(sent.unwrap().field("x-request-id"), line["request_id"].as_str());
    assert_eq!(
        (line["status"].as_u64(), line["reason"].as_str()),
        (Some(504), Some("upstream_timeout"))
    );
    assert_eq!(line["decision"], "allow");
    // Half an answer can't be made whole: the client sees the end.
    let answer = once(h.data(), get("/any/acme/break", &token, "")).await;
    assert!(answer.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_is_counted_and_logged_once() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    h.ask("GET", "/any/acme/x?access_token=verysecret", Some(&token)).await;
    h.ask("GET", "/nowhere?client_secret=verysecret", None).await;
    let line = h.logged(|line| line["route"] == "any").await;
    assert_eq!(line["method"], "GET");
    assert_eq!(line["path"], "/any/acme/x");
    assert_eq!(line["status"], 200);
    assert_eq!(line["decision"], "allow");
    assert_eq!(line["client_id"], json!(minted.client_id));
    assert_eq!(line["account"], "acme");
    assert_eq!(line["upstream"], "legacy");
    assert_eq!(line["bytes_out"], 11);
    assert_eq!(line["bytes_in"], 0);
    assert_eq!(line["ts"], "2026-11-22T03:00:00.000Z");
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
    let denied = h.logged(|line| line["path"] == "/nowhere").await;
    assert_eq!(
        (denied["reason"].as_str(), denied["route"].as_str()),
        (Some("no_route"), Some("none"))
    );
    assert_eq!(h.log.lines().iter().filter(|line| line["route"] == "any").count(), 1);
    assert!(!h.log.text().contains("verysecret"));
    let metrics = h
        .metered(&[
            "portcullis_requests_total{code=\"200\",method=\"GET\",route=\"any\"} 1",
            "portcullis_decisions_total{decision=\"allow\",reason=\"\",route=\"any\"} 1",
            "portcullis_decisions_total{decision=\"deny\",reason=\"no_route\",route=\"none\"} 1",
            "portcullis_tokens_minted_total{outcome=\"ok\"} 1",
            "portcullis_token_cache_misses_total 1",
        ])
        .await;
    for expected in [
        "portcullis_upstream_up{address=",
        "portcullis_store_revision ",
        "portcullis_build_info{version=",
        "process_resident_memory_bytes",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in\n{metrics}");
    }
}
