//! What is in the store, as three numbers that change with every commit. sled
//! drops damaged entries without a word: these tell whether anything is missing.

use aws_lc_rs::digest::{Context, SHA256};

use crate::store::Revision;

/// Count, sum and sequence of everything in the store.
///
/// The sum is the XOR of a hash of every entry, so that it follows each change
/// without reading the rest. It guards against damage and lost writes. Whoever
/// can write the files can also write a right sum: it is no seal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest {
    /// The newest revision.
    pub(super) sequence: Revision,
    /// How many entries there are.
    pub(super) count: u64,
    /// The XOR of their hashes.
    pub(super) sum: u128,
}

/// The length of a digest in bytes.
pub(super) const DIGEST_BYTES: usize = 32;

impl Digest {
    /// Takes in an entry that came.
    pub(super) fn add(&mut self, hash: u128) {
        self.count = self.count.wrapping_add(1);
        self.sum ^= hash;
    }

    /// Takes out an entry that went.
    pub(super) fn remove(&mut self, hash: u128) {
        self.count = self.count.wrapping_sub(1);
        self.sum ^= hash;
    }

    /// As bytes.
    pub(super) fn encode(&self) -> [u8; DIGEST_BYTES] {
        let words = (u128::from(self.sequence) << 64) | u128::from(self.count);
        let mut bytes = [0; DIGEST_BYTES];
        let all = words.to_be_bytes().into_iter().chain(self.sum.to_be_bytes());
        for (to, from) in bytes.iter_mut().zip(all) {
            *to = from;
        }
        bytes
    }

    /// From its bytes; `None` unless there are exactly as many.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (sequence, rest) = bytes.split_first_chunk::<8>()?;
        let (count, sum) = rest.split_first_chunk::<8>()?;
        Some(Digest {
            sequence: u64::from_be_bytes(*sequence),
            count: u64::from_be_bytes(*count),
            sum: u128::from_be_bytes(sum.try_into().ok()?),
        })
    }
}

/// Of one entry, as it is kept: its key, and its value with the revision before it.
pub(super) fn hash_entry(key: &[u8], stored: &[u8]) -> u128 {
    let mut context = Context::new(&SHA256);
    // The length keeps ("a", "bc") and ("ab", "c") apart.
    context.update(&(key.len() as u64).to_be_bytes());
    context.update(key);
    context.update(stored);
    first_bytes(context.finish().as_ref())
}

/// The first sixteen bytes of a hash.
pub(super) fn first_bytes(hash: &[u8]) -> u128 {
    hash.first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

/// A value as it is kept: the revision that wrote it, then the value.
pub(super) fn seal_value(revision: Revision, value: &[u8]) -> Vec<u8> {
    [revision.to_be_bytes().as_slice(), value].concat()
}

/// Takes a kept value apart.
pub(super) fn open_value(stored: &[u8]) -> Option<(Revision, &[u8])> {
    let (revision, value) = stored.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*revision), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_comes_and_goes() {
        let mut digest = Digest::default();
        let (a, b) = (hash_entry(b"a", b"bc"), hash_entry(b"ab", b"c"));
        assert_ne!(a, b);
        digest.add(a);
        digest.add(b);
        digest.remove(a);
        assert_eq!(digest, Digest { sequence: 0, count: 1, sum: b });
        assert_eq!(Digest::decode(&digest.encode()), Some(digest));
        assert_eq!(Digest::decode(&digest.encode()[1..]), None);
    }
}
