//! Listeners, the cap on connections, and the end.

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::connectors::{ConnectorOptions, TransportConnector};
use tokio::net::{TcpListener, TcpSocket};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::again::again;
use super::handshake::Handshakes;
use super::lag::{Lag, Late, Probe};
use super::lane::{Lane, Newcomer, upstreams_of_one};
use super::peers::{take_over_all, watch_all};
use super::proxy::Gateway;
use super::seat::Seats;
use super::settings::EdgeSettings;
use super::stage::Reporter;
use crate::domain::RequestIds;
use crate::metrics::{AccessLog, Meters, Metrics};
use crate::service::Context;

/// The data plane.
pub struct DataPlane {
    settings: Arc<ArcSwap<EdgeSettings>>,
    lanes: Arc<[Arc<Lane>]>,
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
    /// Puts it together; nothing is served yet. `id_start` is random; each of `threads`
    /// serves connections of its own, and there is one at least.
    pub fn new(
        context: Arc<Context>,
        settings: EdgeSettings,
        metrics: Metrics,
        log: Arc<AccessLog>,
        id_start: u64,
        threads: &[Handle],
    ) -> Self {
        let [stop, shut, leave, cut] = std::array::from_fn(|_| watch::Sender::new(false));
        let settings = Arc::new(ArcSwap::from_pointee(settings));
        let lags = Lag::of_all(&metrics.data_plane_lag, threads.len());
        let reporter = Arc::new(Reporter { metrics, meters: Meters::default(), log });
        let ids = Arc::new(RequestIds::new(id_start));
        let upstreams = Arc::new(upstreams_of_one(threads.len()));
        let lane = |(thread, lag): (&Handle, Lag)| {
            let options = ConnectorOptions::from_server_conf(&upstreams);
            let gateway = Gateway {
                context: Arc::clone(&context),
                settings: Arc::clone(&settings),
                reporter: Arc::clone(&reporter),
                ids: Arc::clone(&ids),
                lag: Arc::new(lag),
                transport: Arc::new(TransportConnector::new(Some(options))),
                stop: stop.subscribe(),
                leave: leave.subscribe(),
            };
            Arc::new(Lane::new(thread.clone(), gateway, &upstreams))
        };
        // Each reads the platform's certificates: side by side, as the store may be away.
        let lanes = thread::scope(|scope| {
            let lane = &lane;
            let all = threads.iter().zip(lags).map(|one| scope.spawn(move || lane(one)));
            let all: Vec<_> = all.collect();
            all.into_iter()
                .map(|one| one.join().unwrap_or_else(|fault| resume_unwind(fault)))
                .collect()
        });
        DataPlane { settings, lanes, stop, shut, leave, cut, unattended: watch::Sender::default() }
    }

    /// Replaces the settings; requests under way end with the old ones. What
    /// was judged a moment ago may still go to an upstream that is dropped.
    pub fn reload(&self, mut settings: EdgeSettings) {
        take_over_all(&mut settings.upstreams, &self.settings.load().upstreams);
        // The listeners stay until a restart, and so does what they show.
        settings.tls = settings.tls.or_else(|| self.settings.load().tls.clone());
        self.settings.store(Arc::new(settings));
    }

    /// Each upstream address and whether it was up when last looked at.
    pub fn upstream_health(&self) -> Vec<(String, String, bool)> {
        let settings = self.settings.load();
        let health = settings.upstreams.values().filter(|u| !u.is_retired()).flat_map(|upstream| {
            let name = upstream.name.to_string();
            upstream.health().into_iter().map(move |(address, up)| (name.clone(), address, up))
        });
        health.collect()
    }

    /// Looks after all upstreams, until the end.
    pub async fn watch_upstreams(&self) {
        watch_all(&self.settings, self.leave.subscribe()).await;
    }

    /// Finds out how late each thread comes to what happens, for ever, and refuses there
    /// what is too much.
    pub async fn watch_lag(&self, probe: &dyn Probe) {
        let mut looking = JoinSet::new();
        for lane in self.lanes.iter() {
            let mut probe = probe.another();
            let (gateway, mut late) = (lane.gateway.clone(), Late::default());
            let look = async move {
                loop {
                    let sample = probe.next().await;
                    gateway.lag.learn(&mut late, sample, gateway.settings.load().lag);
                }
            };
            looking.spawn_on(look, lane.thread());
        }
        while let Some(ended) = looking.join_next().await {
            if let Err(error) = ended
                && error.is_panic()
            {
                resume_unwind(error.into_panic());
            }
        }
    }

    /// Serves until [`DataPlane::shut`], then lets what is under way end, until
    /// [`DataPlane::cut`]. `encrypted` listeners speak TLS.
    pub async fn serve(&self, plain: Vec<TcpListener>, encrypted: Vec<TcpListener>) {
        self.unattended.send_replace(Some(plain.len() + encrypted.len()));
        let seats = Seats::new(self.settings.load().connections);
        let mut accepting = JoinSet::new();
        let connections = Arc::new(tokio::sync::Mutex::new(JoinSet::new()));
        let handshakes = Handshakes::default();
        let plain = plain.into_iter().map(|listener| (listener, None));
        let encrypted = encrypted.into_iter().map(|listener| (listener, Some(handshakes.clone())));
        for (listener, handshakes) in plain.chain(encrypted) {
            let door = Door { lanes: Arc::clone(&self.lanes), handshakes };
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
        for lane in self.lanes.iter() {
            lane.clean_up().await;
        }
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

/// Where the connections of a listener go.
#[derive(Clone)]
struct Door {
    lanes: Arc<[Arc<Lane>]>,
    /// Those in progress, where the listener speaks TLS.
    handshakes: Option<Handshakes>,
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
        // One that is late answers soonest, with no.
        let choice = door.lanes.iter().min_by_key(|lane| (lane.is_late(), lane.open()));
        let Some(lane) = choice else { return };
        // Woken by its own thread from now on.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!(%error, "can't pass a connection on");
                continue;
            }
        };
        let handshakes = door.handshakes.clone();
        let served = lane.serve(Newcomer { stream, peer, seat, handshakes });
        let mut running = connections.lock().await;
        while running.try_join_next().is_some() {}
        running.spawn_on(served, lane.thread());
    }
}
