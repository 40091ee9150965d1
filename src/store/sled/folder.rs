//! The folder of a store: made with care, held by one process at a time.
//!
//! `lock` is held from opening to closing (sled's own lock is let go between its
//! two openings), `witness` says how far the store had come, `sled/` is sled's.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use fs2::FileExt as _;

use super::error::OpenError;

/// A folder that this process holds.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    lock: File,
}

impl Folder {
    /// Makes the folder if need be, for this user alone, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let fail = |doing| move |error| OpenError::io(path, doing, error);
        if path.metadata().is_ok_and(|found| !found.is_dir()) {
            return Err(OpenError::NotAFolder { path: path.to_owned() });
        }
        make_folder(path).map_err(fail("making the folder"))?;
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(fail("opening the file `lock`"))?;
        if let Err(error) = lock.try_lock_exclusive() {
            let held = error.raw_os_error() == fs2::lock_contended_error().raw_os_error();
            return Err(if held {
                OpenError::Locked { path: path.to_owned() }
            } else {
                OpenError::io(path, "locking the file `lock`", error)
            });
        }
        warn_of_network(path);
        Ok(Folder { path: path.to_owned(), lock })
    }

    /// The folder itself.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Where sled's files are.
    pub(super) fn sled(&self) -> PathBuf {
        self.path.join("sled")
    }

    /// sled's main file.
    pub(super) fn data(&self) -> PathBuf {
        self.path.join("sled").join("db")
    }

    /// The witness.
    pub(super) fn witness(&self) -> PathBuf {
        self.path.join("witness")
    }

    /// Makes sled's folder, if it isn't there.
    pub(super) fn make_sled(&self) -> io::Result<()> {
        make_folder(&self.sled())
    }

    /// Syncs the names of all files, so that they are found after a power cut.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        sync_folder(&self.sled())?;
        sync_folder(&self.sled().join("blobs"))?;
        sync_folder(&self.path)
    }

    /// Writes every byte of sled's main file once more, and syncs it. After a sync
    /// that failed or never ended the kernel may show bytes that are not on the
    /// disk, and hold them for clean: a second sync alone would say "done".
    pub(super) fn rewrite_data(&self) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).open(self.data())?;
        let mut buffer = vec![0; 1 << 20];
        let mut at = 0;
        loop {
            let read = file.read_at(&mut buffer, at)?;
            let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
            file.write_all_at(bytes, at)?;
            at += bytes.len() as u64;
        }
        file.sync_all()
    }

    /// Writes and removes a small file, to learn whether the disk takes anything.
    pub(super) fn probe(&self) -> io::Result<()> {
        let path = self.path.join("probe");
        let file = File::create(&path)?;
        let outcome = file.write_all_at(&[1; 1 << 16], 0).and_then(|()| file.sync_all());
        std::fs::remove_file(&path).and(outcome)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing would do, but for a child process forked at this very moment.
        if let Err(error) = fs2::FileExt::unlock(&self.lock) {
            tracing::warn!(%error, path = %self.path.display(), "the store's lock stays");
        }
    }
}

/// Syncs a folder's list of names.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Makes a folder and those above it, readable to nobody else, and syncs their names.
fn make_folder(path: &Path) -> io::Result<()> {
    let missing: Vec<&Path> = path
        .ancestors()
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    for folder in missing {
        sync_folder(folder)?;
        match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent)?,
            Some(_) => sync_folder(Path::new("."))?,
            None => {}
        }
    }
    Ok(())
}

/// Warns where "synced" may not mean what the store relies on.
fn warn_of_network(path: &Path) {
    const NETWORK: [&str; 12] = [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "smbfs",
        "9p",
        "afs",
        "ceph",
        "lustre",
        "glusterfs",
        "fuse.glusterfs",
        "fuse.sshfs",
    ];
    let Ok(device) = path.metadata().map(|found| found.dev()) else { return };
    let Ok(mounts) = std::fs::read_to_string("/proc/mounts") else { return };
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(at), Some(kind)) = (fields.next(), fields.next()) else { continue };
        // Only network mounts are looked at: others may hang or be forbidden.
        if NETWORK.contains(&kind)
            && path.canonicalize().is_ok_and(|full| full.starts_with(at))
            && Path::new(at).metadata().is_ok_and(|mount| mount.dev() == device)
        {
            tracing::warn!(
                path = %path.display(), kind,
                "the store is on a network filesystem: locks and syncs may not hold there, \
                 and acknowledged revocations could be lost; use a local ext4 or xfs"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_for_this_user_alone_and_held_once() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/b");
        let folder = Folder::open(&path).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        folder.make_sled().unwrap();
        assert_eq!(mode(&folder.sled()), 0o700);
        let second = Folder::open(&path).unwrap_err();
        assert!(matches!(second, OpenError::Locked { .. }), "{second}");
        drop(folder);
        Folder::open(&path).unwrap();
    }

    #[test]
    fn refuses_what_is_no_folder_or_can_not_be_made() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for path in [file.clone(), file.join("below")] {
            let error = Folder::open(&path).unwrap_err();
            assert!(matches!(error, OpenError::NotAFolder { .. }), "{error}");
        }
        let error = Folder::open(Path::new("/proc/portcullis/store")).unwrap_err().to_string();
        assert!(error.contains("/proc/portcullis/store"), "{error}");
    }

    #[test]
    fn rewriting_changes_nothing() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(parent.path()).unwrap();
        folder.make_sled().unwrap();
        let bytes: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
        std::fs::write(folder.data(), &bytes).unwrap();
        folder.rewrite_data().unwrap();
        assert_eq!(std::fs::read(folder.data()).unwrap(), bytes);
        folder.probe().unwrap();
    }
}
