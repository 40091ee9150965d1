//! A client's connection, lent to Pingora.
//!
//! Pingora owns what it serves, and drops it when its future is dropped. What it
//! gets here gives the connection back to whoever lent it, so that a last word
//! can be said. One check of an `Option` for each call is all that it costs.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use http::header;
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl,
    Stream, TimingDigest, UniqueID, UniqueIDType,
};
use pingora::proxy::Session;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::wire::Wire;

/// How long the end of a connection may take: the alert that ends TLS.
const FAREWELL: Duration = Duration::from_secs(1);

/// What Pingora gets.
#[derive(Debug)]
struct Loan {
    /// There as long as the loan is.
    wire: Option<Box<Wire>>,
    home: Option<oneshot::Sender<Box<Wire>>>,
}

/// Where a connection comes back to.
pub(crate) struct Home(oneshot::Receiver<Box<Wire>>);

/// Lends a connection.
pub(crate) fn lend(wire: Wire) -> (Stream, Home) {
    let (home, back) = oneshot::channel();
    (Box::new(Loan { wire: Some(Box::new(wire)), home: Some(home) }), Home(back))
}

impl Home {
    /// The connection, once nobody has the loan any more.
    pub(crate) fn returned(mut self) -> Option<Wire> {
        self.0.try_recv().ok().map(|wire| *wire)
    }

    /// Ends a loan.
    pub(crate) fn take_back(self, loan: Stream) -> Option<Wire> {
        drop(loan);
        self.returned()
    }
}

/// To be called with each 101, before it is written.
pub(crate) fn switches(session: &Session, response: &ResponseHeader) {
    let protocol = response.headers.get(header::UPGRADE);
    let stream = session.downstream_session.stream();
    let loan = stream.and_then(|stream| stream.as_ref().as_any().downcast_ref::<Loan>());
    if let (Some(Loan { wire: Some(wire), .. }), Some(protocol)) = (loan, protocol)
        && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
    {
        wire.becomes_tunnel();
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let (Some(wire), Some(home)) = (self.wire.take(), self.home.take()) {
            // If the lender is gone as well, that is the end.
            let _ = home.send(wire);
        }
    }
}

impl Loan {
    fn wire(&mut self) -> Result<Pin<&mut Wire>> {
        self.wire.as_deref_mut().map(Pin::new).ok_or_else(|| Error::from(ErrorKind::NotConnected))
    }
}

/// Never pending by itself: an error here is one of a loan that is over.
macro_rules! wire {
    ($loan:expr) => {
        match $loan.get_mut().wire() {
            Ok(wire) => wire,
            Err(error) => return Poll::Ready(Err(error)),
        }
    };
}

impl AsyncRead for Loan {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        wire!(self).poll_read(cx, buf)
    }
}

impl AsyncWrite for Loan {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        wire!(self).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        wire!(self).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        wire!(self).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        wire!(self).poll_shutdown(cx)
    }
}

#[async_trait]
impl Shutdown for Loan {
    async fn shutdown(&mut self) {
        // Who has left, or does not read, needs no goodbye.
        let _ = timeout(FAREWELL, AsyncWriteExt::shutdown(self)).await;
    }
}

impl UniqueID for Loan {
    fn id(&self) -> UniqueIDType {
        self.wire.as_ref().map_or(-1, |wire| wire.id)
    }
}

impl Ssl for Loan {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.wire.as_ref()?.ssl.clone()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        let wire = self.wire.as_ref().filter(|wire| wire.ssl.is_some())?;
        Some(if wire.speaks_h2 { ALPN::H2 } else { ALPN::H1 })
    }
}

impl GetTimingDigest for Loan {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Loan {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Loan {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.wire.as_ref().map(|wire| Arc::clone(&wire.socket))
    }
}

impl Peek for Loan {}
