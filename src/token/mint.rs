//! Minting: claims in, a signed access token out (RFC 9068 section 2).
//!
//! The header is prepared with the key, so that a token costs one signature and
//! little more. Whether the client may have it is settled before.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::claims::{Audience, Claims, NumericDate};
use super::{MAX_TOKEN_BYTES, SigningKey};
use crate::domain::{AccountId, ClientId, Generation, Grant, Jti, UnixTime};

/// What a new token says. Times lose what is below a second.
#[derive(Clone, Copy, Debug)]
pub struct NewToken<'a> {
    /// `iss`: ourselves.
    pub issuer: &'a str,
    /// `aud`: the APIs behind us.
    pub audience: &'a str,
    /// `sub` and `client_id`: who it is for.
    pub client_id: ClientId,
    /// `account`.
    pub account: &'a AccountId,
    /// `scope`: rights and environments.
    pub grant: &'a Grant,
    /// `gen`: of the secret that it was traded for.
    pub generation: Generation,
    /// `jti`: its own id.
    pub jti: Jti,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `exp`.
    pub expires_at: UnixTime,
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintError {
    /// So many scopes that we would refuse the token ourselves.
    #[error("a token with all these scopes would be longer than 8 KiB")]
    TooLong,
    /// The library could not sign, or not write.
    #[error("the token could not be signed")]
    Signature,
}

/// A signed token, wiped when dropped, shown by [`MintedToken::expose`] only.
pub struct MintedToken(Zeroizing<String>);

impl MintedToken {
    /// The token itself, for the one answer that carries it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

/// Signs a new token. Its header is `typ`, `alg` and `kid` (RFC 9068 section 2.1).
///
/// # Errors
/// When the token would be too long, or the library fails.
pub fn mint(key: &SigningKey, token: &NewToken<'_>) -> Result<MintedToken, MintError> {
    let client_id = token.client_id.to_string();
    let claims = Claims {
        iss: Some(Cow::Borrowed(token.issuer)),
        sub: Some(Cow::Borrowed(&client_id)),
        client_id: Some(Cow::Borrowed(&client_id)),
        aud: Some(Audience::One(Cow::Borrowed(token.audience))),
        iat: Some(NumericDate::new(token.issued_at)),
        exp: Some(NumericDate::new(token.expires_at)),
        nbf: None,
        jti: Some(Cow::Owned(token.jti.to_string())),
        scope: Some(Cow::Owned(token.grant.to_string())),
        account: Some(Cow::Borrowed(token.account.as_str())),
        generation: Some(token.generation),
    };
    let claims = serde_json::to_vec(&claims).map_err(|_| MintError::Signature)?;
    // Room for all of it, an RSA signature included: it is not moved, so that
    // no copy is left behind.
    let room = key.header().len() + claims.len() / 3 * 4 + 4 + 1 + 1366;
    let mut text = Zeroizing::new(String::with_capacity(room));
    text.push_str(key.header());
    URL_SAFE_NO_PAD.encode_string(claims, &mut text);
    let signature = key.sign(text.as_bytes()).ok_or(MintError::Signature)?;
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, &mut text);
    if text.len() > MAX_TOKEN_BYTES {
        return Err(MintError::TooLong);
    }
    Ok(MintedToken(text))
}
