//! What a token is good for: the legacy checker, and introspection (RFC 7662).

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use serde::Serialize;

use super::error::Refusal;
use super::params::Params;
use super::{Desk, TokenClient, json};
use crate::domain::AccountId;
use crate::service::{introspect, token_info};

#[derive(Serialize)]
struct InfoAnswer<'a> {
    client_id: String,
    account: &'a str,
    expires_in: i64,
    scope: &'a str,
}

/// RFC 7662 section 2.2.
#[derive(Serialize)]
struct ActiveAnswer<'a> {
    active: bool,
    scope: &'a str,
    client_id: &'a str,
    token_type: &'static str,
    exp: i64,
    iat: i64,
    sub: &'a str,
    aud: &'a str,
    iss: &'a str,
    jti: String,
    account: &'a str,
}

#[derive(Serialize)]
struct InactiveAnswer {
    active: bool,
}

impl Desk {
    /// `GET` of the legacy checker. Whoever holds a token may ask about it.
    pub(super) fn info(&self, parts: &Parts, account: Option<&str>) -> Result<Response, Refusal> {
        let mut params = Params::default();
        params.put_form(parts.uri.query().unwrap_or_default())?;
        let text = params.access_token().ok_or(Refusal::INVALID_TOKEN)?;
        let live = token_info(&self.context, text).ok_or(Refusal::INVALID_TOKEN)?;
        let own: &AccountId = live.token.account();
        if account.is_some_and(|account| account != own.as_str()) {
            return Err(Refusal::INVALID_TOKEN);
        }
        let answer = InfoAnswer {
            client_id: live.token.client_id().to_string(),
            account: own.as_str(),
            expires_in: live.expires_in,
            scope: &live.scope,
        };
        json(&answer, "no-store")
    }

    /// `POST` to the introspection endpoint, by the token's own client. Who is
    /// not a client gets 401, by whatever way it tried (RFC 7662 section 2.3).
    pub(super) async fn introspect(
        &self,
        parts: &Parts,
        body: Body,
        client: &mut Option<TokenClient>,
    ) -> Result<Response, Refusal> {
        let (caller, params) = self.asked(parts, body, client).await?;
        let missing = Refusal::invalid_request("The parameter token is missing.");
        let text = params.token().ok_or(missing)?;
        let Some(live) = introspect(&self.context, &caller, text) else {
            return json(&InactiveAnswer { active: false }, "no-store");
        };
        let client_id = live.token.client_id().to_string();
        let world = self.context.world.load();
        let answer = ActiveAnswer {
            active: true,
            scope: &live.scope,
            client_id: &client_id,
            token_type: "Bearer",
            exp: live.token.expires_at().as_secs(),
            iat: live.token.issued_at().as_secs(),
            sub: &client_id,
            aud: &world.expectations().audience,
            iss: &world.expectations().issuer,
            jti: live.token.jti().to_string(),
            account: live.token.account().as_str(),
        };
        json(&answer, "no-store")
    }
}
