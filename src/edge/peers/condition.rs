//! Whether an address is worth trying: what health checks found, and what came
//! of requests. Time comes in as an argument: how long the address is known.

use std::time::Duration;

use super::settings::{EjectionRule, HealthRule};

/// What the checks found so far. Until there was one, an address counts as up,
/// and the first one decides alone.
#[derive(Debug)]
pub(super) struct Checked {
    any: bool,
    up: bool,
    /// How many in a row said otherwise.
    against: u32,
}

impl Checked {
    pub(super) fn new() -> Self {
        Checked { any: false, up: true, against: 0 }
    }

    /// Takes in a check; true if that changes what is thought of the address.
    pub(super) fn note(&mut self, good: bool, rule: &HealthRule) -> bool {
        let first = !std::mem::replace(&mut self.any, true);
        if good == self.up {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = if good { rule.healthy_after } else { rule.unhealthy_after };
        if !first && self.against < needed {
            return false;
        }
        self.up = good;
        self.against = 0;
        true
    }

    pub(super) fn is_up(&self) -> bool {
        self.up
    }
}

/// What requests tell of an address: failures in a row take it out, each time
/// for twice as long, until it has been good for as long as it was out.
#[derive(Debug, Default)]
pub(super) struct Outlier {
    /// Failures in a row.
    failures: u32,
    /// How often in a row it was taken out.
    times: u32,
    /// Until when it is, or was last, out.
    until: Duration,
    /// For how long.
    length: Duration,
}

impl Outlier {
    /// A request failed at `at`; says for how long the address is out, if that
    /// takes it out.
    pub(super) fn failed(&mut self, at: Duration, rule: &EjectionRule) -> Option<Duration> {
        // What fails while it is out was sent before, or because all are out.
        if rule.after == 0 || at < self.until {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < rule.after {
            return None;
        }
        if at.saturating_sub(self.until) >= self.length {
            self.times = 0;
        }
        let doubled = 2u32.saturating_pow(self.times);
        self.length = rule.base_time.saturating_mul(doubled).min(rule.max_time);
        self.times = self.times.saturating_add(1);
        self.until = at.saturating_add(self.length);
        self.failures = 0;
        Some(self.length)
    }

    /// A request was answered.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Until when it is out.
    pub(super) fn until(&self) -> Duration {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn checks_in_a_row_decide_and_the_first_one_alone() {
        let rule = HealthRule { unhealthy_after: 3, healthy_after: 2, ..HealthRule::default() };
        let mut checked = Checked::new();
        assert!(checked.is_up(), "before any check");
        assert!(checked.note(false, &rule) && !checked.is_up(), "the first one decides");
        assert!(!checked.note(true, &rule) && !checked.is_up());
        assert!(!checked.note(false, &rule) && !checked.is_up(), "not in a row");
        assert!(!checked.note(true, &rule));
        assert!(checked.note(true, &rule) && checked.is_up());
        for (good, changed) in
            [(false, false), (false, false), (true, false), (false, false), (false, false)]
        {
            assert_eq!(checked.note(good, &rule), changed);
            assert!(checked.is_up());
        }
        assert!(checked.note(false, &rule) && !checked.is_up());
    }

    #[test]
    fn failures_in_a_row_take_it_out_for_a_growing_bounded_time() {
        let rule = EjectionRule { after: 3, base_time: secs(10), max_time: secs(25) };
        let mut outlier = Outlier::default();
        let mut fail = |at: u64| outlier.failed(secs(at), &rule);
        assert_eq!([fail(1), fail(2), fail(3)], [None, None, Some(secs(10))]);
        assert_eq!([fail(4), fail(5), fail(12)], [None, None, None], "it is out");
        // Back at 13: it has to fail three times again.
        assert_eq!([fail(13), fail(14), fail(15)], [None, None, Some(secs(20))]);
        assert_eq!([fail(35), fail(36), fail(37)], [None, None, Some(secs(25))], "bounded");
        assert_eq!([fail(62), fail(63), fail(64)], [None, None, Some(secs(25))]);
        // Out until 89, and good for longer than it was out: it begins anew.
        assert_eq!([fail(200), fail(201), fail(202)], [None, None, Some(secs(10))]);
        assert_eq!(outlier.until(), secs(212));
    }

    #[test]
    fn one_answer_in_between_and_nothing_happens() {
        let rule = EjectionRule { after: 2, base_time: secs(10), max_time: secs(25) };
        let mut outlier = Outlier::default();
        for at in 0..100 {
            assert_eq!(outlier.failed(secs(at), &rule), None);
            outlier.succeeded();
        }
        assert_eq!(outlier.failed(secs(100), &rule), None);
        assert_eq!(outlier.failed(secs(101), &rule), Some(secs(10)));
        let off = EjectionRule { after: 0, ..rule };
        let mut outlier = Outlier::default();
        assert!((0..1000).all(|at| outlier.failed(secs(at), &off).is_none()));
    }
}
