//! Who asks for a change: the name that the audit trail and the records keep.

use std::net::IpAddr;
use std::sync::Arc;

use crate::domain::{AdminRole, Administrator, Credential};

/// Names that no administrator may take, because they mean somebody else.
pub(super) const RESERVED: [&str; 2] = ["command-line", "gateway"];

/// Where clients ask from.
pub(super) const DATA_PLANE: &str = "data plane";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: Arc<str>,
    role: AdminRole,
    source: Arc<str>,
}

impl Actor {
    /// An administrator, who has proved to be one.
    pub fn administrator(admin: &Administrator) -> Self {
        Actor { name: admin.name.as_str().into(), role: admin.role, source: "unknown".into() }
    }

    /// The same, calling from this address.
    #[must_use]
    pub fn calling_from(self, address: IpAddr) -> Self {
        Actor { source: address.to_canonical().to_string().into(), ..self }
    }

    /// A client that acts on what is its own. The name is none that an
    /// administrator can have.
    pub fn client(credential: &Credential) -> Self {
        let name = format!("client {}", credential.client_id);
        Actor { name: name.into(), role: AdminRole::Viewer, source: DATA_PLANE.into() }
    }

    /// Somebody with a shell on the machine and the right to open the store.
    pub fn command_line() -> Self {
        Self::own("command-line")
    }

    /// The gateway itself.
    pub fn gateway() -> Self {
        Self::own("gateway")
    }

    fn own(name: &str) -> Self {
        Actor { name: name.into(), role: AdminRole::SuperAdmin, source: name.into() }
    }

    /// From where the actor asks: an address, or one of the reserved names.
    pub fn source(&self) -> &str {
        &self.source
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
