//! The store on disk: how long a start takes with many revocations, and how fast
//! changes become durable, here and where every sync takes 2 ms more.
//!
//! Not criterion: a cold start happens once. Words on the command line pick parts:
//! `commits`, `load`. Where others have the cores, look at what this process had of them.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a bench that is wrong should say so"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use portcullis::domain::{Action, AuditEntry, ClientId, Jti, UnixTime};
use portcullis::revocation::RevocationSet;
use portcullis::service::Memory;
use portcullis::store::codec::{self, Record, RevokedToken};
use portcullis::store::{Change, Entry, Op, SledOptions, SledStore, Step, Store};

const NOW: i64 = 1_795_314_000;
const HOURS: u64 = 24;

fn told(what: &str, figure: String, goal: &str) {
    println!("{what:58} {figure:>40}   {goal}");
}

/// Processor time of all threads so far.
fn on_cores() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| {
            let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
            Duration::from_micros(micros.try_into().unwrap())
        })
        .sum()
}

/// A moment, by the clock and by the cores.
struct Watch(Instant, Duration);

impl Watch {
    fn start() -> Self {
        Watch(Instant::now(), on_cores())
    }

    /// How fast so many were done.
    fn rate(&self, count: u64) -> String {
        let (took, used) = (self.0.elapsed(), on_cores() - self.1);
        let rate = |time: Duration| count as f64 / time.as_secs_f64() / 1e6;
        format!(
            "{:.2} s, {:.1} M/s (on cores {:.2} s)",
            took.as_secs_f64(),
            rate(took),
            used.as_secs_f64()
        )
    }
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Looks like chance (splitmix64).
fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn id(n: u64) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed(n * 2).to_be_bytes());
    bytes[8..].copy_from_slice(&mixed(n * 2 + 1).to_be_bytes());
    bytes
}

fn revoked(n: u64, count: u64) -> RevokedToken {
    let hour = i64::try_from(n * HOURS / count).unwrap();
    RevokedToken {
        jti: Jti::from_bytes(id(n)),
        expires_at: UnixTime::from_secs(NOW + hour * 3600 + i64::try_from(n % 3600).unwrap()),
        client_id: Some(ClientId::from_bytes(id(n % 1000))),
        revoked_by: "admin".into(),
        revoked_at: UnixTime::from_secs(NOW),
        reason: Some("leaked".into()),
    }
}

fn entry(op: Op, revision: u64) -> Entry {
    let Op::Put { key, value } = op else { unreachable!("everything here is put") };
    Entry { key, value, revision }
}

/// Makes a store of so many revocations, packed or one to a value.
fn fill(path: &Path, count: u64, packed: bool) {
    let tokens = (0..count).map(|n| (n + 1, revoked(n, count)));
    let singles = tokens.clone().map(|(revision, token)| entry(codec::put(&token), revision));
    let mut waiting: Vec<(u64, RevokedToken)> = Vec::new();
    let mut tokens = tokens.peekable();
    let packs = std::iter::from_fn(|| {
        while waiting.len() < codec::MOST_PACKED
            && let Some(token) = tokens.peek()
        {
            let hour = |token: &RevokedToken| codec::key::hour_of(token.expires_at);
            if waiting.first().is_some_and(|(_, first)| hour(first) != hour(&token.1)) {
                break;
            }
            waiting.extend(tokens.next());
        }
        let (taken, op) = codec::pack(&waiting)?;
        waiting.drain(..taken);
        Some(entry(op, count))
    });
    let mut entries: Box<dyn Iterator<Item = std::io::Result<Entry>>> =
        if packed { Box::new(packs.map(Ok)) } else { Box::new(singles.map(Ok)) };
    SledStore::fill(&SledOptions::new(path), count, &mut entries).unwrap();
}

/// Puts every file of a store out of memory.
fn cool(path: &Path) {
    for name in std::fs::read_dir(path.join("sled")).unwrap() {
        let of = format!("of={}", name.unwrap().path().display());
        let _ = Command::new("dd")
            .args([&of, "oflag=nocache", "conv=notrunc,fdatasync", "count=0"])
            .output();
    }
}

