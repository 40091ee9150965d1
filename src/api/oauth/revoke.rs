//! A client ends one of its own tokens (RFC 7009).

use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::CACHE_CONTROL;
use http::request::Parts;

use super::error::Refusal;
use super::{Desk, TokenClient};
use crate::domain::Rate;
use crate::service::{Actor, RevokeError, TokenRef, revoke_token};
use crate::token::{UnverifiedToken, verify};

/// What a client may revoke: each is kept for good, in the audit trail.
const RATE: Rate = Rate {
    count: match NonZeroU32::new(600) {
        Some(count) => count,
        None => NonZeroU32::MIN,
    },
    per: Duration::from_secs(60),
};

impl Desk {
    /// `POST` to the revocation endpoint. What is no token that anybody would
    /// believe is answered like one that was revoked: the client's aim is
    /// reached (section 2.2). The hint is only a hint: there is one kind.
    pub(super) async fn revoke(
        &self,
        parts: &Parts,
        body: Body,
        client: &mut Option<TokenClient>,
    ) -> Result<Response, Refusal> {
        let (caller, params) = self.asked(parts, body, client).await?;
        let missing = Refusal::invalid_request("The parameter token is missing.");
        let text = params.token().ok_or(missing)?;
        let found = UnverifiedToken::parse(text).and_then(|token| {
            let world = self.context.world.load();
            verify(token, world.keys(), world.expectations(), self.context.now()).ok()
        });
        let Some(token) = found else { return Ok(done()) };
        if token.client_id() != caller.client_id {
            return Err(Refusal::ANOTHERS_TOKEN);
        }
        self.context
            .memory
            .revocation_rates
            .take(caller.client_id, RATE, self.context.now())
            .map_err(|wait| Refusal::rate_limited(RATE, wait))?;
        let actor = Actor::client(&caller);
        match revoke_token(&self.context, &actor, TokenRef::verified(&token), None).await {
            Ok(receipt) => {
                if !receipt.repeated {
                    self.revocations.inc();
                }
                Ok(done())
            }
            Err(RevokeError::Change(error)) => {
                tracing::error!(%error, "a client could not revoke its token");
                Err(Refusal::UNAVAILABLE)
            }
            // Nothing else can be wrong with a token of ours and no reason.
            Err(_) => Err(Refusal::failed("The gateway could not revoke the token.")),
        }
    }
}

/// Done, and nothing to say (RFC 7009 section 2.2).
fn done() -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
