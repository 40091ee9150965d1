//! Listeners, the cap on connections, and the end.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::apps::HttpServerApp;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream as TcpSession;
use pingora::protocols::{GetSocketDigest, SocketDigest, Stream};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::connection::{Client, serve};
use super::headers::{Origin, RequestIds};
use super::proxy::Gateway;
use super::settings::EdgeSettings;
use super::stage::Reporter;
use crate::metrics::{AccessLog, Metrics};
use crate::service::Context;

/// The data plane.
pub struct DataPlane {
    gateway: Gateway,
    proxy: Arc<HttpProxy<Gateway>>,
    stop: watch::Sender<bool>,
}

/// How often upstreams with several addresses are looked at.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Connections that wait for `accept`.
const BACKLOG: u32 = 4096;

/// Binds a listener; port 0 takes a free one.
///
/// # Errors
/// When the address can't be had.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl DataPlane {
    /// Puts it together; nothing is served yet. `id_start` is random.
    pub fn new(
        context: Arc<Context>,
        settings: EdgeSettings,
        metrics: Metrics,
        log: Arc<AccessLog>,
        id_start: u64,
    ) -> Self {
        let stop = watch::Sender::new(false);
        let gateway = Gateway {
            context,
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            reporter: Arc::new(Reporter { metrics, log }),
            ids: Arc::new(RequestIds::new(id_start)),
            stop: stop.subscribe(),
        };
        let mut conf = ServerConf::new().unwrap_or_default();
        conf.max_retries = 4;
        conf.upstream_keepalive_pool_size = 1024;
        let proxy = Arc::new(http_proxy(&Arc::new(conf), gateway.clone()));
        DataPlane { gateway, proxy, stop }
    }

    /// Replaces the settings; requests under way end with the old ones. What
    /// was judged a moment ago may still go to an upstream that is dropped.
    pub fn reload(&self, mut settings: EdgeSettings) {
        for (name, upstream) in &self.gateway.settings.load().upstreams {
            settings.upstreams.entry(name.clone()).or_insert_with(|| Arc::clone(upstream));
        }
        self.gateway.settings.store(Arc::new(settings));
    }

    /// Each upstream address and whether it was up when last looked at.
    pub fn upstream_health(&self) -> Vec<(String, String, bool)> {
        let settings = self.gateway.settings.load();
        let health = settings.upstreams.values().flat_map(|upstream| {
            let name = upstream.name.to_string();
            upstream.health().into_iter().map(move |(address, up)| (name.clone(), address, up))
        });
        health.collect()
    }

    /// Looks at all upstreams again and again, until the end.
    pub async fn watch_upstreams(&self) {
        let mut stopped = self.stop.subscribe();
        loop {
            let upstreams: Vec<_> =
                self.gateway.settings.load().upstreams.values().cloned().collect();
            for upstream in upstreams {
                upstream.check().await;
            }
            tokio::select! {
                () = tokio::time::sleep(CHECK_EVERY) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Serves until [`DataPlane::stop`], then lets what is under way end, for
    /// at most `drain`.
    pub async fn serve(&self, listeners: Vec<TcpListener>, drain: Duration) {
        let cap = Arc::new(Semaphore::new(self.gateway.settings.load().connections));
        let mut accepting = JoinSet::new();
        let connections = Arc::new(tokio::sync::Mutex::new(JoinSet::new()));
        for listener in listeners {
            let (gateway, proxy) = (self.gateway.clone(), Arc::clone(&self.proxy));
            let (cap, connections, stop) =
                (Arc::clone(&cap), Arc::clone(&connections), self.stop.subscribe());
            accepting.spawn(async move {
                accept(&gateway, &proxy, &listener, &cap, &connections, stop).await;
            });
        }
        while accepting.join_next().await.is_some() {}
        let mut connections = connections.lock().await;
        let ended = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(drain, ended).await;
        connections.shutdown().await;
        self.proxy.http_cleanup().await;
    }

    /// No new connections; idle ones are closed, busy ones get their answer.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }
}

async fn accept(
    gateway: &Gateway,
    proxy: &Arc<HttpProxy<Gateway>>,
    listener: &TcpListener,
    cap: &Arc<Semaphore>,
    connections: &Arc<tokio::sync::Mutex<JoinSet<()>>>,
    mut stop: ShutdownWatch,
) {
    loop {
        // Above the cap clients wait in the backlog instead of being reset.
        let accepted = tokio::select! {
            accepted = async {
                let place = Arc::clone(cap).acquire_owned().await.ok();
                (place, listener.accept().await)
            } => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let (place, (stream, peer)) = match accepted {
            (place, Ok(connection)) => (place, connection),
            (_, Err(error)) => {
                // Out of file descriptors, most likely: others must end first.
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let (gateway, proxy, stop) = (gateway.clone(), Arc::clone(proxy), stop.clone());
        let mut running = connections.lock().await;
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            let _open = Open::new(&gateway, place);
            let client = Client {
                origin: Origin { address: peer.ip().to_canonical(), tls: false },
                // For the one answer that must go out after Pingora has let go.
                spare: stream.as_fd().try_clone_to_owned().ok().map(Into::into),
            };
            serve(&gateway, &proxy, session(stream, peer), client, &stop).await;
        });
    }
}

/// Counts a connection for as long as it lives.
struct Open {
    gauge: prometheus::IntGauge,
    _place: Option<OwnedSemaphorePermit>,
}

impl Open {
    fn new(gateway: &Gateway, place: Option<OwnedSemaphorePermit>) -> Self {
        let gauge = gateway.reporter.metrics.open_connections.clone();
        gauge.inc();
        Open { gauge, _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// The connection as Pingora wants it.
fn session(stream: TcpStream, peer: SocketAddr) -> Stream {
    let _ = stream.set_nodelay(true);
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    let _ = digest.peer_addr.set(Some(PeerAddr::Inet(peer)));
    let mut session = TcpSession::from(stream);
    session.set_socket_digest(digest);
    Box::new(session)
}
