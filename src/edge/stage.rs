//! What is known of one request while it is under way; its end is its report.

use std::borrow::Cow;
use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Method;
use pingora::Error;
use pingora::proxy::Session;
use smallvec::SmallVec;

use super::connection::Arrival;
use super::crowd::Place;
use super::failure::Failure;
use super::headers::Origin;
use super::loan;
use super::noted::Noted;
use super::patience::{Patience, Turn};
use super::peers::{Address, RequestEnd, Upstream};
use super::reject::Reply;
use super::trailers::Trailing;
use crate::api::oauth::TokenClient;
use crate::domain::{UnixTime, masked};
use crate::metrics::{AccessLog, AccessRecord, Meters, Metrics, NO_ROUTE};
use crate::policy::{Denial, OwnedTarget, Permit, Principal};
use crate::revocation::{CutSlot, StreamGuard};

/// Where reports go.
pub(crate) struct Reporter {
    pub(crate) metrics: Metrics,
    pub(crate) meters: Meters,
    pub(crate) log: Arc<AccessLog>,
}

/// The word in the log for a request that ended in a panic.
const PANICKED: &str = "server_error";

/// The word in the log for a request whose client did not wait for its end.
pub(crate) const CLIENT_GONE: &str = "client_gone";

/// How far a request has come. There is no way from any stage but
/// [`Stage::Permitted`] to an upstream.
#[derive(Default)]
pub(crate) enum Stage {
    /// Nobody has looked at it yet, or looking failed.
    #[default]
    Unjudged,
    /// The gateway answers by itself.
    Local(&'static str),
    /// It was denied.
    Denied(Denial),
    /// It may pass.
    Permitted(Passage),
}

impl Stage {
    /// All of the answer has come.
    pub(crate) fn answer_ends(&self, session: &Session) {
        if let Stage::Permitted(Passage { trailing: Some(trailing), .. }) = self {
            loan::ends_with(session, trailing);
        }
    }
}

/// A permit on its way.
pub(crate) struct Passage {
    pub(crate) permit: Permit,
    pub(crate) upstream: Arc<Upstream>,
    /// Keeps it cuttable.
    pub(crate) guard: Option<StreamGuard>,
    /// The longest body in bytes, 0 for no limit.
    pub(crate) body_limit: u64,
    /// When the upstream was first asked.
    pub(crate) asked: Option<Instant>,
    /// Where it was tried, the last one at the end.
    pub(crate) tried: SmallVec<[SocketAddr; 3]>,
    /// Where it is now, or was last.
    pub(crate) address: Option<Address>,
    /// True if the next try must be on a connection of its own, to the same address.
    pub(crate) fresh: bool,
    /// What the last attempt to connect came to, for the log.
    pub(crate) cause: String,
    /// To be told of the request's end, where it asks for another protocol.
    pub(crate) end: Option<Arc<RequestEnd>>,
    /// What goes behind the bodies, where they may have trailers.
    pub(crate) trailing: Option<Arc<Trailing>>,
}

impl Passage {
    /// All of the request was handed to Pingora, once its head is written.
    pub(crate) fn request_ends(&mut self, session: &Session) {
        if let Some(awaited) = self.end.take() {
            awaited.is_due();
        }
        if let (Some(trailing), Some(trailers)) = (&self.trailing, loan::trailers(session)) {
            trailing.request_ends(trailers);
        }
    }
}

tokio::task_local! {
    /// The ticket of the HTTP/2 stream whose task this is: there Pingora has no
    /// way to hand anything to a request.
    pub(crate) static TICKET: Cell<Option<Ticket>>;
}

/// The connection's part in a request.
pub(crate) struct Ticket {
    pub(crate) origin: Origin,
    /// The names that the request must keep to, where its connection is bound.
    pub(crate) bound: Option<Arc<[String]>>,
    pub(crate) slot: Arc<CutSlot>,
    pub(crate) patience: Arc<Patience>,
    /// Once it has one.
    pub(crate) request_id: Arc<OnceLock<Arc<str>>>,
    /// What goes behind the bodies of an HTTP/2 stream.
    pub(crate) trailing: Option<Arc<Trailing>>,
    /// Whether an answer of ours that is past Pingora has a body.
    pub(crate) takes_body: bool,
    /// On HTTP/2, how long the client may be silent in the middle of an upload:
    /// there Pingora has no such bound.
    most_silence: Option<Duration>,
}

impl Ticket {
    pub(crate) fn of(arrival: &Arrival) -> Self {
        Ticket {
            origin: arrival.origin,
            bound: arrival.bound.clone(),
            slot: Arc::default(),
            patience: Arc::new(Patience::new()),
            request_id: Arc::default(),
            trailing: None,
            takes_body: true,
            most_silence: None,
        }
    }

