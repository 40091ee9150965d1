//! Administrators: who may use the admin port.

use std::fmt;
use std::str::FromStr;

use super::{AdminName, NameError, SecretHash, UnixTime};

/// What an administrator may do. Each may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdminRole {
    /// Reads everything, never a secret.
    Viewer,
    /// Also mints and revokes.
    Admin,
    /// Also manages administrators and keys.
    SuperAdmin,
}

impl AdminRole {
    /// All of them, the least first.
    pub const ALL: [AdminRole; 3] = [AdminRole::Viewer, AdminRole::Admin, AdminRole::SuperAdmin];

    /// The name on the wire and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            AdminRole::Viewer => "viewer",
            AdminRole::Admin => "admin",
            AdminRole::SuperAdmin => "super-admin",
        }
    }
}

impl FromStr for AdminRole {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        AdminRole::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(NameError("be one of viewer, admin, super-admin"))
    }
}

impl fmt::Display for AdminRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A person or program that may use the admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator {
    /// Unique; stands in the audit trail.
    pub name: AdminName,
    /// What it may do.
    pub role: AdminRole,
    /// Of its key, which was shown once.
    pub key_hash: SecretHash,
    /// Who made it.
    pub created_by: String,
    /// When.
    pub created_at: UnixTime,
}
