//! What must last: keys and values under one ordered revision.
//!
//! [`Store`] is the only door to durable state, with an engine for one node
//! (`sled`) and one for tests and trials (`memory`), held to one suite
//! (`conformance`). Engines know bytes; [`codec`] knows what they mean. The
//! data plane never calls a store: it reads what an [`Observer`] was told.
//! Changes have a form for the talk between two processes of one gateway, too.

pub mod backup;
pub mod chain;
pub mod codec;
#[cfg(test)]
pub(crate) mod conformance;
mod memory;
mod plan;
mod sled;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use memory::MemoryStore;
#[doc(hidden)]
pub use sled::Step;
pub use sled::{OpenError, SledOptions, SledStore};

/// The count of commits so far. Every commit takes the next one.
pub type Revision = u64;

/// Where a value lies. Keys sort by their bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Key(pub Vec<u8>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// One thing a change does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// Writes a value, whether or not there was one.
    Put {
        /// Where.
        key: Key,
        /// What.
        value: Vec<u8>,
    },
    /// Writes a value under `prefix` followed by the commit's revision in eight
    /// big-endian bytes: how audit entries commit with what they describe. The
    /// engine adds a link to the one before, see [`chain`], and keeps the head of
    /// the chain under the bare prefix. One change appends at most once under one
    /// prefix.
    Append {
        /// The key but for its last eight bytes.
        prefix: Key,
        /// What.
        value: Vec<u8>,
    },
    /// Removes a value; nothing happens where there is none.
    Delete {
        /// Where.
        key: Key,
    },
}

/// What must be so for a change to happen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Guard {
    /// Nothing lies under the key.
    Absent(Key),
    /// What lies under the key was written by this revision.
    At(Key, Revision),
}

/// All or nothing: the guards hold and every op happens, or none does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What must be so.
    pub guards: Vec<Guard>,
    /// What happens, in this order. At most [`MAX_OPS`].
    pub ops: Vec<Op>,
}

/// The most ops one change may hold: large sled batches eat memory for good. As many
/// as it takes to put [`codec::MOST_PACKED`] records away in one.
pub const MAX_OPS: usize = 160;

/// The most bytes of key and value together. Above it sled could move pages into
/// files of their own, which it never syncs.
pub const MAX_ENTRY_BYTES: usize = 6 * 1024;

/// The most bytes of a key, for the same reason.
pub const MAX_KEY_BYTES: usize = 256;

/// A value as it lies in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Where.
    pub key: Key,
    /// What.
    pub value: Vec<u8>,
    /// The commit that wrote it.
    pub revision: Revision,
}

/// One step of a committed change, with its final key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// A value was written.
    Put(Entry),
    /// A value was removed.
    Deleted(Key),
}

/// A change that is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Its place in the order.
    pub revision: Revision,
    /// What it did.
    pub effects: Vec<Effect>,
}

/// Told of every committed change, in the order of revisions, by one thread,
/// after it is durable and before the one who asked for it is answered.
pub trait Observer: Send + Sync {
    /// Brings memory up to date. Returns how many live things (streams,
    /// requests in flight) the change ended. Must not block and must not
    /// call the store.
    fn committed(&self, change: &Committed) -> usize;
}

/// The proof of a commit: it is durable, and it holds for the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Its place in the order.
    pub revision: Revision,
    /// How many live things it ended.
    pub ended: usize,
}

/// Why there is no receipt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum CommitError {
    /// A guard did not hold. Nothing happened; look again and decide anew.
    #[error("somebody else changed it first")]
    Conflict,
    /// Nothing happened, and nothing will.
    #[error("the store took no change: {0}")]
    NotDone(String),
    /// It may have happened or may still happen; asking again is safe.
    #[error("the store did not say whether the change happened: {0}")]
    Unknown(String),
}

/// Why a store could not be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something is missing or altered. Starting with less would bring
    /// revoked things back, so nobody may.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// The medium failed.
    #[error("the store can't be read: {0}")]
    Io(String),
}

/// How the store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The newest revision.
    pub head: Revision,
    /// `None` if changes are taken, else why they are not.
    pub refusing: Option<String>,
}

/// A place where changes last. Every engine passes the suite in `conformance`.
#[async_trait]
pub trait Store: Send + Sync {
    /// Visits every entry, in the order of keys, as of one revision, and
    /// returns it. To be called before the first commit.
    ///
    /// # Errors
    /// When anything can't be read, or is not what was written.
    fn load(&self, visit: &mut dyn FnMut(Entry)) -> Result<Revision, StoreError>;

    /// Visits what lies under keys that begin with `prefix`, in the order of keys.
    /// Commits may come between: what they write behind the place that was reached
    /// is seen, what they write before it is not. Blocks; not for async threads.
    ///
    /// # Errors
    /// When anything can't be read.
    fn scan(&self, prefix: &Key, visit: &mut dyn FnMut(Entry)) -> Result<(), StoreError>;

    /// Visits every entry as of one revision, in the order of keys, while commits go
    /// on, and returns that revision. One at a time. Blocks; not for async threads.
    /// `visit` says whether to go on.
    ///
    /// # Errors
    /// When anything can't be read or is not what was written, when another one is
    /// under way, or when it was stopped.
    fn snapshot(&self, visit: &mut dyn FnMut(Entry) -> bool) -> Result<Revision, StoreError>;

    /// Sets who is told of changes from now on. To be called once, after
    /// [`Store::load`] and before the first commit.
    fn observe(&self, observer: Arc<dyn Observer>);

    /// Makes a change. Returns when it is durable and the observer has seen it.
    /// Dropping the future does not take the change back.
    ///
    /// # Errors
    /// See [`CommitError`]; on all but [`CommitError::Unknown`] nothing happened.
    async fn commit(&self, change: Change) -> Result<Receipt, CommitError>;

    /// Returns when every change that an observer here was told of holds wherever
    /// requests are judged: for receipts of what others changed.
    ///
    /// # Errors
    /// When it can't be known.
    async fn settled(&self) -> Result<(), CommitError> {
        Ok(())
    }

    /// How the store is, from memory.
    fn status(&self) -> Status;

    /// Ends the engine: waits for changes under way, refuses new ones, and
    /// lets go of files and locks.
    fn close(&self);
}
