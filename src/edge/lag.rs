//! How late each thread comes to what happens, and what is refused there where that is
//! too late for too long: the processor is the bottleneck then, and whoever is let in
//! only waits for longer.
//!
//! A probe sends itself a byte every so often. It waits where requests wait: in the
//! system's list of sockets that are readable, and in the runtime's queue. A hiccup is
//! no reason to refuse anybody; only when every probe of a second came too late, a share
//! of the new requests is refused, which grows while that goes on, and shrinks as soon as
//! it does not. At least one of sixteen is always let in.

use std::io::{self, Write};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use prometheus::Gauge;
use tokio::net::UnixStream;
use tokio::time::sleep;

/// Between two probes.
const EVERY: Duration = Duration::from_millis(50);

/// Every probe of so long must have been late before anybody is refused.
const SUSTAINED: Duration = Duration::from_secs(1);

/// Shares are counted in these.
const WHOLE: u32 = 1 << 16;
const MOST: u32 = WHOLE / 16 * 15;
/// By how much a probe that is late by the bound makes the share grow, and one in time
/// shrink.
const MORE: u32 = WHOLE / 8;
/// How many times that one that is later by far makes it grow.
const MOST_AT_ONCE: u32 = 7;
const LESS: u32 = WHOLE / 64;

/// One look at how late it is.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When it was seen.
    pub at: Instant,
    /// How long it had waited.
    pub late: Duration,
}

/// Finds out how late it is.
#[async_trait]
pub trait Probe: Send + Sync {
    /// The next look, in a while.
    async fn next(&mut self) -> Sample;

    /// One like it, for another thread.
    fn another(&self) -> Box<dyn Probe>;
}

/// Sends itself bytes, in the runtime that asks it.
#[derive(Default)]
pub struct SystemProbe(Option<(StdUnixStream, UnixStream)>);

#[async_trait]
impl Probe for SystemProbe {
    async fn next(&mut self) -> Sample {
        sleep(EVERY).await;
        let late = self.exchange().await.unwrap_or_else(|error| {
            // What can't be found out refuses nobody.
            tracing::debug!(%error, "no probe");
            self.0 = None;
            Duration::ZERO
        });
        Sample { at: Instant::now(), late }
    }

    fn another(&self) -> Box<dyn Probe> {
        Box::new(SystemProbe::default())
    }
}

impl SystemProbe {
    async fn exchange(&mut self) -> io::Result<Duration> {
        let (to, from) = match &mut self.0 {
            Some(pair) => pair,
            nothing => {
                let (to, from) = StdUnixStream::pair()?;
                from.set_nonblocking(true)?;
                nothing.insert((to, UnixStream::from_std(from)?))
            }
        };
        // Empty it until the runtime knows that it is: only then it waits for an event.
        while from.try_read(&mut [0; 8]).is_ok_and(|count| count > 0) {}
        let sent = Instant::now();
        // One byte into an empty socket does not block.
        to.write_all(b"?")?;
        from.readable().await?;
        Ok(sent.elapsed())
    }
}

/// How much is refused now, on one thread.
pub(crate) struct Lag {
    share: AtomicU32,
    asked: AtomicU64,
    /// Those of all threads; the worst is shown.
    looks: Arc<Looks>,
    place: usize,
    shown: Gauge,
}

/// How late each thread was when last looked at, and when that was after `base`; both in
/// nanoseconds.
struct Looks {
    base: Instant,
    each: Box<[(AtomicU64, AtomicU64)]>,
}

impl Looks {
    fn note(&self, place: usize, sample: Sample) {
        if let Some((late, at)) = self.each.get(place) {
            late.store(nanos(sample.late), Ordering::Relaxed);
            at.store(nanos(sample.at.saturating_duration_since(self.base)), Ordering::Relaxed);
        }
    }

