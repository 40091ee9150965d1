//! Connections for HTTP/1.1 exchanges that may have trailers (RFC 9112 section 7.1.2).
//!
//! Pingora 0.9.1 writes none and drops what it reads. Here it gets a socket over the
//! connection that it would have had, which walks along both messages: the fields behind
//! the request are written where its chunks end, those behind the answer are kept. It also
//! knows when both are over, and lets the next one have the connection.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora::connectors::{L4Connect, TransportConnector};
use pingora::protocols::Stream;
use pingora::protocols::l4::socket::SocketAddr as PeerAddr;
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora::upstreams::peer::{HttpPeer, Peer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::POOL_IDLE;
use super::message::{Course, after_answer, after_request};
use crate::edge::trailers::{Trailers, Trailing};

/// So many pieces up to this long, in bytes, are written together.
const MOST_PIECES: usize = 4;
const GATHERED: usize = 4096;

/// Connects for one exchange. What it makes has no number of the system's, as Pingora sees
/// it: its own pool, to which it comes back closed, is of no use to it.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) transport: Arc<TransportConnector>,
    /// Where to, and how.
    pub(super) peer: HttpPeer,
    /// Whether a connection will do that was used before.
    pub(super) may_be_used: bool,
    /// Whether the request is a HEAD, whose answer has no body.
    pub(super) is_head: bool,
    pub(super) trailing: Arc<Trailing>,
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").field("peer", &self.peer._address).finish_non_exhaustive()
    }
}

#[async_trait]
impl L4Connect for Connector {
    async fn connect(&self, _: &PeerAddr) -> pingora::Result<L4Stream> {
        let (stream, is_reused) = match self.may_be_used {
            true => self.transport.get_stream(&self.peer).await?,
            false => (self.transport.new_stream(&self.peer).await?, false),
        };
        self.trailing.begins(is_reused);
        let socket = Socket {
            stream: Some(stream),
            connector: self.clone(),
            request: Course::default(),
            answer: Course::default(),
            section: Vec::new(),
            waiting: Bytes::new(),
            is_said: false,
            is_flushed: true,
            is_lasting: true,
        };
        Ok(VirtualSocketStream::new(Box::new(socket)).into())
    }
}

#[derive(Debug)]
struct Socket {
    /// There until both messages are over.
    stream: Option<Stream>,
    connector: Connector,
    request: Course,
    answer: Course,
    /// The lines behind the answer, as far as they have come.
    section: Vec<u8>,
    /// Those behind the request, as far as they were not written yet.
    waiting: Bytes,
    /// True once their turn has come.
    is_said: bool,
    /// False while TLS may hold something back.
    is_flushed: bool,
    /// False where something says that the connection ends.
    is_lasting: bool,
}

impl Socket {
    fn stream(&mut self) -> Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| Error::from(ErrorKind::BrokenPipe))
    }

    /// Writes what is waiting.
    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        while !self.waiting.is_empty() {
            let waiting = self.waiting.clone();
            let count = ready!(self.stream()?.poll_write(cx, &waiting))?;
            if count == 0 {
                return Poll::Ready(Err(Error::from(ErrorKind::WriteZero)));
            }
            self.waiting.advance(count);
        }
        Poll::Ready(Ok(()))
    }

    fn was_answered(&mut self, bytes: &[u8]) {
        let (is_head, is_lasting) = (self.connector.is_head, &mut self.is_lasting);
        let next = |head: &[u8]| {
            let (next, lasts) = after_answer(head, is_head);
            *is_lasting &= lasts;
            next
        };
        self.answer.take(bytes, &mut self.section, next);
        if self.answer.is_over() {
            self.connector.trailing.answer_ends(Trailers::read(&self.section));
        }
        self.give_back();
    }

    /// The next one may have the connection, once nothing more is to come of this one.
    /// Pingora, which asks whether its socket may be used again, then finds it closed.
    fn give_back(&mut self) {
        if self.request.is_over()
            && self.answer.is_over()
            && self.is_flushed
            && self.is_lasting
            && let Some(stream) = self.stream.take()
        {
            let Connector { transport, peer, .. } = &self.connector;
            transport.release_stream(stream, peer.reuse_hash(), Some(POOL_IDLE));
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        let before = buf.filled().len();
        ready!(Pin::new(stream).poll_read(cx, buf))?;
        match buf.filled().get(before..) {
            Some(read @ [_, ..]) => self.was_answered(read),
            _ => self.is_lasting = false,
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<Result<usize>> {
        let mut count = match self.is_said {
            true => buf.len(),
            false => self.request.before_trailers(buf),
        };
        if count == 0 && !buf.is_empty() {
            self.is_said = true;
            self.waiting = self.connector.trailing.of_request().to_lines().into();
            count = buf.len();
        }
        self.is_flushed = false;
        ready!(self.poll_say(cx))?;
        let count = ready!(self.stream()?.poll_write(cx, buf.get(..count).unwrap_or_default()))?;
        let written = buf.get(..count).unwrap_or_default();
        // Of the fields behind it Pingora has said none.
        self.request.take(written, &mut Vec::new(), after_request);
        Poll::Ready(Ok(count))
    }

    /// A chunk is three pieces, and one write.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let is_short = bufs.iter().all(|buf| buf.len() <= GATHERED);
        if is_short && bufs.len() <= MOST_PIECES {
            let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.iter().copied()).collect();
            return self.poll_write(cx, &bytes);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(cx, first.map_or(&[][..], |buf| &**buf))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Pingora flushes once all of the request is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_say(cx))?;
        let Some(stream) = &mut self.stream else { return Poll::Ready(Ok(())) };
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.is_flushed = true;
        self.give_back();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        self.is_lasting = false;
        self.stream
            .as_mut()
            .map_or(Poll::Ready(Ok(())), |stream| Pin::new(stream).poll_shutdown(cx))
    }
}

impl VirtualSocket for Socket {
    /// The connection below was set up as all are.
    fn set_socket_option(&self, _: VirtualSockOpt) -> Result<()> {
        Ok(())
    }
}
