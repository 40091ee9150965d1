//! Forgets revocations of tokens that are dead by themselves.

use super::context::Context;
use crate::store::codec::key;
use crate::store::{Change, CommitError, MAX_OPS, Op};

/// Removes up to one change's worth of stale revocations. Returns how many.
///
/// # Errors
/// When the store takes no changes; nothing is lost by trying later.
pub async fn sweep(context: &Context) -> Result<usize, CommitError> {
    let skew = context.minting.load().clock_skew;
    // A revocation is kept a clock skew longer than its token could live.
    let stale = context.memory.revoked.stale_tokens(context.now().minus(skew), MAX_OPS);
    if stale.is_empty() {
        return Ok(0);
    }
    let ops = stale.iter().map(|(jti, until)| Op::Delete { key: key::revoked_token(*until, jti) });
    context.store.commit(Change { guards: Vec::new(), ops: ops.collect() }).await?;
    Ok(stale.len())
}
