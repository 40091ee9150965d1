//! The sockets that are listened on: those that systemd or the process before
//! handed over, as far as the configuration names their addresses, and new ones
//! for the rest. A socket is known by its address; only where the configuration
//! leaves the port to the system, by its name.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};

use listenfd::ListenFd;
use tokio::net::TcpListener;

use super::aside::Aside;
use super::start::StartError;
use crate::config::{Admin, Metrics, Server};
use crate::edge::bind;

/// What the sockets of a port are called when they are handed on.
const DATA: &str = "data";
const TLS: &str = "tls";
const ADMIN: &str = "admin";
const METRICS: &str = "metrics";

/// Listening sockets that somebody opened for this process.
#[derive(Default)]
pub struct Sockets {
    named: Vec<(String, std::net::TcpListener)>,
}

impl Sockets {
    /// Takes those that `LISTEN_FDS` and `LISTEN_FDNAMES` speak of (`sd_listen_fds(3)`).
    /// To be called once, before there are threads: it takes the variables away.
    ///
    /// # Errors
    /// When one of them is no listening TCP socket.
    pub fn from_env() -> std::io::Result<Self> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = ListenFd::from_env();
        let mut named = Vec::new();
        for place in 0..given.len() {
            let name = names.next().unwrap_or_default().to_owned();
            if let Some(socket) = given.take_tcp_listener(place)? {
                socket.set_nonblocking(true)?;
                named.push((name, socket));
            }
        }
        Ok(Sockets { named })
    }

    /// The addresses, for messages.
    fn addresses(&self) -> Vec<SocketAddr> {
        self.named.iter().filter_map(|(_, socket)| socket.local_addr().ok()).collect()
    }

    fn take(&mut self, address: SocketAddr, key: Key) -> Option<std::net::TcpListener> {
        let fits = |(name, socket): &(String, std::net::TcpListener)| {
            socket.local_addr().is_ok_and(|local| {
                let any_port = address.port() == 0 && local.ip() == address.ip();
                local == address || (any_port && name == key.name)
            })
        };
        let place = self.named.iter().position(fits)?;
        Some(self.named.swap_remove(place).1)
    }
}

/// A key of the configuration that says where to listen.
#[derive(Clone, Copy)]
struct Key {
    key: &'static str,
    name: &'static str,
}

/// All listeners of a gateway, and where they are once the system has picked ports.
pub(super) struct Listeners {
    pub(super) plain: Vec<TcpListener>,
    pub(super) encrypted: Vec<TcpListener>,
    /// Woken by the threads beside, as the next one.
    pub(super) admin: TcpListener,
    pub(super) metrics: TcpListener,
    pub(super) at: Addresses,
    pub(super) doors: Doors,
}

/// Where a gateway listens.
pub(super) struct Addresses {
    pub(super) data: Vec<SocketAddr>,
    pub(super) data_tls: Vec<SocketAddr>,
    pub(super) admin: SocketAddr,
    pub(super) metrics: SocketAddr,
}

/// Second handles of all listeners, with their names. As long as one is there, the
/// system goes on taking connections.
pub(super) type Doors = Vec<(&'static str, OwnedFd)>;

impl Listeners {
    /// Takes and binds what the configuration asks for. A socket that is left over is
    /// an error where a service manager opened it, since nobody would accept on it.
    pub(super) fn open(
        (server, admin, metrics): (&Server, &Admin, &Metrics),
        mut sockets: Sockets,
        strict: bool,
        aside: &Aside,
    ) -> Result<Self, StartError> {
        let tls = server.tls.as_ref().map_or(&[][..], |tls| &tls.listen);
        let mut all = |addresses: &[SocketAddr], key: &'static str, name| {
            let key = Key { key, name };
            let one = |address: &SocketAddr| listen(*address, key, &mut sockets);
            addresses.iter().map(one).collect::<Result<Vec<_>, _>>()
        };
        let plain = all(&server.listen, "server.listen", DATA)?;
        let encrypted = all(tls, "server.tls.listen", TLS)?;
        let key = Key { key: "admin.listen", name: ADMIN };
        let admin = listen(admin.listen, key, &mut sockets)?;
        let key = Key { key: "metrics.listen", name: METRICS };
        let metrics = listen(metrics.listen, key, &mut sockets)?;
        match sockets.addresses().first() {
            Some(address) if strict => return Err(StartError::Unwanted(*address)),
            Some(address) => tracing::info!(%address, "is not listened on any more"),
            None => {}
        }
        let one = |listener: &TcpListener| listener.local_addr().map_err(StartError::Thread);
        let at = Addresses {
            data: local(&plain, "server.listen")?,
            data_tls: local(&encrypted, "server.tls.listen")?,
            admin: one(&admin)?,
            metrics: one(&metrics)?,
        };
        let doors = doors(&plain, &encrypted, &admin, &metrics)?;
        let adopt = |listener| aside.adopt(listener).map_err(StartError::Thread);
        let (admin, metrics) = (adopt(admin)?, adopt(metrics)?);
        Ok(Listeners { plain, encrypted, admin, metrics, at, doors })
    }
}

/// For whoever comes next.
fn doors(
    plain: &[TcpListener],
    encrypted: &[TcpListener],
    admin: &TcpListener,
    metrics: &TcpListener,
) -> Result<Doors, StartError> {
    let plain = plain.iter().map(|listener| (DATA, listener));
    let encrypted = encrypted.iter().map(|listener| (TLS, listener));
    let beside = [(ADMIN, admin), (METRICS, metrics)];
    let second = |(name, listener): (&'static str, &TcpListener)| {
        listener.as_fd().try_clone_to_owned().map(|door| (name, door))
    };
    let all = plain.chain(encrypted).chain(beside).map(second);
    all.collect::<Result<_, _>>().map_err(StartError::Thread)
}

fn listen(
    address: SocketAddr,
    Key { key, name }: Key,
    sockets: &mut Sockets,
) -> Result<TcpListener, StartError> {
    let listener = match sockets.take(address, Key { key, name }) {
        Some(socket) => TcpListener::from_std(socket),
        None => bind(address),
    };
    listener.map_err(|error| StartError::Listen { address, key, error })
}

fn local(listeners: &[TcpListener], key: &'static str) -> Result<Vec<SocketAddr>, StartError> {
    let failed = |error| StartError::Listen { address: ([0, 0, 0, 0], 0).into(), key, error };
    listeners.iter().map(|listener| listener.local_addr().map_err(failed)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(name: &str) -> (Sockets, SocketAddr) {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let address = socket.local_addr().unwrap();
        (Sockets { named: vec![(name.to_owned(), socket)] }, address)
    }

    const KEY: Key = Key { key: "server.listen", name: DATA };

    #[test]
    fn a_socket_is_known_by_its_address_and_without_a_port_by_its_name() {
        let (mut sockets, address) = given("portcullis.socket");
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], address.port()));
        assert!(sockets.take(elsewhere, KEY).is_none());
        assert!(sockets.take(([127, 0, 0, 1], 0).into(), KEY).is_none());
        assert!(sockets.take(address, KEY).is_some());
        assert!(sockets.take(address, KEY).is_none());

        let (mut sockets, _) = given(DATA);
        let any_port = ([127, 0, 0, 1], 0).into();
        assert!(sockets.take(any_port, Key { key: "admin.listen", name: ADMIN }).is_none());
        assert!(sockets.take(any_port, KEY).is_some());
    }
}
