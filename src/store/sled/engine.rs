//! sled behind its fences: opened twice, compared with what must be in it, and
//! written in one batch, one flush and two syncs for each group of changes.

mod copy;
mod fill;
mod format;
mod group;
mod read;
mod verify;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::digest::{Digest, hash_entry, open_value};
use super::error::OpenError;
use super::folder::Folder;
use super::quiet::quietly;
use super::witness::{Found, Witness};
use super::{SledOptions, Step};
use crate::store::{Entry, Key, Revision};

pub(super) use copy::{Copying, Ticket};
pub(super) use format::FORMAT;
pub(super) use group::{Group, Prepared};
use verify::verify;

/// Given every entry while a store is opened.
pub(super) type Visit<'v> = &'v mut dyn FnMut(Entry);

/// Where the digest lies, apart from all entries.
const DIGEST_KEY: &[u8] = b"d";
/// What the key of every entry begins with.
const ENTRY_PREFIX: u8 = b'e';

/// The most changes in one group: so far may sled be ahead of the witness.
pub(super) const MAX_GROUP: usize = 64;
/// The most ops in one group. With the digest it makes a batch of 256 operations.
pub(super) const MAX_GROUP_OPS: usize = 255;

/// An open sled and what is known about it.
pub(super) struct Engine {
    db: Fenced,
    data: File,
    digest: Digest,
    witness: Witness,
    options: SledOptions,
    /// The format as it is recorded; a new store has none before its first change.
    format: Option<u32>,
    /// A snapshot that is being read.
    pub(super) copying: Option<Copying>,
}

/// A sled whose end is quiet, even where it panics.
pub(super) struct Fenced(Option<::sled::Db>);

impl Fenced {
    /// Does something with sled; its panics and errors become words.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&::sled::Db) -> ::sled::Result<T>,
    ) -> Result<T, Fault> {
        let Some(db) = &self.0 else { return Err(Fault::Panic) };
        match quietly(|| work(db)) {
            Ok(outcome) => outcome.map_err(Fault::Sled),
            Err(_) => Err(Fault::Panic),
        }
    }
}

impl Drop for Fenced {
    fn drop(&mut self) {
        let db = self.0.take();
        if quietly(|| drop(db)).is_err() {
            tracing::warn!("sled panicked while it was closed");
        }
    }
}

/// What sled answers when it fails.
pub(super) enum Fault {
    Sled(::sled::Error),
    Panic,
}

impl Fault {
    /// In words.
    pub(super) fn what(&self) -> String {
        match self {
            Fault::Sled(::sled::Error::Corruption { .. }) => "a checksum is wrong".into(),
            Fault::Sled(error) => error.to_string(),
            Fault::Panic => "sled stopped in the middle of it".into(),
        }
    }

    /// As a reason not to open: a system error if it is one, else damage.
    fn at_open(self, folder: &Folder) -> OpenError {
        const OF_DAMAGE: [io::ErrorKind; 4] = [
            io::ErrorKind::UnexpectedEof,
            io::ErrorKind::NotFound,
            io::ErrorKind::InvalidData,
            io::ErrorKind::InvalidInput,
        ];
        let what = self.what();
        match self {
            Fault::Sled(::sled::Error::Io(error)) if !OF_DAMAGE.contains(&error.kind()) => {
                OpenError::io(folder.path(), "reading sled's files", error)
            }
            Fault::Sled(_) | Fault::Panic => {
                let found = format!("sled's files don't fit together ({what})");
                OpenError::damaged(folder.path(), found)
            }
        }
    }
}

impl Engine {
    /// Opens the store in a folder, or makes it. `after_failure` if a sync may have
    /// failed since the files were last known to be good. `visit` is given every entry
    /// on the way; after an error what it was given is worth nothing.
    pub(super) fn open(
        folder: &Folder,
        options: &SledOptions,
        after_failure: bool,
        visit: Visit<'_>,
    ) -> Result<Self, OpenError> {
        let first = Self::try_open(folder, options, after_failure, visit);
        let fail = |doing| move |error| OpenError::io(folder.path(), doing, error);
        if !matches!(first, Err(OpenError::Damaged { .. })) {
            return first;
        }
        // A crash while the store was made can leave sled's files half done. They
        // hold nothing that was ever acknowledged: the witness says so.
        match Witness::open(&folder.witness()).map_err(fail("reading the witness"))? {
            Found::Witness(witness) if witness.is_pristine() => {}
            Found::Witness(_) | Found::Unreadable | Found::Nothing => return first,
        }
        tracing::warn!(path = %folder.path().display(), "the store was left half made; making it anew");
        std::fs::remove_dir_all(folder.sled()).map_err(fail("removing what was left half made"))?;
        Self::try_open(folder, options, after_failure, visit)
    }

    fn try_open(
        folder: &Folder,
        options: &SledOptions,
        after_failure: bool,
        visit: Visit<'_>,
    ) -> Result<Self, OpenError> {
        let fail = |doing| move |error| OpenError::io(folder.path(), doing, error);
        options.step(Step::Open).map_err(fail("opening sled"))?;
        let mut witness = find_witness(folder)?;
        if !witness.is_pristine() && !folder.data().is_file() {
            let found = "its data file sled/db is missing";
            return Err(OpenError::damaged(folder.path(), found));
        }
        folder.make_sled().map_err(fail("making the folder of sled"))?;
        // The first opening makes sled write a snapshot; at the second it notices
        // damage that the first one passes over.
        let digest = {
            let db = open_sled(folder, options)?;
            // First of all: what a newer version wrote can't be judged here.
            format::read(folder, &db)?;
            read_digest(folder, &db)?
        };
        if after_failure || digest.sequence > witness.digest().sequence {
            folder.rewrite_data().map_err(fail("writing sled's data once more"))?;
        }
        let db = open_sled(folder, options)?;
        let format = format::read(folder, &db)?;
        let reopen = || open_sled(folder, options);
        let db = if witness.is_pristine() {
            // It may be half made and thrown away: nobody may have seen any of it then.
            verify(folder, db, &reopen, witness.digest(), &mut |_| ())?.1
        } else {
            db
        };
        let (digest, db) = verify(folder, db, &reopen, witness.digest(), visit)?;
        let data = OpenOptions::new()
            .read(true)
            .write(true)
            .open(folder.data())
            .map_err(fail("opening sled's data"))?;
        data.sync_all().map_err(fail("syncing sled's data"))?;
        folder.sync_names().map_err(fail("syncing the folder"))?;
        if witness.digest() != digest {
            witness.write(digest).map_err(fail("writing the witness"))?;
        }
        let options = options.clone();
        let mut engine = Engine { db, data, digest, witness, options, format, copying: None };
        engine.migrate(folder)?;
        Ok(engine)
    }

