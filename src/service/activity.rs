//! When and for what each credential was used, gathered in memory.
//!
//! Touched on every permitted request and every minted token, so it never
//! writes and never waits for a writer: [`super::keep_usage`] writes last uses
//! and used scopes in batches. Rates and live tokens are since this process began.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use super::hour::Hour;
use crate::domain::{ClientId, Generation, RouteName, ScopeSet, UnixTime};
use crate::policy::Ground;
use crate::revocation::ById;
use crate::store::codec::Usage;

/// The most routes of one credential whose rates are known.
const ROUTES: usize = 64;

/// Ends of tokens are counted by this many seconds, rounded up.
const SLOT: i64 = 300;

/// Last uses, used scopes, rates and live tokens, by credential.
#[derive(Default)]
pub struct Activity(ById<ClientId, Seen>);

#[derive(Default)]
struct Seen {
    /// Seconds, by secret.
    last: Vec<(Generation, AtomicI64)>,
    scopes: ScopeSet,
    hours: Vec<(RouteName, Hour)>,
    /// Tokens, by their last slot and their secret.
    minted: BTreeMap<(i64, Generation), usize>,
    /// Something is not written yet.
    changed: AtomicBool,
}

impl Seen {
    /// False if `generation` is not noted yet.
    fn touch(&self, generation: Generation, secs: i64) -> bool {
        let Some((_, last)) = self.last.iter().find(|(known, _)| *known == generation) else {
            return false;
        };
        // Most touches fall into a second that is noted already.
        if last.load(Ordering::Relaxed) < secs && last.fetch_max(secs, Ordering::Relaxed) < secs {
            self.changed.store(true, Ordering::Relaxed);
        }
        true
    }

    fn add_generation(&mut self, generation: Generation, secs: i64) {
        if !self.touch(generation, secs) {
            self.last.reserve_exact(1);
            self.last.push((generation, AtomicI64::new(secs)));
            *self.changed.get_mut() = true;
        }
    }

    /// False if there is something that a shared reference can't note.
    fn count(&self, ground: &Ground, minute: i64) -> bool {
        let route = ground.route_name();
        let hour = self.hours.iter().find(|(known, _)| known == route);
        let counted = match hour {
            Some((_, hour)) => hour.count(minute),
            None => self.hours.len() >= ROUTES,
        };
        counted && ground.scopes().all(|scope| self.scopes.contains(scope))
    }
}

impl Activity {
    /// Notes a use of what `generation` minted, or of that secret itself.
    pub fn touch(&self, client: ClientId, generation: Generation, now: UnixTime) {
        let secs = now.as_secs();
        if !self.0.get(&client).is_some_and(|seen| seen.touch(generation, secs)) {
            self.0.entry(client).or_default().add_generation(generation, secs);
        }
    }

    /// Notes a permitted request.
    pub fn passed(&self, ground: &Ground, now: UnixTime) {
        let token = ground.principal().token();
        let (client, generation) = (token.client_id(), token.generation());
        let minute = now.as_secs() / 60;
        let (touched, counted) = self.0.get(&client).map_or((false, false), |seen| {
            (seen.touch(generation, now.as_secs()), seen.count(ground, minute))
        });
        if !touched {
            self.touch(client, generation, now);
        }
        if counted {
            return;
        }
        let mut seen = self.0.entry(client).or_default();
        let before = seen.scopes.len();
        seen.scopes.extend(ground.scopes().cloned());
        if seen.scopes.len() > before {
            *seen.changed.get_mut() = true;
        }
        let route = ground.route_name();
        let room = seen.hours.len() < ROUTES;
        let place = seen.hours.iter().position(|(known, _)| known == route);
        match place.and_then(|place| seen.hours.get_mut(place)) {
            // The shared look counted it, unless a new minute began.
            Some((_, hour)) if hour.is_at(minute) => {}
            Some((_, hour)) => hour.go_to(minute),
            None if room => {
                // A Vec that grows by itself has room for four, a quarter of a kilobyte each.
                seen.hours.reserve_exact(1);
                seen.hours.push((route.clone(), Hour::beginning(minute)));
            }
            None => {}
        }
    }

    /// Notes a minted token.
    pub fn minted(
        &self,
        client: ClientId,
        generation: Generation,
        expires_at: UnixTime,
        now: UnixTime,
    ) {
        let mut seen = self.0.entry(client).or_default();
        seen.add_generation(generation, now.as_secs());
        let first = now.as_secs().div_euclid(SLOT);
        seen.minted = seen.minted.split_off(&(first, 0));
        let slot = expires_at.as_secs().div_euclid(SLOT);
        *seen.minted.entry((slot, generation)).or_default() += 1;
    }

    /// The last use of one secret.
    pub fn last_used(&self, client: ClientId, generation: Generation) -> Option<UnixTime> {
        let seen = self.0.get(&client)?;
        let (_, last) = seen.last.iter().find(|(known, _)| *known == generation)?;
        Some(UnixTime::from_secs(last.load(Ordering::Relaxed)))
    }

    /// The last use of any secret of a credential.
    pub fn last_used_at_all(&self, client: ClientId) -> Option<UnixTime> {
        let seen = self.0.get(&client)?;
        let last = seen.last.iter().map(|(_, last)| last.load(Ordering::Relaxed)).max()?;
        Some(UnixTime::from_secs(last))
    }

    /// The scopes that permitted requests of a credential needed.
    pub fn scopes(&self, client: ClientId) -> ScopeSet {
        self.0.get(&client).map(|seen| seen.scopes.clone()).unwrap_or_default()
    }

