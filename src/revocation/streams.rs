//! What is under way, and how it is cut.
//!
//! Every permitted request with a token registers here before its last
//! revocation check, so that a revocation between the two finds it.

use std::fmt;
use std::sync::Arc;

use dashmap::Entry;
use smallvec::SmallVec;

use super::cut::{CutReason, CutSlot};
use super::set::ById;
use super::standing::Standing;
use crate::domain::{AccountId, ClientId, Generation, Jti, Kid, UnixTime};
use crate::token::VerifiedToken;

/// Whether what is under way would be allowed still, given how its credential
/// stands. Asked only when the credential changes: it need not be fast, but it
/// must not touch [`Streams`].
pub type Stake = Arc<dyn Fn(&Arc<Standing>) -> bool + Send + Sync>;

/// Something under way, and what it depends on.
pub struct Live {
    /// The token.
    pub jti: Jti,
    /// The key that signed the token.
    pub kid: Kid,
    /// The tenant.
    pub account: AccountId,
    /// The secret that minted the token.
    pub generation: Generation,
    /// When the token was issued.
    pub issued_at: UnixTime,
    /// The token's own end, clock skew included.
    pub ends_at: UnixTime,
    /// When the first armed role that it runs on falls asleep.
    pub armed_until: Option<UnixTime>,
    stake: Option<Stake>,
    slot: Arc<CutSlot>,
}

impl Live {
    /// Whether it would be allowed still. What does not say what it runs on
    /// would not.
    pub fn holds(&self, standing: &Arc<Standing>) -> bool {
        self.stake.as_ref().is_some_and(|stake| stake(standing))
    }

    fn slot(&self) -> Arc<CutSlot> {
        Arc::clone(&self.slot)
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({} until {})", self.jti, self.ends_at)
    }
}

/// Never to be called under a lock of the registry: a cut wakes a task, and
/// what that runs may drop a [`StreamGuard`].
fn cut_all(picked: &[Arc<CutSlot>], reason: CutReason) -> usize {
    picked.iter().filter(|slot| slot.cut(reason)).count()
}

/// All that is under way.
#[derive(Default)]
pub struct Streams {
    live: ById<ClientId, Lives>,
}

/// What one credential has under way, mostly one request at a time. Each has a
/// place until its guard is dropped; a place that is free is taken again.
#[derive(Default)]
struct Lives {
    places: SmallVec<[Option<Live>; 1]>,
    free: Vec<usize>,
}

impl Lives {
    fn insert(&mut self, live: Live) -> usize {
        if let Some((place, slot)) =
            self.free.pop().and_then(|place| Some((place, self.places.get_mut(place)?)))
        {
            *slot = Some(live);
            return place;
        }
        self.places.push(Some(live));
        self.places.len() - 1
    }

    fn remove(&mut self, place: usize) {
        if self.places.get_mut(place).and_then(Option::take).is_some() {
            self.free.push(place);
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Live> {
        self.places.iter().flatten()
    }

    fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Without those whose answer is whole, and which are gone in a moment.
    fn under_way(&self) -> usize {
        self.iter().filter(|live| !live.slot.is_handed_over()).count()
    }
}

impl Streams {
    /// Registers a request that runs on `token` until the guard is dropped.
    pub fn register(
        self: &Arc<Self>,
        token: &VerifiedToken,
        ends_at: UnixTime,
        slot: Arc<CutSlot>,
    ) -> StreamGuard {
        self.register_with(token, ends_at, slot, None, None)
    }

    /// As [`Streams::register`], with what else it runs on.
    pub fn register_with(
        self: &Arc<Self>,
        token: &VerifiedToken,
        ends_at: UnixTime,
        slot: Arc<CutSlot>,
        armed_until: Option<UnixTime>,
        stake: Option<Stake>,
    ) -> StreamGuard {
        let live = Live {
            jti: token.jti(),
            kid: token.kid().clone(),
            account: token.account().clone(),
            generation: token.generation(),
            issued_at: token.issued_at(),
            ends_at,
            armed_until,
            stake,
            slot,
        };
        let client = token.client_id();
        let place = self.live.entry(client).or_default().insert(live);
        StreamGuard { streams: Arc::clone(self), client, place }
    }

    /// Cuts what one credential has under way and `which` picks. Returns how many.
    pub fn cut_client(
        &self,
        client: ClientId,
        reason: CutReason,
        which: impl Fn(&Live) -> bool,
    ) -> usize {
        let picked = match self.live.get(&client) {
            Some(lives) => lives.iter().filter(|live| which(live)).map(Live::slot).collect(),
            None => Vec::new(),
        };
        cut_all(&picked, reason)
    }

    /// Cuts whatever `which` picks, of anybody. Returns how many.
    pub fn cut_any(&self, reason: CutReason, which: impl Fn(ClientId, &Live) -> bool) -> usize {
        let mut picked = Vec::new();
        for entry in &self.live {
            let mine = entry.iter().filter(|live| which(*entry.key(), live));
            picked.extend(mine.map(Live::slot));
        }
        cut_all(&picked, reason)
    }

    /// How many requests with a token are under way.
    pub fn count(&self) -> usize {
        self.live.iter().map(|entry| entry.under_way()).sum()
    }

    /// How many of one credential are under way.
    pub fn count_of(&self, client: ClientId) -> usize {
        self.live.get(&client).map_or(0, |lives| lives.under_way())
    }

    /// Whether more than so many of one credential are under way.
    pub fn is_beyond(&self, client: ClientId, most: usize) -> bool {
        // Mostly the number of places says it.
        self.live.get(&client).is_some_and(|lives| lives.len() > most && lives.under_way() > most)
    }
}

/// Keeps a request registered.
pub struct StreamGuard {
    streams: Arc<Streams>,
    client: ClientId,
    place: usize,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        // Found and, if it was the last one, taken out under one lock.
        if let Entry::Occupied(mut lives) = self.streams.live.entry(self.client) {
            if lives.get().len() > 1 {
                lives.get_mut().remove(self.place);
            } else {
                lives.remove();
            }
        }
    }
}
