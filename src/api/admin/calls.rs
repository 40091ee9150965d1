//! Who may call what. The router enforces this list before anything else looks at
//! a call, and the description tells it: a call that is not in it takes a
//! viewer's key and leads nowhere that takes more.

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Shared;
use crate::api::actor::authenticate;
use crate::api::console::is_file;
use crate::domain::AdminRole;

/// The least role that a call takes; `None` for all the world.
type Needed = Option<AdminRole>;

const VIEWER: Needed = Some(AdminRole::Viewer);
const ADMIN: Needed = Some(AdminRole::Admin);
const SUPER_ADMIN: Needed = Some(AdminRole::SuperAdmin);

/// Every call that is described.
pub(super) const CALLS: &[(&str, &str, Needed)] = &[
    ("POST", "/v1/credentials", ADMIN),
    ("GET", "/v1/credentials", VIEWER),
    ("GET", "/v1/credentials/{client_id}", VIEWER),
    ("PATCH", "/v1/credentials/{client_id}", ADMIN),
    ("POST", "/v1/credentials/{client_id}/revoke", ADMIN),
    ("POST", "/v1/credentials/{client_id}/suspend", ADMIN),
    ("POST", "/v1/credentials/{client_id}/resume", ADMIN),
    ("GET", "/v1/credentials/{client_id}/impact", VIEWER),
    ("POST", "/v1/credentials/{client_id}/secrets", ADMIN),
    ("DELETE", "/v1/credentials/{client_id}/secrets/{generation}", ADMIN),
    ("GET", "/v1/credentials/{client_id}/usage", VIEWER),
    ("POST", "/v1/credentials/{client_id}/narrow", ADMIN),
    ("POST", "/v1/credentials/{client_id}/arm", ADMIN),
    ("POST", "/v1/credentials/{client_id}/disarm", ADMIN),
    ("POST", "/v1/revocations", ADMIN),
    ("GET", "/v1/revocations", VIEWER),
    ("GET", "/v1/roles", VIEWER),
    ("GET", "/v1/routes", VIEWER),
    ("GET", "/v1/me", VIEWER),
    ("POST", "/v1/admins", SUPER_ADMIN),
    ("GET", "/v1/admins", VIEWER),
    ("DELETE", "/v1/admins/{name}", SUPER_ADMIN),
    ("GET", "/v1/keys", VIEWER),
    ("POST", "/v1/keys/rotate", SUPER_ADMIN),
    ("POST", "/v1/keys/{kid}/revoke", SUPER_ADMIN),
    ("GET", "/v1/audit", VIEWER),
    ("GET", "/v1/audit/verify", VIEWER),
    ("GET", "/v1/backup", SUPER_ADMIN),
    ("POST", "/v1/explain", VIEWER),
    ("POST", "/v1/reload", SUPER_ADMIN),
    ("POST", "/v1/session", None),
    ("DELETE", "/v1/session", VIEWER),
    ("GET", "/v1/live", VIEWER),
    ("GET", "/healthz", None),
    ("GET", "/readyz", None),
    ("GET", "/openapi.json", None),
];

/// What a call takes; `None` if it is not in the list.
pub(super) fn needed(method: &str, path: &str) -> Option<Needed> {
    let found = CALLS.iter().find(|(m, p, _)| *m == method && *p == path);
    found.map(|(_, _, needed)| *needed)
}

/// Whether all the world may know the whole of a path.
fn is_open(path: &str) -> bool {
    let mut here = CALLS.iter().filter(|(_, p, _)| *p == path).peekable();
    here.peek().is_some() && here.all(|(_, _, needed)| needed.is_none())
}

/// Lets a call through to its handler with the proof of who makes it. What is
/// served here, and by which method, is for those with a key.
pub(super) async fn gate(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.extensions.get::<MatchedPath>().map(MatchedPath::as_str);
    let open = match path {
        None => false,
        // The methods that such a path does not have are no secret either.
        Some(path) => is_file(path) || is_open(path),
    };
    // HEAD is answered by what answers GET.
    let method = if parts.method == Method::HEAD { "GET" } else { parts.method.as_str() };
    let needed = path.and_then(|path| needed(method, path)).unwrap_or(VIEWER);
    if let (Some(needed), false) = (needed, open) {
        match authenticate(&parts, &shared, needed) {
            Ok(actor) => parts.extensions.insert(actor),
            Err(error) => return error.into_response(),
        };
    }
    next.run(Request::from_parts(parts, body)).await
}