fn load(count: u64, packed: bool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fill(&path, count, packed);
    let what = |how: &str| {
        let form = if packed { "packed" } else { "one to a value" };
        format!("{count} revocations, {form}: {how}")
    };
    let goal = if packed { "goal 4 M/s" } else { "" };
    cool(&path);
    let watch = Watch::start();
    let store = SledStore::open(SledOptions::new(&path)).unwrap();
    told(&what("opened and checked"), watch.rate(count), "");
    drop(store);

    cool(&path);
    let (before, watch) = (resident(), Watch::start());
    let set = RevocationSet::default();
    let store =
        SledStore::open_with(SledOptions::new(&path), &mut |entry| match Record::decode(&entry)
            .unwrap()
        {
            Record::RevokedToken(token) => {
                set.revoke_token(token.jti, token.expires_at);
            }
            Record::RevokedTokens(pack) => {
                for token in pack.iter() {
                    set.revoke_token(token.jti, token.expires_at);
                }
            }
            _ => {}
        });
    drop(store.unwrap());
    told(&what("and into the set"), watch.rate(count), goal);
    assert_eq!(set.token_count() as u64, count);
    told(&what("memory"), format!("{} MiB", resident().saturating_sub(before)), "");
    drop(set);

    cool(&path);
    let watch = Watch::start();
    let memory = Memory::default();
    let loaded = memory.load_while(|visit| {
        let store = SledStore::open_with(SledOptions::new(&path), visit).unwrap();
        Ok::<_, portcullis::service::LoadError>(store.status().head)
    });
    loaded.unwrap();
    told(&what("and into all of memory, receipts too"), watch.rate(count), goal);
}

fn change(n: u64) -> Change {
    let token = revoked(n, 1 << 40);
    let line = AuditEntry {
        at: UnixTime::from_secs(NOW),
        actor: "admin".into(),
        source: "127.0.0.1".into(),
        action: Action::TokenRevoked,
        target: token.jti.to_string(),
        reason: token.reason.clone(),
        changes: Vec::new(),
    };
    Change { guards: Vec::new(), ops: vec![codec::put(&token), codec::audit(&line)] }
}

async fn commits(slow: bool) {
    let folder = tempfile::tempdir().unwrap();
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&syncs);
    let options = SledOptions::new(folder.path().join("store")).with_faults(move |step| {
        if matches!(step, Step::Flush | Step::Sync | Step::Witness) {
            counted.fetch_add(1, Ordering::Relaxed);
            if slow {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    });
    let store = Arc::new(SledStore::open(options).unwrap());
    let disk = if slow { "each sync 2 ms slower" } else { "this disk" };
    let count = if slow { 300 } else { 3000 };
    let (mut times, before) = (Vec::new(), syncs.load(Ordering::Relaxed));
    for n in 0..count {
        let began = Instant::now();
        store.commit(change(n)).await.unwrap();
        times.push(began.elapsed());
    }
    let each = (syncs.load(Ordering::Relaxed) - before) as f64 / count as f64;
    told(&format!("syncs of a revocation alone, {disk}"), format!("{each:.2}"), "goal 3 or fewer");
    times.sort();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    let figure = format!("{:.2} / {:.2} ms", at(50), at(99));
    told(&format!("a revocation alone, p50 / p99, {disk}"), figure, "");

    let each: u64 = if slow { 500 } else { 2000 };
    let (began, used, before) = (Instant::now(), on_cores(), syncs.load(Ordering::Relaxed));
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..64 {
        let store = Arc::clone(&store);
        callers.spawn(async move {
            let mut times = Vec::new();
            for n in 0..each {
                let began = Instant::now();
                store.commit(change(1_000_000 * (caller + 1) + n)).await.unwrap();
                times.push(began.elapsed());
            }
            times
        });
    }
    let mut times: Vec<Duration> = callers.join_all().await.into_iter().flatten().collect();
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort();
    let at = |part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
    let goal = if slow { "goal 5,000/s" } else { "" };
    let used = (on_cores() - used).as_micros() as f64 / times.len() as f64;
    let shared = times.len() as f64 / (syncs.load(Ordering::Relaxed) - before) as f64;
    told(&format!("64 callers, {disk}"), format!("{rate:.0}/s"), goal);
    told(
        &format!("64 callers, each, {disk}"),
        format!("{used:.1} µs on cores, {shared:.1} for each sync"),
        "",
    );
    told(
        &format!("64 callers, p50 / p99, {disk}"),
        format!("{:.2} / {:.2} ms", at(50), at(99)),
        "",
    );
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let picked = |part: &str| {
        words.iter().all(|word| word.starts_with('-')) || words.iter().any(|word| word == part)
    };
    if picked("commits") {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(commits(false));
        runtime.block_on(commits(true));
    }
    if picked("load") {
        load(100_000, false);
        load(1_000_000, true);
        load(10_000_000, true);
    }
}
