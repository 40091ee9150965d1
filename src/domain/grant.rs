//! What somebody may do, and in which environments.

use std::collections::BTreeSet;
use std::fmt;

use super::{EnvironmentId, NameError, Scope, ScopeSet};

/// The environments a credential or a token is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Environments {
    /// All there are, `env:*`.
    All,
    /// These only; never empty (an empty list at minting means all).
    Only(BTreeSet<EnvironmentId>),
}

impl Environments {
    /// From a list as administrators give it: empty means all.
    pub fn from_list(list: BTreeSet<EnvironmentId>) -> Self {
        if list.is_empty() { Environments::All } else { Environments::Only(list) }
    }

    /// True if `environment` is among these.
    pub fn contains(&self, environment: &str) -> bool {
        match self {
            Environments::All => true,
            Environments::Only(list) => list.contains(environment),
        }
    }

    /// True if nothing is in `other` that is not in `self`.
    pub fn covers(&self, other: &Environments) -> bool {
        match (self, other) {
            (Environments::All, _) => true,
            (Environments::Only(_), Environments::All) => false,
            (Environments::Only(mine), Environments::Only(theirs)) => theirs.is_subset(mine),
        }
    }

    /// What is in both; `None` when that is nothing.
    pub fn intersect(&self, other: &Environments) -> Option<Environments> {
        match (self, other) {
            (Environments::All, both) | (both, Environments::All) => Some(both.clone()),
            (Environments::Only(a), Environments::Only(b)) => {
                let both: BTreeSet<_> = a.intersection(b).cloned().collect();
                (!both.is_empty()).then_some(Environments::Only(both))
            }
        }
    }
}

/// Scopes and environments: what the `scope` of a token says (RFC 6749 section 3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The rights.
    pub scopes: ScopeSet,
    /// Where they hold.
    pub environments: Environments,
}

impl Grant {
    /// Reads a space-separated scope string. `None` for the environments when
    /// it has no `env:` item. `*` is not taken: it is a request, not a grant.
    ///
    /// # Errors
    /// What an item must be, when it is not.
    pub fn parse(text: &str) -> Result<(ScopeSet, Option<Environments>), NameError> {
        let mut scopes = ScopeSet::new();
        let mut all = false;
        let mut only = BTreeSet::new();
        for item in text.split(' ').filter(|item| !item.is_empty()) {
            match item.strip_prefix("env:") {
                Some("*") => all = true,
                Some(id) => {
                    only.insert(EnvironmentId::new(id)?);
                }
                None => {
                    scopes.insert(Scope::new(item)?);
                }
            }
        }
        let environments = if all {
            Some(Environments::All)
        } else {
            (!only.is_empty()).then_some(Environments::Only(only))
        };
        Ok((scopes, environments))
    }
}

/// The space-separated form, environments last.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for scope in &self.scopes {
            write!(f, "{scope} ")?;
        }
        match &self.environments {
            Environments::All => f.write_str("env:*"),
            Environments::Only(list) => {
                let items: Vec<String> = list.iter().map(|id| format!("env:{id}")).collect();
                f.write_str(&items.join(" "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(ids: &[&str]) -> Environments {
        Environments::from_list(ids.iter().map(|id| EnvironmentId::new(id).unwrap()).collect())
    }

    #[test]
    fn reads_what_it_writes() {
        for text in ["a.b c.d env:*", "a.b env:1 env:2", "env:*"] {
            let (scopes, environments) = Grant::parse(text).unwrap();
            let grant = Grant { scopes, environments: environments.unwrap() };
            assert_eq!(grant.to_string(), text);
        }
        assert!(Grant::parse("*").is_err());
        assert!(Grant::parse("env:").is_err());
        assert_eq!(Grant::parse("a").unwrap().1, None);
    }

    #[test]
    fn covering_and_meeting() {
        assert!(Environments::All.covers(&only(&["1"])));
        assert!(!only(&["1"]).covers(&Environments::All));
        assert!(only(&["1", "2"]).covers(&only(&["2"])));
        assert_eq!(only(&["1", "2"]).intersect(&only(&["2", "3"])), Some(only(&["2"])));
        assert_eq!(only(&["1"]).intersect(&only(&["2"])), None);
        assert_eq!(Environments::All.intersect(&only(&["2"])), Some(only(&["2"])));
    }
}
