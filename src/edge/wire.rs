//! A client's connection: TCP, or TLS over it.
//!
//! It remembers what the last word on it may be: the close frame of a WebSocket
//! tunnel fits only between two frames.

use std::convert::Infallible;
use std::future::Future;
use std::io::{ErrorKind, IoSlice, Result};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::HeaderValue;
use parking_lot::Mutex;
use pingora::protocols::l4::ext::set_tcp_keepalive;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::tls::SslDigest;
use pingora::protocols::{SocketDigest, TcpKeepalive, UniqueIDType};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout_at};
use tokio_rustls::server::TlsStream;

use super::amends::Amends;
use super::outgoing::Outgoing;
use super::tunnel::Tunnel;
use crate::revocation::CutSlot;

/// How long a last word may take to go out, and how long its reader may go on
/// sending before the door is shut: a reset would take it from under its eyes.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// A client that vanished without a word is noticed after two minutes: nothing
/// else would end a quiet tunnel.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(15),
    count: 4,
    user_timeout: Duration::ZERO,
};

#[derive(Debug)]
enum Line {
    Plain(TcpStream),
    /// Boxed: an idle connection in clear should not pay for it.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Line {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self {
            Line::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Line::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }

    /// Nothing more is sent, once it is closed.
    fn forget(&self) {
        let tcp = match self {
            Line::Plain(tcp) => tcp,
            Line::Tls(tls) => tls.get_ref().0,
        };
        let _ = tcp.set_zero_linger();
    }
}

/// One client's connection.
#[derive(Debug)]
pub(crate) struct Wire {
    line: Line,
    /// What was read, and is to be read again.
    unread: BytesMut,
    outgoing: Outgoing,
    /// How long a reader may take nothing at all.
    patience: Duration,
    /// Runs while it takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
    /// Set when a 101 is about to be written.
    becomes_tunnel: AtomicBool,
    tunnel: Option<Tunnel>,
    /// What is written otherwise than Pingora has it; hardly ever anything.
    amends: Mutex<Option<Box<Amends>>>,
    /// Of the request whose answer is written.
    slot: Option<Arc<CutSlot>>,
    pub(super) id: UniqueIDType,
    pub(super) speaks_h2: bool,
    pub(super) ssl: Option<Arc<SslDigest>>,
    pub(super) socket: Arc<SocketDigest>,
}

impl Wire {
    /// In clear.
    pub(crate) fn plain(stream: TcpStream, peer: SocketAddr) -> Self {
        Wire::new(stream.as_raw_fd(), peer, Line::Plain(stream))
    }

    /// Encrypted; the handshake is over.
    pub(crate) fn tls(stream: TlsStream<TcpStream>, peer: SocketAddr) -> Self {
        let (tcp, tls) = stream.get_ref();
        let id = tcp.as_raw_fd();
        let cipher = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let version = tls.protocol_version().and_then(|version| version.as_str());
        let (cipher, version) = (cipher.unwrap_or_default(), version.unwrap_or_default());
        let ssl = Arc::new(SslDigest::new(cipher, version, None, None, Vec::new()));
        let speaks_h2 = tls.alpn_protocol() == Some(b"h2");
        Wire { speaks_h2, ssl: Some(ssl), ..Wire::new(id, peer, Line::Tls(Box::new(stream))) }
    }

    fn new(id: UniqueIDType, peer: SocketAddr, line: Line) -> Self {
        let socket = SocketDigest::from_raw_fd(id);
        let _ = socket.peer_addr.set(Some(PeerAddr::Inet(peer)));
        Wire {
            line,
            unread: BytesMut::new(),
            outgoing: Outgoing::default(),
            patience: Duration::MAX,
            stalled: None,
            becomes_tunnel: AtomicBool::new(false),
            tunnel: None,
            amends: Mutex::default(),
            slot: None,
            id,
            speaks_h2: false,
            ssl: None,
            socket: Arc::new(socket),
        }
    }