    /// What is in the store now.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// Begins a group of changes.
    pub(super) fn group(&self) -> Group<'_> {
        let batch = ::sled::Batch::default();
        let (held, before) = (HashMap::new(), Vec::new());
        Group { engine: self, held, before, batch, digest: self.digest }
    }

    /// Writes a group; when this returns, it is on the disk for good.
    ///
    /// # Errors
    /// With words for people. The group may be on the disk or not, and the engine
    /// must not be written to again.
    pub(super) fn write(&mut self, group: Prepared) -> Result<(), String> {
        let Prepared { batch, digest, before } = group;
        let io = |doing: &'static str| move |error: io::Error| format!("{doing}: {error}");
        let sled = |doing: &'static str| move |fault: Fault| format!("{doing}: {}", fault.what());
        if let Some(copying) = &mut self.copying {
            copying.keep(before);
        }
        self.options.step(Step::Apply).map_err(io("writing"))?;
        self.db.with(|db| db.apply_batch(batch)).map_err(sled("writing"))?;
        self.options.step(Step::Flush).map_err(io("flushing"))?;
        self.db.with(|db| db.flush()).map_err(sled("flushing"))?;
        // sled's flush is no fsync: without this a power cut loses what it flushed.
        self.options.step(Step::Sync).map_err(io("syncing"))?;
        self.data.sync_data().map_err(io("syncing"))?;
        self.options.step(Step::Witness).map_err(io("writing the witness"))?;
        self.witness.write(digest).map_err(io("writing the witness"))?;
        self.digest = digest;
        self.format = Some(FORMAT);
        Ok(())
    }

    /// Reads what the ledger of a group needs to know of a key. The revision stands
    /// before each value: a map of all keys in memory would cost some 80 bytes a key
    /// and could drift, and the sum needs the old value's hash in any case.
    fn look(&self, key: &Key) -> Result<Option<Held>, String> {
        let raw = raw_key(key);
        let Some(stored) = self.db.with(|db| db.get(&raw)).map_err(|fault| fault.what())? else {
            return Ok(None);
        };
        let Some((revision, _)) = open_value(&stored) else {
            return Err(format!("what lies under {key:?} is too short"));
        };
        let value = stored.get(8..).unwrap_or_default().into();
        Ok(Some(Held { revision, hash: hash_entry(&raw, &stored), value }))
    }
}

/// What lies under a key.
#[derive(Clone)]
struct Held {
    revision: Revision,
    hash: u128,
    value: Arc<[u8]>,
}

fn raw_key(key: &Key) -> Vec<u8> {
    [&[ENTRY_PREFIX], key.0.as_slice()].concat()
}

/// The witness, made first of all if the folder is brand-new.
fn find_witness(folder: &Folder) -> Result<Witness, OpenError> {
    let fail = |doing| move |error| OpenError::io(folder.path(), doing, error);
    let damaged = |found: &str| OpenError::damaged(folder.path(), found);
    let path = folder.witness();
    let open = || Witness::open(&path).map_err(fail("reading the witness"));
    let mut found = open()?;
    if matches!(found, Found::Nothing) {
        if folder.sled().exists() {
            return Err(damaged("its file `witness` is missing"));
        }
        Witness::create(&path).map_err(fail("making the witness"))?;
        found = open()?;
    }
    match found {
        Found::Witness(witness) => Ok(witness),
        Found::Unreadable | Found::Nothing => Err(damaged("its file `witness` can't be read")),
    }
}

/// Opens sled. Its own threads may hold its lock for a moment after it was closed
/// in this process; nobody else does, since this process holds the folder's.
pub(super) fn open_sled(folder: &Folder, options: &SledOptions) -> Result<Fenced, OpenError> {
    let until = Instant::now() + Duration::from_secs(5);
    loop {
        let config =
            || ::sled::Config::new().path(folder.sled()).cache_capacity(options.cache_bytes);
        let fault = match quietly(|| config().open()) {
            Ok(Ok(db)) => return Ok(Fenced(Some(db))),
            Ok(Err(error)) => Fault::Sled(error),
            Err(_) => Fault::Panic,
        };
        if !fault.what().contains("could not acquire lock") {
            return Err(fault.at_open(folder));
        }
        if Instant::now() > until {
            return Err(OpenError::Locked { path: folder.path().to_owned() });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The digest as sled has it; that of an empty store if there is none.
fn read_digest(folder: &Folder, db: &Fenced) -> Result<Digest, OpenError> {
    match db.with(|db| db.get(DIGEST_KEY)).map_err(|fault| fault.at_open(folder))? {
        None => Ok(Digest::default()),
        Some(bytes) => Digest::decode(&bytes)
            .ok_or_else(|| OpenError::damaged(folder.path(), "its digest can't be read")),
    }
}
