//! The endpoints that the data plane answers by itself: OAuth and discovery.
//!
//! They are an ordinary HTTP router, called in process with a body that was
//! read whole. These paths are never proxied.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::reject::Reply;
use crate::api::oauth::{NoHurry, RefusalReason, TokenClient};

/// Names the endpoint of a path, if it has one.
pub type Endpoints = Box<dyn Fn(&str) -> Option<&'static str> + Send + Sync>;

/// A router and the paths it owns.
pub struct Mount {
    endpoints: Endpoints,
    router: Router,
    /// Places for those who wait.
    waiting: Semaphore,
}

/// How long an answer is held back that nobody is in a hurry for.
const HELD_BACK: Duration = Duration::from_secs(1);
/// How many are held back at once; the others are answered at once. Each is a connection
/// or a stream with all of its request read, and no more than those may do anyway.
const HELD_AT_ONCE: usize = 512;

impl Mount {
    /// `endpoints` says which paths `router` answers.
    pub fn new(endpoints: Endpoints, router: Router) -> Self {
        Mount { endpoints, router, waiting: Semaphore::new(HELD_AT_ONCE) }
    }

    /// The endpoint of a path: a word for logs and metrics.
    pub(crate) fn endpoint(&self, path: &str) -> Option<&'static str> {
        (self.endpoints)(path)
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, request: http::Request<Bytes>, request_id: &str) -> Reply {
        let is_head = request.method() == http::Method::HEAD;
        let failed =
            || Reply::error(500, "server_error", "The gateway failed to answer.", request_id);
        let response = match self.router.clone().oneshot(request.map(Body::from)).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (mut parts, body) = response.into_parts();
        let Ok(body) = body.collect().await else { return failed() };
        let status = parts.status.as_u16();
        let mut fields: Vec<_> = Vec::with_capacity(parts.headers.len());
        for (name, value) in &parts.headers {
            // Of HEAD the router has taken the body away; what it would be long is still said.
            if is_head || name != http::header::CONTENT_LENGTH {
                fields.push((name.clone(), value.clone()));
            }
        }
        let reason = parts.extensions.get::<RefusalReason>().map_or("", |reason| reason.0);
        let client = parts.extensions.remove::<TokenClient>();
        if parts.extensions.get::<NoHurry>().is_some()
            && let Ok(_place) = self.waiting.try_acquire()
        {
            tokio::time::sleep(HELD_BACK).await;
        }
        Reply { status, fields, body: body.to_bytes(), reason, client }
    }
}
