//! One HTTP/2 connection: its streams, each served in a future of its own that can
//! be dropped, and its end.
//!
//! Dropping a stream's future lets go of its upstream; what it says to its client
//! then is `stream`'s business, and its siblings never notice. What the client may
//! hold at once is bounded here; floods of resets, of empty frames and of
//! continuations are the business of the h2 crate.

mod head;
mod sending;
mod session;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use h2::server::Builder;
use pingora::protocols::Digest;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use self::stream::Stream;
use super::connection::{Arrival, Client};
use super::head::HeadLimits;
use super::proxy::Gateway;
use super::stage::{RequestContext, Stage, Ticket};
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

fn options(limits: &HeadLimits) -> Builder {
    let mut options = Builder::new();
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
    let limits = gateway.settings.load().head;
    let digest = Arc::new(Digest {
        ssl_digest: wire.ssl.clone(),
        timing_digest: Vec::new(),
        proxy_digest: None,
        socket_digest: Some(Arc::clone(&wire.socket)),
    });
    let (mut draining, mut leave) = (shutdown.clone(), gateway.leave.clone());
    let begun = tokio::select! {
        begun = timeout(limits.header_timeout, options(&limits).handshake(wire)) => begun,
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
            accepted = connection.accept() => {
                let (request, respond) = match accepted {
                    Some(Ok(asked)) => asked,
                    // It is over; what still runs has nobody to answer to.
                    None => return,
                    Some(Err(error)) => {
                        if error.is_go_away() && error.is_library() {
                            report_malformed(gateway, &arrival);
                        }
                        return;
                    }
                };
                while streams.try_join_next().is_some() {}
                let stream = match Stream::new(request, respond).refuse(gateway, &arrival) {
                    Ok(stream) => stream,
                    Err(is_malformed) => {
                        malformed += usize::from(is_malformed);
                        if malformed == MALFORMED {
                            return;
                        }
                        continue;
                    }
                };
                seat.works();
                if streams.len() >= MOST_AT_WORK {
                    return;
                }
                let ticket = Ticket::of_stream(&arrival, limits.idle_timeout);
                let (proxy, settings) = (Arc::clone(proxy), Arc::clone(&gateway.settings));
                let (digest, shutdown) = (Arc::clone(&digest), shutdown.clone());
                streams.spawn(stream.serve(proxy, settings, digest, ticket, shutdown));
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

/// The h2 crate has closed the connection by itself: frames out of order, or too
/// many of a kind. It leaves no request to look at.
fn report_malformed(gateway: &Gateway, arrival: &Arrival) {
    let mut ctx = RequestContext::new(Arc::clone(&gateway.reporter), gateway.context.now());
    ctx.ticket = Some(Ticket::of(arrival));
    ctx.request_id = gateway.ids.next();
    ctx.status = Some(400);
    ctx.stage = Stage::Denied(Denial::malformed("the HTTP/2 connection broke its rules"));
}
