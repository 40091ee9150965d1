//! Rotating the signing key: a new one is published, signs from its time on,
//! and the old one goes when the last token that it signed has ended.

use std::time::Duration;

use super::ring::{end, list, newest_first, operator, refresh, token_life};
use super::{KeyStatus, KeysError, NewKey, at_least_after};
use crate::domain::{Action, AuditEntry, Changes};
use crate::service::change::{Line, Outcome, Plan, commit, recorded};
use crate::service::{Actor, ChangeError, Context};
use crate::store::Op;
use crate::store::codec::AtRest;
use crate::token::Algorithm;

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The operator's own key signs.
    #[error("the signing key is the one of oauth.signing_key_file")]
    OperatorsKey,
    /// It could not be made.
    #[error(transparent)]
    Make(#[from] KeysError),
    /// It did not commit.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Makes a key that signs `after` from now. When this returns it is durable and
/// published. Without an algorithm it is for the one that signs now.
///
/// # Errors
/// See [`RotateError`].
pub async fn rotate(
    ctx: &Context,
    actor: &Actor,
    algorithm: Option<Algorithm>,
    after: Duration,
) -> Result<KeyStatus, RotateError> {
    let made = commit(ctx, || {
        let world = ctx.world.load();
        if operator(ctx, world.keys()).is_some() {
            return Err(RotateError::OperatorsKey);
        }
        let now = ctx.now();
        let algorithm = algorithm.unwrap_or(world.keys().signing().algorithm());
        let newest = newest_first(&ctx.memory).first().map(|key| key.created_at);
        let created_at = at_least_after(now, newest);
        let key = NewKey::make(&ctx.sealer, &*ctx.entropy, algorithm, created_at, now.plus(after))?;
        let entry = AuditEntry {
            at: now,
            actor: actor.name().to_owned(),
            source: actor.source().to_owned(),
            action: Action::KeyCreated,
            target: String::new(),
            reason: None,
            changes: Vec::new(),
        };
        let change = crate::store::Change { guards: vec![key.guard()], ops: key.ops(entry).into() };
        Ok(Plan::Commit(change, key.stored.kid))
    });
    let kid = match made.await? {
        Outcome::Already(kid) | Outcome::Committed(_, kid) => kid,
    };
    refresh(ctx);
    let status = list(ctx).into_iter().find(|key| key.kid == kid.as_str());
    status.ok_or_else(|| ChangeError::Unknown("the new key is not there".to_owned()).into())
}

/// Takes keys into and out of use whose time has come: to be called again and
/// again. Returns how many were removed.
///
/// # Errors
/// When the store takes no changes; nothing is lost by trying later.
pub async fn retire(ctx: &Context) -> Result<usize, ChangeError> {
    refresh(ctx);
    let mut removed = 0;
    loop {
        let made = commit(ctx, || {
            let (now, life) = (ctx.now(), token_life(ctx));
            let stored = newest_first(&ctx.memory);
            let world = ctx.world.load();
            let over = stored.iter().enumerate().rev().find(|(place, key)| {
                key.kid != *world.keys().signing().kid()
                    && end(&stored, *place, life).is_some_and(|end| now >= end)
            });
            let Some((_, key)) = over else { return Ok(Plan::Done(false)) };
            let line = Line {
                actor: &Actor::gateway(),
                at: now,
                action: Action::KeyRetired,
                target: key.kid.to_string(),
                reason: Some("no token that it signed lives any more".to_owned()),
                changes: Changes::new().field("algorithm", Some(key.algorithm.clone()), None),
            };
            let ops = vec![Op::Delete { key: key.key() }];
            Ok::<_, ChangeError>(Plan::Commit(recorded(Vec::new(), ops, line), true))
        });
        match made.await? {
            Outcome::Already(_) => return Ok(removed),
            Outcome::Committed(..) => {
                refresh(ctx);
                removed += 1;
            }
        }
    }
}
