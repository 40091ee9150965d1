//! The token endpoint (RFC 6749 section 4.4).

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::PRAGMA;
use http::request::Parts;
use prometheus::IntCounter;
use serde::Serialize;
use tokio::time::sleep;

use super::error::Refusal;
use super::{Desk, TokenClient, body, json, read};
use crate::metrics::Metrics;
use crate::service::{BadClientReason, Lifetime, MintRefusal, mint_token};

/// A client whose tokens were cut off in this very second waits for the next one, and is
/// not sent away.
const WAITS: Duration = Duration::from_secs(1);

/// RFC 6749 section 5.1.
#[derive(Serialize)]
struct TokenAnswer<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: i64,
    scope: &'a str,
}

impl Desk {
    /// `POST` to the token endpoint. `account` is the one that the path names.
    pub(super) async fn token(
        &self,
        parts: &Parts,
        body: Body,
        account: Option<&str>,
        client: &mut Option<TokenClient>,
    ) -> Result<Response, Refusal> {
        let answer = self.mint(parts, body, account, client).await;
        self.outcomes.count(answer.as_ref().err());
        answer
    }

    async fn mint(
        &self,
        parts: &Parts,
        body: Body,
        account: Option<&str>,
        client: &mut Option<TokenClient>,
    ) -> Result<Response, Refusal> {
        let mut params = body::params(&parts.headers, read(body).await?).await?;
        let who = self.presented(parts, &params, client);
        params.put_token_query(parts.uri.query())?;
        match params.grant_type() {
            Some("client_credentials") => {}
            Some(_) => return Err(Refusal::unsupported_grant_type()),
            None => return Err(Refusal::invalid_request("The parameter grant_type is missing.")),
        }
        let lifetime = Lifetime::parse(params.expires_in()).map_err(|_| {
            Refusal::invalid_request("expires_in must be a whole number of seconds, 0 or more.")
        })?;
        let who = who?;
        let known = || self.prove(parts, &who, account, who.basic);
        let (mut credential, mut generation) = known()?;
        // After the secret was right: nobody can use up another's rate.
        if let Some(rate) = self.context.minting.load().token_rate {
            let rates = &self.context.memory.token_rates;
            rates
                .take(credential.client_id, rate, self.context.now())
                .map_err(|wait| Refusal::rate_limited(rate, wait))?;
        }
        let (context, scope) = (&self.context, params.scope());
        let mut minted = mint_token(context, &credential, generation, scope, lifetime);
        if let Err(MintRefusal::NotYet(wait)) = minted
            && wait <= WAITS
        {
            sleep(wait).await;
            (credential, generation) = known()?;
            minted = mint_token(context, &credential, generation, scope, lifetime);
        }
        let minted = minted.map_err(|refusal| match refusal {
            MintRefusal::InvalidScope(why) => Refusal::invalid_scope(why),
            MintRefusal::Ended => {
                Refusal::invalid_client(BadClientReason::Expired.as_str(), who.basic)
            }
            MintRefusal::NotYet(wait) => Refusal::not_yet(wait),
            MintRefusal::Failed(why) => Refusal::failed(why),
        })?;
        let answer = TokenAnswer {
            access_token: minted.token.expose(),
            token_type: "Bearer",
            expires_in: minted.expires_in,
            scope: &minted.scope,
        };
        let mut response = json(&answer, "no-store")?;
        response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
        Ok(response)
    }
}

/// `portcullis_tokens_minted_total`, with a counter for each outcome there is.
pub(super) struct Outcomes {
    ok: IntCounter,
    refused: Vec<(&'static str, IntCounter)>,
    failed: IntCounter,
}

impl Outcomes {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let counter = |outcome: &str| metrics.tokens_minted.with_label_values(&[outcome]);
        let refused = [
            "invalid_client",
            "invalid_scope",
            "invalid_request",
            "unsupported_grant_type",
            "rate_limited",
        ];
        Outcomes {
            ok: counter("ok"),
            refused: refused.map(|outcome| (outcome, counter(outcome))).into(),
            failed: counter("server_error"),
        }
    }

    fn count(&self, refusal: Option<&Refusal>) {
        let Some(refusal) = refusal else { return self.ok.inc() };
        // A body that is too long is an invalid request too.
        let word = match refusal.error {
            "content_too_large" => "invalid_request",
            error => error,
        };
        let known = self.refused.iter().find(|(outcome, _)| *outcome == word);
        known.map_or(&self.failed, |(_, counter)| counter).inc();
    }
}
