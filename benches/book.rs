//! A book of 100,000 credentials: to start with, to list, to search, in memory.
//! One figure each, with the goal it is held to.
//!
//! Not criterion: a start happens once, and memory is not time.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench that is wrong should say so"
)]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis::app::{Means, Running, start};
use portcullis::config;
use portcullis::domain::{StateName, SystemClock, SystemEntropy};
use portcullis::edge::{SystemProbe, SystemResolver};
use portcullis::service::{
    Actor, Context, CredentialRequest, Filter, Memory, issue_credential, search,
};
use portcullis::store::{
    Change, CommitError, Entry, Key, Observer, Receipt, Revision, Status, Store, StoreError,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CREDENTIALS: usize = 100_000;
const WRITERS: usize = 64;
const PROGRAM: &str = env!("CARGO_BIN_EXE_portcullis");

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(run());
}

/// What is under `folder`, with its metrics at `metrics`.
fn configuration(folder: &Path, metrics: SocketAddr) -> String {
    format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [metrics]\nlisten = \"{metrics}\"\n[store]\npath = \"{}\"\n\
         [oauth]\nissuer = \"http://127.0.0.1\"\n\
         [[role]]\nid = \"reader\"\nlabel = \"Get the tests information\"\ndescription = \"\"\n\
         scopes = [\"campaign.list\", \"campaign.read\"]\n\
         [[role]]\nid = \"operator\"\nlabel = \"Manage status of every tests\"\ndescription = \"\"\n\
         scopes = [\"campaign.toggle\"]\n",
        folder.join("state").display()
    )
}

async fn launch(folder: &Path) -> Running {
    let text = configuration(folder, "127.0.0.1:0".parse().unwrap());
    let means = Means {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        log: Box::new(std::io::sink()),
        store: None,
        resolver: Arc::new(SystemResolver),
        probe: Box::new(SystemProbe::default()),
    };
    start(config::parse(&text, Path::new(".")).unwrap(), means).await.unwrap()
}

fn told(what: &str, figure: String, goal: &str) {
    println!("{what:44} {figure:>14}   {goal}");
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

async fn fill(ctx: &Arc<Context>) {
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let ctx = Arc::clone(ctx);
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
}

/// Gives what it was given, so that memory is filled and nothing else.
struct Replay(Vec<Entry>);

#[async_trait::async_trait]
impl Store for Replay {
    fn load(&self, visit: &mut dyn FnMut(Entry)) -> Result<Revision, StoreError> {
        self.0.iter().cloned().for_each(visit);
        Ok(1)
    }

    fn scan(&self, _prefix: &Key, _visit: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        Err(StoreError::Io("nobody asks".into()))
    }

    fn snapshot(&self, _: &mut dyn FnMut(Entry) -> bool) -> Result<Revision, StoreError> {
        Err(StoreError::Io("nobody asks".into()))
    }

    fn observe(&self, _observer: Arc<dyn Observer>) {}

    async fn commit(&self, _change: Change) -> Result<Receipt, CommitError> {
        Err(CommitError::NotDone("nobody asks".into()))
    }

    fn status(&self) -> Status {
        Status { head: 1, refusing: None }
    }

    fn close(&self) {}
}

/// Bytes asked of the allocator that memory keeps of entries whose key begins so.
fn kept(ctx: &Context, prefix: &[u8]) -> usize {
    let mut entries = Vec::new();
    ctx.store.scan(&Key(prefix.to_vec()), &mut |entry| entries.push(entry)).unwrap();
    assert!(entries.len() >= CREDENTIALS);
    let replay = Replay(entries);
    let region = Region::new(ALLOCATOR);
    let memory = Memory::default();
    memory.load(&replay).unwrap();
    let stats = region.change();
    drop(memory);
    stats.bytes_allocated - stats.bytes_deallocated
}

fn memory(ctx: &Context) {
    let empty = {
        let region = Region::new(ALLOCATOR);
        let memory = Memory::default();
        let held = region.change().bytes_allocated;
        drop(memory);
        held
    };
    let each = |prefix: &[u8]| kept(ctx, prefix).saturating_sub(empty) / CREDENTIALS;
    told("memory for each credential", format!("{} B", each(b"c/")), "goal under 1536 B");
    told(
        "memory for each line of the trail",
        format!("{} B", each(b"x/")),
        "the last 100,000 stay",
    );
}

fn searches(ctx: &Context) {
    let none = Filter::default();
    let page = median(|| drop(search(ctx, &none, None, 50)));
    told("first page of 50", format!("{page:.2?}"), "goal under 20 ms");
    let q = |q: &str| (format!("{q:?}"), Filter { q: Some(q.into()), ..Filter::default() });
    let revoked = Filter { state: Some(StateName::Revoked), ..Filter::default() };
    let unused = Filter { unused_for: Some(Duration::from_secs(86_400)), ..Filter::default() };
    let nobody = Filter { account: Some("account-500".into()), ..unused };
    for (what, filter) in [
        q("partner 976"),
        q("Manage status"),
        q("nothing like it"),
        q("integration partner night zzz"),
        q("e a i zq"),
        ("revoked ones (there are none)".into(), revoked),
        ("an account without any, unused".into(), nobody),
    ] {
        let took = median(|| drop(search(ctx, &filter, None, 50)));
        told(&format!("search for {what}"), format!("{took:.2?}"), "goal under 50 ms");
    }
}

/// A process that is ended with the bench, whatever happens.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn is_ready(metrics: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(metrics) else { return false };
    let asked = stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let mut text = String::new();
    asked.is_ok() && stream.read_to_string(&mut text).is_ok() && text.starts_with("HTTP/1.1 200")
}

/// How long the real program takes to be ready, and its resident kilobytes then.
fn serve(folder: &Path) -> (Duration, u64) {
    let metrics = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = folder.join("portcullis.toml");
    std::fs::write(&config, configuration(folder, metrics)).unwrap();
    let began = Instant::now();
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--config"]).arg(config).stdout(Stdio::null()).stderr(Stdio::null());
    let program = Program(command.spawn().unwrap());
    while !is_ready(metrics) {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not get ready");
        std::thread::sleep(Duration::from_millis(5));
    }
    let took = began.elapsed();
    let text = std::fs::read_to_string(format!("/proc/{}/status", program.0.id())).unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    (took, line.split_whitespace().nth(1).unwrap().parse().unwrap())
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let running = launch(folder.path()).await;
    let began = Instant::now();
    fill(&running.context).await;
    let took = began.elapsed();
    println!("{CREDENTIALS} credentials minted durably by {WRITERS} writers in {took:.1?}");
    memory(&running.context);
    searches(&running.context);
    running.stop().await;
    let empty = tempfile::tempdir().unwrap();
    launch(empty.path()).await.stop().await;
    let (_, base) = serve(empty.path());
    let (took, full) = serve(folder.path());
    told("start of the program until it is ready", format!("{took:.2?}"), "goal under 3 s");
    told("resident memory of the program", format!("{} MiB", full / 1024), "");
    told("the same without a credential", format!("{} MiB", base / 1024), "");
}
