//! What hangs on a credential: to be seen before it is revoked.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Named, Shared, no_such_credential};
use crate::api::actor::Viewer;
use crate::api::error::ApiError;

/// What would stop if the credential did.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "routes": [{ "route": "campaigns", "requests_last_hour": 1200 }],
    "last_used_at": "2026-11-22T03:00:00Z", "live_tokens": 3, "open_streams": 1
}))]
pub(super) struct ImpactView {
    /// Routes it was let through to within the last hour, the busiest first.
    routes: Vec<RouteRate>,
    /// Its last use; null if it was never used.
    #[schema(required = true)]
    last_used_at: Option<String>,
    /// Tokens that live secrets of it minted since the gateway started and that
    /// have not run out, to five minutes. Tokens revoked one by one are counted too.
    live_tokens: usize,
    /// Requests and streams under way.
    open_streams: usize,
}

/// How much went to one route.
#[derive(Serialize, ToSchema)]
pub(super) struct RouteRate {
    /// The route's name.
    route: String,
    /// Permitted requests, since the gateway started if that is less than an hour ago.
    requests_last_hour: u64,
}

/// Shows what hangs on a credential.
#[utoipa::path(get, path = "/v1/credentials/{client_id}/impact", tag = "credentials", operation_id = "credentialImpact",
    params(("client_id" = String, Path, description = "Its id, a UUID")),
    responses((status = 200, description = "What would stop", body = ImpactView)))]
pub(super) async fn impact(
    State(shared): State<Shared>,
    _: Viewer,
    Named(client): Named,
) -> Result<axum::Json<ImpactView>, ApiError> {
    let (memory, now) = (&shared.context.memory, shared.context.now());
    let standing = memory.revoked.standing(client).ok_or_else(no_such_credential)?;
    let rates = memory.activity.last_hour(client, now).into_iter();
    let alive = |generation| standing.admits(generation, now).is_ok();
    Ok(axum::Json(ImpactView {
        routes: rates
            .map(|(route, requests)| RouteRate {
                route: route.to_string(),
                requests_last_hour: requests,
            })
            .collect(),
        last_used_at: memory.activity.last_used_at_all(client).map(|at| at.to_string()),
        live_tokens: memory.activity.live_tokens(client, now, alive),
        open_streams: memory.streams.count_of(client),
    }))
}
