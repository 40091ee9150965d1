//! Reading who did what, newest first.

use std::sync::Arc;

use super::context::Context;
use super::search::contains;
use crate::domain::AuditEntry;
use crate::store::Revision;

/// Up to `limit` entries from before `before`, each of whose actor, action,
/// target or reason holds every part of a word in `q`, and where to go on, if
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
        let columns = [&entry.actor, entry.action.as_str(), &entry.target, reason];
        terms.iter().all(|term| columns.iter().any(|column| contains(column, term)))
    };
    let (found, more) = ctx.memory.trail.list(before, limit, wanted);
    let last = found.last().map(|(revision, _)| *revision);
    (found, last.filter(|_| more))
}
