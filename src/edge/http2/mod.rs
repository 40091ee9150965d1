//! One HTTP/2 connection: its streams, each served in a future of its own that can
//! be dropped, and its end.
//!
//! Dropping a stream's future lets go of its upstream; what it says to its client
//! then is `stream`'s business, and its siblings never notice. What the client may
//! hold at once is bounded here; floods of resets, of empty frames and of
//! continuations are the business of the h2 crate.

mod air;
mod head;
mod refused;
mod sending;
mod session;
mod stream;
mod websocket;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use h2::server::Builder;
use pingora::protocols::{self, Digest};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use self::air::Air;
use self::refused::{Refused, Watched, Watching};
use self::stream::Stream;
pub(super) use self::websocket::{is_of_stream, needs_http1, take_answer};
use super::alarm::Alarm;
use super::connection::{Arrival, Client};
use super::head::{HeadLimits, MAX_FIELDS};
use super::loan::lend;
use super::proxy::Gateway;
use super::seat::Seat;
use super::stage::{RequestContext, Stage, Ticket};
use crate::policy::{Denial, Reason};

/// Streams of one connection at once.
const STREAMS: u32 = 100;

/// What may be on its way without an acknowledgement: of one stream, and of all
/// of a connection together. The second is what a client can make us hold.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Streams that are being worked on, among them those that the client has reset
/// already and that have not noticed yet. More is an attack.
const MOST_AT_WORK: usize = 4 * STREAMS as usize;

/// Malformed requests after which a connection takes no further streams; after twice as
/// many it is closed.
const MALFORMED: usize = 32;

/// How long a connection without streams may take over its farewell.
const FAREWELL: Duration = Duration::from_secs(1);

/// What is held of one stream's response while its client does not read; with
/// [`STREAMS`] of them that is all that a connection can make us hold.
const HELD: usize = 64 << 10;

fn options(limits: &HeadLimits) -> Builder {
    // HTTP/2 counts 32 bytes more for each field, and the target as one (RFC 9113
    // section 6.5.2): what this lets through is measured as on HTTP/1.1.
    let most = limits.header_bytes + limits.target_bytes + 32 * (MAX_FIELDS + 4);
    let mut options = Builder::new();
    options
        .max_header_list_size(u32::try_from(most).unwrap_or(u32::MAX))
        .max_concurrent_streams(STREAMS)
        // A revocation may end all streams at once, and what is on its way to them then is
        // nobody's fault: of those that it has forgotten, h2 counts each frame as one, and
        // ends the connection, the neighbours with it, after a thousand.
        .max_concurrent_reset_streams(MOST_AT_WORK)
        .max_send_buffer_size(HELD)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .enable_connect_protocol();
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
    let digest = Arc::new(Digest {
        ssl_digest: wire.ssl.clone(),
        timing_digest: Vec::new(),
        proxy_digest: None,
        socket_digest: Some(Arc::clone(&wire.socket)),
    });
    let (stream, home) = lend(wire, gateway.settings.load().head.idle_timeout);
    let front = Front { gateway, proxy, arrival, seat, digest, shutdown };
    if let Some(Over) = front.drive(stream).await
        && let Some(wire) = home.returned()
    {
        // The h2 crate has said all there is to say. Let it be heard: closing on what the
        // client has sent meanwhile would take it back.
        wire.say_last(&[]).await;
    }
}

/// Tells the client that no new streams are wanted (GOAWAY). Gives how long it has once
/// there is none left.
fn farewell(connection: &mut Watched) -> Instant {
    connection.graceful_shutdown();
    Instant::now() + FAREWELL
}

/// Lets the streams, which know that it is over, say their last words.
async fn part(connection: &mut Watched, streams: &mut JoinSet<()>) {
    let said = async {
        loop {
            tokio::select! {
                biased;
                accepted = connection.accept() => match accepted {
                    // Too late.
                    Some(Ok(asked)) => drop(asked),
                    Some(Err(_)) | None => return,
                },
                ended = streams.join_next() => if ended.is_none() { return },
            }
        }
    };
    let _ = timeout(FAREWELL, said).await;
}

/// It ended as it should, or as the client made it.
struct Over;

/// What a connection's streams have in common.
struct Front<'a> {
    gateway: &'a Gateway,
    proxy: &'a Arc<HttpProxy<Gateway>>,
    arrival: Arrival,
    seat: Seat,
    digest: Arc<Digest>,
    shutdown: &'a ShutdownWatch,
}

