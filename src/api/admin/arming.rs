//! Waking the armed roles of a credential, for minutes, and putting them to sleep.

use std::time::Duration;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Named, Shared};
use crate::api::actor::Admin;
use crate::api::body::{Fields, MayBeFields};
use crate::api::error::ApiError;
use crate::service::{self, Window};

const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Which role, and for how long.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct Arming {
    /// The id of an armed role that the credential holds.
    role: String,
    /// For how long from now, such as `15m`; at most `24h`.
    r#for: String,
}

/// Which role.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct Disarming {
    /// The id of an armed role that the credential holds; left out: all of them.
    role: Option<String>,
}

/// Until when a role is awake.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "role": "library-cleaner", "armed_until": "2026-11-22T03:15:00Z", "revision": 42,
    "streams_closed": 0
}))]
pub(super) struct WindowView {
    /// The role; null where all were put to sleep.
    #[schema(required = true)]
    role: Option<String>,
    /// Until when it counts; null if it sleeps.
    #[schema(required = true)]
    armed_until: Option<String>,
    /// The count of changes at which it happened.
    revision: u64,
    /// How many streams and requests in flight were cut.
    streams_closed: usize,
}

impl From<Window> for WindowView {
    fn from(window: Window) -> Self {
        WindowView {
            role: window.role.map(|role| role.to_string()),
            armed_until: window.until.map(|until| until.to_string()),
            revision: window.revision,
            streams_closed: window.streams_closed,
        }
    }
}

/// Wakes an armed role of a credential for a while.
///
/// Tokens carry its scopes already; from now on they count. Armed again, the
/// time runs anew from now.
#[utoipa::path(post, path = "/v1/credentials/{client_id}/arm", tag = "credentials", operation_id = "armRole",
    params(("client_id" = String, Path, description = "Its id, a UUID")),
    request_body(content = Arming, example = json!({ "role": "library-cleaner", "for": "15m" })),
    responses(
        (status = 200, description = "Awake", body = WindowView),
        (status = 409, description = "It is revoked, for good")))]
pub(super) async fn arm(
    State(shared): State<Shared>,
    admin: Admin,
    Named(client): Named,
    mut fields: Fields,
) -> Result<axum::Json<WindowView>, ApiError> {
    let role = fields.needed_text("role");
    let missing = fields.needs("for");
    let how_long = fields.duration("for", LONGEST).unwrap_or_default();
    fields.finish(missing)?;
    let window = service::arm(&shared.context, admin.actor(), client, &role, how_long).await?;
    shared.metrics.armed_role_armings.with_label_values(&[role.as_str()]).inc();
    Ok(axum::Json(window.into()))
}

/// Puts an armed role of a credential to sleep, at once; all of its roles, if none is named.
///
/// Requests under way and open streams that run on it are cut.
#[utoipa::path(post, path = "/v1/credentials/{client_id}/disarm", tag = "credentials", operation_id = "disarmRole",
    params(("client_id" = String, Path, description = "Its id, a UUID")),
    request_body(content = Disarming, example = json!({ "role": "library-cleaner" })),
    responses(
        (status = 200, description = "Asleep", body = WindowView),
        (status = 409, description = "It is revoked, for good")))]
pub(super) async fn disarm(
    State(shared): State<Shared>,
    admin: Admin,
    Named(client): Named,
    MayBeFields(mut fields): MayBeFields,
) -> Result<axum::Json<WindowView>, ApiError> {
    let role = fields.text("role");
    fields.finish(Vec::new())?;
    let window = service::disarm(&shared.context, admin.actor(), client, role.as_deref()).await?;
    Ok(axum::Json(window.into()))
}
