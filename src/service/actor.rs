//! Who asks for a change: the name that the audit trail and the records keep.

use std::sync::Arc;

use crate::domain::{AdminRole, Administrator};

/// Names that no administrator may take, because they mean somebody else.
pub(super) const RESERVED: [&str; 2] = ["command-line", "gateway"];

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: Arc<str>,
    role: AdminRole,
}

impl Actor {
    /// An administrator, who has proved to be one.
    pub fn administrator(admin: &Administrator) -> Self {
        Actor { name: admin.name.as_str().into(), role: admin.role }
    }

    /// Somebody with a shell on the machine and the right to open the store.
    pub fn command_line() -> Self {
        Actor { name: "command-line".into(), role: AdminRole::SuperAdmin }
    }

    /// The gateway itself.
    pub fn gateway() -> Self {
        Actor { name: "gateway".into(), role: AdminRole::SuperAdmin }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the actor may do.
    pub fn role(&self) -> AdminRole {
        self.role
    }
}
