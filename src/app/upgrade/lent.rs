//! A store that can be let go of, and taken back: sled is one process's at a time.
//!
//! Nothing that is revoked during an upgrade is lost. Before the store is let go of
//! all changes are in memory here. While it is away changes wait, and are refused (503) if
//! that is long, here and there, but for those of the new process's own start. From its
//! first change on the new process sends every one here, and gives no receipt before it
//! holds here, too: what still runs here is cut by what is revoked there. A process that
//! does not answer is ended by the other one (see `new` and `old`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::heir::Heir;
use super::new::Predecessor;
use super::patience::within;
use crate::store::codec::{CodecError, Record, RecordId};
use crate::store::{
    Change, CommitError, Committed, Effect, Entry, Key, Observer, OpenError, Receipt, Revision,
    Status, Store, StoreError,
};

/// Opens the store again.
pub(in crate::app) type Reopen = dyn Fn() -> Result<Arc<dyn Store>, OpenError> + Send + Sync;

/// Round a store.
pub(in crate::app) struct LentStore {
    at: watch::Sender<At>,
    /// `None` if it can't be handed over.
    reopen: Option<Box<Reopen>>,
    told: Arc<Told>,
    /// Held while it goes or comes: one after the other.
    moves: Mutex<()>,
    /// Whether it is here, for whoever writes beside the requests.
    here: watch::Sender<bool>,
}

#[derive(Clone)]
enum At {
    Here(Arc<dyn Store>),
    /// Somewhere between two processes.
    Away,
    /// With the process that serves now.
    There(Arc<Heir>),
    /// It has not come back for long, and is still asked for.
    Overdue(String),
    /// It came back with what nobody here knows of: never again in this process.
    Lost(String),
}

/// Told of every change, be it of this process or of the next.
struct Told {
    inner: Mutex<Option<Arc<dyn Observer>>>,
    head: AtomicU64,
    before: Option<Arc<Predecessor>>,
}

impl Observer for Told {
    fn committed(&self, change: &Committed) -> usize {
        if let Some(before) = &self.before {
            before.expects(change.revision);
        }
        let inner = self.inner.lock().clone();
        let ended = inner.map_or(0, |inner| inner.committed(change));
        self.head.store(change.revision, Ordering::Release);
        // Last, so that whatever is so there is so here, too.
        if let Some(before) = &self.before {
            before.tell(change);
        }
        ended
    }
}

/// Why a change of the next process could not be taken in.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutOfStep {
    /// Revisions have no gaps.
    #[error("this process knows of revision {known}, and is told of {next}")]
    Gap {
        /// What it knows of.
        known: Revision,
        /// What it is told of.
        next: Revision,
    },
    /// A newer version wrote it.
    #[error(transparent)]
    Unreadable(#[from] CodecError),
}

/// A change waits so long, in tenths of a second, for a store that is away: most are back
/// sooner, and nobody has to ask again.
const WAITS: u32 = 10;

const AWAY: &str = "another process is taking over; ask again in a moment";

impl LentStore {
    /// Round an open store. `before` is the process that still serves by what it was told.
    pub(in crate::app) fn new(
        store: Arc<dyn Store>,
        reopen: Option<Box<Reopen>>,
        before: Option<Arc<Predecessor>>,
    ) -> Self {
        let head = AtomicU64::new(store.status().head);
        LentStore {
            at: watch::Sender::new(At::Here(store)),
            reopen,
            told: Arc::new(Told { inner: Mutex::new(None), head, before }),
            moves: Mutex::default(),
            here: watch::Sender::new(true),
        }
    }

    /// Why it can't be handed over now.
    pub(super) fn why_not(&self) -> Option<String> {
        if self.reopen.is_none() {
            return Some("the store is in memory and would be lost".to_owned());
        }
        if matches!(&*self.at.borrow(), At::Away) {
            return Some("the store is not back yet from an upgrade that failed".to_owned());
        }
        self.status().refusing.map(|why| format!("the store takes no changes: {why}"))
    }

    /// Whether it is here, as it changes.
    pub(in crate::app) fn here(&self) -> watch::Receiver<bool> {
        self.here.subscribe()
    }

    /// Lets go: everything asked before is answered, written, synced, and the lock is
    /// free when this returns. Blocks.
    pub(super) fn let_go(&self) {
        let _moves = self.moves.lock();
        let At::Here(store) = self.at.borrow().clone() else { return };
        self.at.send_replace(At::Away);
        self.here.send_replace(false);
        store.close();
        self.told.head.store(store.status().head, Ordering::Release);
    }

    /// Opens it again, if it is away. Blocks.
    ///
    /// # Errors
    /// What the engine said. If it holds what this process was not told of, it is lost
    /// for good: memory would be older than what was acknowledged.
    pub(in crate::app) fn take_back(&self) -> Result<(), String> {
        let _moves = self.moves.lock();
        let (At::Away | At::Overdue(_), Some(reopen)) = (self.at.borrow().clone(), &self.reopen)
        else {
            return Ok(());
        };
        let store = reopen().map_err(|error| error.to_string())?;
        let (found, known) = (store.status().head, self.told.head.load(Ordering::Acquire));
        if found != known {
            store.close();
            let why = format!(
                "the store is at revision {found}, and this process knows of {known}; restart it"
            );
            self.at.send_replace(At::Lost(why.clone()));
            return Err(why);
        }
        store.observe(Arc::clone(&self.told) as Arc<dyn Observer>);
        self.at.send_replace(At::Here(store));
        self.here.send_replace(true);
        Ok(())
    }

