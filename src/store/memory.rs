//! An engine that forgets when it ends: for tests and trials. It means the same
//! as the durable ones, answers at once, and can be told to fail.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::plan::{Held, Refusal, plan};
use super::{
    Change, CommitError, Committed, Effect, Entry, Key, Observer, Receipt, Revision, Status, Store,
    StoreError,
};

/// A store in memory.
#[derive(Default)]
pub struct MemoryStore {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: BTreeMap<Key, (Vec<u8>, Revision)>,
    head: Revision,
    observer: Option<Arc<dyn Observer>>,
    faults: VecDeque<Fault>,
    closed: bool,
}

enum Fault {
    Refuse(CommitError),
    LoseAnswer,
    Hang,
}

impl MemoryStore {
    /// Makes an empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next commit fail with `error`, without anything happening; may be
    /// called several times, for the commits to come.
    pub fn fail_next(&self, error: CommitError) {
        self.inner.lock().faults.push_back(Fault::Refuse(error));
    }

    /// Puts an entry in past all rules, and nobody hears of it: for tests of what
    /// finds such a thing.
    #[doc(hidden)]
    pub fn forge(&self, entry: Entry) {
        self.inner.lock().entries.insert(entry.key, (entry.value, entry.revision));
    }

    /// Makes the next commit hang, without anything happening.
    pub fn hang_next(&self) {
        self.inner.lock().faults.push_back(Fault::Hang);
    }

    /// Whether the next commit is to hang; the one after it is not.
    fn hangs(&self) -> bool {
        let faults = &mut self.inner.lock().faults;
        let hangs = matches!(faults.front(), Some(Fault::Hang));
        if hangs {
            faults.pop_front();
        }
        hangs
    }

    /// Makes the next commit happen, and the observer hear of it, but its answer
    /// be [`CommitError::Unknown`].
    pub fn lose_next_answer(&self) {
        self.inner.lock().faults.push_back(Fault::LoseAnswer);
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("head", &self.inner.lock().head).finish()
    }
}

impl Inner {
    fn commit(&mut self, change: Change) -> Result<Receipt, CommitError> {
        if self.closed {
            return Err(CommitError::NotDone("it is closed".into()));
        }
        let lost = match self.faults.pop_front() {
            Some(Fault::Refuse(error)) => return Err(error),
            Some(Fault::LoseAnswer) => true,
            Some(Fault::Hang) | None => false,
        };
        let revision = self.head + 1;
        let held = |key: &Key| {
            let found = self.entries.get(key);
            Ok::<_, Infallible>(found.map(|(value, revision)| Held {
                revision: *revision,
                value: value.as_slice().into(),
            }))
        };
        let effects = plan(change, revision, held).map_err(|refusal| match refusal {
            Refusal::Conflict => CommitError::Conflict,
            Refusal::Invalid(why) => CommitError::NotDone(why),
            Refusal::Read(never) => match never {},
        })?;
        for effect in &effects {
            match effect {
                Effect::Put(entry) => {
                    self.entries.insert(entry.key.clone(), (entry.value.clone(), revision));
                }
                Effect::Deleted(key) => {
                    self.entries.remove(key);
                }
            }
        }
        self.head = revision;
        // Under the lock, so that revisions are told in their order.
        let committed = Committed { revision, effects };
        let ended = self.observer.as_ref().map_or(0, |observer| observer.committed(&committed));
        if lost {
            return Err(CommitError::Unknown("the answer was lost".into()));
        }
        Ok(Receipt { revision, ended })
    }
}

#[async_trait]
impl Store for MemoryStore {
    fn load(&self, visit: &mut dyn FnMut(Entry)) -> Result<Revision, StoreError> {
        let inner = self.inner.lock();
        for (key, (value, revision)) in &inner.entries {
            visit(Entry { key: key.clone(), value: value.clone(), revision: *revision });
        }
        Ok(inner.head)
    }

    fn scan(&self, prefix: &Key, visit: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        let inner = self.inner.lock();
        let from = inner.entries.range(prefix.clone()..);
        for (key, (value, revision)) in from.take_while(|(key, _)| key.0.starts_with(&prefix.0)) {
            visit(Entry { key: key.clone(), value: value.clone(), revision: *revision });
        }
        Ok(())
    }

    fn snapshot(&self, visit: &mut dyn FnMut(Entry) -> bool) -> Result<Revision, StoreError> {
        let (entries, head) = {
            let inner = self.inner.lock();
            (inner.entries.clone(), inner.head)
        };
        for (key, (value, revision)) in entries {
            if !visit(Entry { key, value, revision }) {
                return Err(StoreError::Io("it was stopped".into()));
            }
        }
        Ok(head)
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.inner.lock().observer = Some(observer);
    }

    async fn commit(&self, change: Change) -> Result<Receipt, CommitError> {
        if self.hangs() {
            std::future::pending::<()>().await;
        }
        self.inner.lock().commit(change)
    }

    fn status(&self) -> Status {
        let inner = self.inner.lock();
        let refusing = inner.closed.then(|| "it is closed".to_owned());
        Status { head: inner.head, refusing }
    }

    fn close(&self) {
        self.inner.lock().closed = true;
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{self, Harness, block_on, put};
    use super::*;

    struct Forgetful;

    impl Harness for Forgetful {
        fn open(&self) -> Arc<dyn Store> {
            Arc::new(MemoryStore::new())
        }
    }

    conformance::suite!(Forgetful);

    #[test]
    fn fails_when_told_to() {
        let store = MemoryStore::new();
        store.fail_next(CommitError::NotDone("full".into()));
        store.fail_next(CommitError::Unknown("broken".into()));
        store.lose_next_answer();
        let mut answers = (0..4).map(|_| block_on(store.commit(put("k", "v"))));
        assert_eq!(answers.next().unwrap(), Err(CommitError::NotDone("full".into())));
        assert_eq!(answers.next().unwrap(), Err(CommitError::Unknown("broken".into())));
        assert_eq!(store.status().head, 0);
        assert!(matches!(answers.next().unwrap(), Err(CommitError::Unknown(_))));
        assert_eq!(store.status().head, 1);
        assert_eq!(answers.next().unwrap().unwrap().revision, 2);
    }
}
