//! Ending a credential, putting it to sleep, waking it.

use axum::extract::State;
use utoipa::ToSchema;

use super::view::ReceiptView;
use super::{Kind, Named, Shared};
use crate::api::actor::Admin;
use crate::api::body::{Fields, NoFields};
use crate::api::error::ApiError;
use crate::service;

/// Why it is revoked.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct Why {
    /// 1 to 300 characters; stands in the history for ever.
    reason: String,
}

/// Revokes a credential, its secrets and its tokens, at once and for good.
///
/// A second call answers with the first receipt.
#[utoipa::path(post, path = "/v1/credentials/{client_id}/revoke", tag = "credentials", operation_id = "revokeCredential",
    params(("client_id" = String, Path, description = "Its id, a UUID")),
    request_body(content = Why, example = json!({ "reason": "leaked in a public repository" })),
    responses((status = 200, description = "Revoked", body = ReceiptView)))]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    admin: Admin,
    Named(client): Named,
    mut fields: Fields,
) -> Result<axum::Json<ReceiptView>, ApiError> {
    let reason = fields.needed_text("reason");
    fields.finish(Vec::new())?;
    let receipt =
        service::revoke_credential(&shared.context, admin.actor(), client, &reason).await?;
    shared.count(Kind::Credential, &receipt);
    Ok(axum::Json(receipt.into()))
}

/// Puts a credential and its tokens to sleep.
///
/// A second call answers with the first receipt, and changes nothing.
#[utoipa::path(post, path = "/v1/credentials/{client_id}/suspend", tag = "credentials", operation_id = "suspendCredential",
    params(("client_id" = String, Path, description = "Its id, a UUID")),
    responses(
        (status = 200, description = "Suspended", body = ReceiptView),
        (status = 409, description = "It is revoked, for good")))]
pub(super) async fn suspend(
    State(shared): State<Shared>,
    admin: Admin,
    Named(client): Named,
    _: NoFields,
) -> Result<axum::Json<ReceiptView>, ApiError> {
    let receipt = service::suspend(&shared.context, admin.actor(), client).await?;
    shared.count(Kind::Suspension, &receipt);
    Ok(axum::Json(receipt.into()))
}

/// Wakes a suspended credential, and those of its tokens that still live.
#[utoipa::path(post, path = "/v1/credentials/{client_id}/resume", tag = "credentials", operation_id = "resumeCredential",
    params(("client_id" = String, Path, description = "Its id, a UUID")),
    responses(
        (status = 200, description = "Awake", body = ReceiptView),
        (status = 409, description = "It is revoked, for good")))]
pub(super) async fn resume(
    State(shared): State<Shared>,
    admin: Admin,
    Named(client): Named,
    _: NoFields,
) -> Result<axum::Json<ReceiptView>, ApiError> {
    let receipt = service::resume(&shared.context, admin.actor(), client).await?;
    Ok(axum::Json(receipt.into()))
}
