//! The chain of appended values: each ends with the hash of the one before it,
//! and a head record under the bare prefix names the last one, so that a value
//! that was changed, removed, put in or moved is found. Engines complete it where
//! the order is known: as they plan a commit, one after the other. It is no seal:
//! whoever can rewrite everything from there on can make another chain.

use aws_lc_rs::digest::{Context, SHA256};

use super::{Key, Revision};

/// The length of a link in bytes.
pub const LINK_BYTES: usize = 32;

/// The SHA-256 of an appended value, its key and its own link included.
pub type Link = [u8; LINK_BYTES];

/// What the first value is linked to.
pub const NO_LINK: Link = [0; LINK_BYTES];

/// The link to what lies under `key`, with the value as it lies there.
pub fn link_to(key: &Key, value: &[u8]) -> Link {
    let mut context = Context::new(&SHA256);
    // The length keeps ("a", "bc") and ("ab", "c") apart.
    context.update(&(key.0.len() as u64).to_be_bytes());
    context.update(&key.0);
    context.update(value);
    context.finish().as_ref().first_chunk().copied().unwrap_or(NO_LINK)
}

/// What was appended, and the link that the engine added; `None` if it is too short.
pub fn split(value: &[u8]) -> Option<(&[u8], &Link)> {
    value.split_last_chunk()
}

/// The end of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The commit that appended last.
    pub revision: Revision,
    /// The link to what it appended.
    pub link: Link,
}

impl Head {
    /// As it is kept.
    pub(super) fn encode(&self) -> Vec<u8> {
        [self.revision.to_be_bytes().as_slice(), &self.link].concat()
    }

    /// Reads what is kept; `None` if it can't be one.
    pub fn decode(bytes: &[u8]) -> Option<Head> {
        let (revision, link) = bytes.split_first_chunk::<8>()?;
        let (revision, link) = (Revision::from_be_bytes(*revision), link.try_into().ok()?);
        Some(Head { revision, link })
    }
}