    /// How late the latest is. One that was not looked at for long is as late as that, at
    /// least: nobody comes to look.
    fn worst(&self, now: Instant) -> Duration {
        let now = now.saturating_duration_since(self.base);
        let each = self.each.iter().map(|(late, at)| {
            let silent = now.saturating_sub(Duration::from_nanos(at.load(Ordering::Relaxed)));
            let late = Duration::from_nanos(late.load(Ordering::Relaxed));
            late.max(silent.saturating_sub(late + EVERY * 4))
        });
        each.max().unwrap_or_default()
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Since when all probes were late.
#[derive(Default)]
pub(crate) struct Late(Option<Instant>);

impl Lag {
    /// One for each of so many threads.
    pub(crate) fn of_all(shown: &Gauge, threads: usize) -> Vec<Self> {
        let each = (0..threads).map(|_| Default::default()).collect();
        let looks = Arc::new(Looks { base: Instant::now(), each });
        let one = |place| Lag {
            share: AtomicU32::new(0),
            asked: AtomicU64::new(0),
            looks: Arc::clone(&looks),
            place,
            shown: shown.clone(),
        };
        (0..threads).map(one).collect()
    }

    /// Whether a part is refused.
    pub(crate) fn is_late(&self) -> bool {
        self.share.load(Ordering::Relaxed) > 0
    }

    /// Whether this request is one of those that are refused: evenly spread.
    pub(crate) fn refuses(&self) -> bool {
        let share = u64::from(self.share.load(Ordering::Relaxed));
        if share == 0 {
            return false;
        }
        let before = self.asked.fetch_add(1, Ordering::Relaxed).wrapping_mul(share);
        let whole = u64::from(WHOLE);
        before / whole != before.wrapping_add(share) / whole
    }

    /// Takes a look in. With a `bound` of zero nobody is refused.
    pub(crate) fn learn(&self, since: &mut Late, sample: Sample, bound: Duration) {
        let before = self.share.load(Ordering::Relaxed);
        let share = if bound.is_zero() {
            since.0 = None;
            0
        } else if sample.late < bound {
            since.0 = None;
            before.saturating_sub(LESS)
        } else {
            let since = *since.0.get_or_insert(sample.at);
            let lasts = sample.at.saturating_duration_since(since) >= SUSTAINED;
            if lasts || before > 0 {
                // The later they are, the rarer probes are: each counts for as much.
                let times = sample.late.as_millis() / bound.as_millis().max(1);
                let times = u32::try_from(times).unwrap_or(u32::MAX).clamp(1, MOST_AT_ONCE);
                before.saturating_add(MORE * times).min(MOST)
            } else {
                0
            }
        };
        self.share.store(share, Ordering::Relaxed);
        self.looks.note(self.place, sample);
        self.shown.set(self.looks.worst(sample.at).as_secs_f64());
        match (before, share) {
            (0, 1..) => tracing::warn!(
                late = ?sample.late,
                "the processor can't keep up: a part of the requests is refused (server.limits.lag)"
            ),
            (1.., 0) => tracing::info!("the processor keeps up: nobody is refused any more"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Duration = Duration::from_millis(500);

    struct Line {
        lag: Lag,
        late: Late,
        at: Instant,
    }

    impl Line {
        fn new() -> Self {
            let gauge = Gauge::new("lag", "lag").unwrap();
            let lag = Lag::of_all(&gauge, 1).remove(0);
            Line { lag, late: Late::default(), at: Instant::now() }
        }

        /// So many probes, one every so many milliseconds, each so late.
        fn probes(&mut self, count: usize, every: u64, late: u64) {
            for _ in 0..count {
                self.at += Duration::from_millis(every);
                let sample = Sample { at: self.at, late: Duration::from_millis(late) };
                self.lag.learn(&mut self.late, sample, BOUND);
            }
        }

        fn refused_of_a_thousand(&self) -> usize {
            (0..1000).filter(|_| self.lag.refuses()).count()
        }
    }

    #[test]
    fn a_thread_that_nobody_looks_at_is_late() {
        let gauge = Gauge::new("lag", "lag").unwrap();
        let lags = Lag::of_all(&gauge, 2);
        let base = lags[0].looks.base;
        let look = |lag: &Lag, second: u64| {
            let sample = Sample { at: base + Duration::from_secs(second), late: EVERY };
            lag.learn(&mut Late::default(), sample, BOUND);
        };
        look(&lags[0], 1);
        look(&lags[1], 1);
        assert!((gauge.get() - EVERY.as_secs_f64()).abs() < 1e-9, "{}", gauge.get());
        look(&lags[0], 9);
        assert!(gauge.get() > 7.0 && gauge.get() < 8.0, "{}", gauge.get());
    }

    #[test]
    fn a_hiccup_refuses_nobody() {
        let mut line = Line::new();
        // A process that was stopped for a minute, and one that is late now and then.
        line.probes(1, 60_000, 60_000);
        line.probes(1, 50, 1);
        for _ in 0..100 {
            line.probes(1, 650, 600);
            line.probes(1, 50, 499);
        }
        line.probes(20, 50, 499);
        line.probes(19, 50, 900);
        assert_eq!(line.refused_of_a_thousand(), 0);
    }

    #[test]
    fn what_lasts_refuses_more_and_more_and_never_all() {
        let mut line = Line::new();
        line.probes(2, 900, 850);
        assert_eq!(line.refused_of_a_thousand(), 0, "not for a second yet");
        line.probes(1, 900, 850);
        assert_eq!(line.refused_of_a_thousand(), 125);
        line.probes(3, 900, 850);
        assert_eq!(line.refused_of_a_thousand(), 500);
        line.probes(100, 900, 850);
        assert!((937..=938).contains(&line.refused_of_a_thousand()));
        // Less, as soon as it is less late; and at once again more while it goes on.
        line.probes(30, 50, 100);
        assert!((468..=470).contains(&line.refused_of_a_thousand()));
        line.probes(1, 650, 600);
        assert!((593..=595).contains(&line.refused_of_a_thousand()));
        line.probes(60, 50, 100);
        assert_eq!(line.refused_of_a_thousand(), 0);
        // From nothing it takes a second again.
        line.probes(1, 650, 600);
        assert_eq!(line.refused_of_a_thousand(), 0);
    }

    #[test]
    fn the_later_it_is_the_more_a_look_refuses() {
        for (late, refused) in [(999, 125), (1000, 250), (2600, 625), (60_000, 875)] {
            let mut line = Line::new();
            line.probes(1, 2000, late);
            assert_eq!(line.refused_of_a_thousand(), 0);
            line.probes(1, 1000, late);
            assert_eq!(line.refused_of_a_thousand(), refused, "{late} ms");
        }
    }

    #[test]
    fn what_was_late_under_no_bound_does_not_count() {
        let mut line = Line::new();
        line.probes(1, 900, 850);
        for bound in [Duration::ZERO, BOUND] {
            line.at += Duration::from_secs(9);
            let sample = Sample { at: line.at, late: Duration::from_secs(9) };
            line.lag.learn(&mut line.late, sample, bound);
            assert_eq!(line.refused_of_a_thousand(), 0, "{bound:?}");
        }
    }

    #[test]
    fn a_bound_of_zero_refuses_nobody() {
        let mut line = Line::new();
        line.probes(10, 900, 850);
        assert!(line.refused_of_a_thousand() > 0);
        let sample = Sample { at: line.at, late: Duration::from_secs(9) };
        line.lag.learn(&mut line.late, sample, Duration::ZERO);
        assert_eq!(line.refused_of_a_thousand(), 0);
    }

    #[tokio::test]
    async fn the_probe_waits_where_requests_wait() {
        let mut probe = SystemProbe::default();
        // One after another on this thread, the probe between them.
        let busy = tokio::spawn(async {
            loop {
                std::thread::sleep(Duration::from_millis(2));
                tokio::task::yield_now().await;
            }
        });
        for _ in 0..3 {
            let begun = Instant::now();
            let sample = probe.next().await;
            assert!(sample.late >= Duration::from_millis(2), "{:?}", sample.late);
            assert!(sample.late <= begun.elapsed());
        }
        busy.abort();
    }
}
