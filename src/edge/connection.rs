//! One client connection: head after head, each given to Pingora in a future
//! that can be dropped.
//!
//! Both halves of a proxied exchange live in that future, so dropping it closes
//! the client's socket and the upstream's: that is how a revocation cuts what
//! is under way, idle or not.

use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pingora::apps::{HttpPersistentSettings, HttpServerApp};
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as TcpSession;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;
use super::head::{Head, HeadEnd, read_head};
use super::headers::Origin;
use super::http2;
use super::patience::Turn;
use super::proxy::Gateway;
use super::reject::Reply;
use super::stage::{RequestContext, Stage, Ticket};
use super::tls_stream::TlsSession;
use crate::policy::Denial;

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
    pub(crate) spare: Spare,
}

/// A second handle of a connection, for the one answer that must go out after
/// Pingora has let go.
pub(crate) enum Spare {
    Plain(Option<TcpStream>),
    Tls(TlsSession),
}

impl Client {
    /// Somebody said nothing in time: past Pingora, which was dropped.
    async fn tell_of_silence(self, turn: Turn, request_id: &OnceLock<Arc<str>>) {
        let failure = Failure::of_silence(turn);
        let id = request_id.get().map_or("", |id| id);
        let reply = Reply::error(failure.status, failure.error, failure.description, id);
        let bytes = reply.to_closing_bytes();
        match self.spare {
            Spare::Plain(None) => {}
            Spare::Plain(Some(mut socket)) => {
                // It does not block: a few hundred bytes fit, or nobody reads.
                let _ = socket.write_all(&bytes);
                let _ = socket.shutdown(std::net::Shutdown::Write);
            }
            Spare::Tls(mut session) => {
                let told = async {
                    session.write_all(&bytes).await?;
                    AsyncWriteExt::shutdown(&mut session).await
                };
                let _ = timeout_at(Instant::now() + LINGER, told).await;
            }
        }
    }
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve(
    gateway: &Gateway,
    proxy: &Arc<HttpProxy<Gateway>>,
    mut stream: Stream,
    client: Client,
    shutdown: &ShutdownWatch,
) {
    let arrival = &client.arrival;
    let mut persistent: Option<HttpPersistentSettings> = None;
    let mut draining = gateway.leave.clone();
    // Over TLS it is for ALPN to say; later it is a request like any other.
    let mut may_be_http2 = !arrival.origin.tls;
    loop {
        let limits = gateway.settings.load().head;
        let head = read_head(&mut stream, &limits, may_be_http2, &mut draining).await;
        may_be_http2 = false;
        let head = match head {
            Ok(Head::Http1(head)) => head,
            Ok(Head::Http2(read)) => {
                if let Some(stream) = rewound(stream, &read) {
                    // Boxed: HTTP/1.1 should not pay for it.
                    Box::pin(http2::serve(gateway, proxy, stream, arrival, shutdown)).await;
                }
                return;
            }
            Err(HeadEnd::Gone) => return,
            Err(HeadEnd::TooSlow) => return refuse(gateway, stream, arrival, None).await,
            Err(HeadEnd::Refused(denial)) => {
                return refuse(gateway, stream, arrival, Some(denial)).await;
            }
        };
        let mut session = ServerSession::new_http1(stream);
        if let Some(settings) = persistent.take() {
            settings.apply_to_session(&mut session);
        }
        session
            .set_keepalive((!*shutdown.borrow()).then_some(limits.idle_timeout.as_secs().max(1)));
        session.set_pipelined_prefix(head);
        let ticket = Ticket::of(arrival);
        let (slot, patience) = (Arc::clone(&ticket.slot), Arc::clone(&ticket.patience));
        let request_id = Arc::clone(&ticket.request_id);
        session.set_connection_user_context(Some(Box::new(ticket)));
        let reused = tokio::select! {
            biased;
            // What is cut is dropped, and with it both connections.
            _ = slot.wait() => return,
            turn = patience.wait() => return client.tell_of_silence(turn, &request_id).await,
            reused = proxy.process_new_http(session, shutdown) => reused,
        };
        let Some((next, settings)) = reused.map(|reused| reused.consume()) else { return };
        stream = next;
        persistent = settings;
    }
}

/// A plain connection from which nothing seems to have been read.
fn rewound(stream: Stream, read: &[u8]) -> Option<Stream> {
    let mut plain = stream.into_any().downcast::<TcpSession>().ok()?;
    plain.rewind(read);
    Some(plain)
}

/// How long a refused client may go on sending before the door is shut; a
/// reset would take the answer from under its eyes.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Tells no, once, and closes. Without a denial it was too slow (408).
async fn refuse(gateway: &Gateway, mut stream: Stream, arrival: &Arrival, denial: Option<Denial>) {
    let mut ctx = RequestContext::new(Arc::clone(&gateway.reporter), gateway.context.now());
    ctx.ticket = Some(Ticket::of(arrival));
    ctx.request_id = gateway.ids.next();
    let reply = match &denial {
        // Before the token is looked at: there is no challenge to make.
        Some(denial) => Reply::denied(denial, &ctx.request_id, ""),
        None => {
            let Failure { status, error, description, .. } = Failure::STALLED;
            Reply::error(status, error, description, &ctx.request_id)
        }
    };
    ctx.status = Some(reply.status);
    ctx.bytes_out = reply.body.len() as u64;
    ctx.stage =
        Stage::Denied(denial.unwrap_or_else(|| Denial::malformed("the head took too long")));
    let deadline = Instant::now() + LINGER;
    let answered = timeout_at(deadline, async {
        stream.write_all(&reply.to_closing_bytes()).await?;
        stream.flush().await?;
        AsyncWriteExt::shutdown(&mut stream).await
    });
    if !matches!(answered.await, Ok(Ok(()))) {
        return;
    }
    let mut left = LINGER_BYTES;
    let mut buffer = [0; 4096];
    while let Ok(Ok(read @ 1..)) = timeout_at(deadline, stream.read(&mut buffer)).await {
        left = left.saturating_sub(read);
        if left == 0 {
            return;
        }
    }
}
