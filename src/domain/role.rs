//! Predefined bundles of scopes.

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
