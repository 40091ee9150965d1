//! Judges by the contract's text alone, slowly: every route is tried, rights
//! are sets of words, nothing is remembered, no token is parsed (the oracle is
//! told what was written into it).

use std::collections::BTreeSet;

use super::*;
use crate::domain::{Environments, Role, Scope};

/// What a token carries and what was done to it.
#[derive(Clone, Debug)]
pub(super) struct TokenStory {
    pub(super) claims: Claims,
    /// What is wrong with it apart from its claims, as the contract calls it.
    pub(super) flaw: Option<&'static str>,
}

/// All that may be known.
pub(super) struct Facts<'a> {
    pub(super) specs: &'a [RouteSpec],
    pub(super) roles: &'a [Role],
    pub(super) standing: Option<&'a crate::revocation::Standing>,
    pub(super) jti_revoked: bool,
    pub(super) client_cut: Option<UnixTime>,
    pub(super) account_cut: Option<UnixTime>,
    pub(super) now: UnixTime,
}

pub(super) enum Found<'a> {
    Routes(Vec<&'a RouteSpec>),
    Nothing,
}

/// 0 for a literal, 1 for a placeholder, 2 for a rest, from the left; `None`
/// if the template does not match.
fn shape(template: &str, path: &str) -> Option<Vec<u8>> {
    let template: Vec<&str> = template.split('/').skip(1).collect();
    let path: Vec<&str> = path.split('/').skip(1).collect();
    let mut shape = Vec::new();
    for (place, piece) in template.iter().enumerate() {
        if piece.starts_with("{*") {
            let below = path.get(place..)?;
            shape.push(2);
            return below.iter().any(|segment| !segment.is_empty()).then_some(shape);
        }
        let segment = path.get(place)?;
        if piece.starts_with('{') {
            if segment.is_empty() {
                return None;
            }
            shape.push(1);
        } else if segment == piece {
            shape.push(0);
        } else {
            return None;
        }
    }
    (path.len() == template.len()).then_some(shape)
}

fn host_name(host: &str) -> String {
    let name = host.to_lowercase();
    let digits = name.rfind(':').filter(|at| name[at + 1..].chars().all(|c| c.is_ascii_digit()));
    let name = digits.map_or(&name[..], |at| &name[..at]);
    name.trim_end_matches('.').to_owned()
}

/// The routes of the best rank for a path, those of its host first.
pub(super) fn find<'a>(specs: &'a [RouteSpec], host: Option<&str>, path: &str) -> Found<'a> {
    let host = host.map(host_name);
    let mut best: Vec<(Vec<u8>, &RouteSpec)> = Vec::new();
    for own in [true, false] {
        for spec in specs.iter().filter(|spec| spec.host.is_some() == own) {
            if own && spec.host.as_ref().map(|h| h.to_lowercase()) != host {
                continue;
            }
            if let Some(rank) = shape(&spec.path, path) {
                best.push((rank, spec));
            }
        }
        if !best.is_empty() {
            break;
        }
    }
    let first = best.iter().map(|(rank, _)| rank.clone()).min();
    match first {
        None => Found::Nothing,
        Some(first) => {
            Found::Routes(best.into_iter().filter(|(r, _)| *r == first).map(|(_, s)| s).collect())
        }
    }
}

/// The value of a parameter that stands once, and under no other spelling.
fn parameter(query: &str, name: &str) -> Option<String> {
    let plain = |text: &str| -> String {
        let word = text.split('[').next().unwrap();
        word.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
    };
    let alike: Vec<&str> = query
        .split(['&', ';'])
        .filter(|pair| plain(pair.split('=').next().unwrap()) == plain(name))
        .collect();
    match alike[..] {
        [one] => one.strip_prefix(name)?.strip_prefix('=').map(str::to_owned),
        _ => None,
    }
}

fn words(set: &crate::domain::ScopeSet) -> BTreeSet<&str> {
    set.iter().map(Scope::as_str).collect()
}

fn suffices(access: &Access, held: &BTreeSet<&str>) -> bool {
    match access {
        Access::Public | Access::Authenticated => true,
        Access::AnyOf(any) => any.iter().any(|scope| held.contains(scope.as_str())),
        Access::AllOf(all) => all.iter().all(|scope| held.contains(scope.as_str())),
    }
}

fn in_both(a: &Environments, b: &Environments, one: Option<&str>) -> bool {
    match one {
        Some(one) => a.contains(one) && b.contains(one),
        None => *a == Environments::All && *b == Environments::All,
    }
}

