//! Revoking on a disk whose every sync takes 2 ms longer: alone, and by 64 at
//! once. In one process with the gateway, since only there a sync can be slowed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis::app::{Means, Running, start};
use portcullis::config;
use portcullis::domain::{Jti, SystemClock, SystemEntropy};
use portcullis::edge::{SystemProbe, SystemResolver};
use portcullis::service::{Actor, TokenRef, revoke_token};
use portcullis::store::{SledOptions, SledStore, Step};
use tokio::task::JoinSet;

const SLOWER: Duration = Duration::from_millis(2);
const ALONE: usize = 50;
const CALLERS: usize = 64;
const EACH: usize = 50;

/// Prints one line of JSON. `folder` is empty or not there yet.
pub(crate) fn run(folder: &str) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let syncs = Arc::new(AtomicUsize::new(0));
        let running = launch(Path::new(folder), Arc::clone(&syncs)).await;
        let before = syncs.load(Ordering::Relaxed);
        let mut alone = Vec::new();
        for n in 0..ALONE {
            let began = Instant::now();
            revoke(&running, n).await;
            alone.push(began.elapsed());
        }
        let syncs = (syncs.load(Ordering::Relaxed) - before) as f64 / ALONE as f64;
        alone.sort();
        let began = Instant::now();
        let running = Arc::new(running);
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let running = Arc::clone(&running);
            callers.spawn(async move {
                for n in 0..EACH {
                    revoke(&running, ALONE + caller * EACH + n).await;
                }
            });
        }
        while let Some(done) = callers.join_next().await {
            done.unwrap();
        }
        let rate = (CALLERS * EACH) as f64 / began.elapsed().as_secs_f64();
        println!(
            "{{\"alone_p50\":{},\"alone_p99\":{},\"syncs_alone\":{syncs:.2},\"together_rate\":{rate:.0}}}",
            alone.get(ALONE / 2).unwrap().as_micros(),
            alone.last().unwrap().as_micros(),
        );
        Arc::into_inner(running).unwrap().stop().await;
    });
}

async fn revoke(running: &Running, n: usize) {
    let token = TokenRef::by_id(Jti::from_random((n as u128 + 1).to_be_bytes()));
    revoke_token(&running.context, &Actor::command_line(), token, None).await.unwrap();
}

async fn launch(folder: &Path, syncs: Arc<AtomicUsize>) -> Running {
    let options = SledOptions::new(folder.join("state")).with_faults(move |step| {
        if matches!(step, Step::Flush | Step::Sync | Step::Witness) {
            syncs.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(SLOWER);
        }
        Ok(())
    });
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [metrics]\nlisten = \"127.0.0.1:0\"\n[store]\npath = \"{0}/state\"\n\
         [oauth]\nissuer = \"http://127.0.0.1\"\n",
        folder.display()
    );
    let means = Means {
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        log: Box::new(std::io::sink()),
        store: Some(Arc::new(SledStore::open(options).unwrap())),
        resolver: Arc::new(SystemResolver),
        probe: Box::new(SystemProbe::default()),
    };
    start(config::parse(&text, Path::new(".")).unwrap(), means).await.unwrap()
}
