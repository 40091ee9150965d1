//! Revoking one token, known by its id or by its text.

use std::time::Duration;

use super::actor::Actor;
use super::change::{ChangeError, Outcome, Plan, commit, written};
use super::context::Context;
use super::fault::FieldFault;
use super::revocations::first_of_token;
use super::revoke::{Receipt, RevokeError, check_reason, receipt};
use super::sweep::IN_HAND;
use crate::domain::{Action, Changes, ClientId, Jti, UnixTime};
use crate::store::Guard;
use crate::store::codec::{self, AtRest, RevokedToken};
use crate::token::{Expectations, UnverifiedToken, VerifiedToken, verify};

/// How long a token of unknown end is kept revoked, at least: a reload may have
/// shortened the lives of tokens since it was minted.
const UNKNOWN_END: Duration = Duration::from_secs(366 * 24 * 3600);

/// How often a revocation is looked for that is there and then is not.
const LOOKS: usize = 3;

/// One token, and what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRef {
    jti: Jti,
    known: Option<(ClientId, UnixTime)>,
}

impl TokenRef {
    /// A token of which only the id is known. Minting stores nothing, so there
    /// is no telling whether it exists.
    pub fn by_id(jti: Jti) -> Self {
        TokenRef { jti, known: None }
    }

    /// A token of ours.
    pub fn verified(token: &VerifiedToken) -> Self {
        TokenRef { jti: token.jti(), known: Some((token.client_id(), token.expires_at())) }
    }

    /// A token by its text: its signature, issuer and audience must be ours,
    /// its times do not matter.
    ///
    /// # Errors
    /// What is wrong with it, without the token.
    pub fn by_text(ctx: &Context, text: &str) -> Result<Self, FieldFault> {
        let fault = |what: &str| FieldFault::new("token", what);
        let token = UnverifiedToken::parse(text).ok_or_else(|| fault("must be an access token"))?;
        let world = ctx.world.load();
        let timeless = Expectations { clock_skew: Duration::MAX, ..world.expectations().clone() };
        verify(token, world.keys(), &timeless, ctx.now())
            .map(|token| TokenRef::verified(&token))
            .map_err(|error| fault(&format!("must be a token of this gateway: {error}")))
    }
}

/// Ends one token. A second call gives the receipt of the first.
///
/// # Errors
/// See [`RevokeError`].
pub async fn revoke_token(
    ctx: &Context,
    actor: &Actor,
    token: TokenRef,
    reason: Option<&str>,
) -> Result<Receipt, RevokeError> {
    let reason = check_reason(reason)?;
    let (max_ttl, skew) = {
        let minting = ctx.minting.load();
        (minting.max_token_ttl, minting.clock_skew)
    };
    let decide = || {
        if ctx.memory.revoked.is_token_revoked(token.jti) {
            return Ok(Plan::Done(()));
        }
        let at = ctx.now();
        // A day more: a reload may allow a wider skew before it is forgotten, and the
        // clock may go back.
        let end = match token.known {
            Some((_, end)) => end.plus(skew).plus(IN_HAND),
            None => at.plus(max_ttl.max(UNKNOWN_END)).plus(skew).plus(IN_HAND),
        };
        let record = RevokedToken {
            jti: token.jti,
            expires_at: end,
            client_id: token.known.map(|(client, _)| client),
            revoked_by: actor.name().to_owned(),
            revoked_at: at,
            reason: reason.clone(),
        };
        let change = written(
            Guard::Absent(record.key()),
            codec::put(&record),
            actor,
            at,
            Action::TokenRevoked,
            token.jti.to_string(),
            reason.clone(),
            match record.client_id {
                Some(client) => Changes::new().made("client_id", client),
                None => Changes::new(),
            },
        );
        Ok::<_, RevokeError>(Plan::Commit(change, at))
    };
    for _ in 0..LOOKS {
        let made = match commit(ctx, decide).await? {
            Outcome::Committed(receipt, at) => Outcome::Committed(receipt, at),
            Outcome::Already(()) => match first_of_token(ctx, token.jti).await {
                Ok(Some(first)) => Outcome::Already(first),
                // It was swept between the two looks.
                Ok(None) => continue,
                Err(error) => return Err(ChangeError::NotDone(error.to_string()).into()),
            },
        };
        return Ok(receipt(ctx, made).await);
    }
    Err(ChangeError::Contended.into())
}
