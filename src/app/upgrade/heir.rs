//! The new process, as the old one knows it: what it commits is taken in here, in its
//! order, before it may give a receipt.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use rustix::process::{Signal, pidfd_send_signal};
use tokio::net::unix::OwnedReadHalf;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::timeout;

use super::lent::LentStore;
use super::wire::{self, Message};
use crate::service::{Context, keys};
use crate::store::{Change, CommitError, Receipt};

/// How long the last word may take to be said.
const LAST_WORD: Duration = Duration::from_millis(500);

/// The process that takes over, as the old one knows it.
pub(in crate::app) struct Heir {
    say: UnboundedSender<Message>,
    answers: Mutex<HashMap<u64, oneshot::Sender<Result<Receipt, CommitError>>>>,
    next: AtomicU64,
    gone: watch::Sender<bool>,
    /// How often it has read its configuration again.
    reloads: watch::Sender<u64>,
    has_gone_over: AtomicBool,
    writing: Mutex<Option<JoinHandle<std::io::Result<()>>>>,
    listening: Mutex<Option<AbortHandle>>,
    /// Once it serves.
    process: Mutex<Option<OwnedFd>>,
}

/// A talk that comes to nothing, unless it is taken out: what is left of the new
/// process hears the end of it, and ends.
pub(super) struct Talking(Option<Arc<Heir>>);

impl Talking {
    pub(super) fn with(heir: &Arc<Heir>) -> Self {
        Talking(Some(Arc::clone(heir)))
    }

    /// It came to something.
    pub(super) fn succeeds(mut self) {
        self.0 = None;
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        if let Some(heir) = self.0.take() {
            heir.hang_up();
        }
    }
}

impl Heir {
    /// Follows it from now on: what it commits is taken in at once. Its other words
    /// come through the channel.
    pub(super) fn over(
        talk: UnixStream,
        lent: Arc<LentStore>,
        context: Arc<Context>,
        aside: &Handle,
    ) -> std::io::Result<(Arc<Self>, UnboundedReceiver<Message>)> {
        // Not among the requests: where these wait, receipts must not.
        let _inside = aside.enter();
        let (read, write) = tokio::net::UnixStream::from_std(talk)?.into_split();
        let (say, said) = mpsc::unbounded_channel();
        let (step, steps) = mpsc::unbounded_channel();
        let heir = Arc::new(Heir {
            say,
            answers: Mutex::default(),
            next: AtomicU64::new(0),
            gone: watch::Sender::new(false),
            reloads: watch::Sender::default(),
            has_gone_over: AtomicBool::new(false),
            writing: Mutex::new(Some(tokio::spawn(wire::write_all(write, said)))),
            listening: Mutex::default(),
            process: Mutex::default(),
        });
        let listening = tokio::spawn(Arc::clone(&heir).listen(read, step, lent, context));
        *heir.listening.lock() = Some(listening.abort_handle());
        Ok((heir, steps))
    }

    async fn listen(
        self: Arc<Self>,
        mut from: OwnedReadHalf,
        step: UnboundedSender<Message>,
        lent: Arc<LentStore>,
        context: Arc<Context>,
    ) {
        // However this ends, a panic included: who does not follow must not judge.
        let _gone = Gone(&self.gone);
        loop {
            match wire::read(&mut from).await {
                Ok(Some(Message::Committed(change))) => {
                    let ended = match lent.follow(&change) {
                        Ok(ended) => ended,
                        Err(error) if self.has_gone_over.load(Ordering::Acquire) => {
                            // No word of it: nobody gets a receipt before this one is gone.
                            tracing::error!(%error, "what the new process changed can't be followed");
                            break;
                        }
                        // Nothing will drain here: this is behind the revision that comes
                        // with `Ready`.
                        Err(error) => {
                            tracing::warn!(%error, "what the new process changed is not known here");
                            0
                        }
                    };
                    // A key that was made there signs there as soon as this is said.
                    keys::refresh(&context);
                    self.say(Message::Applied { revision: change.revision, ended });
                }
                Ok(Some(Message::Answer { id, outcome })) => {
                    if let Some(asked) = self.answers.lock().remove(&id) {
                        let _ = asked.send(outcome);
                    }
                }
                Ok(Some(Message::Reloaded)) => self.reloads.send_modify(|times| *times += 1),
                Ok(Some(message)) => {
                    let _ = step.send(message);
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "the new process does not speak as it should");
                    break;
                }
            }
        }
        self.answers.lock().clear();
    }

    pub(super) fn say(&self, message: Message) {
        let _ = self.say.send(message);
    }

    fn hang_up(&self) {
        if let Some(listening) = self.listening.lock().take() {
            listening.abort();
        }
        if let Some(writing) = self.writing.lock().take() {
            writing.abort();
        }
    }

    /// Tells it to serve: from now on one of the two ends over whatever can't be followed.
    pub(super) fn go(&self) {
        self.has_gone_over.store(true, Ordering::Release);
        self.say(Message::Go);
    }

    /// It serves now.
    pub(super) fn serves(&self, process: Option<OwnedFd>) {
        *self.process.lock() = process;
    }

    /// Has it read its configuration again. False if it can't be told.
    fn reload(&self) -> bool {
        let process = self.process.lock();
        process.as_ref().is_some_and(|it| pidfd_send_signal(it, Signal::HUP).is_ok())
    }

    /// Whether nothing more comes from it.
    pub(super) fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    /// Waits until nothing more comes from it.
    pub(in crate::app) async fn gone(&self) {
        let _ = self.gone.subscribe().wait_for(|gone| *gone).await;
    }

    /// The last word: this process has drained. Returns when it is said.
    pub(in crate::app) async fn done(&self) {
        self.say(Message::Done);
        let writing = self.writing.lock().take();
        if let Some(writing) = writing {
            let _ = timeout(LAST_WORD, writing).await;
        }
    }

    /// Has a change made by the process that has the store.
    pub(super) async fn commit(&self, change: Change) -> Result<Receipt, CommitError> {
        let unknown = || CommitError::Unknown("the process that has the store is gone".to_owned());
        let (answer, answered) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.answers.lock().insert(id, answer);
        if self.is_gone() {
            self.answers.lock().remove(&id);
            return Err(unknown());
        }
        self.say(Message::Commit { id, change });
        answered.await.unwrap_or_else(|_| Err(unknown()))
    }
}

