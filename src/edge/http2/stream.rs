//! One HTTP/2 stream: served by Pingora in a future that can be dropped, and the
//! last word where it was. The connection and its other streams never notice.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason as Code, RecvStream};
use http::{HeaderValue, Method};
use pingora::apps::HttpServerApp;
use pingora::http::RequestHeader;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::time::sleep;

use super::air::Air;
use super::head::{check, make_like_http1};
use super::sending::{Progress, Shared};
use super::session::Http2Session;
use super::websocket::{is_asked_for, make_upgrade};
use crate::edge::alarm::Alarm;
use crate::edge::connection::Arrival;
use crate::edge::failure::Failure;
use crate::edge::grpc;
use crate::edge::patience::Turn;
use crate::edge::proxy::Gateway;
use crate::edge::reject::Reply;
use crate::edge::settings::EdgeSettings;
use crate::edge::stage::{RequestContext, Stage, TICKET, Ticket};
use crate::edge::trace::client_request_id;
use crate::edge::tunnel::{GOING_AWAY, POLICY_VIOLATION};
use crate::policy::{Denial, Reason};
use crate::revocation::{CutReason, CutSlot};

/// How long a last word waits for a client that does not read. Then the stream is
/// reset, and nothing of it is sent any more.
const HEARD: Duration = Duration::from_millis(100);

/// A request with one reading.
pub(super) struct Stream {
    request: RequestHeader,
    upload: RecvStream,
    sending: Shared,
    pub(super) slot: Arc<CutSlot>,
}

/// What ends a stream that is not whole.
enum End {
    Cut(CutReason),
    Silence(Turn),
    /// Pingora has given it up.
    Broken,
}

impl Stream {
    /// Takes a request that has one reading. Any other is refused, and the log says so;
    /// then it is told whether it was malformed, rather than too large.
    pub(super) fn accept(
        request: http::Request<RecvStream>,
        respond: SendResponse<Bytes>,
        gateway: &Gateway,
        arrival: &Arrival,
        air: &Arc<Air>,
    ) -> Result<Self, bool> {
        let (head, upload) = request.into_parts();
        let is_websocket = is_asked_for(&head);
        let mut request = RequestHeader::from(head);
        make_like_http1(&mut request);
        let slot = Arc::<CutSlot>::default();
        let sending = Shared::new(respond, Arc::clone(&slot), Arc::clone(air));
        let mut stream = Stream { request, upload, sending, slot };
        let mut checked = check(&stream.request, is_websocket, &gateway.settings.load().head);
        if is_websocket && checked.is_ok() {
            checked = make_upgrade(&mut stream.request, &*gateway.context.entropy);
        }
        match checked {
            Ok(()) => Ok(stream),
            Err(denial) => Err(stream.refuse(denial, gateway, arrival)),
        }
    }

    fn refuse(self, denial: Denial, gateway: &Gateway, arrival: &Arrival) -> bool {
        let is_malformed = denial.reason == Reason::MalformedRequest;
        let mut ctx = RequestContext::new(Arc::clone(&gateway.reporter), gateway.context.now());
        ctx.ticket = Some(Ticket::of(arrival));
        ctx.request_id =
            client_request_id(&self.request).map_or_else(|| gateway.ids.next(), Arc::from);
        ctx.method = Some(self.request.method.clone());
        let target = String::from_utf8_lossy(self.request.raw_path());
        target.split('?').next().unwrap_or_default().clone_into(&mut ctx.odd_path);
        let reply = Reply::denied(&denial, &ctx.request_id, "");
        ctx.status = Some(reply.status);
        ctx.stage = Stage::Denied(denial);
        let asked = Asked::of(&self.request);
        if asked.takes_body() {
            ctx.bytes_out = reply.body.len() as u64;
        }
        asked.answer(&self.sending, &reply);
        is_malformed
    }

