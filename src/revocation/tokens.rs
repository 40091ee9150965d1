//! The ids of revoked tokens: millions, asked for on every request.
//!
//! Many small tables, so that whatever must go through a whole one (growing,
//! shrinking, looking for what has run out) holds its lock for microseconds.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use parking_lot::RwLock;

/// A power of two. Ten million entries are ten thousand a table.
const TABLES: usize = 1 << TABLE_BITS;
const TABLE_BITS: u32 = 10;

/// How many tables one look for what has run out goes through.
const SLICE: usize = 8;

/// 20 bytes: the id, and the second after which nobody asks.
type Row = ([u8; 16], u32);

/// In a cache line of its own: the lock is written to by whoever reads.
#[derive(Default)]
#[repr(align(64))]
struct Table(RwLock<HashTable<Row>>);

/// The ids, each with the second until which it is kept.
pub(super) struct TokenSet {
    tables: Box<[Table]>,
    /// Seeded per process: administrators may revoke ids of their own making,
    /// and must not find some that all fall into one place.
    hasher: RandomState,
    count: AtomicUsize,
}

impl Default for TokenSet {
    fn default() -> Self {
        TokenSet {
            tables: (0..TABLES).map(|_| Table::default()).collect(),
            hasher: RandomState::default(),
            count: AtomicUsize::new(0),
        }
    }
}

impl TokenSet {
    fn hash(&self, id: &[u8; 16]) -> u64 {
        self.hasher.hash_one(u128::from_ne_bytes(*id))
    }

    /// The table of a hash. `None` can't be: there is one for each number of so many bits.
    fn table(&self, hash: u64) -> Option<&RwLock<HashTable<Row>>> {
        // hashbrown uses the lowest bits and the highest seven.
        let number = usize::try_from(hash >> 32).unwrap_or_default() & (TABLES - 1);
        self.tables.get(number).map(|table| &table.0)
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
        let hash = self.hash(id);
        let table = self.table(hash)?.read();
        table.find(hash, |row| row.0 == *id).map(|row| row.1)
    }

    /// Keeps an id until then at least. Gives until when it was kept before.
    pub(super) fn put(&self, id: [u8; 16], until: u32) -> Option<u32> {
        let hash = self.hash(&id);
        let mut table = self.table(hash)?.write();
        match table.entry(hash, |row| row.0 == id, |row| self.hash(&row.0)) {
            Entry::Occupied(mut kept) => {
                let before = kept.get().1;
                kept.get_mut().1 = before.max(until);
                Some(before)
            }
            Entry::Vacant(place) => {
                place.insert((id, until));
                self.count.fetch_add(1, Ordering::Release);
                None
            }
        }
    }

    /// Lets an id go that is kept until `end` at most. True if it went.
    pub(super) fn remove(&self, id: &[u8; 16], end: u32) -> bool {
        let hash = self.hash(id);
        let Some(table) = self.table(hash) else { return false };
        let mut table = table.write();
        let Ok(row) = table.find_entry(hash, |row| row.0 == *id && row.1 <= end) else {
            return false;
        };
        row.remove();
        self.count.fetch_sub(1, Ordering::Release);
        if table.len() < table.capacity() / 8 {
            let room = table.len() * 2;
            table.shrink_to(room, |row| self.hash(&row.0));
        }
        true
    }

    /// Up to `limit` ids that were to be kept until before `now`, from some of
    /// the tables, and the table to go on with, if there are more.
    pub(super) fn stale(&self, from: usize, now: u32, limit: usize) -> (Vec<Row>, Option<usize>) {
        let mut found = Vec::new();
        let end = (from + SLICE).min(TABLES);
        for number in from..end {
            let Some(table) = self.tables.get(number) else { break };
            let table = table.0.read();
            let room = limit - found.len();
            found.extend(table.iter().filter(|row| row.1 < now).take(room));
            if found.len() == limit {
                // There may be more where these lie, once these are gone.
                return (found, Some(number));
            }
        }
        (found, Some(end).filter(|end| *end < TABLES))
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
        let hashes: HashSet<_> = ids.iter().map(|id| set.hash(id)).collect();
        assert_eq!(hashes.len(), ids.len());
        for id in &ids {
            assert_eq!(set.put(*id, 1), None);
        }
        let fullest = set.tables.iter().map(|table| table.0.read().len()).max().unwrap();
        assert!(fullest < 64, "{fullest} of {} in one of {TABLES}", ids.len());
        assert_eq!(set.len(), ids.len());
        let other = TokenSet::default();
        assert_ne!(set.hash(&[1; 16]), other.hash(&[1; 16]), "the seed is the set's own");
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
        let room = || set.tables.iter().map(|table| table.0.read().capacity()).sum::<usize>();
        for n in 0..100_000_u128 {
            set.put(n.to_be_bytes(), 1);
        }
        let full = room();
        for n in 0..99_000_u128 {
            assert!(set.remove(&n.to_be_bytes(), 1));
        }
        assert!(room() * 8 < full, "{} of {full}", room());
        assert!((99_000..100_000_u128).all(|n| set.get(&n.to_be_bytes()).is_some()));
    }
}
