//! Listeners, the cap on connections, and the end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::apps::HttpServerApp;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::again::again;
use super::connection::{Arrival, Client, serve};
use super::handshake::Handshakes;
use super::headers::Origin;
use super::http2;
use super::lag::{Lag, Late, Probe};
use super::peers::{take_over_all, watch_all};
use super::proxy::Gateway;
use super::seat::{Seat, Seats};
use super::settings::EdgeSettings;
use super::stage::Reporter;
use super::trace::RequestIds;
use super::wire::{Wire, prepare};
use crate::metrics::{AccessLog, Meters, Metrics};
use crate::service::Context;

/// The data plane.
pub struct DataPlane {
    gateway: Gateway,
    proxy: Arc<HttpProxy<Gateway>>,
    stop: watch::Sender<bool>,
    shut: watch::Sender<bool>,
    leave: watch::Sender<bool>,
    cut: watch::Sender<bool>,
    /// Listeners that nobody accepts on yet; `None` before there are any.
    unattended: watch::Sender<Option<usize>>,
}

/// Connections that wait for `accept`.
const BACKLOG: u32 = 4096;

/// What connections may take over their last word when the drain is over.
const FAREWELL: Duration = Duration::from_secs(1);

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
        let [stop, shut, leave, cut] = std::array::from_fn(|_| watch::Sender::new(false));
        let lag = Arc::new(Lag::new(metrics.data_plane_lag.clone()));
        let mut conf = ServerConf::new().unwrap_or_default();
        conf.max_retries = 4;
        conf.upstream_keepalive_pool_size = 1024;
        let options = ConnectorOptions::from_server_conf(&conf);
        let gateway = Gateway {
            context,
            settings: Arc::new(ArcSwap::from_pointee(settings)),
            reporter: Arc::new(Reporter { metrics, meters: Meters::default(), log }),
            ids: Arc::new(RequestIds::new(id_start)),
            lag,
            transport: Arc::new(TransportConnector::new(Some(options))),
            stop: stop.subscribe(),
            leave: leave.subscribe(),
        };
        let proxy = Arc::new(http_proxy(&Arc::new(conf), gateway.clone()));
        DataPlane { gateway, proxy, stop, shut, leave, cut, unattended: watch::Sender::default() }
    }

    /// Replaces the settings; requests under way end with the old ones. What
    /// was judged a moment ago may still go to an upstream that is dropped.
    pub fn reload(&self, mut settings: EdgeSettings) {
        take_over_all(&mut settings.upstreams, &self.gateway.settings.load().upstreams);
        // The listeners stay until a restart, and so does what they show.
        settings.tls = settings.tls.or_else(|| self.gateway.settings.load().tls.clone());
        self.gateway.settings.store(Arc::new(settings));
    }

    /// Each upstream address and whether it was up when last looked at.
    pub fn upstream_health(&self) -> Vec<(String, String, bool)> {
        let settings = self.gateway.settings.load();
        let health = settings.upstreams.values().filter(|u| !u.is_retired()).flat_map(|upstream| {
            let name = upstream.name.to_string();
            upstream.health().into_iter().map(move |(address, up)| (name.clone(), address, up))
        });
        health.collect()
    }

    /// Looks after all upstreams, until the end.
    pub async fn watch_upstreams(&self) {
        watch_all(&self.gateway.settings, self.leave.subscribe()).await;
    }

    /// Finds out how late it comes to what happens, for ever, and refuses what is too much.
    /// To be run where clients are served.
    pub async fn watch_lag(&self, probe: &mut dyn Probe) {
        let mut late = Late::default();
        loop {
            let sample = probe.next().await;
            self.gateway.lag.learn(&mut late, sample, self.gateway.settings.load().lag);
        }
    }

    /// Serves until [`DataPlane::shut`], then lets what is under way end, until
    /// [`DataPlane::cut`]. `encrypted` listeners speak TLS.
    pub async fn serve(&self, plain: Vec<TcpListener>, encrypted: Vec<TcpListener>) {
        self.unattended.send_replace(Some(plain.len() + encrypted.len()));
        let seats = Seats::new(self.gateway.settings.load().connections);
        let mut accepting = JoinSet::new();
        let connections = Arc::new(tokio::sync::Mutex::new(JoinSet::new()));
        let handshakes = Handshakes::default();
        let plain = plain.into_iter().map(|listener| (listener, None));
        let encrypted = encrypted.into_iter().map(|listener| (listener, Some(handshakes.clone())));
        for (listener, handshakes) in plain.chain(encrypted) {
            let door = Door {
                gateway: self.gateway.clone(),
                proxy: Arc::clone(&self.proxy),
                handshakes,
                stop: self.stop.subscribe(),
            };
            let (seats, connections) = (Arc::clone(&seats), Arc::clone(&connections));
            let (shut, unattended) = (self.shut.subscribe(), self.unattended.clone());
            let work = async move || {
                accept(door.clone(), &listener, &seats, &connections, shut.clone()).await;
            };
            accepting.spawn(async move {
                unattended.send_modify(|left| *left = left.map(|left| left.saturating_sub(1)));
                again(work).await;
            });
        }
        while accepting.join_next().await.is_some() {}
        let mut connections = connections.lock().await;
        let (mut leave, mut cut) = (self.leave.subscribe(), self.cut.subscribe());
        let closing = async {
            drop(leave.wait_for(|leave| *leave).await);
            seats.close();
            std::future::pending().await
        };
        tokio::select! {
            () = async { while connections.join_next().await.is_some() {} } => {}
            () = closing => {}
            () = async { drop(cut.wait_for(|cut| *cut).await) } => {
                // What is left is told so, where it can be.
                seats.clear();
                let ended = async { while connections.join_next().await.is_some() {} };
                let _ = tokio::time::timeout(FAREWELL, ended).await;
            }
        }
        connections.shutdown().await;
        self.proxy.http_cleanup().await;
    }

    /// Waits until [`DataPlane::serve`] accepts on all listeners.
    pub async fn accepts(&self) {
        let _ = self.unattended.subscribe().wait_for(|left| *left == Some(0)).await;
    }

    /// First: every answer says that it is the last of its connection. New
    /// connections are taken still, so that nobody finds the door shut before
    /// the load balancers have looked.
    pub fn say_goodbye(&self) {
        self.stop.send_replace(true);
    }

    /// Second: no new connections. Those that have none of their requests answered
    /// yet may ask once more. Implies [`DataPlane::say_goodbye`].
    pub fn shut(&self) {
        self.say_goodbye();
        self.shut.send_replace(true);
    }

    /// Third: idle connections are closed. Implies [`DataPlane::shut`].
    pub fn leave(&self) {
        self.shut();
        self.leave.send_replace(true);
    }

    /// Last: everything is closed, whatever it does. Implies [`DataPlane::leave`].
    pub fn cut(&self) {
        self.leave();
        self.cut.send_replace(true);
    }
}

