//! The new process: it waits for the store, and keeps the old one told of every
//! change for as long as that one drains.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::patience::within;
use super::wire::{self, Message, SPOKEN};
use crate::app::aside::Aside;
use crate::app::start::StartError;
use crate::store::{Change, CommitError, Committed, Receipt, Revision, Store};

/// Says who started this process to take over, by its number.
pub(super) const PREDECESSOR: &str = "PORTCULLIS_PREDECESSOR";

/// The old process may take so long to take a change in, in tenths of a second. It does so
/// in memory.
const TAKEN_WITHIN: u32 = 10;

/// As long as [`TAKEN_WITHIN`], and until it is gone if it does not.
const LONG_PATIENCE: Duration = Duration::from_secs(5);

/// The process that is to be followed.
pub struct Predecessor {
    say: UnboundedSender<Message>,
    progress: watch::Sender<Progress>,
    ended: Mutex<HashMap<Revision, usize>>,
    commits: Mutex<Option<UnboundedReceiver<(u64, Change)>>>,
    /// Holds the process, so that its number can't come to mean another one.
    process: OwnedFd,
    /// Not among the requests: where these wait, receipts must not.
    _aside: Aside,
}

/// What the old process has said so far.
#[derive(Clone, Copy, Default)]
struct Progress {
    free: bool,
    go: bool,
    /// It drained, and is about to end by itself.
    done: bool,
    /// Nothing more comes from it.
    gone: bool,
    /// What it was told, or is about to be.
    told: Revision,
    /// What it has taken in.
    applied: Revision,
}

impl Predecessor {
    /// Who started this process to take over, if it was started so: the talk is its
    /// standard input.
    ///
    /// # Errors
    /// When it says so, and it is not so.
    pub fn from_env() -> std::io::Result<Option<Arc<Self>>> {
        let Some(number) = std::env::var_os(PREDECESSOR) else { return Ok(None) };
        let number = number.to_str().and_then(|text| text.parse().ok()).and_then(Pid::from_raw);
        let number = number.ok_or_else(|| std::io::Error::other("it names no process"))?;
        let process = pidfd_open(number, PidfdFlags::empty())?;
        let talk = UnixStream::from(std::io::stdin().as_fd().try_clone_to_owned()?);
        // Fails for what is no such socket.
        talk.peer_addr()?;
        talk.set_nonblocking(true)?;
        let aside = Aside::new()?;
        let handle = aside.handle().clone();
        let _inside = handle.enter();
        let (read, write) = tokio::net::UnixStream::from_std(talk)?.into_split();
        let (say, said) = mpsc::unbounded_channel();
        let (asked, commits) = mpsc::unbounded_channel();
        let predecessor = Arc::new(Predecessor {
            say,
            progress: watch::Sender::default(),
            ended: Mutex::default(),
            commits: Mutex::new(Some(commits)),
            process,
            _aside: aside,
        });
        tokio::spawn(wire::write_all(write, said));
        tokio::spawn(Arc::clone(&predecessor).follow(read, asked));
        tokio::spawn(Arc::clone(&predecessor).keep_in_step());
        Ok(Some(predecessor))
    }

    /// Hears all it has to say, and what that was the end of.
    async fn follow(self: Arc<Self>, from: OwnedReadHalf, asked: UnboundedSender<(u64, Change)>) {
        // A panic is logged where it is; whom nobody hears must not judge.
        let _ = AssertUnwindSafe(self.listen(from, asked)).catch_unwind().await;
        let Progress { go, done, .. } = *self.progress.borrow();
        if go && !done {
            // It may have lost the talk alone, and would go on by what it knows.
            self.end_it("it went without a word");
            self.has_ended().await;
        }
        self.progress.send_modify(|it| it.gone = true);
        self.ended.lock().clear();
    }

    async fn listen(&self, mut from: OwnedReadHalf, asked: UnboundedSender<(u64, Change)>) {
        loop {
            match wire::read(&mut from).await {
                Ok(Some(Message::Free)) => self.progress.send_modify(|it| it.free = true),
                Ok(Some(Message::Go)) => self.progress.send_modify(|it| it.go = true),
                Ok(Some(Message::Done)) => self.progress.send_modify(|it| it.done = true),
                Ok(Some(Message::Applied { revision, ended })) => {
                    self.ended.lock().insert(revision, ended);
                    self.progress.send_modify(|it| it.applied = it.applied.max(revision));
                }
                Ok(Some(Message::Commit { id, change })) => {
                    let _ = asked.send((id, change));
                }
                Ok(None) => break,
                said => {
                    tracing::error!(?said, "the process before does not speak as it should");
                    break;
                }
            }
        }
    }

