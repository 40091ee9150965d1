//! What the configuration says to the edge: swapped whole, like the snapshot.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::head::HeadLimits;
use super::mount::Mount;
use super::peers::{Upstream, UpstreamSettings, Upstreams};
use super::tls::TlsFront;

/// How the data plane treats its clients and its upstreams.
pub struct EdgeSettings {
    pub(crate) head: HeadLimits,
    pub(crate) body_bytes: u64,
    pub(crate) connections: usize,
    pub(crate) requests: usize,
    pub(crate) lag: Duration,
    pub(crate) trusted_proxies: Vec<IpNet>,
    pub(crate) upstreams: Upstreams,
    pub(crate) mount: Mount,
    pub(crate) resource_metadata: String,
    pub(crate) tls: Option<Arc<TlsFront>>,
}

/// What settings are made of.
pub struct EdgeParts {
    /// The longest head, in bytes.
    pub header_bytes: usize,
    /// The longest request target, in bytes.
    pub target_bytes: usize,
    /// The longest body in bytes where a route does not say, 0 for no limit.
    pub body_bytes: u64,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Between requests, and between bytes of a body.
    pub idle_timeout: Duration,
    /// How many connections are served at once; more wait.
    pub connections: usize,
    /// How many requests may wait for an upstream at once; more are refused.
    pub requests: usize,
    /// How late the processor may be before requests are refused; zero: however late.
    pub lag: Duration,
    /// Whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where requests go.
    pub upstreams: Vec<UpstreamSettings>,
    /// What the gateway answers by itself.
    pub mount: Mount,
    /// The URL of the protected resource's metadata (RFC 9728 section 5.1).
    pub resource_metadata: String,
    /// How TLS is spoken, if it is.
    pub tls: Option<TlsFront>,
}

impl EdgeSettings {
    /// Puts them together.
    pub fn new(parts: EdgeParts) -> Self {
        let upstream =
            |settings: UpstreamSettings| (settings.name.clone(), Arc::new(Upstream::new(settings)));
        EdgeSettings {
            head: HeadLimits {
                header_bytes: parts.header_bytes,
                target_bytes: parts.target_bytes,
                header_timeout: parts.header_timeout,
                idle_timeout: parts.idle_timeout,
            },
            body_bytes: parts.body_bytes,
            connections: parts.connections,
            requests: parts.requests,
            lag: parts.lag,
            trusted_proxies: parts.trusted_proxies,
            upstreams: parts.upstreams.into_iter().map(upstream).collect(),
            mount: parts.mount,
            resource_metadata: parts.resource_metadata,
            tls: parts.tls.map(Arc::new),
        }
    }
}
