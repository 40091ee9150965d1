//! One timer for all that a connection waits for, one after the other.
//!
//! To register a timer and take it out again is dearer than to judge a request,
//! and hardly any ever rings. So it stays registered, for the soonest end so far:
//! it is set anew only where it must ring sooner, or has rung too soon.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// A connection's timer.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    /// Once it was needed. What has rung is not polled again before it is reset.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready once it is `until` or later.
    pub(crate) fn poll(&mut self, until: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(until)));
        if until < sleep.deadline() {
            sleep.as_mut().reset(until);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() >= until {
                return Poll::Ready(());
            }
            // It was set for something that is over.
            sleep.as_mut().reset(until);
        }
    }

    /// Waits until then.
    pub(crate) async fn wait(&mut self, until: Instant) {
        poll_fn(|context| self.poll(until, context)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_rings_when_it_should_whatever_it_was_set_for() {
        let mut alarm = Alarm::default();
        let began = Instant::now();
        let after = |millis| began + Duration::from_millis(millis);
        // Set far ahead and given up, then sooner, then later than that.
        let given_up = tokio::time::timeout(Duration::from_millis(5), alarm.wait(after(1000)));
        assert!(given_up.await.is_err());
        for (until, rings_at) in [(100, 100), (500, 500), (200, 500), (2000, 2000)] {
            alarm.wait(after(until)).await;
            assert_eq!(Instant::now(), after(rings_at), "set for {until}");
        }
        let given_up = tokio::time::timeout(Duration::from_millis(5), alarm.wait(after(3000)));
        assert!(given_up.await.is_err());
        alarm.wait(after(6000)).await;
        assert_eq!(Instant::now(), after(6000), "it has rung once before and was set anew");
    }
}