    /// One of an HTTP/2 stream.
    pub(crate) fn of_stream(arrival: &Arrival, most_silence: Duration) -> Self {
        let trailing = Some(Arc::default());
        Ticket { trailing, most_silence: Some(most_silence), ..Ticket::of(arrival) }
    }

    /// Winds the timer up for whose turn it is; an upstream has `patience`.
    pub(crate) fn wind_up(&self, patience: Duration, turn: Turn) {
        let most = self.most_silence.filter(|_| turn == Turn::Client).unwrap_or(patience);
        self.patience.wind_up(patience.min(most), turn);
    }
}

/// The context of one request. Dropping it, however that comes about, counts
/// and logs the request once.
pub(crate) struct RequestContext {
    reporter: Arc<Reporter>,
    pub(crate) ticket: Option<Ticket>,
    pub(crate) request_id: Arc<str>,
    pub(crate) noted: Noted,
    pub(crate) method: Option<Method>,
    /// What was asked for, once it was read …
    pub(crate) target: Option<OwnedTarget>,
    /// … or the path of what could not be.
    pub(crate) odd_path: String,
    pub(crate) began: Instant,
    /// When it was over, where that is not its last moment.
    pub(crate) ended: Option<Instant>,
    pub(crate) began_at: UnixTime,
    pub(crate) stage: Stage,
    /// Among those that wait for an upstream.
    pub(crate) place: Option<Place>,
    /// The status that was sent, if one was.
    pub(crate) status: Option<u16>,
    /// Why the way up failed.
    pub(crate) failure: &'static str,
    /// Who was given a token.
    pub(crate) client: Option<TokenClient>,
    /// What was read of a body that turned out too long to hold.
    pub(crate) held: Option<Bytes>,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
}

impl RequestContext {
    pub(crate) fn new(reporter: Arc<Reporter>, now: UnixTime) -> Self {
        RequestContext {
            reporter,
            ticket: TICKET.try_with(Cell::take).ok().flatten(),
            request_id: Arc::default(),
            noted: Noted::default(),
            method: None,
            target: None,
            odd_path: String::new(),
            began: Instant::now(),
            ended: None,
            began_at: now,
            stage: Stage::Unjudged,
            place: None,
            status: None,
            failure: "",
            client: None,
            held: None,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// The answer is whole. What is left of the upload has so long to come: on
    /// HTTP/2 nothing else would end it.
    pub(crate) fn bound_rest_of_upload(&self, is_done: bool) {
        if let (false, Stage::Permitted(passage), Some(ticket)) =
            (is_done, &self.stage, &self.ticket)
            && ticket.most_silence.is_some()
        {
            ticket.wind_up(passage.upstream.patience, Turn::Client);
        }
    }

    /// The path as it may be written down: without the query, and without secrets.
    fn path_to_tell(&self) -> Cow<'_, str> {
        let read = self.target.as_ref().map(|target| target.get().path().as_str());
        masked(read.unwrap_or(&self.odd_path))
    }

    /// Tells the operator why the way up failed. Kind and side only: the error's own text
    /// may quote the target with its query, or what the upstream sent.
    pub(crate) fn tell(&self, error: &Error) {
        let (kind, side) = (error.etype().as_str(), error.esource().as_str());
        let (upstream, cause) = match &self.stage {
            Stage::Permitted(passage) => (passage.upstream.name.as_str(), &*passage.cause),
            _ => ("", ""),
        };
        tracing::warn!(
            request_id = %self.request_id, path = %self.path_to_tell(), upstream, kind, side, cause, "{}",
            self.failure
        );
    }

    fn report(&self) {
        let cut = self.ticket.as_ref().and_then(|ticket| ticket.slot.reason());
        let silent = self.ticket.as_ref().and_then(|ticket| ticket.patience.ran_out_on());
        let silent = silent.map(Failure::of_silence);
        let metrics = &self.reporter.metrics;
        if let Some(reason) = cut {
            metrics.streams_cut.with_label_values(&[reason.as_str()]).inc();
        }
        let (route, decision, denied) = match &self.stage {
            // What is to be judged did not come, or could not be read.
            Stage::Unjudged if self.failure.is_empty() => (NO_ROUTE, "deny", "malformed_request"),
            Stage::Unjudged => (NO_ROUTE, "deny", self.failure),
            Stage::Local(endpoint) => (*endpoint, "local", ""),
            Stage::Denied(denial) => {
                let route = denial.route.as_ref().map_or(NO_ROUTE, |route| route.name.as_str());
                (route, "deny", denial.reason.as_str())
            }
            Stage::Permitted(passage) => (passage.permit.route().name.as_str(), "allow", ""),
        };
        let reason = match (cut, &silent) {
            (Some(cut), _) => cut.as_str(),
            (None, Some(silent)) => silent.word,
            // Over HTTP/2 nobody else tells of it.
            (None, None)
                if denied.is_empty() && self.failure.is_empty() && self.status.is_none() =>
            {
                CLIENT_GONE
            }
            (None, None) if denied.is_empty() => self.failure,
            (None, None) => denied,
        };
        // What is dropped by a panic was answered nothing.
        let has_panicked = std::thread::panicking();
        let reason = if has_panicked { PANICKED } else { reason };
        let status = match (self.status, &silent, cut) {
            (Some(status), _, _) => status,
            (None, _, _) if has_panicked => 500,
            (None, Some(silent), _) => silent.status,
            (None, None, Some(_)) => 0,
            (None, None, None) => 499,
        };
        // It is said once this is gone.
        let last_word = match (&silent, &self.ticket) {
            (Some(silent), Some(ticket)) if self.status.is_none() && ticket.takes_body => {
                Reply::failed(silent, &self.request_id).body.len() as u64
            }
            _ => 0,
        };
        let now = Instant::now();
        let took = self.ended.unwrap_or(now).saturating_duration_since(self.began);
        let method = self.method.as_ref().map_or("", Method::as_str);
        self.reporter.meters.with(metrics, route, |meters| {
            meters.request(method, status, took.as_secs_f64());
            if decision != "local" {
                meters.decision(decision, denied);
            }
        });
        let (principal, upstream) = match &self.stage {
            Stage::Permitted(passage) => (passage.permit.principal(), Some(&passage.upstream)),
            Stage::Denied(denial) => (denial.principal.as_ref(), None),
            Stage::Unjudged | Stage::Local(_) => (None, None),
        };
        if let (Some(upstream), Stage::Permitted(Passage { asked: Some(asked), .. })) =
            (upstream, &self.stage)
        {
            let spent = now.saturating_duration_since(*asked).as_secs_f64();
            let name = upstream.name.as_str();
            let meter = || metrics.upstream_duration.with_label_values(&[name]);
            upstream.meter.get_or_init(meter).observe(spent);
        }
        let served = self.client.as_ref();
        let turn = self.ticket.as_ref().and_then(|ticket| ticket.patience.ran_out_on());
        if let (Some(Turn::Upstream), Stage::Permitted(passage)) = (turn, &self.stage) {
            passage.was_silent();
        }
        let served_id = served.map(|client| client.client_id.to_string());
        let identity = principal.and_then(Principal::identity);
        self.reporter.log.write(&AccessRecord {
            ts: self.began_at,
            request_id: &self.request_id,
            route,
            method: &masked(method),
            path: &self.path_to_tell(),
            status,
            decision,
            reason,
            client_id: identity
                .and_then(|identity| identity.client_id.to_str().ok())
                .or(served_id.as_deref()),
            account: principal
                .map(|p| p.token().account())
                .or(served.map(|client| &client.account))
                .map(|account| account.as_str()),
            upstream: upstream.map(|upstream| upstream.name.as_str()),
            duration: took,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out + last_word,
        });
    }
}

impl Drop for RequestContext {
    fn drop(&mut self) {
        self.report();
    }
}
