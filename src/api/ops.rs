//! The metrics port: for machines that watch, without a key.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use utoipa::ToSchema;

use super::error::ApiError;
use super::frame::{framed, with_fallbacks};
use super::readiness::{Readiness, ReadyBody};
use crate::metrics::Metrics;

/// The answer of `/healthz`.
#[derive(Serialize, ToSchema)]
pub(crate) struct AliveBody {
    /// Always `alive`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// `/metrics`, `/healthz`, `/readyz`. `gather` brings gauges up to date and is
/// called before metrics are written.
pub fn ops_router(
    metrics: Metrics,
    readiness: Readiness,
    gather: Arc<dyn Fn() + Send + Sync>,
) -> Router {
    let render = move || {
        gather();
        std::future::ready(match metrics.render() {
            Ok(text) => {
                let kind = "text/plain; version=0.0.4; charset=utf-8";
                ([(header::CONTENT_TYPE, kind)], text).into_response()
            }
            Err(error) => ApiError::internal(error).into_response(),
        })
    };
    framed(with_fallbacks(health(readiness).route("/metrics", get(render))), 0)
}

/// What both ports answer to whoever asks.
pub(super) fn health<S: Clone + Send + Sync + 'static>(readiness: Readiness) -> Router<S> {
    Router::new().route("/healthz", get(alive)).route("/readyz", get(ready)).with_state(readiness)
}

/// Says that the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "isAlive", security(()),
    responses((status = 200, description = "Alive", body = AliveBody)))]
pub(super) async fn alive() -> Json<AliveBody> {
    Json(AliveBody { status: "alive" })
}

/// Says whether the gateway should be sent requests.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "isReady", security(()),
    responses(
        (status = 200, description = "Ready", body = ReadyBody),
        (status = 503, description = "Not ready; says why", body = ReadyBody)))]
pub(super) async fn ready(State(readiness): State<Readiness>) -> (StatusCode, Json<ReadyBody>) {
    readiness.answer()
}
