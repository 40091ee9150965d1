//! Writes last uses and used scopes, in batches, each under a key of its own.
//!
//! What was not written when the power went is lost: up to a minute of uses.

use super::context::Context;
use crate::domain::ClientId;
use crate::store::codec::{self, Usage};
use crate::store::{Change, CommitError, MAX_OPS};

/// Writes all that is not written yet, and forgets rates of long ago.
///
/// # Errors
/// When the store takes no changes; the rest is written next time.
pub async fn keep_usage(context: &Context) -> Result<(), CommitError> {
    let activity = &context.memory.activity;
    activity.tidy(context.now());
    // What is used again meanwhile waits for the next time.
    for _ in 0..=activity.len() / MAX_OPS {
        let taken = activity.take_changed(MAX_OPS);
        if taken.is_empty() {
            break;
        }
        let clients: Vec<ClientId> = taken.iter().map(|usage| usage.client_id).collect();
        let ops = taken.into_iter().filter_map(|usage| worth_keeping(context, usage));
        let ops: Vec<_> = ops.map(|usage| codec::put(&usage)).collect();
        if ops.is_empty() {
            continue;
        }
        if let Err(error) = context.store.commit(Change { guards: Vec::new(), ops }).await {
            activity.give_back(&clients);
            return Err(error);
        }
    }
    Ok(())
}

/// What the credential still has: that much always fits into an entry.
fn worth_keeping(context: &Context, mut usage: Usage) -> Option<Usage> {
    let credential = context.memory.directory.get(usage.client_id)?;
    let granted = context.world.load().scopes_of(&credential.roles, &credential.extra_scopes);
    usage.scopes.retain(|scope| granted.contains(scope));
    usage.last_used.retain(|(generation, _)| {
        credential.secrets.iter().any(|secret| secret.generation == *generation)
    });
    Some(usage)
}