    /// Serves it, until `over` turns true at the latest.
    pub(super) async fn serve(
        self,
        proxy: Arc<HttpProxy<Gateway>>,
        settings: Arc<ArcSwap<EdgeSettings>>,
        digest: Arc<Digest>,
        mut ticket: Ticket,
        shutdown: ShutdownWatch,
        mut over: ShutdownWatch,
    ) {
        let Stream { request, upload, sending, .. } = self;
        let (slot, patience) = (Arc::clone(&ticket.slot), Arc::clone(&ticket.patience));
        let request_id = Arc::clone(&ticket.request_id);
        let (asked, mut alarm) = (Asked::of(&request), Alarm::default());
        ticket.takes_body = asked.takes_body();
        let trailing = ticket.trailing.clone().unwrap_or_default();
        let session = Http2Session::new(request, upload, sending.clone(), trailing, digest);
        let session = ServerSession::new_custom(Box::new(session));
        let served =
            TICKET.scope(Cell::new(Some(ticket)), proxy.process_new_http(session, &shutdown));
        // What ends otherwise is dropped, and with it the upstream's stream or
        // connection; the other hand on the client's stream is still here.
        let end = tokio::select! {
            biased;
            reason = slot.wait() => End::Cut(reason),
            _ = served => End::Broken,
            // After what winds it up.
            turn = patience.wait(&mut alarm) => End::Silence(turn),
            () = sending.is_abandoned() => return,
            () = async { let _ = over.wait_for(|over| *over).await; } => {
                if sending.hang_up(GOING_AWAY, "the gateway stops") {
                    sleep(HEARD).await;
                }
                return;
            }
        };
        if sending.progress() == Progress::Whole {
            return;
        }
        let id = request_id.get().map_or("", |id| id);
        let reply = end.reply(id, &settings.load().resource_metadata);
        if let Some(code) = asked.last_word(&sending, &end, &reply) {
            sleep(HEARD).await;
            // Of what was heard nothing is left that a reset could reach.
            sending.reset(code);
        }
    }
}

impl End {
    fn reply(&self, request_id: &str, metadata: &str) -> Reply {
        let reason = match self {
            End::Cut(reason) => Reason::from(*reason),
            End::Silence(turn) => return Reply::failed(&Failure::of_silence(*turn), request_id),
            End::Broken => return Reply::failed(&Failure::BROKEN, request_id),
        };
        Reply::denied(&Denial::new(reason), request_id, metadata)
    }
}

/// What of a request decides how it is answered.
struct Asked {
    /// That of gRPC, if it was gRPC.
    media: Option<HeaderValue>,
    is_head: bool,
}

impl Asked {
    fn of(request: &RequestHeader) -> Self {
        // To a CONNECT a 200 says that there is a tunnel.
        let media = grpc::media(request).filter(|_| request.method != Method::CONNECT);
        Asked { media: media.cloned(), is_head: request.method == Method::HEAD }
    }

    /// Whether there is a place for one in the answer.
    fn takes_body(&self) -> bool {
        self.media.is_none() && !self.is_head
    }

    /// Answers with all that there is to say. Whether there was anybody to hear it.
    fn answer(&self, sending: &Shared, reply: &Reply) -> bool {
        let head = match &self.media {
            Some(media) => grpc::head(reply, Some(media.clone())),
            None => reply.head(),
        };
        let body = if self.takes_body() { reply.body.clone() } else { Bytes::new() };
        head.is_ok_and(|head| sending.answer(head, body).is_ok())
    }

    /// Says what still can be said. With the code of the reset that is due should
    /// nobody listen; what nothing is said to is reset when it is dropped.
    fn last_word(&self, sending: &Shared, end: &End, reply: &Reply) -> Option<Code> {
        if let End::Cut(reason) = end
            && sending.hang_up(POLICY_VIOLATION, reason.as_str())
        {
            return Some(Code::CANCEL);
        }
        let is_grpc = self.media.is_some();
        match (sending.progress(), end) {
            // Of who asked nobody is left, or Pingora would have answered.
            (Progress::Whole, _) | (Progress::Nothing, End::Broken) => None,
            // To others a cut is no answer of the service's, and none of ours.
            (Progress::Nothing, End::Silence(_)) => self.say(sending, reply),
            (Progress::Nothing, End::Cut(_)) if is_grpc => self.say(sending, reply),
            (Progress::Head { takes_status: true }, _) if is_grpc => {
                // Half an answer must not look like a whole one.
                let said = sending.last_trailers(grpc::trailers(reply));
                said.is_ok().then_some(Code::CANCEL)
            }
            // Dropped, it is reset with CANCEL, after the head if there was one.
            _ => None,
        }
    }

    fn say(&self, sending: &Shared, reply: &Reply) -> Option<Code> {
        // Whoever is still sending may stop (RFC 9113 section 8.1). To others that code would
        // call an answer whole that did not get through.
        let code = if sending.is_uploaded() { Code::CANCEL } else { Code::NO_ERROR };
        self.answer(sending, reply).then_some(code)
    }
}
