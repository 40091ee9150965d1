//! What writes to one HTTP/2 stream, in two hands: Pingora's, and those of whoever
//! drives the stream, who has the last word when Pingora's future is dropped.
//!
//! Nothing here waits but for the client to take data, and no lock is held meanwhile. With
//! the end of an answer its request is handed over: before that it can be cut, and counts.

use std::future::poll_fn;
use std::mem::take;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, TE};
use http::header::{TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, Response, response};
use parking_lot::Mutex;
use pingora::http::ResponseHeader;
use pingora::protocols::http::date::get_cached_date;
use pingora::{Error, ErrorType};

use super::HELD;
use super::air::Air;
use crate::edge::grpc;
use crate::edge::trailers::Trailers;
use crate::edge::tunnel::Tunnel;
use crate::revocation::CutSlot;

/// Interim answers (1xx) that are passed on for one request. Nothing in HTTP/2 makes
/// their sender wait for a client that does not read.
const MOST_INTERIM: u8 = 16;

/// Fields that have no place in HTTP/2 (RFC 9113 section 8.2.2).
static OF_THE_CONNECTION: [HeaderName; 6] = [
    TRANSFER_ENCODING,
    CONNECTION,
    UPGRADE,
    TE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// How far the response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing of it was sent.
    Nothing,
    /// Its head was. Whether a gRPC status may come instead of the rest.
    Head { takes_status: bool },
    /// All of it.
    Whole,
}

/// The writing half of a stream.
pub(super) struct Sending {
    respond: SendResponse<Bytes>,
    body: Option<SendStream<Bytes>>,
    progress: Progress,
    /// Where the frames of a WebSocket stand, if it is one.
    tunnel: Option<Tunnel>,
    interim: u8,
    /// True once all of the request has come.
    is_uploaded: bool,
    /// True if Pingora has just looked for a reset by itself.
    is_watched: bool,
    /// What the request hangs on.
    slot: Arc<CutSlot>,
    air: Arc<Air>,
    /// Bytes that were given to the h2 crate.
    sent: usize,
}

/// Both hands on it. They are of one task, so that neither waits for the other.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Sending>>);

impl Shared {
    /// Of a request that hangs on `slot`, and of a connection.
    pub(super) fn new(respond: SendResponse<Bytes>, slot: Arc<CutSlot>, air: Arc<Air>) -> Self {
        let progress = Progress::Nothing;
        Shared(Arc::new(Mutex::new(Sending {
            respond,
            body: None,
            progress,
            tunnel: None,
            interim: 0,
            is_uploaded: false,
            is_watched: false,
            slot,
            air,
            sent: 0,
        })))
    }

    pub(super) fn progress(&self) -> Progress {
        self.0.lock().progress
    }

    /// All of the request has come.
    pub(super) fn uploaded(&self) {
        self.0.lock().is_uploaded = true;
    }

    pub(super) fn is_uploaded(&self) -> bool {
        self.0.lock().is_uploaded
    }

    /// Sends the head of the response, once it may be the end.
    ///
    /// # Errors
    /// When the stream is over.
    pub(super) async fn respond(&self, header: ResponseHeader, end: bool) -> Result<(), h2::Error> {
        let taken = if end { self.hands_over().await } else { 0 };
        let sent = self.head(header, end);
        self.0.lock().unless_sent(taken, sent)
    }

    fn head(&self, header: ResponseHeader, end: bool) -> Result<(), h2::Error> {
        let mut head = response::Parts::from(header);
        // Its own date, if the upstream gave one (RFC 9110 section 6.6.1).
        head.headers.entry(DATE).or_insert_with(get_cached_date);
        self.0.lock().head(cleaned(head), end)
    }

    /// What is sent after the head are the frames of a WebSocket.
    pub(super) fn becomes_tunnel(&self) {
        self.0.lock().tunnel = Some(Tunnel::after_head());
    }

