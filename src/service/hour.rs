//! How many requests there were in each of the last sixty minutes.

use std::sync::atomic::{AtomicU32, Ordering};

const MINUTES: usize = 60;

/// A ring of minutes, each since the epoch.
pub(super) struct Hour {
    newest: i64,
    counts: [AtomicU32; MINUTES],
}

impl Hour {
    /// With one request in `minute`.
    pub(super) fn beginning(minute: i64) -> Self {
        let hour = Hour { newest: minute, counts: std::array::from_fn(|_| AtomicU32::new(0)) };
        hour.count(minute);
        hour
    }

    fn slot(&self, minute: i64) -> Option<&AtomicU32> {
        self.counts.get(usize::try_from(minute.rem_euclid(60)).ok()?)
    }

    pub(super) fn is_at(&self, minute: i64) -> bool {
        minute <= self.newest
    }

    /// Counts a request. False if it is of a minute that did not begin yet.
    pub(super) fn count(&self, minute: i64) -> bool {
        // A clock that was set back counts for the newest minute there is.
        if self.is_at(minute)
            && let Some(slot) = self.slot(self.newest)
        {
            slot.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        false
    }

    /// Begins a minute with one request.
    pub(super) fn go_to(&mut self, minute: i64) {
        let gone = minute.saturating_sub(self.newest).clamp(0, 60);
        for step in 1..=gone {
            if let Some(slot) = self.slot(self.newest.saturating_add(step)) {
                slot.store(0, Ordering::Relaxed);
            }
        }
        self.newest = minute;
        self.count(minute);
    }

    /// All requests of the hour that ends with `minute`.
    pub(super) fn sum(&self, minute: i64) -> u64 {
        let ago = minute.saturating_sub(self.newest).max(0);
        let live = (0..60 - ago.min(60)).filter_map(|back| self.slot(self.newest - back));
        live.map(|slot| u64::from(slot.load(Ordering::Relaxed))).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minutes_come_and_go() {
        let mut hour = Hour::beginning(1000);
        assert!(hour.count(1000) && hour.count(999) && !hour.count(1001));
        hour.go_to(1001);
        assert_eq!((hour.sum(1001), hour.sum(1059), hour.sum(1060), hour.sum(1061)), (4, 4, 1, 0));
        hour.go_to(1060);
        assert_eq!(hour.sum(1060), 2);
        hour.go_to(5000);
        assert_eq!(hour.sum(5000), 1);
    }
}
