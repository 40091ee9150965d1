//! Forgets revocations of tokens that are dead by themselves.

use super::context::Context;
use crate::store::codec::key;
use crate::store::{Change, CommitError, MAX_OPS, Op};

/// Removes all stale revocations, one change's worth after the other. Returns
/// how many. Whoever asks for a token meanwhile waits for microseconds.
///
/// # Errors
/// When the store takes no changes; nothing is lost by trying later.
pub async fn sweep(context: &Context) -> Result<usize, CommitError> {
    let skew = context.minting.load().clock_skew;
    // A revocation is kept a clock skew longer than its token could live.
    let dead = context.now().minus(skew);
    let mut count = 0;
    let mut place = Some(0);
    while let Some(from) = place {
        let (stale, next) = context.memory.revoked.stale_tokens(from, dead, MAX_OPS);
        place = next;
        if stale.is_empty() {
            // Nothing here waits: others get their turn on this thread.
            tokio::task::yield_now().await;
            continue;
        }
        let ops =
            stale.iter().map(|(jti, until)| Op::Delete { key: key::revoked_token(*until, jti) });
        context.store.commit(Change { guards: Vec::new(), ops: ops.collect() }).await?;
        count += stale.len();
    }
    Ok(count)
}
