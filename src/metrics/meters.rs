//! The counters of each route, found by its name once a request. Prometheus
//! looks a child up by all its labels, each time; here that is done once.

use dashmap::DashMap;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use prometheus::{Histogram, IntCounter, IntCounterVec};

use super::{Metrics, method_label};

/// Remembered of a route; what is rarer is looked up each time, so that an
/// upstream with many statuses makes nobody slow.
const MOST: usize = 16;

/// What counts requests and judgements, route by route. Routes are named by the
/// configuration and the code, so there are never many, and nobody makes them up to
/// fall into one place: the hash need only be quick.
#[derive(Default)]
pub struct Meters(DashMap<Box<str>, RouteMeters, RandomState>);

/// Those of one route.
pub struct RouteMeters {
    route: Box<str>,
    requests: Family<(&'static str, u16)>,
    decisions: Family<(&'static str, &'static str)>,
    duration: Histogram,
}

/// Children of one metric that were seen before.
struct Family<L> {
    all: IntCounterVec,
    seen: RwLock<Vec<(L, IntCounter)>>,
}

impl Meters {
    /// Lends those of a route.
    pub fn with<T>(
        &self,
        metrics: &Metrics,
        route: &str,
        use_: impl FnOnce(&RouteMeters) -> T,
    ) -> T {
        if let Some(known) = self.0.get(route) {
            return use_(&known);
        }
        use_(&self.0.entry(route.into()).or_insert_with(|| RouteMeters::new(metrics, route)))
    }
}

impl RouteMeters {
    fn new(metrics: &Metrics, route: &str) -> Self {
        RouteMeters {
            route: route.into(),
            requests: Family::new(&metrics.requests),
            decisions: Family::new(&metrics.decisions),
            duration: metrics.request_duration.with_label_values(&[route]),
        }
    }

    /// Counts a request that took so many seconds.
    pub fn request(&self, method: &str, status: u16, took: f64) {
        let method = method_label(method);
        self.requests.count((method, status), |all| {
            all.with_label_values(&[&*self.route, method, digits(status, &mut [0; 3])])
        });
        self.duration.observe(took);
    }

    /// Counts a judgement.
    pub fn decision(&self, decision: &'static str, reason: &'static str) {
        self.decisions.count((decision, reason), |all| {
            all.with_label_values(&[&*self.route, decision, reason])
        });
    }
}

impl<L: PartialEq> Family<L> {
    fn new(all: &IntCounterVec) -> Self {
        Family { all: all.clone(), seen: RwLock::default() }
    }

    fn count(&self, labels: L, find: impl FnOnce(&IntCounterVec) -> IntCounter) {
        if let Some((_, counter)) = self.seen.read().iter().find(|(known, _)| *known == labels) {
            return counter.inc();
        }
        let counter = find(&self.all);
        counter.inc();
        let mut seen = self.seen.write();
        if seen.len() < MOST && seen.iter().all(|(known, _)| *known != labels) {
            seen.push((labels, counter));
        }
    }
}

/// A status in decimal, without asking the heap.
fn digits(status: u16, buffer: &mut [u8; 3]) -> &str {
    let mut left = status;
    for digit in buffer.iter_mut().rev() {
        *digit = b'0' + u8::try_from(left % 10).unwrap_or(0);
        left /= 10;
    }
    std::str::from_utf8(buffer).unwrap_or("000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_and_what_is_not_counts_alike() {
        let metrics = Metrics::new("0").unwrap();
        let meters = Meters::default();
        for round in 1..=3 {
            for status in 0..40 {
                meters.with(&metrics, "r", |r| r.request("GET", status, 0.1));
                meters.with(&metrics, "r", |r| r.request("BREW", status, 0.1));
                meters.with(&metrics, "other", |other| other.decision("deny", "no_route"));
            }
            for (method, status) in [("GET", "000"), ("GET", "039"), ("OTHER", "007")] {
                let counter = metrics.requests.with_label_values(&["r", method, status]);
                assert_eq!(counter.get(), round, "{method} {status}");
            }
            let labels = ["other", "deny", "no_route"];
            assert_eq!(metrics.decisions.with_label_values(&labels).get(), 40 * round);
            let spent = metrics.request_duration.with_label_values(&["r"]);
            assert_eq!(spent.get_sample_count(), 80 * round);
        }
    }
}
