//! The audit trail in memory: the newest entries, for listing. Those of clients are
//! kept apart, so that none of them can push out what administrators did.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::actor::DATA_PLANE;
use crate::domain::AuditEntry;
use crate::store::Revision;

/// How many entries are kept in memory of each kind; all of them last in the store.
const KEPT: usize = 100_000;

/// How many are looked at before writers get their turn.
const CHUNK: usize = 512;

type Lines = BTreeMap<Revision, Arc<AuditEntry>>;

/// Who did what, by revision.
#[derive(Default)]
pub struct Trail(RwLock<Kinds>);

#[derive(Default)]
struct Kinds {
    administrators: Lines,
    clients: Lines,
}

impl Trail {
    pub(super) fn put(&self, revision: Revision, entry: AuditEntry) {
        let mut trail = self.0.write();
        let lines = match entry.source == DATA_PLANE {
            true => &mut trail.clients,
            false => &mut trail.administrators,
        };
        lines.insert(revision, Arc::new(entry));
        if lines.len() > KEPT {
            lines.pop_first();
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
        let newest = |lines: &'_ Lines| {
            let older = lines.range(..before.unwrap_or(Revision::MAX)).rev().take(CHUNK);
            older.map(|(revision, entry)| (*revision, Arc::clone(entry))).collect::<Vec<_>>()
        };
        let mut chunk = newest(&trail.administrators);
        chunk.extend(newest(&trail.clients));
        chunk.sort_unstable_by_key(|(revision, _)| Reverse(*revision));
        chunk.truncate(CHUNK);
        chunk
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Action, UnixTime};

    fn entry(source: &str) -> AuditEntry {
        AuditEntry {
            at: UnixTime::from_millis(0),
            actor: String::new(),
            source: source.into(),
            action: Action::TokenRevoked,
            target: String::new(),
            reason: None,
            changes: Vec::new(),
        }
    }

    #[test]
    fn clients_push_out_nothing_of_what_administrators_did() {
        let trail = Trail::default();
        trail.put(1, entry("127.0.0.1"));
        for revision in 2..KEPT as u64 + 5 {
            trail.put(revision, entry(DATA_PLANE));
        }
        let revisions = |lines: Vec<(Revision, Arc<AuditEntry>)>| -> Vec<Revision> {
            lines.into_iter().map(|(revision, _)| revision).collect()
        };
        let (all, more) = trail.list(None, usize::MAX, |_| true);
        let all = revisions(all);
        assert_eq!((all.len(), all.last(), more), (KEPT + 1, Some(&1), false));
        assert!(all.is_sorted_by(|one, two| one > two), "newest first");
        let (found, _) = trail.list(None, 1, |entry| entry.source != DATA_PLANE);
        assert_eq!(revisions(found), [1]);
    }
}
