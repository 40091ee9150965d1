//! The format of a store, recorded in it: an older one is moved forward where it lies,
//! in one commit like any other; a newer one is refused.
//!
//! 1: no record of a format. 2: revoked tokens may lie packed, many to a value. Nothing
//! has to be rewritten for it: packing goes on in the background.

use super::super::digest::{hash_entry, seal_value};
use super::super::error::OpenError;
use super::super::folder::Folder;
use super::{Engine, Fenced};

/// What is written.
pub(in crate::store::sled) const FORMAT: u32 = 2;
/// What a store without a record has.
const FIRST: u32 = 1;
/// Where it lies: under the entries, so that versions which know of no format meet
/// a key that they refuse.
pub(super) const KEY: &[u8] = b"e\0format";

/// The record, for a batch. Returns its hash, for the digest.
pub(super) fn record(batch: &mut ::sled::Batch) -> u128 {
    let stored = seal_value(0, &FORMAT.to_be_bytes());
    let hash = hash_entry(KEY, &stored);
    batch.insert(KEY, stored);
    hash
}

/// Reads it; `None` where there is none.
pub(super) fn read(folder: &Folder, db: &Fenced) -> Result<Option<u32>, OpenError> {
    let Some(stored) = db.with(|db| db.get(KEY)).map_err(|fault| fault.at_open(folder))? else {
        return Ok(None);
    };
    let format = stored.get(8..).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
    match format {
        None => Err(OpenError::damaged(folder.path(), "its format can't be read")),
        Some(format) if format > FORMAT => {
            let path = folder.path().to_owned();
            Err(OpenError::Newer { path, format, known: FORMAT })
        }
        Some(format) => Ok(Some(format)),
    }
}

impl Engine {
    /// Moves an older store forward. A crash on the way leaves the old one or the
    /// new one: it is one batch, and counts as a commit.
    pub(super) fn migrate(&mut self, folder: &Folder) -> Result<(), OpenError> {
        // A new store gets its format with its first change.
        if self.format.is_some() || self.digest.sequence == 0 {
            return Ok(());
        }
        let mut group = self.group();
        group.digest.sequence += 1;
        let prepared = group.prepare();
        let failed =
            |why| OpenError::io(folder.path(), "moving it forward", std::io::Error::other(why));
        self.write(prepared).map_err(failed)?;
        tracing::info!(
            path = %folder.path().display(), from = FIRST, to = FORMAT,
            "the store was moved forward to the format of this version; older ones refuse it now"
        );
        Ok(())
    }
}
