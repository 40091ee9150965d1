//! Whether everything that was acknowledged is there: all entries against the digest,
//! the digest against the witness.

use std::ops::Bound;

use super::super::digest::{Digest, hash_entry};
use super::super::error::OpenError;
use super::super::folder::Folder;
use super::{DIGEST_KEY, Fenced, MAX_GROUP, Visit, format, read, read_digest};

/// sled keeps far more of what it reads than its cache may hold: opened anew, it keeps
/// nothing. Done after so many bytes were read, …
const MUCH: u64 = 64 << 20;
/// … or this share of all that there is, since it takes the longer the more there is, …
const SHARE: u64 = 8;
/// … and at the end, if there were so many.
const LITTLE: u64 = 1 << 20;

/// Compares all entries with the digest, and the digest with the witness; shows
/// them to `visit` on the way.
pub(super) fn verify(
    folder: &Folder,
    mut db: Fenced,
    reopen: &dyn Fn() -> Result<Fenced, OpenError>,
    witness: Digest,
    visit: Visit<'_>,
) -> Result<(Digest, Fenced), OpenError> {
    let damaged = |found: String| Err(OpenError::damaged(folder.path(), found));
    let size = std::fs::metadata(folder.data()).map_or(0, |data| data.len());
    let much = MUCH.max(size / SHARE);
    let recorded = read_digest(folder, &db)?;
    let mut found = Digest { sequence: recorded.sequence, ..Digest::default() };
    let (mut unreadable, mut start) = (false, Bound::Unbounded);
    loop {
        let mut read = 0;
        let run = db.with(|db| {
            for item in db.range::<::sled::IVec, _>((start, Bound::Unbounded)) {
                let (key, stored) = item?;
                if key == DIGEST_KEY {
                    continue;
                }
                found.add(hash_entry(&key, &stored));
                if key != format::KEY {
                    unreadable |= read::entry(&key, &stored).map(&mut *visit).is_none();
                }
                read += (key.len() + stored.len()) as u64;
                if read > much {
                    return Ok(Some(key));
                }
            }
            Ok(None)
        });
        let last = run.map_err(|fault| fault.at_open(folder))?;
        if read > LITTLE {
            drop(db);
            db = reopen()?;
        }
        match last {
            Some(key) => start = Bound::Excluded(key),
            None => break,
        }
    }
    // What serves was opened after its entries were read; nothing was written meanwhile, and
    // of what that opening finds only this record is compared.
    if read_digest(folder, &db)? != recorded {
        return damaged("it changed while it was read".to_owned());
    }
    if found.count != recorded.count {
        return damaged(format!("it holds {} of {} entries", found.count, recorded.count));
    }
    if found != recorded {
        return damaged(format!("one or more of its {} entries were altered", found.count));
    }
    if unreadable {
        return damaged("it holds what is no entry".to_owned());
    }
    let (here, there) = (recorded.sequence, witness.sequence);
    match here.checked_sub(there) {
        None => damaged(format!("its newest change is number {here}, but {there} were made")),
        Some(0) if recorded != witness => {
            damaged(format!("change number {here} is not what the witness says it was"))
        }
        Some(ahead) if ahead > MAX_GROUP as u64 => damaged(format!(
            "its newest change is number {here}, but its witness knows of {there} only: they \
             don't belong together"
        )),
        Some(_) => Ok((recorded, db)),
    }
}
