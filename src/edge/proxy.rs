//! Pingora's callbacks: translate, call [`decide`], obey. No policy lives here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};

use super::body::{Held, MAX_HELD, read_keys};
use super::headers::{RequestIds, client_request_id, prepare};
use super::mount::{Caller, MAX_BODY};
use super::reject::Reply;
use super::settings::EdgeSettings;
use super::stage::{Passage, Reporter, RequestContext, Stage, Ticket};
use crate::policy::{Body, Decision, Denial, Permit, Reason, RequestFacts, Target, decide};
use crate::revocation::Refusal;
use crate::service::Context;
use crate::token::Authorization;

/// The gateway as Pingora sees it.
#[derive(Clone)]
pub(crate) struct Gateway {
    pub(crate) context: Arc<Context>,
    pub(crate) settings: Arc<ArcSwap<EdgeSettings>>,
    pub(crate) reporter: Arc<Reporter>,
    pub(crate) ids: Arc<RequestIds>,
}

/// How often one request may be tried on another address.
const ATTEMPTS: usize = 3;

impl Gateway {
    /// Judges the request as it stands in the session.
    fn judge(&self, session: &Session, body: Body<'_>) -> Decision {
        let request = session.req_header();
        let host = request.headers.get(header::HOST).and_then(|v| v.to_str().ok());
        let target = match Target::parse(request.raw_path(), host) {
            Ok(target) => target,
            Err(fault) => return Decision::Deny(Denial::malformed(fault.to_string())),
        };
        let fields = request.headers.get_all(header::AUTHORIZATION).iter();
        let facts = RequestFacts {
            method: request.method.as_str(),
            host,
            target,
            authorization: Authorization::from_values(fields.map(|value| value.as_bytes())),
            body,
        };
        decide(&self.context.world.load(), &self.context.memory.revoked, &facts, self.context.now())
    }

    async fn judge_with_body(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
    ) -> pingora::Result<Decision> {
        let held = match read_body(session, MAX_HELD).await? {
            ReadBody::TooLong(read) => {
                ctx.held = Some(read);
                Held::TooLong
            }
            ReadBody::Whole(body) => {
                let field =
                    |name| session.req_header().headers.get(name).and_then(|v| v.to_str().ok());
                read_keys(&body, field(header::CONTENT_TYPE), field(header::CONTENT_ENCODING))
            }
        };
        let body = match &held {
            Held::Absent => Body::Absent,
            Held::TooLong => Body::TooLong,
            Held::Ambiguous => Body::Ambiguous,
            Held::Keys(keys) => Body::Keys(keys),
        };
        Ok(self.judge(session, body))
    }

    /// From a permit to a passage: what is still to be seen to before the
    /// request may leave.
    fn admit(
        &self,
        permit: Permit,
        session: &Session,
        ctx: &RequestContext,
    ) -> Result<Passage, Denial> {
        let settings = self.settings.load();
        let denied = |reason, permit: &Permit| {
            let mut denial = Denial::new(reason);
            denial.route = Some(Arc::clone(permit.route()));
            denial.principal = permit.principal().cloned();
            denial
        };
        let limit = permit.route().body_bytes.unwrap_or(settings.body_bytes);
        let announced = session.req_header().headers.get(header::CONTENT_LENGTH);
        let announced = announced.and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if limit > 0 && announced.is_some_and(|length| length > limit) {
            return Err(denied(Reason::BodyTooLarge, &permit));
        }
        let Some(upstream) = settings.upstreams.get(permit.upstream()).cloned() else {
            // A reload took the upstream away between judging and here.
            return Err(denied(Reason::NoRoute, &permit));
        };
        let guard = match (permit.principal(), &ctx.ticket) {
            (Some(principal), Some(ticket)) => {
                let token = principal.token();
                if let Some(rate) = principal.rate() {
                    let rates = &self.context.memory.request_rates;
                    rates.take(token.client_id(), rate, self.context.now()).map_err(|wait| {
                        Denial { retry_after: Some(wait), ..denied(Reason::RateLimited, &permit) }
                    })?;
                }
                let skew = self.context.world.load().expectations().clock_skew;
                let streams = &self.context.memory.streams;
                let ends = token.expires_at().plus(skew);
                // First registered, then asked again: a revocation between the
                // two finds the request, one before is seen here.
                let guard = streams.register(token, ends, Arc::clone(&ticket.slot));
                let refused = self.context.memory.revoked.check(token, self.context.now());
                if let Err(refusal) = refused {
                    let reason = match refusal {
                        Refusal::Revoked => Reason::Revoked,
                        Refusal::Suspended => Reason::Suspended,
                        Refusal::Expired => Reason::Expired,
                    };
                    return Err(denied(reason, &permit));
                }
                let under_way = streams.count_of(token.client_id());
                if principal.concurrency().is_some_and(|most| under_way > most as usize) {
                    return Err(denied(Reason::RateLimited, &permit));
                }
                Some(guard)
            }
            _ => None,
        };
        Ok(Passage { permit, upstream, _guard: guard, body_limit: limit, asked: None, attempts: 0 })
    }

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
        let reply = Reply::denied(&denial, &ctx.request_id);
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
    reply.send(session).await
}

enum ReadBody {
    /// All of it. It stays in Pingora's retry buffer (64 KiB) to be forwarded.
    Whole(Bytes),
    /// This much was read and is in no buffer of Pingora's; more may follow.
    TooLong(Bytes),
}

