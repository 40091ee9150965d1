//! Upgrades over TLS, HTTP/2 and with WebSockets open: no request is refused or reset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::addresses::free;
use crate::gateway::Gateway;
use crate::raw::Raw;
use crate::secure::{H2, Pki, Whole, request};
use crate::torture::{legacy, steady};
use crate::upstream::Upstream;
use crate::wait::{PATIENCE, STEP};

/// Callers without a pause, one for each way in, until they are told to end.
struct Callers {
    pki: Pki,
    plain: SocketAddr,
    encrypted: SocketAddr,
    token: String,
    end: AtomicBool,
    answered: [AtomicUsize; 5],
}

const WAYS: [&str; 5] =
    ["h2 over TLS", "h2c", "kept TLS", "fresh TLS", "a fresh h2 connection for each request"];

impl Callers {
    async fn call(self: Arc<Self>, way: usize) {
        while !self.end.load(Ordering::Relaxed) {
            match way {
                0 | 1 => self.many_streams(way).await,
                2 => self.kept().await,
                3 => assert_eq!(self.once(&mut self.tls().await, true).await, (200, true)),
                _ => {
                    let h2 = self.pki.client().h2(self.encrypted, "localhost").await;
                    self.one_stream(&h2, "https").await;
                }
            }
            if way >= 3 {
                self.answered[way].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn tls(&self) -> Raw {
        let client = self.pki.client();
        let shaken = client.connect(self.encrypted, "localhost").await;
        Raw::over(shaken.unwrap_or_else(|error| panic!("a handshake was broken off: {error}")))
    }

    /// Status, and whether the connection ends.
    async fn once(&self, raw: &mut Raw, is_last: bool) -> (u16, bool) {
        let close = if is_last { "Connection: close\r\n" } else { "" };
        raw.send(format!(
            "GET /any/acme/x HTTP/1.1\r\nHost: localhost\r\n{close}Authorization: Bearer {}\r\n\r\n",
            self.token
        ))
        .await;
        let answer = raw.answer().await.expect("an answer to every request");
        (answer.status, answer.field("connection") == Some("close"))
    }

    async fn kept(&self) {
        let mut raw = self.tls().await;
        while !self.end.load(Ordering::Relaxed) {
            let (status, closes) = self.once(&mut raw, false).await;
            assert_eq!(status, 200);
            self.answered[2].fetch_add(1, Ordering::Relaxed);
            if closes {
                return;
            }
        }
    }

    /// Four streams at a time on one connection, until the other side takes no more.
    async fn many_streams(&self, way: usize) {
        let (h2, scheme) = match way {
            0 => (self.pki.client().h2(self.encrypted, "localhost").await, "https"),
            _ => (H2::over(TcpStream::connect(self.plain).await.unwrap()).await, "http"),
        };
        while !self.end.load(Ordering::Relaxed) {
            if h2.send.clone().ready().await.is_err() {
                return;
            }
            let streams = (0..4).map(|_| self.one_stream(&h2, scheme));
            let asked: usize = futures::future::join_all(streams).await.into_iter().sum();
            self.answered[way].fetch_add(asked, Ordering::Relaxed);
        }
    }

    /// A request that was sent is answered; one that could not be sent is no request.
    async fn one_stream(&self, h2: &H2, scheme: &str) -> usize {
        let Ok(mut send) = h2.send.clone().ready().await else { return 0 };
        let uri = format!("{scheme}://localhost/any/acme/x");
        let Ok((response, _)) = send.send_request(request("GET", &uri, Some(&self.token)), true)
        else {
            return 0;
        };
        let answer = timeout(PATIENCE, response).await.expect("an answer in time");
        let answer = answer.unwrap_or_else(|error| panic!("a request over {scheme}: {error}"));
        assert_eq!(Whole::of(answer).await.status, 200);
        1
    }

    async fn go_on(&self) {
        let before: Vec<usize> =
            self.answered.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        for (way, before) in before.into_iter().enumerate() {
            let more = async {
                while self.answered[way].load(Ordering::Relaxed) < before + 5 {
                    sleep(STEP).await;
                }
            };
            timeout(PATIENCE, more).await.unwrap_or_else(|_| panic!("{} is stuck", WAYS[way]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_over_tls_and_http2_lose_no_request_and_no_websocket() {
    let pki = Pki::new();
    pki.issue("a", &["localhost"]);
    let encrypted = free();
    let section = pki.section(&["a"], "").replace("127.0.0.1:0", &encrypted.to_string());
    let server = format!("drain_timeout = \"8s\"\n{section}");
    let api = legacy::start(|_| ()).await;
    let mut gateway = Gateway::over(api, Upstream::start().await, &server).await;
    let (_, token) = gateway.mint().await;
    let callers = Arc::new(Callers {
        pki,
        plain: gateway.process.data,
        encrypted,
        token: token.clone(),
        end: AtomicBool::new(false),
        answered: Default::default(),
    });
    let mut tasks = JoinSet::new();
    for way in 0..WAYS.len() {
        tasks.spawn(Arc::clone(&callers).call(way));
    }
    for round in 0..2 {
        callers.go_on().await;
        let mut socket = steady::websocket(&gateway.process, &token).await;
        let old = gateway.pid;
        gateway.upgrade().await;
        // What was open before goes on in the old process, for as long as it may.
        for n in 0..10 {
            let message = steady::frame(&format!("message {n}"));
            assert!(socket.try_send(&message).await, "round {round}");
            assert_eq!(socket.exactly(message.len()).await, message, "round {round}");
        }
        callers.go_on().await;
        // And is told when that is over: 1001, "going away".
        assert!(gateway.is_gone(old).await, "round {round}: {}", gateway.process.stderr());
        let rest = socket.rest().await;
        assert_eq!(rest.get(..1), Some(&[0x88][..]), "{rest:?}");
        assert_eq!(rest.get(2..4), Some(&[0x03, 0xe9][..]), "{rest:?}");
        callers.go_on().await;
        let mut socket = steady::websocket(&gateway.process, &token).await;
        assert!(socket.try_send(steady::frame("x")).await);
    }
    callers.end.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let said = gateway.process.stderr();
    assert!(!said.contains("ERROR portcullis"), "{said}");
}
