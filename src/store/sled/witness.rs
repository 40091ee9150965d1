//! The witness: a file beside sled's that says how far the store had come. It is
//! written after sled and before any answer, so sled's own digest may be ahead of
//! it by the one group a crash cut short, and never behind.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};

use super::digest::{DIGEST_BYTES, Digest, first_bytes};
use super::folder::sync_folder;

/// Two slots, each on its own page: a torn write leaves the other one whole.
const SLOT_BYTES: u64 = 4096;
const SLOTS: [u64; 2] = [0, 1];
const MAGIC: &[u8; 8] = b"PCWITN01";
const RECORD_BYTES: usize = MAGIC.len() + DIGEST_BYTES + 16;

/// The open file and what it says.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
    digest: Digest,
    next_slot: u64,
    pristine: bool,
}

/// What is found where a witness should be.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Unreadable,
    Witness(Witness),
}

/// What a slot holds.
enum Slot {
    Empty,
    Holds(Digest),
    Broken,
}

impl Witness {
    /// Opens the file; one slot that reads is enough.
    pub(super) fn open(path: &Path) -> io::Result<Found> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let mut newest: Option<(Digest, u64)> = None;
        let mut others_empty = true;
        for slot in SLOTS {
            match read_slot(&file, slot)? {
                Slot::Holds(digest) => {
                    others_empty &= newest.is_none();
                    if newest.is_none_or(|(best, _)| digest.sequence > best.sequence) {
                        newest = Some((digest, slot));
                    }
                }
                Slot::Broken => others_empty = false,
                Slot::Empty => {}
            }
        }
        let Some((digest, slot)) = newest else { return Ok(Found::Unreadable) };
        let pristine = digest == Digest::default() && others_empty;
        Ok(Found::Witness(Witness { file, digest, next_slot: 1 - slot, pristine }))
    }

    /// Makes the file of a store in which nothing ever happened. It appears whole.
    pub(super) fn create(path: &Path) -> io::Result<()> {
        let draft = path.with_extension("new");
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&draft)?;
        file.set_len(2 * SLOT_BYTES)?;
        file.write_all_at(&encode(&Digest::default()), 0)?;
        file.sync_all()?;
        std::fs::rename(&draft, path)?;
        path.parent().map_or(Ok(()), sync_folder)
    }

    /// What it says.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// True if nothing was ever acknowledged: it says "nothing", and never said more.
    pub(super) fn is_pristine(&self) -> bool {
        self.pristine
    }

    /// Makes it say `digest`, for good.
    pub(super) fn write(&mut self, digest: Digest) -> io::Result<()> {
        self.file.write_all_at(&encode(&digest), self.next_slot * SLOT_BYTES)?;
        self.file.sync_data()?;
        self.digest = digest;
        self.next_slot = 1 - self.next_slot;
        self.pristine = false;
        Ok(())
    }
}

fn read_slot(file: &File, slot: u64) -> io::Result<Slot> {
    let mut bytes = [0; RECORD_BYTES];
    match file.read_exact_at(&mut bytes, slot * SLOT_BYTES) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Slot::Broken),
        Err(error) => return Err(error),
    }
    if bytes.iter().all(|byte| *byte == 0) {
        return Ok(Slot::Empty);
    }
    let held = bytes
        .strip_prefix(MAGIC)
        .and_then(|rest| rest.split_at_checked(DIGEST_BYTES))
        .and_then(|(body, sum)| (checksum(body) == *sum).then(|| Digest::decode(body))?);
    Ok(held.map_or(Slot::Broken, Slot::Holds))
}

fn encode(digest: &Digest) -> Vec<u8> {
    let body = digest.encode();
    [MAGIC.as_slice(), &body, &checksum(&body)].concat()
}

fn checksum(body: &[u8]) -> [u8; 16] {
    first_bytes(digest(&SHA256, body).as_ref()).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(sequence: u64) -> Digest {
        Digest { sequence, count: sequence, sum: u128::from(sequence) }
    }

    fn open(path: &Path) -> Witness {
        match Witness::open(path).unwrap() {
            Found::Witness(witness) => witness,
            Found::Nothing | Found::Unreadable => panic!("no witness"),
        }
    }

    #[test]
    fn keeps_the_newest_and_survives_a_torn_slot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        assert!(matches!(Witness::open(&path).unwrap(), Found::Nothing));
        Witness::create(&path).unwrap();
        assert!(open(&path).is_pristine());
        for sequence in 1..6 {
            let mut witness = open(&path);
            witness.write(at(sequence)).unwrap();
            assert_eq!(open(&path).digest(), at(sequence));
            assert!(!open(&path).is_pristine());
        }
        // The fifth write went to the second slot.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"torn", SLOT_BYTES + 20).unwrap();
        assert_eq!(open(&path).digest(), at(4));
        file.write_all_at(b"torn", 20).unwrap();
        assert!(matches!(Witness::open(&path).unwrap(), Found::Unreadable));
        file.set_len(0).unwrap();
        assert!(matches!(Witness::open(&path).unwrap(), Found::Unreadable));
    }

    #[test]
    fn is_not_pristine_beside_a_broken_slot() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness");
        Witness::create(&path).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.write_all_at(b"x", SLOT_BYTES + 20).unwrap();
        assert!(!open(&path).is_pristine());
    }
}
