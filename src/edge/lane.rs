//! Threads that each serve connections of their own, from the first byte to the last,
//! with upstream connections of their own.
//!
//! A request is at work for a few microseconds, and then waits: that another thread might
//! take over its next step costs it more than the step, in threads that wake one another.
//! So nobody takes over. A new connection goes where there are fewest. Measured on two cores
//! with 64 clients: 28 µs of processor time a request, 41 with two workers that steal.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pingora::apps::HttpServerApp;
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::connection::{Arrival, Client, serve};
use super::handshake::Handshakes;
use super::headers::Origin;
use super::http2;
use super::proxy::Gateway;
use super::seat::Seat;
use super::wire::{Wire, prepare};

/// Idle connections to upstreams that are kept: on all threads together, and on each at
/// least.
const KEPT: usize = 1024;
const KEPT_AT_LEAST: usize = 128;

/// One thread, and how it sees the gateway.
pub(super) struct Lane {
    thread: Handle,
    pub(super) gateway: Gateway,
    proxy: Arc<HttpProxy<Gateway>>,
    open: AtomicUsize,
}

/// A connection that has come, and is not registered with any thread yet.
pub(super) struct Newcomer {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) seat: Seat,
    /// Those in progress, where the listener speaks TLS.
    pub(super) handshakes: Option<Handshakes>,
}

/// How one of so many keeps its connections to upstreams.
pub(super) fn upstreams_of_one(threads: usize) -> ServerConf {
    let mut conf = ServerConf::new().unwrap_or_default();
    conf.max_retries = 4;
    conf.upstream_keepalive_pool_size = KEPT.div_ceil(threads.max(1)).max(KEPT_AT_LEAST);
    conf
}

impl Lane {
    pub(super) fn new(thread: Handle, gateway: Gateway, upstreams: &Arc<ServerConf>) -> Self {
        let proxy = Arc::new(http_proxy(upstreams, gateway.clone()));
        Lane { thread, gateway, proxy, open: AtomicUsize::new(0) }
    }

    /// Where tasks are started that belong here.
    pub(super) fn thread(&self) -> &Handle {
        &self.thread
    }

    /// Whether a part of what comes here is refused.
    pub(super) fn is_late(&self) -> bool {
        self.gateway.lag.is_late()
    }

    /// How many connections are here.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Serves a connection to its end. To be run on the lane's own thread; it counts from
    /// now on.
    pub(super) fn serve(
        self: &Arc<Self>,
        newcomer: Newcomer,
    ) -> impl Future<Output = ()> + Send + use<> {
        let open = Open::new(Arc::clone(self));
        async move {
            let Newcomer { stream, peer, seat, handshakes } = newcomer;
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => return tracing::warn!(%error, "can't serve a connection"),
            };
            prepare(&stream);
            match handshakes {
                None => open.0.serve_plain(stream, peer, seat).await,
                // Boxed: an idle connection in clear should not pay for it.
                Some(handshakes) => {
                    Box::pin(open.0.serve_tls(handshakes, stream, peer, seat)).await;
                }
            }
        }
    }

    async fn serve_plain(&self, stream: TcpStream, peer: SocketAddr, seat: Seat) {
        let arrival = Arrival { origin: origin(peer, false), bound: None };
        let client = Client { arrival, wire: Wire::plain(stream, peer), seat };
        serve(&self.gateway, &self.proxy, client, self.stop()).await;
    }

    async fn serve_tls(
        &self,
        handshakes: Handshakes,
        stream: TcpStream,
        peer: SocketAddr,
        seat: Seat,
    ) {
        let settings = self.gateway.settings.load_full();
        let Some(front) = &settings.tls else { return };
        let (deadline, metrics) = (settings.head.header_timeout, &self.gateway.reporter.metrics);
        let mut leave = self.gateway.leave.clone();
        let shaken = tokio::select! {
            shaken = handshakes.shake(front, stream, peer, deadline, metrics) => shaken,
            _ = leave.wait_for(|leave| *leave) => return,
        };
        drop(settings);
        let Some((wire, bound)) = shaken else { return };
        let speaks_h2 = wire.speaks_h2();
        let client = Client { arrival: Arrival { origin: origin(peer, true), bound }, wire, seat };
        match speaks_h2 {
            true => http2::serve(&self.gateway, &self.proxy, client, self.stop()).await,
            false => serve(&self.gateway, &self.proxy, client, self.stop()).await,
        }
    }

    fn stop(&self) -> &ShutdownWatch {
        &self.gateway.stop
    }

    /// Closes the connections to upstreams that are kept.
    pub(super) async fn clean_up(&self) {
        self.proxy.http_cleanup().await;
    }
}

fn origin(peer: SocketAddr, tls: bool) -> Origin {
    Origin { address: peer.ip().to_canonical(), tls }
}

/// Counts a connection for as long as it lives.
struct Open(Arc<Lane>);

impl Open {
    fn new(lane: Arc<Lane>) -> Self {
        lane.open.fetch_add(1, Ordering::Relaxed);
        lane.gateway.reporter.metrics.open_connections.inc();
        Open(lane)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.gateway.reporter.metrics.open_connections.dec();
    }
}
