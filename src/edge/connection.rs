//! One client connection: head after head, each given to Pingora in a future
//! that can be dropped.
//!
//! Both halves of a proxied exchange live in that future, so dropping it closes
//! the upstream's socket and gives back the client's, which is only lent: that
//! is how a revocation cuts what is under way, idle or not, and how there is a
//! last word all the same.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::BytesMut;
use pingora::apps::{HttpPersistentSettings, HttpServerApp};
use pingora::protocols::http::ServerSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::alarm::Alarm;
use super::failure::Failure;
use super::head::{Head, HeadEnd, read_head};
use super::headers::Origin;
use super::http2;
use super::loan::{Home, Loan, lend};
use super::patience::Turn;
use super::proxy::Gateway;
use super::reject::Reply;
use super::seat::Seat;
use super::stage::{RequestContext, Stage, Ticket};
use super::tunnel::{GOING_AWAY, POLICY_VIOLATION};
use super::wire::Wire;
use crate::policy::Denial;
use crate::revocation::CutReason;

/// How long the last bytes of an answer may take that is broken off.
const LAST_BYTES: Duration = Duration::from_secs(1);

/// How a connection came.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) origin: Origin,
    /// The names that requests must keep to, if they must.
    pub(crate) bound: Option<Arc<[String]>>,
}

/// The client's end of a connection.
pub(crate) struct Client {
    pub(crate) arrival: Arrival,
    pub(crate) wire: Wire,
    pub(crate) seat: Seat,
}

/// What ends a request that is not served to its end.
enum End {
    Cut(CutReason),
    Silence(Turn),
    /// The gateway stops, and has waited long enough.
    Over,
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve(
    gateway: &Gateway,
    proxy: &Arc<HttpProxy<Gateway>>,
    client: Client,
    shutdown: &ShutdownWatch,
) {
    let Client { arrival, wire, seat } = client;
    let (mut loan, home) = lend(wire, gateway.settings.load().head.idle_timeout);
    let mut persistent: Option<HttpPersistentSettings> = None;
    let mut alarm = Alarm::default();
    // Over TLS it is for ALPN to say; later it is a request like any other.
    let mut may_be_http2 = !arrival.origin.tls;
    loop {
        let limits = gateway.settings.load().head;
        seat.rests();
        let head = tokio::select! {
            biased;
            () = seat.must_go() => return,
            head = read_head(&mut *loan, &limits, may_be_http2, &seat, &mut alarm) => head,
        };
        if !seat.works() {
            return;
        }
        may_be_http2 = false;
        let (head, stream, mut ticket) = match head {
            Ok(Head::Http1 { head, beyond, extent }) => {
                let ticket = Ticket::of(&arrival);
                let stream = loan.for_request(beyond, extent, Arc::clone(&ticket.slot));
                (head, stream, ticket)
            }
            Ok(Head::Http2(read)) => {
                let Some(wire) = home.take_back(loan) else { return };
                let client = Client { arrival, wire, seat };
                return Box::pin(serve_http2(gateway, proxy, client, read, shutdown)).await;
            }
            Err(HeadEnd::Gone) => return,
            // Boxed, as is all that comes at most once: idle connections have no use for it.
            Err(HeadEnd::TooSlow) => {
                return Box::pin(refuse(gateway, home.take_back(loan), &arrival, None)).await;
            }
            Err(HeadEnd::Refused(denial)) => {
                let wire = home.take_back(loan);
                return Box::pin(refuse(gateway, wire, &arrival, Some(denial))).await;
            }
        };
        let mut session = ServerSession::new_http1(stream);
        if let Some(settings) = persistent.take() {
            settings.apply_to_session(&mut session);
        }
        session
            .set_keepalive((!*shutdown.borrow()).then_some(limits.idle_timeout.as_secs().max(1)));
        let is_head = head.starts_with(b"HEAD ");
        session.set_pipelined_prefix(head);
        ticket.takes_body = !is_head;
        let (slot, patience) = (Arc::clone(&ticket.slot), Arc::clone(&ticket.patience));
        let request_id = Arc::clone(&ticket.request_id);
        session.set_connection_user_context(Some(Box::new(ticket)));
        // What ends otherwise is dropped, and with it the upstream's connection;
        // the client's comes home.
        let served = tokio::select! {
            biased;
            reason = slot.wait() => Err(End::Cut(reason)),
            () = seat.must_go() => Err(End::Over),
            reused = proxy.process_new_http(session, shutdown) => Ok(reused),
            // After what winds it up.
            turn = patience.wait(&mut alarm) => Err(End::Silence(turn)),
        };
        let reused = match served {
            Ok(reused) => reused,
            Err(end) => return Box::pin(break_off(end, home, &request_id, is_head)).await,
        };
        let Some((next, settings)) = reused.map(|reused| reused.consume()) else {
            return Box::pin(send_the_rest(home)).await;
        };
        let Some(next) = Loan::after_request(next) else { return };
        loan = next;
        persistent = settings;
    }
}

async fn serve_http2(
    gateway: &Gateway,
    proxy: &Arc<HttpProxy<Gateway>>,
    client: Client,
    read: BytesMut,
    shutdown: &ShutdownWatch,
) {
    let Client { arrival, mut wire, seat } = client;
    wire.put_back(&read);
    http2::serve(gateway, proxy, Client { arrival, wire, seat }, shutdown).await;
}

/// What Pingora wrote, and did not flush before its upstream broke off, is the client's.
async fn send_the_rest(home: Home) {
    if let Some(mut wire) = home.returned() {
        let _ = timeout(LAST_BYTES, wire.flush()).await;
    }
}

/// The last word, past Pingora, which was dropped.
async fn break_off(end: End, home: Home, request_id: &OnceLock<Arc<str>>, is_head: bool) {
    let Some(wire) = home.returned() else { return };
    match end {
        End::Cut(reason) => wire.hang_up(POLICY_VIOLATION, reason.as_str()).await,
        End::Over => wire.hang_up(GOING_AWAY, "the gateway stops").await,
        // Before any head: somebody said nothing in time.
        End::Silence(turn) => {
            let id = request_id.get().map_or("", |id| id);
            let reply = Reply::failed(&Failure::of_silence(turn), id);
            wire.say_last(&reply.to_closing_bytes(is_head)).await;
        }
    }
}

/// Tells no, once, and closes. Without a denial it was too slow (408).
async fn refuse(gateway: &Gateway, wire: Option<Wire>, arrival: &Arrival, denial: Option<Denial>) {
    let mut ctx = RequestContext::new(Arc::clone(&gateway.reporter), gateway.context.now());
    ctx.ticket = Some(Ticket::of(arrival));
    ctx.request_id = gateway.ids.next();
    let reply = match &denial {
        // Before the token is looked at: there is no challenge to make.
        Some(denial) => Reply::denied(denial, &ctx.request_id, ""),
        None => Reply::failed(&Failure::STALLED, &ctx.request_id),
    };
    ctx.status = Some(reply.status);
    ctx.bytes_out = reply.body.len() as u64;
    ctx.stage =
        Stage::Denied(denial.unwrap_or_else(|| Denial::malformed("the head took too long")));
    if let Some(wire) = wire {
        wire.say_last(&reply.to_closing_bytes(false)).await;
    }
}
