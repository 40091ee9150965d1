//! Changes on their way to one batch.

use std::collections::HashMap;

use super::super::digest::{Digest, hash_entry, seal_value};
use super::{DIGEST_KEY, Engine, Held, format, raw_key};
use crate::store::plan::{self, Refusal, plan};
use crate::store::{Change, Committed, Effect, Key};

/// Changes that will be written together. Each sees the ones before it.
pub(in crate::store::sled) struct Group<'e> {
    pub(super) engine: &'e Engine,
    pub(super) held: HashMap<Key, Option<Held>>,
    /// What lay under those keys before, for a snapshot that is being read.
    pub(super) before: Vec<(Key, Option<Held>)>,
    pub(super) batch: ::sled::Batch,
    pub(super) digest: Digest,
}

/// A group that is ready to be written.
pub(in crate::store::sled) struct Prepared {
    pub(super) batch: ::sled::Batch,
    pub(super) before: Vec<(Key, Option<Held>)>,
    /// What will be in the store then.
    pub(in crate::store::sled) digest: Digest,
}

impl Group<'_> {
    /// Takes a change in, and says what it will have done. After
    /// [`Refusal::Read`] the whole group must be given up.
    pub(in crate::store::sled) fn add(
        &mut self,
        change: Change,
    ) -> Result<Committed, Refusal<String>> {
        let revision = self.digest.sequence + 1;
        let effects = plan(change, revision, |key| {
            let held = self.look(key)?;
            Ok(held.map(|Held { revision, value, .. }| plan::Held { revision, value }))
        })?;
        for effect in &effects {
            let (key, value) = match effect {
                Effect::Put(entry) => (&entry.key, Some(&entry.value)),
                Effect::Deleted(key) => (key, None),
            };
            if let Some(old) = self.look(key).map_err(Refusal::Read)? {
                self.digest.remove(old.hash);
            }
            let raw = raw_key(key);
            let held = value.map(|value| {
                let stored = seal_value(revision, value);
                let hash = hash_entry(&raw, &stored);
                self.digest.add(hash);
                self.batch.insert(raw.as_slice(), stored);
                Held { revision, hash, value: value.as_slice().into() }
            });
            if held.is_none() {
                self.batch.remove(raw);
            }
            self.held.insert(key.clone(), held);
        }
        self.digest.sequence = revision;
        Ok(Committed { revision, effects })
    }

    /// Ends the group.
    pub(in crate::store::sled) fn prepare(mut self) -> Prepared {
        if self.engine.format.is_none() {
            self.digest.add(format::record(&mut self.batch));
        }
        self.batch.insert(DIGEST_KEY, self.digest.encode().as_slice());
        Prepared { batch: self.batch, before: self.before, digest: self.digest }
    }

    fn look(&mut self, key: &Key) -> Result<Option<Held>, String> {
        if let Some(held) = self.held.get(key) {
            return Ok(held.clone());
        }
        let held = self.engine.look(key)?;
        self.held.insert(key.clone(), held.clone());
        if self.engine.copying.is_some() {
            self.before.push((key.clone(), held.clone()));
        }
        Ok(held)
    }
}
