//! One HTTP/2 connection: its streams, each given to Pingora in a future of its
//! own that can be dropped, and its end.
//!
//! Dropping a stream's future resets that stream and lets go of its upstream;
//! its siblings never notice. What the client may hold at once is bounded here;
//! floods of resets, of empty frames and of continuations are the business of
//! the h2 crate.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerApp;
use pingora::protocols::Digest;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::alarm::Alarm;
use super::connection::{Arrival, Client};
use super::head::HeadLimits;
use super::http2_head::make_like_http1;
use super::loan::lend;
use super::proxy::Gateway;
use super::stage::{RequestContext, Stage, TICKET, Ticket};
use crate::policy::Denial;

/// Streams of one connection at once.
const STREAMS: u32 = 100;

/// What may be on its way without an acknowledgement: of one stream, and of all
/// of a connection together. The second is what a client can make us hold.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Streams that are being worked on, among them those that the client has reset
/// already and that have not noticed yet. More is an attack.
const MOST_AT_WORK: usize = 4 * STREAMS as usize;

/// Malformed requests that a connection may send before it is closed.
const MALFORMED: usize = 32;

/// How long a connection without streams may take over its farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is held of one stream's response while its client does not read; with
/// [`STREAMS`] of them that is all that a connection can make us hold.
const HELD: usize = 64 << 10;

/// Pingora's bounded options, made ours.
fn options(limits: &HeadLimits) -> H2Options {
    let mut options = default_h2_options();
    options
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        .max_send_buffer_size(HELD)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW);
    options
}

/// Serves a connection until either side ends it. The preface has not been read.
pub(crate) async fn serve(
    gateway: &Gateway,
    proxy: &Arc<HttpProxy<Gateway>>,
    client: Client,
    shutdown: &ShutdownWatch,
) {
    let Client { arrival, wire, seat } = client;
    // Nobody wants it back: the h2 crate says all there is to say.
    let (stream, _) = lend(wire);
    let limits = gateway.settings.load().head;
    let digest = Arc::new(Digest {
        ssl_digest: stream.get_ssl_digest(),
        timing_digest: stream.get_timing_digest(),
        proxy_digest: stream.get_proxy_digest(),
        socket_digest: stream.get_socket_digest(),
    });
    let (mut draining, mut leave) = (shutdown.clone(), gateway.leave.clone());
    let begun = tokio::select! {
        begun = timeout(limits.header_timeout, handshake(stream, Some(options(&limits)))) => begun,
        _ = leave.wait_for(|leave| *leave) => return,
    };
    let Ok(Ok(mut connection)) = begun else { return };
    let mut streams = JoinSet::new();
    let (mut malformed, mut is_ending, mut is_told) = (0, false, false);
    let mut idle_until = Instant::now() + limits.idle_timeout;
    seat.rests();
    loop {
        tokio::select! {
            biased;
            () = seat.must_go(), if !is_told => {
                if is_ending {
                    // The drain is over.
                    return;
                }
                is_told = true;
                connection.graceful_shutdown();
                is_ending = true;
                idle_until = Instant::now() + FAREWELL;
            }
            _ = draining.wait_for(|ending| *ending), if !is_ending => {
                // GOAWAY: streams under way end as they like, no new ones come.
                connection.graceful_shutdown();
                is_ending = true;
                idle_until = Instant::now() + FAREWELL;
            }
            accepted = HttpSession::from_h2_conn(&mut connection, Arc::clone(&digest)) => {
                match accepted {
                    Ok(Some(H2Accept::Session(session))) => {
                        while streams.try_join_next().is_some() {}
                        seat.works();
                        if streams.len() >= MOST_AT_WORK {
                            return;
                        }
                        let (proxy, shutdown) = (Arc::clone(proxy), shutdown.clone());
                        let ticket = Ticket::of_stream(&arrival, limits.idle_timeout);
                        streams.spawn(serve_stream(proxy, session, ticket, shutdown));
                    }
                    Ok(Some(H2Accept::Rejected)) => {
                        report_malformed(gateway, &arrival);
                        malformed += 1;
                        if malformed == MALFORMED {
                            return;
                        }
                    }
                    // It is over; what still runs has nobody to answer to.
                    Ok(None) | Err(_) => return,
                }
            }
            // A panic has stayed in its stream, and was reported there.
            Some(_) = streams.join_next() => {
                let most = if is_ending { FAREWELL } else { limits.idle_timeout };
                idle_until = Instant::now() + most;
                if streams.is_empty() {
                    seat.rests();
                }
            }
            () = sleep_until(idle_until), if streams.is_empty() => {
                if is_ending {
                    return;
                }
                connection.graceful_shutdown();
                is_ending = true;
                idle_until = Instant::now() + FAREWELL;
            }
        }
    }
}

async fn serve_stream(
    proxy: Arc<HttpProxy<Gateway>>,
    mut session: HttpSession,
    ticket: Ticket,
    shutdown: ShutdownWatch,
) {
    make_like_http1(session.req_header_mut());
    let (slot, patience) = (Arc::clone(&ticket.slot), Arc::clone(&ticket.patience));
    let mut alarm = Alarm::default();
    let session = ServerSession::new_http2(session);
    let served = TICKET.scope(Cell::new(Some(ticket)), proxy.process_new_http(session, &shutdown));
    // Pingora owns the stream: once it is dropped there is no way to write a
    // last word to it (504, 408, `grpc-status`), only the reset.
    tokio::select! {
        biased;
        _ = slot.wait() => {}
        _ = served => {}
        // After what winds it up.
        _ = patience.wait(&mut alarm) => {}
    }
}

/// Pingora has answered 400 or reset the stream by itself: two authorities, or
/// two lengths. It leaves no request to look at.
fn report_malformed(gateway: &Gateway, arrival: &Arrival) {
    let mut ctx = RequestContext::new(Arc::clone(&gateway.reporter), gateway.context.now());
    ctx.ticket = Some(Ticket::of(arrival));
    ctx.request_id = gateway.ids.next();
    ctx.status = Some(400);
    ctx.stage = Stage::Denied(Denial::malformed("the HTTP/2 request has two readings"));
}
