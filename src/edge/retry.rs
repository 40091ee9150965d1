//! Where a request goes, whether it may be sent again, and what a failure says of an address.
//!
//! Where nothing was sent, anything may. Where something may have been, only
//! what may come twice (RFC 9110 section 9.2.2), and only if there is reason to
//! expect more of the next time: another address, or a connection that was not
//! lying about. A request that may have taken effect is never sent twice.

use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, RetryType};

use super::failure::{broke_off, cause};
use super::stage::Passage;

/// How often one request may be tried.
const ATTEMPTS: usize = 3;

impl Passage {
    /// Where the request goes now; `upgrades` if it has no body and asks for another
    /// protocol.
    pub(super) fn next_peer(&mut self, upgrades: bool) -> pingora::Result<Box<HttpPeer>> {
        let fresh = std::mem::take(&mut self.fresh);
        let address = match self.address.take().filter(|_| fresh) {
            Some(again) => Some(again),
            None => self.upstream.next(&self.tried),
        };
        let Some(address) = address else {
            let error = Error::explain(ErrorType::ConnectNoRoute, "there is no address to try");
            return Err(error.into_up());
        };
        let peer = if upgrades && !self.upstream.speaks_http2() {
            let (peer, end) = self.upstream.peer_to_upgrade(&address);
            self.end = Some(end);
            peer
        } else {
            self.upstream.peer(&address, fresh)
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
