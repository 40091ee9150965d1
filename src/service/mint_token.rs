//! Trades an authenticated credential for an access token (RFC 6749 section 4.4).
//!
//! A token never says more than its credential may do, and never outlives it.
//! Minting writes nothing: tokens die by credential, generation, cut-off or id.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Context;
use crate::domain::{
    Credential, EnvironmentId, Environments, Generation, Grant, Jti, Scope, ScopeSet, UnixTime,
};
use crate::token::{MintError, MintedToken, NewToken, mint};

/// How long a client wants its token to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// It said nothing.
    Usual,
    /// As long as there is: clients say 0.
    Longest,
    /// This many seconds, or the longest there is if that is shorter.
    Seconds(u64),
}

/// Neither empty nor a whole number of seconds from 0 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expires_in must be a whole number of seconds, 0 or more")]
pub struct BadLifetime;

impl Lifetime {
    /// Reads `expires_in`. A number too large for any type is still a number
    /// above the limit.
    ///
    /// # Errors
    /// [`BadLifetime`] for signs, fractions, exponents and anything else.
    pub fn parse(text: Option<&str>) -> Result<Self, BadLifetime> {
        let Some(text) = text else { return Ok(Lifetime::Usual) };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadLifetime);
        }
        Ok(match text.parse().unwrap_or(u64::MAX) {
            0 => Lifetime::Longest,
            seconds => Lifetime::Seconds(seconds),
        })
    }
}

/// A token and what its client is told of it.
#[derive(Debug)]
pub struct Minted {
    /// The token.
    pub token: MintedToken,
    /// Seconds until it ends by itself.
    pub expires_in: i64,
    /// What it holds: concrete scopes and environments.
    pub scope: String,
}

