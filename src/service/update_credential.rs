//! Changing name, rights, expiry and limits of a credential. What is not said
//! stays. Less right counts at once, on tokens that are out, too.

use std::sync::Arc;

use super::actor::Actor;
use super::change_credential::{Next, UpdateError, change_credential_if, size};
use super::condition::Condition;
use super::context::Context;
use super::fault::{Faults, FieldFault};
use super::issue_credential::ROOM;
use super::reading;
use crate::domain::{Action, ClientId, Credential, UnixTime};
use crate::policy::Snapshot;
use crate::store::Revision;

/// What is to be changed, in the caller's own words. What is `None` stays; of
/// those in two layers the inner `None` removes.
#[derive(Clone, Debug, Default)]
pub struct CredentialPatch {
    /// What people call it: 1 to 100 characters.
    pub name: Option<String>,
    /// What it is for: up to 1000 characters.
    pub description: Option<String>,
    /// Predefined roles, all of them.
    pub roles: Option<Vec<String>>,
    /// Scopes besides those of the roles, all of them.
    pub scopes: Option<Vec<String>>,
    /// Where its rights hold; none, or `*` alone, for everywhere.
    pub environments: Option<Vec<String>>,
    /// The end of its life, RFC 3339.
    pub expires_at: Option<Option<String>>,
    /// Its own limit, such as `100/s`.
    pub rate: Option<Option<String>>,
    /// Its own limit of requests at once.
    pub concurrency: Option<Option<u64>>,
}

impl CredentialPatch {
    /// The credential as it would be.
    ///
    /// # Errors
    /// Every fault of what was said; what stays is not judged again.
    pub fn apply(
        &self,
        credential: &Credential,
        world: &Snapshot,
        now: UnixTime,
    ) -> Result<Credential, Vec<FieldFault>> {
        let mut faults = Faults::default();
        let mut next = credential.clone();
        if let Some(name) = &self.name {
            next.name = reading::name(&mut faults, name);
        }
        if let Some(text) = &self.description {
            next.description = reading::description(&mut faults, text);
        }
        if let Some(roles) = &self.roles {
            next.roles = reading::roles(&mut faults, roles, world).into();
            let kept = &next.roles;
            next.armed.retain(|role, _| kept.contains(role));
        }
        if let Some(scopes) = &self.scopes {
            next.extra_scopes = reading::scopes(&mut faults, scopes);
        }
        if let Some(environments) = &self.environments {
            next.environments = reading::environments(&mut faults, environments);
        }
        if let Some(end) = &self.expires_at {
            let read = |end: &String| reading::expires_at(&mut faults, end, now);
            next.expires_at = end.as_ref().and_then(read);
        }
        if let Some(rate) = &self.rate {
            next.rate = rate.as_ref().and_then(|rate| reading::rate(&mut faults, rate));
        }
        if let Some(count) = self.concurrency {
            next.concurrency = count.and_then(|count| reading::concurrency(&mut faults, count));
        }
        let rights = [&self.roles, &self.scopes].into_iter().any(Option::is_some);
        if rights && faults.is_empty() && next.roles.is_empty() && next.extra_scopes.is_empty() {
            let field = if self.roles.is_some() { "roles" } else { "scopes" };
            faults.add(field, "would leave the credential without any right; revoke it instead");
        }
        if rights || self.environments.is_some() {
            let (roles, scopes) = (&next.roles, &next.extra_scopes);
            reading::check_grant(&mut faults, world, roles, scopes, &next.environments);
        }
        if faults.is_empty() && !fits(&next) && size(&next) > size(credential) {
            let what = "takes, with the roles, scopes and environments, more than 4 KB; \
                        shorten it, or bundle the scopes in a role";
            faults.add("description", what);
        }
        faults.check().map(|()| next)
    }
}

/// As at minting: with one secret and nothing armed.
fn fits(credential: &Credential) -> bool {
    let mut trial = credential.clone();
    trial.secrets.truncate(1);
    trial.armed.clear();
    size(&trial) <= ROOM
}

/// Changes a credential, if it is what `condition` wants. When this returns it is
/// durable and counts. Gives it as it is now, and the commit that wrote it.
///
/// # Errors
/// See [`UpdateError`]; then nothing was changed.
pub async fn update_credential(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    condition: &Condition,
    patch: &CredentialPatch,
) -> Result<(Arc<Credential>, Revision), UpdateError> {
    let step = |now: &Credential, at: UnixTime| {
        let next = patch.apply(now, &ctx.world.load(), at).map_err(UpdateError::Invalid)?;
        if next == *now {
            return Ok(Next::Same(()));
        }
        Ok(Next::Changed(Box::new(next), (), None))
    };
    let action = Action::CredentialUpdated;
    let changed = change_credential_if(ctx, actor, client, condition, action, step).await?;
    Ok((changed.credential, changed.revision))
}
