//! Rotation with overlap: another secret beside the old ones, and their end.

use std::sync::Arc;
use std::time::Duration;

use super::actor::Actor;
use super::change::settled;
use super::change_credential::{Changed, Next, UpdateError, change_credential};
use super::context::Context;
use super::revoke::{Receipt, keep_closed};
use crate::domain::{
    Action, AuditEntry, ClientId, ClientSecret, Credential, Generation, SecretGeneration, UnixTime,
};

/// The most secrets of one credential that live at once.
const MOST: usize = 10;

/// Another secret, to be shown once.
#[derive(Debug)]
pub struct Rotated {
    /// The credential with all its secrets.
    pub credential: Arc<Credential>,
    /// The new one.
    pub made: SecretGeneration,
    /// Its text.
    pub secret: ClientSecret,
}

/// What becomes of the secrets that there are. Nothing said: they stay until
/// they are retired by hand.
#[derive(Clone, Copy, Debug, Default)]
pub struct OldSecrets {
    /// They end so long from now, unless they would have ended before.
    pub after: Option<Duration>,
    /// Each ends once it was not used for so long.
    pub unused_for: Option<Duration>,
}

/// Makes another secret.
///
/// # Errors
/// See [`UpdateError`].
pub async fn add_secret(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    old_secrets: OldSecrets,
) -> Result<Rotated, UpdateError> {
    let secret = ClientSecret::generate(&*ctx.entropy)?;
    let hash = ctx.hasher.hash(secret.expose());
    let step = |credential: &Credential, now: UnixTime| {
        let living = credential.secrets.iter().filter(|secret| secret.lives_at(now)).count();
        if living >= MOST {
            let text = "The credential has 10 live secrets, which is the most; retire one first.";
            return Err(UpdateError::Refused(text));
        }
        let newest = credential.secrets.iter().map(|secret| secret.generation).max();
        let generation = newest.unwrap_or(0).checked_add(1);
        let generation = generation.ok_or(UpdateError::Refused("There is no number left."))?;
        let mut next = credential.clone();
        for old in next.secrets.iter_mut().filter(|secret| secret.lives_at(now)) {
            old.retire_unused = old_secrets.unused_for.or(old.retire_unused);
            if let Some(after) = old_secrets.after {
                let end = now.plus(after);
                old.retires_at = Some(old.retires_at.map_or(end, |before| before.min(end)));
                old.retired = after.is_zero();
            }
        }
        let made = SecretGeneration { generation, ..SecretGeneration::first(now, hash.clone()) };
        next.secrets.push(made.clone());
        Ok(Next::Changed(Box::new(next), made, Some(format!("generation {generation}"))))
    };
    let changed = change_credential(ctx, actor, client, Action::SecretCreated, step).await?;
    Ok(Rotated { credential: changed.credential, made: changed.answer, secret })
}

/// Ends one secret and the tokens that it minted, and no others, at once and for
/// good. A second call gives the receipt of the first.
///
/// # Errors
/// See [`UpdateError`]. The last one that lives is not ended: that would end the
/// credential without saying so.
pub async fn retire_secret(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    generation: Generation,
) -> Result<Receipt, UpdateError> {
    if let Some(first) = retired_before(ctx, client, generation) {
        // Whoever made it so may still be waiting for a receipt.
        settled(ctx).await?;
        return Ok(first);
    }
    let step = |credential: &Credential, now: UnixTime| {
        let mut next = credential.clone();
        let mut all = next.secrets.iter_mut();
        let Some(secret) = all.find(|secret| secret.generation == generation) else {
            return Err(UpdateError::NoSecret);
        };
        if secret.retired {
            return Ok(Next::Same((secret.retires_at.unwrap_or(now), true)));
        }
        // Also one whose time has run out: a clock that is set back must not bring it back.
        secret.retires_at = Some(secret.retires_at.map_or(now, |end| end.min(now)));
        secret.retired = true;
        if !next.secrets.iter().any(|secret| secret.lives_at(now)) {
            return Err(UpdateError::Refused(
                "It is the last secret that lives: make another one first, or revoke the \
                 credential.",
            ));
        }
        Ok(Next::Changed(Box::new(next), (now, false), Some(format!("generation {generation}"))))
    };
    let Changed { answer: (at, repeated), revision, ended, .. } =
        change_credential(ctx, actor, client, Action::SecretRetired, step).await?;
    if ended > 0 {
        keep_closed(ctx, revision, ended).await;
    }
    Ok(Receipt { revision, revoked_at: at, streams_closed: ended, repeated })
}

/// The receipt of whoever retired it, from the trail: the number of a secret is
/// never given out again.
fn retired_before(ctx: &Context, client: ClientId, generation: Generation) -> Option<Receipt> {
    let (target, reason) = (client.to_string(), format!("generation {generation}"));
    let is_it = |entry: &AuditEntry| {
        entry.action == Action::SecretRetired
            && entry.target == target
            && entry.reason.as_ref() == Some(&reason)
    };
    let (found, _) = ctx.memory.trail.list(None, 1, is_it);
    let (revision, entry) = found.first()?;
    Some(Receipt {
        revision: *revision,
        revoked_at: entry.at,
        streams_closed: ctx.memory.ledger.closed(*revision),
        repeated: true,
    })
}
