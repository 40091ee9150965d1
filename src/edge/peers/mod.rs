//! Upstreams: addresses that are known beforehand, balanced, looked after.
//!
//! Nothing here waits on a request's way: names are looked up and addresses
//! checked beside it ([`watch_all`]). Which request goes to an upstream at all is
//! not decided here, and neither is whether one may be sent again.

mod condition;
mod message;
mod probe;
mod resolve;
mod ring;
mod settings;
#[cfg(test)]
mod tests;
mod trailing;
mod trust;
mod upgrade;
mod watch;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::join_all;
use parking_lot::Mutex;
use pingora::connectors::TransportConnector;
use pingora::protocols::TcpKeepalive;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::upstreams::peer::{ALPN, HttpPeer, PeerOptions, Scheme};
use prometheus::Histogram;
use tokio::sync::Notify;

use probe::Probe;
use ring::Ring;
use trust::Print;
use upgrade::Connector;

use super::trailers::Trailing;
use crate::domain::UpstreamName;

pub use resolve::{Resolver, SystemResolver};
pub(crate) use ring::Address;
pub use settings::{
    AuthorizationPolicy, EjectionRule, HealthRule, NamedAddress, UpstreamProtocol, UpstreamSettings,
};
pub use trust::Trust;
pub(crate) use upgrade::RequestEnd;
pub(crate) use watch::watch_all;

/// One upstream, ready to hand out peers.
pub(crate) struct Upstream {
    pub(crate) name: UpstreamName,
    pub(crate) authorization: AuthorizationPolicy,
    /// How long it may be silent before its response head comes.
    pub(crate) patience: Duration,
    /// Of the seconds spent on it, once there is one.
    pub(crate) meter: OnceLock<Histogram>,
    protocol: UpstreamProtocol,
    /// A peer but for its address.
    template: HttpPeer,
    ring: Ring,
    names: Mutex<Vec<NamedAddress>>,
    resolver: Arc<dyn Resolver>,
    /// Somebody could not connect: names may mean something else by now.
    lost: Notify,
    health: HealthRule,
    ejection: EjectionRule,
    probe: Probe,
    fresh: AtomicU64,
    /// True once the configuration does not name it any more.
    retired: AtomicBool,
}

/// What an exchange that may have trailers goes by.
pub(crate) struct Trail {
    pub(crate) transport: Arc<TransportConnector>,
    pub(crate) trailing: Arc<Trailing>,
    pub(crate) is_head: bool,
}

/// Pooled connections are let go after this long; most servers keep theirs
/// longer than this.
const POOL_IDLE: Duration = Duration::from_secs(50);

/// Streams on one HTTP/2 connection.
const STREAMS: u16 = 100;

/// What an HTTP/2 upstream may send ahead on one stream, in bytes. All streams
/// of a connection may: a client that does not read holds up nobody else.
const STREAM_WINDOW: u32 = 512 * 1024;

/// Names are looked up again this often, and when nobody can be reached …
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// … but not more often than this.
const RESOLVE_GAP: Duration = Duration::from_secs(1);

/// Connections whose other end is gone without a word are noticed: after a
/// minute of silence it is asked three times.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(10),
    count: 3,
    user_timeout: Duration::ZERO,
};

impl Upstream {
    pub(crate) fn new(settings: UpstreamSettings) -> Self {
        let template = template(&settings);
        let host = host(&settings);
        Upstream {
            name: settings.name,
            authorization: settings.authorization,
            patience: settings.read_timeout,
            meter: OnceLock::new(),
            protocol: settings.protocol,
            probe: Probe::new(&settings.health, &host, &template),
            template,
            ring: Ring::new(&resolve::all(&settings.addresses)),
            names: Mutex::new(settings.addresses),
            resolver: settings.resolver,
            lost: Notify::new(),
            health: settings.health,
            ejection: settings.ejection,
            fresh: AtomicU64::new(0),
            retired: AtomicBool::new(false),
        }
    }

