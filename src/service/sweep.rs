//! Forgets revocations of tokens that are dead by themselves, and for good: time
//! never again goes behind what was forgotten.

use std::time::Duration;

use super::context::Context;
use super::packed::packed_tokens;
use crate::domain::UnixTime;
use crate::store::codec::{self, key};
use crate::store::{Change, CommitError, MAX_OPS, Op};

/// How far the clock may go back before it is taken for wrong. Revocations are kept
/// this much longer than their tokens could live.
pub(super) const IN_HAND: Duration = Duration::from_secs(24 * 3600);

/// The record of the time up to which revocations were forgotten.
const SWEPT: &str = "swept-until";

/// Packs that go in one change.
const PACKS: usize = 64;

/// Removes up to one change's worth of stale revocations, whole hours only. Returns
/// how many.
///
/// # Errors
/// When the store takes no changes; nothing is lost by trying later.
pub async fn sweep(ctx: &Context) -> Result<usize, CommitError> {
    let skew = ctx.minting.load().clock_skew;
    // A revocation is kept a clock skew longer than its token could live.
    let hour = key::hour_of(ctx.now().minus(skew));
    let end = key::begin_of(hour);
    let packs = ctx.memory.packs.before(hour, PACKS);
    if !packs.is_empty() {
        let tokens = packed_tokens(ctx, packs.clone()).await;
        let tokens = tokens.map_err(|error| CommitError::NotDone(error.to_string()))?;
        let keys = packs.into_iter().map(|(hour, first)| key::packed_tokens(hour, Some(first)));
        remove(ctx, end, keys.map(|key| Op::Delete { key }).collect()).await?;
        // The observer knows of the packs alone.
        for (hour, jti) in &tokens {
            ctx.memory.forget_token(*hour, *jti);
        }
        return Ok(tokens.len());
    }
    let stale = ctx.memory.revoked.stale_tokens(end, MAX_OPS - 1);
    if stale.is_empty() {
        return Ok(0);
    }
    let ops = stale.iter().map(|(jti, until)| Op::Delete { key: key::revoked_token(*until, jti) });
    remove(ctx, end, ops.collect()).await?;
    // Whether or not there was a record: otherwise they would be found again and again.
    for (jti, until) in &stale {
        ctx.memory.forget_token(key::hour_of(*until), *jti);
    }
    Ok(stale.len())
}

/// Deletes, and notes up to where: in one commit, so that there is no moment at which
/// a token is forgotten and time may go back to when it lived.
async fn remove(ctx: &Context, end: UnixTime, mut ops: Vec<Op>) -> Result<(), CommitError> {
    let until = end.minus(IN_HAND);
    if until > ctx.memory.not_before() {
        ops.push(codec::meta(SWEPT, until.as_millis().to_string().as_bytes()));
    }
    ctx.store.commit(Change { guards: Vec::new(), ops }).await.map(|_| ())
}

/// Reads that record. `None` if it is something else.
pub(super) fn swept_until(name: &str, value: &[u8]) -> Option<UnixTime> {
    let text = (name == SWEPT).then(|| std::str::from_utf8(value).ok())??;
    text.parse().ok().map(UnixTime::from_millis)
}
