//! Verified tokens, so that a signature is checked once and not per request.
//!
//! Only what [`super::verify`] gave may be put in, and a hit is only half an
//! answer: the caller asks `live_at` and the revocations every time, so that an
//! entry that outlives its token serves to refuse it, cheaply and by name. It is
//! worth what the keys and expectations were when it was made: `clear` when they
//! change, or keep their generation in the value and compare it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// Entries a cache has at most, unless told otherwise.
pub const DEFAULT_CACHE_ENTRIES: usize = 100_000;

/// The most bytes that a cache takes, to within a tenth. A token may be 8 KiB long, and
/// what is found in it some times that.
const CACHE_BYTES: usize = 128 << 20;

/// What an entry takes besides its token and what was found in it: its slot, the half of
/// one for a token that was pushed out and is still known by its hash, its place in the
/// table, and the room that both have after growing by doubling.
const ENTRY_BYTES: usize = 128;

/// What a block of so many bytes takes in memory: the program's allocator has blocks of a
/// few sizes, the multiples of 16, and from 128 on four to each doubling.
pub(crate) fn block(bytes: usize) -> usize {
    let step = match bytes {
        0 => return 0,
        1..=128 => 16,
        _ => 1 << ((bytes - 1).ilog2() - 2),
    };
    bytes.checked_next_multiple_of(step).unwrap_or(usize::MAX)
}

/// What was found in a token, and what it weighs.
#[derive(Clone)]
struct Found<V> {
    value: V,
    weight: u64,
}

#[derive(Clone)]
struct Weight;

impl<V> Weighter<Box<[u8]>, Found<V>> for Weight {
    fn weight(&self, _token: &Box<[u8]>, found: &Found<V>) -> u64 {
        found.weight
    }
}

/// A map, bounded in entries and in bytes, from the full text of a token to what was found in it. The key
/// is the text itself and never only a hash of it: two tokens can't be mixed up.
/// The hash that finds the slot is over all bytes and seeded per process, so nobody
/// can fill a slot by choice.
pub struct TokenCache<V: Clone> {
    entries: Cache<Box<[u8]>, Found<V>, Weight>,
    /// What an entry weighs at least, so that there are never too many.
    least: usize,
    counters: Counters,
}

impl<V: Clone> std::fmt::Debug for TokenCache<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TokenCache({} entries)", self.len())
    }
}

impl<V: Clone> Default for TokenCache<V> {
    fn default() -> Self {
        Self::new(DEFAULT_CACHE_ENTRIES)
    }
}

impl<V: Clone> TokenCache<V> {
    /// With room for about this many entries; at least one.
    pub fn new(entries: usize) -> Self {
        Self::with_bytes(entries, CACHE_BYTES)
    }

    /// With room for about this many entries and bytes; at least one entry.
    pub fn with_bytes(entries: usize, bytes: usize) -> Self {
        let entries = entries.max(1);
        TokenCache {
            entries: Cache::with_weighter(entries, wide(bytes), Weight),
            least: bytes.div_ceil(entries),
            counters: Counters::default(),
        }
    }

    /// What was put in for exactly this token. Cheap to clone is best: an `Arc`.
    pub fn get(&self, token: &str) -> Option<V> {
        let found = self.find(token.as_bytes());
        self.counters.count(found.is_some());
        found
    }

    /// As [`TokenCache::get`] for what may not even be a text, which nobody need know
    /// who finds it here: a hit counts, a miss only when [`TokenCache::missed`] says that
    /// it was a token.
    pub fn find_or_count_later(&self, bytes: &[u8]) -> Option<V> {
        let found = self.find(bytes)?;
        self.counters.count(true);
        Some(found)
    }

    /// Counts what [`TokenCache::find_or_count_later`] did not find.
    pub fn missed(&self) {
        self.counters.count(false);
    }

    fn find(&self, bytes: &[u8]) -> Option<V> {
        self.entries.get(bytes).map(|found| found.value)
    }

    /// Puts in what [`super::verify`] found in this very token, and never
    /// anything else; `bytes` is what that takes in memory. The least useful entry
    /// goes if there is no room: tokens that come once push out no others that
    /// come again and again.
    pub fn insert(&self, token: impl AsRef<[u8]>, value: V, bytes: usize) {
        let token = token.as_ref();
        let weight = wide(block(token.len()).saturating_add(bytes).saturating_add(ENTRY_BYTES));
        let weight = weight.max(wide(self.least));
        self.entries.insert(token.into(), Found { value, weight });
    }

    /// Takes one out; true if it was there.
    pub fn remove(&self, token: &str) -> bool {
        self.entries.remove(token.as_bytes()).is_some()
    }

