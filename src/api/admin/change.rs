//! Changing a credential, and narrowing it to what it uses.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{CredentialView, environments, texts};
use super::{Named, Shared, no_such_credential};
use crate::api::actor::{Admin, Viewer};
use crate::api::body::{Fields, NoFields};
use crate::api::condition::{IfMatch, etag};
use crate::api::error::ApiError;
use crate::service::{self, CredentialPatch, Needed};

/// What is to be changed. Fields that are left out stay as they are.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct Changes {
    /// What people call it: 1 to 100 characters.
    #[schema(required = false)]
    name: String,
    /// What it is for: up to 1000 characters.
    #[schema(required = false)]
    description: String,
    /// Ids of predefined roles: all that it is to have.
    #[schema(required = false)]
    roles: Vec<String>,
    /// Scopes besides those of the roles: all that it is to have.
    #[schema(required = false)]
    scopes: Vec<String>,
    /// Where its rights hold; an empty list or `["*"]` means everywhere.
    #[schema(required = false)]
    environments: Vec<String>,
    /// The end of its life, RFC 3339, in the future; null removes it.
    expires_at: Option<String>,
    /// Its own limit, such as `100/s`; null removes it.
    rate: Option<String>,
    /// Its own limit of requests at once, 1 or more; null removes it.
    #[schema(minimum = 1)]
    concurrency: Option<u32>,
}

/// Changes a credential.
///
/// Less right takes effect at once, on tokens that are out too: requests under
/// way and open streams that would not be allowed any more are cut. More right
/// takes a new token.
#[utoipa::path(patch, path = "/v1/credentials/{client_id}", tag = "credentials", operation_id = "changeCredential",
    params(
        ("client_id" = String, Path, description = "Its id, a UUID"),
        ("If-Match" = Option<String>, Header, description = "Its `ETag` as it was read, or a list of \
            such: where it is something else by now, nothing is changed")),
    request_body(content = Changes, example = json!({
        "description": "Reads only, since May", "roles": ["campaign-reader"], "rate": null
    })),
    responses(
        (status = 200, description = "As it is now", body = CredentialView,
            headers(("ETag" = String, description = "To be sent as `If-Match` with a change"))),
        (status = 409, description = "It is revoked for good, or has no room for more"),
        (status = 412, description = "It is not what `If-Match` names any more")))]
pub(super) async fn change(
    State(shared): State<Shared>,
    admin: Admin,
    Named(client): Named,
    IfMatch(condition): IfMatch,
    mut fields: Fields,
) -> Result<Response, ApiError> {
    fields.refuse_null(&["name", "description", "roles", "scopes", "environments"]);
    let given = |fields: &Fields, name: &str| fields.contains(name).then_some(());
    let patch = CredentialPatch {
        name: given(&fields, "name").map(|()| fields.text("name").unwrap_or_default()),
        description: given(&fields, "description")
            .map(|()| fields.text("description").unwrap_or_default()),
        roles: given(&fields, "roles").map(|()| fields.texts("roles")),
        scopes: given(&fields, "scopes").map(|()| fields.texts("scopes")),
        environments: given(&fields, "environments").map(|()| fields.texts("environments")),
        expires_at: given(&fields, "expires_at").map(|()| fields.text("expires_at")),
        rate: given(&fields, "rate").map(|()| fields.text("rate")),
        concurrency: given(&fields, "concurrency").map(|()| fields.count("concurrency")),
    };
    let context = &shared.context;
    let now = context.memory.directory.get(client).ok_or_else(no_such_credential)?;
    // So that all faults are told at once.
    let trial = patch.apply(&now, &context.world.load(), context.now());
    fields.finish(trial.err().unwrap_or_default())?;
    let change = service::update_credential(context, admin.actor(), client, &condition, &patch);
    let (changed, revision) = change.await?;
    Ok((etag(&changed, revision), axum::Json(shared.view(&changed))).into_response())
}

/// What a credential has, uses and needs.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "since": "2026-11-22T03:00:00Z", "granted": ["campaign.list", "campaign.toggle"],
    "used": ["campaign.list"], "never_used": ["campaign.toggle"],
    "proposed": { "roles": [], "scopes": ["campaign.list"], "environments": [],
        "rate": null, "concurrency": null }
}))]
pub(super) struct UsageView {
    /// From when on uses count.
    since: String,
    /// All its rights, those of its roles included, sorted.
    granted: Vec<String>,
    /// Those that permitted requests needed.
    used: Vec<String>,
    /// Those that no permitted request needed.
    never_used: Vec<String>,
    /// What would do: `POST …/narrow` makes it so.
    proposed: ProposalView,
}

/// A grant with which all that was used goes on.
#[derive(Serialize, ToSchema)]
pub(super) struct ProposalView {
    /// Roles that were used whole, and armed ones that were used at all.
    roles: Vec<String>,
    /// Single scopes that were used, in place of the other roles.
    scopes: Vec<String>,
    /// As they are; an empty list means all.
    environments: Vec<String>,
    /// Its own limit; if it has none, that of a role that goes.
    #[schema(required = true)]
    rate: Option<String>,
    /// The same, of requests at once.
    #[schema(required = true)]
    concurrency: Option<u32>,
}

impl From<Needed> for UsageView {
    fn from(needed: Needed) -> Self {
        let proposed = needed.proposed;
        UsageView {
            since: needed.since.to_string(),
            granted: texts(&needed.granted),
            used: texts(&needed.used),
            never_used: texts(&needed.never_used),
            proposed: ProposalView {
                roles: texts(&proposed.roles),
                scopes: texts(&proposed.scopes),
                environments: environments(&proposed.environments),
                rate: proposed.rate.map(|rate| rate.to_string()),
                concurrency: proposed.concurrency,
            },
        }
    }
}

/// Says which of its rights a credential used, and proposes a narrower grant.
///
/// Uses are written down once a minute: what a crash cuts off is missing here.
#[utoipa::path(get, path = "/v1/credentials/{client_id}/usage", tag = "credentials", operation_id = "credentialUsage",
    params(("client_id" = String, Path, description = "Its id, a UUID")),
    responses((status = 200, description = "Rights granted, used, and never used", body = UsageView)))]
pub(super) async fn usage(
    State(shared): State<Shared>,
    _: Viewer,
    Named(client): Named,
) -> Result<axum::Json<UsageView>, ApiError> {
    Ok(axum::Json(service::usage(&shared.context, client)?.into()))
}

/// Gives a credential the grant that `…/usage` proposes, at once.
#[utoipa::path(post, path = "/v1/credentials/{client_id}/narrow", tag = "credentials", operation_id = "narrowCredential",
    params(
        ("client_id" = String, Path, description = "Its id, a UUID"),
        ("If-Match" = Option<String>, Header, description = "Its `ETag` as it was read, or a list of \
            such: where it is something else by now, nothing is changed")),
    responses(
        (status = 200, description = "As it is now", body = CredentialView,
            headers(("ETag" = String, description = "To be sent as `If-Match` with a change"))),
        (status = 409, description = "It is revoked, for good, or used none of its rights"),
        (status = 412, description = "It is not what `If-Match` names any more")))]
pub(super) async fn narrow(
    State(shared): State<Shared>,
    admin: Admin,
    Named(client): Named,
    IfMatch(condition): IfMatch,
    _: NoFields,
) -> Result<Response, ApiError> {
    let change = service::narrow_credential(&shared.context, admin.actor(), client, &condition);
    let (narrowed, revision) = change.await?;
    Ok((etag(&narrowed, revision), axum::Json(shared.view(&narrowed))).into_response())
}
