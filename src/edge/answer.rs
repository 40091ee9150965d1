//! What the gateway answers by itself: its own endpoints, and refusals.

use pingora::proxy::Session;

use super::grpc;
use super::http2;
use super::judge::{ReadBody, read_body};
use super::mount::{Caller, MAX_BODY};
use super::proxy::Gateway;
use super::reject::Reply;
use super::stage::{RequestContext, Stage};
use crate::policy::{Denial, Reason};

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
        let ReadBody::Whole(body) = read_body(session, MAX_BODY).await? else {
            return self.deny(Denial::new(Reason::BodyTooLarge), session, ctx).await;
        };
        ctx.bytes_in = body.len() as u64;
        let head = session.req_header();
        let mut request = http::Request::new(body);
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = head.uri.clone();
        *request.headers_mut() = head.headers.clone();
        if let Some(ticket) = &ctx.ticket {
            request.extensions_mut().insert(Caller(ticket.origin.address));
        }
        if let Ok(id) = http::HeaderValue::from_str(&ctx.request_id) {
            request.headers_mut().insert("x-request-id", id);
        }
        let settings = self.settings.load_full();
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
        send(reply, session, ctx).await
    }
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
    if grpc::media(session.req_header()).is_some() && !matches!(ctx.stage, Stage::Local(_)) {
        return grpc::refuse(session, &reply).await;
    }
    ctx.bytes_out = reply.body.len() as u64;
    reply.send(session).await
}
