//! Who did what, when.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::view::Page;
use crate::api::actor::Viewer;
use crate::api::error::ApiError;
use crate::api::query::{Params, cursor};
use crate::service;
use crate::store::Revision;

const LIST: u8 = b'a';

/// One line of the trail.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "revision": 42, "at": "2026-11-22T03:00:00Z", "actor": "ada", "action": "credential.revoke",
    "target": "6f9619ff-8b86-4011-b42d-00c04fc964ff", "reason": "leaked"
}))]
pub(super) struct AuditView {
    /// The change it came with.
    revision: u64,
    /// When.
    at: String,
    /// The administrator's name, `command-line`, or `gateway`.
    actor: String,
    /// What was done, `object.verb`.
    action: &'static str,
    /// To what.
    target: String,
    /// Why, where somebody said why.
    #[schema(required = true)]
    reason: Option<String>,
}

/// Lists who did what, newest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", operation_id = "listAudit",
    params(
        ("q" = Option<String>, Query, description = "Parts of words, in any case, each to be found \
            in actor, action, target or reason"),
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
    });
    let next_cursor = next.map(|revision| cursor(LIST, &revision.to_be_bytes()));
    Ok(Page { items: items.collect(), next_cursor })
}
