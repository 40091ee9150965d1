//! What every call has, whoever answers it: a request id in and out, errors as
//! JSON, no caching unless it says so, and no panic that reaches the caller.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;

use super::error::ApiError;
use crate::domain::{RequestIds, sane_request_id};

/// The longest body that is read, in bytes.
const MAX_BODY: usize = 64 * 1024;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

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
    let ids = Arc::new(RequestIds::new(start));
    router.layer(DefaultBodyLimit::max(MAX_BODY)).layer(from_fn_with_state(ids, frame))
}

async fn frame(State(ids): State<Arc<RequestIds>>, request: Request, next: Next) -> Response {
    let theirs = request.headers().get_all(REQUEST_ID).iter().map(HeaderValue::as_bytes);
    let id = sane_request_id(theirs).map_or_else(|| ids.next(), Arc::from);
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
