//! The proof of who calls. The gate of the admin port finds out; a handler takes
//! the proof as an argument, so one that forgets to ask for it does not have it:
//! what it hands to a use case.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header;
use axum::http::request::Parts;

use super::admin::Shared;
use super::error::ApiError;
use super::session::{cookie, may_change};
use crate::domain::{AdminRole, Administrator};
use crate::service::{Actor, authenticate_admin};

macro_rules! proof {
    ($(#[$doc:meta])* $type:ident, $role:expr) => {
        $(#[$doc])*
        pub(crate) struct $type(Actor);

        impl $type {
            pub(crate) fn actor(&self) -> &Actor {
                &self.0
            }
        }

        impl FromRequestParts<Shared> for $type {
            type Rejection = ApiError;

            async fn from_request_parts(
                parts: &mut Parts,
                _: &Shared,
            ) -> Result<Self, ApiError> {
                // The gate put it there; without one nobody calls.
                let actor = parts.extensions.get::<Actor>();
                let actor = actor.ok_or_else(|| ApiError::unauthorized(false))?;
                enough(actor.role(), $role)?;
                Ok($type(actor.clone()))
            }
        }
    };
}

proof! {
    /// Somebody who may read.
    Viewer, AdminRole::Viewer
}
proof! {
    /// Somebody who may mint and revoke.
    Admin, AdminRole::Admin
}
proof! {
    /// Somebody who may manage administrators and keys.
    SuperAdmin, AdminRole::SuperAdmin
}

/// From where the call came. The listener always says; a router without one, as
/// in a test, does not.
pub(crate) fn source(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip())
}

/// The administrator of a key that came from `source`. Wrong keys are counted,
/// and slow their source down.
pub(crate) fn know(
    shared: &Shared,
    source: Option<IpAddr>,
    key: Option<&str>,
) -> Result<Arc<Administrator>, ApiError> {
    key.and_then(|key| authenticate_admin(&shared.context, key)).ok_or_else(|| {
        let now = shared.context.now();
        if let Some(wait) = source.and_then(|source| shared.guard.wrong(source, now).err()) {
            return ApiError::slowed(wait);
        }
        shared.count_wrong_key();
        ApiError::unauthorized(true)
    })
}

fn enough(role: AdminRole, needed: AdminRole) -> Result<(), ApiError> {
    if role < needed { Err(ApiError::forbidden(needed.as_str())) } else { Ok(()) }
}

/// Who calls, if that is somebody with at least this role.
pub(crate) fn authenticate(
    parts: &Parts,
    shared: &Shared,
    needed: AdminRole,
) -> Result<Actor, ApiError> {
    let admin = match by_key(parts, shared) {
        Some(admin) => admin?,
        None => by_session(parts, shared)?,
    };
    enough(admin.role, needed)?;
    let actor = Actor::administrator(&admin);
    Ok(match source(parts) {
        Some(address) => actor.calling_from(address),
        None => actor,
    })
}

/// From where a call came, for handlers.
pub(crate) struct Source(pub(crate) Option<IpAddr>);

impl<S: Send + Sync> FromRequestParts<S> for Source {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Source(source(parts)))
    }
}

/// By the Authorization field; nothing if there is none.
fn by_key(parts: &Parts, shared: &Shared) -> Option<Result<Arc<Administrator>, ApiError>> {
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next()?;
    let key = value.to_str().ok().and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let key = key.filter(|_| values.next().is_none());
    Some(know(shared, source(parts), key))
}

/// By the console's cookie, which a browser sends on its own account: a change
/// must also come from a page of ours.
fn by_session(parts: &Parts, shared: &Shared) -> Result<Arc<Administrator>, ApiError> {
    let value = cookie(&parts.headers).ok_or_else(|| ApiError::unauthorized(false))?;
    if !may_change(&parts.method, &parts.headers, &parts.uri) {
        return Err(ApiError::foreign_origin());
    }
    let admin = shared.sessions.find(&shared.context, value);
    admin.ok_or_else(ApiError::session_over)
}
