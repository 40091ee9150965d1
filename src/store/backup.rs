//! A backup in one file: everything as of one revision, revisions and all, with a
//! checksum over the whole. What lies sealed in the store lies sealed here; without
//! the key file it is of no use.
//!
//! First a line of words, then a line of JSON, then the entries: length of key and
//! value, revision, key, value. A length of 0xFFFF is the end: revision, count,
//! SHA-256 of all before it.

use std::io::{self, Read};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use super::{Entry, Key, MAX_KEY_BYTES, Revision, Store, StoreError};
use crate::domain::UnixTime;

const MAGIC: &[u8] = b"portcullis backup 1\n";
const END: u16 = u16::MAX;
/// Longer than any value: what claims more is no backup.
const MAX_VALUE: usize = 64 * 1024;
const MAX_HEADER: usize = 4096;
/// What a writer is given at once.
const CHUNK: usize = 64 * 1024;

/// What a backup says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The version of the gateway that made it.
    pub version: String,
    /// When it was begun.
    pub made_at: UnixTime,
    /// By whom.
    pub made_by: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderV1 {
    version: String,
    made_at: i64,
    made_by: String,
}

/// What a whole backup holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// What it says of itself.
    pub header: Header,
    /// The revision that it shows.
    pub revision: Revision,
    /// How many entries it holds.
    pub entries: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// Writes a backup of `store` while commits go on; `write` is given one piece after
/// the other and says whether to go on. Blocks.
///
/// # Errors
/// When the store can't be read, or `write` stops it: what was written is no backup.
pub fn write(
    store: &dyn Store,
    header: &Header,
    mut write: impl FnMut(Vec<u8>) -> bool,
) -> Result<Revision, StoreError> {
    let Header { version, made_at, made_by } = header.clone();
    let told = HeaderV1 { version, made_at: made_at.as_millis(), made_by };
    let told = serde_json::to_vec(&told).map_err(|error| StoreError::Io(error.to_string()))?;
    let mut sum = Context::new(&SHA256);
    let mut piece = [MAGIC, told.as_slice(), b"\n"].concat();
    let mut entries = 0u64;
    let revision = store.snapshot(&mut |entry| {
        let (key, value) = (&entry.key.0, &entry.value);
        piece.extend_from_slice(&u16::try_from(key.len()).unwrap_or(END - 1).to_be_bytes());
        piece.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        piece.extend_from_slice(&entry.revision.to_be_bytes());
        piece.extend_from_slice(key);
        piece.extend_from_slice(value);
        entries += 1;
        if piece.len() < CHUNK {
            return true;
        }
        sum.update(&piece);
        write(std::mem::take(&mut piece))
    })?;
    piece.extend_from_slice(&END.to_be_bytes());
    piece.extend_from_slice(&revision.to_be_bytes());
    piece.extend_from_slice(&entries.to_be_bytes());
    sum.update(&piece);
    piece.extend_from_slice(sum.finish().as_ref());
    if write(piece) { Ok(revision) } else { Err(StoreError::Io("it was stopped".into())) }
}

/// A backup that is being read. It counts only once [`Reader::contents`] said so.
pub struct Reader<R> {
    source: R,
    sum: Option<Context>,
    header: Header,
    entries: u64,
    bytes: u64,
    end: Option<Revision>,
}

fn no_backup(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("it is no whole backup: {what}"))
}

impl<R: Read> Reader<R> {
    /// Begins to read.
    ///
    /// # Errors
    /// When it can't be read, or is no backup.
    pub fn new(source: R) -> io::Result<Self> {
        let header =
            Header { version: String::new(), made_at: UnixTime::MAX, made_by: String::new() };
        let sum = Some(Context::new(&SHA256));
        let mut reader = Reader { source, sum, header, entries: 0, bytes: 0, end: None };
        let mut magic = [0; MAGIC.len()];
        reader.fill(&mut magic).map_err(|_| no_backup("it does not begin like one"))?;
        if magic != MAGIC {
            let newer = magic.starts_with(b"portcullis backup ");
            return Err(no_backup(if newer {
                "a newer version made it; use that one"
            } else {
                "it does not begin like one"
            }));
        }
        let mut line = Vec::new();
        loop {
            let mut byte = [0];
            reader.fill(&mut byte)?;
            match byte {
                [b'\n'] => break,
                [byte] if line.len() < MAX_HEADER => line.push(byte),
                _ => return Err(no_backup("its first lines are too long")),
            }
        }
        let told: HeaderV1 =
            serde_json::from_slice(&line).map_err(|_| no_backup("its header can't be read"))?;
        let HeaderV1 { version, made_at, made_by } = told;
        reader.header = Header { version, made_at: UnixTime::from_millis(made_at), made_by };
        Ok(reader)
    }

