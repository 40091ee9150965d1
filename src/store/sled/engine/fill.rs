//! Making a store of entries that another one held, revisions and all.

use std::io;

use super::super::digest::{Digest, hash_entry, seal_value};
use super::super::error::OpenError;
use super::super::folder::Folder;
use super::{DIGEST_KEY, Engine, MAX_GROUP_OPS, Prepared, format, raw_key};
use crate::store::{Entry, MAX_ENTRY_BYTES, MAX_KEY_BYTES, Revision};

impl Engine {
    /// Fills a store in which nothing ever happened. Nothing counts before the end: if
    /// this fails, or the power does, what is there is no store.
    pub(in crate::store::sled) fn fill(
        &mut self,
        folder: &Folder,
        revision: Revision,
        entries: &mut dyn Iterator<Item = io::Result<Entry>>,
    ) -> Result<(), OpenError> {
        let fail = |doing| move |error| OpenError::io(folder.path(), doing, error);
        if self.digest != Digest::default() {
            return Err(OpenError::NotEmpty { path: folder.path().to_owned() });
        }
        let mut digest = Digest { sequence: revision, ..Digest::default() };
        let mut batch = ::sled::Batch::default();
        digest.add(format::record(&mut batch));
        let mut ops = 1;
        for entry in entries {
            let entry = entry.map_err(fail("reading the backup"))?;
            let (key, value) = (entry.key.0.len(), entry.value.len());
            if key > MAX_KEY_BYTES
                || key + value > MAX_ENTRY_BYTES + 64
                || entry.revision > revision
            {
                let what = io::Error::other(format!("{:?} is no entry of a store", entry.key));
                return Err(fail("reading the backup")(what));
            }
            let (raw, stored) = (raw_key(&entry.key), seal_value(entry.revision, &entry.value));
            digest.add(hash_entry(&raw, &stored));
            batch.insert(raw, stored);
            ops += 1;
            if ops >= MAX_GROUP_OPS {
                self.apply(std::mem::take(&mut batch), folder)?;
                ops = 0;
            }
        }
        batch.insert(DIGEST_KEY, digest.encode().as_slice());
        let end = Prepared { batch, before: Vec::new(), digest };
        self.write(end).map_err(io::Error::other).map_err(fail("writing"))?;
        self.data.sync_all().map_err(fail("syncing sled's data"))?;
        folder.sync_names().map_err(fail("syncing the folder"))
    }

    fn apply(&self, batch: ::sled::Batch, folder: &Folder) -> Result<(), OpenError> {
        self.db.with(|db| db.apply_batch(batch)).map_err(|fault| fault.at_open(folder))
    }
}
