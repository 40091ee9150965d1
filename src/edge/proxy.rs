//! Pingora's callbacks: translate, call [`decide`], obey. No policy lives here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::ShutdownWatch;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::failure::Failure;
use super::headers::{RequestIds, client_request_id, prepare, strip_hop_by_hop};
use super::judge::{ReadBody, read_body};
use super::mount::{Caller, MAX_BODY};
use super::patience::Turn;
use super::reject::Reply;
use super::settings::EdgeSettings;
use super::stage::{Reporter, RequestContext, Stage, Ticket};
use crate::policy::{Denial, Reason, Target};
use crate::service::Context;

/// The gateway as Pingora sees it.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) context: Arc<Context>,
    pub(crate) settings: Arc<ArcSwap<EdgeSettings>>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) ids: Arc<RequestIds>,
    /// True once no more requests are wanted.
    pub(crate) stop: ShutdownWatch,
}

/// How often one request may be tried on another address.
const ATTEMPTS: usize = 3;

impl Gateway {
    async fn answer_locally(
        &self,
        endpoint: &'static str,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
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
        let reply = settings.mount.answer(request, &ctx.request_id).await;
        send(reply, session, ctx).await
    }

    async fn deny(
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

async fn send(
    reply: Reply,
    session: &mut Session,
    ctx: &mut RequestContext,
) -> pingora::Result<()> {
    ctx.status = Some(reply.status);
    ctx.bytes_out = reply.body.len() as u64;
    if ctx.failure.is_empty() {
        ctx.failure = reply.reason;
    }
    reply.send(session).await
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = RequestContext;

    fn new_ctx(&self) -> RequestContext {
        RequestContext::new(Arc::clone(&self.reporter), self.context.now())
    }

    /// No modules: nothing on the way changes a body.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// The connection hands its part of the request over here.
    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        ctx: &mut RequestContext,
        ticket: Box<dyn std::any::Any + Send + Sync>,
    ) {
        ctx.ticket = ticket.downcast::<Ticket>().ok().map(|ticket| *ticket);
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<bool> {
        let settings = self.settings.load();
        let idle = settings.head.idle_timeout;
        // HTTP/1.0 has no keep-alive of its own (RFC 9112 section 9.3).
        let lasting =
            session.req_header().version != http::Version::HTTP_10 && !*self.stop.borrow();
        session.set_keepalive(lasting.then_some(idle.as_secs().max(1)));
        session.set_read_timeout(Some(idle));
        session.set_write_timeout(Some(idle));
        session.set_total_drain_timeout(Some(Duration::from_secs(5)));
        let request = session.req_header();
        ctx.request_id = client_request_id(request).map_or_else(|| self.ids.next(), Arc::from);
        if let Some(ticket) = &ctx.ticket {
            let _ = ticket.request_id.set(Arc::clone(&ctx.request_id));
        }
        ctx.method = request.method.as_str().to_owned();
        let host = request.headers.get(header::HOST).and_then(|v| v.to_str().ok());
        let target = Target::parse(request.raw_path(), host);
        ctx.path = match &target {
            Ok(target) => target.path().as_str().to_owned(),
            Err(_) => {
                let raw = String::from_utf8_lossy(request.raw_path());
                raw.split('?').next().unwrap_or_default().to_owned()
            }
        };
        if let Some(endpoint) = target.ok().and_then(|t| settings.mount.endpoint(t.path().as_str()))
        {
            drop(settings);
            self.answer_locally(endpoint, session, ctx).await?;
            return Ok(true);
        }
        drop(settings);
        match self.pass(session, ctx).await? {
            Ok(passage) => {
                ctx.stage = Stage::Permitted(passage);
                Ok(false)
            }
            Err(denial) => {
                self.deny(denial, session, ctx).await?;
                Ok(true)
            }
        }
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        if let Some(held) = ctx.held.take().filter(|held| !held.is_empty()) {
            *body = Some(match body.take() {
                Some(chunk) => Bytes::from([held, chunk].concat()),
                None => held,
            });
        }
        ctx.bytes_in += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if let (Stage::Permitted(passage), Some(ticket), None) =
            (&ctx.stage, &ctx.ticket, ctx.status)
        {
            let turn = if end { Turn::Upstream } else { Turn::Client };
            ticket.patience.wind_up(passage.upstream.patience, turn);
        }
        match &ctx.stage {
            Stage::Permitted(passage)
                if passage.body_limit > 0 && ctx.bytes_in > passage.body_limit =>
            {
                Error::e_explain(ErrorType::HTTPStatus(413), "the body is over its limit")
            }
            _ => Ok(()),
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<Box<HttpPeer>> {
        let Stage::Permitted(passage) = &mut ctx.stage else {
            return Error::e_explain(ErrorType::HTTPStatus(500), "no permit, no peer");
        };
        passage.attempts += 1;
        // Another attempt sends the body again.
        ctx.bytes_in = 0;
        passage.asked.get_or_insert_with(Instant::now);
        let Some(address) = passage.upstream.next() else {
            return Error::e_explain(ErrorType::ConnectNoRoute, "no address of the upstream is up");
        };
        if let Some(ticket) = &ctx.ticket {
            // Whoever waits for a 100 has nothing to do yet.
            let waits = session.req_header().headers.contains_key(header::EXPECT);
            let turn = if waits || session.is_body_done() { Turn::Upstream } else { Turn::Client };
            ticket.patience.wind_up(passage.upstream.patience, turn);
        }
        Ok(passage.upstream.peer(address))
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut RequestContext,
        mut error: Box<Error>,
    ) -> Box<Error> {
        // Nothing was sent, so any method may be tried again elsewhere.
        if let Stage::Permitted(passage) = &ctx.stage {
            error.set_retry(passage.upstream.is_balanced() && passage.attempts < ATTEMPTS);
        }
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        let (Stage::Permitted(passage), Some(ticket)) = (&ctx.stage, &ctx.ticket) else {
            return Error::e_explain(ErrorType::HTTPStatus(500), "no permit, no request");
        };
        // What was judged is what is forwarded.
        if request.raw_path() != passage.permit.target().as_bytes() {
            request.set_raw_path(passage.permit.target().as_bytes())?;
        }
        prepare(
            request,
            session.req_header(),
            &passage.permit,
            &passage.upstream.authorization,
            ticket.origin,
            &self.settings.load().trusted_proxies,
            &ctx.request_id,
        )
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        let status = response.status.as_u16();
        if status >= 200 || status == 101 {
            ctx.status = Some(status);
            if let Some(ticket) = &ctx.ticket {
                ticket.patience.stop();
            }
        }
        if status != 101 {
            strip_hop_by_hop(response);
            if *self.stop.borrow() {
                // The client is told, rather than surprised with its next request.
                session.set_keepalive(None);
            }
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut RequestContext,
    ) -> pingora::Result<Option<Duration>> {
        ctx.bytes_out += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if let (true, Stage::Permitted(passage)) = (end, &mut ctx.stage) {
            // Over before the client sees the end: whoever may have one request
            // at a time may send the next.
            passage.guard = None;
        }
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut RequestContext,
    ) -> FailToProxy {
        let failure = Failure::of(error);
        ctx.failure = failure.word;
        if let Some(ticket) = &ctx.ticket {
            ticket.patience.stop();
        }
        if failure.status >= 500 {
            // Kind and side only: the error's own text may quote the target
            // with its query, or what the upstream sent.
            let (kind, side) = (error.etype().as_str(), error.esource().as_str());
            tracing::warn!(request_id = %ctx.request_id, path = %ctx.path, kind, side, "{}", failure.word);
        }
        if session.response_written().is_none() && failure.status != 0 {
            let reply = if failure.status == 413 {
                Reply::denied(&Denial::new(Reason::BodyTooLarge), &ctx.request_id, "")
            } else {
                Reply::error(failure.status, failure.error, failure.description, &ctx.request_id)
            };
            // The exchange ended out of step; the connection can't go on.
            session.set_keepalive(None);
            let _ = send(reply, session, ctx).await;
        }
        FailToProxy { error_code: failure.status, can_reuse_downstream: false }
    }

    /// Pingora's own lines quote the target with its query: never.
    fn suppress_error_log(&self, _: &Session, _: &RequestContext, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &RequestContext,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, ctx: &RequestContext) -> String {
        ctx.request_id.to_string()
    }

    async fn logging(
        &self,
        _session: &mut Session,
        _error: Option<&Error>,
        _ctx: &mut RequestContext,
    ) {
        // The context reports when it is dropped: also when it is cut or panics.
    }
}
