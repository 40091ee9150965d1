//! A store copied into a file without a server, and brought back from one.

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::seal_file::SealFileError;
use super::start::{Means, StartError};
use super::state::{Opened, context, open_sled, read_master};
use crate::config::{Config, Engine, Store as StoreConfig};
use crate::service::{
    Actor, ChainReport, ChangeError, Fenced, LoadError, Memory, begin_backup, fence, verify_audit,
};
use crate::store::backup::{self, Contents, Reader};
use crate::store::{OpenError, SledOptions, SledStore, Store, StoreError};

/// Why there is no backup, or no store from one. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// As for starting.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store can't be read.
    #[error(transparent)]
    Read(#[from] StoreError),
    /// It could not be noted, or not be fenced.
    #[error("it could not be written into the store: {0}")]
    Change(#[from] ChangeError),
    /// There is nothing.
    #[error("there is no store in {0}: nothing to back up")]
    NoStore(PathBuf),
    /// It lies in memory.
    #[error(
        "the store is in memory (store.engine): it can be backed up while the server runs, \
             and not be restored"
    )]
    InMemory,
    /// The place is taken.
    #[error("{0} is there already and not empty: move it aside first")]
    Taken(PathBuf),
    /// A file can't be had.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody changed the trail.
    #[error(
        "the audit trail in the backup is broken at revision {revision}: {what}. It is not \
             restored: take another backup"
    )]
    Trail {
        /// Where.
        revision: u64,
        /// What is wrong.
        what: String,
    },
}

