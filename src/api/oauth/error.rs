//! Refusals of these endpoints (RFC 6749 section 5.2, RFC 6750 section 3.1).
//!
//! Every text is fixed: nothing that a client sent is ever in an answer.

use std::time::Duration;

use axum::response::Response;
use http::header::{ALLOW, PRAGMA, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use super::{NoHurry, RefusalReason, json_response};
use crate::domain::{Limit, Rate};

/// One text, whatever was wrong.
const CLIENT_FAILED: &str = "Client authentication failed.";

/// An answer that is not what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    pub(super) error: &'static str,
    description: &'static str,
    /// With the challenge of RFC 7617.
    challenge: bool,
    allow: Option<&'static str>,
    /// How long to wait, in whole seconds.
    retry_after: Option<u32>,
    /// Finer than `error`, and not for the client.
    reason: Option<&'static str>,
    /// It may come late.
    no_hurry: bool,
    /// What was gone over, with how long to wait.
    over: Option<Limit>,
}

/// As `Retry-After` says it: never zero, and never too early.
fn whole_seconds(wait: Duration) -> u32 {
    u32::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u32::MAX).max(1)
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a str,
    error_description: &'a str,
    request_id: &'a str,
}

impl Refusal {
    pub(super) const NOT_FOUND: Refusal =
        Refusal::new(StatusCode::NOT_FOUND, "not_found", "There is no such endpoint.");
    pub(super) const TOO_LARGE: Refusal = Refusal::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "content_too_large",
        "The body is longer than 64 KiB.",
    );
    pub(super) const NOT_WRITTEN: Refusal =
        Refusal::failed("The gateway could not write the answer.");
    /// One text for all that may be wrong with a token, which may be another's.
    pub(super) const INVALID_TOKEN: Refusal = Refusal::new(
        StatusCode::BAD_REQUEST,
        "invalid_token",
        "The token is malformed, expired, revoked, or not of this gateway.",
    );

    const fn new(status: StatusCode, error: &'static str, description: &'static str) -> Self {
        Refusal {
            status,
            error,
            description,
            challenge: false,
            allow: None,
            retry_after: None,
            reason: None,
            no_hurry: false,
            over: None,
        }
    }

    /// The request is not one (400).
    pub(super) const fn invalid_request(description: &'static str) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// Another grant than ours (400).
    pub(super) const fn unsupported_grant_type() -> Self {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            "The only grant type is client_credentials.",
        )
    }

    /// More than the credential has (400).
    pub(super) const fn invalid_scope(description: &'static str) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_scope", description)
    }

    /// Not a client, whatever the reason: 401 with a challenge if it used a way
    /// that has one, else 400, which old clients handle and 401 they don't.
    /// `reason` is for the log.
    pub(super) fn invalid_client(reason: &'static str, challenge: bool) -> Self {
        let status = if challenge { StatusCode::UNAUTHORIZED } else { StatusCode::BAD_REQUEST };
        let refusal = Refusal::new(status, "invalid_client", CLIENT_FAILED);
        Refusal { challenge, reason: Some(reason), ..refusal }
    }

    /// Instead of `self`, where too many before came from the same address (429). What
    /// would have been said stays in the log.
    pub(super) fn slowed(self, wait: Duration) -> Self {
        let refusal = Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "Too many failed sign-ins came from this address; see Retry-After.",
        );
        let reason = Some(self.reason.unwrap_or(self.error));
        Refusal { retry_after: Some(whole_seconds(wait)), no_hurry: true, reason, ..refusal }
    }

    /// Basic credentials that can't be read: the client tried to authenticate, so
    /// the answer is the one for whom that failed (RFC 6749 section 5.2).
    pub(super) const UNDECODABLE: Refusal = Refusal {
        challenge: true,
        reason: Some("undecodable"),
        ..Refusal::new(StatusCode::UNAUTHORIZED, "invalid_client", CLIENT_FAILED)
    };

    /// More often than the endpoint's rate allows (429).
    pub(super) fn rate_limited(rate: Rate, wait: Duration) -> Self {
        let refusal = Refusal::new(
            StatusCode::TOO_MANY_REQUESTS,
            "rate_limited",
            "This client asks too often; see Retry-After, and use a token until it ends.",
        );
        Refusal { over: Some(Limit::Rate(rate, wait)), ..refusal }
    }

    /// Another client's token (400; RFC 7009 section 2.1, RFC 6749 section 5.2).
    pub(super) const ANOTHERS_TOKEN: Refusal = Refusal::new(
        StatusCode::BAD_REQUEST,
        "invalid_grant",
        "The token was issued to another client.",
    );

    /// The store takes no change (503; RFC 7009 section 2.2.1): the token may
    /// still live, and asking again is safe.
    pub(super) const UNAVAILABLE: Refusal = Refusal {
        retry_after: Some(2),
        ..Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "The revocation could not be stored. Ask again.",
        )
    };

    /// All its tokens were cut off just now, and the next second has not begun (503).
    pub(super) fn not_yet(wait: Duration) -> Self {
        let refusal = Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "All tokens of this client were just cut off. Ask again.",
        );
        Refusal { retry_after: Some(whole_seconds(wait)), ..refusal }
    }

    /// A fault of ours (500).
    pub(super) const fn failed(description: &'static str) -> Self {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", description)
    }

    /// A method that the endpoint does not take (405).
    pub(super) const fn method_not_allowed(allow: &'static str) -> Self {
        let refusal = Refusal::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "The endpoint does not take this method.",
        );
        Refusal { allow: Some(allow), ..refusal }
    }

    /// The answer, with the request's id.
    pub(super) fn respond(self, request_id: Option<&HeaderValue>) -> Response {
        let request_id = request_id.and_then(|id| id.to_str().ok()).unwrap_or_default();
        let body = ErrorBody { error: self.error, error_description: self.description, request_id };
        // Three strings can always be written.
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = json_response(self.status, body, "no-store");
        let headers = response.headers_mut();
        headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
        if self.challenge {
            let challenge = HeaderValue::from_static("Basic realm=\"portcullis\"");
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if let Some(allow) = self.allow {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        for (name, value) in self.over.into_iter().flat_map(Limit::fields) {
            // Digits, and a few of their signs.
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        if self.no_hurry {
            response.extensions_mut().insert(NoHurry);
        }
        response.extensions_mut().insert(RefusalReason(self.reason.unwrap_or(self.error)));
        response
    }
}
