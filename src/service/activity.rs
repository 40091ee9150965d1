//! When each secret was last used: gathered in memory, to the second.
//!
//! Touched on every permitted request and every minted token, so it never
//! writes and never waits for a writer.

use std::sync::atomic::{AtomicI64, Ordering};

use dashmap::DashMap;

use crate::domain::{ClientId, Generation, UnixTime};

/// Last uses, by secret.
#[derive(Default)]
pub struct Activity(DashMap<(ClientId, Generation), AtomicI64>);

impl Activity {
    /// Notes a use of what `generation` minted, or of that secret itself.
    pub fn touch(&self, client: ClientId, generation: Generation, now: UnixTime) {
        let secs = now.as_secs();
        match self.0.get(&(client, generation)) {
            // Most touches fall into a second that is noted already.
            Some(last) if last.load(Ordering::Relaxed) >= secs => {}
            Some(last) => {
                last.fetch_max(secs, Ordering::Relaxed);
            }
            None => {
                let entry = self.0.entry((client, generation)).or_default();
                entry.fetch_max(secs, Ordering::Relaxed);
            }
        }
    }

    /// The last use of one secret since this process began.
    pub fn last_used(&self, client: ClientId, generation: Generation) -> Option<UnixTime> {
        let last = self.0.get(&(client, generation))?;
        Some(UnixTime::from_secs(last.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_use_is_the_latest() {
        let activity = Activity::default();
        let client = ClientId::from_random([1; 16]);
        assert_eq!(activity.last_used(client, 1), None);
        for millis in [5_000, 9_900, 7_000] {
            activity.touch(client, 1, UnixTime::from_millis(millis));
        }
        assert_eq!(activity.last_used(client, 1), Some(UnixTime::from_secs(9)));
        assert_eq!(activity.last_used(client, 2), None);
    }
}
