//! Packing old revocations: many to a value, so that a start reads them fast. It
//! happens beside everything else, a commit at a time; each is whole by itself, so it
//! may end anywhere. Memory is not changed by it: what is dead stays so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::context::Context;
use crate::domain::Jti;
use crate::store::codec::{MOST_PACKED, Pack, Packed, Record, RecordId, RevokedToken, key, pack};
use crate::store::{Change, CommitError, Entry, Guard, Key, Op, Revision, Store, StoreError};

/// Fewer than this are not worth a value of their own.
const FEW: usize = 16;
/// When an hour's revocations are taken to be all there, though they fill no value.
const SETTLED: Duration = Duration::from_secs(3600);
/// The most that are read at once: some 10 MB.
const AT_ONCE: usize = 32 * 1024;

/// Where packed revocations lie: by hour and first commit, with the last one.
#[derive(Default)]
pub struct Packs(Mutex<BTreeMap<(u32, Revision), Revision>>);

impl Packs {
    pub(super) fn put(&self, hour: u32, first: Revision, last: Revision) {
        self.0.lock().insert((hour, first), last);
    }

    pub(super) fn forget(&self, hour: u32, first: Revision) {
        self.0.lock().remove(&(hour, first));
    }

    /// Up to `limit` of those of hours before `hour`.
    pub(super) fn before(&self, hour: u32, limit: usize) -> Vec<(u32, Revision)> {
        self.0.lock().range(..(hour, 0)).take(limit).map(|(at, _)| *at).collect()
    }

    /// Those that may hold what a commit revoked.
    fn holding(&self, hour: u32, revision: Revision) -> Vec<(u32, Revision)> {
        let packs = self.0.lock();
        let until = packs.range((hour, 0)..=(hour, revision));
        until.filter(|(_, last)| **last >= revision).map(|(at, _)| *at).collect()
    }
}

/// Why packing stopped. Nothing is lost by trying later.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The store takes no changes.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The store can't be read.
    #[error(transparent)]
    Read(#[from] StoreError),
}

/// Packs what is old enough or fills a value. Returns how many were packed.
///
/// # Errors
/// When the store can't be read or takes no changes.
pub async fn pack_revocations(ctx: &Context) -> Result<usize, PackError> {
    let mut hours: BTreeMap<u32, usize> = BTreeMap::new();
    let counted = reading(ctx, move |store| {
        store.scan(&key::revoked_tokens(None), &mut |entry| {
            if let Ok(RecordId::RevokedToken { hour, .. }) = RecordId::decode(&entry.key) {
                *hours.entry(hour).or_default() += 1;
            }
        })?;
        Ok(hours)
    });
    let mut packed = 0;
    for (hour, count) in counted.await? {
        if count >= FEW {
            packed += pack_hour(ctx, hour).await?;
        }
    }
    Ok(packed)
}

