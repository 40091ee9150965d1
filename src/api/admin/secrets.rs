//! A credential's secrets: another one beside the old, and the end of one.

use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{ReceiptView, SecretView};
use super::{Kind, Named, Shared};
use crate::api::actor::Admin;
use crate::api::body::MayBeFields;
use crate::api::error::ApiError;
use crate::domain::ClientId;
use crate::service::{self, OldSecrets};

/// The longest that old secrets may overlap.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 3600);

/// What becomes of the secrets that there are.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct Rotation {
    /// How long from now on the old secrets and their tokens go on, such as `24h`;
    /// left out: until they are retired by hand.
    retire_old_after: Option<String>,
    /// Each old secret ends once neither it nor its tokens were used for so long,
    /// such as `30d`, from now on.
    retire_old_after_unused: Option<String>,
}

/// Another secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct RotatedView<'a> {
    /// Its number, never used before.
    generation: u32,
    /// 64 letters and digits, `pcs1…`. It can't be shown again.
    #[schema(example = "pcs1…")]
    client_secret: &'a str,
    /// When it was made.
    created_at: String,
    /// All secrets of the credential, the oldest first, each with its end.
    secrets: Vec<SecretView>,
}

/// Makes another secret; the old ones go on for a while.
///
/// At most ten live at once.
#[utoipa::path(post, path = "/v1/credentials/{client_id}/secrets", tag = "credentials", operation_id = "addSecret",
    params(("client_id" = String, Path, description = "Its id, a UUID")),
    request_body(content = Rotation, example = json!({ "retire_old_after": "24h" })),
    responses(
        (status = 201, description = "Made: it works already", body = RotatedView<'static>),
        (status = 409, description = "It is revoked, for good, or has too many live secrets")))]
pub(super) async fn add(
    State(shared): State<Shared>,
    admin: Admin,
    Named(client): Named,
    MayBeFields(mut fields): MayBeFields,
) -> Result<Response, ApiError> {
    let old = OldSecrets {
        after: fields.duration("retire_old_after", LONGEST),
        unused_for: fields.duration("retire_old_after_unused", LONGEST),
    };
    fields.finish(Vec::new())?;
    let made = service::add_secret(&shared.context, admin.actor(), client, old).await?;
    let body = RotatedView {
        generation: made.made.generation,
        client_secret: made.secret.expose(),
        created_at: made.made.created_at.to_string(),
        secrets: shared.secrets(&made.credential),
    };
    Ok((StatusCode::CREATED, axum::Json(body)).into_response())
}

/// Retires a secret and the tokens that it minted, at once and for good.
///
/// Other secrets and their tokens go on. A second call answers with the first
/// receipt.
#[utoipa::path(delete, path = "/v1/credentials/{client_id}/secrets/{generation}", tag = "credentials", operation_id = "retireSecret",
    params(
        ("client_id" = String, Path, description = "Its id, a UUID"),
        ("generation" = u32, Path, description = "Which of its secrets")),
    responses(
        (status = 200, description = "Retired", body = ReceiptView),
        (status = 409, description = "It is revoked, for good, or this is its last live secret")))]
pub(super) async fn retire(
    State(shared): State<Shared>,
    admin: Admin,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Result<axum::Json<ReceiptView>, ApiError> {
    // One number has one spelling.
    let number = |text: &str| text.parse().ok().filter(|n: &u32| n.to_string() == text);
    let named = path
        .ok()
        .and_then(|Path((client, generation))| ClientId::parse(&client).zip(number(&generation)));
    let (client, generation) =
        named.ok_or_else(|| ApiError::not_found("There is no such secret."))?;
    let receipt =
        service::retire_secret(&shared.context, admin.actor(), client, generation).await?;
    shared.count(Kind::Secret, &receipt);
    Ok(axum::Json(receipt.into()))
}
