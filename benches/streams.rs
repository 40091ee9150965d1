//! Streams: how fast a revocation hangs up, what ten thousand of them leave
//! behind, and how others fare beside slow and greedy clients.
//!
//! Gateway, clients and upstream share this process: memory, processor time and
//! file descriptors are those of all three. Words on the command line pick parts:
//! `cuts`, `churn`, `greedy`.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "a bench that is wrong should say so; the tests' world has more than is used here"
)]

#[path = "../tests/it/addresses.rs"]
mod addresses;
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
#[path = "../tests/it/wait.rs"]
mod wait;

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use held::{Front, Held, STREAMS, World, ends, path};
use raw::Raw;

/// Of each kind.
const CUTS: usize = 300;

fn told(what: &str, figure: String, goal: &str) {
    println!("{what:60} {figure:>36}   {goal}");
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The median, the 99th percentile and the longest, in milliseconds.
fn quantiles(times: &mut [Duration]) -> (f64, f64, f64) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    (at(0.5), at(0.99), at(1.0))
}

fn in_words((p50, p99, most): (f64, f64, f64)) -> String {
    format!("p50 {p50:.2}, p99 {p99:.2}, most {most:.2} ms")
}

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--test" || word == "--list") {
        return;
    }
    let picked = |part: &str| {
        words.iter().all(|word| word.starts_with('-')) || words.iter().any(|word| word == part)
    };
    if picked("cuts") {
        cuts().await;
    }
    if picked("churn") {
        churn().await;
    }
    if picked("greedy") {
        greedy().await;
    }
}

/// From the call that revokes, and from its receipt, to the moment at which the client
/// sees the end. Nothing is cut after its receipt on purpose, so the goal of 100 ms is
/// held against the longest.
async fn cuts() {
    let world = World::start().await;
    let victim = world.h.mint(&["reader"]).await;
    for &(kind, front) in STREAMS {
        let (mut from_call, mut from_receipt) = (Vec::new(), Vec::new());
        for nth in 0..CUTS {
            let token = world.h.trade(&victim).await;
            let who = nth.to_string();
            let held: Held = world.open(kind, front, &who, &token).await;
            let path = path(kind, front, &who);
            let seen = tokio::spawn(async move {
                ends(&path, held, "revoked").await;
                Instant::now()
            });
            let called = Instant::now();
            let (status, _) =
                world.h.admin("POST", "/v1/revocations", json!({ "token": token })).await;
            let received = Instant::now();
            assert_eq!(status, 200);
            let ended = seen.await.unwrap();
            from_call.push(ended - called);
            from_receipt.push(ended.saturating_duration_since(received));
        }
        let what = format!("revoke, {kind} over {front:?}");
        told(&format!("{what}: call to end"), in_words(quantiles(&mut from_call)), "");
        let after = quantiles(&mut from_receipt);
        told(&format!("{what}: receipt to end"), in_words(after), "goal 100 ms");
    }
}

/// Opens and ends `count` streams; returns the number of batches it took.
async fn streams(world: &World, first: usize, count: usize) -> usize {
    let (mut done, mut batch) = (0, first);
    while done < count {
        done += leaks::open_and_end(world, batch, 10).await;
        batch += 1;
    }
    batch
}

async fn churn() {
    let world = World::start().await;
    // The log lies in memory here, and is not the gateway's.
    let grown = || (resident() as usize).saturating_sub(world.h.log.text().len() >> 20);
    // What is kept for good (pools, caches, the runtime's) is there after these.
    let batch = streams(&world, 0, 2000).await;
    let (before, open) = (grown(), descriptors());
    let batch = streams(&world, batch, 5000).await;
    let halfway = grown();
    streams(&world, batch, 5000).await;
    let zero = async {
        loop {
            let metrics = world.h.metrics().await;
            let is = |gauge: &str| metrics.contains(&format!("portcullis_{gauge}\n"));
            // The one of HTTP/2 stays.
            if is("open_streams 0") && is("open_connections 1") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), zero).await.expect("gauges back at 0");
    told("10,000 streams: gauges", "back at 0".to_owned(), "goal 0");
    let memory = format!("{before}, {halfway}, {} MiB", grown());
    told("memory before, after 5,000 and after 10,000, without the log", memory, "goal flat");
    let left = descriptors() as i64 - open as i64;
    told("descriptors more than before", left.to_string(), "goal 0");
}

/// A request after another on one connection.
async fn ask(world: &World, count: usize) -> (f64, f64, f64) {
    let mut raw = Raw::connect(world.h.data()).await;
    let mut times = Vec::new();
    for _ in 0..count {
        let began = Instant::now();
        raw.send("GET /public/x HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(raw.answer().await.unwrap().status, 200);
        times.push(began.elapsed());
    }
    quantiles(&mut times)
}

async fn greedy() {
    let limits = "[server.limits]\nheader_timeout = \"300s\"\nidle_timeout = \"300s\"\n";
    let world = World::with(limits).await;
    let token = world.h.token(&["reader"]).await;
    ask(&world, 1000).await;
    let before = ask(&world, 5000).await;
    told("requests alone", in_words(before), "");
    let memory = resident();
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
        // Fewer than one source may have: the slow streams below need some, too.
        if nth % 25 == 0 {
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
    let connections = world.h.metrics().await;
    let connections = connections.lines().find(|line| line.starts_with("portcullis_open_conn"));
    println!("{}", connections.unwrap());
    let beside = ask(&world, 5000).await;
    let what =
        format!("beside {} idle and slow connections, {} slow streams", held.len(), slow.len());
    told(&what, in_words(beside), "");
    told(
        "memory, clients and upstream included",
        format!("{memory}, now {} MiB", resident()),
        "goal 400 MiB",
    );
    drop((held, slow));
    let after = ask(&world, 5000).await;
    told("alone again", in_words(after), "");
    let times = beside.1 / before.1.min(after.1);
    told("p99 beside them against alone", format!("{times:.2}"), "goal 2");
}
