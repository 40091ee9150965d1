//! What the h2 crate tells the client by itself, and nobody else: which streams it refuses
//! before there is a request to look at. Read off the heads of the frames that it writes
//! (RFC 9113 section 4.1); nothing is held or changed. What becomes of accepted streams is
//! told where they are served.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use pingora::protocols;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::air::Air;

/// A connection whose frames are watched.
pub(super) type Watched = Connection<Watching<protocols::Stream>, Bytes>;

/// A request, and where its answer goes.
type Asked = (http::Request<RecvStream>, SendResponse<Bytes>);

/// What the h2 crate gives, as it gives it.
type Accepted = Option<Result<Asked, h2::Error>>;

/// A stream of which it gives nothing.
pub(super) enum Refused {
    /// Reset, since it breaks the rules.
    Malformed,
    /// Answered, since its head is far too large.
    TooLarge,
    /// One or more, reset since there are as many as there may be.
    Beyond,
}

/// The refusals that were seen and not told yet.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    /// The last stream that was accepted or answered: of those after it nobody knows.
    known: AtomicU32,
    malformed: AtomicU32,
    too_large: AtomicU32,
    beyond: AtomicU32,
}

impl Refusals {
    /// Waits for what comes next.
    pub(super) async fn next(&self, connection: &mut Watched) -> Result<Accepted, Refused> {
        poll_fn(|cx| {
            if let Some(refused) = self.take() {
                return Poll::Ready(Err(refused));
            }
            match connection.poll_accept(cx) {
                Poll::Ready(accepted) => {
                    if let Some(Ok((request, _))) = &accepted {
                        let id = request.body().stream_id().as_u32();
                        self.known.fetch_max(id, Ordering::Relaxed);
                    }
                    Poll::Ready(Ok(accepted))
                }
                // Whoever is refused last is told of just now.
                Poll::Pending => {
                    self.take().map_or(Poll::Pending, |refused| Poll::Ready(Err(refused)))
                }
            }
        })
        .await
    }

    /// One that was not told yet.
    pub(super) fn take(&self) -> Option<Refused> {
        for (count, refused) in
            [(&self.malformed, Refused::Malformed), (&self.too_large, Refused::TooLarge)]
        {
            if count.load(Ordering::Relaxed) > 0 {
                count.fetch_sub(1, Ordering::Relaxed);
                return Some(refused);
            }
        }
        (self.beyond.swap(0, Ordering::Relaxed) > 0).then_some(Refused::Beyond)
    }

