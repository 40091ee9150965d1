//! One page: the order in which a request is judged.

use std::borrow::Cow;
use std::sync::Arc;

use super::access::{Access, Needs};
use super::decision::{Decision, Denial, Ground, Permit};
use super::explain::{NoTrace, Trace};
use super::path::{SegmentList, Target};
use super::reason::Reason;
use super::request::{Body, QueryValue, RequestFacts, query_value};
use super::route::{Binding, MethodRule, Route};
use super::snapshot::{Principal, Snapshot};
use super::table::Lookup;
use crate::domain::{RoleId, Scope, UnixTime};
use crate::revocation::RevocationSet;
use crate::token::{Authorization, VerifiedToken};

/// Judges one request. Total, synchronous, deterministic: same inputs, same answer.
pub fn decide(
    world: &Snapshot,
    revoked: &RevocationSet,
    request: &RequestFacts<'_>,
    now: UnixTime,
) -> Decision {
    judge(world, revoked, request, now, &mut NoTrace)
}

pub(super) fn judge(
    world: &Snapshot,
    revoked: &RevocationSet,
    request: &RequestFacts<'_>,
    now: UnixTime,
    trace: &mut impl Trace,
) -> Decision {
    match try_judge(world, revoked, request, now, trace) {
        Ok(Verdict::Permit(permit)) => Decision::Allow(permit),
        Ok(Verdict::ReadBody(route)) => Decision::ReadBody(route),
        Err(denial) => Decision::Deny(denial),
    }
}

enum Verdict {
    Permit(Permit),
    ReadBody(Arc<Route>),
}

fn try_judge(
    world: &Snapshot,
    revoked: &RevocationSet,
    request: &RequestFacts<'_>,
    now: UnixTime,
    trace: &mut impl Trace,
) -> Result<Verdict, Denial> {
    // Cut into pieces once: to find the route, and to read what it binds.
    let segments = request.target.path().segments().collect::<SegmentList<'_>>();
    let (route, rule) = find_route(world, request, &segments)?;
    trace.step("route", || format!("{} ({})", route.name, route.template));
    let bound =
        Bound::read(route, &request.target, &segments).map_err(|denial| denial.on(route))?;
    let public = || {
        let target = request.target.as_str().into();
        Verdict::Permit(Permit { route: Arc::clone(route), ground: None, target })
    };
    trace.step("method", || format!("{} takes {}", request.method, words(&rule.access)));
    if *rule.access == Access::Public {
        return Ok(public());
    }
    let principal = authenticate(world, revoked, request, now, trace).map_err(|d| d.on(route))?;
    let deny = |denial: Denial| denial.on(route).of(&principal);
    let Some((access, needs)) = needs(rule, request.body).map_err(deny)? else {
        trace.step("body", || "decides; it must be read first".to_owned());
        return Ok(Verdict::ReadBody(Arc::clone(route)));
    };
    let armed = authorize(access, needs, &principal, now).map_err(deny)?;
    trace.step("scope", || format!("{} is held", words(access)));
    bound.check(route, access, &principal).map_err(deny)?;
    trace.step("account and environment", || "match".to_owned());
    let target: Arc<str> = request.target.as_str().into();
    let ground = Ground {
        route: Arc::clone(route),
        principal,
        access: Arc::clone(access),
        host: request.host.map(Into::into),
        method: word(request.method),
        target: Arc::clone(&target),
        armed,
    };
    let route = Arc::clone(route);
    Ok(Verdict::Permit(Permit { route, ground: Some(Arc::new(ground)), target }))
}

/// A method to keep: nearly all requests have one of these.
fn word(method: &str) -> Cow<'static, str> {
    const USUAL: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"];
    let usual = USUAL.into_iter().find(|usual| *usual == method);
    usual.map_or_else(|| method.to_owned().into(), Cow::Borrowed)
}

fn find_route<'w>(
    world: &'w Snapshot,
    request: &RequestFacts<'_>,
    segments: &[&str],
) -> Result<(&'w Arc<Route>, &'w MethodRule), Denial> {
    match world.table.lookup(request.host, segments, request.method) {
        Lookup::Found(route, rule) => Ok((route, rule)),
        Lookup::Nothing => Err(Denial::new(Reason::NoRoute)),
        Lookup::Ambiguous => Err(Denial::malformed(
            "the path could be read as that of another route; write it without ';', needless escapes and a last '/'",
        )),
        Lookup::WrongMethod(routes) => {
            let mut denial = Denial::new(Reason::MethodNotAllowed);
            let listed = routes.iter().flat_map(|route| route.allow.keys());
            denial.allowed_methods = listed.cloned().collect();
            if denial.allowed_methods.iter().any(|method| method == "GET") {
                denial.allowed_methods.push("HEAD".to_owned());
            }
            denial.allowed_methods.sort();
            Err(match routes.first() {
                Some(route) => denial.on(route),
                None => denial,
            })
        }
    }
}

