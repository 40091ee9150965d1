//! Twice as much as the program can do, by `make torture`: a flood of forged tokens, each
//! of which costs a signature check, and honest requests among it. Each caller asks when it
//! is due, whatever became of the others. `SECONDS` says for how long, `CALLERS` how many
//! flood.

use std::future::Future;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{legacy, number, steady};
use crate::process::{Process, launch, program};
use crate::raw::Raw;

const LAG: Duration = Duration::from_millis(100);
const HONEST: u32 = 16;

/// Nobody is refused before a second is over, and then more and more.
const SETTLED: Duration = Duration::from_secs(5);

/// Milliseconds that answers took, by what they were.
#[derive(Default)]
struct Seen {
    let_in: Vec<f64>,
    refused: Vec<f64>,
    seconds: f64,
}

impl Seen {
    fn add(&mut self, mut other: Seen) {
        self.let_in.append(&mut other.let_in);
        self.refused.append(&mut other.refused);
        self.seconds = self.seconds.max(other.seconds);
    }

    fn rate(&self) -> f64 {
        (self.let_in.len() + self.refused.len()) as f64 / self.seconds
    }

    fn words(&self) -> String {
        let per_second = |waits: &[f64]| waits.len() as f64 / self.seconds;
        format!(
            "{:.0}/s let in (p50 {:.1} ms, p99 {:.1}), {:.0}/s refused (p50 {:.1} ms, p99 {:.1})",
            per_second(&self.let_in),
            share(&self.let_in, 0.5),
            share(&self.let_in, 0.99),
            per_second(&self.refused),
            share(&self.refused, 0.5),
            share(&self.refused, 0.99)
        )
    }
}

fn share(waits: &[f64], share: f64) -> f64 {
    let mut waits = waits.to_vec();
    waits.sort_by(f64::total_cmp);
    waits.get((waits.len().saturating_sub(1) as f64 * share) as usize).copied().unwrap_or(0.0)
}

/// What callers ask for, and what they are told if they are let in.
#[derive(Clone)]
struct Question {
    address: SocketAddr,
    /// A token without its last part, and that part.
    token: (String, String),
    /// Where no two tokens are to be the same.
    forged: Option<Arc<AtomicU64>>,
}

impl Question {
    fn text(&self) -> String {
        let (token, signature) = &self.token;
        let signature = match &self.forged {
            None => signature.clone(),
            Some(count) => {
                let count = count.fetch_add(1, Ordering::Relaxed);
                format!("{count:012}{}", &signature[12..])
            }
        };
        format!(
            "GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}.{signature}\r\n\r\n"
        )
    }

    /// `rate` a second by all callers together, for so long; 0: as fast as they are answered.
    /// What is asked before `settled` is answered as all else, and not measured.
    async fn ask(self, callers: u32, rate: f64, settled: Duration, lasting: Duration) -> Seen {
        let (began, lasting) = (Instant::now(), settled + lasting);
        let every = match rate {
            0.0 => Duration::ZERO,
            _ => Duration::from_secs_f64(f64::from(callers) / rate),
        };
        let mut tasks = JoinSet::new();
        for n in 0..callers {
            let question = self.clone();
            tasks.spawn(async move {
                let (mut raw, mut seen) = (Raw::connect(question.address).await, Seen::default());
                let mut due = began + every * n / callers;
                while began.elapsed() < lasting {
                    sleep(due.saturating_duration_since(Instant::now())).await;
                    due += every;
                    let text = question.text();
                    let asked = Instant::now();
                    raw.send(text).await;
                    let answer = raw.answer().await.expect("an answer to every request");
                    let took = asked.elapsed().as_secs_f64() * 1000.0;
                    let waits = match (answer.status, question.forged.is_some()) {
                        (200, false) | (401, true) => &mut seen.let_in,
                        (503, _) => {
                            assert!(answer.field("retry-after").is_some(), "{}", answer.head);
                            &mut seen.refused
                        }
                        (status, _) => panic!("status {status}"),
                    };
                    if asked.duration_since(began) >= settled {
                        waits.push(took);
                    }
                }
                seen
            });
        }
        let mut all = Seen::default();
        while let Some(seen) = tasks.join_next().await {
            all.add(seen.unwrap());
        }
        all.seconds = began.elapsed().saturating_sub(settled).as_secs_f64();
        all
    }
}

/// On a thread of its own, so that it is not late because of the flood's callers.
fn beside<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Beside<T> {
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _ = tell.send(runtime.block_on(work));
    });
    told
}

type Beside<T> = tokio::sync::oneshot::Receiver<T>;

async fn upstream() -> SocketAddr {
    let (tell, told) = tokio::sync::oneshot::channel();
    drop(beside(async move {
        let _ = tell.send(legacy::start(|_| ()).await);
        std::future::pending::<()>().await;
    }));
    told.await.unwrap()
}

