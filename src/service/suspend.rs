//! Putting a credential to sleep and waking it: the reversible revocation.

use super::actor::Actor;
use super::change::{Plan, commit, written};
use super::context::Context;
use super::revoke::{Receipt, RevokeError, receipt};
use crate::domain::{Action, ClientId, Credential, StateError};
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

/// Commits even where nothing changes: the trail keeps who asked, and when.
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
        let guard = Guard::At(next.key(), revision);
        let target = client.to_string();
        let changes = next.difference(Some(&credential));
        let change = written(guard, codec::put(&next), actor, at, action, target, None, changes);
        Ok::<_, RevokeError>(Plan::Commit(change, at))
    });
    Ok(receipt(ctx, made.await?).await)
}