/// A verified token that counts: from the cache or by its signature, and in
/// either case asked of the revocations.
fn authenticate(
    world: &Snapshot,
    revoked: &RevocationSet,
    request: &RequestFacts<'_>,
    now: UnixTime,
    trace: &mut impl Trace,
) -> Result<Principal, Denial> {
    let text = match request.authorization {
        Authorization::Missing => return Err(Denial::new(Reason::TokenMissing)),
        Authorization::Malformed => return Err(Denial::new(Reason::TokenMalformed)),
        Authorization::Bearer(text) => text,
    };
    let told = |t: &VerifiedToken| format!("{} of client {}", t.jti(), t.client_id());
    // Only tokens of the right shape are ever in there, and it is the whole text that
    // finds one.
    let known = match world.cache.find_or_count_later(text.as_bytes()) {
        Some(principal) => {
            let live = principal.token().live_at(now, world.expect.clock_skew);
            live.map_err(|error| Denial::new(error.into()).of(&principal))?;
            principal
        }
        None => {
            let Some(token) = text.parse() else {
                return Err(Denial::new(Reason::TokenMalformed));
            };
            world.cache.missed();
            let verified = world.verify(token, now).map_err(|error| Denial::new(error.into()))?;
            // Remembered before it is known to count: whoever knocks with what was
            // revoked should not cost a signature each time.
            match revoked.standing(verified.client_id()) {
                Some(standing) => world.remember(text.as_bytes(), verified, &standing),
                None => {
                    trace.step("token", || told(&verified));
                    return Err(Denial::new(Reason::Revoked));
                }
            }
        }
    };
    trace.step("token", || told(known.token()));
    let standing = revoked.check(known.token(), now);
    let standing = standing.map_err(|refusal| Denial::new(refusal.into()).of(&known))?;
    trace.step("revocation", || "neither the token nor its credential is revoked".to_owned());
    if known.is_of(&standing) {
        return Ok(known);
    }
    Ok(world.remember(text.as_bytes(), known.token().clone(), &standing))
}

/// What this request takes; `None` if its body must be read to tell.
fn needs<'r>(
    rule: &'r MethodRule,
    body: Body<'_>,
) -> Result<Option<(&'r Arc<Access>, &'r Needs)>, Denial> {
    let otherwise = (&rule.access, &rule.needs);
    if rule.body_rules.is_empty() {
        return Ok(Some(otherwise));
    }
    match body {
        Body::Unread => Ok(None),
        Body::Absent | Body::TooLong => Ok(Some(otherwise)),
        Body::Ambiguous => Err(Denial::malformed(
            "the body decides what this request takes, and it is not one JSON object in UTF-8 with unique keys",
        )),
        Body::Keys(keys) => {
            let fits = rule.body_rules.iter().find(|r| !keys.is_empty() && keys.is_subset(&r.keys));
            Ok(Some(fits.map_or(otherwise, |r| (&r.allow.0, &r.allow.1))))
        }
    }
}

/// Gives the armed roles that it takes, each with its end; mostly none.
fn authorize(
    access: &Access,
    needs: &Needs,
    principal: &Principal,
    now: UnixTime,
) -> Result<Vec<(RoleId, UnixTime)>, Denial> {
    if needs.met_by(principal.held()) {
        return Ok(Vec::new());
    }
    let awake = principal.awake(now);
    if needs.met_by(&awake.fold(principal.held().clone(), |held, role| held.or(&role.bits))) {
        let used = principal.awake(now).filter(|role| needs.names_any(&role.bits));
        return Ok(used.map(|role| (role.role.clone(), role.until)).collect());
    }
    let dormant = needs.met_by(&principal.held_or_dormant());
    let reason = if dormant { Reason::NotArmed } else { Reason::InsufficientScope };
    Err(Denial::new(reason).needing(access.scopes().into_iter().flatten().cloned()))
}

/// The account and the environment that a request names.
pub(super) struct Bound<'a> {
    pub(super) account: Option<Cow<'a, str>>,
    pub(super) environment: Option<Cow<'a, str>>,
}

impl<'a> Bound<'a> {
    /// `segments` are those of the target's path.
    pub(super) fn read(
        route: &Route,
        target: &Target<'a>,
        segments: &[&'a str],
    ) -> Result<Self, Denial> {
        let read = |binding: &Binding| match binding {
            Binding::Segment(place) => {
                // The route was found by this path, so the segment is there.
                Ok(Some(Cow::Borrowed(segments.get(*place).copied().unwrap_or_default())))
            }
            Binding::Query(name) => match query_value(target.query(), name) {
                QueryValue::Once(value) => Ok(Some(Cow::Owned(value))),
                QueryValue::NotOnce => Err(Denial::malformed(format!(
                    "the query parameter {name:?} must stand exactly once"
                ))),
            },
            Binding::Any | Binding::Everywhere => Ok(None),
        };
        Ok(Bound { account: read(&route.account)?, environment: read(&route.environment)? })
    }

    fn check(&self, route: &Route, access: &Access, principal: &Principal) -> Result<(), Denial> {
        let scopes = || access.scopes().into_iter().flatten().cloned();
        let account_fits = match &self.account {
            Some(account) => account == principal.token().account().as_str(),
            None => route.account == Binding::Any || !access.is_scoped(),
        };
        if !account_fits {
            return Err(Denial::new(Reason::WrongAccount).needing(scopes()));
        }
        let environment_fits = match &self.environment {
            Some(environment) => principal.may_enter(environment),
            None => {
                route.environment == Binding::Any
                    || !access.is_scoped()
                    || principal.may_enter_all()
            }
        };
        if !environment_fits {
            return Err(Denial::new(Reason::WrongEnvironment).needing(scopes()));
        }
        Ok(())
    }
}

fn words(access: &Access) -> String {
    let join = |scopes: &std::collections::BTreeSet<Scope>, with: &str| {
        scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(with)
    };
    match access {
        Access::Public => "nothing (public)".to_owned(),
        Access::Authenticated => "any live token".to_owned(),
        Access::AnyOf(scopes) => join(scopes, " or "),
        Access::AllOf(scopes) => join(scopes, " and "),
    }
}
