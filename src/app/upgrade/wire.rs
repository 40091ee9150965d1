//! What the two processes of an upgrade say to each other, over a Unix socket:
//! frames of a length (four bytes, big-endian) and that much JSON.

use std::io;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::store::{Change, CommitError, Committed, Receipt, Revision};

/// Of the talk. Processes that speak different ones do not follow each other.
pub(super) const SPOKEN: u32 = 2;

/// The largest change is about 4 MiB as JSON.
const LONGEST: usize = 32 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Message {
    /// New: the configuration is good, and what needs no store is there.
    Checked { spoken: u32, pid: u32, version: String },
    /// Old: the store is let go of.
    Free,
    /// New: all is loaded as of a revision, and it could serve.
    Ready { revision: Revision },
    /// Old: serve. Until it is said that this is so, both do.
    Go,
    /// New: connections are accepted, and it is ready; there is no way back.
    Serving,
    /// New: a change is durable.
    Committed(Committed),
    /// Old: it holds here, too, and ended so many live things.
    Applied { revision: Revision, ended: usize },
    /// New: it has taken a new configuration on, and what lost its right by that is cut.
    Reloaded,
    /// Old: a change of its own, such as last uses.
    Commit { id: u64, change: Change },
    /// New: what became of it.
    Answer { id: u64, outcome: Result<Receipt, CommitError> },
    /// Old: drained.
    Done,
}

/// The next message; `None` at the end.
pub(super) async fn read(from: &mut OwnedReadHalf) -> io::Result<Option<Message>> {
    let length = match from.read_u32().await {
        Ok(length) => length as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if length > LONGEST {
        return Err(io::Error::other("a message is too long"));
    }
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes).await?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

/// Writes what comes, until there is no more or all is said.
pub(super) async fn write_all(
    mut to: OwnedWriteHalf,
    mut messages: UnboundedReceiver<Message>,
) -> io::Result<()> {
    while let Some(message) = messages.recv().await {
        let bytes = serde_json::to_vec(&message)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        to.write_all(&length.to_be_bytes()).await?;
        to.write_all(&bytes).await?;
        if matches!(message, Message::Done) {
            break;
        }
    }
    to.shutdown().await
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::store::{Effect, Entry, Key};

    #[tokio::test]
    async fn what_is_said_is_heard() {
        let (here, there) = UnixStream::pair().unwrap();
        let (mut heard, _keep) = here.into_split();
        let (_unused, write) = there.into_split();
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        let writing = tokio::spawn(write_all(write, said));
        let entry = Entry { key: Key(vec![0, 255]), value: vec![7; 100_000], revision: 9 };
        let effects = vec![Effect::Put(entry), Effect::Deleted(Key(vec![1]))];
        let change = Committed { revision: 9, effects };
        say.send(Message::Committed(change.clone())).unwrap();
        say.send(Message::Done).unwrap();
        drop(say);
        let first = read(&mut heard).await.unwrap();
        assert!(matches!(first, Some(Message::Committed(heard)) if heard == change));
        assert!(matches!(read(&mut heard).await.unwrap(), Some(Message::Done)));
        writing.await.unwrap().unwrap();
        drop(_unused);
        assert!(read(&mut heard).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn nonsense_is_an_error_and_takes_no_memory() {
        for nonsense in [&[255u8; 8][..], b"\0\0\0\x02{}", b"\0\0\0\x09{"] {
            let (here, mut there) = UnixStream::pair().unwrap();
            there.write_all(nonsense).await.unwrap();
            drop(there);
            let (mut heard, _keep) = here.into_split();
            assert!(read(&mut heard).await.is_err(), "{nonsense:?}");
        }
    }
}