async fn pack_hour(ctx: &Context, hour: u32) -> Result<usize, PackError> {
    let tokens = reading(ctx, move |store| {
        let (mut tokens, mut fault) = (Vec::new(), None);
        store.scan(
            &key::revoked_tokens(Some(hour)),
            &mut |entry| match Record::decode(&entry) {
                Ok(Record::RevokedToken(token)) if tokens.len() < AT_ONCE => {
                    tokens.push((entry.revision, token));
                }
                Ok(_) => {}
                Err(error) => fault = Some(StoreError::Damaged(error.to_string())),
            },
        )?;
        tokens.sort_by_key(|(revision, _)| *revision);
        fault.map_or(Ok(tokens), Err)
    });
    let tokens: Vec<(Revision, RevokedToken)> = tokens.await?;
    let settled = ctx.now().minus(SETTLED);
    let old = tokens.iter().all(|(_, token)| token.revoked_at < settled);
    let (mut rest, mut packed) = (tokens.as_slice(), 0);
    while rest.len() >= MOST_PACKED || (old && rest.len() >= FEW) {
        let Some((taken, put)) = pack(rest) else { break };
        let Some((now, later)) = rest.split_at_checked(taken) else { break };
        let Op::Put { key: at, .. } = &put else { break };
        let mut guards = vec![Guard::Absent(at.clone())];
        let mut ops = vec![put];
        for (revision, token) in now {
            let key = key::revoked_token_in(hour, &token.jti);
            guards.push(Guard::At(key.clone(), *revision));
            ops.push(Op::Delete { key });
        }
        match ctx.store.commit(Change { guards, ops }).await {
            Ok(_) => packed += taken,
            // Swept meanwhile: whatever it is, the next round sees it.
            Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        rest = later;
    }
    Ok(packed)
}

/// The record of a revoked token that may go in `hour`, and the commit that wrote it,
/// packed or not. Where the commit is known it is found at once; else all packs of the
/// hour are read. Blocks.
///
/// # Errors
/// When the store can't be read.
pub(super) fn read_token(
    store: &dyn Store,
    packs: &Packs,
    (hour, jti): (u32, Jti),
    revision: Option<Revision>,
) -> Result<Option<(Revision, RevokedToken)>, StoreError> {
    let mut search = Search { jti, revision, found: None, fault: None };
    store.scan(&key::revoked_token_in(hour, &jti), &mut |entry| search.look(&entry))?;
    for (hour, first) in revision.map(|at| packs.holding(hour, at)).unwrap_or_default() {
        store.scan(&key::packed_tokens(hour, Some(first)), &mut |entry| search.look(&entry))?;
    }
    if search.found.is_none() && search.fault.is_none() {
        // Or it was packed a moment ago, and memory does not know where.
        store.scan(&key::packed_tokens(hour, None), &mut |entry| search.look(&entry))?;
    }
    search.fault.map_or(Ok(search.found), Err)
}

struct Search {
    jti: Jti,
    revision: Option<Revision>,
    found: Option<(Revision, RevokedToken)>,
    fault: Option<StoreError>,
}

impl Search {
    fn look(&mut self, entry: &Entry) {
        if self.found.is_some() || Pack::lacks(entry, self.jti) {
            return;
        }
        let wanted = |at: Revision| self.revision.is_none_or(|revision| revision == at);
        match Record::decode(entry) {
            Ok(Record::RevokedToken(token)) => {
                self.found = Some((entry.revision, token)).filter(|(at, _)| wanted(*at));
            }
            Ok(Record::RevokedTokens(pack)) => {
                let mut those =
                    pack.iter().filter(|one| one.jti == self.jti && wanted(one.revision));
                self.found = those.next().map(|one| (one.revision, one.to_record()));
            }
            Ok(_) => {}
            Err(error) => self.fault = Some(StoreError::Damaged(error.to_string())),
        }
    }
}

/// The tokens that lie in some packs, each with its hour.
pub(super) async fn packed_tokens(
    ctx: &Context,
    packs: Vec<(u32, Revision)>,
) -> Result<Vec<(u32, Jti)>, StoreError> {
    reading(ctx, move |store| {
        let mut tokens = Vec::new();
        for at in packs {
            read_pack(store, at, |one| tokens.push((at.0, one.jti)))?;
        }
        Ok(tokens)
    })
    .await
}

fn read_pack(
    store: &dyn Store,
    (hour, first): (u32, Revision),
    mut visit: impl FnMut(Packed<'_>),
) -> Result<(), StoreError> {
    let at: Key = key::packed_tokens(hour, Some(first));
    let mut fault = None;
    store.scan(&at, &mut |entry| match Record::decode(&entry) {
        Ok(Record::RevokedTokens(pack)) => pack.iter().for_each(&mut visit),
        Ok(_) => {}
        Err(error) => fault = Some(StoreError::Damaged(error.to_string())),
    })?;
    fault.map_or(Ok(()), Err)
}

/// Reads the store where that may block.
async fn reading<T: Send + 'static>(
    ctx: &Context,
    read: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let store = Arc::clone(&ctx.store);
    let done = tokio::task::spawn_blocking(move || read(store.as_ref())).await;
    done.map_err(|error| StoreError::Io(error.to_string()))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Clock;
    use crate::service::testing::{SKEW, TestWorld};
    use crate::service::{
        Actor, Memory, Revocation, TokenRef, list_revocations, revoke_token, sweep,
    };

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn jti(n: u64) -> Jti {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        Jti::from_bytes(bytes)
    }

    async fn revoke(world: &TestWorld, n: u64) -> crate::service::Receipt {
        let actor = Actor::command_line();
        revoke_token(&world.ctx, &actor, TokenRef::by_id(jti(n)), Some("why")).await.unwrap()
    }

    fn records(world: &TestWorld) -> (usize, usize) {
        let count = |prefix: &[u8]| {
            let mut count = 0;
            world.store.scan(&Key(prefix.to_vec()), &mut |_| count += 1).unwrap();
            count
        };
        (count(b"t/"), count(b"p/"))
    }

    fn listed(world: &TestWorld) -> Vec<(Revision, Revocation)> {
        list_revocations(&world.ctx, None, None, 1000).unwrap().0
    }

    #[tokio::test]
    async fn packing_changes_nothing_that_anybody_sees() {
        let world = TestWorld::new();
        let mut receipts = Vec::new();
        for n in 0..300 {
            receipts.push(revoke(&world, n).await);
        }
        let before = listed(&world);
        assert_eq!(before.len(), 300);
        assert_eq!(pack_revocations(&world.ctx).await.unwrap(), 256);
        assert_eq!(records(&world), (44, 2));
        // The rest is packed once nothing more comes to its hour.
        assert_eq!(pack_revocations(&world.ctx).await.unwrap(), 0);
        world.clock.advance(SETTLED + Duration::from_secs(1));
        assert_eq!(pack_revocations(&world.ctx).await.unwrap(), 44);
        assert_eq!(records(&world), (0, 3));
        // As it runs on, and as it starts again.
        let again = TestWorld::over(Arc::clone(&world.store));
        for world in [&world, &again] {
            assert_eq!(listed(world), before);
            assert_eq!(world.ctx.memory.revoked.token_count(), 300);
            for (n, first) in receipts.iter().enumerate() {
                assert!(world.ctx.memory.revoked.is_token_revoked(jti(n as u64)));
                let second = revoke(world, n as u64).await;
                assert!(second.repeated);
                let packs = &world.ctx.memory.packs;
                let until = first.revoked_at.plus(DAY * 367 + SKEW);
                let at = (key::hour_of(until), jti(n as u64));
                for revision in [None, Some(first.revision)] {
                    let read = read_token(&*world.store, packs, at, revision).unwrap();
                    let (revision, token) = read.unwrap();
                    assert_eq!((revision, token.expires_at), (first.revision, until));
                }
                let other = read_token(&*world.store, packs, at, Some(first.revision + 1));
                assert_eq!(other.unwrap(), None);
                assert_eq!(
                    (second.revision, second.revoked_at),
                    (first.revision, first.revoked_at)
                );
            }
        }
    }

    /// Whoever asks in the midst of it is told the same.
    #[tokio::test]
    async fn no_token_works_while_it_is_packed() {
        struct Watch(Arc<Memory>, Mutex<usize>);
        impl crate::store::Observer for Watch {
            fn committed(&self, change: &crate::store::Committed) -> usize {
                let ended = self.0.committed(change);
                for effect in &change.effects {
                    if let crate::store::Effect::Deleted(key) = effect
                        && let Ok(RecordId::RevokedToken { jti, .. }) = RecordId::decode(key)
                    {
                        assert!(self.0.revoked.is_token_revoked(jti));
                        *self.1.lock() += 1;
                    }
                }
                ended
            }
        }
        let world = TestWorld::new();
        for n in 0..130 {
            revoke(&world, n).await;
        }
        let watch = Arc::new(Watch(Arc::clone(&world.ctx.memory), Mutex::new(0)));
        world.store.observe(Arc::clone(&watch) as Arc<_>);
        assert_eq!(pack_revocations(&world.ctx).await.unwrap(), 128);
        assert_eq!(*watch.1.lock(), 128);
    }

    #[tokio::test]
    async fn what_is_over_is_swept_packed_or_not_and_time_never_goes_behind_it() {
        let world = TestWorld::new();
        for n in 0..150 {
            revoke(&world, n).await;
        }
        pack_revocations(&world.ctx).await.unwrap();
        assert_eq!(records(&world), (22, 1));
        assert_eq!(sweep(&world.ctx).await.unwrap(), 0);
        let begin = world.clock.now();
        world.clock.advance(DAY * 367 + SKEW * 2 + Duration::from_secs(3600));
        let mut swept = 0;
        loop {
            match sweep(&world.ctx).await.unwrap() {
                0 => break,
                count => swept += count,
            }
        }
        assert_eq!((swept, records(&world)), (150, (0, 0)));
        assert_eq!(world.ctx.memory.revoked.token_count(), 0);
        assert!(listed(&world).is_empty());
        // The clock goes back: what was forgotten must not count again, now or after
        // a restart.
        let after = world.clock.now();
        world.clock.set(begin);
        let again = TestWorld::over(Arc::clone(&world.store));
        again.clock.set(begin);
        for world in [&world, &again] {
            let now = world.ctx.now();
            assert!(now > begin.plus(DAY * 366) && now < after, "{now}");
            assert_eq!(now, world.ctx.memory.not_before());
        }
        // A little back is nothing: a day is kept in hand.
        world.clock.set(after.minus(DAY));
        assert_eq!(world.ctx.now(), after.minus(DAY));
    }
}
