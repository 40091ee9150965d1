//! TLS handshakes: how long, how many from one source, and how they end.
//!
//! A handshake costs the gateway more than the client. So it has a deadline of
//! its own, and one source can't hold more than a few of the connections with
//! handshakes that it never ends. Failures are counted, and logged only at
//! `debug`: a port scan must not fill a disk.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::tls::TlsFront;
use super::wire::Wire;
use crate::metrics::Metrics;

/// Handshakes in progress from one address (IPv6: one /64). An honest one takes
/// some round trips: with 100 ms each this still admits over a thousand new
/// connections a second, from behind one address translator or balancer. Whoever
/// stalls them needs eighty sources to fill the default cap on connections.
const PER_SOURCE: u32 = 256;

/// The handshakes in progress, by source.
#[derive(Clone, Default)]
pub(crate) struct Handshakes {
    sources: Arc<Mutex<HashMap<IpAddr, u32>>>,
}

/// A handshake's place; given back when dropped.
struct Place {
    sources: Arc<Mutex<HashMap<IpAddr, u32>>>,
    source: IpAddr,
}

impl Handshakes {
    fn enter(&self, address: IpAddr) -> Option<Place> {
        let source = source_of(address);
        let mut sources = self.sources.lock();
        let count = sources.entry(source).or_default();
        if *count >= PER_SOURCE {
            return None;
        }
        *count += 1;
        Some(Place { sources: Arc::clone(&self.sources), source })
    }

    /// Shakes hands; `None` if that comes to nothing. Also the names that the
    /// connection is bound to.
    pub(crate) async fn shake(
        &self,
        front: &TlsFront,
        stream: TcpStream,
        peer: SocketAddr,
        deadline: Duration,
        metrics: &Metrics,
    ) -> Option<(Wire, Option<Arc<[String]>>)> {
        let count = |outcome| metrics.tls_handshakes.with_label_values(&[outcome]).inc();
        let Some(_place) = self.enter(peer.ip()) else {
            count("too_many");
            return None;
        };
        let acceptor = TlsAcceptor::from(Arc::clone(&front.config));
        match timeout(deadline, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                count("ok");
                let bound = front.bound(stream.get_ref().1.server_name());
                Some((Wire::tls(stream, peer), bound))
            }
            Ok(Err(error)) => {
                count("failed");
                tracing::debug!(%error, "a TLS handshake failed");
                None
            }
            Err(_) => {
                count("timed_out");
                None
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = self.sources.lock();
        if let Some(count) = sources.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                sources.remove(&self.source);
            }
        }
    }
}

/// An IPv6 client has a whole /64 to choose its address from.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_share_and_gives_it_back() {
        let handshakes = Handshakes::default();
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut places: Vec<_> = (0..PER_SOURCE)
            .map(|at| handshakes.enter(address(&format!("2001:db8::{at:x}"))).unwrap())
            .collect();
        assert!(handshakes.enter(address("2001:db8::ffff:1")).is_none());
        assert!(handshakes.enter(address("2001:db8:0:1::1")).is_some());
        assert!(handshakes.enter(address("192.0.2.1")).is_some());
        places.pop();
        places.push(handshakes.enter(address("2001:db8::1")).unwrap());
        drop(places);
        assert!(handshakes.sources.lock().is_empty());
        assert_eq!(source_of(address("::ffff:192.0.2.1")), address("192.0.2.1"));
    }
}