    /// A stream was answered, or reset with that code.
    fn saw(&self, stream: u32, reset: Option<Reason>) {
        if stream <= self.known.load(Ordering::Relaxed) {
            return;
        }
        let count = match reset {
            // What a client had sent already when it was refused: told.
            Some(Reason::STREAM_CLOSED) => return,
            None => {
                // The reset that may follow says nothing more.
                self.known.store(stream, Ordering::Relaxed);
                &self.too_large
            }
            Some(Reason::REFUSED_STREAM) => &self.beyond,
            Some(_) => &self.malformed,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection whose frames, as they are written, are looked at, and whether they are.
pub(super) struct Watching<T> {
    inner: T,
    frames: Frames,
    refusals: Arc<Refusals>,
    air: Arc<Air>,
}

impl<T> Watching<T> {
    pub(super) fn new(inner: T, air: Arc<Air>) -> (Self, Arc<Refusals>) {
        let refusals = Arc::<Refusals>::default();
        let kept = Arc::clone(&refusals);
        (Watching { inner, frames: Frames::default(), refusals, air }, kept)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watching<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watching<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let Poll::Ready(written) = Pin::new(&mut this.inner).poll_write_vectored(cx, pieces) else {
            this.air.is_stuck();
            return Poll::Pending;
        };
        let written = written?;
        this.air.wrote(written);
        let mut left = written;
        for piece in pieces {
            let (now, _) = piece.split_at(left.min(piece.len()));
            left -= now.len();
            this.frames.read(now, |stream, reset| this.refusals.saw(stream, reset));
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        match flushed {
            Poll::Pending => self.air.is_stuck(),
            Poll::Ready(_) => self.air.is_clear(),
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// The head of a frame, and the code of one that resets a stream.
const HEAD: usize = 9;
const RESET: usize = HEAD + 4;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;

/// Where the frames stand.
#[derive(Default)]
struct Frames {
    head: [u8; RESET],
    /// What there is of it.
    filled: usize,
    /// What is still to come of the frame after its head.
    left: usize,
}

impl Frames {
    /// Walks over what is written next, and tells of each stream that is answered, or reset
    /// with that code.
    fn read(&mut self, mut bytes: &[u8], mut told: impl FnMut(u32, Option<Reason>)) {
        loop {
            let passed = self.left.min(bytes.len());
            self.left -= passed;
            bytes.advance(passed);
            let wanted = if self.filled < HEAD { HEAD } else { RESET };
            let (now, rest) = bytes.split_at((wanted - self.filled).min(bytes.len()));
            if now.is_empty() {
                return;
            }
            for (place, byte) in self.head.iter_mut().skip(self.filled).zip(now) {
                *place = *byte;
            }
            self.filled += now.len();
            bytes = rest;
            let mut head = self.head.as_slice();
            let (length, kind) = (head.get_uint(3), head.get_u8());
            head.advance(1);
            let stream = head.get_u32() & (u32::MAX >> 1);
            match self.filled {
                HEAD if kind == RST_STREAM => {}
                HEAD => {
                    if kind == HEADERS {
                        told(stream, None);
                    }
                    self.left = usize::try_from(length).unwrap_or(usize::MAX);
                    self.filled = 0;
                }
                RESET => {
                    told(stream, Some(Reason::from(head.get_u32())));
                    self.filled = 0;
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_found_among_frames_in_pieces_of_any_length() {
        let mut bytes = Vec::new();
        bytes.extend(b"\0\0\0\x04\x01\0\0\0\0");
        bytes.extend(b"\0\0\x0d\0\0\0\0\0\x01\0\0\x04\x03\0\0\0\0\x07\0\0\0\0");
        bytes.extend(b"\0\0\x04\x03\0\x80\0\0\x05\0\0\0\x07");
        bytes.extend(b"\0\0\x04\x03\0\0\0\x01\x07\0\0\0\x01");
        bytes.extend(b"\0\0\x02\x01\x05\x05\0\0\x09\x88\x88");
        for length in 1..=bytes.len() {
            let (mut frames, mut seen) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(length) {
                frames.read(piece, |stream, reset| seen.push((stream, reset)));
            }
            let (refused, broken) = (Reason::REFUSED_STREAM, Reason::PROTOCOL_ERROR);
            assert_eq!(seen, [(5, Some(refused)), (0x107, Some(broken)), (0x500_0009, None)]);
        }
    }

    #[test]
    fn what_was_accepted_is_told_of_elsewhere() {
        let refusals = Refusals::default();
        refusals.known.store(5, Ordering::Relaxed);
        refusals.saw(3, Some(Reason::CANCEL));
        refusals.saw(5, Some(Reason::PROTOCOL_ERROR));
        refusals.saw(5, None);
        assert!(refusals.take().is_none());
        refusals.saw(7, Some(Reason::REFUSED_STREAM));
        refusals.saw(9, Some(Reason::PROTOCOL_ERROR));
        refusals.saw(11, Some(Reason::REFUSED_STREAM));
        refusals.saw(13, None);
        refusals.saw(13, Some(Reason::PROTOCOL_ERROR));
        assert!(matches!(refusals.take(), Some(Refused::Malformed)));
        assert!(matches!(refusals.take(), Some(Refused::TooLarge)));
        assert!(matches!(refusals.take(), Some(Refused::Beyond)));
        assert!(refusals.take().is_none());
    }
}
