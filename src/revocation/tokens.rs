//! The ids of revoked tokens: millions, asked for on every request.
//!
//! Many small tables, so that whatever must go through a whole one (growing,
//! shrinking, looking for what has run out) holds its lock for microseconds.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use foldhash::quality::RandomState;

/// A power of two: the parts that one look for what has run out goes through.
const MAPS: usize = 64;

/// A power of two, in each map. Ten million entries are ten thousand a table.
const TABLES: usize = 16;

/// 20 bytes: the id, and the second after which nobody asks.
type Row = ([u8; 16], u32);

type Map = DashMap<[u8; 16], u32, RandomState>;

/// The ids, each with the second until which it is kept.
pub(super) struct TokenSet {
    maps: Box<[Map]>,
    /// Seeded per process: administrators may revoke ids of their own making,
    /// and must not find some that all fall into one place.
    hasher: RandomState,
    count: AtomicUsize,
}

impl Default for TokenSet {
    fn default() -> Self {
        let hasher = RandomState::default();
        let map = |_| DashMap::with_hasher_and_shard_amount(hasher.clone(), TABLES);
        TokenSet { maps: (0..MAPS).map(map).collect(), hasher, count: AtomicUsize::new(0) }
    }
}

impl TokenSet {
    /// The map of an id. `None` can't be: there is one for each number.
    fn map(&self, id: &[u8; 16]) -> Option<&Map> {
        // The maps themselves use the lowest bits of the same hash and the highest.
        let number = usize::try_from(self.hasher.hash_one(id) >> 32).unwrap_or_default();
        self.maps.get(number % MAPS)
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Until when an id is kept, if it is here.
    pub(super) fn get(&self, id: &[u8; 16]) -> Option<u32> {
        // Counted before whoever revoked it is answered.
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.map(id)?.get(id).map(|until| *until)
    }

    /// Keeps an id until then at least. Gives until when it was kept before.
    pub(super) fn put(&self, id: [u8; 16], until: u32) -> Option<u32> {
        match self.map(&id)?.entry(id) {
            Entry::Occupied(mut kept) => {
                let before = *kept.get();
                kept.insert(before.max(until));
                Some(before)
            }
            Entry::Vacant(place) => {
                place.insert(until);
                self.count.fetch_add(1, Ordering::Release);
                None
            }
        }
    }

    /// Lets an id go that is kept until `end` at most. True if it went.
    pub(super) fn remove(&self, id: &[u8; 16], end: u32) -> bool {
        let gone = self.map(id).is_some_and(|map| map.remove_if(id, |_, u| *u <= end).is_some());
        if gone {
            self.count.fetch_sub(1, Ordering::Release);
        }
        gone
    }

    /// Up to `limit` ids that were to be kept until before `now`, from some of
    /// the maps, and the one to go on with, if there are more. A map that has
    /// none gives its room back.
    pub(super) fn stale(&self, from: usize, now: u32, limit: usize) -> (Vec<Row>, Option<usize>) {
        let Some(map) = self.maps.get(from) else { return (Vec::new(), None) };
        let stale = map.iter().filter(|row| *row.value() < now);
        let found: Vec<Row> = stale.take(limit).map(|row| (*row.key(), *row.value())).collect();
        if found.len() == limit {
            // There may be more where these lie, once these are gone.
            return (found, Some(from));
        }
        if found.is_empty() && map.len() < map.capacity() / 4 {
            map.shrink_to_fit();
        }
        (found, Some(from + 1).filter(|next| *next < MAPS))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use super::*;

    /// What an administrator may try, to make the set slow.
    fn made_up(n: u64) -> [[u8; 16]; 4] {
        let (low, swapped) = (u128::from(n), u128::from(n) << 64);
        let same_halves = low | swapped;
        let spread = u128::from(n.reverse_bits());
        [low, swapped, same_halves, spread].map(u128::to_be_bytes)
    }

    #[test]
    fn made_up_ids_spread() {
        let set = TokenSet::default();
        let ids: HashSet<_> = (0..4096).flat_map(made_up).collect();
        let hash = |set: &TokenSet, id: &[u8; 16]| set.hasher.hash_one(id);
        let hashes: HashSet<_> = ids.iter().map(|id| hash(&set, id)).collect();
        assert_eq!(hashes.len(), ids.len());
        for id in &ids {
            assert_eq!(set.put(*id, 1), None);
        }
        let mean = ids.len() / MAPS;
        let fullest = set.maps.iter().map(DashMap::len).max().unwrap();
        assert!(fullest < mean * 2, "{fullest} of {} in one of {MAPS}", ids.len());
        assert_eq!(set.len(), ids.len());
        let other = TokenSet::default();
        assert_ne!(hash(&set, &[1; 16]), hash(&other, &[1; 16]), "the seed is the set's own");
    }

    #[test]
    fn the_stale_come_in_parts_and_all_of_them() {
        let set = TokenSet::default();
        for n in 0..5000_u32 {
            set.put(u128::from(n).to_be_bytes(), n);
        }
        let (mut place, mut found) = (Some(0), BTreeSet::new());
        while let Some(from) = place {
            let (stale, next) = set.stale(from, 2500, 7);
            assert!(stale.len() <= 7);
            for (id, until) in stale {
                assert!(set.remove(&id, until) && !set.remove(&id, until));
                found.insert(until);
            }
            place = next;
        }
        assert!(found.into_iter().eq(0..2500));
        assert_eq!(set.len(), 2500);
        assert_eq!(set.get(&2500_u128.to_be_bytes()), Some(2500));
        assert!(!set.remove(&2500_u128.to_be_bytes(), 2499), "it is kept longer");
    }

    #[test]
    fn what_is_gone_gives_its_room_back() {
        let set = TokenSet::default();
        let room = || set.maps.iter().map(DashMap::capacity).sum::<usize>();
        for n in 0..100_000_u128 {
            set.put(n.to_be_bytes(), 1);
        }
        let full = room();
        for n in 0..99_000_u128 {
            assert!(set.remove(&n.to_be_bytes(), 1));
        }
        let mut place = Some(0);
        while let Some(from) = place {
            place = set.stale(from, 0, 9).1;
        }
        assert!(room() * 8 < full, "{} of {full}", room());
        assert!((99_000..100_000_u128).all(|n| set.get(&n.to_be_bytes()).is_some()));
    }
}
