//! Everything in one file, as of one revision, while all goes on.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use tokio::sync::mpsc;

use super::Shared;
use crate::api::actor::SuperAdmin;
use crate::api::error::ApiError;
use crate::api::query::Params;
use crate::service::begin_backup;
use crate::store::backup;

/// Pieces that wait for a slow reader.
const WAITING: usize = 8;
/// A reader that takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Streams a backup: everything as of one revision, consistent and with a checksum at
/// its end. Without that end it is none. Signing keys and secrets in it are sealed as
/// they are at rest: restoring it takes the key file too, which is not in it.
#[utoipa::path(get, path = "/v1/backup", tag = "backup", operation_id = "backup",
    responses(
        (status = 200, description = "The backup, to be kept where nobody else reads it",
            body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 503, description = "The store can't be read right now, or another backup is \
            being made")))]
pub(super) async fn back_up(
    State(shared): State<Shared>,
    admin: SuperAdmin,
    params: Params,
) -> Result<Response, ApiError> {
    params.finish()?;
    let store = Arc::clone(&shared.context.store);
    let now = shared.context.now();
    let header = begin_backup(store.as_ref(), admin.actor(), now).await?;
    let (sender, mut receiver) = mpsc::channel::<std::io::Result<Bytes>>(WAITING);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let send = |piece| {
            let sent = runtime.block_on(tokio::time::timeout(PATIENCE, sender.send(piece)));
            matches!(sent, Ok(Ok(())))
        };
        if let Err(error) = backup::write(store.as_ref(), &header, |piece| send(Ok(piece.into()))) {
            tracing::warn!(%error, "a backup ended before its time");
            send(Err(std::io::Error::other(error.to_string())));
        }
    });
    // What fails at once is said as an error and not as a file that is cut short.
    let first = match receiver.recv().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return Err(ApiError::unreadable(error)),
        None => return Err(ApiError::internal("a backup ended without a word")),
    };
    let rest = futures::stream::unfold((Some(first), receiver), |(first, mut receiver)| async {
        let piece = match first {
            Some(first) => Some(Ok(first)),
            None => receiver.recv().await,
        };
        piece.map(|piece| (piece, (None, receiver)))
    });
    let name = format!("attachment; filename=\"portcullis-{}.backup\"", now.as_secs());
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, name),
    ];
    Ok((headers, Body::from_stream(rest)).into_response())
}
