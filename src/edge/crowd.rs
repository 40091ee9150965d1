//! How many requests wait for an upstream, and when there are too many.
//!
//! What counts is a request that was sent whole and has no answer yet: whoever is
//! slow to send, or reads an open stream for days, takes nobody's place. The rest
//! is refused before a signature is looked at. So is a part of all where the processor
//! can't keep up (`lag`). A place is taken where it is asked for, so that those who come
//! at once do not all find the last one free; who has an upload to send gives it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

use super::patience::Turn;
use super::proxy::Gateway;
use super::stage::RequestContext;
use crate::policy::{Denial, Reason};

/// Those who wait.
#[derive(Debug)]
pub(crate) struct Crowd {
    count: AtomicUsize,
    /// What others are told of it.
    gauge: IntGauge,
}

impl Crowd {
    pub(crate) fn new(gauge: IntGauge) -> Arc<Self> {
        Arc::new(Crowd { count: AtomicUsize::new(0), gauge })
    }

    /// A place, if there are fewer than so many.
    fn enter(self: &Arc<Self>, most: usize) -> Option<Place> {
        let before = self.count.fetch_add(1, Ordering::Relaxed);
        self.gauge.inc();
        let place = Place(Arc::clone(self));
        (before < most).then_some(place)
    }
}

/// A request that waits, for as long as this lives.
pub(crate) struct Place(Arc<Crowd>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.gauge.dec();
    }
}

impl Gateway {
    /// Refuses what would have to wait too long; what is not refused has a place.
    pub(super) fn refuse_the_crowd(&self, ctx: &mut RequestContext) -> Option<Denial> {
        if !self.lag.refuses() {
            ctx.place = self.crowd.enter(self.settings.load().requests);
        }
        ctx.place.is_none().then(|| Denial::new(Reason::Overloaded))
    }

    /// From now on it waits for its upstream, or does not: for its client, then.
    pub(super) fn waits(&self, ctx: &mut RequestContext, turn: Turn) {
        match turn {
            Turn::Client => ctx.place = None,
            Turn::Upstream if ctx.place.is_some() => {}
            // Its body has come meanwhile: nobody is turned away after that.
            Turn::Upstream => ctx.place = self.crowd.enter(usize::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_burst_gets_no_more_places_than_there_are() {
        let gauge = IntGauge::new("waiting", "waiting").unwrap();
        let crowd = Crowd::new(gauge.clone());
        let enter = || (0..50).filter_map(|_| crowd.enter(20)).collect::<Vec<_>>();
        let mut inside: Vec<Place> = thread::scope(|scope| {
            let all = [(); 4].map(|()| scope.spawn(enter));
            all.into_iter().flat_map(|one| one.join().unwrap()).collect()
        });
        assert!(inside.len() <= 20, "{}", inside.len());
        while let Some(place) = crowd.enter(20) {
            inside.push(place);
        }
        assert_eq!((inside.len(), gauge.get()), (20, 20));
        drop(inside.pop());
        let last = crowd.enter(20);
        assert!(last.is_some() && crowd.enter(20).is_none());
        drop((inside, last));
        assert_eq!(gauge.get(), 0);
    }
}