    /// Says why it does not come back.
    pub(super) fn is_overdue(&self, why: String) {
        self.at.send_if_modified(|at| {
            let is_away = matches!(at, At::Away);
            if is_away {
                *at = At::Overdue(why);
            }
            is_away
        });
    }

    /// Whether asking for it again is of any use.
    pub(super) fn is_lost(&self) -> bool {
        matches!(&*self.at.borrow(), At::Lost(_))
    }

    /// It is with the process that serves now.
    pub(super) fn is_with(&self, heir: Arc<Heir>) {
        self.at.send_replace(At::There(heir));
    }

    /// Takes in a change of the next process. Gives how many live things it ended.
    ///
    /// # Errors
    /// When that can't be known: one before it is missing, or a part of it means nothing
    /// to this version. Then nothing was taken in, and nothing after it will be.
    pub(super) fn follow(&self, change: &Committed) -> Result<usize, OutOfStep> {
        let known = self.told.head.load(Ordering::Acquire);
        if change.revision != known + 1 {
            return Err(OutOfStep::Gap { known, next: change.revision });
        }
        for effect in &change.effects {
            match effect {
                Effect::Put(entry) => drop(Record::decode(entry)?),
                Effect::Deleted(key) => drop(RecordId::decode(key)?),
            }
        }
        Ok(self.told.committed(change))
    }

    /// Where it is, after a moment if it is between two processes.
    async fn comes_to(&self) -> At {
        let mut at = self.at.subscribe();
        let now = at.borrow().clone();
        if !matches!(now, At::Away) {
            return now;
        }
        let arrives =
            async { at.wait_for(|at| !matches!(at, At::Away)).await.ok().map(|at| at.clone()) };
        within(WAITS, arrives).await.flatten().unwrap_or(now)
    }

    fn elsewhere(&self) -> StoreError {
        let why = match &*self.at.borrow() {
            At::Overdue(why) | At::Lost(why) => why.clone(),
            _ => AWAY.to_owned(),
        };
        StoreError::Io(why)
    }

    fn store(&self) -> Result<Arc<dyn Store>, StoreError> {
        if let At::Here(store) = &*self.at.borrow() {
            return Ok(Arc::clone(store));
        }
        Err(self.elsewhere())
    }
}

#[async_trait]
impl Store for LentStore {
    fn load(&self, visit: &mut dyn FnMut(Entry)) -> Result<Revision, StoreError> {
        self.store()?.load(visit)
    }

    fn scan(&self, prefix: &Key, visit: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        self.store()?.scan(prefix, visit)
    }

    fn snapshot(&self, visit: &mut dyn FnMut(Entry) -> bool) -> Result<Revision, StoreError> {
        self.store()?.snapshot(visit)
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        *self.told.inner.lock() = Some(observer);
        if let Ok(store) = self.store() {
            store.observe(Arc::clone(&self.told) as Arc<dyn Observer>);
        }
    }

    async fn commit(&self, change: Change) -> Result<Receipt, CommitError> {
        match self.comes_to().await {
            At::Here(store) => {
                let receipt = store.commit(change).await?;
                match &self.told.before {
                    Some(before) => before.applied(receipt).await,
                    None => Ok(receipt),
                }
            }
            At::Away => Err(CommitError::NotDone(AWAY.to_owned())),
            At::There(heir) => heir.commit(change).await,
            At::Overdue(why) | At::Lost(why) => Err(CommitError::NotDone(why)),
        }
    }

    async fn settled(&self) -> Result<(), CommitError> {
        match &self.told.before {
            Some(before) => before.settled().await,
            None => Ok(()),
        }
    }

    /// A store that is away for a moment is no reason not to be ready.
    fn status(&self) -> Status {
        let head = self.told.head.load(Ordering::Acquire);
        match &*self.at.borrow() {
            At::Here(store) => store.status(),
            At::Away | At::There(_) => Status { head, refusing: None },
            At::Overdue(why) | At::Lost(why) => Status { head, refusing: Some(why.clone()) },
        }
    }

    fn close(&self) {
        if let Ok(store) = self.store() {
            store.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::store::MemoryStore;

    fn away() -> Arc<LentStore> {
        let reopen: Box<Reopen> = Box::new(|| Ok(Arc::new(MemoryStore::new()) as Arc<dyn Store>));
        let lent = LentStore::new(Arc::new(MemoryStore::new()), Some(reopen), None);
        lent.let_go();
        Arc::new(lent)
    }

    fn a_change() -> Change {
        Change { guards: Vec::new(), ops: Vec::new() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_waits_for_a_store_that_is_soon_back() {
        let lent = away();
        let changing = Arc::clone(&lent);
        let changed = tokio::spawn(async move { changing.commit(a_change()).await });
        sleep(Duration::from_millis(700)).await;
        assert!(!changed.is_finished());
        lent.take_back().unwrap();
        assert!(changed.await.unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_does_not_wait_for_long() {
        let begun = Instant::now();
        let outcome = away().commit(a_change()).await;
        assert!(matches!(outcome, Err(CommitError::NotDone(_))), "{outcome:?}");
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
}