    /// Ends a tunnel with a close frame, where one fits. False where there is no tunnel
    /// or no place.
    pub(super) fn hang_up(&self, code: u16, why: &str) -> bool {
        let mut sending = self.0.lock();
        let tunnel = sending.tunnel.as_ref().filter(|_| sending.progress != Progress::Whole);
        let frame = tunnel.and_then(|tunnel| tunnel.close_frame(code, why));
        frame.is_some_and(|frame| sending.send(frame.into(), true).is_ok())
    }

    /// Passes an interim answer on, while anybody waits for it. The exchange goes on
    /// without it just as well.
    pub(super) async fn interim(&self, header: ResponseHeader) {
        // The h2 crate would send it to who has reset the stream.
        let is_reset = poll_fn(|cx| Poll::Ready(self.0.lock().poll_reset(cx).is_ready())).await;
        let mut sending = self.0.lock();
        if is_reset || sending.progress != Progress::Nothing || sending.interim >= MOST_INTERIM {
            return;
        }
        sending.interim += 1;
        let head = cleaned(response::Parts::from(header));
        let _ = sending.respond.send_informational(Response::from_parts(head, ()));
    }

    /// Sends data as the client takes it.
    pub(super) async fn data(&self, mut data: Bytes, end: bool) -> Result<(), Unsent> {
        if data.is_empty() {
            let taken = if end { self.hands_over().await } else { 0 };
            let mut sending = self.0.lock();
            let sent = sending.send(data, end);
            return sending.unless_sent(taken, sent);
        }
        self.0.lock().body()?.reserve_capacity(data.len());
        while !data.is_empty() {
            poll_fn(|cx| self.0.lock().poll_send(cx, &mut data, end)).await?;
        }
        Ok(())
    }

    /// Waits until the end may be sent next, whatever it is, and gives what it takes. Never,
    /// if it was cut.
    async fn hands_over(&self) -> usize {
        poll_fn(|cx| self.0.lock().poll_hand_over(cx, 0)).await
    }

    /// Sends what follows the data, and ends the stream.
    pub(super) async fn trailers(&self, trailers: HeaderMap) -> Result<(), Unsent> {
        let taken = self.hands_over().await;
        let sent = self.last_trailers(trailers);
        self.0.lock().unless_sent(taken, sent)
    }

    /// Ends the stream with them, at once.
    pub(super) fn last_trailers(&self, trailers: HeaderMap) -> Result<(), Unsent> {
        let trailers = Trailers::of(&trailers).downward().to_map();
        let mut sending = self.0.lock();
        sending.body()?.send_trailers(trailers)?;
        sending.progress = Progress::Whole;
        Ok(())
    }

    /// Sends the last of the data, and what comes behind it.
    pub(super) async fn end(&self, data: Bytes, trailers: Trailers) -> Result<(), Unsent> {
        if trailers.is_empty() {
            return self.data(data, true).await;
        }
        if !data.is_empty() {
            self.data(data, false).await?;
        }
        self.trailers(trailers.to_map()).await
    }

    /// Sends a whole answer, if nothing was sent yet. What of it the client has no
    /// window for waits in the h2 crate.
    pub(super) fn answer(&self, header: ResponseHeader, body: Bytes) -> Result<(), Unsent> {
        self.head(header, body.is_empty())?;
        match body.is_empty() {
            true => Ok(()),
            false => self.0.lock().send(body, true),
        }
    }

    /// Resets the stream. Of what was not sent yet nothing goes out.
    pub(super) fn reset(&self, reason: Reason) {
        self.0.lock().respond.send_reset(reason);
    }

    /// Waits until the client resets the stream, as Pingora does.
    pub(super) async fn is_reset(&self) -> Result<Reason, h2::Error> {
        poll_fn(|cx| {
            let mut sending = self.0.lock();
            sending.is_watched = true;
            sending.poll_reset(cx)
        })
        .await
    }

    /// Waits until the client resets the stream while Pingora looks elsewhere: to an
    /// upstream that takes nothing.
    pub(super) async fn is_abandoned(&self) {
        poll_fn(|cx| {
            let mut sending = self.0.lock();
            match take(&mut sending.is_watched) {
                true => Poll::Pending,
                false => sending.poll_reset(cx).map(drop),
            }
        })
        .await;
    }
}

