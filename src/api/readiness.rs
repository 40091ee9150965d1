//! Whether this gateway should be sent requests.

use std::sync::Arc;

use axum::Json;
use axum::http::StatusCode;
use parking_lot::RwLock;
use serde::Serialize;
use utoipa::ToSchema;

use crate::store::Store;

/// A handle that whoever starts and ends things turns. It begins not ready.
#[derive(Clone)]
pub struct Readiness {
    store: Arc<dyn Store>,
    reason: Arc<RwLock<Option<String>>>,
    doubt: Arc<dyn Fn() -> Option<String> + Send + Sync>,
}

/// The answer of `/readyz`.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "status": "ready", "reasons": [], "revision": 42 }))]
pub(crate) struct ReadyBody {
    /// `ready` or `not_ready`.
    status: &'static str,
    /// Why not.
    reasons: Vec<String>,
    /// The newest revision of the store.
    revision: u64,
}

impl Readiness {
    /// Not ready, because it is starting.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Readiness {
            store,
            reason: Arc::new(RwLock::new(Some("starting".into()))),
            doubt: Arc::new(|| None),
        }
    }

    /// With something else that may speak against it; asked each time.
    #[must_use]
    pub fn doubted(self, doubt: impl Fn() -> Option<String> + Send + Sync + 'static) -> Self {
        Readiness { doubt: Arc::new(doubt), ..self }
    }

    /// Everything is loaded and listens.
    pub fn ready(&self) {
        *self.reason.write() = None;
    }

    /// Takes the gateway out of rotation, for example because it is draining.
    pub fn not_ready(&self, reason: impl Into<String>) {
        *self.reason.write() = Some(reason.into());
    }

    /// Why the gateway is not ready; nothing if it is.
    pub fn reasons(&self) -> Vec<String> {
        let refusing = self.store.status().refusing;
        let store = refusing.map(|why| format!("the store takes no changes: {why}"));
        self.reason.read().clone().into_iter().chain(store).chain((self.doubt)()).collect()
    }

    pub(super) fn answer(&self) -> (StatusCode, Json<ReadyBody>) {
        let reasons = self.reasons();
        let (code, status) = if reasons.is_empty() {
            (StatusCode::OK, "ready")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not_ready")
        };
        let revision = self.store.status().head;
        (code, Json(ReadyBody { status, reasons, revision }))
    }
}
