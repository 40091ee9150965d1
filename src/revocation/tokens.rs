//! The ids of revoked tokens: millions, asked for on every request.
//!
//! Many small tables, so that whatever must go through a whole one (growing,
//! shrinking, looking for what has run out) holds its lock for microseconds.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::{DashMap, Entry};
use foldhash::quality::RandomState;
use parking_lot::{Mutex, MutexGuard};

use super::filter::{Filter, PARTS, part_of};

/// A power of two, in each part. Ten million entries are ten thousand a table.
const TABLES: usize = 2;

/// 20 bytes: the id, and the second after which nobody asks.
pub(super) type Row = ([u8; 16], u32);

type Map = DashMap<[u8; 16], u32, RandomState>;

/// A part of the ids.
struct Part {
    map: Map,
    /// How many ids the filter was told of. Held by whoever puts ids in, so that none
    /// comes while the filter is filled.
    noted: Mutex<usize>,
}

/// The ids, each with the second until which it is kept.
pub(super) struct TokenSet {
    parts: Box<[Part]>,
    /// Says of nearly all ids that are not here that they are not.
    filter: Filter,
    /// Seeded per process: administrators may revoke ids of their own making,
    /// and must not find some that all fall into one place.
    hasher: RandomState,
    count: AtomicUsize,
}

impl Default for TokenSet {
    fn default() -> Self {
        let hasher = RandomState::default();
        let part = |_| Part {
            map: DashMap::with_hasher_and_shard_amount(hasher.clone(), TABLES),
            noted: Mutex::default(),
        };
        let parts = (0..PARTS).map(part).collect();
        TokenSet { parts, filter: Filter::default(), hasher, count: AtomicUsize::new(0) }
    }
}

impl TokenSet {
    /// The number of the part of an id.
    pub(super) fn number(&self, id: &[u8; 16]) -> usize {
        // The maps themselves use the lowest bits of the same hash and the highest.
        part_of(self.hasher.hash_one(id))
    }

    /// The part of an id. `None` can't be: there is one for each number.
    fn part(&self, id: &[u8; 16]) -> Option<&Part> {
        self.parts.get(self.number(id))
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
        let hash = self.hasher.hash_one(id);
        if self.filter.lacks(hash) {
            return None;
        }
        self.parts.get(part_of(hash))?.map.get(id).map(|until| *until)
    }

    /// Whether the filter alone knows that an id is not here.
    #[cfg(test)]
    pub(super) fn surely_lacks(&self, id: &[u8; 16]) -> bool {
        self.filter.lacks(self.hasher.hash_one(id))
    }

    /// Keeps an id until then at least. Gives until when it was kept before.
    pub(super) fn put(&self, id: [u8; 16], until: u32) -> Option<u32> {
        let hash = self.hasher.hash_one(id);
        let part = self.parts.get(part_of(hash))?;
        let mut noted = part.noted.lock();
        match part.map.entry(id) {
            Entry::Occupied(mut kept) => {
                let before = *kept.get();
                kept.insert(before.max(until));
                return Some(before);
            }
            Entry::Vacant(place) => {
                // First: whoever is told that it was here already counts on it, too.
                self.count.fetch_add(1, Ordering::Release);
                drop(place.insert(until));
            }
        }
        *noted += 1;
        if *noted > self.filter.room(part_of(hash)) {
            self.fill_filter(part_of(hash), part, noted);
        } else {
            self.filter.note(hash);
        }
        None
    }

    /// Whoever has the guard can be sure that no id comes meanwhile.
    #[cold]
    fn fill_filter(&self, number: usize, part: &Part, mut noted: MutexGuard<'_, usize>) {
        *noted = part.map.len();
        let hashes = part.map.iter().map(|row| self.hasher.hash_one(row.key()));
        self.filter.fill(number, *noted, hashes);
    }

    /// As when it grows or shrinks.
    #[cfg(test)]
    pub(super) fn refill(&self, number: usize) {
        let part = self.parts.get(number).unwrap();
        self.fill_filter(number, part, part.noted.lock());
    }

    /// Lets an id go that is kept until `end` at most. True if it went.
    pub(super) fn remove(&self, id: &[u8; 16], end: u32) -> bool {
        let gone = self.part(id).is_some_and(|it| it.map.remove_if(id, |_, u| *u <= end).is_some());
        if gone {
            self.count.fetch_sub(1, Ordering::Release);
        }
        gone
    }

    /// Up to `limit` ids that were to be kept until before `now`, from some of
    /// the parts, and the one to go on with, if there are more. A part that has
    /// none gives its room back.
    pub(super) fn stale(&self, from: usize, now: u32, limit: usize) -> (Vec<Row>, Option<usize>) {
        let Some(part) = self.parts.get(from) else { return (Vec::new(), None) };
        let stale = part.map.iter().filter(|row| *row.value() < now);
        let found: Vec<Row> = stale.take(limit).map(|row| (*row.key(), *row.value())).collect();
        if found.len() == limit {
            // There may be more where these lie, once these are gone.
            return (found, Some(from));
        }
        if found.is_empty() {
            if part.map.len() < part.map.capacity() / 4 {
                part.map.shrink_to_fit();
            }
            let noted = part.noted.lock();
            if part.map.len() < *noted / 2 {
                self.fill_filter(from, part, noted);
            }
        }
        (found, Some(from + 1).filter(|next| *next < PARTS))
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
        let mean = ids.len() / PARTS;
        let fullest = set.parts.iter().map(|part| part.map.len()).max().unwrap();
        assert!(fullest < mean * 2, "{fullest} of {} in one of {PARTS}", ids.len());
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
        let room = || set.parts.iter().map(|part| part.map.capacity()).sum::<usize>();
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
