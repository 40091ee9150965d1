//! Forgets revocations of tokens that are dead by themselves, and for good: time
//! never again goes behind what was forgotten.

use std::time::Duration;

use super::context::Context;
use super::ledger::no_closed_record;
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

/// Removes all stale revocations, whole hours only, one change's worth after the
/// other. Returns how many. Whoever asks for a token meanwhile waits for microseconds.
///
/// # Errors
/// When the store takes no changes; nothing is lost by trying later.
pub async fn sweep(ctx: &Context) -> Result<usize, CommitError> {
    let skew = ctx.minting.load().clock_skew;
    // A revocation is kept a clock skew longer than its token could live.
    let hour = key::hour_of(ctx.now().minus(skew));
    // First, while it is known which those are.
    sweep_closed(ctx, hour).await?;
    let count = sweep_packs(ctx, hour).await? + sweep_single(ctx, key::begin_of(hour)).await?;
    ctx.memory.ledger.forget_before(hour);
    Ok(count)
}

/// How many streams a revocation closed is of no use when that is forgotten.
async fn sweep_closed(ctx: &Context, hour: u32) -> Result<(), CommitError> {
    for some in ctx.memory.ledger.closed_before(hour).chunks(MAX_OPS) {
        let ops = some.iter().map(|revision| no_closed_record(*revision)).collect();
        ctx.store.commit(Change { guards: Vec::new(), ops }).await?;
    }
    Ok(())
}

async fn sweep_packs(ctx: &Context, hour: u32) -> Result<usize, CommitError> {
    let mut count = 0;
    loop {
        let packs = ctx.memory.packs.before(hour, PACKS);
        if packs.is_empty() {
            return Ok(count);
        }
        let tokens = packed_tokens(ctx, packs.clone()).await;
        let tokens = tokens.map_err(|error| CommitError::NotDone(error.to_string()))?;
        let keys = packs.into_iter().map(|(hour, first)| key::packed_tokens(hour, Some(first)));
        let ops = keys.map(|key| Op::Delete { key }).collect();
        remove(ctx, key::begin_of(hour), ops).await?;
        // The observer knows of the packs alone.
        for (hour, jti) in &tokens {
            ctx.memory.forget_token(*hour, *jti);
        }
        count += tokens.len();
    }
}

async fn sweep_single(ctx: &Context, end: UnixTime) -> Result<usize, CommitError> {
    let (mut count, mut place) = (0, Some(0));
    while let Some(from) = place {
        let (stale, next) = ctx.memory.revoked.stale_tokens(from, end, MAX_OPS - 1);
        place = next;
        if stale.is_empty() {
            // Nothing here waits: others get their turn on this thread.
            tokio::task::yield_now().await;
            continue;
        }
        let key = |(jti, until): &(_, UnixTime)| key::revoked_token(*until, jti);
        let ops = stale.iter().map(|one| Op::Delete { key: key(one) }).collect();
        remove(ctx, end, ops).await?;
        // Whether or not there was a record: otherwise they would be found again and again.
        for (jti, until) in &stale {
            ctx.memory.forget_token(key::hour_of(*until), *jti);
        }
        count += stale.len();
    }
    Ok(count)
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::revocation::CutSlot;
    use crate::service::testing::{SKEW, TestWorld};
    use crate::service::{Actor, TokenRef, revoke_credential, revoke_token};
    use crate::token::{UnverifiedToken, verify};

    /// Runs something on a token, and gives what the token is called.
    async fn run(world: &TestWorld) -> (TokenRef, crate::domain::ClientId, impl Sized) {
        let issued = world.credential("a").await;
        let text = world.token(&issued).expose().to_owned();
        let snapshot = world.ctx.world.load();
        let parsed = UnverifiedToken::parse(&text).unwrap();
        let token =
            verify(parsed, snapshot.keys(), snapshot.expectations(), world.ctx.now()).unwrap();
        let streams = &world.ctx.memory.streams;
        let guard = streams.register(&token, token.expires_at(), Arc::new(CutSlot::default()));
        (TokenRef::by_id(token.jti()), token.client_id(), guard)
    }

    /// A token's revocation goes, and with it all that was written about it.
    #[tokio::test]
    async fn what_a_swept_revocation_closed_is_forgotten_and_the_rest_stays() {
        let world = TestWorld::new();
        world.keep_key().await;
        let by = Actor::gateway();
        let (token, _, _guard) = run(&world).await;
        let (_, client, _guard_too) = run(&world).await;
        let token = revoke_token(&world.ctx, &by, token, Some("r")).await.unwrap();
        let client = revoke_credential(&world.ctx, &by, client, "r").await.unwrap();
        let closed = |world: &TestWorld| {
            let closed = |revision| world.ctx.memory.ledger.closed(revision);
            (closed(token.revision), closed(client.revision))
        };
        assert_eq!(closed(&world), (1, 1));
        sweep(&world.ctx).await.unwrap();
        assert_eq!(closed(&world), (1, 1));
        world.clock.advance(Duration::from_secs(367 * 24 * 3600 + 3600) + SKEW * 2);
        assert_eq!(sweep(&world.ctx).await.unwrap(), 1);
        assert_eq!(closed(&world), (0, 1));
        let again = TestWorld::over(Arc::clone(&world.store));
        assert_eq!(closed(&again), (0, 1));
    }
}
