//! Reading entries back: all of them, or a page of those under a prefix.

use std::ops::Bound;

use super::super::digest::open_value;
use super::{ENTRY_PREFIX, Engine, Fault, format, raw_key};
use crate::store::{Entry, Key, Revision, StoreError};

impl Engine {
    /// Visits every entry in the order of keys.
    pub(in crate::store::sled) fn visit(
        &self,
        visit: &mut dyn FnMut(Entry),
    ) -> Result<Revision, StoreError> {
        let fault = |fault: Fault| StoreError::Io(fault.what());
        let mut count = u64::from(self.format.is_some());
        let mut entries = self.db.with(|db| Ok(db.scan_prefix([ENTRY_PREFIX]))).map_err(fault)?;
        while let Some((key, stored)) =
            self.db.with(|_| entries.next().transpose()).map_err(fault)?
        {
            if key == format::KEY {
                continue;
            }
            let Some(entry) = entry(&key, &stored) else {
                return Err(StoreError::Damaged(format!("{key:?} holds no entry")));
            };
            count += 1;
            visit(entry);
        }
        if count != self.digest.count {
            let expected = self.digest.count;
            return Err(StoreError::Damaged(format!("{count} of {expected} entries are there")));
        }
        Ok(self.digest.sequence)
    }

    /// Up to `limit` entries under a prefix, behind `after`.
    pub(in crate::store::sled) fn page(
        &self,
        prefix: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let fault = |fault: Fault| StoreError::Io(fault.what());
        let start = after.map_or_else(
            || Bound::Included(raw_key(prefix)),
            |after| Bound::Excluded(raw_key(after)),
        );
        let range = (start, Bound::Unbounded);
        let mut entries = self.db.with(|db| Ok(db.range::<Vec<u8>, _>(range))).map_err(fault)?;
        let mut page = Vec::new();
        while page.len() < limit {
            let next = self.db.with(|_| entries.next().transpose()).map_err(fault)?;
            let Some((key, stored)) = next else { break };
            if !key.strip_prefix(&[ENTRY_PREFIX]).is_some_and(|key| key.starts_with(&prefix.0)) {
                break;
            }
            if key == format::KEY {
                continue;
            }
            let Some(entry) = entry(&key, &stored) else {
                return Err(StoreError::Damaged(format!("{key:?} holds no entry")));
            };
            page.push(entry);
        }
        Ok(page)
    }
}

/// An entry from what sled holds; `None` if it is none.
pub(super) fn entry(raw: &[u8], stored: &[u8]) -> Option<Entry> {
    let key = Key(raw.strip_prefix(&[ENTRY_PREFIX])?.to_vec());
    let (revision, value) = open_value(stored)?;
    Some(Entry { key, value: value.to_vec(), revision })
}
