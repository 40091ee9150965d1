//! From a request to a passage: the decision, and what must be seen to between
//! a permit and the upstream.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use super::body::{Held, MAX_HELD, Media, read_keys};
use super::headers::override_field;
use super::proxy::Gateway;
use super::stage::{Passage, RequestContext, Stage, Ticket};
use crate::domain::{Limit, UnixTime};
use crate::policy::{
    Body, Decision, Denial, Ground, OwnedTarget, PathFault, Permit, Reason, RequestFacts, Snapshot,
    Target, decide,
};
use crate::revocation::{Refusal, Stake, Standing, StreamGuard};
use crate::token::{Authorization, VerifiedToken};

impl Gateway {
    /// Judges the request and admits it, which makes it [`Stage::Permitted`], or says
    /// why not.
    pub(super) async fn pass(
        &self,
        session: &mut Session,
        ctx: &mut RequestContext,
        target: Result<OwnedTarget, PathFault>,
    ) -> pingora::Result<Result<(), Denial>> {
        if ctx.noted.undoes
            && let Some(field) = override_field(session.req_header())
        {
            let denial = Denial::malformed(format!("the field {field} could undo what was judged"));
            return Ok(Err(denial));
        }
        let target = match target {
            Ok(target) => target,
            Err(fault) => return Ok(Err(Denial::malformed(fault.to_string()))),
        };
        let mut held = None;
        loop {
            let body = match &held {
                None => Body::Unread,
                Some(Held::Absent) => Body::Absent,
                Some(Held::TooLong | Held::OtherMedia) => Body::TooLong,
                Some(Held::Ambiguous) => Body::Ambiguous,
                Some(Held::Keys(keys)) => Body::Keys(keys),
            };
            let (world, now) = (self.context.world.load(), self.context.now());
            match self.judge(&world, session, target.get(), body, now) {
                Decision::Allow(permit) => match self.admit(permit, &world, session, ctx, now) {
                    Admission::Admitted => return Ok(Ok(())),
                    Admission::Denied(denial) => return Ok(Err(denial)),
                    // The credential or the world changed in between: another look.
                    Admission::Again => {}
                },
                Decision::Deny(denial) => return Ok(Err(denial)),
                Decision::ReadBody(_) if held.is_none() => {
                    drop(world);
                    // Boxed, as is all that few requests come to: the others' future is
                    // moved without it.
                    held = Some(Box::pin(hold(session, ctx)).await?);
                }
                // Can't be: the body is known. Deny is the default.
                Decision::ReadBody(_) => {
                    return Ok(Err(Denial::malformed("the body can't be read")));
                }
            }
        }
    }

    /// Judges the request as it stands in the session.
    fn judge(
        &self,
        world: &Snapshot,
        session: &Session,
        target: Target<'_>,
        body: Body<'_>,
        now: UnixTime,
    ) -> Decision {
        let request = session.req_header();
        let host = request.headers.get(header::HOST).and_then(|v| v.to_str().ok());
        let fields = request.headers.get_all(header::AUTHORIZATION).iter();
        let facts = RequestFacts {
            method: request.method.as_str(),
            host,
            target,
            authorization: Authorization::from_values(fields.map(|value| value.as_bytes())),
            body,
        };
        decide(world, &self.context.memory.revoked, &facts, now)
    }

    /// From a permit to a passage: limits, and a place among what can be cut.
    fn admit(
        &self,
        permit: Permit,
        world: &Arc<Snapshot>,
        session: &Session,
        ctx: &mut RequestContext,
        now: UnixTime,
    ) -> Admission {
        let settings = self.settings.load();
        let denied = |reason| {
            let mut denial = Denial::new(reason);
            denial.route = Some(Arc::clone(permit.route()));
            denial.principal = permit.principal().cloned();
            denial
        };
        let body_limit = permit.route().body_bytes.unwrap_or(settings.body_bytes);
        let is_too_long = || announced_length(session).is_some_and(|length| length > body_limit);
        if body_limit > 0 && ctx.noted.length && is_too_long() {
            return Admission::Denied(denied(Reason::BodyTooLarge));
        }
        let Some(upstream) = settings.upstreams.get(permit.upstream()).cloned() else {
            // Can't be: a reload keeps upstreams that it drops. Deny is the default.
            return Admission::Denied(denied(Reason::NoRoute));
        };
        let guard = match (permit.ground(), &ctx.ticket) {
            (None, _) => None,
            (Some(ground), Some(ticket)) => match self.register(ground, world, ticket, now) {
                Ok(guard) => Some(guard),
                Err(Unregistered::Changed) => return Admission::Again,
                Err(Unregistered::Dead(refusal)) => {
                    return Admission::Denied(denied(match refusal {
                        Refusal::Revoked => Reason::Revoked,
                        Refusal::Suspended => Reason::Suspended,
                        Refusal::Expired => Reason::Expired,
                    }));
                }
                Err(Unregistered::Over(limit)) => {
                    let denial = denied(Reason::RateLimited);
                    return Admission::Denied(Denial { over: Some(limit), ..denial });
                }
            },
            // Every connection gives its requests a ticket; without one nothing
            // could be cut.
            (Some(_), None) => return Admission::Denied(denied(Reason::Revoked)),
        };
        // Put where it stays: it is large, and would be moved from answer to answer.
        ctx.stage = Stage::Permitted(Passage {
            permit,
            upstream,
            guard,
            body_limit,
            asked: None,
            tried: SmallVec::new(),
            address: None,
            fresh: false,
            cause: String::new(),
            end: None,
            trailing: None,
        });
        Admission::Admitted
    }

