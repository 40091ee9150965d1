//! Writes last uses and used scopes, in batches, each under a key of its own.
//!
//! What was not written when the power went is lost: up to a minute of uses.

use super::activity::Activity;
use super::context::Context;
use crate::domain::ClientId;
use crate::store::codec::{self, Usage};
use crate::store::{Change, CommitError, MAX_OPS};

/// Uses on their way to the store: given back when this is dropped, unless they were
/// written. Whoever waits for the store may be ended meanwhile.
struct Taken<'a> {
    from: &'a Activity,
    clients: Vec<ClientId>,
}

impl Taken<'_> {
    fn written(mut self) {
        self.clients.clear();
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.from.give_back(&self.clients);
    }
}

/// Writes all that is not written yet, and forgets rates of long ago.
///
/// # Errors
/// When the store takes no changes; the rest is written next time, also if this is dropped.
pub async fn keep_usage(context: &Context) -> Result<(), CommitError> {
    let activity = &context.memory.activity;
    activity.tidy(context.now());
    // What is used again meanwhile waits for the next time.
    for _ in 0..=activity.len() / MAX_OPS {
        let changed = activity.take_changed(MAX_OPS);
        if changed.is_empty() {
            break;
        }
        let clients = changed.iter().map(|usage| usage.client_id).collect();
        let taken = Taken { from: activity, clients };
        let ops = changed.into_iter().filter_map(|usage| worth_keeping(context, usage));
        let ops: Vec<_> = ops.map(|usage| codec::put(&usage)).collect();
        if !ops.is_empty() {
            context.store.commit(Change { guards: Vec::new(), ops }).await?;
        }
        taken.written();
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