    fn fill(&mut self, into: &mut [u8]) -> io::Result<()> {
        self.source.read_exact(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => no_backup("it is cut short"),
            _ => error,
        })?;
        self.bytes += into.len() as u64;
        if let Some(sum) = &mut self.sum {
            sum.update(into);
        }
        Ok(())
    }

    fn number<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn next_entry(&mut self) -> io::Result<Option<Entry>> {
        if self.end.is_some() {
            return Ok(None);
        }
        let key = u16::from_be_bytes(self.number()?);
        if key == END {
            let revision = Revision::from_be_bytes(self.number()?);
            if u64::from_be_bytes(self.number()?) != self.entries {
                return Err(no_backup("entries are missing"));
            }
            let sum = self.sum.take().map(Context::finish);
            let mut told = [0; 32];
            self.fill(&mut told)?;
            if sum.is_none_or(|sum| sum.as_ref() != told) {
                return Err(no_backup("its checksum is wrong"));
            }
            if self.source.read(&mut [0])? != 0 {
                return Err(no_backup("something follows its end"));
            }
            self.end = Some(revision);
            return Ok(None);
        }
        let value = u32::from_be_bytes(self.number()?) as usize;
        let revision = Revision::from_be_bytes(self.number()?);
        if usize::from(key) > MAX_KEY_BYTES || value > MAX_VALUE {
            return Err(no_backup("an entry is too long"));
        }
        let (mut key, mut bytes) = (vec![0; usize::from(key)], vec![0; value]);
        self.fill(&mut key)?;
        self.fill(&mut bytes)?;
        self.entries += 1;
        Ok(Some(Entry { key: Key(key), value: bytes, revision }))
    }

    /// Reads what is left, and says what it held.
    ///
    /// # Errors
    /// When it can't be read, or is not as it was written.
    pub fn contents(mut self) -> io::Result<Contents> {
        while self.next_entry()?.is_some() {}
        let Some(revision) = self.end else { return Err(no_backup("it has no end")) };
        let (header, entries, bytes) = (self.header, self.entries, self.bytes);
        Ok(Contents { header, revision, entries, bytes })
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{commit, put};
    use crate::store::{Change, MAX_OPS, MemoryStore, Op};

    fn backup() -> (Vec<u8>, Header) {
        let store = MemoryStore::new();
        for round in 0..20 {
            let ops = (0..MAX_OPS)
                .map(|n| Op::Put { key: Key(format!("{round}/{n}").into()), value: vec![b'v'; n] });
            commit(&store, Change { guards: Vec::new(), ops: ops.collect() }).unwrap();
        }
        commit(&store, put("0/0", "again")).unwrap();
        let header = Header {
            version: "1".into(),
            made_at: UnixTime::from_secs(1_795_314_000),
            made_by: "ada".into(),
        };
        let mut file = Vec::new();
        let went = write(&store, &header, |piece| {
            file.extend(piece);
            true
        });
        assert_eq!(went.unwrap(), 21);
        (file, header)
    }

    #[test]
    fn what_is_written_is_read() {
        let (file, header) = backup();
        let contents = Reader::new(file.as_slice()).unwrap().contents().unwrap();
        let (entries, bytes) = (20 * MAX_OPS as u64, file.len() as u64);
        assert_eq!(contents, Contents { header, revision: 21, entries, bytes });
        let first = Reader::new(file.as_slice()).unwrap().next().unwrap().unwrap();
        assert_eq!((first.key, first.revision), (Key(b"0/0".to_vec()), 21));
        let stopped = write(&MemoryStore::new(), &contents.header, |_| false);
        assert!(stopped.is_err());
    }

    #[test]
    fn what_is_cut_or_altered_is_no_backup() {
        let (file, _) = backup();
        let read = |bytes: &[u8]| Reader::new(bytes).and_then(Reader::contents);
        for end in (0..file.len()).step_by(997).chain(file.len() - 50..file.len()) {
            assert!(read(&file[..end]).is_err(), "{end}");
        }
        for at in (0..file.len()).step_by(499).chain(file.len() - 60..file.len()) {
            let mut file = file.clone();
            file[at] ^= 4;
            assert!(read(&file).is_err(), "{at}");
        }
        assert!(read(&[file.as_slice(), b"x"].concat()).is_err());
        let words = read(b"portcullis backup 2\n{}").unwrap_err().to_string();
        assert!(words.contains("newer version"), "{words}");
    }
}
