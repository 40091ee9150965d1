//! Random routes, credentials, tokens and requests that often fit each other.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::oracle::TokenStory;
use super::*;
use crate::domain::{Grant, Role};
use crate::revocation::Standing;

const SCOPES: [&str; 5] = ["s.0", "s.1", "s.2", "s.3", "s.4"];
const STAGES: [&str; 2] = ["prod", "test"];

/// What was committed.
#[derive(Clone, Debug)]
pub(super) struct Past {
    pub(super) standing: Option<Standing>,
    pub(super) jti_revoked: bool,
    pub(super) client_cut: Option<UnixTime>,
    pub(super) account_cut: Option<UnixTime>,
}

pub(super) fn scene_roles() -> Vec<Role> {
    vec![
        role("plain", false, &["s.0", "s.1"]),
        role("more", false, &["s.2"]),
        role("armed", true, &["s.1", "s.3"]),
    ]
}

fn takes() -> impl Strategy<Value = Access> {
    prop_oneof![
        5 => select(&SCOPES[..]).prop_map(access),
        2 => subsequence(&SCOPES[..], 2..4).prop_map(|some| Access::AnyOf(scopes(some))),
        2 => subsequence(&SCOPES[..], 2..4).prop_map(|some| Access::AllOf(scopes(some))),
        1 => Just(Access::Authenticated),
        1 => Just(Access::Public),
    ]
}

/// Placeholders of one template have different names.
fn template() -> impl Strategy<Value = String> {
    let piece = select(vec!["a", "a", "b", "c", "{x}", "{x}", "{account}", "{environment}"]);
    let end = prop_oneof![5 => Just(""), 1 => Just("/{*rest}"), 1 => Just("/")];
    (prop::collection::vec(piece, 1..4), end).prop_map(|(pieces, end)| {
        let mut path = String::new();
        for (place, piece) in pieces.into_iter().enumerate() {
            match piece {
                "{x}" => path += &format!("/{{x{place}}}"),
                bound if path.contains(bound) && bound.starts_with('{') => path += "/c",
                piece => path += &format!("/{piece}"),
            }
        }
        path + end
    })
}

fn route() -> impl Strategy<Value = RouteSpec> {
    let host = prop_oneof![3 => Just(None), 1 => Just(Some("Own.example".to_owned()))];
    let methods = prop::collection::btree_map(select(vec!["GET", "POST", "PATCH"]), takes(), 1..3);
    let bodies = prop::option::weighted(0.3, (select(&SCOPES[..]), select(&SCOPES[..])));
    (host, template(), methods, 0..4_u8, 0..4_u8, bodies).prop_map(
        |(host, path, allow, account, environment, bodies)| {
            let mut spec = spec("r", &path, &[]);
            spec.host = host;
            spec.allow = allow.into_iter().map(|(m, a)| (m.to_owned(), a)).collect();
            if !path.contains("{account}") {
                spec.any_account = account < 3;
                spec.account_query = (account == 3).then(|| "account_id".to_owned());
            }
            if !path.contains("{environment}") {
                spec.any_environment = environment < 2;
                spec.environment_query = (environment == 2).then(|| "env".to_owned());
            }
            if let Some((one, two)) = bodies
                && spec.allow.get("PATCH").is_some_and(Access::is_scoped)
            {
                let rules = vec![rule(&["status"], one), rule(&["status", "at"], two)];
                spec.body_rules = BTreeMap::from([("PATCH".to_owned(), rules)]);
            }
            spec
        },
    )
}

/// 2 to 12 routes that compile together: what does not fit is left out.
pub(super) fn table() -> impl Strategy<Value = Vec<RouteSpec>> {
    prop::collection::vec(route(), 2..13).prop_map(|mut specs| {
        for (n, spec) in specs.iter_mut().enumerate() {
            spec.name = crate::domain::RouteName::new(&format!("r{n}")).unwrap();
        }
        while let Err(faults) = RouteTable::compile(specs.clone()) {
            let faulty: BTreeSet<usize> = faults.iter().map(|fault| fault.route).collect();
            let mut n = 0..;
            specs.retain(|_| n.next().is_none_or(|n| !faulty.contains(&n)));
        }
        specs
    })
}

/// A little before, at and a little after a time that matters.
fn around(secs: i64) -> impl Strategy<Value = UnixTime> {
    (-1..=1_i64).prop_map(move |by| at(secs + by))
}

fn stages() -> impl Strategy<Value = Environments> {
    prop_oneof![
        2 => Just(Environments::All),
        1 => subsequence(&STAGES[..], 1..3).prop_map(environments),
    ]
}

fn role_id(id: &str) -> crate::domain::RoleId {
    crate::domain::RoleId::new(id).unwrap()
}

pub(super) fn past() -> impl Strategy<Value = Past> {
    let state = prop_oneof![
        8 => Just(StandingState::Active),
        1 => Just(StandingState::Suspended),
        1 => Just(StandingState::Revoked),
    ];
    let roles = subsequence(vec!["plain", "more", "armed", "gone"], 1..5);
    let rare = |secs| prop::option::weighted(0.05, around(secs));
    let standing = (
        state,
        rare(NOW),
        rare(NOW),
        prop::bool::weighted(0.95),
        roles,
        subsequence(&SCOPES[..], 0..3),
        stages(),
        prop::option::weighted(0.5, (select(vec!["armed", "more"]), around(NOW))),
    )
        .prop_map(|(state, expires_at, retires, kept, roles, extra, environments, armed)| {
            Standing {
                state,
                expires_at,
                generations: if kept { vec![(1, retires), (2, None)] } else { vec![(2, None)] },
                roles: roles.into_iter().map(role_id).collect(),
                armed: armed.into_iter().map(|(id, until)| (role_id(id), until)).collect(),
                extra_scopes: scopes(extra),
                environments,
                ..standing()
            }
        });
    let standing = prop::option::weighted(0.97, standing);
    (standing, prop::bool::weighted(0.05), rare(NOW - 10), rare(NOW - 10)).prop_map(
        |(standing, jti_revoked, client_cut, account_cut)| Past {
            standing,
            jti_revoked,
            client_cut,
            account_cut,
        },
    )
}

