//! The keys that tokens are signed with: listing, rotating, revoking.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::lifecycle::Why;
use super::view::{Page, ReceiptView};
use super::{Kind, Shared};
use crate::api::actor::{SuperAdmin, Viewer};
use crate::api::body::{Fields, MayBeFields};
use crate::api::error::ApiError;
use crate::api::query::{Params, page_of};
use crate::service::FieldFault;
use crate::service::keys::{self, KeyState, KeyStatus};
use crate::token::Algorithm;

const LIST: u8 = b'k';

/// So long a new key is published before it signs, unless somebody says
/// otherwise: what the JWKS may be cached for.
const ACTIVATE_AFTER: Duration = Duration::from_secs(300);
/// Longer than this is a typing error.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// A rotation; both may be left out.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct NewKey {
    /// `EdDSA`, `ES256` or `RS256`; that of the key that signs now, if left out.
    algorithm: Option<String>,
    /// How long it is published before it signs, such as `10m`, up to 30 days;
    /// `5m` if left out, `0s` for at once.
    activate_after: Option<String>,
}

/// A signing key, without its private half.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "kid": "vX3l0R5iFfIY7WwQzO4nT2hM9cJkqE1aUd8sBgPy6Zo", "algorithm": "EdDSA", "state": "next",
    "created_at": "2026-11-22T03:00:00Z", "activates_at": "2026-11-22T03:05:00Z",
    "retires_at": null
}))]
pub(super) struct KeyView {
    /// Its name in tokens and in the JWKS: the RFC 7638 thumbprint.
    kid: String,
    /// `EdDSA`, `ES256` or `RS256`.
    algorithm: String,
    /// `next` (published, will sign), `active` (signs) or `retiring` (believed
    /// until the last token that it signed has ended).
    state: &'static str,
    /// When it was made; null for the key of `oauth.signing_key_file`.
    #[schema(required = true)]
    created_at: Option<String>,
    /// From when on it may sign; null as above.
    #[schema(required = true)]
    activates_at: Option<String>,
    /// When it goes; null while no other key follows it.
    #[schema(required = true)]
    retires_at: Option<String>,
}

impl KeyView {
    fn of(key: &KeyStatus) -> Self {
        KeyView {
            kid: key.kid.clone(),
            algorithm: key.algorithm.clone(),
            state: match key.state {
                KeyState::Next => "next",
                KeyState::Active => "active",
                KeyState::Retiring => "retiring",
            },
            created_at: key.created_at.map(|at| at.to_string()),
            activates_at: key.activates_at.map(|at| at.to_string()),
            retires_at: key.retires_at.map(|at| at.to_string()),
        }
    }
}

/// Lists the signing keys, newest first.
#[utoipa::path(get, path = "/v1/keys", tag = "keys", operation_id = "listKeys",
    params(
        ("limit" = Option<u32>, Query, description = "How many, 1 to 200; 50 if left out"),
        ("cursor" = Option<String>, Query,
            description = "What next_cursor of the page before said")),
    responses((status = 200, description = "A page", body = Page<KeyView>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    _: Viewer,
    mut params: Params,
) -> Result<Page<KeyView>, ApiError> {
    let all = keys::list(&shared.context);
    let (items, next_cursor) = page_of(&all, LIST, &mut params, KeyView::of);
    params.finish()?;
    Ok(Page { items, next_cursor })
}

/// Makes a new signing key. It is in the JWKS at once, signs after
/// `activate_after`, and the old one is believed until its last token has ended.
#[utoipa::path(post, path = "/v1/keys/rotate", tag = "keys", operation_id = "rotateKey",
    request_body(content = NewKey, example = json!({ "activate_after": "10m" })),
    responses(
        (status = 201, description = "Made and published", body = KeyView),
        (status = 409, description = "The configuration gives the key (oauth.signing_key_file)")))]
pub(super) async fn rotate(
    State(shared): State<Shared>,
    admin: SuperAdmin,
    MayBeFields(mut fields): MayBeFields,
) -> Result<Response, ApiError> {
    let after = fields.duration("activate_after", LONGEST).unwrap_or(ACTIVATE_AFTER);
    let mut faults = Vec::new();
    let algorithm = fields.text("algorithm").and_then(|text| {
        let known = text.parse::<Algorithm>().ok();
        if known.is_none() {
            faults.push(FieldFault::new("algorithm", "must be one of EdDSA, ES256, RS256"));
        }
        known
    });
    fields.finish(faults)?;
    let key = keys::rotate(&shared.context, admin.actor(), algorithm, after).await?;
    Ok((StatusCode::CREATED, axum::Json(KeyView::of(&key))).into_response())
}

/// Revokes a signing key that somebody else may know: it and every token that it
/// signed are dead at once and for good, and open streams on them are cut.
///
/// If it was the one that signs, a new one of the same algorithm does, and is in
/// the JWKS, when this answers. A second call answers with the first receipt.
#[utoipa::path(post, path = "/v1/keys/{kid}/revoke", tag = "keys", operation_id = "revokeKey",
    params(("kid" = String, Path, description = "Its name, as in the JWKS")),
    request_body(content = Why, example = json!({ "reason": "the backup was stolen" })),
    responses((status = 200, description = "Revoked", body = ReceiptView)))]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    admin: SuperAdmin,
    path: Result<Path<String>, PathRejection>,
    mut fields: Fields,
) -> Result<axum::Json<ReceiptView>, ApiError> {
    let reason = fields.needed_text("reason");
    fields.finish(Vec::new())?;
    let Ok(Path(kid)) = path else {
        return Err(ApiError::not_found("There is no such signing key."));
    };
    let receipt = keys::revoke(&shared.context, admin.actor(), &kid, &reason).await?;
    shared.count(Kind::Key, &receipt);
    Ok(axum::Json(receipt.into()))
}
