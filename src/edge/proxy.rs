//! Pingora's callbacks: translate, call [`decide`], obey. No policy lives here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, header};
use pingora::connectors::TransportConnector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, ProxyWarnLogContext, Session};
use pingora::server::ShutdownWatch;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use super::answer::{reply_to, send};
use super::downward::{ends_with_head, strip_hop_by_hop};
use super::failure::{Failure, NO_HTTP2};
use super::headers::prepare;
use super::http2;
use super::lag::Lag;
use super::loan;
use super::noted::Noted;
use super::patience::Turn;
use super::reject::Reply;
use super::retry::Way;
use super::settings::EdgeSettings;
use super::stage::{Reporter, RequestContext, Stage, Ticket};
use super::tls;
use super::trace::client_request_id;
use super::trailers::Trailers;
use super::tunnel::{asks_for_tunnel, grants_tunnel};
use crate::policy::{Denial, Target};
use crate::service::Context;

/// The gateway as Pingora sees it.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) context: Arc<Context>,
    pub(crate) settings: Arc<ArcSwap<EdgeSettings>>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) ids: Arc<crate::domain::RequestIds>,
    pub(crate) lag: Arc<Lag>,
    /// To upstreams, where the exchange may have trailers.
    pub(crate) transport: Arc<TransportConnector>,
    /// True once no more requests are wanted.
    pub(crate) stop: ShutdownWatch,
    /// True once idle connections are to go.
    pub(crate) leave: ShutdownWatch,
}

#[async_trait]
impl ProxyHttp for Gateway {
    /// Boxed: Pingora moves it from future to future.
    type CTX = Box<RequestContext>;

    fn new_ctx(&self) -> Self::CTX {
        Box::new(RequestContext::new(Arc::clone(&self.reporter), self.context.now()))
    }

