//! Least privilege: what a credential was granted and what it used, and a
//! narrower grant in which all that it used goes on.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::actor::Actor;
use super::change_credential::{Next, UpdateError, change_credential_if};
use super::condition::Condition;
use super::context::Context;
use crate::domain::{
    Action, ClientId, Credential, Environments, Rate, Role, RoleId, ScopeSet, UnixTime,
};
use crate::store::Revision;

/// What a credential has and needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// From when on uses are known.
    pub since: UnixTime,
    /// All its scopes.
    pub granted: ScopeSet,
    /// Those that permitted requests asked for.
    pub used: ScopeSet,
    /// Those that none asked for.
    pub never_used: ScopeSet,
    /// What would do.
    pub proposed: Proposal,
}

/// A narrower grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Roles of which all was used, and armed ones of which anything was.
    pub roles: BTreeSet<RoleId>,
    /// What was used of other roles and of the extra scopes.
    pub scopes: ScopeSet,
    /// As they are.
    pub environments: Environments,
    /// Its own limit; if it has none, that of a role that goes.
    pub rate: Option<Rate>,
    /// The same, of requests at once.
    pub concurrency: Option<u32>,
}

/// What a credential has, uses and needs.
///
/// # Errors
/// When there is no such credential.
pub fn usage(ctx: &Context, client: ClientId) -> Result<Needed, UpdateError> {
    let credential = ctx.memory.directory.get(client).ok_or(UpdateError::Unknown)?;
    Ok(needed(ctx, &credential))
}

fn needed(ctx: &Context, credential: &Credential) -> Needed {
    let world = ctx.world.load();
    let granted = world.scopes_of(&credential.roles, &credential.extra_scopes);
    let seen = ctx.memory.activity.scopes(credential.client_id);
    let used: ScopeSet = granted.intersection(&seen).cloned().collect();
    let never_used = granted.difference(&used).cloned().collect();
    let held = || world.roles().iter().filter(|role| credential.roles.contains(&role.id));
    // An armed role is never taken apart: its scopes would be awake for ever.
    let stays = |role: &&Role| {
        if role.armed { !role.scopes.is_disjoint(&used) } else { role.scopes.is_subset(&used) }
    };
    let mut scopes: ScopeSet = credential.extra_scopes.intersection(&used).cloned().collect();
    let goes = || held().filter(|role| !stays(role));
    scopes.extend(goes().filter(|role| !role.armed).flat_map(|role| {
        let part = role.scopes.intersection(&used);
        part.cloned()
    }));
    // What a role that stays grants need not be said twice.
    let kept =
        world.scopes_of(held().filter(stays).filter(|r| !r.armed).map(|r| &r.id), &ScopeSet::new());
    scopes.retain(|scope| !kept.contains(scope) || credential.extra_scopes.contains(scope));
    // Nor must a limit go with its role: that would be more right, not less.
    let limited = |role: &&Role| role.rate.is_some();
    let rate = goes()
        .any(|role| limited(&role))
        .then(|| held().filter_map(|role| role.rate).min_by(Rate::strictness));
    let bounded = goes().any(|role| role.concurrency.is_some());
    let concurrency = bounded.then(|| held().filter_map(|role| role.concurrency).min());
    let proposed = Proposal {
        roles: held().filter(stays).map(|role| role.id.clone()).collect(),
        scopes,
        environments: credential.environments.clone(),
        rate: credential.rate.or(rate.flatten()),
        concurrency: credential.concurrency.or(concurrency.flatten()),
    };
    Needed { since: credential.created_at, granted, used, never_used, proposed }
}

/// Gives a credential what [`usage`] proposes for it now, and no more, if it is what
/// `condition` wants. Gives it as it is now, and the commit that wrote it.
///
/// # Errors
/// See [`UpdateError`]. One that used nothing would be left without any right.
pub async fn narrow_credential(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    condition: &Condition,
) -> Result<(Arc<Credential>, Revision), UpdateError> {
    let step = |credential: &Credential, _: UnixTime| {
        let Proposal { roles, scopes, environments, rate, concurrency } =
            needed(ctx, credential).proposed;
        if roles.is_empty() && scopes.is_empty() {
            return Err(UpdateError::Refused(
                "The credential used none of its rights, so none would be left; revoke it instead.",
            ));
        }
        let mut next = credential.clone();
        next.armed.retain(|role, _| roles.contains(role));
        (next.roles, next.extra_scopes, next.environments) = (roles.into(), scopes, environments);
        (next.rate, next.concurrency) = (rate, concurrency);
        if next == *credential {
            return Ok(Next::Same(()));
        }
        Ok(Next::Changed(Box::new(next), (), None))
    };
    let action = Action::CredentialNarrowed;
    let changed = change_credential_if(ctx, actor, client, condition, action, step).await?;
    Ok((changed.credential, changed.revision))
}
