//! How long an upstream may be silent before its response head comes.
//!
//! Pingora's read timeout goes on after the head and would end a quiet event
//! stream; it can't be changed once a request is under way. So the gateway has a
//! timer of its own, wound up when an upstream is asked and with every piece of
//! the upload, and stopped by the head. It knows whose turn it is: a client that
//! stops in the middle of its upload is no fault of the upstream's.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::alarm::Alarm;

/// Who is to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The client, whose upload is not at its end.
    Client,
    /// The upstream, which is to answer.
    Upstream,
}

impl Turn {
    fn code(self) -> u8 {
        match self {
            Turn::Client => 1,
            Turn::Upstream => 2,
        }
    }
}

/// One request's timer. One task may wait.
#[derive(Debug)]
pub(crate) struct Patience {
    base: Instant,
    /// Milliseconds after `base` at which it runs out; 0 while it is stopped.
    until: AtomicU64,
    turn: AtomicU8,
    /// Whose turn it was when time ran out; 0 before.
    ran_out: AtomicU8,
}

impl Patience {
    pub(crate) fn new() -> Self {
        Patience {
            base: Instant::now(),
            until: AtomicU64::new(0),
            turn: AtomicU8::new(0),
            ran_out: AtomicU8::new(0),
        }
    }

    /// Starts it, or starts it anew, for whose turn it is.
    pub(crate) fn wind_up(&self, by: Duration, turn: Turn) {
        self.turn.store(turn.code(), Ordering::Release);
        let until = self.base.elapsed().saturating_add(by);
        let until = u64::try_from(until.as_millis()).unwrap_or(u64::MAX).max(1);
        self.until.store(until, Ordering::Release);
    }

    /// Stops it for good: nothing runs out any more.
    pub(crate) fn stop(&self) {
        self.until.store(0, Ordering::Release);
    }

    /// Whose turn it was, once it has run out.
    pub(crate) fn ran_out_on(&self) -> Option<Turn> {
        let code = self.ran_out.load(Ordering::Acquire);
        [Turn::Client, Turn::Upstream].into_iter().find(|turn| turn.code() == code)
    }

    /// Waits until it runs out, and says on whom. It looks only when it is polled: who
    /// winds it up is polled before it, by the same task, so that nobody need be woken.
    pub(crate) async fn wait(&self, alarm: &mut Alarm) -> Turn {
        poll_fn(|context| {
            loop {
                let until = self.until.load(Ordering::Acquire);
                if until == 0 {
                    return Poll::Pending;
                }
                let end = self.base + Duration::from_millis(until);
                if alarm.poll(end, context).is_pending() {
                    return Poll::Pending;
                }
                if self.until.load(Ordering::Acquire) == until {
                    self.ran_out.store(self.turn.load(Ordering::Acquire), Ordering::Release);
                    return Poll::Ready(self.ran_out_on().unwrap_or(Turn::Upstream));
                }
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_runs_out_unless_it_is_stopped_or_wound_up() {
        let (patience, mut alarm) = (Patience::new(), Alarm::default());
        let millis = Duration::from_millis;
        {
            let exchange = async {
                let sleep = tokio::time::sleep;
                sleep(millis(5000)).await;
                patience.wind_up(millis(100), Turn::Client);
                sleep(millis(60)).await;
                patience.wind_up(millis(100), Turn::Upstream);
                sleep(millis(60)).await;
                patience.stop();
                sleep(millis(5000)).await;
            };
            tokio::select! {
                biased;
                () = exchange => {}
                turn = patience.wait(&mut alarm) => panic!("it ran out on {turn:?}"),
            }
        }
        assert!(patience.ran_out_on().is_none());
        patience.wind_up(millis(100), Turn::Client);
        let began = Instant::now();
        assert_eq!(patience.wait(&mut alarm).await, Turn::Client);
        assert_eq!(patience.ran_out_on(), Some(Turn::Client));
        assert_eq!(began.elapsed(), millis(100));
    }
}
