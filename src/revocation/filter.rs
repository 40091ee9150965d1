//! What is surely not in a set, without a lock and with one look at memory.
//!
//! A Bloom filter of single words: each id has one word of its part of the set, and
//! three bits in it. It holds no ids and gives no exact answer but "not"; what has left
//! the set stays in it until its part is filled anew.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// A power of two: the parts of the set, each with a filter that grows by itself.
pub(super) const PARTS: usize = 512;

/// Ids for each word at most: one in ten of the ids that are not there would be looked
/// for in vain then. At ten million there are 9.5, and it is one in twenty.
const IDS: usize = 12;

/// Each is four times the one before. The last is for thousands of millions.
const SIZES: usize = 10;

/// Words of a part in the smallest size.
const WORDS: usize = 8;

/// Room is never given back, so that nobody who looks needs a lock: all sizes below the
/// one in use are a third of it.
pub(super) struct Filter {
    /// Which of the sizes is in use, by part.
    used: Box<[AtomicU8]>,
    /// The words of all parts, one after the other.
    sizes: [OnceLock<Box<[AtomicU64]>>; SIZES],
}

/// The part that an id lies in.
pub(super) fn part_of(hash: u64) -> usize {
    usize::try_from(hash >> 32).unwrap_or_default() % PARTS
}

/// The bits of an id.
fn bits(hash: u64) -> u64 {
    (1 << (hash >> 42 & 63)) | (1 << (hash >> 48 & 63)) | (1 << (hash >> 54 & 63))
}

fn words(size: usize) -> usize {
    WORDS << (2 * size)
}

/// Where the word of an id stands among those of its part.
fn place(hash: u64, size: usize) -> usize {
    usize::try_from(hash & u64::from(u32::MAX)).unwrap_or_default() & (words(size) - 1)
}

impl Default for Filter {
    fn default() -> Self {
        let used = (0..PARTS).map(|_| AtomicU8::new(0)).collect();
        Filter { used, sizes: std::array::from_fn(|_| OnceLock::new()) }
    }
}

impl Filter {
    fn word(&self, hash: u64) -> Option<&AtomicU64> {
        let part = part_of(hash);
        let size = usize::from(self.used.get(part)?.load(Ordering::Acquire));
        let all = self.sizes.get(size)?.get()?;
        all.get(part * words(size) + place(hash, size))
    }

    /// True if an id is surely not in the set: it was not in it at some moment since this
    /// was called.
    ///
    /// Whoever puts an id in notes it before anybody is told, and only whoever holds the
    /// lock of a part notes or fills. So whoever looks after that finds the size then in
    /// use, or a later one; in a size in use every id of the part has its bits, and
    /// filling it anew changes each word in one step to what the ids in the set need.
    pub(super) fn lacks(&self, hash: u64) -> bool {
        let bits = bits(hash);
        self.word(hash).is_some_and(|word| word.load(Ordering::Acquire) & bits != bits)
    }

    /// How many ids one part has room for; none before it is filled.
    pub(super) fn room(&self, part: usize) -> usize {
        let size = self.used.get(part).map_or(0, |size| size.load(Ordering::Relaxed).into());
        let made = self.sizes.get(size).is_some_and(|words| words.get().is_some());
        if made { words(size) * IDS } else { 0 }
    }

    /// Notes an id that has come. Under the lock of its part.
    pub(super) fn note(&self, hash: u64) {
        if let Some(word) = self.word(hash) {
            word.fetch_or(bits(hash), Ordering::Release);
        }
    }

    /// Makes a part hold the ids that are there, `count` of them, with room for more.
    /// Under the lock of the part, so that none comes meanwhile; one may go.
    pub(super) fn fill(&self, part: usize, count: usize, hashes: impl Iterator<Item = u64>) {
        let wanted = count + count / 8;
        let size = (0..SIZES).find(|size| words(*size) * IDS > wanted).unwrap_or(SIZES - 1);
        let mut new = vec![0_u64; words(size)];
        for hash in hashes {
            if let Some(word) = new.get_mut(place(hash, size)) {
                *word |= bits(hash);
            }
        }
        let zeros = || (0..PARTS * words(size)).map(|_| AtomicU64::new(0)).collect();
        let Some(all) = self.sizes.get(size).map(|all| all.get_or_init(zeros)) else { return };
        for (word, new) in all.iter().skip(part * words(size)).zip(new) {
            // Whoever looks meanwhile finds the old word or the new one: both have the bits
            // of all that was in the set before and is still.
            word.store(new, Ordering::Release);
        }
        if let (Some(used), Ok(size)) = (self.used.get(part), u8::try_from(size)) {
            used.store(size, Ordering::Release);
        }
    }
}
