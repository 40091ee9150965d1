//! `make soak`: 70 % of what this machine can do, with churn of credentials, tokens,
//! revocations, streams and reloads, for `MINUTES`. Afterwards memory, file
//! descriptors, gauges and disk are back where they were after the first fifth.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{Load, Tally};
use super::steady::websocket;
use super::{Dice, legacy, number};
use crate::process::Process;

const CALLERS: u32 = 32;

/// What must come back.
#[derive(Debug, Default)]
struct State {
    memory_kb: f64,
    descriptors: f64,
    threads: f64,
    connections: f64,
    streams: f64,
    waiting: f64,
    disk_kb: f64,
    panics: f64,
}

async fn page(process: &Process) -> String {
    let url = format!("http://{}/metrics", process.metrics);
    process.http.get(url).send().await.unwrap().text().await.unwrap()
}

fn value(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

impl State {
    /// Looks once nobody is connected any more.
    async fn at_rest(process: &Process) -> Self {
        let mut last = page(process).await;
        for _ in 0..300 {
            if value(&last, "portcullis_open_connections") == 0.0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            last = page(process).await;
        }
        // What was freed is given back a little later, and pooled connections to the
        // upstream are closed by and by.
        tokio::time::sleep(Duration::from_secs(number("REST").unwrap_or(10))).await;
        let page = page(process).await;
        State {
            memory_kb: process.memory("VmRSS") as f64,
            descriptors: value(&page, "process_open_fds"),
            threads: value(&page, "process_threads"),
            connections: value(&page, "portcullis_open_connections"),
            streams: value(&page, "portcullis_open_streams"),
            waiting: value(&page, "portcullis_requests_waiting"),
            disk_kb: size(&process.folder.path().join("state")) as f64 / 1024.0,
            panics: value(&page, "portcullis_panics_total"),
        }
    }
}

/// What administrators and partners do to it all the while.
#[derive(Default)]
struct Churn {
    changes: usize,
    tokens: usize,
    streams: usize,
    reloads: usize,
}

impl Churn {
    async fn go_on(&mut self, process: &Process, dice: &mut Dice, until: Instant) {
        let mut next_reload = Instant::now();
        while Instant::now() < until {
            let body = json!({ "name": "n", "account": "acme", "roles": ["reader"] });
            let made = process.admin("/v1/credentials", body).await;
            let (status, answer) = process.trade(&made).await;
            assert_eq!(status, 200, "{answer}");
            let token = answer["access_token"].as_str().unwrap().to_owned();
            assert_eq!(process.ask(&token).await, 200);
            let mut socket = websocket(process, &token).await;
            socket.send("hello").await;
            assert_eq!(socket.exactly(5).await, b"hello");
            let id = made["client_id"].as_str().unwrap();
            let own = |rest: &str| format!("/v1/credentials/{id}/{rest}");
            match dice.below(4) {
                0 => drop(process.admin(&own("suspend"), json!({})).await),
                1 => {
                    process.admin("/v1/revocations", json!({ "token": token })).await;
                }
                2 => {
                    process.admin(&own("secrets"), json!({})).await;
                    process.admin(&own("revoke"), json!({ "reason": "r" })).await;
                }
                _ => drop(process.admin(&own("revoke"), json!({ "reason": "r" })).await),
            }
            assert!(socket.is_closed().await, "what is revoked is cut");
            assert_eq!(process.ask(&token).await, 401);
            self.changes += 2;
            self.tokens += 1;
            self.streams += 1;
            if Instant::now() > next_reload {
                process.admin("/v1/reload", json!({})).await;
                self.reloads += 1;
                next_reload = Instant::now() + Duration::from_secs(5);
            }
            tokio::time::sleep(dice.millis(5, 50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes as long as `make soak` says"]
async fn after_a_soak_everything_is_back_where_it_was() {
    let minutes = number("MINUTES").unwrap_or(20);
    let upstream = legacy::start(|_| ()).await;
    let process = Process::start(upstream).await;
    let body = json!({ "name": "steady", "account": "acme", "roles": ["reader"] });
    let made = process.admin("/v1/credentials", body).await;
    let (_, answer) = process.trade(&made).await;
    let token = answer["access_token"].as_str().unwrap().to_owned();
    let mut dice = Dice::new("soak");
    let load = Load::start(process.data, &token, 0, CALLERS);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let most = load.end().await.rate();
    let rate = (most * 0.7) as u64;
    println!("soak: {most:.0}/s is the most here, {rate}/s the load, {minutes} min");
    let whole = Duration::from_secs(60 * minutes);
    let mut churn = Churn::default();
    let mut part = async |time: Duration, churn: &mut Churn| -> (State, Tally) {
        let load = Load::start(process.data, &token, rate, CALLERS);
        churn.go_on(&process, &mut dice, Instant::now() + time).await;
        let tally = load.end().await;
        (State::at_rest(&process).await, tally)
    };
    let (before, warm) = part(whole / 5, &mut churn).await;
    let changes_before = churn.changes;
    let (after, tally) = part(whole * 4 / 5, &mut churn).await;
    let changes = (churn.changes - changes_before) as f64;
    println!("warm-up: {}\nsoak:    {}", warm.words(), tally.words());
    println!(
        "churn: {} changes, {} tokens, {} WebSockets, {} reloads",
        churn.changes, churn.tokens, churn.streams, churn.reloads
    );
    // Credentials and the trail stay for ever, and so does their part of disk and memory.
    let rows = [
        (
            "memory, kB",
            before.memory_kb,
            after.memory_kb,
            16_384.0 + before.memory_kb * 0.2 + 4.0 * changes,
        ),
        ("file descriptors", before.descriptors, after.descriptors, 8.0),
        ("threads", before.threads, after.threads, 4.0),
        ("open connections", before.connections, after.connections, 0.0),
        ("open streams", before.streams, after.streams, 0.0),
        ("waiting requests", before.waiting, after.waiting, 0.0),
        ("disk, kB", before.disk_kb, after.disk_kb, 16_384.0 + 8.0 * changes),
        ("panics", before.panics, after.panics, 0.0),
    ];
    println!("{:<18}{:>12}{:>12}{:>14}", "", "before", "after", "may grow by");
    for (what, before, after, may) in rows {
        println!("{what:<18}{before:>12.0}{after:>12.0}{may:>14.0}");
    }
    for (what, before, after, may) in rows {
        assert!(after <= before + may, "{what}: from {before} to {after}");
    }
    assert!(tally.failed.is_empty(), "{:?}", &tally.failed[..tally.failed.len().min(5)]);
    assert!(churn.reloads > 0 && churn.changes > 0);
}