impl Front<'_> {
    async fn drive(&self, stream: protocols::Stream) -> Option<Over> {
        let Front { gateway, arrival, seat, .. } = self;
        let limits = gateway.settings.load().head;
        let (mut draining, mut leave) = (self.shutdown.clone(), gateway.leave.clone());
        let air = Arc::<Air>::default();
        let (stream, refusals) = Watching::new(stream, Arc::clone(&air));
        let begun = tokio::select! {
            begun = timeout(limits.header_timeout, options(&limits).handshake(stream)) => begun,
            _ = leave.wait_for(|leave| *leave) => return None,
        };
        let mut connection = match begun {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => {
                self.report_end(&error);
                return None;
            }
            Err(_) => return None,
        };
        let (over, is_over) = watch::channel(false);
        let mut streams = JoinSet::new();
        // Asked once, and not anew for each stream.
        let mut draining = pin!(async move { drop(draining.wait_for(|ending| *ending).await) });
        let mut idle = Alarm::default();
        let (mut malformed, mut is_ending, mut is_told) = (0, false, false);
        let mut is_beyond = false;
        let mut idle_until = Instant::now() + limits.idle_timeout;
        seat.rests();
        loop {
            tokio::select! {
                biased;
                () = seat.must_go(), if !is_told => {
                    if is_ending {
                        break;
                    }
                    is_told = true;
                    idle_until = farewell(&mut connection);
                    is_ending = true;
                }
                () = &mut draining, if !is_ending => {
                    // GOAWAY: streams under way end as they like, no new ones come.
                    idle_until = farewell(&mut connection);
                    is_ending = true;
                }
                next = refusals.next(&mut connection) => {
                    let asked = match next {
                        Ok(Some(Ok((request, respond)))) => {
                            Stream::accept(request, respond, gateway, arrival, &air)
                        }
                        Err(refused) => {
                            self.report_refused(&refused, &mut is_beyond);
                            if !matches!(refused, Refused::Malformed) {
                                continue;
                            }
                            Err(true)
                        }
                        // It is over; what still runs has nobody to answer to.
                        Ok(ended) => {
                            while let Some(refused) = refusals.take() {
                                self.report_refused(&refused, &mut is_beyond);
                            }
                            if let Some(Err(error)) = ended {
                                self.report_end(&error);
                            }
                            return Some(Over);
                        }
                    };
                    let stream = match asked {
                        Ok(stream) => stream,
                        Err(is_malformed) => {
                            malformed += usize::from(is_malformed);
                            if malformed == MALFORMED && !is_ending {
                                // What else runs here may be somebody else's, behind one proxy.
                                idle_until = farewell(&mut connection);
                                is_ending = true;
                            }
                            if malformed == 2 * MALFORMED {
                                return None;
                            }
                            continue;
                        }
                    };
                    while streams.try_join_next().is_some() {}
                    seat.works();
                    if streams.len() >= MOST_AT_WORK {
                        return None;
                    }
                    self.begin(&mut streams, stream, limits.idle_timeout, is_over.clone());
                }
                // A panic has stayed in its stream, and was reported there.
                Some(_) = streams.join_next() => {
                    let most = if is_ending { FAREWELL } else { limits.idle_timeout };
                    idle_until = Instant::now() + most;
                    if streams.is_empty() {
                        seat.rests();
                    }
                }
                () = idle.wait(idle_until), if streams.is_empty() => {
                    if is_ending {
                        return Some(Over);
                    }
                    idle_until = farewell(&mut connection);
                    is_ending = true;
                }
            }
        }
        // The drain is over.
        over.send_replace(true);
        part(&mut connection, &mut streams).await;
        None
    }

    /// Serves a stream in a task of its own.
    fn begin(
        &self,
        streams: &mut JoinSet<()>,
        stream: Stream,
        most_silence: Duration,
        over: ShutdownWatch,
    ) {
        let ticket = Ticket::of_stream(&self.arrival, Arc::clone(&stream.slot), most_silence);
        let (proxy, settings) = (Arc::clone(self.proxy), Arc::clone(&self.gateway.settings));
        let (digest, shutdown) = (Arc::clone(&self.digest), self.shutdown.clone());
        // Boxed: a task's future is moved from hand to hand, at its begin and at its end.
        let served = Box::pin(stream.serve(proxy, settings, digest, ticket, shutdown, over));
        streams.spawn(served);
    }

    /// The h2 crate has closed the connection by itself: frames out of order, or too
    /// many of a kind.
    fn report_end(&self, error: &h2::Error) {
        if error.is_go_away() && error.is_library() {
            self.report(Denial::malformed("the HTTP/2 connection broke its rules"));
        }
    }

    /// Streams beyond those that there may be are told of once: honest clients are refused
    /// some before they know the limit.
    fn report_refused(&self, refused: &Refused, is_beyond: &mut bool) {
        match refused {
            Refused::Malformed => {
                self.report(Denial::malformed("the HTTP/2 stream broke its rules"));
            }
            Refused::TooLarge => self.report(Denial::new(Reason::HeadersTooLarge)),
            Refused::Beyond if !*is_beyond => {
                *is_beyond = true;
                self.report(Denial::new(Reason::Overloaded));
            }
            Refused::Beyond => {}
        }
    }

    /// What the h2 crate refuses leaves no request to look at.
    fn report(&self, denial: Denial) {
        let gateway = self.gateway;
        let mut ctx = RequestContext::new(Arc::clone(&gateway.reporter), gateway.context.now());
        ctx.ticket = Some(Ticket::of(&self.arrival));
        ctx.request_id = gateway.ids.next();
        ctx.status = Some(denial.reason.status());
        ctx.stage = Stage::Denied(denial);
    }
}