/// The process that serves, for one that drains.
pub struct NextProcess {
    heir: Arc<Heir>,
    reloads: watch::Receiver<u64>,
}

impl NextProcess {
    pub(super) fn new(heir: Arc<Heir>) -> Self {
        let mut reloads = heir.reloads.subscribe();
        // It may have been quick.
        reloads.mark_changed();
        NextProcess { heir, reloads }
    }

    /// Has it read its configuration again, by the signal that came here. False if it
    /// can't be told.
    pub fn reload(&self) -> bool {
        self.heir.reload()
    }

    /// Waits until it has read its configuration again, once for any number of times.
    pub async fn has_reloaded(&mut self) {
        while self.reloads.changed().await.is_ok() {
            if *self.reloads.borrow_and_update() > 0 {
                return;
            }
        }
        std::future::pending().await
    }
}

struct Gone<'a>(&'a watch::Sender<bool>);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::TestWorld;
    use crate::store::{Committed, Effect, Entry, Key, Observer, Store};

    /// Follows from both ends: what the new process says, and what it hears.
    struct Line {
        world: TestWorld,
        heir: Arc<Heir>,
        lent: Arc<LentStore>,
        heard: OwnedReadHalf,
        to_old: UnboundedSender<Message>,
        steps: UnboundedReceiver<Message>,
    }

    impl Line {
        fn new() -> Self {
            let world = TestWorld::new();
            let (ours, theirs) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            theirs.set_nonblocking(true).unwrap();
            let lent = Arc::new(LentStore::new(Arc::clone(&world.store) as _, None, None));
            lent.observe(Arc::clone(&world.ctx.memory) as Arc<dyn Observer>);
            lent.let_go();
            let context = Arc::clone(&world.ctx);
            let over = Heir::over(ours, Arc::clone(&lent), context, &Handle::current());
            let (heir, steps) = over.unwrap();
            let (heard, write) = tokio::net::UnixStream::from_std(theirs).unwrap().into_split();
            let (to_old, said) = mpsc::unbounded_channel();
            tokio::spawn(wire::write_all(write, said));
            Line { world, heir, lent, heard, to_old, steps }
        }

        fn commits(&self, revision: u64, effects: Vec<Effect>) {
            self.to_old.send(Message::Committed(Committed { revision, effects })).unwrap();
        }

        /// The next revision that is said to hold; `None` if the other side hears no more.
        async fn applied(&mut self) -> Option<u64> {
            tokio::select! {
                () = self.heir.gone() => None,
                said = wire::read(&mut self.heard) => match said.unwrap() {
                    Some(Message::Applied { revision, .. }) => Some(revision),
                    said => panic!("{said:?}"),
                },
            }
        }
    }

    fn unreadable() -> Vec<[Effect; 1]> {
        let key = Key(b"of a later version".to_vec());
        let entry = Entry { key: key.clone(), value: b"{}".to_vec(), revision: 2 };
        vec![[Effect::Put(entry)], [Effect::Deleted(key)]]
    }

    #[tokio::test]
    async fn what_can_not_be_read_is_not_said_to_hold() {
        for effects in unreadable() {
            let mut line = Line::new();
            line.heir.go();
            assert!(matches!(wire::read(&mut line.heard).await, Ok(Some(Message::Go))));
            line.commits(1, Vec::new());
            assert_eq!(line.applied().await, Some(1));
            line.commits(2, effects.to_vec());
            assert_eq!(line.applied().await, None, "{effects:?}");
            assert_eq!(line.world.ctx.memory.revision(), 1);
        }
    }

    #[tokio::test]
    async fn what_comes_after_a_gap_is_not_said_to_hold() {
        let mut line = Line::new();
        line.heir.go();
        assert!(matches!(wire::read(&mut line.heard).await, Ok(Some(Message::Go))));
        line.commits(1, Vec::new());
        assert_eq!(line.applied().await, Some(1));
        line.commits(3, Vec::new());
        assert_eq!(line.applied().await, None);
    }

    /// The new process may start with such a change, but then nothing drains.
    #[tokio::test]
    async fn what_was_not_understood_before_the_end_is_remembered() {
        for effects in unreadable() {
            let mut line = Line::new();
            line.commits(1, effects.to_vec());
            assert_eq!(line.applied().await, Some(1));
            line.to_old.send(Message::Ready { revision: 1 }).unwrap();
            assert!(matches!(line.steps.recv().await, Some(Message::Ready { .. })));
            assert_eq!(line.lent.status().head, 0, "behind what the new process has");
            line.heir.go();
            assert!(matches!(wire::read(&mut line.heard).await, Ok(Some(Message::Go))));
            line.commits(2, Vec::new());
            assert_eq!(line.applied().await, None, "nor anything after it");
        }
    }
}