impl From<OpenError> for BackupError {
    fn from(error: OpenError) -> Self {
        BackupError::Start(error.into())
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> BackupError {
    move |error| BackupError::File { path: path.to_owned(), error }
}

/// A file that appears under its name only once it is whole and on the disk.
pub struct NewFile {
    path: PathBuf,
    draft: PathBuf,
    file: File,
}

impl NewFile {
    /// Begins one, readable to nobody else. A file that is there is never touched.
    ///
    /// # Errors
    /// When there is one of that name, or the system refuses.
    pub fn begin(path: &Path) -> Result<Self, BackupError> {
        if path.exists() {
            return Err(BackupError::Taken(path.to_owned()));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let draft = path.with_file_name(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&draft);
        let file = file.map_err(at(&draft))?;
        Ok(NewFile { path: path.to_owned(), draft, file })
    }

    /// Where a piece goes.
    pub fn file(&mut self) -> &mut File {
        &mut self.file
    }

    /// Reads it back, and lets it appear if it is whole.
    ///
    /// # Errors
    /// When it is not whole, or the disk fails.
    pub fn finish(self) -> Result<Contents, BackupError> {
        let done = || {
            self.file.sync_all()?;
            let contents = Reader::new(BufReader::new(File::open(&self.draft)?))?.contents()?;
            // Not `rename`, which would replace one that came meanwhile.
            std::fs::hard_link(&self.draft, &self.path)?;
            std::fs::remove_file(&self.draft)?;
            sync_parent(&self.path)?;
            Ok(contents)
        };
        let contents: io::Result<Contents> = done();
        if contents.is_err() {
            let _ = std::fs::remove_file(&self.draft);
        }
        contents.map_err(at(&self.path))
    }
}

fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// Copies the configured store, which no server may hold, into a file.
///
/// # Errors
/// See [`BackupError`]; one that holds [`OpenError::Locked`] if a server has it.
pub async fn back_up(config: Config, means: Means, to: &Path) -> Result<Contents, BackupError> {
    let StoreConfig { engine, path, .. } = config.store;
    if engine != Engine::Sled {
        return Err(BackupError::InMemory);
    }
    if !["witness", "sled"].iter().any(|name| path.join(name).exists()) {
        return Err(BackupError::NoStore(path));
    }
    let store = SledStore::open(SledOptions::new(path))?;
    let mut file = NewFile::begin(to)?;
    let header = begin_backup(&store, &Actor::command_line(), means.clock.now()).await?;
    let mut failed = None;
    let written = backup::write(&store, &header, |piece| {
        failed = file.file().write_all(&piece).err();
        failed.is_none()
    });
    store.close();
    if let Some(error) = failed {
        return Err(at(to)(error));
    }
    written?;
    file.finish()
}

/// What was brought back.
#[derive(Debug)]
pub struct Restored {
    /// What the backup held.
    pub copy: Contents,
    /// What was done to it before it may be used.
    pub fenced: Fenced,
    /// How many entries of the audit trail were checked.
    pub audit_entries: u64,
}

/// Makes the configured store, which must not be there yet, of a backup. It appears
/// whole: a crash on the way leaves a folder beside it that may be removed.
/// `vouched`: see [`fence`].
///
/// # Errors
/// See [`BackupError`]; then there is no store.
pub async fn restore(
    config: Config,
    means: Means,
    from: &Path,
    vouched: bool,
) -> Result<Restored, BackupError> {
    let Config { store: wanted, oauth, roles, routes, server, .. } = config;
    if wanted.engine != Engine::Sled {
        return Err(BackupError::InMemory);
    }
    let path = std::path::absolute(&wanted.path).map_err(at(&wanted.path))?;
    make_room(&path)?;
    let open = || File::open(from).map(BufReader::new).and_then(Reader::new).map_err(at(from));
    let copy = open()?.contents().map_err(at(from))?;
    if !wanted.key_file.exists() {
        return Err(StartError::from(SealFileError::Missing(wanted.key_file)).into());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(parent).map_err(at(parent))?;
    let place = tempfile::Builder::new().prefix(".restoring-").tempdir_in(parent);
    let place = place.map_err(at(parent))?;
    let options = SledOptions::new(place.path());
    let mut entries = open()?;
    SledStore::fill(&options, copy.revision, &mut entries)?;
    let memory = Arc::new(Memory::default());
    let (store, revision) = open_sled(&options, &memory)?;
    if revision != copy.revision {
        let what = format!("revision {revision} came of {}", copy.revision);
        return Err(StoreError::Damaged(what).into());
    }
    let master = read_master(&wanted, means.entropy.as_ref())?;
    let key_file = wanted.key_file.display().to_string();
    let opened = Opened { store: Arc::clone(&store), memory, master, key_file };
    // Opens what is sealed: another key file than the backup's does not.
    let ctx = context(opened, (&oauth, &server.limits), roles, routes, means.clock, means.entropy)
        .await?;
    let ChainReport { entries: audit_entries, first_broken } = verify_audit(&ctx)?;
    if let Some(broken) = first_broken {
        return Err(BackupError::Trail { revision: broken.revision, what: broken.what });
    }
    let fenced = fence(&ctx, &Actor::command_line(), &copy, vouched).await?;
    store.close();
    // And once more from the disk, as a server will: nothing may be missing.
    let last = Memory::default();
    let (store, _) = open_sled(&options, &last)?;
    store.close();
    // Kept first: what has its new name must not be removed with the old one.
    let made = place.keep();
    std::fs::rename(&made, &path).map_err(at(&path))?;
    sync_parent(&path).map_err(at(&path))?;
    Ok(Restored { copy, fenced, audit_entries })
}

/// Whether nothing lies where the store is to be. An empty folder does no harm, nor
/// does the lock that a start left behind which found nothing.
fn make_room(path: &Path) -> Result<(), BackupError> {
    let names = match path.read_dir() {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at(path)(error)),
    };
    for name in names {
        let name = name.map_err(at(path))?;
        let empty = name.metadata().is_ok_and(|found| found.is_file() && found.len() == 0);
        if name.file_name() != "lock" || !empty {
            return Err(BackupError::Taken(path.to_owned()));
        }
        std::fs::remove_file(name.path()).map_err(at(path))?;
    }
    Ok(())
}

impl From<LoadError> for BackupError {
    fn from(error: LoadError) -> Self {
        BackupError::Start(error.into())
    }
}
