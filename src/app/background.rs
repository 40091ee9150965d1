//! What runs beside the requests: cutting what has run out, sweeping, gauges.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::edge::DataPlane;
use crate::metrics::Metrics;
use crate::revocation::CutReason;
use crate::service::{
    Context, keep_usage, keys, lapse, note_uses, pack_revocations, retire_unused, sweep,
};

/// A token's own end ends its streams within a second.
const CUT_EVERY: Duration = Duration::from_millis(250);
const LAPSE_EVERY: Duration = Duration::from_secs(1);
const KEEP_EVERY: Duration = Duration::from_secs(60);
const TEND_EVERY: Duration = Duration::from_millis(250);
const PACK_EVERY: Duration = Duration::from_secs(60);
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// When those work that write beside the requests: while the store is here.
#[derive(Clone)]
pub(super) struct Pace(watch::Receiver<bool>);

impl Pace {
    pub(super) fn while_it_is(here: watch::Receiver<bool>) -> Self {
        Pace(here)
    }

    fn is_here(&self) -> bool {
        *self.0.borrow()
    }

    async fn wait(&mut self, pause: Duration) {
        tokio::time::sleep(pause).await;
        if self.0.wait_for(|here| *here).await.is_err() {
            std::future::pending().await
        }
    }
}

/// Cuts requests whose token has run out.
pub(super) async fn cut_expired(context: Arc<Context>) {
    loop {
        tokio::time::sleep(CUT_EVERY).await;
        let now = context.now();
        context.memory.streams.cut_any(CutReason::Expired, |client, live| {
            // The credential and its secrets may have got other ends since.
            let standing = context.memory.revoked.standing(client);
            let ended = standing.is_some_and(|s| s.admits(live.generation, now).is_err());
            now >= live.ends_at || ended
        });
        context.memory.streams.cut_any(CutReason::Narrowed, |client, live| {
            let asleep = live.armed_until.is_some_and(|until| now >= until);
            let standing = || context.memory.revoked.standing(client);
            asleep && !standing().is_some_and(|standing| live.holds(&standing))
        });
    }
}

/// Forgets revocations of tokens that are dead by themselves, and retires
/// secrets that nobody used for as long as was asked.
pub(super) async fn sweep_again_and_again(context: Arc<Context>, mut pace: Pace) {
    loop {
        pace.wait(SWEEP_EVERY).await;
        // What was not swept, because the store takes no changes, waits for the next time.
        drop(sweep(&context).await);
        retire_unused(&context).await;
    }
}

/// Packs revocations, a commit at a time, so that the next start is a fast one.
pub(super) async fn pack_again_and_again(context: Arc<Context>, mut pace: Pace) {
    loop {
        pace.wait(PACK_EVERY).await;
        if let Err(error) = pack_revocations(&context).await {
            tracing::warn!(%error, "revocations were not packed; they will be next time");
        }
    }
}

/// Writes when and for what credentials were used.
pub(super) async fn keep_usage_again_and_again(context: Arc<Context>, mut pace: Pace) {
    loop {
        pace.wait(KEEP_EVERY).await;
        keep(&context).await;
    }
}

/// Nothing that is judged depends on it.
pub(super) async fn keep(context: &Context) {
    note_uses(context).await;
    if let Err(error) = keep_usage(context).await {
        tracing::warn!(%error, "last uses were not written; they will be next time");
    }
}

/// Puts roles to sleep whose time is over, for the trail and for counting: they
/// stopped to count by themselves.
pub(super) async fn lapse_again_and_again(context: Arc<Context>, metrics: Metrics, mut pace: Pace) {
    loop {
        pace.wait(LAPSE_EVERY).await;
        note_uses(&context).await;
        for role in lapse(&context).await {
            metrics.armed_role_lapses.with_label_values(&[role.as_str()]).inc();
        }
    }
}

/// Takes signing keys into and out of use when their time has come.
pub(super) async fn tend_keys(context: Arc<Context>, pace: Pace) {
    let mut told = false;
    loop {
        tokio::time::sleep(TEND_EVERY).await;
        if !pace.is_here() {
            // Another process removes them; which one signs is a matter of time.
            keys::refresh(&context);
            continue;
        }
        let outcome = keys::retire(&context).await;
        if let (Err(error), false) = (&outcome, told) {
            tracing::warn!(%error, "a signing key whose time is over can't be removed yet");
        }
        told = outcome.is_err();
    }
}

/// Brings the gauges up to date when somebody is about to read them.
pub(super) fn gather(
    context: Arc<Context>,
    data: Arc<DataPlane>,
    metrics: Metrics,
) -> Arc<dyn Fn() + Send + Sync> {
    // A new snapshot has a new cache, whose counts begin at zero.
    let seen = Mutex::new((0, 0));
    // Addresses come and go with DNS and reloads.
    let shown = Mutex::new(Vec::<(String, String)>::new());
    let gauge = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    Arc::new(move || {
        let memory = &context.memory;
        let revoked = &memory.revoked;
        let sizes = [
            ("token", revoked.token_count()),
            ("credential", revoked.credential_count()),
            ("cut_off", revoked.cut_off_count()),
            ("key", revoked.key_count()),
        ];
        for (kind, size) in sizes {
            metrics.revocation_set_size.with_label_values(&[kind]).set(gauge(size));
        }
        metrics.store_failed.set(i64::from(context.store.status().refusing.is_some()));
        metrics.clock_behind.set(context.behind().as_secs_f64());
        metrics.open_streams.set(gauge(memory.streams.count()));
        metrics.store_revision.set(i64::try_from(memory.revision()).unwrap_or(i64::MAX));
        let health = data.upstream_health();
        let mut shown = shown.lock();
        for (upstream, address) in shown.drain(..) {
            if !health.iter().any(|(u, a, _)| (u, a) == (&upstream, &address)) {
                let _ = metrics.upstream_up.remove_label_values(&[&upstream, &address]);
            }
        }
        for (upstream, address, up) in health {
            metrics.upstream_up.with_label_values(&[&upstream, &address]).set(i64::from(up));
            shown.push((upstream, address));
        }
        drop(shown);
        let world = context.world.load();
        let (hits, misses) = (world.cache().hits(), world.cache().misses());
        let mut seen = seen.lock();
        let since = |now: u64, before: u64| if now >= before { now - before } else { now };
        metrics.token_cache_hits.inc_by(since(hits, seen.0));
        metrics.token_cache_misses.inc_by(since(misses, seen.1));
        *seen = (hits, misses);
        metrics.token_cache_entries.set(gauge(world.cache().len()));
    })
}
