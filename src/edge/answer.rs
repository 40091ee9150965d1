//! What the gateway answers by itself: its own endpoints, and refusals.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, header};
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;

use super::body::MAX_HELD;
use super::caller::client_address;
use super::failure::Failure;
use super::grpc;
use super::http2;
use super::judge::{ReadBody, announced_length, read_body};
use super::proxy::Gateway;
use super::reject::Reply;
use super::stage::{RequestContext, Stage};
use crate::api::oauth::{Caller, MAX_BODY};
use crate::policy::{Denial, Reason};

/// How long the body of a request that is answered here may take to arrive.
const ANSWERED: Duration = Duration::from_secs(10);

impl Gateway {
    /// Answers by the router of the gateway's own paths.
    pub(super) async fn answer_locally(
        &self,
        endpoint: &'static str,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        if http2::is_of_stream(session) {
            // Whatever it said with a 2xx would be read as frames.
            let denial = Denial::malformed("the gateway's own paths are no WebSockets");
            return self.deny(denial, session, ctx).await;
        }
        ctx.stage = Stage::Local(endpoint);
        // Of whoever is about to be told that it is not the way, nothing is read.
        let body = match session.req_header().method {
            Method::POST => read_body(session, MAX_BODY, ANSWERED).await?,
            _ => ReadBody::Whole(Bytes::new()),
        };
        let ReadBody::Whole(body) = body else {
            return self.deny(Denial::new(Reason::BodyTooLarge), session, ctx).await;
        };
        ctx.bytes_in = body.len() as u64;
        let head = session.req_header();
        let mut request = http::Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        let settings = self.settings.load_full();
        if let Some(ticket) = &ctx.ticket {
            let (peer, trusted) = (ticket.origin.address, &settings.trusted_proxies);
            request.extensions_mut().insert(Caller(client_address(head, peer, trusted)));
        }
        if let Ok(id) = http::HeaderValue::from_str(&ctx.request_id) {
            request.headers_mut().insert("x-request-id", id);
        }
        let mut reply = settings.mount.answer(request, &ctx.request_id).await;
        ctx.client = reply.client.take();
        send(reply, session, ctx).await
    }

    /// Says no.
    pub(super) async fn deny(
        &self,
        denial: Denial,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        let metadata = &self.settings.load().resource_metadata;
        let reply = Reply::denied(&denial, &ctx.request_id, metadata);
        ctx.stage = Stage::Denied(denial);
        ctx.place = None;
        send(reply, session, ctx).await
    }
}

/// What is answered where the way up failed. Only a body that grew too long is refused.
pub(super) fn reply_to(failure: &Failure, ctx: &mut RequestContext) -> Reply {
    if failure.status != 413 {
        return Reply::failed(failure, &ctx.request_id);
    }
    let mut denial = Denial::new(Reason::BodyTooLarge);
    let reply = Reply::denied(&denial, &ctx.request_id, "");
    if let Stage::Permitted(passage) = &ctx.stage {
        denial.route = Some(Arc::clone(passage.permit.route()));
        denial.principal = passage.permit.principal().cloned();
    }
    ctx.stage = Stage::Denied(denial);
    reply
}

/// To be called with each answer before it is written. Pingora ends the connection of a
/// client that has not sent all of its request by then: not for an interim answer, which
/// has it sent, and for every other one.
pub(super) fn is_interim(session: &mut Session, is_interim: bool) {
    if let ServerSession::H1(connection) = session.downstream_session.as_mut() {
        connection.set_close_on_response_before_downstream_finish(!is_interim);
    }
}

/// Tells the client to go on, if it was told nothing yet.
pub(super) async fn bid_to_continue(session: &mut Session) -> pingora::Result<()> {
    is_interim(session, true);
    let told = session.downstream_session.write_continue_response().await;
    is_interim(session, false);
    told
}

/// Whether there is a body on its way that is not worth a connection.
fn has_small_body(session: &Session) -> bool {
    announced_length(session).is_some_and(|length| length <= MAX_HELD as u64)
        && !session.req_header().headers.contains_key(header::EXPECT)
}

/// Sends an answer of our own, as gRPC where that was asked for.
pub(super) async fn send(
    reply: Reply,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> pingora::Result<()> {
    ctx.status = Some(reply.status);
    if ctx.failure.is_empty() {
        ctx.failure = reply.reason;
    }
    is_interim(session, false);
    if grpc::media(session.req_header()).is_some() && !matches!(ctx.stage, Stage::Local(_)) {
        return grpc::refuse(session, &reply).await;
    }
    if has_small_body(session)
        && let ServerSession::H1(connection) = session.downstream_session.as_mut()
    {
        // Read and left behind, rather than an end of the connection.
        connection.set_close_on_response_before_downstream_finish(false);
    }
    if session.req_header().method != Method::HEAD {
        ctx.bytes_out = reply.body.len() as u64;
    }
    reply.send(session).await?;
    // What is left of its body may come for seconds yet.
    ctx.ended = Some(Instant::now());
    Ok(())
}
