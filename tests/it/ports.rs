//! The admin and the metrics port: slow and greedy clients hold neither, and
//! both answer while the gateway drains.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::Harness;
use crate::raw::Raw;
use crate::wait::until;

async fn from(source: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((source, 0).into()).unwrap();
    socket.connect(to).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_all_places_leaves_some_for_others() {
    let h = Harness::start().await;
    for port in [h.running().admin, h.running().metrics] {
        let mut held = Vec::new();
        for _ in 0..200 {
            held.push(from([127, 0, 0, 2], port).await);
        }
        let url = format!("http://{port}/healthz");
        assert_eq!(h.http.get(url).send().await.unwrap().status(), 200, "{port}");
        // The last ones got no place.
        let mut last = held.pop().unwrap();
        let read = tokio::time::timeout(Duration::from_secs(30), last.read(&mut [0; 1])).await;
        assert!(matches!(read.unwrap(), Ok(0) | Err(_)), "{port}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_or_long_head_ends_the_connection() {
    let h = Harness::builder().server("[server.limits]\nheader_timeout = \"1s\"").start().await;
    for port in [h.running().admin, h.running().metrics] {
        let mut slow = Raw::connect(port).await;
        slow.send("GET /healthz HTTP/1.1\r\nHo").await;
        assert!(slow.is_closed().await, "{port}");
        let mut idle = Raw::connect(port).await;
        idle.send("GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(idle.answer().await.unwrap().status, 200);
        assert!(idle.is_closed().await, "{port}");
        let mut long = Raw::connect(port).await;
        let field = "x".repeat(60_000);
        long.try_send(format!("GET /healthz HTTP/1.1\r\nHost: h\r\nA: {field}\r\n\r\n")).await;
        let status = long.answer().await.map(|answer| answer.status);
        assert!(matches!(status, None | Some(431)), "{port} {status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_answer_while_the_gateway_drains() {
    let mut h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let (admin, metrics) = (h.running().admin, h.running().metrics);
    let mut under_way = Raw::connect(h.data()).await;
    under_way
        .send(format!(
            "POST /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
             Content-Length: 10\r\n\r\n12345"
        ))
        .await;
    let streams = h.running().context.memory.streams.clone();
    until("it is under way", async || streams.count() > 0).await;
    let (http, key) = (h.http.clone(), h.admin_key.clone());
    let stopping = tokio::spawn(async move { h.stop().await });
    until("it drains", async || {
        let ready = http.get(format!("http://{metrics}/readyz")).send().await.unwrap();
        ready.json::<Value>().await.unwrap()["reasons"] == json!(["draining"])
    })
    .await;
    let me = http.get(format!("http://{admin}/v1/me")).bearer_auth(&key).send().await.unwrap();
    assert_eq!(me.status(), 200);
    under_way.send("67890").await;
    assert_eq!(under_way.answer().await.unwrap().status, 200);
    stopping.await.unwrap();
    // A child that is just being started holds what was open for a moment longer.
    until("it is closed", async || TcpStream::connect(admin).await.is_err()).await;
}
