//! Answers that their client does not read: until the last of one has left the gateway its
//! request is under way. And those that it does read: at their end it may ask the next.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::harness::{Harness, Minted};
use crate::raw::{Raw, Wire};
use crate::secure::{H2, Pki, Whole, request};

const PATIENCE: Duration = Duration::from_secs(60);

/// Of a credential that may have one request at once.
async fn one_at_a_time(h: &Harness) -> (Minted, String) {
    let limited = json!({"name": "n", "account": "acme", "roles": ["reader"], "concurrency": 1});
    let minted = h.mint_with(limited).await;
    let token = h.trade(&minted).await;
    (minted, token)
}

/// Whether a revocation cuts what is under way, which is one request at most.
async fn is_cut(h: &Harness, minted: &Minted) -> bool {
    let path = format!("/v1/credentials/{}/revoke", minted.client_id);
    let (status, receipt) = h.admin("POST", &path, json!({ "reason": "leaked" })).await;
    assert_eq!(status, 200, "{receipt}");
    if receipt["streams_closed"] == 0 {
        return false;
    }
    assert_eq!(receipt["streams_closed"], 1, "{receipt}");
    h.logged(|line| line["reason"] == "revoked" && line["decision"] == "allow").await;
    assert!(h.metrics().await.contains("portcullis_open_streams 0\n"));
    true
}

fn answered(h: &Harness) -> usize {
    h.log.lines().iter().filter(|line| line["route"] == "any").count()
}

/// Waits until what is under way gets no further: for many looks at it nothing else was. The
/// kernel may find a little room later, and it goes on after all.
async fn is_stuck(h: &Harness) {
    let stuck = async {
        let (mut looks, mut before) = (0, 0);
        while looks < 100 {
            let now = answered(h) + h.upstream.count();
            let is_held = h.metrics().await.contains("portcullis_open_streams 1\n");
            looks = if is_held && now == before { looks + 1 } else { 0 };
            before = now;
        }
    };
    timeout(PATIENCE, stuck).await.expect("who does not read is held to be under way");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_a_window_is_under_way() {
    for length in [1, 100_000] {
        let h = Harness::start().await;
        let (minted, token) = one_at_a_time(&h).await;
        let mut options = h2::client::Builder::new();
        options.initial_window_size(0);
        let stream = TcpStream::connect(h.data()).await.unwrap();
        let (send, connection) = options.handshake(stream).await.unwrap();
        let h2 = H2 { send, driver: tokio::spawn(connection) };
        let path = format!("http://h/any/acme/bytes-{length}");
        let first = h2.ask(request("GET", &path, Some(&token))).await.unwrap();
        let second = h2.ask(request("GET", &path, Some(&token))).await.unwrap();
        assert_eq!((first.status().as_u16(), second.status().as_u16()), (200, 429));
        assert!(h.metrics().await.contains("portcullis_open_streams 1\n"));
        assert!(is_cut(&h, &minted).await);
        let mut body = first.into_body();
        let end = timeout(PATIENCE, body.data()).await.expect("an end").expect("a reset");
        assert_eq!(end.unwrap_err().reason(), Some(h2::Reason::CANCEL));
    }
}

/// Where ends come faster than they go out they wait for one another, and none for ever.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_end_at_once_all_end() {
    let h = Harness::start().await;
    let token = h.trade(&h.mint(&["reader"]).await).await;
    let mut options = h2::client::Builder::new();
    options.initial_window_size(1 << 20).initial_connection_window_size(1 << 24);
    let stream = TcpStream::connect(h.data()).await.unwrap();
    let (send, connection) = options.handshake(stream).await.unwrap();
    let h2 = H2 { send, driver: tokio::spawn(connection) };
    for round in 0..20 {
        let asked = (0..24).map(|_| async {
            let path = "http://h/any/acme/bytes-60000";
            let answer = h2.ask(request("GET", path, Some(&token))).await.unwrap();
            assert_eq!(answer.status(), 200);
            Whole::of(answer).await.body.len()
        });
        let all = timeout(PATIENCE, futures::future::join_all(asked)).await;
        let all = all.unwrap_or_else(|_| panic!("an end in round {round}"));
        assert!(all.iter().all(|length| *length == 60_000), "{all:?}");
    }
}

/// A connection that reads only while it is told to.
struct Deaf {
    stream: TcpStream,
    is_deaf: Arc<AtomicBool>,
}

