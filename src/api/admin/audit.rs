//! Who did what, when and from where; and whether the trail is whole.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::view::Page;
use crate::api::actor::Viewer;
use crate::api::error::ApiError;
use crate::api::query::{Params, cursor};
use crate::domain::Changed;
use crate::service::{self, BrokenLink, verify_audit};
use crate::store::Revision;

const LIST: u8 = b'a';

/// One line of the trail.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "revision": 42, "at": "2026-11-22T03:00:00Z", "actor": "ada", "action": "credential.revoke",
    "target": "6f9619ff-8b86-4011-b42d-00c04fc964ff", "reason": "leaked",
    "source": "192.0.2.7", "changes": [{ "field": "state", "before": "active", "after": "revoked" }]
}))]
pub(super) struct AuditView {
    /// The change it came with.
    revision: u64,
    /// When.
    at: String,
    /// An administrator's name, `client` and the id of one, `command-line`, or `gateway`.
    actor: String,
    /// From where: an address, `command-line`, `gateway`, or `data plane`.
    source: String,
    /// What was done, `object.verb`.
    action: &'static str,
    /// To what.
    target: String,
    /// Why, where somebody said why.
    #[schema(required = true)]
    reason: Option<String>,
    /// What is different since, field by field; never a secret. Long values are
    /// cut and end with "…".
    changes: Vec<ChangedView>,
}

/// One thing that is different.
#[derive(Serialize, ToSchema)]
pub(super) struct ChangedView {
    /// What.
    field: String,
    /// As it was; null if it was not.
    #[schema(required = true)]
    before: Option<String>,
    /// As it is; null if it is no more.
    #[schema(required = true)]
    after: Option<String>,
}

/// Whether the trail is as it was written.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "entries": 1204, "ok": true, "first_broken": null }))]
pub(super) struct VerifyView {
    /// How many entries were read.
    entries: u64,
    /// True if every link holds.
    ok: bool,
    /// Where it first does not.
    #[schema(required = true)]
    first_broken: Option<BrokenView>,
}

/// A place where the chain does not hold.
#[derive(Serialize, ToSchema)]
pub(super) struct BrokenView {
    /// The entry at which it shows.
    revision: u64,
    /// What is wrong.
    what: String,
}

/// Lists who did what, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "listAudit",
    params(
        ("q" = Option<String>, Query, description = "Parts of words, in any case, each to be found \
            in actor, source, action, target, reason or what changed"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 200; 50 if left out"),
        ("cursor" = Option<String>, Query,
            description = "What next_cursor of the page before said")),
    responses((status = 200, description = "A page", body = Page<AuditView>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    _: Viewer,
    mut params: Params,
) -> Result<Page<AuditView>, ApiError> {
    let limit = params.limit();
    let before = params.cursor(LIST, |place| Some(Revision::from_be_bytes(place.try_into().ok()?)));
    let q = params.text("q");
    params.finish()?;
    let (found, next) = service::audit(&shared.context, q.as_deref(), before, limit);
    let items = found.iter().map(|(revision, entry)| AuditView {
        revision: *revision,
        at: entry.at.to_string(),
        actor: entry.actor.clone(),
        action: entry.action.as_str(),
        target: entry.target.clone(),
        reason: entry.reason.clone(),
        source: entry.source.clone(),
        changes: entry.changes.iter().map(changed).collect(),
    });
    let next_cursor = next.map(|revision| cursor(LIST, &revision.to_be_bytes()));
    Ok(Page { items: items.collect(), next_cursor })
}

fn changed(changed: &Changed) -> ChangedView {
    let Changed { field, before, after } = changed.clone();
    ChangedView { field, before, after }
}

/// Checks the trail: reads every entry from the store and follows the chain of
/// hashes. Entries that come meanwhile are left for the next time.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit", operation_id = "verifyAudit",
    responses(
        (status = 200, description = "Read to the end; `ok` says how it is", body = VerifyView),
        (status = 503, description = "The store can't be read right now")))]
pub(super) async fn verify(
    State(shared): State<Shared>,
    _: Viewer,
    params: Params,
) -> Result<axum::Json<VerifyView>, ApiError> {
    params.finish()?;
    let context = Arc::clone(&shared.context);
    let read = tokio::task::spawn_blocking(move || verify_audit(&context)).await;
    let report = read.map_err(ApiError::internal)?.map_err(ApiError::unreadable)?;
    Ok(axum::Json(VerifyView {
        entries: report.entries,
        ok: report.first_broken.is_none(),
        first_broken: report
            .first_broken
            .map(|BrokenLink { revision, what }| BrokenView { revision, what }),
    }))
}
