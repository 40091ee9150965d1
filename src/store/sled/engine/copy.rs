//! Reading everything as of one revision while commits go on: what a commit is about
//! to change is kept as it was until the reading has come past it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::super::digest::{Digest, hash_entry, seal_value};
use super::read::entry;
use super::{DIGEST_KEY, ENTRY_PREFIX, Engine, Fault, Held, format, raw_key};
use crate::store::{Entry, Key, StoreError};

/// The most bytes that are kept for a slow reader.
const MOST_KEPT: usize = 256 << 20;

/// Whose a snapshot is: where the store failed and was opened anew, another may have begun.
#[derive(Clone)]
pub(in crate::store::sled) struct Ticket(Arc<()>);

/// A snapshot on its way.
pub(in crate::store::sled) struct Copying {
    ticket: Ticket,
    /// What was in the store when it began.
    began: Digest,
    /// What was read so far.
    seen: Digest,
    /// The last key that was read.
    reached: Vec<u8>,
    /// What lay behind it and was changed since, as it was.
    before: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    kept: usize,
}

impl Copying {
    /// Begins one.
    pub(in crate::store::sled) fn of(began: Digest) -> Self {
        let seen = Digest { sequence: began.sequence, ..Digest::default() };
        let (ticket, reached) = (Ticket(Arc::default()), Vec::new());
        Copying { ticket, began, seen, reached, before: BTreeMap::new(), kept: 0 }
    }

    /// For whoever reads it.
    pub(in crate::store::sled) fn ticket(&self) -> Ticket {
        self.ticket.clone()
    }

    /// Whether it is the one of a ticket.
    pub(in crate::store::sled) fn is_of(&self, ticket: &Ticket) -> bool {
        Arc::ptr_eq(&self.ticket.0, &ticket.0)
    }

    /// The revision that it shows.
    pub(in crate::store::sled) fn revision(&self) -> u64 {
        self.began.sequence
    }

    /// Keeps what is about to be changed.
    pub(super) fn keep(&mut self, before: Vec<(Key, Option<Held>)>) {
        for (key, held) in before {
            let raw = raw_key(&key);
            if raw > self.reached && self.kept <= MOST_KEPT {
                let held = held.map(|held| seal_value(held.revision, &held.value));
                let bytes = raw.len() + held.as_ref().map_or(0, Vec::len) + 100;
                if let std::collections::btree_map::Entry::Vacant(place) = self.before.entry(raw) {
                    place.insert(held);
                    self.kept += bytes;
                }
            }
        }
    }
}

impl Engine {
    /// The next entries of the snapshot of this ticket; none at its end, where everything
    /// read is compared with what was there when it began.
    pub(in crate::store::sled) fn copy_page(
        &mut self,
        ticket: &Ticket,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let Some(mut copying) = self.copying.take_if(|it| it.is_of(ticket)) else {
            return Err(StoreError::Io("the store failed on the way".into()));
        };
        if copying.kept > MOST_KEPT {
            let what = "too much was changed while it was read; read it faster, or later";
            return Err(StoreError::Io(what.into()));
        }
        let fault = |fault: Fault| StoreError::Io(fault.what());
        let start = Bound::Excluded(copying.reached.clone());
        let end = Bound::Excluded(vec![ENTRY_PREFIX + 1]);
        let mut page: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        let mut last = None;
        let done = copying.reached.first() > Some(&ENTRY_PREFIX);
        let mut items =
            self.db.with(|db| Ok(db.range::<Vec<u8>, _>((start, end)))).map_err(fault)?;
        while !done && page.len() < limit {
            let Some((key, stored)) = self.db.with(|_| items.next().transpose()).map_err(fault)?
            else {
                last = None;
                break;
            };
            last = Some(key.to_vec());
            if key != DIGEST_KEY {
                page.insert(key.to_vec(), stored.to_vec());
            }
        }
        drop(items);
        let rest = last.as_ref().map(|last| copying.before.split_off(last));
        let mut changed = std::mem::replace(&mut copying.before, rest.unwrap_or_default());
        if let Some(last) = &last
            && let Some(held) = copying.before.remove(last)
        {
            changed.insert(last.clone(), held);
        }
        for (key, held) in changed {
            match held {
                Some(stored) => page.insert(key, stored),
                None => page.remove(&key),
            };
        }
        // Nothing before the place that was reached changes what is read from now on.
        copying.reached = last.clone().unwrap_or_else(|| vec![ENTRY_PREFIX + 1]);
        let mut entries = Vec::with_capacity(page.len());
        for (key, stored) in page {
            // A new store may get its format meanwhile.
            if key != format::KEY {
                copying.seen.add(hash_entry(&key, &stored));
                let what = || StoreError::Damaged(format!("{} holds no entry", key.escape_ascii()));
                entries.push(entry(&key, &stored).ok_or_else(what)?);
            }
        }
        let (ended, mut began) = (last.is_none() && entries.is_empty(), copying.began);
        if ended && began.sequence > 0 {
            began.remove(format::record(&mut ::sled::Batch::default()));
        }
        if ended && began != copying.seen {
            return Err(StoreError::Damaged(format!(
                "{} of {} entries were read, or some were altered",
                copying.seen.count, began.count
            )));
        }
        // The end is told only once nothing more comes; a page may be empty before.
        self.copying = Some(copying);
        if entries.is_empty() && !ended { self.copy_page(ticket, limit) } else { Ok(entries) }
    }
}
