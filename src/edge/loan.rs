//! A client's connection, lent to Pingora.
//!
//! Pingora owns what it serves, and drops it when its future is dropped. What it
//! gets here gives the connection back to whoever lent it, so that a last word
//! can be said. And it gets one request: what a client sends after its end waits
//! for the next one, and chunks that are none come as an error.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use http::header::{DATE, TRANSFER_ENCODING};
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
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

use super::extent::{Extent, Malformed};
use super::trailers::{Trailers, Trailing};
use super::wire::Wire;
use crate::revocation::CutSlot;

/// How long the end of a connection may take: the alert that ends TLS.
const FAREWELL: Duration = Duration::from_secs(1);

/// What Pingora gets.
#[derive(Debug)]
pub(crate) struct Loan {
    /// There as long as the loan is.
    wire: Option<Box<Wire>>,
    home: Option<oneshot::Sender<Box<Wire>>>,
    /// What is left of the body of the request that it is lent for; none between two.
    extent: Option<Extent>,
    /// The lines behind that body.
    trailers: Vec<u8>,
}

/// Where a connection comes back to.
pub(crate) struct Home(oneshot::Receiver<Box<Wire>>);

/// Lends a connection. Who takes nothing of what is sent for as long as `patience` is
/// given up.
pub(crate) fn lend(mut wire: Wire, patience: Duration) -> (Box<Loan>, Home) {
    wire.give_up_after(patience);
    let (home, back) = oneshot::channel();
    let wire = Some(Box::new(wire));
    let loan = Loan { wire, home: Some(home), extent: None, trailers: Vec::new() };
    (Box::new(loan), Home(back))
}

impl Home {
    /// The connection, once nobody has the loan any more.
    pub(crate) fn returned(mut self) -> Option<Wire> {
        self.0.try_recv().ok().map(|wire| *wire)
    }

    /// Ends a loan.
    pub(crate) fn take_back(self, loan: Box<Loan>) -> Option<Wire> {
        drop(loan);
        self.returned()
    }
}

/// Whether what broke off did so since the body of the request is framed wrongly.
pub(crate) fn is_malformed(error: &pingora::Error) -> bool {
    cause(error).and_then(Error::get_ref).is_some_and(|cause| cause.is::<Malformed>())
}

/// Whether it did so since nobody takes what is sent.
pub(crate) fn has_stalled(error: &pingora::Error) -> bool {
    cause(error).is_some_and(|cause| cause.kind() == ErrorKind::TimedOut)
}

fn cause(error: &pingora::Error) -> Option<&Error> {
    error.root_cause().downcast_ref()
}

/// To be called with each 101 to a WebSocket, before it is written.
pub(crate) fn switches(session: &Session) {
    if let Some(Loan { wire: Some(wire), .. }) = of(session) {
        wire.becomes_tunnel();
    }
}

/// To be called where an answer that has begun will not be whole.
pub(crate) fn breaks_off(session: &Session) {
    // Others see it by the length that was said, or by the last chunk that is not there.
    if session.req_header().version == http::Version::HTTP_10
        && let Some(Loan { wire: Some(wire), .. }) = of(session)
    {
        wire.forget();
    }
}

/// To be called with each final answer before it is written: Pingora would put a date of its
/// own in place of the upstream's.
pub(crate) fn is_dated(session: &Session, answer: &ResponseHeader) {
    if let Some(date) = answer.headers.get(DATE).filter(|date| **date != get_cached_date())
        && let Some(Loan { wire: Some(wire), .. }) = of(session)
    {
        wire.is_dated(date.clone());
    }
}

/// To be called once all of an answer has come, with what may have come behind it.
pub(crate) fn ends_with(session: &Session, trailing: &Trailing) {
    if of(session).is_some() {
        trails(session, trailing.of_answer());
    }
}

/// To be called once all of an answer has come, and this behind it.
pub(crate) fn trails(session: &Session, trailers: Trailers) {
    if let (false, Some(Loan { wire: Some(wire), .. })) = (trailers.is_empty(), of(session)) {
        let written = session.response_written().filter(|head| !head.status.is_informational());
        let has_chunks = written.map(|head| head.headers.contains_key(TRANSFER_ENCODING));
        wire.ends_with(trailers.to_lines(), has_chunks);
    }
}

/// To be called where another answer is written than was to be.
pub(crate) fn is_replaced(session: &Session) {
    if let Some(Loan { wire: Some(wire), .. }) = of(session) {
        wire.is_replaced();
    }
}

/// What came behind the body of a request that was read to its end.
pub(crate) fn trailers(session: &Session) -> Option<Trailers> {
    of(session).map(|loan| Trailers::read(&loan.trailers))
}

fn of(session: &Session) -> Option<&Loan> {
    let stream = session.downstream_session.stream()?;
    stream.as_ref().as_any().downcast_ref()
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let (Some(mut wire), Some(home)) = (self.wire.take(), self.home.take()) {
            wire.answers(None);
            // If the lender is gone as well, that is the end.
            let _ = home.send(wire);
        }
    }
}

impl Loan {
    /// Lent for one request, which hangs on `slot`: its head was read, and `beyond` it what
    /// may be its body.
    pub(crate) fn for_request(
        mut self: Box<Self>,
        beyond: BytesMut,
        extent: Extent,
        slot: Arc<CutSlot>,
    ) -> Stream {
        if let Some(wire) = &mut self.wire {
            if !beyond.is_empty() {
                wire.put_back(&beyond);
            }
            wire.answers(Some(slot));
        }
        self.extent = Some(extent);
        self
    }

    /// Between two requests, if the last one was read to its end: a connection that is
    /// out of step does not go on.
    pub(crate) fn after_request(stream: Stream) -> Option<Box<Loan>> {
        let mut loan = stream.into_any().downcast::<Loan>().ok()?;
        if let Some(wire) = &mut loan.wire {
            wire.is_replaced();
            wire.answers(None);
        }
        loan.trailers = Vec::new();
        loan.extent.take().is_some_and(|extent| extent.is_over()).then_some(loan)
    }

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
        let Loan { wire: Some(wire), extent, trailers, .. } = self.get_mut() else {
            return Poll::Ready(Err(Error::from(ErrorKind::NotConnected)));
        };
        match extent {
            Some(extent) if !wire.is_tunnel() => poll_request(wire, (extent, trailers), cx, buf),
            _ => Pin::new(&mut **wire).poll_read(cx, buf),
        }
    }
}

/// What a client may send ahead of an answer. Somebody has to look whether it is there.
const AHEAD: usize = 64 * 1024;

/// Reads a body up to its end. After it there is only the end of the connection to be
/// read: whatever else comes waits for its turn.
fn poll_request(
    wire: &mut Wire,
    (extent, trailers): (&mut Extent, &mut Vec<u8>),
    cx: &mut Context<'_>,
    buf: &mut ReadBuf<'_>,
) -> Poll<Result<()>> {
    if !extent.is_over() {
        let before = buf.filled().len();
        ready!(Pin::new(&mut *wire).poll_read(cx, buf))?;
        let read = buf.filled().get(before..).unwrap_or_default();
        let own = extent.take(read, trailers).map_err(Error::other)?;
        if own < read.len() {
            wire.put_back(read.get(own..).unwrap_or_default());
            buf.set_filled(before + own);
        }
        return Poll::Ready(Ok(()));
    }
    while wire.unread() <= AHEAD {
        if ready!(wire.poll_read_ahead(cx))? == 0 {
            return Poll::Ready(Ok(()));
        }
    }
    Poll::Ready(Err(Error::other("too much was sent ahead of the answer")))
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
