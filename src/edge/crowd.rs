//! How many requests wait for an upstream, and when there are too many.
//!
//! What counts is a request that was sent whole and has no answer yet: whoever is
//! slow to send, or reads an open stream for days, takes nobody's place. The rest
//! is refused before a signature is looked at. So is a part of all where the processor
//! can't keep up (`lag`).

use prometheus::IntGauge;

use super::patience::Turn;
use super::proxy::Gateway;
use super::stage::RequestContext;
use crate::policy::{Denial, Reason};

/// A request that waits, for as long as this lives.
pub(crate) struct Place(IntGauge);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Gateway {
    /// Refuses what would have to wait too long.
    pub(super) fn refuse_the_crowd(&self) -> Option<Denial> {
        if self.lag.refuses() {
            return Some(Denial::new(Reason::Overloaded));
        }
        let most = i64::try_from(self.settings.load().requests).unwrap_or(i64::MAX);
        let waiting = self.reporter.metrics.requests_waiting.get();
        (waiting >= most).then(|| Denial::new(Reason::Overloaded))
    }

    /// From now on it waits for its upstream, or does not: for its client, then.
    pub(super) fn waits(&self, ctx: &mut RequestContext, turn: Turn) {
        let gauge = &self.reporter.metrics.requests_waiting;
        match turn {
            Turn::Client => ctx.place = None,
            Turn::Upstream if ctx.place.is_some() => {}
            Turn::Upstream => {
                gauge.inc();
                ctx.place = Some(Place(gauge.clone()));
            }
        }
    }
}
