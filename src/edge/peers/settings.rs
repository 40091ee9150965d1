//! What is said of an upstream before it is one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::resolve::Resolver;
use super::trust::Trust;
use crate::domain::{SecretText, UpstreamName};

/// How one upstream is reached.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Its name; a metric label.
    pub name: UpstreamName,
    /// Where it listens.
    pub addresses: Vec<NamedAddress>,
    /// What it speaks.
    pub protocol: UpstreamProtocol,
    /// How it proves who it is; plain TCP if none.
    pub trust: Option<Trust>,
    /// What becomes of the client's Authorization field.
    pub authorization: AuthorizationPolicy,
    /// To a connection, TLS included.
    pub connect_timeout: Duration,
    /// To the response head, and between bytes of an upload.
    pub read_timeout: Duration,
    /// How its addresses are looked at.
    pub health: HealthRule,
    /// When requests that fail take an address out.
    pub ejection: EjectionRule,
    /// What finds the addresses of names.
    pub resolver: Arc<dyn Resolver>,
}

/// An address as it was written, and what it was found to mean.
#[derive(Clone, Debug)]
pub struct NamedAddress {
    /// `host:port`.
    pub text: String,
    /// What that is now.
    pub found: Vec<SocketAddr>,
}

impl NamedAddress {
    /// True if the host is a name, which may come to mean something else.
    pub(super) fn is_name(&self) -> bool {
        self.text.parse::<SocketAddr>().is_err()
    }
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2: by ALPN over TLS, by prior knowledge (RFC 9113 section 3.3) without.
    Http2,
}

/// What becomes of the client's Authorization field.
#[derive(Clone, Debug)]
pub enum AuthorizationPolicy {
    /// It is removed: the token was for us.
    Strip,
    /// It goes on as it is.
    Forward,
    /// It is replaced by this value.
    Set(SecretText),
}

/// How addresses are looked at.
#[derive(Clone, Debug)]
pub struct HealthRule {
    /// What is asked for; a connection is enough if none.
    pub path: Option<String>,
    /// From one look to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How many bad ones in a row take an address out.
    pub unhealthy_after: u32,
    /// How many good ones in a row bring it back.
    pub healthy_after: u32,
}

/// When requests that fail take an address out.
#[derive(Clone, Copy, Debug)]
pub struct EjectionRule {
    /// How many in a row; 0: never.
    pub after: u32,
    /// For how long the first time.
    pub base_time: Duration,
    /// For how long at most.
    pub max_time: Duration,
}

#[cfg(test)]
impl Default for HealthRule {
    fn default() -> Self {
        HealthRule {
            path: None,
            interval: Duration::from_secs(2),
            timeout: Duration::from_secs(2),
            unhealthy_after: 3,
            healthy_after: 2,
        }
    }
}
