//! More clients than the processor can serve, by `make torture`: how long those wait that
//! are let in, with and without `server.limits.lag`. `CALLERS` says how many there are,
//! `SECONDS` for how long.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{legacy, number, steady};
use crate::process::{Process, launch, program};
use crate::raw::Raw;

struct Seen {
    admitted: f64,
    refused: f64,
    p50: u128,
    p99: u128,
}

/// Each caller asks anew as soon as it is answered; whoever is refused waits as it is told.
async fn press(lag: &str, callers: u64, seconds: u64) -> Seen {
    let limits = format!("threads = 1\n[server.limits]\nlag = \"{lag}\"");
    let mut process = Process::prepare(legacy::start(|_| ()).await, &limits);
    // The callers are no better than the program; the processor is to be short for it alone.
    let mut command = Command::new("nice");
    command.args(["-n", "15", &program()]);
    launch(&mut process, command).await;
    let token = steady::token(&process).await;
    let request =
        format!("GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
    let (counts, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (counts, stop) = (Arc::clone(&counts), Arc::clone(&stop));
            let (request, address) = (request.clone(), process.data);
            tokio::spawn(async move {
                let mut raw = Raw::connect(address).await;
                let (mut waits, mut refused) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) {
                    let (counts, asked) = (counts.load(Ordering::Relaxed), Instant::now());
                    raw.send(&request).await;
                    let answer = raw.answer().await.expect("an answer to every request");
                    match answer.status {
                        200 if counts => waits.push(asked.elapsed().as_millis()),
                        200 => {}
                        503 => {
                            refused += usize::from(counts);
                            let after = answer.field("retry-after").unwrap().parse().unwrap();
                            tokio::time::sleep(Duration::from_secs(after)).await;
                        }
                        status => panic!("status {status}"),
                    }
                }
                (waits, refused)
            })
        })
        .collect();
    // Until it has come to rest.
    tokio::time::sleep(Duration::from_secs(seconds.div_ceil(2))).await;
    counts.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut waits, mut refused) = (Vec::new(), 0);
    for task in tasks {
        let (mut some, more) = task.await.unwrap();
        waits.append(&mut some);
        refused += more;
    }
    waits.sort_unstable();
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share) as usize];
    let each = |count: usize| count as f64 / seconds as f64;
    Seen { admitted: each(waits.len()), refused: each(refused), p50: at(0.5), p99: at(0.99) }
}

#[ignore = "it measures, and takes all of the machine"]
#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_waits_for_less_where_the_rest_is_refused() {
    let (callers, seconds) = (number("CALLERS").unwrap_or(3000), number("SECONDS").unwrap_or(10));
    let mut waited = Vec::new();
    for lag in ["0s", "100ms"] {
        let seen = press(lag, callers, seconds).await;
        println!(
            "{callers} callers, lag = {lag}: {:.0}/s answered 200, {:.0}/s refused; those let in \
             waited p50 {} ms, p99 {} ms",
            seen.admitted, seen.refused, seen.p50, seen.p99
        );
        waited.push(seen);
    }
    let [without, with] = &waited[..] else { panic!("two") };
    assert_eq!(without.refused, 0.0);
    // Where the callers themselves are the bottleneck, there is nothing to refuse.
    if with.refused > with.admitted / 10.0 {
        assert!(with.p99 < without.p99, "p99 is bounded");
        assert!(with.admitted > without.admitted / 2.0, "most is still done");
    }
}
