//! What every call has, whoever answers it: a request id in and out, errors as
//! JSON, no caching unless it says so, and no panic that reaches the caller.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use super::error::ApiError;

/// The longest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Gives out request ids.
struct RequestIds {
    start: u64,
    count: AtomicU64,
}

impl RequestIds {
    /// A new one: 32 hexadecimal digits.
    fn next(&self) -> String {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{:016x}{count:016x}", self.start)
    }
}

/// Adds what is answered where nothing is served.
pub(super) fn with_fallbacks(router: Router) -> Router {
    router
        .fallback(|| async { ApiError::not_found("Nothing is served at this address.") })
        .method_not_allowed_fallback(|| async {
            let text = "This method is not served at this address; see Allow.";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text)
        })
}

/// Puts the frame round a finished router. Request ids begin with `start`.
pub(super) fn framed(router: Router, start: u64) -> Router {
    let ids = Arc::new(RequestIds { start, count: AtomicU64::new(0) });
    router.layer(DefaultBodyLimit::max(MAX_BODY)).layer(from_fn_with_state(ids, frame))
}

async fn frame(State(ids): State<Arc<RequestIds>>, request: Request, next: Next) -> Response {
    let id = client_id(request.headers()).unwrap_or_else(|| ids.next());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response =
        answered.unwrap_or_else(|_| ApiError::internal("a handler panicked").into_response());
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let mut rendered = error.render(&id);
        if let Some(allow) = response.headers_mut().remove(header::ALLOW) {
            rendered.headers_mut().insert(header::ALLOW, allow);
        }
        response = rendered;
    }
    let headers = response.headers_mut();
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

/// The caller's own request id, if it is a sane one.
fn client_id(headers: &HeaderMap) -> Option<String> {
    let mut ids = headers.get_all(REQUEST_ID).iter();
    let id = ids.next()?.to_str().ok()?;
    let sane = (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    (sane && ids.next().is_none()).then(|| id.to_owned())
}