    /// Ends it if it does not take in what it is told, whoever waits for that or not:
    /// who asked for the change may have left.
    async fn keep_in_step(self: Arc<Self>) {
        let mut progress = self.progress.subscribe();
        loop {
            let late = match progress.wait_for(|it| it.gone || it.told > it.applied).await {
                Ok(it) if !it.gone => it.told,
                _ => return,
            };
            let caught_up = progress.wait_for(|it| it.gone || it.applied >= late);
            if within(TAKEN_WITHIN, caught_up).await.is_none() && self.progress.borrow().go {
                return self.end_it("it did not take a change in");
            }
        }
    }

    /// Waits until it is no more, whoever ends it.
    async fn has_ended(&self) {
        if let Ok(process) = self.process.try_clone() {
            let ended = spawn_blocking(move || {
                let mut ends = [PollFd::new(&process, PollFlags::IN)];
                while poll(&mut ends, None) == Err(Errno::INTR) {}
                ends.iter().any(|end| !end.revents().is_empty())
            });
            if matches!(ended.await, Ok(true)) {
                return;
            }
        }
        // Who can't know gives no receipt.
        std::future::pending().await
    }

    fn end_it(&self, why: &str) {
        match pidfd_send_signal(&self.process, Signal::KILL) {
            Ok(()) => tracing::error!(
                why,
                "the process before was ended: it could have let pass what is revoked"
            ),
            // It has ended: then there is nothing to do.
            Err(Errno::SRCH) => {}
            Err(error) => {
                tracing::error!(
                    why, %error,
                    "the process before can't be ended, and may let pass what is revoked: end it; \
                     until then no change has a receipt"
                );
            }
        }
    }

    /// Says that all is checked, and waits until the store is free.
    pub(in crate::app) async fn ask_for_store(&self) -> Result<(), StartError> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.say(Message::Checked { spoken: SPOKEN, pid: std::process::id(), version });
        self.wait_for(|it| it.free).await
    }

    /// Says that it could serve with the store as of `revision`, and waits for the word.
    pub(in crate::app) async fn ask_to_serve(&self, revision: Revision) -> Result<(), StartError> {
        self.say(Message::Ready { revision });
        tracing::info!(revision, "all is loaded; waiting for the word to serve");
        self.wait_for(|it| it.go).await
    }

    /// Says that it serves: whoever was told to and does not say so is ended by the old one.
    /// Before this nothing is changed here, so that the old one knows all that is in the
    /// store if it has to take it back.
    pub(in crate::app) fn now_serves(&self) {
        self.say(Message::Serving);
    }

    /// Says that there is a new configuration: what runs on a right that it takes away is to
    /// be cut in the old process, too.
    pub(in crate::app) fn has_reloaded(&self) {
        if self.is_there() {
            self.say(Message::Reloaded);
        }
    }

    async fn wait_for(&self, what: impl Fn(&Progress) -> bool) -> Result<(), StartError> {
        let mut progress = self.progress.subscribe();
        match progress.wait_for(|it| what(it) || it.gone).await {
            Ok(it) if what(&it) => Ok(()),
            _ => Err(StartError::GivenUp),
        }
    }

    fn say(&self, message: Message) {
        let _ = self.say.send(message);
    }

    /// Whether it is still there.
    pub(in crate::app) fn is_there(&self) -> bool {
        !self.progress.borrow().gone
    }

    /// A change is durable, and about to be sent: nobody has a receipt of what it did
    /// before it was taken in.
    pub(super) fn expects(&self, revision: Revision) {
        self.progress.send_modify(|it| it.told = revision);
    }

    /// Sends a change that is durable.
    pub(super) fn tell(&self, change: &Committed) {
        if self.is_there() {
            self.say(Message::Committed(change.clone()));
        }
    }

    /// Waits until a change holds in the old process, too, or that one is no more.
    pub(super) async fn applied(&self, receipt: Receipt) -> Result<Receipt, CommitError> {
        let revision = receipt.revision;
        self.holds(revision).await?;
        let ended = self.ended.lock().remove(&revision).unwrap_or(0);
        Ok(Receipt { revision, ended: receipt.ended + ended })
    }

    /// The same, for all changes there are.
    pub(super) async fn settled(&self) -> Result<(), CommitError> {
        let told = self.progress.borrow().told;
        self.holds(told).await
    }

    async fn holds(&self, revision: Revision) -> Result<(), CommitError> {
        let mut progress = self.progress.subscribe();
        let holds = progress.wait_for(|it| it.applied >= revision || it.gone);
        if timeout(LONG_PATIENCE, holds).await.is_err() {
            let why = "the process before did not take it in";
            return Err(CommitError::Unknown(why.to_owned()));
        }
        Ok(())
    }

    /// Makes the changes that the old process has left to make, such as last uses.
    pub(in crate::app) async fn serve_commits(self: Arc<Self>, store: Arc<dyn Store>) {
        let Some(mut commits) = self.commits.lock().take() else { return };
        while let Some((id, change)) = commits.recv().await {
            let (store, this) = (Arc::clone(&store), Arc::clone(&self));
            tokio::spawn(async move {
                let outcome = store.commit(change).await;
                this.say(Message::Answer { id, outcome });
            });
        }
    }
}
