//! What the gateway does at this moment, for the console's live page.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use crate::api::actor::Viewer;
use crate::metrics::{Live, Series};

/// Counters since the start, and gauges. Rates are for the reader to make.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "at": "2026-11-22T03:00:00Z",
    "requests": [{ "labels": { "route": "campaigns", "method": "GET", "code": "200" }, "value": 7 }],
    "decisions": [{
        "labels": { "route": "campaigns", "decision": "deny", "reason": "expired" }, "value": 2
    }],
    "tokens_minted": [{ "labels": { "outcome": "ok" }, "value": 3 }],
    "streams_cut": [],
    "upstreams": [{ "upstream": "legacy", "address": "127.0.0.1:9000", "up": true }],
    "open_connections": 4, "open_streams": 1
}))]
pub(super) struct LiveView {
    /// The gateway's clock.
    at: String,
    /// Requests answered, by `route`, `method` and `code`.
    requests: Vec<SeriesView>,
    /// Requests judged, by `route`, `decision` and `reason`.
    decisions: Vec<SeriesView>,
    /// Answers of the token endpoint, by `outcome`.
    tokens_minted: Vec<SeriesView>,
    /// Requests cut while under way, by `reason`.
    streams_cut: Vec<SeriesView>,
    /// Every address that requests go to.
    upstreams: Vec<UpstreamView>,
    /// Connections of clients.
    open_connections: u64,
    /// Requests with a token that are under way.
    open_streams: u64,
}

/// One counter.
#[derive(Serialize, ToSchema)]
pub(super) struct SeriesView {
    /// What is counted.
    labels: BTreeMap<String, String>,
    /// How often it was, since the start.
    value: u64,
}

/// One address of an upstream.
#[derive(Serialize, ToSchema)]
pub(super) struct UpstreamView {
    /// The upstream's name.
    upstream: String,
    /// Where it listens.
    address: String,
    /// Whether it could be reached when last looked at.
    up: bool,
}

fn series(all: Vec<Series>) -> Vec<SeriesView> {
    all.into_iter().map(|(labels, value)| SeriesView { labels, value }).collect()
}

/// Says what the gateway does: counters and gauges of this moment.
#[utoipa::path(get, path = "/v1/live", tag = "live", operation_id = "showLive",
    responses((status = 200, description = "The numbers", body = LiveView)))]
pub(super) async fn show(State(shared): State<Shared>, _: Viewer) -> axum::Json<LiveView> {
    (shared.gather)();
    let live: Live = shared.metrics.live();
    let upstream = |(mut labels, up): Series| UpstreamView {
        upstream: labels.remove("upstream").unwrap_or_default(),
        address: labels.remove("address").unwrap_or_default(),
        up: up == 1,
    };
    axum::Json(LiveView {
        at: shared.context.now().to_string(),
        requests: series(live.requests),
        decisions: series(live.decisions),
        tokens_minted: series(live.tokens_minted),
        streams_cut: series(live.streams_cut),
        upstreams: live.upstream_up.into_iter().map(upstream).collect(),
        open_connections: live.open_connections,
        open_streams: live.open_streams,
    })
}
