//! What the configuration offers, and who asks: roles, routes, me.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Shared;
use super::view::{Page, texts};
use crate::api::actor::Viewer;
use crate::api::error::ApiError;
use crate::api::query::{Params, page_of};
use crate::domain::Role;
use crate::policy::{Access, Route};
use crate::service::Actor;

/// A predefined role.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "campaign-operator", "label": "Manage status of every tests",
    "description": "Run, pause, schedule and duplicate tests and personalizations",
    "scopes": ["campaign.duplicate", "campaign.schedule", "campaign.toggle"], "armed": false,
    "rate": "100/s", "concurrency": 50
}))]
pub(super) struct RoleView {
    /// Its id, which credentials keep.
    id: String,
    /// What people call it.
    label: String,
    /// What it is for.
    description: String,
    /// What it grants, sorted.
    scopes: Vec<String>,
    /// Whether it counts only while it is armed for a credential.
    armed: bool,
    /// The limit of each credential with this role; null if it has none.
    #[schema(required = true)]
    rate: Option<String>,
    /// The limit of requests at once; null if it has none.
    #[schema(required = true)]
    concurrency: Option<u32>,
}

/// A route of the data plane.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "name": "campaigns", "host": null, "path": "/v1/accounts/{account}/campaigns",
    "upstream": "legacy", "allow": { "GET": "campaign.list", "POST": "campaign.create" }
}))]
pub(super) struct RouteView {
    /// Its name, a metric label.
    name: String,
    /// The host it answers for; null for any.
    #[schema(required = true)]
    host: Option<String>,
    /// The path template.
    path: String,
    /// Where its requests go.
    upstream: String,
    /// What each method takes, as the configuration says it.
    allow: BTreeMap<String, Value>,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "name": "ada", "role": "admin" }))]
pub(super) struct MeView {
    /// The administrator's name.
    name: String,
    /// `viewer`, `admin` or `super-admin`.
    role: &'static str,
}

impl MeView {
    pub(super) fn of(actor: &Actor) -> Self {
        MeView { name: actor.name().to_owned(), role: actor.role().as_str() }
    }
}

/// Lists the predefined roles, in the order of the configuration.
#[utoipa::path(get, path = "/v1/roles", tag = "catalogue", operation_id = "listRoles",
    params(
        ("limit" = Option<u32>, Query, description = "How many, 1 to 200; 50 if left out"),
        ("cursor" = Option<String>, Query,
            description = "What next_cursor of the page before said")),
    responses((status = 200, description = "A page", body = Page<RoleView>)))]
pub(super) async fn roles(
    State(shared): State<Shared>,
    _: Viewer,
    mut params: Params,
) -> Result<Page<RoleView>, ApiError> {
    let world = shared.context.world.load();
    let view = |role: &Role| RoleView {
        id: role.id.to_string(),
        label: role.label.clone(),
        description: role.description.clone(),
        scopes: texts(&role.scopes),
        armed: role.armed,
        rate: role.rate.map(|rate| rate.to_string()),
        concurrency: role.concurrency,
    };
    let (items, next_cursor) = page_of(world.roles(), b'r', &mut params, view);
    params.finish()?;
    Ok(Page { items, next_cursor })
}

/// Lists the routes, in the order of the configuration.
#[utoipa::path(get, path = "/v1/routes", tag = "catalogue", operation_id = "listRoutes",
    params(
        ("limit" = Option<u32>, Query, description = "How many, 1 to 200; 50 if left out"),
        ("cursor" = Option<String>, Query,
            description = "What next_cursor of the page before said")),
    responses((status = 200, description = "A page", body = Page<RouteView>)))]
pub(super) async fn routes(
    State(shared): State<Shared>,
    _: Viewer,
    mut params: Params,
) -> Result<Page<RouteView>, ApiError> {
    let world = shared.context.world.load();
    let view = |route: &std::sync::Arc<Route>| RouteView {
        name: route.name.to_string(),
        host: route.host.clone(),
        path: route.template.clone(),
        upstream: route.upstream.to_string(),
        allow: route.allow.iter().map(|(m, access)| (m.clone(), as_configured(access))).collect(),
    };
    let (items, next_cursor) = page_of(world.routes().routes(), b'o', &mut params, view);
    params.finish()?;
    Ok(Page { items, next_cursor })
}

/// As the configuration file says it (contract, section 3).
fn as_configured(access: &Access) -> Value {
    match access {
        Access::Public => json!("@public"),
        Access::Authenticated => json!("@authenticated"),
        Access::AnyOf(scopes) => match texts(scopes).as_slice() {
            [one] => json!(one),
            several => json!(several),
        },
        Access::AllOf(scopes) => json!({ "all": texts(scopes) }),
    }
}

/// Says who asks.
#[utoipa::path(get, path = "/v1/me", tag = "catalogue", operation_id = "whoAmI",
    responses((status = 200, description = "You", body = MeView)))]
pub(super) async fn me(viewer: Viewer) -> axum::Json<MeView> {
    axum::Json(MeView::of(viewer.actor()))
}