/// Reads a body of up to `limit` bytes.
async fn read_body(session: &mut Session, limit: usize) -> pingora::Result<ReadBody> {
    let announced = session.req_header().headers.get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Ok(ReadBody::TooLong(Bytes::new()));
    }
    let expects = session.req_header().headers.get(header::EXPECT);
    if expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        session.downstream_session.write_continue_response().await?;
    }
    session.downstream_session.enable_retry_buffering();
    let mut body = BytesMut::new();
    while let Some(chunk) = session.downstream_session.read_request_body().await? {
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Ok(ReadBody::TooLong(body.freeze()));
        }
    }
    Ok(ReadBody::Whole(body.freeze()))
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
        session.set_keepalive(Some(idle.as_secs().max(1)));
        session.set_read_timeout(Some(idle));
        session.set_write_timeout(Some(idle));
        session.set_total_drain_timeout(Some(Duration::from_secs(5)));
        let request = session.req_header();
        ctx.request_id = client_request_id(request).map_or_else(|| self.ids.next(), str::to_owned);
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
        let mut decision = self.judge(session, Body::Unread);
        if let Decision::ReadBody(_) = decision {
            decision = self.judge_with_body(session, ctx).await?;
        }
        let admitted = match decision {
            Decision::Allow(permit) => self.admit(permit, session, ctx),
            Decision::Deny(denial) => Err(denial),
            // Can't be: the body is known. Deny is the default.
            Decision::ReadBody(_) => Err(Denial::malformed("the body could not be read")),
        };
        match admitted {
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
        _end: bool,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        if let Some(held) = ctx.held.take().filter(|held| !held.is_empty()) {
            *body = Some(match body.take() {
                Some(chunk) => Bytes::from([held, chunk].concat()),
                None => held,
            });
        }
        ctx.bytes_in += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
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
        Ok(passage.upstream.peer(address, is_open_ended(session.req_header())))
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
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut RequestContext,
    ) -> pingora::Result<()> {
        let status = response.status.as_u16();
        if status >= 200 || status == 101 {
            ctx.status = Some(status);
        }
        if status != 101 {
            strip_hop_by_hop(response);
        }
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        _end: bool,
        ctx: &mut RequestContext,
    ) -> pingora::Result<Option<Duration>> {
        ctx.bytes_out += body.as_ref().map_or(0, |chunk| chunk.len() as u64);
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
        if session.response_written().is_none() && failure.status != 0 {
            let reply = if failure.status == 413 {
                Reply::denied(&Denial::new(Reason::BodyTooLarge), &ctx.request_id)
            } else {
                Reply::error(failure.status, failure.error, failure.description, &ctx.request_id)
            };
            // The exchange ended out of step; the connection can't go on.
            session.set_keepalive(None);
            let _ = send(reply, session, ctx).await;
        }
        FailToProxy { error_code: failure.status, can_reuse_downstream: false }
    }

    fn suppress_error_log(&self, _session: &Session, _ctx: &RequestContext, error: &Error) -> bool {
        // What clients do is in the access log; only upstreams' faults are news.
        matches!(error.esource(), ErrorSource::Downstream)
            || matches!(error.etype(), ErrorType::HTTPStatus(_))
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

/// What a client hears of a way that failed.
struct Failure {
    status: u16,
    error: &'static str,
    description: &'static str,
    word: &'static str,
}

impl Failure {
    fn of(error: &Error) -> Failure {
        let timed_out = matches!(error.etype(), ErrorType::ReadTimedout | ErrorType::WriteTimedout);
        match (error.etype(), error.esource()) {
            (ErrorType::HTTPStatus(413), _) => Failure {
                status: 413,
                error: "content_too_large",
                description: "",
                word: "too_large",
            },
            (ErrorType::HTTPStatus(_), _) | (_, ErrorSource::Internal | ErrorSource::Unset) => {
                Failure {
                    status: 500,
                    error: "server_error",
                    description: "The gateway failed to handle the request.",
                    word: "internal_error",
                }
            }
            (_, ErrorSource::Upstream) if timed_out => Failure {
                status: 504,
                error: "upstream_timeout",
                description: "The service behind the gateway took too long to answer.",
                word: "upstream_timeout",
            },
            (_, ErrorSource::Upstream) => Failure {
                status: 502,
                error: "bad_gateway",
                description: "The service behind the gateway could not be reached or broke off.",
                word: "bad_gateway",
            },
            (_, ErrorSource::Downstream) if timed_out => Failure {
                status: 408,
                error: "request_timeout",
                description: "The request took too long to arrive.",
                word: "client_timeout",
            },
            (_, ErrorSource::Downstream) => {
                Failure { status: 0, error: "", description: "", word: "client_gone" }
            }
        }
    }
}

/// True if silence is normal on this exchange: an upgrade, an event stream.
fn is_open_ended(request: &RequestHeader) -> bool {
    let accept = request.headers.get(header::ACCEPT).map(|value| value.as_bytes());
    let events = b"text/event-stream";
    request.headers.contains_key(header::UPGRADE)
        || accept.is_some_and(|value| {
            value.windows(events.len()).any(|w| w.eq_ignore_ascii_case(events))
        })
}

/// Fields of the upstream's connection say nothing about the client's (RFC
/// 9110 section 7.6.1). Pingora sets its own Connection and framing.
fn strip_hop_by_hop(response: &mut ResponseHeader) {
    let nominated: Vec<String> = response
        .headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| {
            !matches!(name.as_str(), "" | "close" | "transfer-encoding" | "content-length")
        })
        .collect();
    for name in nominated {
        response.remove_header(name.as_str());
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authenticate", "upgrade"] {
        response.remove_header(name);
    }
}
