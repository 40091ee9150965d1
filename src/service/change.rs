//! The one door for changes: decide, commit, and decide anew if somebody else
//! was faster.

use super::actor::Actor;
use super::context::Context;
use crate::domain::{Action, AuditEntry, Changes, UnixTime};
use crate::store::codec;
use crate::store::{Change, CommitError, Guard, Op, Receipt};

/// How often a change is decided anew. Each time at least one other came
/// through, so this many callers on one record may wait for each other.
const ATTEMPTS: usize = 128;

/// Why a change has no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Nothing happened, and nothing will.
    #[error("the change was not made: {0}")]
    NotDone(String),
    /// It may have happened or may still happen; asking again is safe.
    #[error("the outcome is unknown, and asking again is safe: {0}")]
    Unknown(String),
    /// Others kept changing the same thing. Nothing happened.
    #[error("the change was not made: others keep changing the same thing")]
    Contended,
}

/// What is to be done, given what memory says now.
pub(super) enum Plan<D, N> {
    /// Nothing: it is so already.
    Done(D),
    /// This, and what to remember of it.
    Commit(Change, N),
}

/// What was done.
pub(super) enum Outcome<D, N> {
    Already(D),
    Committed(Receipt, N),
}

/// Plans and commits. When a guard fails, memory knows of whoever was faster
/// (the store tells it first), so planning again decides on what is true.
pub(super) async fn commit<D, N, E: From<ChangeError>>(
    ctx: &Context,
    mut plan: impl FnMut() -> Result<Plan<D, N>, E> + Send,
) -> Result<Outcome<D, N>, E>
where
    D: Send,
    N: Send,
{
    for _ in 0..ATTEMPTS {
        let outcome = match plan()? {
            // Whoever made it so may still be waiting for a receipt.
            Plan::Done(done) => ctx.store.settled().await.map(|()| Outcome::Already(done)),
            Plan::Commit(change, note) => {
                let receipt = ctx.store.commit(change).await;
                receipt.map(|receipt| Outcome::Committed(receipt, note))
            }
        };
        match outcome {
            Ok(outcome) => return Ok(outcome),
            Err(CommitError::Conflict) => {}
            Err(CommitError::NotDone(why)) => return Err(ChangeError::NotDone(why).into()),
            Err(CommitError::Unknown(why)) => return Err(ChangeError::Unknown(why).into()),
        }
    }
    Err(ChangeError::Contended.into())
}

/// Waits until what others changed holds wherever requests are judged: to be asked
/// before a receipt of theirs is given again outside [`commit`].
pub(super) async fn settled(ctx: &Context) -> Result<(), ChangeError> {
    ctx.store.settled().await.map_err(|error| match error {
        CommitError::Conflict => ChangeError::Contended,
        CommitError::NotDone(why) => ChangeError::NotDone(why),
        CommitError::Unknown(why) => ChangeError::Unknown(why),
    })
}

/// What the trail keeps of a change.
pub(super) struct Line<'a> {
    pub(super) actor: &'a Actor,
    pub(super) at: UnixTime,
    pub(super) action: Action,
    pub(super) target: String,
    pub(super) reason: Option<String>,
    pub(super) changes: Changes,
}

/// Writes with their guards and their line in the trail.
pub(super) fn recorded(guards: Vec<Guard>, mut ops: Vec<Op>, line: Line<'_>) -> Change {
    let Line { actor, at, action, target, reason, changes } = line;
    ops.push(codec::audit(&AuditEntry {
        at,
        actor: actor.name().to_owned(),
        source: actor.source().to_owned(),
        action,
        target,
        reason,
        changes: changes.into_vec(),
    }));
    Change { guards, ops }
}

/// One write with its guard and its line in the trail.
#[expect(clippy::too_many_arguments, reason = "each is one word of one sentence")]
pub(super) fn written(
    guard: Guard,
    op: Op,
    actor: &Actor,
    at: UnixTime,
    action: Action,
    target: String,
    reason: Option<String>,
    changes: Changes,
) -> Change {
    recorded(vec![guard], vec![op], Line { actor, at, action, target, reason, changes })
}