    /// Registers first, then asks the revocations again: one in between finds
    /// the request, one before is seen here. The same goes for a reload.
    fn register(
        &self,
        ground: &Arc<Ground>,
        world: &Arc<Snapshot>,
        ticket: &Ticket,
        now: UnixTime,
    ) -> Result<StreamGuard, Unregistered> {
        let principal = ground.principal();
        let token = principal.token();
        let memory = &self.context.memory;
        let skew = world.expectations().clock_skew;
        let ends = end_of(token, principal.standing(), skew);
        let armed_until = ground.armed().iter().map(|(_, until)| *until).min();
        let (context, kept) = (Arc::clone(&self.context), Arc::clone(ground));
        let stake: Stake = Arc::new(move |standing: &Arc<Standing>| {
            kept.holds(&context.world.load(), standing, context.now())
        });
        let slot = Arc::clone(&ticket.slot);
        let guard = memory.streams.register_with(token, ends, slot, armed_until, Some(stake));
        let standing = memory.revoked.check(token, now).map_err(Unregistered::Dead)?;
        // A reload cuts what it finds registered: what was judged by the world
        // before and came later is judged again.
        let now_in_force = self.context.world.load();
        if !principal.is_of(&standing) || !Arc::ptr_eq(world, &now_in_force) {
            return Err(Unregistered::Changed);
        }
        let under_way = || memory.streams.count_of(token.client_id());
        if let Some(most) = principal.concurrency().filter(|most| under_way() > *most as usize) {
            return Err(Unregistered::Over(Limit::Concurrency(most)));
        }
        if let Some(rate) = principal.rate() {
            let taken = memory.request_rates.take(token.client_id(), rate, now);
            taken.map_err(|wait| Unregistered::Over(Limit::Rate(rate, wait)))?;
        }
        memory.activity.passed(ground, now);
        for (role, until) in ground.armed() {
            memory.armed.used(token.client_id(), role, *until, now);
            let uses = &self.reporter.metrics.armed_role_uses;
            uses.with_label_values(&[role.as_str()]).inc();
        }
        Ok(guard)
    }
}

enum Admission {
    /// It has its passage.
    Admitted,
    Denied(Denial),
    /// Its credential or the world is another than the one that was judged.
    Again,
}

enum Unregistered {
    Changed,
    Dead(Refusal),
    Over(Limit),
}

/// What a request depends on ends when the first of these does: its token (a
/// clock skew late), its credential, the secret that minted it.
fn end_of(token: &VerifiedToken, standing: &Standing, skew: Duration) -> UnixTime {
    let minted_by = standing.generations.iter().find(|(g, _)| *g == token.generation());
    let retires = minted_by.and_then(|(_, retires)| *retires);
    let ends = [Some(token.expires_at().plus(skew)), standing.expires_at, retires];
    ends.into_iter().flatten().min().unwrap_or(UnixTime::MAX)
}

pub(super) fn announced_length(session: &Session) -> Option<u64> {
    let field = session.req_header().headers.get(header::CONTENT_LENGTH)?;
    field.to_str().ok()?.parse().ok()
}

/// Reads the body's keys, where they decide.
async fn hold(session: &mut Session, ctx: &mut RequestContext) -> pingora::Result<Held> {
    // It stays in Pingora's retry buffer (64 KiB), to be forwarded.
    session.downstream_session.enable_retry_buffering();
    match read_body(session, MAX_HELD, HELD).await? {
        ReadBody::TooLong(read) => {
            ctx.held = Some(read);
            Ok(Held::TooLong)
        }
        ReadBody::Whole(body) => Ok(read_keys(&body, &Media::of(&session.req_header().headers))),
    }
}

/// How long a body that is held may take to arrive.
const HELD: Duration = Duration::from_secs(30);

/// A body, read as far as it may be held.
pub(super) enum ReadBody {
    /// All of it.
    Whole(Bytes),
    /// This much was read and is in no buffer of Pingora's; more may follow.
    TooLong(Bytes),
}

/// Reads a body of up to `limit` bytes, which may take so long to come.
pub(super) async fn read_body(
    session: &mut Session,
    limit: usize,
    patience: Duration,
) -> pingora::Result<ReadBody> {
    if announced_length(session).is_some_and(|length| length > limit as u64) {
        return Ok(ReadBody::TooLong(Bytes::new()));
    }
    let expects = session.req_header().headers.get(header::EXPECT);
    if expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
        session.downstream_session.write_continue_response().await?;
    }
    let deadline = Instant::now() + patience;
    let mut body = BytesMut::new();
    loop {
        // Pingora's own timeout is for each read: a byte a minute would pass it.
        let read = timeout_at(deadline, session.downstream_session.read_request_body()).await;
        let Ok(read) = read else {
            let error =
                Error::explain(ErrorType::ReadTimedout, "a body that is held came too slowly");
            return Err(error.into_down());
        };
        let Some(chunk) = read? else { break };
        body.extend_from_slice(&chunk);
        if body.len() > limit {
            return Ok(ReadBody::TooLong(body.freeze()));
        }
    }
    Ok(ReadBody::Whole(body.freeze()))
}
