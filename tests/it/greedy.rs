//! Slow and greedy clients: others are served meanwhile, and none of them holds
//! on for ever.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::harness::Harness;
use crate::held::{Front, Held, World, path};
use crate::raw::Raw;
use crate::wait::{PATIENCE, until};

const SHORT: &str = "[server.limits]\nheader_timeout = \"1s\"\nidle_timeout = \"1s\"\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

async fn silent(address: std::net::SocketAddr, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_gets_done_with_a_beginning_is_closed() {
    let world = World::with(SHORT).await;
    let (plain, tls) = (world.h.data(), world.h.data_tls());
    let mut slow = Vec::new();
    for length in 1..PREFACE.len() {
        slow.push(silent(plain, &PREFACE[..length]).await);
    }
    for length in 0..30 {
        slow.push(silent(plain, &b"GET /public/x HTTP/1.1\r\nHost: h\r\nX-Y: z"[..length]).await);
        slow.push(silent(tls, &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03"[..length % 11]).await);
    }
    for _ in 0..10 {
        assert_eq!(world.h.ask("GET", "/public/x", None).await.0, 200);
    }
    // A byte now and then does not stretch it.
    let mut dribble = Raw::connect(plain).await;
    dribble.send("GET /public/x HTTP/1.1\r\nHost: h\r\nX-Y: ").await;
    let dribbled = async {
        while dribble.try_send("z").await && !slow.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, dribbled).await.expect("the head has a deadline");
    for stream in slow.drain(..) {
        assert!(Raw::over(stream).is_closed().await);
    }
    world.h.logged(|line| line["status"] == 408).await;
    assert_eq!(world.h.ask("GET", "/public/x", None).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_is_given_up() {
    let mut world = World::with(SHORT).await;
    let token = world.h.token(&["reader"]).await;
    world.connect_again().await;
    let mut held = Vec::new();
    for front in [Front::Http2, Front::Plain, Front::Tls] {
        held.push(world.open("download", front, "deaf", &token).await);
    }
    // This one reads, a byte at a time: no piece of it ever gets through.
    let Held::Raw(mut dribble) = world.open("download", Front::Plain, "slow", &token).await else {
        panic!("HTTP/1.1 is raw");
    };
    let dribbling = tokio::spawn(async move {
        let mut byte = [0];
        while dribble.read(&mut byte).await.is_ok_and(|read| read > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    world.upstream.wait_open("/deaf", 0).await;
    world.upstream.wait_open("/slow", 0).await;
    dribbling.abort();
    for (front, who) in [
        (Front::Plain, "deaf"),
        (Front::Tls, "deaf"),
        (Front::Http2, "deaf"),
        (Front::Plain, "slow"),
    ] {
        let path = path("download", front, who);
        let line = world.h.logged(|line| line["path"] == path.as_str()).await;
        assert_eq!(line["reason"], "client_timeout", "{path}");
    }
    drop(held);
}

/// Refusals without a body, and what only a head says: nobody waits for ever for these to
/// be read either.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_read_heads_is_given_up_too() {
    let world = World::with(SHORT).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let stream = socket.connect(world.h.data()).await.unwrap();
    let mut deaf = Raw::over(stream);
    let heads = "HEAD /nowhere HTTP/1.1\r\nHost: h\r\n\r\n".repeat(100);
    // Until the gateway reads no more, and then hangs up.
    let sent = async { while deaf.try_send(&heads).await {} };
    timeout(PATIENCE, sent).await.expect("it is given up");
}

/// Of whom the gateway answers by itself it reads no more than it needs.
#[tokio::test(flavor = "multi_thread")]
async fn no_body_is_waited_for_where_none_is_wanted() {
    let world = World::with(SHORT).await;
    for (line, status) in [("GET /.well-known/jwks.json", 200), ("PUT /oauth2/token", 405)] {
        let mut raw = Raw::connect(world.h.data()).await;
        raw.send(format!("{line} HTTP/1.1\r\nHost: h\r\nContent-Length: 9999\r\n\r\n")).await;
        assert_eq!(raw.answer().await.unwrap().status, status, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_may_take_its_time_but_not_fall_silent() {
    let mut world = World::with(SHORT).await;
    let token = world.h.token(&["reader"]).await;
    for front in [Front::Plain, Front::Tls, Front::Http2] {
        world.connect_again().await;
        let path = path("upload", front, "patient");
        let mut held = world.open("upload", front, "patient", &token).await;
        for _ in 0..5 {
            world.still_works(&path, &mut held).await;
        }
        world.upstream.wait_open(&path, 0).await;
        let line = world.h.logged(|line| line["path"] == path.as_str()).await;
        assert_eq!((&line["reason"], &line["status"]), (&"client_timeout".into(), &408.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_idle_make_room() {
    let limits = "[server.limits]\nconnections = 20\n";
    let h = Harness::builder().server(limits).start().await;
    let token = h.token(&["reader"]).await;
    // The oldest of all, but busy.
    let mut busy = Raw::connect(h.data()).await;
    busy.send(format!(
        "GET /any/acme/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
    ))
    .await;
    busy.head().await.unwrap();
    h.upstream.wait_for_streams(1).await;
    let get = "GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n";
    let mut idle = Vec::new();
    for _ in 0..60 {
        let mut raw = Raw::connect(h.data()).await;
        raw.send(get).await;
        assert_eq!(raw.answer().await.expect("room for it").status, 200);
        idle.push(raw);
    }
    until("there are no more than may be", async || {
        let metrics = h.metrics().await;
        let open = metrics.lines().find(|line| line.starts_with("portcullis_open_connections "));
        let open: usize = open.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        open <= 21
    })
    .await;
    // The first ones have gone, the last are there.
    assert!(idle[0].is_closed().await && idle[20].is_closed().await);
    let newest = idle.last_mut().unwrap();
    newest.send(get).await;
    assert_eq!(newest.answer().await.unwrap().status, 200);
    h.upstream.wait_for_streams(1).await;
}
