//! Taking the configuration on again. The port only passes the wish on: whoever
//! holds the file and the running gateway does it, one wish after the other.

use std::sync::Arc;

use axum::extract::State;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use utoipa::ToSchema;

use super::Shared;
use crate::api::actor::SuperAdmin;
use crate::api::body::NoFields;
use crate::api::error::{ApiError, Located};
use crate::service::Actor;

/// Wishes that may wait; each takes a moment.
const WAITING: usize = 8;

/// Somebody wants the configuration read again.
pub struct ReloadOrder {
    /// Who, for the trail.
    pub by: Actor,
    /// Told what came of it.
    pub reply: oneshot::Sender<Result<Reloaded, Unchanged>>,
}

/// A configuration that was taken on.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// How many configurations this process has had; the one it began with is 1.
    pub generation: u64,
    /// What is different: `route "x" added`.
    pub changed: Vec<String>,
    /// What is allowed and likely not meant.
    pub warnings: Vec<ConfigFault>,
    /// How many requests and streams lost the right that they ran on.
    pub streams_closed: usize,
}

/// A configuration that was refused: all stays as it was.
#[derive(Clone, Debug)]
pub struct Unchanged(pub Vec<ConfigFault>);

/// Something about one key of the file.
#[derive(Clone, Debug)]
pub struct ConfigFault {
    /// The key; empty if it is about the file as a whole.
    pub key: String,
    /// Its line, counted from 1.
    pub line: Option<usize>,
    /// What is the matter, and what to do.
    pub message: String,
}

/// The way from the admin port to whoever reloads; nobody does until
/// [`Reloads::listen`].
#[derive(Clone, Default)]
pub struct Reloads(Arc<Mutex<Option<mpsc::Sender<ReloadOrder>>>>);

impl Reloads {
    /// From now on wishes come here.
    pub fn listen(&self) -> mpsc::Receiver<ReloadOrder> {
        let (sender, receiver) = mpsc::channel(WAITING);
        *self.0.lock() = Some(sender);
        receiver
    }

    async fn order(&self, by: Actor) -> Result<Result<Reloaded, Unchanged>, ApiError> {
        let sender = self.0.lock().clone();
        let text = "This gateway was not started from a file; there is nothing to read again.";
        let sender = sender.ok_or_else(|| ApiError::conflict(text))?;
        let (reply, told) = oneshot::channel();
        sender.try_send(ReloadOrder { by, reply }).map_err(|_| ApiError::busy())?;
        // Without an answer the gateway is ending.
        told.await.map_err(|_| ApiError::busy())
    }
}

/// What a reload changed.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "generation": 2, "changed": ["route \"campaigns\" changed"], "warnings": [],
    "streams_closed": 0
}))]
pub(super) struct ReloadView {
    /// How many configurations this process has had; the one it began with is 1.
    generation: u64,
    /// What is different, by name; secrets are not compared.
    changed: Vec<String>,
    /// What is allowed and likely not meant.
    warnings: Vec<WarningView>,
    /// How many requests and open streams lost the right that they ran on.
    streams_closed: usize,
}

/// Something that is allowed and likely not meant.
#[derive(Serialize, ToSchema)]
pub(super) struct WarningView {
    /// The key of the file.
    key: String,
    /// Its line, counted from 1.
    #[schema(required = true)]
    line: Option<usize>,
    /// What it is.
    message: String,
}

/// Reads the configuration again and takes it on, all of it or nothing: as
/// SIGHUP does.
///
/// With 422 all stays as it was, and `fields` has every fault with its key and
/// line; a key that can't change without a restart is one.
#[utoipa::path(post, path = "/v1/reload", tag = "configuration", operation_id = "reload",
    responses(
        (status = 200, description = "Taken on", body = ReloadView),
        (status = 409, description = "The gateway was not started from a file")))]
pub(super) async fn reload(
    State(shared): State<Shared>,
    admin: SuperAdmin,
    _: NoFields,
) -> Result<axum::Json<ReloadView>, ApiError> {
    let outcome = shared.reloads.order(admin.actor().clone()).await?;
    let reloaded = outcome.map_err(|Unchanged(faults)| {
        let located = faults.into_iter().map(|fault| Located {
            field: fault.key,
            line: fault.line,
            message: fault.message,
        });
        ApiError::configuration(located.collect())
    })?;
    let warning = |ConfigFault { key, line, message }| WarningView { key, line, message };
    Ok(axum::Json(ReloadView {
        generation: reloaded.generation,
        changed: reloaded.changed,
        warnings: reloaded.warnings.into_iter().map(warning).collect(),
        streams_closed: reloaded.streams_closed,
    }))
}
