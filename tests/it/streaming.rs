//! Bodies of any size stream both ways; nothing is held.

use crate::harness::Harness;
use crate::raw::{Raw, once};

#[tokio::test(flavor = "multi_thread")]
async fn a_response_reaches_the_client_before_it_is_whole() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(format!(
        "GET /any/acme/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    ))
    .await;
    let head = raw.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    h.upstream.wait_for_streams(1).await;
    drop(raw);
    h.upstream.wait_for_streams(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_arrives_intact() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let size = 5 << 20;
    let request = format!(
        "GET /any/acme/bytes-{size} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    );
    let answer = once(h.data(), request).await.unwrap();
    assert_eq!(answer.body.len(), size);
    assert!(answer.body.iter().enumerate().all(|(n, byte)| *byte == ((n % 65_536) % 251) as u8));
    let line = h.logged(|line| line["path"].as_str().unwrap().contains("bytes-")).await;
    assert_eq!(line["bytes_out"], size);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_stream_does_not_end_by_silence() {
    let h = Harness::builder().upstream("read_timeout = \"1s\"\n").start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(format!(
        "GET /any/acme/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    ))
    .await;
    raw.head().await.unwrap();
    h.upstream.wait_for_streams(1).await;
    // Something else times out meanwhile; the stream does not.
    assert_eq!(h.ask("GET", "/any/acme/silent", Some(&token)).await.0, 504);
    assert_eq!(h.ask("GET", "/any/acme/silent", Some(&token)).await.0, 504);
    h.upstream.wait_for_streams(1).await;
}

/// The last word is said when Pingora is gone already, and stands in the log like any other.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_knows_what_was_said_of_silence() {
    let h = Harness::builder().upstream("read_timeout = \"1s\"\n").start().await;
    let token = h.token(&["reader"]).await;
    for (method, path, more, status) in [
        ("GET", "silent", "", 504),
        ("HEAD", "silent", "", 504),
        ("POST", "upload", "Content-Length: 9\r\n", 408),
        // Not said past Pingora, and counted like that.
        ("GET", "slam", "", 502),
        ("HEAD", "slam", "", 502),
        ("HEAD", "../no-such-path", "", 400),
    ] {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(format!(
            "{method} /any/acme/{path} HTTP/1.1\r\nHost: h\r\n{more}Connection: close\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        ))
        .await;
        let head = raw.head().await.unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{method} {path}: {head}");
        let body = raw.rest().await;
        assert_eq!(body.is_empty(), method == "HEAD", "{method} {path}");
        let id = head.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
        let line = h.logged(|line| line["request_id"] == id).await;
        assert_eq!((&line["method"], &line["status"]), (&method.into(), &status.into()), "{path}");
        assert_eq!(line["bytes_out"], body.len(), "{method} {path}");
    }
}
