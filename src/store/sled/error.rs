//! Why a store did not open, in words for people.

use std::io;
use std::path::{Path, PathBuf};

/// Why a store did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Somebody holds it.
    #[error(
        "another process holds the store in {path}. If that is a running gateway, \
         ask it through its admin port; else wait for it to end"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// What it holds is not what was acknowledged.
    #[error(
        "the store in {path} is damaged: {found}. It must not be used as it is, because \
         revoked tokens and credentials could work again. Either restore the whole folder \
         from a backup, and revoke again what was revoked since; or move the folder aside \
         and start anew: new keys are made then, every old token and credential is dead, \
         and credentials must be minted again"
    )]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// A newer Portcullis wrote it.
    #[error(
        "the store in {path} has format {format}, and this Portcullis knows formats up to \
         {known} only: start the newer version that wrote it. To go back to this one, restore \
         a backup that this one made"
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The newest one known.
        known: u32,
    },
    /// There is something where a store was to be made.
    #[error("{path} is not empty: nothing is written over it. Move it aside first")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Something else has its name.
    #[error("{path} is not a folder: name another path for the store, or move that file away")]
    NotAFolder {
        /// What is there.
        path: PathBuf,
    },
    /// The system does not let us write.
    #[error(
        "the store in {path} can't be written ({error}): give the gateway's user write \
         permission to the folder and all in it, on a filesystem that isn't read-only"
    )]
    NotWritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The disk is full.
    #[error("no space is left for the store in {path} ({error}): make room there and try again")]
    NoSpace {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Anything else that failed.
    #[error("the store in {path} can't be opened: {doing}: {error}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

impl OpenError {
    /// Sorts a system error by what a person can do about it.
    pub(super) fn io(path: &Path, doing: &'static str, error: io::Error) -> Self {
        let path = path.to_owned();
        let is = |kinds: &[io::ErrorKind]| kinds.contains(&error.kind());
        if is(&[io::ErrorKind::NotADirectory]) {
            OpenError::NotAFolder { path }
        } else if is(&[io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem]) {
            OpenError::NotWritable { path, error }
        } else if is(&[io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded]) {
            OpenError::NoSpace { path, error }
        } else {
            OpenError::Io { path, doing, error }
        }
    }

    /// Says that something is missing or altered.
    pub(super) fn damaged(path: &Path, found: impl Into<String>) -> Self {
        OpenError::Damaged { path: path.to_owned(), found: found.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_says_where_and_what_to_do() {
        let of = |code: i32| {
            OpenError::io(Path::new("/x/y"), "doing it", io::Error::from_raw_os_error(code))
                .to_string()
        };
        for (code, says) in [
            (13, "write permission"),
            (30, "read-only"),
            (28, "make room"),
            (122, "make room"),
            (20, "not a folder"),
            (5, "doing it"),
        ] {
            assert!(of(code).contains(says) && of(code).contains("/x/y"), "{}", of(code));
        }
        let damaged = OpenError::damaged(Path::new("/x/y"), "2 of 3 are there").to_string();
        for says in ["/x/y", "2 of 3 are there", "backup", "move the folder aside", "minted"] {
            assert!(damaged.contains(says), "{damaged}");
        }
    }
}