    /// No modules: nothing on the way changes a body.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// The connection hands its part of the request over here.
    fn on_connection_reuse(
        &self,
        _session: &mut Session,
        ctx: &mut Self::CTX,
        ticket: Box<dyn std::any::Any + Send + Sync>,
    ) {
        ctx.ticket = ticket.downcast::<Ticket>().ok().map(|ticket| *ticket);
    }

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
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
        ctx.noted = Noted::of(request);
        let theirs = if ctx.noted.request_id { client_request_id(request) } else { None };
        ctx.request_id = theirs.map_or_else(|| self.ids.next(), Arc::from);
        if let Some(ticket) = &ctx.ticket {
            let _ = ticket.request_id.set(Arc::clone(&ctx.request_id));
        }
        ctx.method = Some(request.method.clone());
        let host = request.headers.get(header::HOST).and_then(|v| v.to_str().ok());
        let bound = ctx.ticket.as_ref().and_then(|ticket| ticket.bound.as_ref());
        let is_misdirected =
            bound.is_some_and(|names| !host.is_some_and(|host| tls::covers(names, host)));
        let target = Target::parse(request.raw_path(), host);
        if target.is_err() {
            let raw = String::from_utf8_lossy(request.raw_path());
            raw.split('?').next().unwrap_or_default().clone_into(&mut ctx.odd_path);
        }
        let endpoint =
            target.as_ref().ok().and_then(|t| settings.mount.endpoint(t.path().as_str()));
        let target = target.map(|target| target.to_owned());
        ctx.target = target.as_ref().ok().cloned();
        drop(settings);
        if is_misdirected {
            let reply = Reply::misdirected(&ctx.request_id);
            ctx.stage = Stage::Denied(Denial::malformed("the connection is for another host"));
            Box::pin(send(reply, session, ctx)).await?;
            return Ok(true);
        }
        if let Some(endpoint) = endpoint {
            Box::pin(self.answer_locally(endpoint, session, ctx)).await?;
            return Ok(true);
        }
        let judged = match self.refuse_the_crowd() {
            Some(denial) => Err(denial),
            None => self.pass(session, ctx, target).await?,
        };
        match judged {
            Ok(()) => Ok(false),
            Err(denial) => {
                Box::pin(self.deny(denial, session, ctx)).await?;
                Ok(true)
            }
        }
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        if let Some(held) = ctx.held.take().filter(|held| !held.is_empty()) {
            *body = Some(match body.take() {
                Some(chunk) => Bytes::from([held, chunk].concat()),
                None => held,
            });
        }
        // Pingora would write an empty last frame of HTTP/2 as a chunk of its own: that is
        // the end, and the real one after it stays on the connection for the next request.
        if end && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        ctx.bytes_in += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if let (true, Stage::Permitted(passage)) = (end, &mut ctx.stage) {
            passage.request_ends(session);
        }
        // An empty frame is no progress.
        let is_progress = end || body.as_ref().is_some_and(|chunk| !chunk.is_empty());
        if let (Stage::Permitted(passage), Some(ticket), None, true) =
            (&ctx.stage, &ctx.ticket, ctx.status, is_progress)
        {
            let turn = if end { Turn::Upstream } else { Turn::Client };
            ticket.wind_up(passage.upstream.patience, turn);
            self.waits(ctx, turn);
        }
        match &ctx.stage {
            Stage::Permitted(passage)
                if passage.body_limit > 0 && ctx.bytes_in > passage.body_limit =>
            {
                // The client's: over any other Pingora waits for an HTTP/2 upstream's answer.
                let error = Error::explain(ErrorType::HTTPStatus(413), "the body is too long");
                Err(error.into_down())
            }
            _ => Ok(()),
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Box<HttpPeer>> {
        let Stage::Permitted(passage) = &mut ctx.stage else {
            return Error::e_explain(ErrorType::HTTPStatus(500), "no permit, no peer");
        };
        // Another attempt sends the body again.
        ctx.bytes_in = 0;
        passage.asked.get_or_insert_with(Instant::now);
        let is_whole = session.is_body_done();
        if let Some(ticket) = &ctx.ticket {
            // Whoever waits for a 100 has nothing to do yet.
            let is_done = is_whole || session.req_header().headers.contains_key(header::EXPECT);
            let turn = if is_done { Turn::Upstream } else { Turn::Client };
            ticket.wind_up(passage.upstream.patience, turn);
        }
        if passage.upstream.speaks_http2() {
            http2::needs_http1(session)?;
        }
        let ticket = ctx.ticket.as_ref();
        let way = Way::of(session, is_whole, ctx.noted, passage, ticket, &self.transport);
        let peer = passage.next_peer(way);
        // A client that has yet to send its upload keeps itself waiting.
        let turn = if is_whole { Turn::Upstream } else { Turn::Client };
        self.waits(ctx, turn);
        peer
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        let retry = match &mut ctx.stage {
            Stage::Permitted(passage) => passage.try_after_no_connection(&error),
            _ => false,
        };
        error.set_retry(retry);
        error
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut error: Box<Error>,
        ctx: &mut Self::CTX,
        reused: bool,
    ) -> Box<Error> {
        let begun = ctx.status.is_some() || session.response_written().is_some();
        let retry = match &mut ctx.stage {
            Stage::Permitted(passage) if !begun => {
                // RFC 9110 section 9.2.2: to send these twice is to send them once.
                let repeatable = session.req_header().method.is_idempotent()
                    && !session.as_ref().retry_buffer_truncated();
                passage.try_after_failure(&error, reused, repeatable)
            }
            _ => false,
        };
        // Always decided: Pingora panics where it is not.
        error.set_retry(retry);
        error
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let (Stage::Permitted(passage), Some(ticket)) = (&ctx.stage, &ctx.ticket) else {
            return Error::e_explain(ErrorType::HTTPStatus(500), "no permit, no request");
        };
        if passage.upstream.speaks_http2() && request.version != http::Version::HTTP_2 {
            let error = Error::explain(NO_HTTP2, "ALPN chose another protocol, or none");
            return Err(error.into_up());
        }
        // What was judged is what is forwarded.
        if request.raw_path() != passage.permit.target().as_bytes() {
            request.set_raw_path(passage.permit.target().as_bytes())?;
        }
        prepare(
            request,
            session.req_header(),
            ctx.noted,
            passage,
            ticket.origin,
            &self.settings.load().trusted_proxies,
            &ctx.request_id,
        )
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<()> {
        let status = response.status.as_u16();
        if status == 101 && !(asks_for_tunnel(session) && grants_tunnel(response)) {
            let fault = "it switches to a protocol that nobody asked for";
            return Err(Error::explain(ErrorType::InvalidHTTPHeader, fault).into_up());
        }
        if status >= 200 || status == 101 {
            ctx.status = Some(status);
            ctx.place = None;
            if let Some(ticket) = &ctx.ticket {
                ticket.patience.stop();
            }
            if let Stage::Permitted(passage) = &ctx.stage {
                passage.was_answered();
            }
            if ends_with_head(session.req_header(), response) {
                ctx.bound_rest_of_upload(session.is_body_done());
            }
        }
        if http2::is_of_stream(session) {
            http2::take_answer(session.req_header(), response)?;
        } else if status >= 200 {
            loan::is_dated(session, response);
        }
        if status == 101 {
            // A quiet tunnel is none of the read timeout's business.
            session.set_read_timeout(None);
            loan::switches(session);
        }
        if session.req_header().version == http::Version::HTTP_10 {
            // It knows no chunks: the end of the connection is the end.
            response.remove_header(&header::TRANSFER_ENCODING);
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
        session: &mut Session,
        body: &mut Option<Bytes>,
        end: bool,
        ctx: &mut Self::CTX,
    ) -> pingora::Result<Option<Duration>> {
        ctx.bytes_out += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if end {
            ctx.bound_rest_of_upload(session.is_body_done());
            ctx.stage.answer_ends(session);
        }
        if let (true, Stage::Permitted(passage)) = (end && session.is_body_done(), &mut ctx.stage) {
            // Over before the client sees the end: whoever may have one request at a time
            // may send the next. An upload that outlasts its answer is under way yet.
            passage.guard = None;
        }
        Ok(None)
    }

    async fn response_trailer_filter(
        &self,
        session: &mut Session,
        trailers: &mut HeaderMap,
        _ctx: &mut Self::CTX,
    ) -> pingora::Result<Option<Bytes>> {
        loan::trails(session, Trailers::of(trailers).downward());
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        let failure = Failure::of(error);
        ctx.failure = failure.word;
        if let Some(ticket) = &ctx.ticket {
            ticket.patience.stop();
        }
        if failure.status >= 500 {
            ctx.tell(error);
        }
        if session.response_written().is_some() {
            loan::breaks_off(session);
        }
        if session.response_written().is_none() && failure.status != 0 {
            loan::is_replaced(session);
            // The exchange ended out of step; the connection can't go on.
            session.set_keepalive(None);
            let _ = send(reply_to(&failure, ctx), session, ctx).await;
        }
        FailToProxy { error_code: failure.status, can_reuse_downstream: false }
    }

    /// Pingora's own lines quote the target with its query: never.
    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _: &Session,
        _: &Self::CTX,
        _: &Error,
        _: ProxyWarnLogContext,
    ) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, ctx: &Self::CTX) -> String {
        ctx.request_id.to_string()
    }

    async fn logging(&self, _session: &mut Session, _error: Option<&Error>, _ctx: &mut Self::CTX) {
        // The context reports when it is dropped: also when it is cut or panics.
    }
}
