//! The engine for one node: sled 0.34.7, fenced. One thread owns all writes and
//! groups them (many `flush_async` at once hang for ever); each group is one batch
//! of at most 256 operations (large ones eat memory), one flush, one fdatasync of
//! our own (sled's flush is none), and one of the witness. At the start sled is
//! opened twice, under `catch_unwind`, and everything in it compared with a digest
//! and the witness: less than was acknowledged never opens.

mod committer;
mod digest;
mod engine;
mod error;
mod folder;
mod quiet;
mod witness;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{
    Change, CommitError, Entry, Key, Observer, Receipt, Revision, Status, Store, StoreError,
};
use committer::{Committer, Health, Request, Shared};
use engine::{Copying, Engine, Ticket};
use folder::Folder;

pub use error::OpenError;

/// How a store is opened.
#[derive(Clone)]
pub struct SledOptions {
    /// The folder; made if it isn't there. It must be on a local filesystem.
    pub path: PathBuf,
    /// How much sled may keep in memory, in bytes. It lets go of pages only once it has
    /// seen 64 of one of 256 kinds: it keeps up to 16,384 pages more, of those that it read
    /// last.
    pub cache_bytes: u64,
    /// After a failure, how long to wait before opening again; doubled each time,
    /// up to 32 times as long.
    pub retry_after: Duration,
    faults: Option<Arc<Faults>>,
}

type Faults = dyn Fn(Step) -> io::Result<()> + Send + Sync;

/// Where a test may make the disk fail.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Before sled is opened.
    Open,
    /// Before a group is written.
    Apply,
    /// Before it is flushed.
    Flush,
    /// Before sled's file is synced.
    Sync,
    /// Before the witness is written and synced.
    Witness,
}

impl SledOptions {
    /// A store in a folder, with a cache of 16 MiB.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        SledOptions {
            path: path.into(),
            cache_bytes: 16 << 20,
            retry_after: Duration::from_secs(1),
            faults: None,
        }
    }

    /// For tests: asked before each step whether it fails, and how.
    #[doc(hidden)]
    #[must_use]
    pub fn with_faults(
        mut self,
        faults: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        self.faults = Some(Arc::new(faults));
        self
    }

    fn step(&self, step: Step) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults(step))
    }
}

impl fmt::Debug for SledOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledOptions")
            .field("path", &self.path)
            .field("cache_bytes", &self.cache_bytes)
            .field("retry_after", &self.retry_after)
            .finish_non_exhaustive()
    }
}

/// A store in a folder of its own. Closes when dropped.
pub struct SledStore {
    shared: Arc<Shared>,
    requests: Mutex<Option<Sender<Request>>>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

impl SledStore {
    /// Opens a store, or makes it where there is none, and compares everything in
    /// it with what was acknowledged. Blocks for about a second a million entries:
    /// not to be called on an async thread.
    ///
    /// # Errors
    /// See [`OpenError`]: each says what was found and what to do.
    pub fn open(options: SledOptions) -> Result<Self, OpenError> {
        Self::open_with(options, &mut |_| ())
    }

    /// As [`SledStore::open`], and shows every entry to `visit` in the same pass, in
    /// the order of keys: [`Store::load`] is not needed then. After an error what was
    /// shown is worth nothing.
    ///
    /// # Errors
    /// As for [`SledStore::open`].
    pub fn open_with(
        options: SledOptions,
        visit: &mut dyn FnMut(Entry),
    ) -> Result<Self, OpenError> {
        let folder = Folder::open(&options.path)?;
        let engine = Engine::open(&folder, &options, false, visit)?;
        let told = engine.digest();
        let shared = Arc::new(Shared {
            engine: Mutex::new(Some(engine)),
            status: Mutex::new(Status { head: told.sequence, refusing: None }),
            observer: Mutex::new(None),
        });
        let (sender, receiver) = channel();
        let path = options.path.clone();
        let committer =
            Committer { shared: shared.clone(), told, health: Health::Good, options, folder };
        let committer = std::thread::Builder::new()
            .name("store-committer".into())
            .spawn(move || committer.run(&receiver))
            .map_err(|error| OpenError::io(&path, "starting its thread", error))?;
        Ok(SledStore {
            shared,
            requests: Mutex::new(Some(sender)),
            committer: Mutex::new(Some(committer)),
        })
    }
}

/// Ends a snapshot, whichever way it ends.
struct EndOfCopy<'s>(&'s Shared, Ticket);

