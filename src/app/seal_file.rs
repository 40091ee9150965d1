//! The file whose 32 bytes seal what must not lie at rest in clear.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::domain::{Entropy, EntropyError};

/// The bytes.
pub(super) type Master = Zeroizing<[u8; 32]>;

/// As much of a file as is looked at; what is longer is no key.
const LONGEST: usize = 1024;

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum SealFileError {
    /// The store was sealed with a file that is gone.
    #[error(
        "the key file {0} is missing, but the store was sealed with one. Put it back; without it \
         the signing keys and the hashes of all secrets are of no use"
    )]
    Missing(PathBuf),
    /// It is not 32 bytes in hexadecimal.
    #[error(
        "the key file {0} does not hold 64 hexadecimal digits (32 bytes). Put the right file back; \
         a new store makes its own, and so does: openssl rand -hex 32"
    )]
    Garbage(PathBuf),
    /// The system did not let us.
    #[error("the key file {path} can't be {action}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What we were at.
        action: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// There is no randomness to be had.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}

/// Reads the key file, or makes one with mode 0600 where nothing was sealed yet.
pub(super) fn read_or_make(
    path: &Path,
    is_new: bool,
    entropy: &dyn Entropy,
) -> Result<Master, SealFileError> {
    let fail = |action| move |error| SealFileError::Io { path: path.to_owned(), action, error };
    match File::open(path) {
        Ok(file) => {
            let mode = file.metadata().map_err(fail("read"))?.permissions().mode();
            if mode & 0o077 != 0 {
                tracing::warn!(path = %path.display(), "the key file can be read by others; chmod 600 it");
            }
            let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST));
            let most = u64::try_from(LONGEST).unwrap_or(u64::MAX);
            file.take(most).read_to_end(&mut bytes).map_err(fail("read"))?;
            let text = std::str::from_utf8(&bytes).ok();
            text.and_then(|text| from_hex(text.trim()))
                .ok_or_else(|| SealFileError::Garbage(path.to_owned()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound && is_new => {
            let mut master = Master::new([0; 32]);
            entropy.fill(master.as_mut())?;
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                std::fs::create_dir_all(folder).map_err(fail("made"))?;
            }
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)
                .map_err(fail("made"))?;
            let text: Zeroizing<String> =
                Zeroizing::new(master.iter().map(|byte| format!("{byte:02x}")).collect());
            file.write_all(text.as_bytes()).map_err(fail("written"))?;
            file.write_all(b"\n").map_err(fail("written"))?;
            file.sync_all().map_err(fail("written"))?;
            Ok(master)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(SealFileError::Missing(path.to_owned()))
        }
        Err(error) => Err(fail("read")(error)),
    }
}

fn from_hex(text: &str) -> Option<Master> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut master = Master::new([0; 32]);
    for (byte, digits) in master.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(master)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    #[test]
    fn made_once_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/seal.key");
        assert!(matches!(
            read_or_make(&path, false, &SystemEntropy),
            Err(SealFileError::Missing(_))
        ));
        let made = read_or_make(&path, true, &SystemEntropy).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(*read_or_make(&path, false, &SystemEntropy).unwrap(), *made);
        let raw = [0xff_u8; 32];
        for garbage in [&b"zz"[..], &raw, &[b'0'; 65], &[b'0'; 5000], b""] {
            std::fs::write(&path, garbage).unwrap();
            let fault = read_or_make(&path, true, &SystemEntropy).unwrap_err();
            assert!(matches!(fault, SealFileError::Garbage(_)), "{fault}");
            assert!(fault.to_string().contains("64 hexadecimal digits"), "{fault}");
        }
    }
}