/// Why nothing can be sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The head comes first.
    NoHead,
    /// The stream is over.
    Over(Option<h2::Error>),
}

impl From<h2::Error> for Unsent {
    fn from(error: h2::Error) -> Self {
        Unsent::Over(Some(error))
    }
}

impl From<Unsent> for Box<Error> {
    fn from(unsent: Unsent) -> Self {
        match unsent {
            Unsent::NoHead => Error::explain(ErrorType::H2Error, "there was no head yet"),
            Unsent::Over(Some(error)) => {
                let error =
                    Error::because(ErrorType::WriteError, "while writing to the client", error);
                error.into_down()
            }
            Unsent::Over(None) => {
                Error::explain(ErrorType::H2Error, "the client takes no more").into_down()
            }
        }
    }
}

impl Sending {
    fn body(&mut self) -> Result<&mut SendStream<Bytes>, Unsent> {
        self.body.as_mut().ok_or(Unsent::NoHead)
    }

    fn head(&mut self, head: response::Parts, end: bool) -> Result<(), h2::Error> {
        let media = head.headers.get(CONTENT_TYPE);
        // Whoever was promised a length would miss the rest of it.
        let takes_status =
            media.is_some_and(grpc::ends_with_status) && !head.headers.contains_key(CONTENT_LENGTH);
        self.body = Some(self.respond.send_response(Response::from_parts(head, ()), end)?);
        self.progress = if end { Progress::Whole } else { Progress::Head { takes_status } };
        Ok(())
    }

    fn send(&mut self, data: Bytes, end: bool) -> Result<(), Unsent> {
        if let Some(tunnel) = &mut self.tunnel {
            tunnel.wrote(&data);
        }
        self.sent = self.sent.saturating_add(data.len());
        self.body()?.send_data(data, end)?;
        if end {
            self.progress = Progress::Whole;
        }
        Ok(())
    }

    /// Sends as much as there is room for.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        data: &mut Bytes,
        end: bool,
    ) -> Poll<Result<(), Unsent>> {
        let room = ready!(self.poll_room(cx))?;
        let ends = end && room >= data.len();
        let taken = if ends { ready!(self.poll_hand_over(cx, data.len())) } else { 0 };
        let piece = data.split_to(room.min(data.len()));
        let sent = self.send(piece, ends);
        Poll::Ready(self.unless_sent(taken, sent))
    }

    /// How many bytes there is room for. The h2 crate tells of each once only, and whoever
    /// was told may have to wait for something else.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Unsent>> {
        let body = self.body()?;
        loop {
            let room = body.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            match ready!(body.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(error.into())),
                None => return Poll::Ready(Err(Unsent::Over(None))),
            }
        }
    }

    /// Waits until so many bytes may be sent as the end, and gives what they take of the
    /// connection. Never, if it was cut: then whoever waits for that was woken.
    fn poll_hand_over(&self, cx: &Context<'_>, bytes: usize) -> Poll<usize> {
        let mut taken = 0;
        if self.slot.has_ended() {
            // What was sent before may lie there still, as far as it is held.
            taken = self.sent.saturating_add(bytes).clamp(1, HELD);
            ready!(self.air.poll_take(cx, taken));
        }
        if self.slot.hands_over() { Poll::Ready(taken) } else { Poll::Pending }
    }

    /// Gives back what an end has taken that could not be sent: nothing goes out for it, and
    /// others may wait.
    fn unless_sent<T, E>(&self, taken: usize, sent: Result<T, E>) -> Result<T, E> {
        if sent.is_err() {
            self.air.wrote(taken);
        }
        sent
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reason, h2::Error>> {
        match &mut self.body {
            Some(body) => body.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        }
    }
}

fn cleaned(mut head: response::Parts) -> response::Parts {
    for name in &OF_THE_CONNECTION {
        head.headers.remove(name);
    }
    head
}