    /// The next address in turn, of those that are up and were not tried yet.
    pub(crate) fn next(&self, tried: &[SocketAddr]) -> Option<Address> {
        let choice = self.ring.next(tried)?;
        if choice.panics {
            let name = &self.name;
            tracing::warn!("upstream {name}: no address is known to be up, so all get requests");
        }
        Some(choice.address)
    }

    /// True if there is an address that is worth trying after these.
    pub(crate) fn has_another(&self, tried: &[SocketAddr]) -> bool {
        self.ring.has_another(tried)
    }

    /// A peer at `address`. A `fresh` one shares no connection with any other.
    pub(crate) fn peer(&self, address: &Address, fresh: bool) -> Box<HttpPeer> {
        let mut peer = self.template.clone();
        peer._address = PeerAddr::Inet(address.socket);
        if fresh {
            let mut print = Print::default();
            print.add(&self.template.group_key.to_be_bytes());
            print.add(&self.fresh.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            peer.group_key = print.short();
            // Nobody would ever ask for it again.
            peer.options.idle_timeout = Some(Duration::from_millis(1));
        }
        Box::new(peer)
    }

    /// A fresh peer for a request without a body that asks for another protocol;
    /// what it returns is to be told when all of that request is on its way.
    pub(crate) fn peer_to_upgrade(&self, address: &Address) -> (Box<HttpPeer>, Arc<RequestEnd>) {
        let (mut peer, end) = (self.peer(address, true), Arc::default());
        peer.options.custom_l4 = Some(Arc::new(Connector(Arc::clone(&end))));
        (peer, end)
    }

    /// A peer for an exchange that may have trailers.
    pub(crate) fn peer_to_trail(
        &self,
        address: &Address,
        fresh: bool,
        Trail { transport, trailing, is_head }: Trail,
    ) -> Box<HttpPeer> {
        let peer = *self.peer(address, false);
        let may_be_used = !fresh;
        let connector = trailing::Connector { transport, peer, may_be_used, is_head, trailing };
        // Its TLS is below it, and so is the pool that it comes from.
        let mut peer = self.peer(address, true);
        (peer.scheme, peer.client_cert_key) = (Scheme::HTTP, None);
        peer.options.custom_l4 = Some(Arc::new(connector));
        peer
    }

    /// True if requests must go by HTTP/2.
    pub(crate) fn speaks_http2(&self) -> bool {
        self.protocol == UpstreamProtocol::Http2
    }

    /// An address could not be connected to.
    pub(crate) fn unreachable(&self, address: &Address) {
        self.lost.notify_one();
        self.failed(address);
    }

    /// A request came to nothing at an address.
    pub(crate) fn failed(&self, address: &Address) {
        if let Some(out) = address.failed(&self.ejection) {
            let (name, after) = (&self.name, self.ejection.after);
            tracing::warn!(
                "upstream {name}: {address} failed {after} times in a row; out for {out:?}"
            );
        }
    }

    /// A request was answered, whatever the answer.
    pub(crate) fn answered(&self, address: &Address) {
        address.succeeded();
    }

    /// Each address and whether it gets requests.
    pub(crate) fn health(&self) -> Vec<(String, bool)> {
        self.ring.all().iter().map(|a| (a.to_string(), a.is_up())).collect()
    }

    /// Begins with what is known of the addresses of one that it stands for,
    /// unless they are reached in another way.
    pub(crate) fn take_over(&self, old: &Upstream) {
        if old.template.group_key == self.template.group_key {
            self.ring.take_over(&old.ring);
        }
    }

    /// The configuration does not name it any more.
    pub(crate) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// Looks after its addresses and their names, for ever.
    pub(crate) async fn tend(&self) {
        tokio::join!(self.check_again_and_again(), self.resolve_again_and_again());
    }

    async fn check_again_and_again(&self) {
        loop {
            self.check().await;
            tokio::time::sleep(self.health.interval).await;
        }
    }

    /// Looks at all addresses once.
    async fn check(&self) {
        let addresses = self.ring.all();
        let looks = addresses.iter().map(|address| async move {
            let good = self.probe.look(address.socket, &self.health).await;
            match address.checked(good, &self.health) {
                Some(true) => tracing::info!("upstream {}: {address} is up", self.name),
                Some(false) => {
                    tracing::warn!("upstream {}: {address} is down", self.name);
                    self.lost.notify_one();
                }
                None => {}
            }
        });
        join_all(looks).await;
    }

    async fn resolve_again_and_again(&self) {
        if !self.names.lock().iter().any(NamedAddress::is_name) {
            return;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(RESOLVE_EVERY) => {}
                () = self.lost.notified() => {}
            }
            self.resolve().await;
            tokio::time::sleep(RESOLVE_GAP).await;
        }
    }