impl AsyncRead for Deaf {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.is_deaf.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Deaf {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The kernel keeps little of what it does not read, and as much from the first moment.
async fn small(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(256 << 10).unwrap();
    socket.connect(address).await.unwrap()
}

/// It has opened its windows, and reads nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_window_that_nobody_reads_is_under_way() {
    let h = Harness::start().await;
    let is_deaf = Arc::<AtomicBool>::default();
    let stream = Deaf { stream: small(h.data()).await, is_deaf: Arc::clone(&is_deaf) };
    let mut options = h2::client::Builder::new();
    options.initial_window_size(1 << 30).initial_connection_window_size(1 << 30);
    let (send, connection) = options.handshake(stream).await.unwrap();
    let h2 = H2 { send, driver: tokio::spawn(connection) };
    assert_eq!(h2.ask(request("GET", "http://h/public/x", None)).await.unwrap().status(), 200);
    is_deaf.store(true, Ordering::SeqCst);
    let mut waiting = Vec::new();
    loop {
        let (minted, token) = one_at_a_time(&h).await;
        let before = answered(&h);
        let asking = async {
            for asked in 1.. {
                let next = request("GET", "http://h/any/acme/bytes-60000", Some(&token));
                waiting.push(h2.begin(next, true).await);
                while answered(&h) < before + asked {
                    tokio::task::yield_now().await;
                }
            }
        };
        tokio::select! {
            () = asking => {}
            () = is_stuck(&h) => {}
        }
        if is_cut(&h, &minted).await {
            return;
        }
    }
}

/// It asks and asks, and reads nothing.
async fn asks_and_does_not_read(h: &Harness, stream: impl Wire + 'static) {
    let (mut read, mut write) = tokio::io::split(stream);
    loop {
        let (minted, token) = one_at_a_time(h).await;
        let before = h.upstream.count();
        let asking = async {
            for asked in 1.. {
                let next = format!(
                    "GET /any/acme/bytes-30000 HTTP/1.1\r\nHost: localhost\r\n\
                     Authorization: Bearer {token}\r\n\r\n"
                );
                write.write_all(next.as_bytes()).await.unwrap();
                write.flush().await.unwrap();
                h.upstream.wait_for(before + asked).await;
            }
        };
        tokio::select! {
            () = asking => {}
            () = is_stuck(h) => {}
        }
        if is_cut(h, &minted).await {
            break;
        }
    }
    let asked = h.upstream.count();
    let mut left = Vec::new();
    let _ = timeout(PATIENCE, read.read_to_end(&mut left)).await.expect("an end");
    assert!(left.len() < asked * 30_000, "the last one did not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_http1_that_nobody_reads_is_under_way() {
    let h = Harness::start().await;
    let stream = small(h.data()).await;
    asks_and_does_not_read(&h, stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_over_tls_that_nobody_reads_is_under_way() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let h = Harness::builder().server(&pki.section(&["a"], "")).start().await;
    let stream = small(h.data_tls()).await;
    let stream = pki.client().over(stream, "localhost").await.unwrap();
    asks_and_does_not_read(&h, stream).await;
}

/// Heads alone, what goes out in one write, and what does not.
const WORDS: [&str; 4] = ["x", "bytes-0", "bytes-5000", "bytes-100000"];

#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_an_answer_may_ask_the_next() {
    let h = Harness::start().await;
    let (_, token) = one_at_a_time(&h).await;
    let mut raw = [Raw::connect(h.data()).await, Raw::connect(h.data()).await];
    let h2 = [
        H2::wide(TcpStream::connect(h.data()).await.unwrap()).await,
        H2::wide(TcpStream::connect(h.data()).await.unwrap()).await,
    ];
    for both in [false, true] {
        for asked in 0..200 {
            let (this, word) = (if both { asked % 2 } else { 0 }, WORDS[asked / 2 % 4]);
            let next = format!(
                "GET /any/acme/{word} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            raw[this].send(next).await;
            assert_eq!(raw[this].answer().await.unwrap().status, 200, "{asked}: {word}");
        }
        for asked in 0..200 {
            let (this, word) = (if both { asked % 2 } else { 0 }, WORDS[asked / 2 % 4]);
            let next = request("GET", &format!("http://h/any/acme/{word}"), Some(&token));
            let answer = h2[this].exchange(next, b"").await;
            assert_eq!(answer.status, 200, "{asked}: {word}");
        }
    }
}

/// Who was bidden to go on has not had his answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_goes_on_after_an_interim_answer() {
    let h = Harness::start().await;
    let minted = h.mint(&["operator"]).await;
    let token = h.trade(&minted).await;
    let campaign = "/v1/accounts/acme/account_environments/1/campaigns/7";
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        minted.client_id, minted.client_secret
    );
    let mut raw = Raw::connect(h.data()).await;
    for (method, path, media, body) in [
        ("PUT", "/any/acme/bids", "text/plain", "abc"),
        ("PATCH", campaign, "application/json", "{\"status\":1}"),
        ("POST", "/oauth2/token", "application/x-www-form-urlencoded", &*form),
    ] {
        let authorization = match path {
            "/oauth2/token" => String::new(),
            _ => format!("Authorization: Bearer {token}\r\n"),
        };
        raw.send(format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\n{authorization}Content-Type: {media}\r\n\
             Content-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        ))
        .await;
        assert!(raw.head().await.unwrap().starts_with("HTTP/1.1 100"), "{path}");
        raw.send(body).await;
        let answer = raw.answer().await.unwrap();
        assert_eq!((answer.status, answer.field("connection")), (200, Some("keep-alive")));
    }
    // What was not sent after a final answer is none of the next request's.
    for (path, status, head) in
        [("/small/other", 403, "HTTP/1.1 403"), ("/any/acme/bids-early", 200, "HTTP/1.1 100")]
    {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 999\r\nExpect: 100-continue\r\n\r\n"
        ))
        .await;
        let said = raw.head().await.unwrap();
        assert!(said.starts_with(head), "{path}: {said}");
        let said = if head.ends_with("100") { raw.head().await.unwrap() } else { said };
        assert!(said.contains(&format!(" {status} ")), "{path}: {said}");
        assert!(said.to_lowercase().contains("\r\nconnection: close\r\n"), "{path}: {said}");
        raw.try_send(format!("{}GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(999))).await;
        let rest = raw.rest().await;
        assert!(!rest.starts_with(b"HTTP") && !rest.ends_with(b"{\"ok\":true}"), "{path}");
    }
}