/// Why there is no token for a client that authenticated itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MintRefusal {
    /// The scope asked for is not to be had. The text may be shown.
    #[error("{0}")]
    InvalidScope(&'static str),
    /// The credential or its secret ends within this very second.
    #[error("the credential is at its end")]
    Ended,
    /// All its tokens were cut off as of this very second, and one more would count among
    /// them: after so long there may be one.
    #[error("its tokens were cut off just now")]
    NotYet(Duration),
    /// No randomness or no signature. The text may be shown.
    #[error("{0}")]
    Failed(&'static str),
}

/// Mints a token for `credential`, which presented the secret `generation`.
/// `scope` is what the client asked for, `None` if it said nothing.
///
/// # Errors
/// See [`MintRefusal`].
pub fn mint_token(
    ctx: &Context,
    credential: &Credential,
    generation: Generation,
    scope: Option<&str>,
    lifetime: Lifetime,
) -> Result<Minted, MintRefusal> {
    let world = ctx.world.load();
    let minting = ctx.minting.load();
    let held = world.scopes_of(&credential.roles, &credential.extra_scopes);
    let grant = narrow(held, &credential.environments, scope)?;
    let longest = minting.max_token_ttl;
    let life = match lifetime {
        Lifetime::Usual => minting.token_ttl.min(longest),
        Lifetime::Longest => longest,
        Lifetime::Seconds(seconds) => Duration::from_secs(seconds).min(longest),
    };
    let now = ctx.now();
    let issued_at = UnixTime::from_secs(now.as_secs());
    let from = ctx.memory.revoked.issued_from(credential.client_id, &credential.account);
    if let Some(from) = from.filter(|from| *from > issued_at) {
        return Err(MintRefusal::NotYet(from.since(now)));
    }
    let expires_at = end_of(credential, generation, issued_at.plus(life));
    let expires_in = expires_at.as_secs() - issued_at.as_secs();
    if expires_in < 1 {
        return Err(MintRefusal::Ended);
    }
    let mut random = [0; 16];
    let no_randomness = |_| MintRefusal::Failed("There is no randomness to be had.");
    ctx.entropy.fill(&mut random).map_err(no_randomness)?;
    let new = NewToken {
        issuer: &minting.issuer,
        audience: &minting.audience,
        client_id: credential.client_id,
        account: &credential.account,
        grant: &grant,
        generation,
        jti: Jti::from_random(random),
        issued_at,
        expires_at,
    };
    let token = mint(world.keys().signing(), &new).map_err(|error| match error {
        MintError::TooLong => MintRefusal::InvalidScope(
            "A token with all these scopes would be longer than 8 KiB: ask for fewer by name.",
        ),
        MintError::Signature => MintRefusal::Failed("The token could not be signed."),
    })?;
    ctx.memory.activity.minted(credential.client_id, generation, expires_at, issued_at);
    Ok(Minted { token, expires_in, scope: grant.to_string() })
}

/// The earliest of `wanted`, the credential's end and its secret's end.
fn end_of(credential: &Credential, generation: Generation, wanted: UnixTime) -> UnixTime {
    let secret = credential.secrets.iter().find(|secret| secret.generation == generation);
    let retires_at = secret.and_then(|secret| secret.retires_at);
    [credential.expires_at, retires_at].into_iter().flatten().fold(wanted, UnixTime::min)
}

/// What of `held` and `within` was asked for. Nothing, or `*`, is all of it; `*`
/// with environments is all of it there. Without an environment all are kept.
fn narrow(
    held: ScopeSet,
    within: &Environments,
    asked: Option<&str>,
) -> Result<Grant, MintRefusal> {
    if held.is_empty() {
        return Err(MintRefusal::InvalidScope("The credential holds no scope."));
    }
    let Some(asked) = asked.filter(|text| *text != "*") else {
        return Ok(Grant { scopes: held, environments: within.clone() });
    };
    let asked = Asked::parse(asked)?;
    let environments = asked.environments.unwrap_or_else(|| within.clone());
    if !within.covers(&environments) {
        return Err(MintRefusal::InvalidScope(
            "The credential is not good for every environment that was asked for.",
        ));
    }
    if !asked.scopes.is_subset(&held) {
        return Err(MintRefusal::InvalidScope(
            "The credential does not hold every scope that was asked for.",
        ));
    }
    let scopes = if asked.everything { held } else { asked.scopes };
    Ok(Grant { scopes, environments })
}

/// A scope request that is not simply everything.
struct Asked {
    everything: bool,
    scopes: ScopeSet,
    environments: Option<Environments>,
}

impl Asked {
    fn parse(text: &str) -> Result<Self, MintRefusal> {
        let bad = |_| MintRefusal::InvalidScope("An item of the scope is malformed.");
        let (mut everything, mut everywhere) = (false, false);
        let (mut scopes, mut only) = (ScopeSet::new(), BTreeSet::new());
        for item in text.split(' ').filter(|item| !item.is_empty()) {
            match (item, item.strip_prefix("env:")) {
                ("*", _) => everything = true,
                (_, Some("*")) => everywhere = true,
                (_, Some(id)) => {
                    only.insert(EnvironmentId::new(id).map_err(bad)?);
                }
                (_, None) => {
                    scopes.insert(Scope::new(item).map_err(bad)?);
                }
            }
        }
        let environments = match (everywhere, only.is_empty()) {
            (true, _) => Some(Environments::All),
            (false, true) => None,
            (false, false) => Some(Environments::Only(only)),
        };
        // Blanks alone ask for nothing, which is not the same as not asking.
        if !everything && scopes.is_empty() && environments.is_none() {
            return Err(MintRefusal::InvalidScope("The scope is blank."));
        }
        Ok(Asked { everything, scopes, environments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes() {
        for (text, expected) in [
            (None, Ok(Lifetime::Usual)),
            (Some("0"), Ok(Lifetime::Longest)),
            (Some("000"), Ok(Lifetime::Longest)),
            (Some("1800"), Ok(Lifetime::Seconds(1800))),
            (Some("18446744073709551616"), Ok(Lifetime::Seconds(u64::MAX))),
            (Some(""), Err(BadLifetime)),
            (Some("-1"), Err(BadLifetime)),
            (Some("-0"), Err(BadLifetime)),
            (Some("+1"), Err(BadLifetime)),
            (Some(" 1"), Err(BadLifetime)),
            (Some("1.0"), Err(BadLifetime)),
            (Some("1e3"), Err(BadLifetime)),
            (Some("0x10"), Err(BadLifetime)),
            (Some("1h"), Err(BadLifetime)),
            (Some("\u{661}"), Err(BadLifetime)),
        ] {
            assert_eq!(Lifetime::parse(text), expected, "{text:?}");
        }
    }

    fn set(text: &str) -> (ScopeSet, Environments) {
        let (scopes, environments) = Grant::parse(text).unwrap();
        (scopes, environments.unwrap_or(Environments::All))
    }

    #[test]
    fn narrowing() {
        let everywhere = "a.x a.y b.z env:*";
        let limited = "a.x a.y env:1 env:2";
        for (has, asked, expected) in [
            (everywhere, None, Some(everywhere)),
            (everywhere, Some("*"), Some(everywhere)),
            (everywhere, Some("a.x"), Some("a.x env:*")),
            (everywhere, Some(" b.z  a.x a.x"), Some("a.x b.z env:*")),
            (everywhere, Some("a.x env:7"), Some("a.x env:7")),
            (everywhere, Some("a.x env:7 env:*"), Some("a.x env:*")),
            (everywhere, Some("* env:7"), Some("a.x a.y b.z env:7")),
            (everywhere, Some("* a.x"), Some(everywhere)),
            (everywhere, Some("* a.w"), None),
            (everywhere, Some("env:7"), Some("env:7")),
            (everywhere, Some("a.x c"), None),
            (everywhere, Some("A.x"), None),
            (everywhere, Some("a.*"), None),
            (everywhere, Some("a.x,a.y"), None),
            (everywhere, Some("a.x\ta.y"), None),
            (everywhere, Some("\""), None),
            (everywhere, Some("env:"), None),
            (everywhere, Some("env:a/b"), None),
            (everywhere, Some(" "), None),
            (limited, None, Some(limited)),
            (limited, Some("*"), Some(limited)),
            (limited, Some("a.y"), Some("a.y env:1 env:2")),
            (limited, Some("a.y env:2"), Some("a.y env:2")),
            (limited, Some("* env:2"), Some("a.x a.y env:2")),
            (limited, Some("a.y env:3"), None),
            (limited, Some("a.y env:2 env:3"), None),
            (limited, Some("a.y env:*"), None),
            (limited, Some("env:*"), None),
            ("env:*", None, None),
            ("env:*", Some("*"), None),
            ("env:*", Some("env:*"), None),
        ] {
            let (held, within) = set(has);
            let found = narrow(held, &within, asked).ok().map(|grant| grant.to_string());
            assert_eq!(found.as_deref(), expected, "{has} | {asked:?}");
        }
    }
}
