//! What an upstream says of its own connection says nothing of the client's.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::raw::{Raw, once};
use crate::websockets::gateway;

/// What it answers to `?0`, `?1` and so on, and what comes of it: the status, the
/// Content-Length, the body.
const ANSWERS: [(&str, u16, Option<&str>, &str); 9] = [
    (
        "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello",
        200,
        Some("5"),
        "hello",
    ),
    ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, Some("5"), "hello"),
    ("HTTP/1.0 200 OK\r\n\r\nhello", 200, None, "5\r\nhello\r\n0\r\n\r\n"),
    ("HTTP/1.0 304 Not Modified\r\n\r\n", 304, None, ""),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 502, None, ""),
    (
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        200,
        Some("5"),
        "hello",
    ),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", 200, Some("5"), "hello"),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!", 502, None, ""),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!", 502, None, ""),
];

async fn answer_all(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let text = String::from_utf8_lossy(&read).into_owned();
            let (_, rest) = text.split_once('?').unwrap();
            let place: usize = rest.split(' ').next().unwrap().parse().unwrap();
            stream.write_all(ANSWERS[place].0.as_bytes()).await.unwrap();
            // Its end is the end of what says nothing else of it.
            stream.shutdown().await.unwrap();
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_of_our_version_and_ends_in_one_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (h, token) = gateway(listener.local_addr().unwrap(), "").await;
    tokio::spawn(answer_all(listener));
    for (place, (said, status, length, body)) in ANSWERS.into_iter().enumerate() {
        let head = |version: &str| {
            let authorization = format!("Authorization: Bearer {token}");
            format!("GET /hasty/acme?{place} HTTP/{version}\r\nHost: h\r\n{authorization}\r\n\r\n")
        };
        let closing = head("1.1").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let answer = once(h.data(), closing).await.unwrap();
        assert!(
            answer.head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{said:?}: {}",
            answer.head
        );
        if status != 502 {
            assert_eq!(answer.field("content-length"), length, "{said:?}: {}", answer.head);
            assert!(answer.head.to_lowercase().matches("content-length").count() < 2);
            assert_eq!(String::from_utf8_lossy(&answer.body), body, "{said:?}");
        }
        // The connection of who is no worse for it goes on.
        let mut lasting = Raw::connect(h.data()).await;
        lasting.send(head("1.1")).await;
        let first = lasting.head().await.unwrap();
        if status == 200 {
            assert!(first.to_lowercase().contains("connection: keep-alive"), "{said:?}: {first}");
            lasting.exactly(body.len()).await;
            lasting.send(head("1.1")).await;
            assert_eq!(lasting.head().await.unwrap().lines().next(), first.lines().next());
        }
        // HTTP/1.0 knows no chunks.
        let mut old = Raw::connect(h.data()).await;
        old.send(head("1.0")).await;
        let head = old.head().await.unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{said:?}: {head}");
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{said:?}: {head}");
        if status == 200 {
            assert_eq!(String::from_utf8_lossy(&old.rest().await), "hello", "{said:?}");
        }
    }
}