/// The contract's sections 3 to 7, from top to bottom.
pub(super) fn answer(facts: &Facts<'_>, ask: &Ask, token: Option<&TokenStory>) -> String {
    let (path, query) = match ask.target.split_once('?') {
        Some((path, query)) => (path, query),
        None => (&ask.target[..], ""),
    };
    if path.contains("//") {
        return "deny malformed_request -".into();
    }
    let routes = match find(facts.specs, ask.host.as_deref(), path) {
        Found::Nothing => return "deny no_route -".into(),
        Found::Routes(routes) => routes,
    };
    let method = if ask.method == "HEAD" { "GET" } else { ask.method };
    let Some((spec, access)) =
        routes.iter().find_map(|spec| spec.allow.get(method).map(|access| (*spec, access)))
    else {
        return format!("deny method_not_allowed {}", routes[0].name);
    };
    let deny = |reason: &str| format!("deny {reason} {}", spec.name);
    let segment = |name: &str| {
        let place = spec.path.split('/').position(|piece| piece == name)?;
        path.split('/').nth(place).map(str::to_owned)
    };
    let (mut account, mut environment) = (segment("{account}"), segment("{environment}"));
    for (bound, name) in
        [(&mut account, &spec.account_query), (&mut environment, &spec.environment_query)]
    {
        if let Some(name) = name {
            match parameter(query, name) {
                Some(value) => *bound = Some(value),
                None => return deny("malformed_request"),
            }
        }
    }
    if *access == Access::Public {
        return format!("allow {} nobody", spec.name);
    }
    if let Err(reason) = token_counts(facts, ask, token) {
        return deny(reason);
    }
    let (Some(token), Some(standing)) = (token, facts.standing) else { return deny("revoked") };
    let mut access = access;
    if let Some(rules) = spec.body_rules.get(method).filter(|rules| !rules.is_empty()) {
        match &ask.body {
            Held::Unread => return format!("read {}", spec.name),
            Held::Ambiguous => return deny("malformed_request"),
            Held::Absent | Held::TooLong => {}
            Held::Keys(keys) => {
                let fits = |rule: &&BodyRule<Access>| {
                    !keys.is_empty() && keys.iter().all(|key| rule.keys.contains(key))
                };
                access = rules.iter().find(fits).map_or(access, |rule| &rule.allow);
            }
        }
    }
    let mut awake = words(&standing.extra_scopes);
    let mut asleep = awake.clone();
    for role in facts.roles.iter().filter(|role| standing.roles.contains(&role.id)) {
        asleep.extend(words(&role.scopes));
        let until = standing.armed.get(&role.id);
        if !role.armed || until.is_some_and(|until| facts.now < *until) {
            awake.extend(words(&role.scopes));
        }
    }
    let said = words(&token.claims.grant.scopes);
    if !suffices(access, &said.intersection(&awake).copied().collect()) {
        let armed = suffices(access, &said.intersection(&asleep).copied().collect());
        return deny(if armed { "not_armed" } else { "insufficient_scope" });
    }
    // The token's account is the credential's, or the token would be dead.
    if account.is_some_and(|account| account != standing.account.as_str()) {
        return deny("wrong_account");
    }
    let free = environment.is_none() && (spec.any_environment || !access.is_scoped());
    let grant = &token.claims.grant.environments;
    if !free && !in_both(grant, &standing.environments, environment.as_deref()) {
        return deny("wrong_environment");
    }
    format!("allow {} {}", spec.name, token.claims.account)
}

fn token_counts(
    facts: &Facts<'_>,
    ask: &Ask,
    token: Option<&TokenStory>,
) -> Result<(), &'static str> {
    let token = match (&ask.authorization[..], token) {
        ([], _) => return Err("token_missing"),
        ([_], Some(token)) => token,
        _ => return Err("token_malformed"),
    };
    let claims = &token.claims;
    if let Some(flaw) = token.flaw {
        return Err(flaw);
    }
    if claims.issuer != ISSUER {
        return Err("wrong_issuer");
    }
    if claims.audience != AUDIENCE {
        return Err("wrong_audience");
    }
    let skew = i64::try_from(SKEW.as_millis()).unwrap();
    if facts.now.as_millis() >= claims.expires_at.as_millis() + skew {
        return Err("expired");
    }
    if claims.issued_at.as_millis() > facts.now.as_millis() + skew {
        return Err("not_yet_valid");
    }
    let standing = facts.standing.ok_or("revoked")?;
    let cut = |cut: Option<UnixTime>| cut.is_some_and(|cut| claims.issued_at < cut);
    let secret = standing.generations.iter().find(|(g, _)| *g == claims.generation);
    let retired =
        secret.is_none_or(|(_, retires)| retires.is_some_and(|retires| retires <= facts.now));
    if standing.state == StandingState::Revoked
        || standing.account != claims.account
        || facts.jti_revoked
        || cut(facts.client_cut)
        || cut(facts.account_cut)
        || retired
    {
        return Err("revoked");
    }
    if standing.state == StandingState::Suspended {
        return Err("suspended");
    }
    if standing.expires_at.is_some_and(|end| end <= facts.now) {
        return Err("expired");
    }
    Ok(())
}
