//! Signing in to the console, and out.

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use super::Shared;
use super::catalogue::MeView;
use crate::api::actor::{Source, Viewer, know};
use crate::api::body::Fields;
use crate::api::error::ApiError;
use crate::api::session::{COOKIE, LONGEST, cookie, is_own};
use crate::service::Actor;

/// Who signs in.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct SignIn {
    /// An admin key.
    key: String,
}

/// Trades an admin key for a session cookie, for browsers.
///
/// The session ends after 30 minutes without a call, after 12 hours, when the
/// administrator is removed, or when the gateway ends. A change that comes with
/// the cookie from another origin is refused, 403.
#[utoipa::path(post, path = "/v1/session", tag = "session", operation_id = "signIn", security(()),
    request_body(content = SignIn, example = json!({ "key": "pak1…" })),
    responses((status = 200, description = "Signed in: who you are", body = MeView,
        headers(("Set-Cookie" = String, description = "HttpOnly, SameSite=Strict")))))]
pub(super) async fn sign_in(
    State(shared): State<Shared>,
    Source(source): Source,
    uri: Uri,
    headers: HeaderMap,
    mut fields: Fields,
) -> Result<Response, ApiError> {
    let key = fields.needed_text("key");
    fields.finish(Vec::new())?;
    if !is_own(&headers, &uri) {
        return Err(ApiError::foreign_origin());
    }
    let admin = know(&shared, source, Some(&key))?;
    let value = shared.sessions.open(&shared.context, &admin).map_err(ApiError::internal)?;
    // The session before, if there was one, is of no use any more.
    cookie(&headers).inspect(|before| shared.sessions.close(before));
    let cookie = set_cookie(&headers, &value, LONGEST.as_secs())?;
    let me = axum::Json(MeView::of(&Actor::administrator(&admin)));
    Ok(([(header::SET_COOKIE, cookie)], me).into_response())
}

/// Ends the session that the cookie names.
#[utoipa::path(delete, path = "/v1/session", tag = "session", operation_id = "signOut",
    responses((status = 204, description = "Signed out")))]
pub(super) async fn sign_out(
    State(shared): State<Shared>,
    _: Viewer,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    cookie(&headers).inspect(|value| shared.sessions.close(value));
    let cookie = set_cookie(&headers, "", 0)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// `Secure` where TLS ends in front of us. Believing that field of anybody is
/// harmless: all it does is to keep the caller's own cookie off plain HTTP.
fn set_cookie(headers: &HeaderMap, value: &str, age: u64) -> Result<HeaderValue, ApiError> {
    let proto = headers.get("x-forwarded-proto").and_then(|proto| proto.to_str().ok());
    let is_https = proto.is_some_and(|proto| proto.trim().eq_ignore_ascii_case("https"));
    let secure = if is_https { "; Secure" } else { "" };
    let text =
        format!("{COOKIE}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}");
    HeaderValue::from_str(&text).map_err(ApiError::internal)
}
