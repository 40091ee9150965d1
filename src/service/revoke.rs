//! Revoking a credential, for good; and what all revocations share.

use super::actor::Actor;
use super::change::{ChangeError, Outcome, Plan, commit, written};
use super::context::Context;
use super::fault::{Faults, FieldFault};
use super::ledger::{First, closed_record};
use crate::domain::{Action, ClientId, CredentialState, Revoked, StateError, UnixTime};
use crate::store::codec::{self, AtRest};
use crate::store::{self, Change, Guard, Revision};

/// The longest reason, in characters.
pub const LONGEST_REASON: usize = 300;

/// The proof of a revocation: it is durable, and it holds for the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its place in the order of commits.
    pub revision: Revision,
    /// When it was revoked, or put to sleep, or woken.
    pub revoked_at: UnixTime,
    /// How many streams and requests in flight were cut.
    pub streams_closed: usize,
    /// True if it was so before, and this is the first receipt.
    pub repeated: bool,
}

/// Why there is no receipt.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// There is no such credential, or no such account.
    #[error("there is no such {0}")]
    Unknown(&'static str),
    /// What was said is not valid.
    #[error("some fields are not valid")]
    Invalid(Vec<FieldFault>),
    /// It is revoked, and can't be suspended or resumed.
    #[error(transparent)]
    State(#[from] StateError),
    /// The clock is so far behind what was forgotten by it: times mean nothing until it is
    /// right.
    #[error("the clock is {0:?} behind")]
    ClockBehind(std::time::Duration),
    /// It did not commit.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

/// Ends a credential, its secrets and its tokens. A second call gives the
/// receipt of the first.
///
/// # Errors
/// See [`RevokeError`].
pub async fn revoke_credential(
    ctx: &Context,
    actor: &Actor,
    client: ClientId,
    reason: &str,
) -> Result<Receipt, RevokeError> {
    let reason = needed_reason(reason)?;
    // What changes a revoked credential would have to keep its revision: it is
    // the first receipt's.
    let made = commit(ctx, || {
        let (credential, revision) =
            ctx.memory.directory.find(client).ok_or(RevokeError::Unknown("credential"))?;
        if let CredentialState::Revoked(before) = &credential.state {
            return Ok(Plan::Done(First { revision, at: before.at }));
        }
        let at = ctx.now();
        let revoked = Revoked { by: actor.name().to_owned(), at, reason: reason.clone() };
        let dead = (*credential).clone().revoke(revoked)?;
        let change = written(
            Guard::At(dead.key(), revision),
            codec::put(&dead),
            actor,
            at,
            Action::CredentialRevoked,
            client.to_string(),
            Some(reason.clone()),
            dead.difference(Some(&credential)),
        );
        Ok::<_, RevokeError>(Plan::Commit(change, at))
    });
    Ok(receipt(ctx, made.await?).await)
}

/// The reason as it is kept, where there must be one.
pub(super) fn needed_reason(reason: &str) -> Result<String, RevokeError> {
    check_reason(Some(reason))?.ok_or_else(|| {
        RevokeError::Invalid(vec![FieldFault::new("reason", "must say why, in a few words")])
    })
}

/// The reason as it is kept.
pub(super) fn check_reason(reason: Option<&str>) -> Result<Option<String>, RevokeError> {
    let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
    let mut faults = Faults::default();
    faults.check_text("reason", reason.unwrap_or_default(), LONGEST_REASON, &[]);
    faults.check().map_err(RevokeError::Invalid)?;
    Ok(reason.map(str::to_owned))
}

/// The receipt of what was done now, or of what had been done before.
pub(super) async fn receipt(ctx: &Context, outcome: Outcome<First, UnixTime>) -> Receipt {
    match outcome {
        Outcome::Already(First { revision, at }) => Receipt {
            revision,
            revoked_at: at,
            streams_closed: ctx.memory.ledger.closed(revision),
            repeated: true,
        },
        Outcome::Committed(store::Receipt { revision, ended }, at) => {
            if ended > 0 {
                keep_closed(ctx, revision, ended).await;
            }
            Receipt { revision, revoked_at: at, streams_closed: ended, repeated: false }
        }
    }
}

/// The revocation stands whether or not this does: at worst a second receipt
/// says 0 after a restart.
pub(super) async fn keep_closed(ctx: &Context, revision: Revision, ended: usize) {
    let change = Change { guards: Vec::new(), ops: vec![closed_record(revision, ended)] };
    if let Err(error) = ctx.store.commit(change).await {
        tracing::warn!(revision, %error, "how many streams a revocation closed was not kept");
    }
}
