//! Reading what was revoked, the newest first: tokens and cut-offs. Memory keeps
//! the order and the store the rest, so a page is read from the store.

use std::collections::BTreeSet;

use super::context::Context;
use super::ledger::{First, What};
use super::packed::{Packs, read_token};
use crate::domain::{Action, Jti};
use crate::store::codec::{CutOff, Record, RevokedToken, key};
use crate::store::{Key, Revision, Store, StoreError};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevocationKind {
    /// Single tokens.
    Token,
    /// Cut-offs.
    CutOff,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// A token.
    Token(RevokedToken),
    /// Everything issued to somebody before a time.
    CutOff(CutOff),
}

/// Some of them, each with its commit, and where to go on, if there are more.
pub type RevocationPage = (Vec<(Revision, Revocation)>, Option<Revision>);

/// Up to `limit` from before `before`, and where to go on, if there are more.
/// Blocks while it reads.
///
/// # Errors
/// When the store can't be read.
pub fn list_revocations(
    ctx: &Context,
    kind: Option<RevocationKind>,
    before: Option<Revision>,
    limit: usize,
) -> Result<RevocationPage, StoreError> {
    let wants = |one| kind.is_none_or(|kind| kind == one);
    let (tokens, cut_offs) = (wants(RevocationKind::Token), wants(RevocationKind::CutOff));
    let (mut found, mut before) = (Vec::new(), before);
    loop {
        let commits = ctx.memory.ledger.older(before, limit.saturating_add(1), tokens, cut_offs);
        let all = commits.len() <= limit;
        for (revision, what) in commits {
            if found.len() == limit {
                return Ok((found, before));
            }
            before = Some(revision);
            // One that was swept meanwhile is no more; a cut-off that was moved
            // meanwhile stands further up.
            found.extend(read(ctx, revision, &what)?.map(|revoked| (revision, revoked)));
        }
        if all {
            return Ok((found, None));
        }
    }
}

/// What a commit revoked, unless that has gone or moved.
fn read(ctx: &Context, revision: Revision, what: &What) -> Result<Option<Revocation>, StoreError> {
    let store = &*ctx.store;
    match what {
        What::CutOff(subject) => {
            let found = entry(store, &key::cut_off(subject))?.filter(|(_, at)| *at == revision);
            Ok(found.and_then(|(record, _)| match record {
                Record::CutOff(cut) => Some(Revocation::CutOff(cut)),
                _ => None,
            }))
        }
        What::Token => {
            let Some((Record::Audit(_, line), _)) = entry(store, &key::audit(revision))? else {
                return Ok(None);
            };
            let jti = Some(&line.target).filter(|_| line.action == Action::TokenRevoked);
            let Some(jti) = jti.and_then(|target| Jti::parse(target)) else { return Ok(None) };
            let hours = hours_of(ctx, jti);
            let found = tokens(store, &ctx.memory.packs, jti, &hours, Some(revision))?;
            Ok(found.into_iter().next().map(|(_, token)| Revocation::Token(token)))
        }
    }
}

/// The first revocation of a token, as the store has it; `None` if it is not
/// revoked, or no more. Reads on a thread of its own.
///
/// # Errors
/// When the store can't be read.
pub(super) async fn first_of_token(ctx: &Context, jti: Jti) -> Result<Option<First>, StoreError> {
    let (store, memory, hours) = (ctx.store.clone(), ctx.memory.clone(), hours_of(ctx, jti));
    let read = move || tokens(&*store, &memory.packs, jti, &hours, None);
    let read = tokio::task::spawn_blocking(read).await;
    let records = read.map_err(|error| StoreError::Io(error.to_string()))??;
    let firsts =
        records.into_iter().map(|(revision, token)| First { revision, at: token.revoked_at });
    Ok(firsts.min_by_key(|first| first.revision))
}

/// The hours under which records of a token may lie; none if it is not revoked.
fn hours_of(ctx: &Context, jti: Jti) -> BTreeSet<u32> {
    let until = ctx.memory.revoked.kept_until(jti);
    until.map(|until| ctx.memory.ledger.hours_of(jti, until)).unwrap_or_default()
}

