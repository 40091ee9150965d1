//! What the tests of this room share: a small world, a request, one `check`.
//!
//! Tokens are real and signed; only the clock stands still.

mod forwarding;

mod agreement;
mod bodies;
mod credentials;
mod oracle;
mod paths;
mod queries;
mod rights;
mod routes;
mod scenes;
mod tokens;
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use self::world::*;
use super::*;
use crate::domain::{ClientId, Environments, UnixTime};
use crate::revocation::StandingState;
use crate::token::Authorization;

/// One request, owned. `authorization` holds the values of all such fields.
#[derive(Clone, Debug)]
struct Ask {
    method: &'static str,
    host: Option<String>,
    target: String,
    authorization: Vec<String>,
    body: Held,
}

/// [`Body`], owned.
#[derive(Clone, Debug)]
enum Held {
    Unread,
    Absent,
    TooLong,
    Ambiguous,
    Keys(BTreeSet<String>),
}

impl Ask {
    fn new(method: &'static str, target: &str) -> Self {
        Ask {
            method,
            host: Some("api.example.com".into()),
            target: target.into(),
            authorization: Vec::new(),
            body: Held::Unread,
        }
    }

    fn with(mut self, token: &str) -> Self {
        self.authorization.push(format!("Bearer {token}"));
        self
    }

    fn host(mut self, host: &str) -> Self {
        self.host = Some(host.into());
        self
    }

    fn body(mut self, body: Held) -> Self {
        self.body = body;
        self
    }

    /// As the edge does it: what is no target is denied before.
    fn facts(&self) -> Result<RequestFacts<'_>, PathFault> {
        let host = self.host.as_deref();
        Ok(RequestFacts {
            method: self.method,
            host,
            target: Target::parse(self.target.as_bytes(), host)?,
            authorization: Authorization::from_values(
                self.authorization.iter().map(String::as_bytes),
            ),
            body: match &self.body {
                Held::Unread => Body::Unread,
                Held::Absent => Body::Absent,
                Held::TooLong => Body::TooLong,
                Held::Ambiguous => Body::Ambiguous,
                Held::Keys(keys) => Body::Keys(keys),
            },
        })
    }
}

fn keys(words: &[&str]) -> Held {
    Held::Keys(words.iter().map(|word| (*word).to_owned()).collect())
}

/// A decision in three words: `allow campaigns acme`, `deny revoked me`, `read campaign`.
fn tell(decision: &Decision) -> String {
    match decision {
        Decision::Allow(permit) => {
            let who = permit.principal().map_or("nobody", |p| p.token().account().as_str());
            format!("allow {} {who}", permit.route().name)
        }
        Decision::Deny(denial) => {
            let route = denial.route.as_ref().map_or("-", |route| route.name.as_str());
            format!("deny {} {route}", denial.reason)
        }
        Decision::ReadBody(route) => format!("read {}", route.name),
    }
}

/// Judges, with what must hold of every decision: asking again, when the token
/// may come from the cache, and asking for the steps give the same answer.
fn judge(world: &World, ask: &Ask) -> Decision {
    let Ok(facts) = ask.facts() else {
        return Decision::Deny(Denial::new(Reason::MalformedRequest));
    };
    let first = decide(&world.snapshot, &world.revoked, &facts, world.now);
    let again = decide(&world.snapshot, &world.revoked, &facts, world.now);
    let (steps, explained) = explain(&world.snapshot, &world.revoked, &facts, world.now);
    assert_eq!(tell(&first), tell(&again), "asked twice: {ask:?}");
    assert_eq!(tell(&first), tell(&explained), "explained: {ask:?}");
    assert!(steps.iter().all(|step| !step.text.is_empty()), "{steps:?}");
    match &first {
        Decision::Allow(permit) => {
            assert_eq!(permit.target(), facts.target.as_str());
            assert_eq!(permit.upstream(), &permit.route().upstream);
        }
        Decision::Deny(denial) => {
            let reason = denial.reason;
            assert_eq!(
                reason == Reason::MethodNotAllowed,
                !denial.allowed_methods.is_empty(),
                "{ask:?}"
            );
            assert_eq!(reason == Reason::MalformedRequest, denial.detail.is_some(), "{ask:?}");
            assert!(denial.needed.is_empty() || reason.status() == 403, "{ask:?}");
            assert!(reason.status() != 403 || denial.principal.is_some(), "{ask:?}");
        }
        Decision::ReadBody(_) => assert!(matches!(ask.body, Held::Unread), "{ask:?}"),
    }
    first
}

/// The one helper: this request gets this answer.
#[track_caller]
fn check(world: &World, ask: &Ask, expected: &str) {
    let decision = judge(world, ask);
    assert_eq!(tell(&decision), expected, "{} {} {:?}", ask.method, ask.target, ask.body);
}
