//! Where a request goes, whether it may be sent again, and what a failure says of an address.
//!
//! Where nothing was sent, anything may. Where something may have been, only
//! what may come twice (RFC 9110 section 9.2.2), and only if there is reason to
//! expect more of the next time: another address, or a connection that was not
//! lying about. A request that may have taken effect is never sent twice.

use std::sync::Arc;

use http::Method;
use pingora::connectors::TransportConnector;
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, RetryType};

use super::failure::{broke_off, cause};
use super::headers::wants_trailers;
use super::noted::Noted;
use super::peers::Trail;
use super::stage::{Passage, Ticket};
use super::tunnel::asks_for_tunnel;

/// How often one request may be tried.
const ATTEMPTS: usize = 3;

/// By what kind of connection a request goes up.
pub(super) enum Way {
    Usual,
    /// It has no body, and asks an HTTP/1.1 upstream for another protocol.
    Upgrade,
    /// It or its answer may have trailers, over HTTP/1.1.
    Trail(Trail),
}

impl Way {
    /// The way of a request; `is_whole` if there is no more of its body to come.
    pub(super) fn of(
        session: &Session,
        is_whole: bool,
        noted: Noted,
        passage: &Passage,
        ticket: Option<&Ticket>,
        transport: &Arc<TransportConnector>,
    ) -> Self {
        if passage.upstream.speaks_http2() {
            return Way::Usual;
        }
        // What asks for another protocol in the middle of its body is not ours to help.
        if is_whole && asks_for_tunnel(session) {
            return Way::Upgrade;
        }
        let of_stream = ticket.and_then(|ticket| ticket.trailing.as_ref());
        // Chunks, here or there, are what trailers need. Once more is as before.
        let may_trail = noted.chunked
            || (!is_whole && !noted.length)
            || of_stream.is_some_and(|trailing| trailing.has_request())
            || passage.trailing.is_some()
            || (noted.te && wants_trailers(session.req_header()));
        if !may_trail {
            return Way::Usual;
        }
        let trailing = of_stream.or(passage.trailing.as_ref());
        Way::Trail(Trail {
            transport: Arc::clone(transport),
            trailing: trailing.map(Arc::clone).unwrap_or_default(),
            is_head: session.req_header().method == Method::HEAD,
        })
    }
}

impl Passage {
    /// Where the request goes now.
    pub(super) fn next_peer(&mut self, way: Way) -> pingora::Result<Box<HttpPeer>> {
        let fresh = std::mem::take(&mut self.fresh);
        let address = match self.address.take().filter(|_| fresh) {
            Some(again) => Some(again),
            None => self.upstream.next(&self.tried),
        };
        let Some(address) = address else {
            let error = Error::explain(ErrorType::ConnectNoRoute, "there is no address to try");
            return Err(error.into_up());
        };
        let peer = match way {
            Way::Usual => self.upstream.peer(&address, fresh),
            Way::Upgrade => {
                let (peer, end) = self.upstream.peer_to_upgrade(&address);
                self.end = Some(end);
                peer
            }
            Way::Trail(trail) => {
                self.trailing = Some(Arc::clone(&trail.trailing));
                self.upstream.peer_to_trail(&address, fresh, trail)
            }
        };
        self.tried.push(address.socket);
        self.address = Some(address);
        Ok(peer)
    }

    /// The head of the response came, whatever it says.
    pub(super) fn was_answered(&self) {
        if let Some(address) = &self.address {
            self.upstream.answered(address);
        }
    }

    /// Nothing came for too long.
    pub(super) fn was_silent(&self) {
        if let Some(address) = &self.address {
            self.upstream.failed(address);
        }
    }

    /// There is no connection, so nothing was sent. True to try again.
    pub(super) fn try_after_no_connection(&mut self, error: &Error) -> bool {
        self.cause = cause(error);
        let Some(address) = &self.address else { return false };
        // A pooled connection turned out to be gone: that says nothing.
        let stale = *error.etype() == ErrorType::H2Error && !self.was_tried_before();
        if !stale {
            self.upstream.unreachable(address);
        }
        self.try_again(stale)
    }

    /// The exchange failed before any of the response came. `reused` says that
    /// the connection had been used before, `repeatable` that the request may
    /// be sent twice and is still there. True to try again.
    pub(super) fn try_after_failure(
        &mut self,
        error: &Error,
        reused: bool,
        repeatable: bool,
    ) -> bool {
        if !matches!(error.esource(), ErrorSource::Upstream) {
            return false;
        }
        let broke_off = broke_off(error.etype());
        // Upstreams close connections that nobody uses, at bad moments too. One
        // that ends a stream of its HTTP/2 connection means just that request,
        // unless Pingora knows better (GOAWAY, RFC 9113 section 6.8).
        let means_it = *error.etype() == ErrorType::H2Error
            && matches!(error.retry, RetryType::Decided(false));
        let reused = reused || self.trailing.as_ref().is_some_and(|t| t.is_reused());
        let lay_about = reused && broke_off && !means_it;
        if let (false, Some(address)) = (lay_about, &self.address) {
            self.upstream.failed(address);
        }
        repeatable && broke_off && self.try_again(lay_about && !self.was_tried_before())
    }

    /// True if the last address was tried twice.
    fn was_tried_before(&self) -> bool {
        match self.tried.split_last() {
            Some((last, before)) => before.contains(last),
            None => false,
        }
    }

    /// Another time, if there are any left: at the same address, by a
    /// connection of its own, or at another one.
    fn try_again(&mut self, fresh: bool) -> bool {
        if self.tried.len() >= ATTEMPTS {
            return false;
        }
        self.fresh = fresh;
        fresh || self.upstream.has_another(&self.tried)
    }
}
