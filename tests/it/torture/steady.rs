//! Reloads, upgrades and graceful restarts under a steady load, by `make torture`: not one
//! failed request, and WebSockets alive across reloads. `RATE`, `RELOADS`, `UPGRADES` and
//! `RESTARTS` say how much.

use std::net::TcpListener;

use serde_json::json;

use super::load::Load;
use super::{legacy, number};
use crate::gateway::Gateway;
use crate::process::{Process, by_sockets, launch};
use crate::raw::Raw;
use crate::upstream::Upstream;
use crate::wait::until;

const CALLERS: u32 = 32;

async fn gateway() -> (Process, String) {
    let upstream = legacy::start(|_| ()).await;
    let process = Process::start(upstream).await;
    let token = token(&process).await;
    (process, token)
}

pub(super) async fn token(process: &Process) -> String {
    let body = json!({ "name": "n", "account": "acme", "roles": ["reader"] });
    let made = process.admin("/v1/credentials", body).await;
    let (_, token) = process.trade(&made).await;
    token["access_token"].as_str().unwrap().to_owned()
}

async fn reloads(process: &Process) -> u64 {
    let url = format!("http://{}/metrics", process.metrics);
    let page = process.http.get(url).send().await.unwrap().text().await.unwrap();
    let name = "portcullis_config_reloads_total{outcome=\"ok\"} ";
    page.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
}

/// Changes what the file says about a role, and has it read again.
async fn reload(process: &Process, round: u64) {
    let text = std::fs::read_to_string(process.config()).unwrap();
    let label = text.split("label = \"").nth(1).unwrap().split('"').next().unwrap();
    let text = text.replacen(label, &format!("Label {round}"), 1);
    std::fs::write(process.config(), text).unwrap();
    let before = reloads(process).await;
    let child = process.child.as_ref().unwrap().id().to_string();
    let sent = std::process::Command::new("kill").args(["-HUP", &child]).status();
    assert!(sent.unwrap().success());
    until("it is taken on", async || reloads(process).await != before).await;
}

/// A text as a client sends it, with a mask that changes nothing.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// One that has echoed something.
pub(crate) async fn websocket(process: &Process, token: &str) -> Raw {
    let mut raw = Raw::connect(process.data).await;
    raw.send(format!(
        "GET /any/acme/ws HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\
         Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ))
    .await;
    let head = raw.head().await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    let hello = frame("hello");
    raw.send(&hello).await;
    assert_eq!(raw.exactly(hello.len()).await, hello);
    raw
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_fail_no_request_and_end_no_websocket() {
    let (rounds, rate) = (number("RELOADS").unwrap_or(3), number("RATE").unwrap_or(200));
    let (process, token) = gateway().await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        sockets.push(websocket(&process, &token).await);
    }
    let load = Load::start(process.data, &token, rate, CALLERS);
    for round in 0..rounds {
        load.more(rate / 5).await;
        reload(&process, round).await;
        for socket in &mut sockets {
            let message = frame(&format!("message {round}"));
            socket.send(&message).await;
            assert_eq!(socket.exactly(message.len()).await, message);
        }
    }
    load.more(rate / 5).await;
    let tally = load.end().await;
    println!("{rounds} reloads: {}", tally.words());
    assert!(tally.failed.is_empty(), "{:?}", tally.failed);
    assert_eq!(tally.again, 0, "a reload closes no connection");
    assert!(tally.answered > 0);
}

/// No connection is refused, reset, or closed before its request was answered.
#[tokio::test(flavor = "multi_thread")]
async fn upgrades_fail_no_request() {
    let (rounds, rate) = (number("UPGRADES").unwrap_or(2), number("RATE").unwrap_or(200));
    let api = legacy::start(|_| ()).await;
    let server = "drain_timeout = \"20s\"";
    let mut gateway = Gateway::over(api, Upstream::start().await, server).await;
    let (_, token) = gateway.mint().await;
    let load = Load::start(gateway.process.data, &token, rate, CALLERS);
    for _ in 0..rounds {
        load.more(rate / 5).await;
        let old = gateway.pid;
        gateway.upgrade().await;
        load.more(rate / 5).await;
        // The next one is refused before.
        assert!(gateway.is_gone(old).await, "{}", gateway.process.stderr());
    }
    load.more(rate / 5).await;
    let tally = load.end().await;
    println!("{rounds} upgrades: {}", tally.words());
    assert!(tally.failed.is_empty(), "{:?}", tally.failed);
    assert_eq!(tally.again, 0, "an upgrade refuses and closes no connection");
    assert!(tally.answered > 0);
}

/// Sockets are held, as by systemd: whoever was accepted is answered, and whoever comes
/// while nobody serves waits. A connection may close that nothing was asked on.
#[tokio::test(flavor = "multi_thread")]
async fn graceful_restarts_break_off_no_request() {
    let (rounds, rate) = (number("RESTARTS").unwrap_or(2), number("RATE").unwrap_or(200));
    let mut process = Process::prepare(legacy::start(|_| ()).await, "shutdown_delay = \"200ms\"");
    let held = [process.data, process.metrics].map(|at| TcpListener::bind(at).unwrap());
    launch(&mut process, by_sockets(&held)).await;
    let token = token(&process).await;
    let load = Load::start(process.data, &token, rate, CALLERS);
    for _ in 0..rounds {
        load.more(rate / 5).await;
        process.terminate();
        let status = process.ended().await;
        assert_eq!(status.code(), Some(0), "{}", process.stderr());
        launch(&mut process, by_sockets(&held)).await;
    }
    load.more(rate / 5).await;
    let tally = load.end().await;
    println!("{rounds} graceful restarts: {}", tally.words());
    assert!(tally.failed.is_empty(), "{:?}", tally.failed);
    assert!(tally.answered > 0);
}