    /// Who takes nothing for so long, whatever is sent, is given up: the connection ends
    /// with an error. Of what Pingora writes it times bodies only, not heads and ends.
    pub(crate) fn give_up_after(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// What ALPN agreed on.
    pub(crate) fn speaks_h2(&self) -> bool {
        self.speaks_h2
    }

    /// What is written is the answer to a request that hangs on `slot`, or to none that can
    /// be cut.
    pub(super) fn answers(&mut self, slot: Option<Arc<CutSlot>>) {
        self.slot = slot;
    }

    /// Whether there is more to be written than the end of an answer that was cut. Who
    /// waits for that has been woken.
    fn hands_over(&self) -> bool {
        self.slot.as_ref().is_none_or(|slot| slot.hands_over())
    }

    /// Puts back what was read last, before whatever was put back and not read again.
    pub(super) fn put_back(&mut self, read: &[u8]) {
        let mut unread = BytesMut::from(read);
        unread.extend_from_slice(&self.unread);
        self.unread = unread;
    }

    /// Bytes that were read, and are to be read again.
    pub(super) fn unread(&self) -> usize {
        self.unread.len()
    }

    /// Reads what there is, to be read again. Nothing is the end.
    pub(super) fn poll_read_ahead(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize>> {
        let mut space = [MaybeUninit::uninit(); 1024];
        let mut read = ReadBuf::uninit(&mut space);
        ready!(self.line.poll_read(cx, &mut read))?;
        self.unread.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    }

    /// What was sent and has not arrived is taken back: nobody is to take it for all.
    pub(super) fn forget(&self) {
        self.line.forget();
    }

    /// Whether it is no conversation in requests and answers any more.
    pub(super) fn is_tunnel(&mut self) -> bool {
        self.tunnel.is_some() || *self.becomes_tunnel.get_mut()
    }

    /// A 101 to a WebSocket is what is written next.
    pub(crate) fn becomes_tunnel(&self) {
        self.becomes_tunnel.store(true, Ordering::Relaxed);
    }

    /// The date of the answer whose head is written next.
    pub(crate) fn is_dated(&self, date: HeaderValue) {
        let mut amends = self.amends.lock();
        let amends = amends.get_or_insert_default();
        (amends.head_is_due, amends.date) = (true, Some(date));
    }

    /// What stands behind the answer that is being written, as lines, if it has chunks: that
    /// is known if its head was written already.
    pub(crate) fn ends_with(&self, trailers: Vec<u8>, has_chunks: Option<bool>) {
        let mut amends = self.amends.lock();
        let amends = amends.get_or_insert_default();
        match has_chunks {
            Some(has_chunks) => amends.has_chunks = has_chunks,
            None => amends.head_is_due = true,
        }
        amends.trailers = trailers;
    }

    /// Another answer is written than was to be.
    pub(crate) fn is_replaced(&self) {
        *self.amends.lock() = None;
    }

    /// Ends the connection with a WebSocket close frame where one fits; else as
    /// a connection that broke, so that nobody takes what came for all there is.
    pub(crate) async fn hang_up(self, code: u16, why: &str) {
        match self.tunnel.as_ref().and_then(|tunnel| tunnel.close_frame(code, why)) {
            Some(frame) => self.say_last(&frame).await,
            None => self.reset(),
        }
    }

    /// Says this, once, and closes; both within a second.
    pub(crate) async fn say_last(mut self, bytes: &[u8]) {
        let deadline = Instant::now() + LINGER;
        let said = timeout_at(deadline, async {
            self.write_all(bytes).await?;
            self.flush().await?;
            AsyncWriteExt::shutdown(&mut self).await
        });
        if !matches!(said.await, Ok(Ok(()))) {
            return self.reset();
        }
        let (mut left, mut buffer) = (LINGER_BYTES, vec![0; 4096]);
        while let Ok(Ok(read @ 1..)) = timeout_at(deadline, self.read(&mut buffer)).await {
            left = left.saturating_sub(read);
            if left == 0 {
                return;
            }
        }
    }

    /// What lies in our buffers and in the system's is not sent any more.
    fn reset(self) {
        self.forget();
    }

    /// Whether a write is to go on waiting, of which `is_progress` says if anything went out;
    /// over TLS, if any record did.
    fn waits(&mut self, cx: &mut Context<'_>, is_progress: bool) -> Poll<Result<Infallible>> {
        if let Some(slot) = &self.slot {
            slot.takes_back();
        }
        if is_progress {
            self.stalled = None;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(stalled.as_mut().poll(cx));
        self.line.forget();
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }

    /// A few bytes of a frame's head are looked at; ordinary responses pay for
    /// two comparisons.
    fn wrote(&mut self, written: &Poll<Result<usize>>, bufs: &[IoSlice<'_>]) {
        if *self.becomes_tunnel.get_mut() {
            *self.becomes_tunnel.get_mut() = false;
            self.tunnel = Some(Tunnel::default());
        }
        let (Some(tunnel), Poll::Ready(Ok(count))) = (&mut self.tunnel, written) else { return };
        let mut left = *count;
        for buf in bufs {
            let seen = buf.get(..left.min(buf.len())).unwrap_or_default();
            tunnel.wrote(seen);
            left -= seen.len();
        }
    }
}

/// What every accepted socket is set to.
pub(crate) fn prepare(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let _ = set_tcp_keepalive(stream, &KEEPALIVE);
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buf.remaining());
            buf.put_slice(self.unread.get(..count).unwrap_or_default());
            self.unread.advance(count);
            if self.unread.is_empty() {
                // Idle connections hold none.
                self.unread = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        self.line.poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        if !self.hands_over() {
            return Poll::Pending;
        }
        let Wire { line, outgoing, amends, .. } = &mut *self;
        if let (Some(amends), [piece]) = (amends.get_mut(), bufs)
            && let Some(amended) = amends.amended(piece)
        {
            outgoing.hold(&amended);
            let written = Poll::Ready(Ok(piece.len()));
            self.wrote(&written, bufs);
            return written;
        }
        let before = outgoing.len();
        let written = match line {
            Line::Plain(tcp) => outgoing.poll_write(tcp, cx, bufs),
            Line::Tls(tls) => outgoing.poll_write(tls, cx, bufs),
        };
        if written.is_pending() {
            let is_progress = self.outgoing.len() < before;
            return self.waits(cx, is_progress).map_ok(|never| match never {});
        }
        self.stalled = None;
        self.wrote(&written, bufs);
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        if !self.hands_over() {
            return Poll::Pending;
        }
        let Wire { line, outgoing, .. } = &mut *self;
        let before = outgoing.len();
        let flushed = match line {
            Line::Plain(tcp) => outgoing.poll_flush(tcp, cx),
            Line::Tls(tls) => outgoing.poll_flush(tls, cx),
        };
        if flushed.is_pending() {
            let is_progress = self.outgoing.len() < before;
            return self.waits(cx, is_progress).map_ok(|never| match never {});
        }
        self.stalled = None;
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        match &mut self.line {
            Line::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Line::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
