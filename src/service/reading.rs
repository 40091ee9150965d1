//! How the fields of a credential are read, at minting and at every change.

use std::collections::BTreeSet;

use super::fault::Faults;
use crate::domain::{EnvironmentId, Environments, Grant, Rate, RoleId, Scope, ScopeSet, UnixTime};
use crate::policy::Snapshot;

/// The most characters of a credential's name.
pub const LONGEST_TITLE: usize = 100;

/// The most characters of its description.
pub const LONGEST_DESCRIPTION: usize = 1000;

/// The most bytes of a token's `scope`. More would make the token longer than
/// the gateway itself takes.
const SCOPE_BYTES: usize = 5000;

pub(super) fn name(faults: &mut Faults, text: &str) -> String {
    let name = text.trim();
    if name.is_empty() {
        faults.add("name", "must not be empty");
    }
    faults.check_text("name", name, LONGEST_TITLE, &[]);
    name.to_owned()
}

pub(super) fn description(faults: &mut Faults, text: &str) -> String {
    faults.check_text("description", text, LONGEST_DESCRIPTION, &['\n', '\t']);
    text.to_owned()
}

pub(super) fn roles(faults: &mut Faults, texts: &[String], world: &Snapshot) -> BTreeSet<RoleId> {
    let role = |text: &str| match world.roles().iter().find(|role| role.id.as_str() == text) {
        Some(role) => Ok(role.id.clone()),
        None => Err("is no role of this gateway"),
    };
    faults.take_each("roles", texts, role).into_iter().collect()
}

pub(super) fn scopes(faults: &mut Faults, texts: &[String]) -> ScopeSet {
    faults.take_each("scopes", texts, Scope::new).into_iter().collect()
}

/// None, or `*` alone, for everywhere.
pub(super) fn environments(faults: &mut Faults, texts: &[String]) -> Environments {
    let environments = match texts {
        [all] if all == "*" => Vec::new(),
        some => faults.take_each("environments", some, EnvironmentId::new),
    };
    Environments::from_list(environments.into_iter().collect())
}

pub(super) fn expires_at(faults: &mut Faults, text: &str, now: UnixTime) -> Option<UnixTime> {
    let end = match UnixTime::parse_rfc3339(text) {
        None => Err("must be a time in RFC 3339, such as \"2030-01-31T00:00:00Z\""),
        Some(end) if end <= now => Err("must lie in the future"),
        Some(end) => Ok(end),
    };
    faults.take("expires_at", end)
}

pub(super) fn rate(faults: &mut Faults, text: &str) -> Option<Rate> {
    faults.take("rate", text.parse::<Rate>())
}

pub(super) fn concurrency(faults: &mut Faults, count: u64) -> Option<u32> {
    let count = match u32::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("must be a whole number from 1 to 4294967295"),
    };
    faults.take("concurrency", count)
}

/// All of it must fit into a token.
pub(super) fn check_grant(
    faults: &mut Faults,
    world: &Snapshot,
    roles: &BTreeSet<RoleId>,
    scopes: &ScopeSet,
    environments: &Environments,
) {
    let grant =
        Grant { scopes: world.scopes_of(roles, scopes), environments: environments.clone() };
    if grant.to_string().len() > SCOPE_BYTES {
        let what = "makes, with the roles and environments, more rights than a token can carry";
        faults.add("scopes", what);
    }
}
