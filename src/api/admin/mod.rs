//! The admin port: JSON for administrators, one file a noun.

mod admins;
mod arming;
mod audit;
mod backup;
mod calls;
mod catalogue;
mod change;
mod credentials;
mod explain;
mod impact;
mod keys;
mod lengths;
mod lifecycle;
mod live;
mod openapi;
mod reload;
mod revocations;
mod secrets;
mod session;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};

use super::console::console;
use super::error::ApiError;
use super::frame::{framed, with_fallbacks};
use super::ops::health;
use super::readiness::Readiness;
use super::session::Sessions;
use crate::domain::ClientId;
use crate::metrics::Metrics;
use crate::service::{Context, KeyGuard, Receipt};

pub use explain::explanation;
pub use openapi::openapi;
pub use reload::{ConfigFault, ReloadOrder, Reloaded, Reloads, Unchanged};

/// What handlers work with.
pub(crate) struct AdminState {
    pub(crate) context: Arc<Context>,
    pub(crate) guard: KeyGuard,
    pub(crate) sessions: Sessions,
    metrics: Metrics,
    gather: Arc<dyn Fn() + Send + Sync>,
    reloads: Reloads,
}

pub(crate) type Shared = Arc<AdminState>;

/// Everything that the admin port answers (contract, section 8). `gather` brings
/// gauges up to date and is called before they are read; `reloads` takes wishes for a
/// reload.
pub fn admin_router(
    context: Arc<Context>,
    readiness: Readiness,
    metrics: Metrics,
    gather: Arc<dyn Fn() + Send + Sync>,
    reloads: Reloads,
) -> Router {
    let mut start = [0; 8];
    // Without randomness request ids are only less distinct.
    if let Err(error) = context.entropy.fill(&mut start) {
        tracing::warn!(%error, "request ids begin at zero");
    }
    let shared = Arc::new(AdminState {
        context,
        guard: KeyGuard::default(),
        sessions: Sessions::default(),
        metrics,
        gather,
        reloads,
    });
    let router = Router::new()
        .route("/v1/credentials", post(credentials::mint).get(credentials::list))
        .route("/v1/credentials/{client_id}", get(credentials::show).patch(change::change))
        .route("/v1/credentials/{client_id}/revoke", post(lifecycle::revoke))
        .route("/v1/credentials/{client_id}/suspend", post(lifecycle::suspend))
        .route("/v1/credentials/{client_id}/resume", post(lifecycle::resume))
        .route("/v1/credentials/{client_id}/impact", get(impact::impact))
        .route("/v1/credentials/{client_id}/secrets", post(secrets::add))
        .route("/v1/credentials/{client_id}/secrets/{generation}", delete(secrets::retire))
        .route("/v1/credentials/{client_id}/usage", get(change::usage))
        .route("/v1/credentials/{client_id}/narrow", post(change::narrow))
        .route("/v1/credentials/{client_id}/arm", post(arming::arm))
        .route("/v1/credentials/{client_id}/disarm", post(arming::disarm))
        .route("/v1/revocations", post(revocations::revoke).get(revocations::list))
        .route("/v1/roles", get(catalogue::roles))
        .route("/v1/routes", get(catalogue::routes))
        .route("/v1/me", get(catalogue::me))
        .route("/v1/admins", post(admins::create).get(admins::list))
        .route("/v1/admins/{name}", delete(admins::remove))
        .route("/v1/keys", get(keys::list))
        .route("/v1/keys/rotate", post(keys::rotate))
        .route("/v1/keys/{kid}/revoke", post(keys::revoke))
        .route("/v1/audit", get(audit::list))
        .route("/v1/audit/verify", get(audit::verify))
        .route("/v1/backup", get(backup::back_up))
        .route("/v1/explain", post(explain::explain))
        .route("/v1/session", post(session::sign_in).delete(session::sign_out))
        .route("/v1/reload", post(reload::reload))
        .route("/v1/live", get(live::show))
        .route("/openapi.json", get(openapi::describe))
        .merge(health(readiness))
        .merge(console())
        .with_state(Arc::clone(&shared));
    let router = with_fallbacks(router).layer(from_fn_with_state(shared, calls::gate));
    framed(router, u64::from_be_bytes(start))
}

/// What a revocation ended: a closed set, the label of a metric.
#[derive(Clone, Copy)]
enum Kind {
    Credential,
    Token,
    CutOff,
    Suspension,
    Secret,
    Key,
}

impl AdminState {
    /// Counts a key that is none of ours.
    pub(crate) fn count_wrong_key(&self) {
        self.metrics.admin_auth_failures.inc();
    }

    /// Counts what was revoked now, not what had been before.
    fn count(&self, kind: Kind, receipt: &Receipt) {
        let label = match kind {
            Kind::Credential => "credential",
            Kind::Token => "token",
            Kind::CutOff => "cut_off",
            Kind::Suspension => "suspension",
            Kind::Secret => "secret",
            Kind::Key => "key",
        };
        if !receipt.repeated {
            self.metrics.revocations.with_label_values(&[label]).inc();
        }
    }
}

/// The `{client_id}` of a path. What is no id names nothing: 404.
pub(crate) struct Named(ClientId);

fn no_such_credential() -> ApiError {
    ApiError::not_found("There is no such credential.")
}

impl FromRequestParts<Shared> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, shared).await;
        let id = path.ok().and_then(|Path(text)| ClientId::parse(&text));
        id.map(Named).ok_or_else(no_such_credential)
    }
}