impl Drop for EndOfCopy<'_> {
    fn drop(&mut self) {
        if let Some(engine) = self.0.engine.lock().as_mut() {
            engine.copying.take_if(|it| it.is_of(&self.1));
        }
    }
}

impl SledStore {
    /// Makes a store of entries that another one held as of `revision`, each with the
    /// revision that wrote it. Where this fails, what is in the folder is no store and
    /// may be removed: fill a folder beside, and rename it when this has returned.
    ///
    /// # Errors
    /// When the folder holds a store, an entry is none, or the disk fails.
    pub fn fill(
        options: &SledOptions,
        revision: Revision,
        entries: &mut dyn Iterator<Item = io::Result<Entry>>,
    ) -> Result<(), OpenError> {
        let folder = Folder::open(&options.path)?;
        Engine::open(&folder, options, false, &mut |_| ())?.fill(&folder, revision, entries)
    }
}

#[async_trait]
impl Store for SledStore {
    fn load(&self, visit: &mut dyn FnMut(Entry)) -> Result<Revision, StoreError> {
        // The committer needs the engine too: nothing changes while this reads.
        match &*self.shared.engine.lock() {
            Some(engine) => engine.visit(visit),
            None => {
                let why = self.shared.status.lock().refusing.clone();
                Err(StoreError::Io(why.unwrap_or_default()))
            }
        }
    }

    fn scan(&self, prefix: &Key, visit: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        // The committer waits for the lock: it is let go after each page.
        const PAGE: usize = 512;
        let mut after = None;
        loop {
            let page = match &*self.shared.engine.lock() {
                Some(engine) => engine.page(prefix, after.as_ref(), PAGE)?,
                None => {
                    let why = self.shared.status.lock().refusing.clone();
                    return Err(StoreError::Io(why.unwrap_or_default()));
                }
            };
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.key.clone());
            page.into_iter().for_each(&mut *visit);
        }
    }

    fn snapshot(&self, visit: &mut dyn FnMut(Entry) -> bool) -> Result<Revision, StoreError> {
        // Small, so that a commit never waits long for the lock.
        const PAGE: usize = 128;
        let gone = || {
            let why = self.shared.status.lock().refusing.clone();
            StoreError::Io(why.unwrap_or_default())
        };
        let (revision, ticket) = {
            let mut slot = self.shared.engine.lock();
            let engine = slot.as_mut().ok_or_else(gone)?;
            if engine.copying.is_some() {
                return Err(StoreError::Io("another copy is being made".into()));
            }
            let copying = Copying::of(engine.digest());
            let begun = (copying.revision(), copying.ticket());
            engine.copying = Some(copying);
            begun
        };
        let _end = EndOfCopy(&self.shared, ticket.clone());
        loop {
            let page =
                self.shared.engine.lock().as_mut().ok_or_else(gone)?.copy_page(&ticket, PAGE)?;
            if page.is_empty() {
                return Ok(revision);
            }
            if !page.into_iter().all(&mut *visit) {
                return Err(StoreError::Io("it was stopped".into()));
            }
        }
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        *self.shared.observer.lock() = Some(observer);
    }

    async fn commit(&self, change: Change) -> Result<Receipt, CommitError> {
        let closed = || CommitError::NotDone("it is closed".into());
        let (answer, receipt) = oneshot::channel();
        let sent = match &*self.requests.lock() {
            Some(requests) => requests.send(Request { change, answer }),
            None => return Err(closed()),
        };
        sent.map_err(|_| closed())?;
        receipt.await.unwrap_or_else(|_| Err(CommitError::Unknown("its thread ended".into())))
    }

    fn status(&self) -> Status {
        self.shared.status.lock().clone()
    }

    /// Blocks until what was asked before is answered and the lock is let go.
    fn close(&self) {
        drop(self.requests.lock().take());
        // Held while joining: whoever closes second waits as well.
        let mut committer = self.committer.lock();
        if committer.as_ref().is_some_and(|it| it.thread().id() == std::thread::current().id()) {
            return;
        }
        if committer.take().is_some_and(|committer| committer.join().is_err()) {
            tracing::error!("the store's thread had panicked");
        }
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("status", &self.status()).finish_non_exhaustive()
    }
}
