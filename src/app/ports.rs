//! Serving the admin and the metrics port: heads, connections and their lives
//! are bounded, so that a slow client can't keep others out. Bodies have their
//! deadline where they are read.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::ServiceExt;

/// What a client of these ports may do: as on the data plane.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    /// How long a head may take, and a connection may idle between two.
    pub(super) within: Duration,
    /// The longest head, in bytes.
    pub(super) bytes: usize,
}

/// Less than this hyper can't work with, in bytes.
const LEAST: usize = 8192;
/// The most connections of one port.
const MOST: usize = 512;
/// The most from one address: whoever is slow leaves room for others.
const MOST_EACH: usize = 128;
/// After this long a connection takes no further request, and what reads its
/// answer too slowly is let go soon after.
const LIFE: Duration = Duration::from_secs(300);
/// How long the last request of a connection may take.
const LAST: Duration = Duration::from_secs(30);
/// A pause when the system has no connection to give.
const PAUSE: Duration = Duration::from_millis(50);

/// Places for connections, by address.
#[derive(Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

impl Places {
    fn take(self: &Arc<Self>, source: IpAddr) -> Option<Place> {
        let mut taken = self.0.lock();
        let all: usize = taken.values().sum();
        let mine = taken.get(&source).copied().unwrap_or(0);
        if all >= MOST || mine >= MOST_EACH {
            return None;
        }
        taken.insert(source, mine + 1);
        Some(Place { places: Arc::clone(self), source })
    }
}

struct Place {
    places: Arc<Places>,
    source: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if let Some(count) = taken.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.source);
            }
        }
    }
}

/// How far the end of a port has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Closing {
    Open,
    /// No new connections: another process takes them.
    Shut,
    /// Those that are there take no further request.
    Leaving,
}

/// Serves until `closing` says otherwise, then lets requests under way end.
pub(super) async fn serve(
    listener: &TcpListener,
    app: Router,
    heads: Heads,
    mut closing: watch::Receiver<Closing>,
) {
    let places = Arc::new(Places::default());
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closing.wait_for(|it| *it >= Closing::Shut) => break,
        };
        while connections.try_join_next().is_some() {}
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        // Whoever is one too many is hung up on.
        let Some(place) = places.take(peer.ip().to_canonical()) else { continue };
        let (app, closing) = (app.clone(), closing.clone());
        connections.spawn(async move {
            connection(stream, peer, app, heads, closing).await;
            drop(place);
        });
    }
    while connections.join_next().await.is_some() {}
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    app: Router,
    heads: Heads,
    mut closing: watch::Receiver<Closing>,
) {
    let _ = stream.set_nodelay(true);
    let app = app.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(heads.within);
    builder.max_buf_size(heads.bytes.max(LEAST));
    let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut served = pin!(served);
    let over = async {
        tokio::select! {
            () = tokio::time::sleep(LIFE) => {}
            _ = closing.wait_for(|it| *it >= Closing::Leaving) => {}
        }
    };
    tokio::select! {
        // How a client leaves is its own affair.
        _ = served.as_mut() => return,
        () = over => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LAST, served).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_leaves_room_for_others() {
        let places = Arc::new(Places::default());
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        let held: Vec<_> = (0..MOST_EACH).map(|_| places.take(address(1)).unwrap()).collect();
        assert!(places.take(address(1)).is_none());
        let other = places.take(address(2));
        assert!(other.is_some());
        let more: Vec<_> = (3..6).flat_map(|n| (0..MOST_EACH).map(move |_| n)).collect();
        let more: Vec<_> = more.into_iter().filter_map(|n| places.take(address(n))).collect();
        assert_eq!(held.len() + more.len() + 1, MOST);
        assert!(places.take(address(9)).is_none());
        drop((held, more, other));
        assert!(places.0.lock().is_empty());
    }
}
