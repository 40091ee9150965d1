//! Addresses for those that are started, and such as nobody is at.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::TcpSocket;

/// An address that nobody has, nor gets from the system meanwhile: its port lies below
/// those that are given out for outgoing connections, and no other call returns it. A
/// child that is just being started holds no more than what others may bind, too.
pub(crate) fn free() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 89;
        let address = SocketAddr::from(([127, 0, 0, 1], 10_000 + (next % 22_000) as u16));
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        if socket.bind(address).is_ok() {
            return address;
        }
    }
}

/// An address that refuses connections for as long as this lives: it is bound, so that
/// nobody else gets it, and never listens.
pub(crate) struct Refusing {
    pub(crate) address: SocketAddr,
    _socket: TcpSocket,
}

impl Refusing {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        Refusing { address: socket.local_addr().unwrap(), _socket: socket }
    }
}
