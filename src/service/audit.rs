//! Reading who did what, newest first.

use std::sync::Arc;

use super::context::Context;
use super::search::contains;
use crate::domain::{AuditEntry, Changed};
use crate::store::Revision;

/// Up to `limit` entries from before `before`, each of whose actor, source,
/// action, target, reason or changed fields holds every part of a word in `q`, and where to go on, if
/// there are more.
pub fn audit(
    ctx: &Context,
    q: Option<&str>,
    before: Option<Revision>,
    limit: usize,
) -> (Vec<(Revision, Arc<AuditEntry>)>, Option<Revision>) {
    let terms: Vec<String> =
        q.unwrap_or_default().split_whitespace().map(str::to_lowercase).collect();
    let wanted = |entry: &AuditEntry| {
        let reason = entry.reason.as_deref().unwrap_or_default();
        let columns = [&entry.actor, &entry.source, entry.action.as_str(), &entry.target, reason];
        let changed = || {
            let texts = |c: &'_ Changed| [Some(c.field.clone()), c.before.clone(), c.after.clone()];
            entry.changes.iter().flat_map(texts).flatten()
        };
        terms.iter().all(|term| {
            columns.iter().any(|column| contains(column, term))
                || changed().any(|text| contains(&text, term))
        })
    };
    let (found, more) = ctx.memory.trail.list(before, limit, wanted);
    let last = found.last().map(|(revision, _)| *revision);
    (found, last.filter(|_| more))
}
