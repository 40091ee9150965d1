//! What has two readings is refused before anybody else reads it.

use crate::harness::Harness;
use crate::raw::{Raw, once};

#[tokio::test(flavor = "multi_thread")]
async fn ambiguous_requests_are_400_and_go_nowhere() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let auth = format!("Authorization: Bearer {token}\r\n");
    let line = |line: &str| format!("{line}\r\nHost: h\r\n{auth}\r\n");
    let fields = |fields: &str| format!("POST /any/acme/x HTTP/1.1\r\n{auth}{fields}\r\n");
    let mut requests: Vec<(String, &str)> = Vec::new();
    for path in [
        "/any/acme/../x",
        "/any/acme/./x",
        "/any/acme/..;/x",
        "/any/acme/%2e%2e/x",
        "/any//acme/x",
        "//any/acme/x",
        "/any/acme/%2fx",
        "/any/acme/%5cx",
        "/any/acme/x%00",
        "/any/acme/x\\y",
        "/any/acme/%",
        "/any/acme/%zz",
        "/any/acme/%c0%ae",
        "/any/acme/%61",
        "/any/acme/%ff",
        "any/acme/x",
        "*",
        "http://other/any/acme/x",
        "/any/acme/x#y",
        "/any/acme/%252e",
    ] {
        requests.push((line(&format!("GET {path} HTTP/1.1")), "a path"));
    }
    requests.push(("GET /any/acme/\u{e9} HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "a raw byte"));
    requests.push((line("GET /any/acme/x y HTTP/1.1"), "a space"));
    requests.push((line("GET /any/acme/x"), "HTTP/0.9"));
    requests.push((line("CONNECT h:80 HTTP/1.1"), "CONNECT"));
    requests.push((line("CONNECT /any/acme/x HTTP/1.1"), "CONNECT with a path"));
    requests.push((line("PRI * HTTP/2.0"), "the preface of h2"));
    requests.push((fields(""), "no Host"));
    requests.push((fields("Host: h\r\nHost: h\r\n"), "two Hosts"));
    requests.push((fields("Host: a, b\r\n"), "a list of Hosts"));
    requests.push((fields("Host: u@h\r\n"), "userinfo"));
    requests.push((
        fields("Host: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
        "CL and TE",
    ));
    requests.push((fields("Host: h\r\nContent-Length: 0\r\nContent-Length: 0\r\n"), "two CL"));
    requests.push((fields("Host: h\r\nContent-Length: 0, 0\r\n"), "a list of CL"));
    requests.push((fields("Host: h\r\nContent-Length: 1e1\r\n"), "CL no number"));
    requests.push((fields("Host: h\r\nTransfer-Encoding: identity\r\n"), "TE no chunked"));
    requests
        .push((fields("Host: h\r\nTransfer-Encoding : chunked\r\n"), "a space before the colon"));
    requests.push((fields("Host: h\r\nX: a\r\n b\r\n"), "a folded line"));
    requests.push((fields("Host: h\nX: a\r\n"), "a bare LF"));
    requests.push((fields("Host: h\r\nX: a\rb\r\n"), "a bare CR"));
    requests.push((fields("Host: h\r\nX: \0\r\n"), "a NUL"));
    for field in [
        "X-HTTP-Method-Override: DELETE",
        "x_http_method: PUT",
        "X-Original-URL: /admin",
        "X-Rewrite-Url: /a",
    ] {
        requests.push((
            fields(&format!("Host: h\r\n{field}\r\n")),
            "a field that overrides what was judged",
        ));
    }
    requests
        .push((fields("Host: h\r\nConnection: host\r\n"), "a Connection field that names Host"));
    for (request, what) in requests {
        let before = h.upstream.count();
        let answer = once(h.data(), &request)
            .await
            .unwrap_or_else(|| panic!("{what}: no answer to {request:?}"));
        assert_eq!(answer.status, 400, "{what}: {request:?}");
        assert!(!answer.body.is_empty(), "{what}: {request:?}: {}", answer.head);
        assert_eq!(answer.json()["error"], "invalid_request", "{what}");
        assert_eq!(h.upstream.count(), before, "{what} reached the upstream");
    }
    let line = h.logged(|line| line["reason"] == "malformed_request").await;
    assert_eq!(line["status"], 400);
    let metrics = h.metrics().await;
    assert!(metrics.contains(
        "portcullis_decisions_total{decision=\"deny\",reason=\"malformed_request\",route=\"none\"}"
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_refused_framing_is_never_a_request() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let smuggled = format!(
        "POST /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 4\r\n\
         Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /any/acme/smuggled HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let mut raw = Raw::connect(h.data()).await;
    raw.send(smuggled).await;
    assert_eq!(raw.answer().await.unwrap().status, 400);
    assert!(raw.is_closed().await);
    assert_eq!(h.upstream.count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_head_target_and_body() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let auth = format!("Host: h\r\nAuthorization: Bearer {token}\r\n");
    let long = "a".repeat(9000);
    let answer =
        once(h.data(), format!("GET /any/acme/{long} HTTP/1.1\r\n{auth}\r\n")).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"].as_str()), (414, Some("uri_too_long")));
    let fields: String = (0..40).map(|n| format!("X-{n}: {}\r\n", "b".repeat(1000))).collect();
    let answer =
        once(h.data(), format!("GET /any/acme/x HTTP/1.1\r\n{auth}{fields}\r\n")).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"].as_str()), (431, Some("headers_too_large")));
    let many: String = (0..300).map(|n| format!("X-{n}: b\r\n")).collect();
    let answer =
        once(h.data(), format!("GET /any/acme/x HTTP/1.1\r\n{auth}{many}\r\n")).await.unwrap();
    assert_eq!(answer.status, 431);
    assert_eq!(h.upstream.count(), 0);

    let body = "x".repeat(1025);
    let announced =
        format!("POST /small/acme HTTP/1.1\r\n{auth}Content-Length: 1025\r\n\r\n{body}");
    let answer = once(h.data(), announced).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"].as_str()), (413, Some("content_too_large")));
    assert_eq!(
        h.upstream.count(),
        0,
        "an announced length is refused before the upstream hears of it"
    );
    let chunked = format!(
        "POST /small/acme HTTP/1.1\r\n{auth}Transfer-Encoding: chunked\r\n\r\n401\r\n{body}\r\n0\r\n\r\n"
    );
    let answer = once(h.data(), chunked).await.unwrap();
    h.logged(|line| {
        line["reason"] == "too_large"
            && line["decision"] == "deny"
            && line["route"] == "small"
            && line["bytes_in"] == 1025
    })
    .await;
    assert_eq!(answer.status, 413);
    let fits =
        format!("POST /small/acme HTTP/1.1\r\n{auth}Content-Length: 1024\r\n\r\n{}", &body[1..]);
    assert_eq!(once(h.data(), fits).await.unwrap().status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_cut_off() {
    let h =
        Harness::builder().server("[server.limits]\nheader_timeout = \"300ms\"\n").start().await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send("GET /any/acme/x HTTP/1.1\r\nHost").await;
    let answer = raw.answer().await.unwrap();
    assert_eq!(answer.status, 408);
    assert!(raw.is_closed().await);
    // A head that dribbles in within its time is fine.
    let h = Harness::start().await;
    let mut raw = Raw::connect(h.data()).await;
    for piece in ["\r\nGET /no", "where HTTP/1.1\r", "\nHost: h\r\n", "\r", "\n"] {
        raw.send(piece).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(raw.answer().await.unwrap().status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_framed_wrongly_is_the_clients_fault() {
    let h = Harness::start().await;
    let token = h.token(&["operator"]).await;
    let head = |method: &str, path: &str| {
        format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        )
    };
    let campaign = "/v1/accounts/acme/account_environments/prod/campaigns/7";
    for (method, path) in [("POST", "/oauth2/token"), ("PATCH", campaign), ("POST", "/any/acme/x")]
    {
        let answer = once(h.data(), head(method, path) + "zz\r\n{}\r\n0\r\n\r\n").await.unwrap();
        assert_eq!(answer.status, 400, "{method} {path}");
        assert_eq!(answer.json()["error"], "invalid_request", "{method} {path}");
    }
}

/// HTTP/1.0 has no connections that last.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_client_sees_its_connection_closed() {
    let h = Harness::start().await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send("GET /public/x HTTP/1.0\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    assert!(raw.is_closed().await);
}
