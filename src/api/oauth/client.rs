//! Who the client says it is, and whether that is so: HTTP Basic or the body, one of
//! them (RFC 6749 section 2.3.1, RFC 7617).
//!
//! What is presented is compared before it is asked how often that failed: a right secret
//! is right, whatever else comes from its address.

use std::sync::Arc;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use super::error::Refusal;
use super::params::{Params, decodable};
use super::{Caller, Desk, TokenClient, body, read};
use crate::domain::{ClientId, Credential, Generation, SecretText};
use crate::service::authenticate;

const TWO_WAYS: Refusal =
    Refusal::invalid_request("The client authenticates itself in more than one way.");

/// What a client presents. Missing halves are empty: no credential has such.
pub(super) struct Presented {
    pub(super) client_id: String,
    pub(super) secret: SecretText,
    /// It came by HTTP Basic, whose refusal is 401.
    pub(super) basic: bool,
}

impl Presented {
    /// Whether a half of what a client shows is not there (RFC 6749 section 3.1: one
    /// without a value is left out).
    fn is_incomplete(&self) -> bool {
        self.client_id.is_empty() || self.secret.expose().is_empty()
    }
}

/// Reads the credentials of a request. Other schemes than Basic are ignored:
/// clients send empty and expired Bearers along with their body.
pub(super) fn presented(headers: &HeaderMap, params: &Params) -> Result<Presented, Refusal> {
    let mut basics = headers.get_all(AUTHORIZATION).iter().filter_map(|v| basic(v.as_bytes()));
    let Some(encoded) = basics.next() else {
        return Ok(Presented {
            client_id: params.client_id().unwrap_or_default().to_owned(),
            secret: SecretText::new(params.client_secret().unwrap_or_default().to_owned()),
            basic: false,
        });
    };
    if basics.next().is_some() || params.client_secret().is_some() {
        return Err(TWO_WAYS);
    }
    let (client_id, secret) = decode(encoded).ok_or(Refusal::UNDECODABLE)?;
    // Some libraries repeat the id in the body; a second id is a contradiction.
    if params.client_id().is_some_and(|id| id != client_id) {
        return Err(TWO_WAYS);
    }
    Ok(Presented { client_id, secret, basic: true })
}

impl Desk {
    /// The client that calls one of the endpoints for tokens that it has, with its
    /// parameters. Who is none gets 401, by whatever way it tried.
    pub(super) async fn asked(
        &self,
        parts: &Parts,
        body: Body,
        client: &mut Option<TokenClient>,
    ) -> Result<(Arc<Credential>, Params), Refusal> {
        let params = body::params(&parts.headers, read(body).await?).await?;
        let who = self.presented(parts, &params, client)?;
        let (caller, _) = self.prove(parts, &who, None, true)?;
        Ok((caller, params))
    }

    /// What is presented; `client` is told whose id that is, if there is one.
    pub(super) fn presented(
        &self,
        parts: &Parts,
        params: &Params,
        client: &mut Option<TokenClient>,
    ) -> Result<Presented, Refusal> {
        let who = presented(&parts.headers, params)?;
        let known = ClientId::parse(&who.client_id);
        if let Some(known) = known.and_then(|id| self.context.memory.directory.get(id)) {
            let (client_id, account) = (known.client_id, known.account.clone());
            *client = Some(TokenClient { client_id, account });
        }
        Ok(who)
    }

    /// Whether it is that client. After too many failures from one address the next ones
    /// hear nothing more of why.
    pub(super) fn prove(
        &self,
        parts: &Parts,
        who: &Presented,
        account: Option<&str>,
        challenge: bool,
    ) -> Result<(Arc<Credential>, Generation), Refusal> {
        let proven = authenticate(&self.context, &who.client_id, who.secret.expose(), account);
        proven.map_err(|bad| {
            let reason = match who.is_incomplete() {
                true => "credentials_missing",
                false => bad.reason.as_str(),
            };
            let refusal = Refusal::invalid_client(reason, challenge);
            let guard = &self.context.memory.sign_ins;
            let source = parts.extensions.get::<Caller>().map(|caller| caller.0);
            let wait = source.and_then(|it| guard.wrong(it, self.context.now()).err());
            wait.map_or(refusal, |wait| refusal.slowed(wait))
        })
    }
}

/// What follows the scheme, if it is Basic.
fn basic(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(5)?;
    let ends = rest.first().is_none_or(|byte| *byte == b' ');
    (scheme.eq_ignore_ascii_case(b"basic") && ends).then(|| rest.trim_ascii())
}

/// Base64, then `id:secret`, then each of them as a form encodes it.
fn decode(encoded: &[u8]) -> Option<(String, SecretText)> {
    let bytes = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let (id, secret) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((form_decode(id)?, SecretText::new(form_decode(secret)?)))
}

fn form_decode(text: &str) -> Option<String> {
    if !decodable(text) {
        return None;
    }
    let spaced = Zeroizing::new(text.replace('+', " "));
    percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
}
