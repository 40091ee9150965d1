//! Putting a credential to sleep and waking it: the reversible revocation.

use super::actor::Actor;
use super::change::{Plan, commit, written};
use super::context::Context;
use super::ledger::First;
use super::revoke::{Receipt, RevokeError, receipt};
use crate::domain::{Action, AuditEntry, ClientId, Credential, StateError};
use crate::store::Guard;
use crate::store::codec::{self, AtRest};

/// Puts a credential and its tokens to sleep. Asleep it stays.
///
/// # Errors
/// See [`RevokeError`].
pub async fn suspend(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
) -> Result<Receipt, RevokeError> {
    change(ctx, actor, client, Action::CredentialSuspended, Credential::suspend).await
}

/// Wakes a credential, and those of its tokens that still live.
///
/// # Errors
/// See [`RevokeError`].
pub async fn resume(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
) -> Result<Receipt, RevokeError> {
    change(ctx, actor, client, Action::CredentialResumed, Credential::resume).await
}

/// What is so already stays as it is: the answer is the receipt of whoever did it.
async fn change(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    action: Action,
    step: fn(Credential) -> Result<Credential, StateError>,
) -> Result<Receipt, RevokeError> {
    let made = commit(ctx, || {
        let (credential, revision) =
            ctx.memory.directory.find(client).ok_or(RevokeError::Unknown("credential"))?;
        let at = ctx.now();
        let next = step((*credential).clone())?;
        if next.state == credential.state {
            return Ok(Plan::Done(first(ctx, client, action).unwrap_or(First { revision, at })));
        }
        let guard = Guard::At(next.key(), revision);
        let target = client.to_string();
        let changes = next.difference(Some(&credential));
        let change = written(guard, codec::put(&next), actor, at, action, target, None, changes);
        Ok::<_, RevokeError>(Plan::Commit(change, at))
    });
    Ok(receipt(ctx, made.await?).await)
}

/// The commit that brought the credential to where it is: the trail has it,
/// unless it is very old or the credential was never anywhere else.
fn first(ctx: &Context, client: ClientId, action: Action) -> Option<First> {
    let target = client.to_string();
    let is_it = |entry: &AuditEntry| entry.action == action && entry.target == target;
    let (found, _) = ctx.memory.trail.list(None, 1, is_it);
    found.first().map(|(revision, entry)| First { revision: *revision, at: entry.at })
}
