//! Upstreams: addresses that are known beforehand, balanced, health-checked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::lb::health_check::TcpHealthCheck;
use pingora::lb::selection::RoundRobin;
use pingora::lb::{Backend, Backends, LoadBalancer, discovery};
use pingora::upstreams::peer::{HttpPeer, PeerOptions};

use crate::domain::{SecretText, UpstreamName};

/// How one upstream is reached.
#[derive(Clone, Debug)]
pub struct UpstreamSettings {
    /// Its name; a metric label.
    pub name: UpstreamName,
    /// Where it listens. Names were resolved when the gateway started.
    pub addresses: Vec<SocketAddr>,
    /// The name its certificate must bear; plain TCP if none.
    pub server_name: Option<String>,
    /// What becomes of the client's Authorization field.
    pub authorization: AuthorizationPolicy,
    /// To a connection, TLS included.
    pub connect_timeout: Duration,
    /// To the response head, and between bytes of an upload.
    pub read_timeout: Duration,
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

/// One upstream, ready to hand out peers.
pub(crate) struct Upstream {
    pub(crate) name: UpstreamName,
    pub(crate) authorization: AuthorizationPolicy,
    /// How long it may be silent before its response head comes.
    pub(crate) patience: Duration,
    options: PeerOptions,
    tls: Option<String>,
    /// The only address, if there is just one: nothing to balance.
    only: Option<SocketAddr>,
    balancer: LoadBalancer<RoundRobin>,
}

/// Pooled connections are let go after this long; most servers keep theirs
/// longer than this.
const POOL_IDLE: Duration = Duration::from_secs(50);

impl Upstream {
    pub(crate) fn new(settings: UpstreamSettings) -> Self {
        let backends = settings
            .addresses
            .iter()
            .filter_map(|address| Backend::new(&address.to_string()).ok())
            .collect();
        let mut backends = Backends::new(discovery::Static::new(backends));
        let mut check = TcpHealthCheck::default();
        check.peer_template.options.connection_timeout = Some(settings.connect_timeout);
        backends.set_health_check(Box::new(check));
        let mut options = PeerOptions::new();
        options.connection_timeout = Some(settings.connect_timeout);
        options.total_connection_timeout = Some(settings.connect_timeout);
        options.write_timeout = Some(settings.read_timeout);
        options.idle_timeout = Some(POOL_IDLE);
        options.max_h2_streams = 100;
        let only = match settings.addresses.as_slice() {
            [address] => Some(*address),
            _ => None,
        };
        Upstream {
            name: settings.name,
            authorization: settings.authorization,
            patience: settings.read_timeout,
            options,
            tls: settings.server_name,
            only,
            balancer: LoadBalancer::from_backends(backends),
        }
    }

    /// The next address in turn that is up.
    pub(crate) fn next(&self) -> Option<SocketAddr> {
        match self.only {
            Some(address) => Some(address),
            None => self.balancer.select(b"", 256).and_then(|b| b.addr.as_inet().copied()),
        }
    }

    /// A peer at `address`.
    pub(crate) fn peer(&self, address: SocketAddr) -> Box<HttpPeer> {
        let sni = self.tls.clone().unwrap_or_default();
        let mut peer = HttpPeer::new(address, self.tls.is_some(), sni);
        peer.options = self.options.clone();
        Box::new(peer)
    }

    /// True if there is more than one address to try.
    pub(crate) fn is_balanced(&self) -> bool {
        self.only.is_none()
    }

    /// Looks whether the addresses can be reached.
    pub(crate) async fn check(&self) {
        let _ = self.balancer.update().await;
        let before = self.health();
        self.balancer.backends().run_health_check(true).await;
        for (address, up) in self.health() {
            let was_up = before.iter().any(|(known, up)| *known == address && *up);
            match (was_up, up) {
                (true, false) => tracing::warn!("upstream {}: {address} is down", self.name),
                (false, true) => tracing::info!("upstream {}: {address} is up", self.name),
                _ => {}
            }
        }
    }

    /// Each address and whether it was up when last looked at.
    pub(crate) fn health(&self) -> Vec<(String, bool)> {
        let backends = self.balancer.backends();
        backends.get_backend().iter().map(|b| (b.addr.to_string(), backends.ready(b))).collect()
    }
}

/// All upstreams by name.
pub(crate) type Upstreams = HashMap<UpstreamName, Arc<Upstream>>;