/// What a connection needs to be served.
#[derive(Clone)]
struct Door {
    gateway: Gateway,
    proxy: Arc<HttpProxy<Gateway>>,
    /// Those in progress, where the listener speaks TLS.
    handshakes: Option<Handshakes>,
    stop: ShutdownWatch,
}

async fn accept(
    door: Door,
    listener: &TcpListener,
    seats: &Arc<Seats>,
    connections: &Arc<tokio::sync::Mutex<JoinSet<()>>>,
    mut shut: watch::Receiver<bool>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = shut.wait_for(|shut| *shut) => return,
        };
        let (stream, peer) = match accepted {
            Ok(connection) => connection,
            Err(error) => {
                // Out of file descriptors, most likely: others must end first.
                tracing::warn!(%error, "can't accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        // Above the cap this one waits for the longest idle to leave, and the
        // rest in the backlog, instead of being reset.
        let seat = tokio::select! {
            seat = seats.take() => seat,
            _ = shut.wait_for(|shut| *shut) => seats.squeeze_in(),
        };
        let door = door.clone();
        let mut running = connections.lock().await;
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            let _open = Open::new(&door.gateway);
            prepare(&stream);
            match door.handshakes.clone() {
                None => door.serve_plain(stream, peer, seat).await,
                // Boxed: an idle connection in clear should not pay for it.
                Some(handshakes) => Box::pin(door.serve_tls(handshakes, stream, peer, seat)).await,
            }
        });
    }
}

impl Door {
    async fn serve_plain(self, stream: TcpStream, peer: SocketAddr, seat: Seat) {
        let arrival = Arrival { origin: origin(peer, false), bound: None };
        let client = Client { arrival, wire: Wire::plain(stream, peer), seat };
        serve(&self.gateway, &self.proxy, client, &self.stop).await;
    }

    async fn serve_tls(
        self,
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
        let Door { gateway, proxy, stop, .. } = self;
        let speaks_h2 = wire.speaks_h2();
        let client = Client { arrival: Arrival { origin: origin(peer, true), bound }, wire, seat };
        match speaks_h2 {
            true => http2::serve(&gateway, &proxy, client, &stop).await,
            false => serve(&gateway, &proxy, client, &stop).await,
        }
    }
}

fn origin(peer: SocketAddr, tls: bool) -> Origin {
    Origin { address: peer.ip().to_canonical(), tls }
}

/// Counts a connection for as long as it lives.
struct Open(prometheus::IntGauge);

impl Open {
    fn new(gateway: &Gateway) -> Self {
        let gauge = gateway.reporter.metrics.open_connections.clone();
        gauge.inc();
        Open(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
