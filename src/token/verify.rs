//! From an unverified token to a verified one (RFC 9068 section 4, RFC 8725).
//!
//! The order is fixed: shape of the header, kid, type, signature, and only then
//! a look at the claims. `iss`, `aud`, `exp`, `iat` must be there and match; one
//! that is missing fails as one that is wrong. `now` is an argument. Revocation
//! is not judged here.

use std::time::Duration;

use super::bearer::Parts;
use super::claims::Claims;
use super::header::Header;
use super::{Keyring, UnverifiedToken, VerifyingKey};
use crate::domain::{
    AccountId, ClientId, Environments, Generation, Grant, Jti, Kid, ScopeSet, UnixTime,
};

/// What a token must say to be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectations {
    /// The only `iss`.
    pub issuer: String,
    /// Must be among `aud`.
    pub audience: String,
    /// How far the clocks of two nodes may be apart.
    pub clock_skew: Duration,
}

/// Why a token was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT of ours: its JSON, a type in it, or an id.
    #[error("the token is malformed")]
    Malformed,
    /// `kid` is missing or names none of our keys.
    #[error("the token names no key of ours")]
    UnknownKey,
    /// The signature is not that of the key it names.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `typ`, `alg`, `crit` or `b64` is not what we write.
    #[error("the token is of another type")]
    WrongType,
    /// `iss` is another one, or missing.
    #[error("the token is from another issuer")]
    WrongIssuer,
    /// `aud` doesn't have us, or is missing.
    #[error("the token is for another audience")]
    WrongAudience,
    /// `exp` has come, or is missing.
    #[error("the token has expired")]
    Expired,
    /// `iat` or `nbf` has not come, or `iat` is missing.
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// A token that we signed, for us, and alive at the time it was verified. It
/// has no public constructor: [`verify`] makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    kid: Kid,
    client_id: ClientId,
    jti: Jti,
    account: AccountId,
    scopes: ScopeSet,
    environments: Environments,
    generation: Generation,
    issued_at: UnixTime,
    /// The later of `iat` and `nbf`.
    not_before: UnixTime,
    expires_at: UnixTime,
}

impl VerifiedToken {
    /// The key that signed it; it may have been retired since.
    pub fn kid(&self) -> &Kid {
        &self.kid
    }

    /// The credential it was minted for.
    pub fn client_id(&self) -> ClientId {
        self.client_id
    }

    /// Its own id.
    pub fn jti(&self) -> Jti {
        self.jti
    }

    /// The tenant it is bound to.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// Its rights, without the environments.
    pub fn scopes(&self) -> &ScopeSet {
        &self.scopes
    }

    /// Where its rights hold.
    pub fn environments(&self) -> &Environments {
        &self.environments
    }

    /// Of the secret that it was traded for.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// `iat`.
    pub fn issued_at(&self) -> UnixTime {
        self.issued_at
    }

    /// `exp`, to which the clock skew is added before it counts.
    pub fn expires_at(&self) -> UnixTime {
        self.expires_at
    }

    /// Judges its times again: what was alive when it went into a cache may be
    /// dead when it comes out.
    ///
    /// # Errors
    /// [`TokenError::Expired`] from `exp + skew` on, [`TokenError::NotYetValid`]
    /// before `iat - skew` or `nbf - skew`; a second is always forgiven.
    pub fn live_at(&self, now: UnixTime, skew: Duration) -> Result<(), TokenError> {
        // What is minted after a cut-off has the next second.
        let early = skew.max(Duration::from_secs(1));
        if now >= self.expires_at.plus(skew) {
            return Err(TokenError::Expired);
        }
        if self.not_before > now.plus(early) {
            return Err(TokenError::NotYetValid);
        }
        Ok(())
    }
}

/// Verifies a token's signature and claims.
///
/// # Errors
/// The first of [`TokenError`] that holds, in the order given above.
pub fn verify(
    token: UnverifiedToken<'_>,
    keys: &Keyring,
    expect: &Expectations,
    now: UnixTime,
) -> Result<VerifiedToken, TokenError> {
    let (key, payload) = authenticate(token, keys, Header::is_access_token)?;
    let claims = Claims::read(payload).ok_or(TokenError::Malformed)?;
    if claims.iss.as_deref() != Some(expect.issuer.as_str()) {
        return Err(TokenError::WrongIssuer);
    }
    if !claims.aud.as_ref().is_some_and(|aud| aud.contains(&expect.audience)) {
        return Err(TokenError::WrongAudience);
    }
    let expires_at = claims.exp.ok_or(TokenError::Expired)?.time();
    let issued_at = claims.iat.ok_or(TokenError::NotYetValid)?.time();
    let not_before = claims.nbf.map_or(issued_at, |nbf| nbf.time().max(issued_at));
    let token = read_identity(&claims, key, issued_at, not_before, expires_at);
    let token = token.ok_or(TokenError::Malformed)?;
    token.live_at(now, expect.clock_skew)?;
    Ok(token)
}

/// Everything up to the signature. Gives the key and the encoded payload, whose
/// author is known from here on. `typed` judges `typ`: the vectors that this is
/// tested with have none.
pub(super) fn authenticate<'k, 't>(
    token: UnverifiedToken<'t>,
    keys: &'k Keyring,
    typed: impl Fn(&Header) -> bool,
) -> Result<(&'k VerifyingKey, &'t str), TokenError> {
    let Parts { header, payload, signature, signed } =
        token.parts().ok_or(TokenError::Malformed)?;
    let header = Header::read(header)?;
    let kid = header.kid.as_deref().ok_or(TokenError::UnknownKey)?;
    let key = keys.get(kid).ok_or(TokenError::UnknownKey)?;
    if !typed(&header) || !header.is_plain(key.algorithm()) {
        return Err(TokenError::WrongType);
    }
    if !key.verifies(signed, signature) {
        return Err(TokenError::BadSignature);
    }
    Ok((key, payload))
}

/// Whose token it is and what it may do; `None` if any of it is missing or bad.
fn read_identity(
    claims: &Claims<'_>,
    key: &VerifyingKey,
    issued_at: UnixTime,
    not_before: UnixTime,
    expires_at: UnixTime,
) -> Option<VerifiedToken> {
    let client_id = claims.client_id.as_deref()?;
    if claims.sub.as_deref() != Some(client_id) {
        return None;
    }
    let (scopes, environments) = Grant::parse(claims.scope.as_deref()?).ok()?;
    Some(VerifiedToken {
        kid: key.kid().clone(),
        client_id: ClientId::parse(client_id)?,
        jti: Jti::parse(claims.jti.as_deref()?)?,
        account: AccountId::new(claims.account.as_deref()?).ok()?,
        scopes,
        environments: environments?,
        generation: claims.generation.filter(|it| *it > 0)?,
        issued_at,
        not_before,
        expires_at,
    })
}