    /// Requests of the last hour by route, the busiest first.
    pub fn last_hour(&self, client: ClientId, now: UnixTime) -> Vec<(RouteName, u64)> {
        let minute = now.as_secs() / 60;
        let Some(seen) = self.0.get(&client) else { return Vec::new() };
        let counted = seen.hours.iter().map(|(route, hour)| (route.clone(), hour.sum(minute)));
        let mut counted: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
        counted.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counted
    }

    /// How many tokens that secrets picked by `alive` minted since this process
    /// began have not run out, to a slot of time (`SLOT` seconds).
    pub fn live_tokens(
        &self,
        client: ClientId,
        now: UnixTime,
        alive: impl Fn(Generation) -> bool,
    ) -> usize {
        let first = now.as_secs().div_euclid(SLOT);
        let Some(seen) = self.0.get(&client) else { return 0 };
        let live = seen.minted.range((first, 0)..).filter(|((_, by), _)| alive(*by));
        live.map(|(_, count)| count).sum()
    }

    /// Up to `limit` credentials of which something is not written; from now on
    /// it counts as written.
    pub(super) fn take_changed(&self, limit: usize) -> Vec<Usage> {
        let changed = self.0.iter().filter(|seen| seen.changed.swap(false, Ordering::Relaxed));
        let read = |(known, last): &(Generation, AtomicI64)| {
            (*known, UnixTime::from_secs(last.load(Ordering::Relaxed)))
        };
        let usage = |seen: dashmap::mapref::multiple::RefMulti<'_, ClientId, Seen>| Usage {
            client_id: *seen.key(),
            last_used: seen.last.iter().map(read).collect(),
            scopes: seen.scopes.clone(),
        };
        changed.take(limit).map(usage).collect()
    }

    /// What was taken was not written after all.
    pub(super) fn give_back(&self, taken: &[ClientId]) {
        for seen in taken.iter().filter_map(|client| self.0.get(client)) {
            seen.changed.store(true, Ordering::Relaxed);
        }
    }

    /// Takes in what was written; the later use stands.
    pub(super) fn learn(&self, usage: Usage) {
        let mut seen = self.0.entry(usage.client_id).or_default();
        let changed = *seen.changed.get_mut();
        for (generation, at) in usage.last_used {
            seen.add_generation(generation, at.as_secs());
        }
        seen.scopes.extend(usage.scopes);
        *seen.changed.get_mut() = changed;
    }

    /// Forgets rates of routes that were not used within the hour, and tokens that are
    /// over: whoever comes no more takes no more room for them.
    pub(super) fn tidy(&self, now: UnixTime) {
        let (minute, first) = (now.as_secs() / 60, (now.as_secs().div_euclid(SLOT), 0));
        let is_stale = |seen: &Seen| {
            seen.hours.iter().any(|(_, hour)| hour.sum(minute) == 0)
                || seen.minted.first_key_value().is_some_and(|(slot, _)| *slot < first)
        };
        let stale: Vec<ClientId> =
            self.0.iter().filter(|seen| is_stale(seen)).map(|seen| *seen.key()).collect();
        for client in stale {
            if let Some(mut seen) = self.0.get_mut(&client) {
                seen.hours.retain(|(_, hour)| hour.sum(minute) > 0);
                seen.hours.shrink_to_fit();
                seen.minted = seen.minted.split_off(&first);
            }
        }
    }

    /// How many credentials are known to have been used.
    pub(super) fn len(&self) -> usize {
        self.0.len()
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
        assert_eq!(activity.last_used_at_all(client), Some(UnixTime::from_secs(9)));
        let taken = activity.take_changed(9);
        assert_eq!(taken[0].last_used, [(1, UnixTime::from_secs(9))]);
        assert!(activity.take_changed(9).is_empty());
        activity.give_back(&[client]);
        assert_eq!(activity.take_changed(9), taken);
        let fresh = Activity::default();
        fresh.learn(taken[0].clone());
        assert_eq!(fresh.last_used(client, 1), Some(UnixTime::from_secs(9)));
        assert!(fresh.take_changed(9).is_empty(), "it is written already");
    }

    #[test]
    fn tokens_live_until_they_end() {
        let (activity, client) = (Activity::default(), ClientId::from_random([1; 16]));
        let at = UnixTime::from_secs;
        for (generation, end) in [(1, 600), (1, 7200), (2, 7200)] {
            activity.minted(client, generation, at(end), at(0));
        }
        let live = |now| activity.live_tokens(client, at(now), |_| true);
        assert_eq!((live(0), live(1200), live(9000)), (3, 2, 0));
        assert_eq!(activity.live_tokens(client, at(0), |by| by == 2), 1);
    }

    /// Of those who come no more nothing is left but when and for what they came.
    #[test]
    fn what_is_over_takes_no_room() {
        let (activity, client) = (Activity::default(), ClientId::from_random([1; 16]));
        let at = UnixTime::from_secs;
        activity.minted(client, 1, at(7200), at(0));
        for (minute, route) in [(0, "a"), (30, "b")] {
            let route = RouteName::new(route).unwrap();
            activity.0.get_mut(&client).unwrap().hours.push((route, Hour::beginning(minute)));
        }
        let held = |now| {
            activity.tidy(at(now));
            let seen = activity.0.get(&client).unwrap();
            (seen.hours.capacity(), seen.minted.len(), seen.last.capacity())
        };
        assert_eq!(held(3660), (1, 1, 1));
        assert_eq!(held(7199), (0, 1, 1));
        assert_eq!(held(7200 + SLOT), (0, 0, 1));
        assert_eq!(activity.last_used(client, 1), Some(at(0)));
    }
}
