//! The audit trail in memory: the newest entries, for listing.

use std::collections::BTreeMap;

use parking_lot::RwLock;

use crate::domain::AuditEntry;
use crate::store::Revision;

/// How many entries are kept in memory; all of them last in the store.
const KEPT: usize = 100_000;

/// Who did what, by revision.
#[derive(Default)]
pub struct Trail(RwLock<BTreeMap<Revision, AuditEntry>>);

impl Trail {
    pub(super) fn put(&self, revision: Revision, entry: AuditEntry) {
        let mut trail = self.0.write();
        trail.insert(revision, entry);
        if trail.len() > KEPT {
            trail.pop_first();
        }
    }

    /// Up to `limit` that `wanted` picks, newest first, older than `before`,
    /// and whether there are more.
    pub fn list(
        &self,
        before: Option<Revision>,
        limit: usize,
        wanted: impl Fn(&AuditEntry) -> bool,
    ) -> (Vec<(Revision, AuditEntry)>, bool) {
        let trail = self.0.read();
        let older = trail.range(..before.unwrap_or(Revision::MAX)).rev();
        let picked = older.filter(|(_, entry)| wanted(entry)).take(limit.saturating_add(1));
        let mut found: Vec<_> =
            picked.map(|(revision, entry)| (*revision, entry.clone())).collect();
        let more = found.len() > limit;
        found.truncate(limit);
        (found, more)
    }
}