    /// Takes all out.
    pub fn clear(&self) {
        self.entries.clear();
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// About how many bytes they take.
    pub fn bytes(&self) -> u64 {
        self.entries.weight()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How often [`TokenCache::get`] found something.
    pub fn hits(&self) -> u64 {
        self.counters.sum(|stripe| &stripe.hits)
    }

    /// How often [`TokenCache::get`] found nothing.
    pub fn misses(&self) -> u64 {
        self.counters.sum(|stripe| &stripe.misses)
    }
}

fn wide(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// A power of two, so that finding one's own is a mask.
const STRIPES: usize = 16;

/// Counters that threads don't fight over: each has a cache line nearly to
/// itself, and only a reader, once per scrape, looks at all of them.
#[derive(Default)]
struct Counters([Stripe; STRIPES]);

/// Two lines of 64 bytes, since processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
struct Stripe {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Counters {
    fn count(&self, hit: bool) {
        if let Some(stripe) = self.0.get(own_stripe()) {
            let counter = if hit { &stripe.hits } else { &stripe.misses };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sum(&self, counter: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        self.0.iter().map(|stripe| counter(stripe).load(Ordering::Relaxed)).sum()
    }
}

fn own_stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
    }
    // A thread that is being torn down has none left.
    OWN.try_with(|own| *own).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn finds_the_whole_token_only() {
        let cache = TokenCache::new(100);
        let token = "eyJ0eXAi.eyJpc3Mi.c2ln".repeat(40);
        assert_eq!(cache.get(&token), None);
        cache.insert(&token, 1, 0);
        assert_eq!(cache.get(&token), Some(1));
        for place in 0..token.len() {
            let mut other = token.clone().into_bytes();
            other[place] ^= 1;
            assert_eq!(cache.get(std::str::from_utf8(&other).unwrap()), None, "{place}");
        }
        assert_eq!(cache.get(&token[1..]), None);
        assert_eq!((cache.len(), cache.hits()), (1, 1));
        assert_eq!(cache.misses(), 2 + u64::try_from(token.len()).unwrap());
        assert!(cache.remove(&token));
        assert!(!cache.remove(&token));
        assert!(cache.is_empty());
    }

    #[test]
    fn is_bounded_and_can_be_emptied() {
        for room in [0, 1, 1000] {
            let cache = TokenCache::new(room);
            for n in 0..5000 {
                cache.insert(n.to_string(), n, 0);
            }
            assert!(cache.len() <= room.max(1), "{room}: {}", cache.len());
            cache.clear();
            assert_eq!(cache.len(), 0);
        }
    }

    #[test]
    fn a_block_is_at_most_a_quarter_more_or_16_bytes() {
        for (bytes, takes) in
            [(0, 0), (1, 16), (16, 16), (17, 32), (128, 128), (129, 160), (600, 640), (641, 768)]
        {
            assert_eq!(block(bytes), takes, "{bytes}");
        }
        assert_eq!(block(usize::MAX), usize::MAX);
    }

    #[test]
    fn is_bounded_in_bytes() {
        let cache = TokenCache::with_bytes(1000, 1 << 20);
        for n in 0..2000 {
            cache.insert(format!("{n:08000}"), n, 8000);
        }
        assert!(cache.bytes() <= 1 << 20, "{}", cache.bytes());
        assert!((20..=65).contains(&cache.len()), "{}", cache.len());
        // What is larger than all the room there is stays out.
        cache.insert("huge", 0, 2 << 20);
        assert_eq!(cache.get("huge"), None);
        assert!(cache.bytes() <= 1 << 20);
    }

    #[test]
    fn tokens_that_come_once_push_out_none_that_come_often() {
        let cache = TokenCache::new(1000);
        let ask = |token: &str| {
            if cache.get(token).is_none() {
                cache.insert(token, (), 0);
            }
        };
        let often: Vec<String> = (0..500).map(|n| format!("often {n}")).collect();
        for _ in 0..4 {
            often.iter().for_each(|token| ask(token));
        }
        for n in 0..20_000 {
            ask(&format!("once {n}"));
        }
        let kept = often.iter().filter(|token| cache.get(token).is_some()).count();
        assert!(kept > 450, "{kept} of 500");
    }

    #[test]
    fn counts_across_threads() {
        let cache = Arc::new(TokenCache::default());
        cache.insert("a", (), 0);
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        cache.get("a");
                        cache.get("b");
                    }
                });
            }
        });
        assert_eq!((cache.hits(), cache.misses()), (2000, 2000));
    }
}
