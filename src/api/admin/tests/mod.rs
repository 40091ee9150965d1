//! The admin port through its router, over a real memory store.

mod administrators;
mod bad_input;
mod conditions;
mod flow;
mod life;
mod ports;
mod revoked;
mod rights;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use crate::api::{Readiness, Reloaded, Reloads, admin_router};
use crate::domain::AdminRole;
use crate::metrics::Metrics;
use crate::service::testing::TestWorld;
use crate::store::Store;

/// An admin port, and a key of each role.
struct Port {
    world: TestWorld,
    router: Router,
    metrics: Metrics,
    readiness: Readiness,
    reloads: Reloads,
    viewer: String,
    admin: String,
    super_admin: String,
}

/// What came back.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
    json: Value,
}

impl Port {
    async fn new() -> Self {
        let world = TestWorld::new();
        let viewer = world.admin("vera", AdminRole::Viewer).await;
        let admin = world.admin("ada", AdminRole::Admin).await;
        let super_admin = world.admin("root", AdminRole::SuperAdmin).await;
        let metrics = Metrics::new("0.0.0").unwrap();
        let readiness = Readiness::new(world.store.clone() as Arc<dyn Store>);
        let reloads = Reloads::default();
        let router = admin_router(
            world.ctx.clone(),
            readiness.clone(),
            metrics.clone(),
            Arc::new(|| ()),
            reloads.clone(),
        );
        Port { world, router, metrics, readiness, reloads, viewer, admin, super_admin }
    }

    /// Whoever asks for a reload is told that nothing changed.
    fn reload_for_ever(&self) {
        let mut orders = self.reloads.listen();
        tokio::spawn(async move {
            while let Some(order) = orders.recv().await {
                let (changed, warnings) = (Vec::new(), Vec::new());
                let told = Reloaded { generation: 2, changed, warnings, streams_closed: 0 };
                let _ = order.reply.send(Ok(told));
            }
        });
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        send(&self.router, request).await
    }

    /// As the administrator `ada`.
    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(request(method, path, Some(&self.admin), &body)).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.send(request("GET", path, Some(&self.viewer), "")).await
    }
}

async fn send(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    // A backup is no text.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer { status: parts.status, headers: parts.headers, text, json }
}

fn request(method: &str, path: &str, key: Option<&str>, body: &str) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    let builder = match key {
        Some(key) => builder.header("authorization", format!("Bearer {key}")),
        None => builder,
    };
    builder.body(Body::from(body.to_owned())).unwrap()
}
