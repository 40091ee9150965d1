//! The closed list of reasons for a denial, and what a client hears of each.

use std::fmt;

use crate::revocation::{CutReason, Refusal};
use crate::token::TokenError;

/// Why a request was denied. One word each, for logs and metrics; the client
/// hears only the status and the error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the word that `as_str` gives, explained in the README")]
pub enum Reason {
    MalformedRequest,
    HeadersTooLarge,
    TargetTooLong,
    BodyTooLarge,
    NoRoute,
    MethodNotAllowed,
    TokenMissing,
    TokenMalformed,
    UnknownKey,
    BadSignature,
    WrongType,
    WrongIssuer,
    WrongAudience,
    Expired,
    NotYetValid,
    Revoked,
    Suspended,
    InsufficientScope,
    NotArmed,
    WrongAccount,
    WrongEnvironment,
    RateLimited,
    RevocationStale,
    Overloaded,
}

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 24] = [
        Reason::MalformedRequest,
        Reason::HeadersTooLarge,
        Reason::TargetTooLong,
        Reason::BodyTooLarge,
        Reason::NoRoute,
        Reason::MethodNotAllowed,
        Reason::TokenMissing,
        Reason::TokenMalformed,
        Reason::UnknownKey,
        Reason::BadSignature,
        Reason::WrongType,
        Reason::WrongIssuer,
        Reason::WrongAudience,
        Reason::Expired,
        Reason::NotYetValid,
        Reason::Revoked,
        Reason::Suspended,
        Reason::InsufficientScope,
        Reason::NotArmed,
        Reason::WrongAccount,
        Reason::WrongEnvironment,
        Reason::RateLimited,
        Reason::RevocationStale,
        Reason::Overloaded,
    ];

    /// The word in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::MalformedRequest => "malformed_request",
            Reason::HeadersTooLarge | Reason::TargetTooLong | Reason::BodyTooLarge => "too_large",
            Reason::NoRoute => "no_route",
            Reason::MethodNotAllowed => "method_not_allowed",
            Reason::TokenMissing => "token_missing",
            Reason::TokenMalformed => "token_malformed",
            Reason::UnknownKey => "unknown_key",
            Reason::BadSignature => "bad_signature",
            Reason::WrongType => "wrong_type",
            Reason::WrongIssuer => "wrong_issuer",
            Reason::WrongAudience => "wrong_audience",
            Reason::Expired => "expired",
            Reason::NotYetValid => "not_yet_valid",
            Reason::Revoked => "revoked",
            Reason::Suspended => "suspended",
            Reason::InsufficientScope => "insufficient_scope",
            Reason::NotArmed => "not_armed",
            Reason::WrongAccount => "wrong_account",
            Reason::WrongEnvironment => "wrong_environment",
            Reason::RateLimited => "rate_limited",
            Reason::RevocationStale => "revocation_stale",
            Reason::Overloaded => "overloaded",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Reason::MalformedRequest => 400,
            Reason::HeadersTooLarge => 431,
            Reason::TargetTooLong => 414,
            Reason::BodyTooLarge => 413,
            Reason::NoRoute => 404,
            Reason::MethodNotAllowed => 405,
            Reason::TokenMissing
            | Reason::TokenMalformed
            | Reason::UnknownKey
            | Reason::BadSignature
            | Reason::WrongType
            | Reason::WrongIssuer
            | Reason::WrongAudience
            | Reason::Expired
            | Reason::NotYetValid
            | Reason::Revoked
            | Reason::Suspended => 401,
            Reason::InsufficientScope
            | Reason::NotArmed
            | Reason::WrongAccount
            | Reason::WrongEnvironment => 403,
            Reason::RateLimited => 429,
            Reason::RevocationStale | Reason::Overloaded => 503,
        }
    }

    /// The `error` code (RFC 6750 section 3.1 for 401 and 403).
    pub fn error(self) -> &'static str {
        match self {
            Reason::MalformedRequest => "invalid_request",
            Reason::HeadersTooLarge => "headers_too_large",
            Reason::TargetTooLong => "uri_too_long",
            Reason::BodyTooLarge => "content_too_large",
            Reason::NoRoute => "not_found",
            Reason::MethodNotAllowed => "method_not_allowed",
            Reason::TokenMissing => "unauthorized",
            Reason::RateLimited => "rate_limited",
            Reason::RevocationStale | Reason::Overloaded => "unavailable",
            _ if self.status() == 403 => "insufficient_scope",
            _ => "invalid_token",
        }
    }

    /// What a person is told. It says no more than the error code does.
    pub fn description(self) -> &'static str {
        match self {
            Reason::MalformedRequest => "The request is malformed or can be read in two ways.",
            Reason::HeadersTooLarge => "The request's header fields are too large.",
            Reason::TargetTooLong => "The request target is too long.",
            Reason::BodyTooLarge => "The request body is too large.",
            Reason::NoRoute => "Nothing is served at this address.",
            Reason::MethodNotAllowed => "This method is not served at this address; see Allow.",
            Reason::TokenMissing => "Send an access token in the Authorization header, as Bearer.",
            Reason::RateLimited => "Too many requests; see Retry-After.",
            Reason::RevocationStale => {
                "The gateway can't decide safely right now; try again later."
            }
            Reason::Overloaded => "The gateway is busy; see Retry-After.",
            _ if self.status() == 403 => "The access token does not carry the right to do this.",
            _ => "The access token is malformed, expired, revoked or not for this service.",
        }
    }
}

impl From<TokenError> for Reason {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Malformed => Reason::TokenMalformed,
            TokenError::UnknownKey => Reason::UnknownKey,
            TokenError::BadSignature => Reason::BadSignature,
            TokenError::WrongType => Reason::WrongType,
            TokenError::WrongIssuer => Reason::WrongIssuer,
            TokenError::WrongAudience => Reason::WrongAudience,
            TokenError::Expired => Reason::Expired,
            TokenError::NotYetValid => Reason::NotYetValid,
        }
    }
}

impl From<Refusal> for Reason {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Revoked => Reason::Revoked,
            Refusal::Suspended => Reason::Suspended,
            Refusal::Expired => Reason::Expired,
        }
    }
}

/// Why what was cut would be refused now.
impl From<CutReason> for Reason {
    fn from(reason: CutReason) -> Self {
        match reason {
            CutReason::Revoked => Reason::Revoked,
            CutReason::Suspended => Reason::Suspended,
            CutReason::Expired => Reason::Expired,
            CutReason::Narrowed => Reason::InsufficientScope,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
