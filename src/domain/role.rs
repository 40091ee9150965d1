//! Predefined bundles of scopes.

use std::collections::{BTreeSet, btree_set};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::{Rate, RoleId, ScopeSet};

/// A role as the configuration defines it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its id, which credentials keep.
    pub id: RoleId,
    /// What people call it.
    pub label: String,
    /// What it is for.
    pub description: String,
    /// What it grants; never empty.
    pub scopes: ScopeSet,
    /// Granted dormant: its scopes count only while it is armed for a credential.
    pub armed: bool,
    /// Requests in a time, for each credential with this role.
    pub rate: Option<Rate>,
    /// Requests at once, for each credential with this role.
    pub concurrency: Option<u32>,
}

/// The ids of the roles that a credential has. A clone shares the set until one
/// of the two is changed: most credentials have the same few sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleSet(Arc<BTreeSet<RoleId>>);

impl Deref for RoleSet {
    type Target = BTreeSet<RoleId>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for RoleSet {
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl From<BTreeSet<RoleId>> for RoleSet {
    fn from(roles: BTreeSet<RoleId>) -> Self {
        RoleSet(Arc::new(roles))
    }
}

impl<const N: usize> From<[RoleId; N]> for RoleSet {
    fn from(roles: [RoleId; N]) -> Self {
        BTreeSet::from(roles).into()
    }
}

impl FromIterator<RoleId> for RoleSet {
    fn from_iter<I: IntoIterator<Item = RoleId>>(roles: I) -> Self {
        roles.into_iter().collect::<BTreeSet<_>>().into()
    }
}

impl<'a> IntoIterator for &'a RoleSet {
    type Item = &'a RoleId;
    type IntoIter = btree_set::Iter<'a, RoleId>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