pub(super) fn token_story() -> impl Strategy<Value = TokenStory> {
    let flaw = prop_oneof![
        20 => Just(None),
        1 => select(vec!["token_malformed", "unknown_key", "bad_signature", "wrong_type"])
            .prop_map(Some),
    ];
    let issuer = prop_oneof![30 => Just(ISSUER), 1 => Just("https://other")];
    let audience = prop_oneof![30 => Just(AUDIENCE), 1 => Just("other")];
    let account = prop_oneof![20 => Just("acme"), 1 => Just("other")];
    let issued_at = prop_oneof![20 => Just(at(NOW - 10)), 1 => around(NOW + 30)];
    let expires_at = prop_oneof![20 => Just(at(NOW + 60)), 1 => around(NOW - 30)];
    let times = (issued_at, expires_at, 1..3_u32);
    (flaw, issuer, audience, account, subsequence(&SCOPES[..], 1..6), stages(), times).prop_map(
        |(flaw, issuer, audience, account, held, environments, times)| {
            let (issued_at, expires_at, generation) = times;
            let claims = Claims {
                issuer,
                audience,
                account: world::account(account),
                grant: Grant { scopes: scopes(held), environments },
                generation,
                issued_at,
                expires_at,
                ..claims()
            };
            TokenStory { claims, flaw }
        },
    )
}

/// How a request is made from a route's template.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) route: prop::sample::Index,
    /// `None` for one that the route lists.
    pub(super) method: Option<&'static str>,
    pub(super) host: &'static str,
    /// Instead of each placeholder.
    pub(super) fill: Vec<&'static str>,
    pub(super) stage: &'static str,
    pub(super) account: &'static str,
    pub(super) tail: &'static str,
    pub(super) query: &'static str,
    pub(super) body: Held,
    pub(super) fields: u8,
}

pub(super) fn plan() -> impl Strategy<Value = Plan> {
    let other = select(vec!["GET", "HEAD", "POST", "PATCH", "DELETE", "get"]);
    let method = prop::option::weighted(0.3, other);
    let host =
        select(vec!["own.example", "OWN.example:80", "own.example.", "api", "own.example:x"]);
    let fill = select(vec!["a", "b", "acme", "prod", "z", "1", "a;v", "b%3Bv", "%2561", "a;"]);
    let account = prop_oneof![9 => Just("acme"), 1 => select(vec!["other", "a", "acme;v"])];
    let tail = prop_oneof![12 => Just(""), 1 => select(vec!["/", "/a", "/z/", ";v", "/b/a"])];
    let query = prop_oneof![
        6 => Just("?account_id=acme&env=prod"),
        1 => select(vec!["", "?account_id=acme", "?env=test&account_id=acme", "?env=prod",
            "?account_id=other&env=prod", "?account_id=acme&account_id=acme&env=prod",
            "?account_id=acme&ACCOUNT_ID=other&env=prod", "?account_id=acme&env[]=prod",
            "?account_id=acme&env=prod&env[]=test", "?account_id=acme;account-id=x&env=prod"]),
    ];
    let body = prop_oneof![
        select(vec![Held::Unread, Held::Absent, Held::TooLong, Held::Ambiguous]),
        subsequence(vec!["status", "at", "name"], 0..3).prop_map(|some| keys(&some)),
    ];
    let fields = prop_oneof![30 => Just(1), 1 => Just(0), 1 => Just(2)];
    let parts = (any::<prop::sample::Index>(), method, host, prop::collection::vec(fill, 4));
    let stage = prop_oneof![5 => Just("prod"), 2 => Just("test"), 1 => Just("dev")];
    (parts, stage, account, tail, query, body, fields).prop_map(
        |((route, method, host, fill), stage, account, tail, query, body, fields)| Plan {
            route,
            method,
            host,
            fill,
            stage,
            account,
            tail,
            query,
            body,
            fields,
        },
    )
}

impl Plan {
    /// The request, which hits the picked route unless something was bent.
    pub(super) fn ask(&self, specs: &[RouteSpec], token: &str) -> Ask {
        let mut fill = self.fill.iter().copied().cycle();
        let spec = specs.get(self.route.index(specs.len().max(1)));
        let template = spec.map_or("/a", |spec| &spec.path);
        let listed = |name: &&str| spec.is_some_and(|spec| spec.allow.contains_key(*name));
        let method = self.method.or(["PATCH", "POST", "GET"].into_iter().find(listed));
        let mut path = Vec::new();
        for piece in template.split('/') {
            path.push(match piece {
                "{account}" => self.account,
                "{environment}" => self.stage,
                piece if piece.starts_with('{') => fill.next().unwrap(),
                piece => piece,
            });
        }
        let target = format!("{}{}{}", path.join("/"), self.tail, self.query);
        let mut ask =
            Ask::new(method.unwrap_or("GET"), &target).host(self.host).body(self.body.clone());
        for _ in 0..self.fields {
            ask = ask.with(token);
        }
        ask
    }
}