    /// Looks all names up once.
    async fn resolve(&self) {
        let mut names = self.names.lock().clone();
        resolve::refresh(&mut names, self.resolver.as_ref(), self.name.as_str()).await;
        let (come, gone) = self.ring.replace(&resolve::all(&names));
        *self.names.lock() = names;
        if !come.is_empty() || !gone.is_empty() {
            tracing::info!(
                ?come,
                ?gone,
                "upstream {}: its names mean other addresses now",
                self.name
            );
        }
    }
}

/// The authority that checks ask for.
fn host(settings: &UpstreamSettings) -> String {
    let first = settings.addresses.first().map_or("", |name| name.text.as_str());
    let Some(trust) = &settings.trust else { return first.to_owned() };
    let name = match trust.server_name().parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => trust.server_name().to_owned(),
    };
    match first.rsplit_once(':') {
        Some((_, port)) if port != "443" => format!("{name}:{port}"),
        _ => name,
    }
}

/// What all peers of an upstream have in common.
fn template(settings: &UpstreamSettings) -> HttpPeer {
    let mut options = PeerOptions::new();
    options.connection_timeout = Some(settings.connect_timeout);
    options.total_connection_timeout = Some(settings.connect_timeout);
    options.write_timeout = Some(settings.read_timeout);
    options.idle_timeout = Some(POOL_IDLE);
    options.tcp_keepalive = Some(KEEPALIVE);
    // `edge::headers` does so in its one walk; Pingora searches for each of them.
    options.http_upstream_request_policy.strip_hop_by_hop = false;
    if settings.protocol == UpstreamProtocol::Http2 {
        options.alpn = ALPN::H2;
        options.max_h2_streams = usize::from(STREAMS);
        options.h2_stream_window_size = Some(STREAM_WINDOW);
        options.h2_connection_window_size = Some(STREAM_WINDOW * u32::from(STREAMS));
    }
    let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let name = settings.trust.as_ref().map(Trust::server_name);
    let mut peer = HttpPeer::new(nowhere, name.is_some(), name.unwrap_or_default().to_owned());
    peer.options = options;
    // Connections are shared within one upstream as it is configured now.
    // Pingora's own key leaves out whom to trust, and the protocol.
    let mut print = Print::default();
    print.add(settings.name.as_str().as_bytes());
    print.add(if settings.protocol == UpstreamProtocol::Http2 { b"h2" } else { b"http/1.1" });
    if let Some(trust) = &settings.trust {
        print.add(trust.fingerprint());
        trust.apply(&mut peer);
    }
    peer.group_key = print.short();
    peer
}

/// All upstreams by name. Nobody but the configuration names any: the hash need only be
/// quick.
pub(crate) type Upstreams = HashMap<UpstreamName, Arc<Upstream>, foldhash::fast::RandomState>;

/// Begins with what is known of those that `new` stand for. One that is not named any more
/// stays until the next time, for what was judged a moment ago.
pub(crate) fn take_over_all(new: &mut Upstreams, old: &Upstreams) {
    for (name, upstream) in old {
        match new.get(name) {
            Some(new) => new.take_over(upstream),
            None if upstream.is_retired() => {}
            None => {
                upstream.retire();
                new.insert(name.clone(), Arc::clone(upstream));
            }
        }
    }
}