/// The records of a token under some hours, or that of one commit.
fn tokens(
    store: &dyn Store,
    packs: &Packs,
    jti: Jti,
    hours: &BTreeSet<u32>,
    revision: Option<Revision>,
) -> Result<Vec<(Revision, RevokedToken)>, StoreError> {
    let read = |hour: &u32| read_token(store, packs, (*hour, jti), revision).transpose();
    hours.iter().filter_map(read).collect()
}

/// What lies under a key, and who wrote it.
fn entry(store: &dyn Store, wanted: &Key) -> Result<Option<(Record, Revision)>, StoreError> {
    let mut found = None;
    // A cut-off's name may begin with another's: only the very key counts.
    store.scan(wanted, &mut |entry| {
        if entry.key == *wanted {
            found = Some(entry);
        }
    })?;
    let Some(entry) = found else { return Ok(None) };
    let record = Record::decode(&entry);
    let record = record.map_err(|error| StoreError::Damaged(error.to_string()))?;
    Ok(Some((record, entry.revision)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Changes, UnixTime};
    use crate::service::actor::Actor;
    use crate::service::change::written;
    use crate::service::testing::{TestWorld, start};
    use crate::service::{TokenRef, revoke_token, sweep};
    use crate::store::codec::{self, AtRest};
    use crate::store::{Guard, Store};

    /// As if somebody had decided before memory knew of the others.
    async fn revoke_blindly(world: &TestWorld, jti: Jti, until: UnixTime) -> Revision {
        let at = world.ctx.now();
        let record = RevokedToken {
            jti,
            expires_at: until,
            client_id: None,
            revoked_by: "ada".into(),
            revoked_at: at,
            reason: None,
        };
        let (guard, op) = (Guard::Absent(record.key()), codec::put(&record));
        let (actor, action, target) =
            (Actor::command_line(), Action::TokenRevoked, jti.to_string());
        let change = written(guard, op, &actor, at, action, target, None, Changes::new());
        world.store.commit(change).await.unwrap().revision
    }

    #[tokio::test]
    async fn two_at_once_and_the_first_receipt_stands() {
        let world = TestWorld::new();
        let jti = Jti::from_random([5; 16]);
        let hours = |n: u64| start().plus(std::time::Duration::from_secs(3600 * n));
        let mut revisions = Vec::new();
        for until in [30, 50, 40] {
            revisions.push(revoke_blindly(&world, jti, hours(until)).await);
        }
        let restarted = TestWorld::over(world.store.clone());
        for world in [&world, &restarted] {
            let actor = Actor::command_line();
            let again = revoke_token(&world.ctx, &actor, TokenRef::by_id(jti), None).await.unwrap();
            assert!(again.repeated);
            assert_eq!((again.revision, again.revoked_at), (revisions[0], start()));
            let listed = list_revocations(&world.ctx, None, None, 9).unwrap().0;
            assert!(listed.iter().map(|(revision, _)| revision).eq(revisions.iter().rev()));
        }
        let after_all = TestWorld::over(world.store.clone());
        after_all.clock.advance(std::time::Duration::from_secs(60 * 3600));
        assert_eq!(sweep(&after_all.ctx).await, Ok(1), "what stands the longest says when");
        assert_eq!(first_of_token(&after_all.ctx, jti).await.unwrap(), None);
        assert!(!after_all.ctx.memory.revoked.is_token_revoked(jti));
    }

    #[tokio::test]
    async fn pages_over_many_hours_are_in_order() {
        let world = TestWorld::new();
        let mut revisions = Vec::new();
        for n in 0..60_u8 {
            let until = start().plus(std::time::Duration::from_secs(3600 * u64::from(n % 7)));
            revisions.push(revoke_blindly(&world, Jti::from_random([n; 16]), until).await);
        }
        revisions.reverse();
        for limit in [1, 7, 59, 60, 61] {
            let (mut found, mut before) = (Vec::new(), None);
            loop {
                let (page, next) = list_revocations(&world.ctx, None, before, limit).unwrap();
                assert!(page.len() == limit || next.is_none());
                found.extend(page.into_iter().map(|(revision, _)| revision));
                before = next;
                if before.is_none() {
                    break;
                }
            }
            assert_eq!(found, revisions, "{limit}");
        }
    }
}
