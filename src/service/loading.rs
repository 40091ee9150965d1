//! Everything that a store holds -> memory, at a start. Of packed revocations there may
//! be tens of millions: they are gathered and put into the set by a thread beside the
//! one that reads, each part of the set at a time, since memory is slower than the disk
//! for whoever writes all over it. Nothing is left out: a start waits for that thread.

use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use super::apply::{LoadError, Memory};
use crate::domain::UnixTime;
use crate::revocation::Gathered;
use crate::store::Entry;
use crate::store::codec::{CodecError, Record, key};

/// What a start has read and memory may not know of yet.
pub(super) struct Loading<'scope, 'env> {
    memory: &'scope Memory,
    scope: &'scope Scope<'scope, 'env>,
    gathered: Gathered,
    /// There is none before there is much to do.
    helper: Option<Helper<'scope>>,
}

/// Puts into the set what was gathered.
struct Helper<'scope> {
    full: SyncSender<Gathered>,
    /// What may be filled again.
    empty: Receiver<Gathered>,
    thread: ScopedJoinHandle<'scope, ()>,
}

/// Does `work`, which learns; when this returns, memory knows of all of it.
///
/// # Errors
/// Those of `work`, and when not all of it came into memory.
pub(super) fn loading<T, E: From<LoadError>>(
    memory: &Memory,
    work: impl FnOnce(&mut Loading<'_, '_>) -> Result<T, E>,
) -> Result<T, E> {
    std::thread::scope(|scope| {
        let mut loading = Loading { memory, scope, gathered: Gathered::default(), helper: None };
        let done = work(&mut loading);
        let finished = loading.finish();
        let done = done?;
        finished?;
        Ok(done)
    })
}

impl<'scope> Loading<'scope, '_> {
    /// Takes one entry in.
    pub(super) fn learn(&mut self, entry: &Entry) -> Result<(), CodecError> {
        match Record::decode(entry)? {
            Record::RevokedTokens(pack) => {
                let Loading { memory, gathered, .. } = self;
                memory.learn_pack(&pack, |jti, until| {
                    if !memory.revoked.gather(gathered, jti, until) {
                        memory.keep_token((pack.hour(), jti), until);
                    }
                });
                if self.gathered.is_full() {
                    self.hand_over();
                }
            }
            record => drop(self.memory.learn(record, entry.revision)),
        }
        Ok(())
    }

    fn hand_over(&mut self) {
        if self.helper.is_none() {
            self.helper = Helper::start(self.memory, self.scope);
        }
        let Some(helper) = &self.helper else {
            // There are no more threads to be had.
            return keep(self.memory, &mut self.gathered);
        };
        // Waits until the one before has been put in. If that failed, `finish` tells.
        let _ = helper.full.send(std::mem::take(&mut self.gathered));
        self.gathered = helper.empty.try_recv().unwrap_or_default();
    }

    /// Waits for what was handed over, and puts the rest in.
    fn finish(mut self) -> Result<(), LoadError> {
        if let Some(Helper { full, empty: _, thread }) = self.helper.take() {
            drop(full);
            thread.join().map_err(|_| LoadError::Thread)?;
        }
        keep(self.memory, &mut self.gathered);
        Ok(())
    }
}

impl<'scope> Helper<'scope> {
    fn start(memory: &'scope Memory, scope: &'scope Scope<'scope, '_>) -> Option<Self> {
        let (full, filled) = sync_channel::<Gathered>(0);
        let (emptied, empty) = channel();
        let work = move || {
            for mut gathered in filled {
                keep(memory, &mut gathered);
                // Nobody fills another one, perhaps.
                let _ = emptied.send(gathered);
            }
        };
        let thread = Builder::new().name("store-loader".into()).spawn_scoped(scope, work);
        Some(Helper { full, empty, thread: thread.ok()? })
    }
}

/// Puts into the set what was gathered.
fn keep(memory: &Memory, gathered: &mut Gathered) {
    memory.revoked.revoke_gathered(gathered, |jti, before, until| {
        let place = |end: UnixTime| (key::hour_of(end), jti);
        memory.ledger.put_kept(place(until), Some(before), Some(before.max(until)));
    });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::domain::Jti;
    use crate::store::codec::{RevokedToken, pack};
    use crate::store::{MAX_OPS, Op, Revision};

    const HOURS: i64 = 5;
    const EACH: i64 = 300;

    /// Each token of the first hour is revoked again in the last one.
    fn token(hour: i64, n: i64) -> RevokedToken {
        let name = if hour == HOURS - 1 { n } else { hour * EACH + n };
        RevokedToken {
            jti: Jti::from_bytes(i128::from(name).to_be_bytes()),
            expires_at: UnixTime::from_secs(1_795_316_400 + hour * 3600 + n),
            client_id: None,
            revoked_by: "ada".into(),
            revoked_at: UnixTime::from_secs(1_795_314_000),
            reason: None,
        }
    }

    fn entries() -> Vec<Entry> {
        let mut entries = Vec::new();
        for hour in 0..HOURS {
            let revision = |n: i64| Revision::try_from(1 + hour * EACH + n).unwrap();
            let tokens: Vec<_> = (0..EACH).map(|n| (revision(n), token(hour, n))).collect();
            let mut rest = tokens.as_slice();
            while let Some((taken, Op::Put { key, value })) = pack(rest) {
                entries.push(Entry { key, value, revision: 9_999 });
                rest = &rest[taken..];
            }
        }
        entries
    }

    /// Much at once and by another thread, or one after the other: it is the same.
    #[test]
    fn all_that_is_packed_comes_in() {
        let (loaded, learned) = (Memory::default(), Memory::default());
        let revision = loaded.load_while(|visit| {
            entries().into_iter().for_each(visit);
            Ok::<_, LoadError>(9_999)
        });
        assert_eq!(revision.unwrap(), 9_999);
        for entry in entries() {
            learned.learn(Record::decode(&entry).unwrap(), entry.revision);
        }
        for memory in [&loaded, &learned] {
            let count = usize::try_from((HOURS - 1) * EACH).unwrap();
            assert_eq!(memory.revoked.token_count(), count);
            for (hour, n) in (0..HOURS).flat_map(|hour| (0..EACH).map(move |n| (hour, n))) {
                let RevokedToken { jti, expires_at, .. } = token(hour, n);
                let last = if hour == 0 { token(HOURS - 1, n).expires_at } else { expires_at };
                assert_eq!(memory.revoked.kept_until(jti), Some(last));
                let hours = [key::hour_of(expires_at), key::hour_of(last)];
                let known = memory.ledger.hours_of(jti, last);
                assert!(known.is_superset(&BTreeSet::from(hours)), "{known:?}");
            }
            let all = usize::try_from(HOURS * EACH).unwrap();
            assert_eq!(memory.ledger.older(None, all * 2, true, false).len(), all);
            assert_eq!(memory.packs.before(u32::MAX, MAX_OPS).len(), entries().len());
        }
    }

    /// Less than all is nothing, whichever thread it is that ends.
    #[test]
    fn what_ends_early_is_an_error() {
        let failed = Memory::default().load_while(|visit| {
            entries().into_iter().for_each(visit);
            Err(LoadError::Thread)
        });
        assert!(matches!(failed, Err(LoadError::Thread)), "{failed:?}");
        let mut altered = entries();
        altered[7].value.truncate(9);
        let failed = Memory::default().load_while(|visit| {
            altered.into_iter().for_each(visit);
            Ok::<_, LoadError>(9_999)
        });
        assert!(matches!(failed, Err(LoadError::Codec(_))), "{failed:?}");
    }
}
