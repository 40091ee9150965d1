//! What is on its way to a client: small pieces are gathered until somebody
//! flushes, as Pingora does once it has nothing more to say for the moment.
//!
//! Head and body of an answer go out in one call to the system, which costs more
//! than judging the request. Nothing is held while there is nothing to send.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::AsyncWrite;

/// Bytes that are gathered at most; what is longer goes out at once, together
/// with what was gathered before it.
const GATHERED: usize = 4096;

/// Bytes that were taken and not sent yet.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    waiting: BytesMut,
}

impl Outgoing {
    /// Bytes that wait.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Takes all of it, whatever there is already.
    pub(crate) fn hold(&mut self, piece: &[u8]) {
        self.waiting.extend_from_slice(piece);
    }

    /// Takes pieces, or sends them after what was taken before. Says how much.
    pub(crate) fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        line: &mut W,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let total = pieces.iter().fold(0, |total: usize, piece| total.saturating_add(piece.len()));
        if self.waiting.len().saturating_add(total) <= GATHERED {
            for piece in pieces {
                self.waiting.extend_from_slice(piece);
            }
            return Poll::Ready(Ok(total));
        }
        let mut line = Pin::new(line);
        while !self.waiting.is_empty() {
            // The longest piece is what makes it worth while.
            let next = pieces.iter().find(|piece| !piece.is_empty());
            let next = next.map_or(&[][..], |piece| &**piece);
            let both = [IoSlice::new(&self.waiting), IoSlice::new(next)];
            let sent = ready!(line.as_mut().poll_write_vectored(context, &both))?;
            let ours = sent.min(self.waiting.len());
            self.sent(ours)?;
            if sent > ours {
                return Poll::Ready(Ok(sent - ours));
            }
        }
        line.poll_write_vectored(context, pieces)
    }

    /// Sends all that was taken.
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        line: &mut W,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        let mut line = Pin::new(line);
        while !self.waiting.is_empty() {
            let sent = ready!(line.as_mut().poll_write(context, &self.waiting))?;
            self.sent(sent)?;
        }
        line.poll_flush(context)
    }

    fn sent(&mut self, count: usize) -> Result<()> {
        if count == 0 {
            return Err(Error::from(ErrorKind::WriteZero));
        }
        self.waiting.advance(count);
        if self.waiting.is_empty() {
            // Idle connections hold none.
            self.waiting = BytesMut::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::task::noop_waker_ref;
    use proptest::prelude::*;

    use super::*;

    /// Takes up to so many bytes a call, and now and then none.
    struct Line {
        received: Vec<u8>,
        calls: usize,
        most: usize,
        pending: bool,
    }

    impl AsyncWrite for Line {
        fn poll_write(
            self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<Result<usize>> {
            self.poll_write_vectored(context, &[IoSlice::new(bytes)])
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<Result<usize>> {
            self.calls += 1;
            self.pending = !self.pending && self.most < 1000;
            if self.pending {
                return Poll::Pending;
            }
            let mut left = self.most;
            for piece in pieces {
                let taken = piece.get(..left.min(piece.len())).unwrap();
                self.received.extend_from_slice(taken);
                left -= taken.len();
            }
            Poll::Ready(Ok(self.most - left))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn line(most: usize) -> Line {
        Line { received: Vec::new(), calls: 0, most, pending: false }
    }

    fn context() -> Context<'static> {
        Context::from_waker(noop_waker_ref())
    }

    #[test]
    fn head_and_body_are_one_call_and_nothing_is_held_after_it() {
        for body in [10, GATHERED * 3] {
            let (mut line, mut out) = (line(usize::MAX), Outgoing::default());
            let body = vec![b'b'; body];
            for piece in [&b"head"[..], &body] {
                let written = out.poll_write(&mut line, &mut context(), &[IoSlice::new(piece)]);
                assert!(matches!(written, Poll::Ready(Ok(n)) if n == piece.len()), "{written:?}");
            }
            assert!(out.poll_flush(&mut line, &mut context()).is_ready());
            assert_eq!(line.calls, 1);
            assert_eq!(line.received, [b"head", &*body].concat());
            assert_eq!(out.waiting.capacity(), 0);
        }
    }

    proptest! {
        /// Whatever the pieces and however little is taken of them, all comes in order.
        #[test]
        fn nothing_is_lost_or_turned_round(
            pieces in prop::collection::vec((0..3_usize, 0..9000_usize, any::<bool>()), 0..12),
            most in prop_oneof![1..50_usize, 1000..20_000_usize],
        ) {
            let (mut line, mut out) = (line(most), Outgoing::default());
            let mut wanted = Vec::new();
            for (number, (empties, length, flush)) in pieces.into_iter().enumerate() {
                let bytes: Vec<u8> = (0..length).map(|at| (at * 7 + number) as u8).collect();
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let mut slices = vec![IoSlice::new(&[]); empties];
                    let (one, two) = rest.split_at(rest.len() / 3);
                    slices.extend([IoSlice::new(one), IoSlice::new(two)]);
                    if let Poll::Ready(taken) = out.poll_write(&mut line, &mut context(), &slices) {
                        rest = &rest[taken.unwrap()..];
                    }
                }
                wanted.extend_from_slice(&bytes);
                while flush && out.poll_flush(&mut line, &mut context()).is_pending() {}
            }
            while out.poll_flush(&mut line, &mut context()).is_pending() {}
            prop_assert!(line.received == wanted);
        }
    }
}
