//! The audit trail in memory: the newest entries, for listing.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::domain::AuditEntry;
use crate::store::Revision;

/// How many entries are kept in memory; all of them last in the store.
const KEPT: usize = 100_000;

/// How many are looked at before writers get their turn.
const CHUNK: usize = 512;

/// Who did what, by revision.
#[derive(Default)]
pub struct Trail(RwLock<BTreeMap<Revision, Arc<AuditEntry>>>);

impl Trail {
    pub(super) fn put(&self, revision: Revision, entry: AuditEntry) {
        let mut trail = self.0.write();
        trail.insert(revision, Arc::new(entry));
        if trail.len() > KEPT {
            trail.pop_first();
        }
    }

    /// Up to `limit` that `wanted` picks, newest first, older than `before`,
    /// and whether there are more.
    pub fn list(
        &self,
        mut before: Option<Revision>,
        limit: usize,
        wanted: impl Fn(&AuditEntry) -> bool,
    ) -> (Vec<(Revision, Arc<AuditEntry>)>, bool) {
        let mut found = Vec::new();
        loop {
            let chunk = self.older(before);
            let Some((last, _)) = chunk.last() else { return (found, false) };
            before = Some(*last);
            for line in chunk.into_iter().filter(|(_, entry)| wanted(entry)) {
                if found.len() == limit {
                    return (found, true);
                }
                found.push(line);
            }
        }
    }

    fn older(&self, before: Option<Revision>) -> Vec<(Revision, Arc<AuditEntry>)> {
        let trail = self.0.read();
        let older = trail.range(..before.unwrap_or(Revision::MAX)).rev();
        older.take(CHUNK).map(|(revision, entry)| (*revision, Arc::clone(entry))).collect()
    }
}