/// The metrics port, while all else happens: how long its slowest answer took, and the most
/// that `portcullis_data_plane_lag_seconds` said.
async fn watch(http: reqwest::Client, address: SocketAddr, stop: Arc<AtomicBool>) -> (f64, f64) {
    let (mut longest, mut lag) = (0_f64, 0_f64);
    while !stop.load(Ordering::Relaxed) {
        for path in ["healthz", "readyz", "metrics"] {
            let asked = Instant::now();
            let answer = http.get(format!("http://{address}/{path}")).send().await.unwrap();
            assert_eq!(answer.status(), 200, "{path}");
            let page = answer.text().await.unwrap();
            longest = longest.max(asked.elapsed().as_secs_f64() * 1000.0);
            if path == "metrics" {
                lag = lag.max(gauge(&page, "portcullis_data_plane_lag_seconds"));
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
    (longest, lag)
}

fn gauge(page: &str, name: &str) -> f64 {
    let line = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().parse().unwrap()
}

#[ignore = "it measures, and takes all of the machine"]
#[tokio::test(flavor = "multi_thread")]
async fn at_twice_its_capacity_it_refuses_early_and_comes_back() {
    let seconds = Duration::from_secs(number("SECONDS").unwrap_or(20));
    let callers = u32::try_from(number("CALLERS").unwrap_or(3000)).unwrap();
    let limits = format!("threads = 1\n[server.limits]\nlag = \"{}ms\"", LAG.as_millis());
    let mut process = Process::prepare(upstream().await, &limits);
    // The callers are no better than the program; the processor is to be short for it alone.
    let mut command = Command::new("nice");
    command.args(["-n", "15", &program()]);
    launch(&mut process, command).await;
    let token = steady::token(&process).await;
    let (head, signature) = token.rsplit_once('.').unwrap();
    let token = (head.to_owned(), signature.to_owned());
    let honest = Question { address: process.data, token, forged: None };
    let forged = Question { forged: Some(Arc::default()), ..honest.clone() };
    let (brief, at_once) = (Duration::from_secs(3), Duration::ZERO);

    let quiet = beside(honest.clone().ask(HONEST, 200.0, at_once, brief)).await.unwrap();
    let most = forged.clone().ask(64, 0.0, at_once, brief).await;
    assert!(most.refused.is_empty() && quiet.refused.is_empty(), "64 callers are no crowd");
    let before = process.memory("VmRSS");

    let stop = Arc::new(AtomicBool::new(false));
    let watched = beside(watch(process.http.clone(), process.metrics, Arc::clone(&stop)));
    let during = beside(honest.clone().ask(HONEST, 200.0, SETTLED, seconds));
    let flood = tokio::spawn(forged.ask(callers, 2.0 * most.rate(), SETTLED, seconds));
    let mut memory = before;
    while !flood.is_finished() {
        memory = memory.max(process.memory("VmRSS"));
        sleep(Duration::from_millis(100)).await;
    }
    let (flood, during) = (flood.await.unwrap(), during.await.unwrap());
    stop.store(true, Ordering::Relaxed);
    let (slowest, lag) = watched.await.expect("the metrics port answers all the while");
    println!(
        "capacity {:.0}/s, offered {:.0}/s, asked {:.0}/s for {} s\nflood:  {}\nhonest: {}\n\
         before: {}\nlag up to {:.0} ms, metrics port up to {slowest:.0} ms, memory {before} to {memory} kB",
        most.rate(),
        2.0 * most.rate(),
        flood.rate(),
        seconds.as_secs(),
        flood.words(),
        during.words(),
        quiet.words(),
        lag * 1000.0
    );

    assert!(flood.refused.len() > 100, "it was not too much: more CALLERS would be");
    assert!(!during.let_in.is_empty(), "some honest requests are always let in");
    assert!(lag < 5.0, "it was {lag} s late");
    // What else runs on the machine makes it late too; nobody waits for much longer than that.
    let late = (3.0 * lag).max(10.0 * LAG.as_secs_f64());
    let bound = share(&quiet.let_in, 0.99) + 1000.0 * late;
    for (what, waits) in [
        ("honest, let in", &during.let_in),
        ("honest, refused", &during.refused),
        ("flood, refused", &flood.refused),
    ] {
        let p99 = share(waits, 0.99);
        assert!(p99 < bound, "{what}: p99 is {p99:.0} ms, and should be below {bound:.0}");
    }
    assert!(slowest < 2000.0, "a call of the metrics port took {slowest:.0} ms");
    assert!(memory < before + 64 * u64::from(callers), "memory went from {before} to {memory} kB");

    // All is as before: nobody is refused any more, and nothing is left.
    let back = async {
        loop {
            let url = format!("http://{}/metrics", process.metrics);
            let page = process.http.get(url).send().await.unwrap().text().await.unwrap();
            // The token's connection may be kept by whoever asked for it.
            let left =
                [("open_connections", 1.0), ("open_streams", 0.0), ("requests_waiting", 0.0)];
            let is_back = |(name, most)| gauge(&page, &format!("portcullis_{name}")) <= most;
            if left.into_iter().all(is_back) {
                return;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), back).await.expect("all gauges are back");
    let rested = async {
        while !honest.clone().ask(1, 0.0, at_once, brief / 30).await.refused.is_empty() {}
    };
    tokio::time::timeout(Duration::from_secs(30), rested).await.expect("nobody is refused");
    let after = beside(honest.ask(HONEST, 200.0, at_once, brief)).await.unwrap();
    println!("after:  {}", after.words());
    assert!(after.refused.is_empty(), "{}", after.words());
}
