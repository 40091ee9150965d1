//! What judging yields. Only a [`Permit`] opens the door to an upstream.

use std::borrow::Cow;
use std::sync::Arc;

use super::access::Access;
use super::reason::Reason;
use super::route::Route;
use super::snapshot::Principal;
use crate::domain::{Limit, RoleId, RouteName, Scope, UnixTime, UpstreamName};

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Decision {
    /// It may pass.
    Allow(Permit),
    /// It may not.
    Deny(Denial),
    /// Its body decides: read it, then ask again with
    /// [`super::Body`] known. Never the answer when it is.
    ReadBody(Arc<Route>),
}

/// The right to forward one request: these bytes, to this upstream, for this
/// principal. It is made by [`super::decide`] and nowhere else.
#[derive(Clone, Debug)]
pub struct Permit {
    pub(super) route: Arc<Route>,
    pub(super) ground: Option<Arc<Ground>>,
    pub(super) target: Arc<str>,
}

impl Permit {
    /// The route it was judged by.
    pub fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// Where it goes.
    pub fn upstream(&self) -> &UpstreamName {
        &self.route.upstream
    }

    /// Whose it is; nobody's on a public route.
    pub fn principal(&self) -> Option<&Principal> {
        self.ground.as_ref().map(|ground| &ground.principal)
    }

    /// What it rests on; nothing on a public route.
    pub fn ground(&self) -> Option<&Arc<Ground>> {
        self.ground.as_ref()
    }

    /// Path and query that were judged, raw: what must be forwarded.
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// What a permit rests on, so that it can be asked later whether it would be
/// given again.
#[derive(Debug)]
pub struct Ground {
    pub(super) route: Arc<Route>,
    pub(super) principal: Principal,
    pub(super) access: Arc<Access>,
    /// What finds its route again in another world.
    pub(super) host: Option<Box<str>>,
    pub(super) method: Cow<'static, str>,
    pub(super) target: Arc<str>,
    pub(super) armed: Vec<(RoleId, UnixTime)>,
}

impl Ground {
    /// Whose it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The name of its route.
    pub fn route_name(&self) -> &RouteName {
        &self.route.name
    }

    /// Those of the principal's scopes that the request asked for: of several
    /// that would do each, for any may be the one that is left tomorrow.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        let asked = self.access.scopes().into_iter().flatten();
        asked.filter(|scope| self.principal.names(scope))
    }

    /// The armed roles without which it would have been denied, each with its end.
    pub fn armed(&self) -> &[(RoleId, UnixTime)] {
        &self.armed
    }
}

/// The refusal of a request.
#[derive(Clone, Debug)]
pub struct Denial {
    /// Why.
    pub reason: Reason,
    /// The route, if it got that far.
    pub route: Option<Arc<Route>>,
    /// Whose it was, if a verified token said so.
    pub principal: Option<Principal>,
    /// The scopes that would have been needed, for the challenge (RFC 6750
    /// section 3); empty where that is not the matter.
    pub needed: Vec<Scope>,
    /// The methods that are listed, for `Allow` (RFC 9110 section 10.2.1).
    pub allowed_methods: Vec<String>,
    /// The limit of the credential that was gone over, if that is why.
    pub over: Option<Limit>,
    /// What exactly was wrong with a malformed request. Safe to show.
    pub detail: Option<String>,
}

impl Denial {
    /// A refusal that needs no more than its reason.
    pub fn new(reason: Reason) -> Self {
        Denial {
            reason,
            route: None,
            principal: None,
            needed: Vec::new(),
            allowed_methods: Vec::new(),
            over: None,
            detail: None,
        }
    }

    /// A refusal of what can be read in two ways, with what was wrong.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Denial { detail: Some(detail.into()), ..Denial::new(Reason::MalformedRequest) }
    }

    pub(super) fn on(mut self, route: &Arc<Route>) -> Self {
        self.route = Some(Arc::clone(route));
        self
    }

    pub(super) fn of(mut self, principal: &Principal) -> Self {
        self.principal = Some(principal.clone());
        self
    }

    pub(super) fn needing(mut self, needed: impl IntoIterator<Item = Scope>) -> Self {
        self.needed = needed.into_iter().collect();
        self
    }
}
