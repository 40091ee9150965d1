//! A book of 100,000 credentials: to start with, to list, to search, in memory;
//! and tokens minted over HTTP. One figure each, with the goal it is held to.
//!
//! Not criterion: a start happens once, and memory is not time.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench that is wrong should say so"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::app::{Means, Running, start};
use portcullis::config;
use portcullis::domain::{SystemClock, SystemEntropy};
use portcullis::edge::SystemResolver;
use portcullis::service::{Actor, CredentialRequest, Filter, issue_credential, search};

const CREDENTIALS: usize = 100_000;
const WRITERS: usize = 64;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn launch(folder: &Path) -> Running {
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"{}\"\n\
         [oauth]\nissuer = \"http://127.0.0.1\"\n\
         [[role]]\nid = \"reader\"\nlabel = \"Get the tests information\"\ndescription = \"\"\n\
         scopes = [\"campaign.list\", \"campaign.read\"]\n\
         [[role]]\nid = \"operator\"\nlabel = \"Manage status of every tests\"\ndescription = \"\"\n\
         scopes = [\"campaign.toggle\"]\n",
        folder.join("state").display()
    );
    let means = Means {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        log: Box::new(std::io::sink()),
        store: None,
        resolver: Arc::new(SystemResolver),
    };
    start(config::parse(&text, Path::new(".")).unwrap(), means).await.unwrap()
}

/// Kilobytes of the process that are in memory.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn told(what: &str, figure: String, goal: &str) {
    println!("{what:44} {figure:>14}   goal {goal}");
}

/// The median of some runs.
fn median(mut run: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let began = Instant::now();
            run();
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let running = launch(folder.path()).await;
    let began = Instant::now();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let ctx = Arc::clone(&running.context);
        writers.spawn(async move {
            for n in (writer..CREDENTIALS).step_by(WRITERS) {
                let role = if n % 3 == 0 { "operator" } else { "reader" };
                let request = CredentialRequest {
                    name: format!("integration {n} of partner {}", n % 977),
                    description: "reads campaigns every night and writes a report".into(),
                    account: format!("account-{}", n % 500),
                    roles: vec![role.into()],
                    ..CredentialRequest::default()
                };
                let checked = request.check(&ctx.world.load(), ctx.now()).unwrap();
                issue_credential(&ctx, &Actor::command_line(), checked).await.unwrap();
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let took = began.elapsed();
    println!("{CREDENTIALS} credentials minted durably by {WRITERS} writers in {took:.1?}");
    running.stop().await;

    let before = resident();
    let empty = tempfile::tempdir().unwrap();
    launch(empty.path()).await.stop().await;
    let base = resident().saturating_sub(before);
    let before = resident();
    let began = Instant::now();
    let running = launch(folder.path()).await;
    told("start", format!("{:.2?}", began.elapsed()), "under 3 s");
    // The store's own cache is counted with it; what a second start costs is not.
    let grown = resident().saturating_sub(before + base) * 1024 / CREDENTIALS as u64;
    told("memory for each, store cache included", format!("{grown} B"), "under 1536 B");
    let ctx = &running.context;
    let none = Filter::default();
    told(
        "first page of 50",
        format!("{:.2?}", median(|| drop(search(ctx, &none, None, 50)))),
        "under 20 ms",
    );
    for q in ["partner 976", "nothing like it", "Manage status"] {
        let filter = Filter { q: Some(q.into()), ..Filter::default() };
        let took = median(|| drop(search(ctx, &filter, None, 50)));
        told(&format!("search for {q:?}"), format!("{took:.2?}"), "under 50 ms");
    }
    running.stop().await;
}
