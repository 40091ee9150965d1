//! Streams: how fast a revocation hangs up, what ten thousand of them leave
//! behind, and how others fare beside slow and greedy clients.
//!
//! Gateway, clients and upstream share this process: memory and file
//! descriptors are those of all three.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "a bench that is wrong should say so; the tests' world has more than is used here"
)]

#[path = "../tests/it/backends.rs"]
mod backends;
#[path = "../tests/it/endless.rs"]
mod endless;
#[path = "../tests/it/harness.rs"]
mod harness;
#[path = "../tests/it/held.rs"]
mod held;
#[path = "../tests/it/leaks.rs"]
mod leaks;
#[path = "../tests/it/raw.rs"]
mod raw;
#[path = "../tests/it/secure.rs"]
mod secure;
#[path = "../tests/it/upstream.rs"]
mod upstream;

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use held::{Front, Held, World, ends, path};
use raw::Raw;

fn told(what: &str, figure: String) {
    println!("{what:66} {figure:>30}");
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The median and the 99th percentile.
fn quantiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.2} ms, p99 {:.2} ms", at(0.5), at(0.99))
}

#[tokio::main]
async fn main() {
    if std::env::args().any(|arg| arg == "--test" || arg == "--list") {
        return;
    }
    cuts().await;
    churn().await;
    greedy().await;
}

/// From the call that revokes to the moment at which the client sees the end.
async fn cuts() {
    let world = World::start().await;
    let victim = world.h.mint(&["reader"]).await;
    for (kind, front) in [
        ("ws-idle", Front::Plain),
        ("ws-idle", Front::Tls),
        ("events", Front::Plain),
        ("events", Front::Tls),
        ("events", Front::Http2),
        ("grpc", Front::Http2),
    ] {
        let mut times = Vec::new();
        for nth in 0..300 {
            let token = world.h.trade(&victim).await;
            let path = path(kind, front, &nth.to_string());
            let held: Held = world.begin(kind, front, &path, &token).await;
            let began = Instant::now();
            let seen = tokio::spawn(async move {
                ends(&path, held, "revoked").await;
                began.elapsed()
            });
            let (status, _) =
                world.h.admin("POST", "/v1/revocations", json!({ "token": token })).await;
            assert_eq!(status, 200);
            times.push(seen.await.unwrap());
        }
        told(&format!("revoke: call to hang-up, {kind} over {front:?}"), quantiles(times));
    }
}

async fn churn() {
    let world = World::start().await;
    let mut count = 0;
    // What is kept for good (pools, caches, the runtime's) is there after these.
    for batch in 0..10 {
        leaks::open_and_end(&world, batch, 5).await;
    }
    let (memory, open) = (resident(), descriptors());
    let mut batch = 10;
    while count < 10_000 {
        count += leaks::open_and_end(&world, batch, 10).await;
        batch += 1;
    }
    // The log lies in memory here, and is not the gateway's.
    let log = world.h.log.text().len() >> 20;
    let text =
        format!("{} MiB, {} descriptors", resident() - memory, descriptors() as i64 - open as i64);
    told(&format!("{count} streams: more than before ({log} MiB of log among it)"), text);
    let metrics = world.h.metrics().await;
    for gauge in ["portcullis_open_streams 0", "portcullis_open_connections 1"] {
        assert!(metrics.contains(gauge), "{gauge}: {metrics}");
    }
}

/// A request after another on one connection.
async fn ask(world: &World, count: usize) -> Vec<Duration> {
    let mut raw = Raw::connect(world.h.data()).await;
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        raw.send("GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.answer().await.unwrap().status, 200);
        times.push(began.elapsed());
    }
    times
}

async fn greedy() {
    let limits = "[server.limits]\nheader_timeout = \"60s\"\nidle_timeout = \"60s\"\n";
    let world = World::with(limits).await;
    let token = world.h.token(&["reader"]).await;
    ask(&world, 500).await;
    told("requests alone", quantiles(ask(&world, 5000).await));
    let mut held = Vec::new();
    let mut open = async |address, bytes: &[u8]| {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        held.push(stream);
    };
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    for nth in 0..5000 {
        open(world.h.data(), &[]).await;
        if nth % 10 == 0 {
            open(world.h.data(), b"GET / HTTP/1.1\r\nHost: h\r\nX: ").await;
            open(world.h.data(), &preface[..1 + nth / 10 % 23]).await;
        }
        if nth % 20 == 0 {
            open(world.h.data_tls(), b"\x16\x03\x01\x02\x00\x01").await;
        }
    }
    let mut slow = Vec::new();
    for nth in 0..30 {
        for front in [Front::Plain, Front::Tls, Front::Http2] {
            slow.push(world.open("download", front, &format!("deaf-{nth}"), &token).await);
            slow.push(world.open("upload", front, &format!("stuck-{nth}"), &token).await);
        }
    }
    let beside = quantiles(ask(&world, 5000).await);
    told(&format!("beside {} idle and slow connections, 180 slow streams", held.len()), beside);
    told("memory, clients and upstream included", format!("{} MiB", resident()));
}
