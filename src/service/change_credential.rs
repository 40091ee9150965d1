//! What all changes of a credential share: find it, alter it, commit it with
//! its line in the trail, and do so anew if somebody else was faster.

use std::sync::Arc;

use super::actor::Actor;
use super::change::{ChangeError, Outcome, Plan, commit, written};
use super::condition::Condition;
use super::context::Context;
use super::fault::FieldFault;
use crate::domain::{Action, ClientId, Credential, EntropyError, StateError, UnixTime};
use crate::store::codec::{self, AtRest};
use crate::store::{self, Guard, Op, Revision};

/// The most bytes that a credential takes at rest while it lives: the reason it
/// is revoked for one day must fit in beside it.
const FULL: usize = 4700;

/// Why a credential was not changed.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// There is no such credential.
    #[error("there is no such credential")]
    Unknown,
    /// It has no such secret, or not any more.
    #[error("there is no such secret")]
    NoSecret,
    /// What was said is not valid.
    #[error("some fields are not valid")]
    Invalid(Vec<FieldFault>),
    /// It is revoked, for good.
    #[error(transparent)]
    State(#[from] StateError),
    /// It is not what the caller read any more.
    #[error("the credential has changed since it was read")]
    Stale,
    /// Things are not so that it could be done. The text may be shown.
    #[error("{0}")]
    Refused(&'static str),
    /// No randomness, no secret.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// It did not commit.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// What is to become of a credential.
pub(super) enum Next<T> {
    /// It stays as it is.
    Same(T),
    /// This, with an answer, and why it was done, for the trail.
    Changed(Box<Credential>, T, Option<String>),
}

/// How a credential is now, and what the change came to.
pub(super) struct Changed<T> {
    pub(super) credential: Arc<Credential>,
    pub(super) answer: T,
    /// Of the commit that wrote it last.
    pub(super) revision: Revision,
    /// How much was cut.
    pub(super) ended: usize,
}

/// Changes a credential that is not revoked.
pub(super) async fn change_credential<T: Send>(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    action: Action,
    step: impl FnMut(&Credential, UnixTime) -> Result<Next<T>, UpdateError> + Send,
) -> Result<Changed<T>, UpdateError> {
    change_credential_if(ctx, actor, client, &Condition::default(), action, step).await
}

/// The same, if it is what `condition` wants at the very commit.
pub(super) async fn change_credential_if<T: Send>(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    condition: &Condition,
    action: Action,
    mut step: impl FnMut(&Credential, UnixTime) -> Result<Next<T>, UpdateError> + Send,
) -> Result<Changed<T>, UpdateError> {
    let made = commit(ctx, || {
        let (credential, revision) =
            ctx.memory.directory.find(client).ok_or(UpdateError::Unknown)?;
        credential.changeable()?;
        if !condition.holds(&credential, revision) {
            return Err(UpdateError::Stale);
        }
        let at = ctx.now();
        let (mut next, answer, reason) = match step(&credential, at)? {
            Next::Same(answer) => return Ok(Plan::Done((credential, answer, revision))),
            Next::Changed(next, answer, reason) => (*next, answer, reason),
        };
        make_room(&mut next, at)?;
        let guard = Guard::At(next.key(), revision);
        let target = client.to_string();
        let changes = next.difference(Some(&credential));
        let put = codec::put(&next);
        let change = written(guard, put, actor, at, action, target, reason, changes);
        Ok::<_, UpdateError>(Plan::Commit(change, (Arc::new(next), answer)))
    });
    Ok(match made.await? {
        Outcome::Already((credential, answer, revision)) => {
            Changed { credential, answer, revision, ended: 0 }
        }
        Outcome::Committed(store::Receipt { revision, ended }, (credential, answer)) => {
            Changed { credential, answer, revision, ended }
        }
    })
}

/// How long a credential is at rest.
pub(super) fn size(credential: &Credential) -> usize {
    match codec::put(credential) {
        Op::Put { value, .. } => value.len(),
        Op::Append { .. } | Op::Delete { .. } => usize::MAX,
    }
}

/// Forgets secrets that are dead for longest, but never the newest: it knows
/// which number is the next.
fn make_room(next: &mut Credential, now: UnixTime) -> Result<(), UpdateError> {
    while size(next) > FULL {
        let older = next.secrets.len().saturating_sub(1);
        let dead = next.secrets.iter().take(older).position(|secret| !secret.lives_at(now));
        let Some(place) = dead else {
            return Err(UpdateError::Refused(
                "The credential has no room left: retire a secret, or shorten its description.",
            ));
        };
        next.secrets.remove(place);
    }
    Ok(())
}
