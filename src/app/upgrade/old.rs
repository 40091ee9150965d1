//! The old process: it starts the new one, lends it the store, and follows it while
//! it drains. Until the new one says that it could serve, everything can be taken back.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use command_fds::{CommandFdExt, FdMapping};
use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::unix::OwnedReadHalf;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::lent::LentStore;
use super::new::PREDECESSOR;
use super::wire::{self, Message, SPOKEN};
use crate::app::background::keep;
use crate::app::listeners::Doors;
use crate::app::start::Running;
use crate::service::{Context, keys};
use crate::store::{Change, CommitError, Receipt, Store};

/// How the next process is started.
#[derive(Clone, Debug)]
pub struct Successor {
    /// The program, by the name that this one was started by.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// Why there was no upgrade. Everything goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// It was not tried.
    #[error("not now: {0}")]
    Refused(String),
    /// The new process was no good, and is gone.
    #[error("{0}")]
    Failed(String),
}

impl UpgradeError {
    fn failed(doing: &str) -> impl Fn(std::io::Error) -> Self + '_ {
        move |error| UpgradeError::Failed(format!("{doing}: {error}"))
    }
}

/// The first descriptor that is handed over (`sd_listen_fds(3)`).
const FIRST: i32 = 3;

/// The store is asked for again this often when another process seems to hold it.
const ATTEMPTS: u32 = 60;
const AGAIN_AFTER: Duration = Duration::from_millis(500);

impl Running {
    /// Starts another process and hands it everything: sockets, store, and the word to
    /// serve. Afterwards this one should [`Running::retire`]. Dropped before its end it
    /// ends the new process.
    ///
    /// # Errors
    /// See [`UpgradeError`].
    pub async fn hand_over(&mut self, to: &Successor) -> Result<u32, UpgradeError> {
        let outcome = self.try_hand_over(to).await;
        let word = match &outcome {
            Ok(_) => "ok",
            Err(UpgradeError::Failed(_)) => "failed",
            Err(UpgradeError::Refused(_)) => "refused",
        };
        self.counters.upgrades.with_label_values(&[word]).inc();
        outcome
    }

    /// The process that serves, after [`Running::hand_over`].
    pub fn heir(&self) -> Option<Serving> {
        self.heir.clone().map(Serving)
    }

    async fn try_hand_over(&mut self, to: &Successor) -> Result<u32, UpgradeError> {
        if self.before.as_ref().is_some_and(|before| before.is_there()) {
            let why = "the process before this one still drains; ask again when it has ended";
            return Err(UpgradeError::Refused(why.to_owned()));
        }
        if let Some(why) = self.lent.why_not() {
            return Err(UpgradeError::Refused(why));
        }
        if std::process::id() == 1 {
            let why = "this is the first process of a container, which ends with it; replace the \
                container instead";
            return Err(UpgradeError::Refused(why.to_owned()));
        }
        let failed = UpgradeError::failed("the new process can't be talked to");
        let (ours, theirs) = UnixStream::pair().map_err(&failed)?;
        ours.set_nonblocking(true).map_err(&failed)?;
        let mut child = spawn(to, theirs.into(), &self.doors)?;
        let context = Arc::clone(&self.context);
        let lent = Arc::clone(&self.lent);
        let over = Heir::over(ours, lent, context, self.aside.handle());
        let (heir, mut steps) = over.map_err(&failed)?;
        let mut talking = Talking(Some(Arc::clone(&heir)));
        let wait = self.times.upgrade;
        let outcome = match timeout(wait, self.talk(&heir, &mut steps, &mut child)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(UpgradeError::Failed(format!(
                "it took longer than {wait:?} (server.upgrade_timeout)"
            ))),
        };
        match outcome {
            Ok((pid, in_step)) => {
                self.lent.is_with(Arc::clone(&heir));
                heir.say(Message::Go);
                talking.0 = None;
                *heir.process.lock() = child.keep();
                if !in_step {
                    // A format that was moved forward, or a change whose end nobody knew.
                    tracing::warn!("the store holds more than this process knows: nothing drains");
                    self.times.drain = Duration::ZERO;
                }
                self.heir = Some(heir);
                Ok(pid)
            }
            Err(error) => {
                let told = spawn_blocking(move || child.end()).await.unwrap_or_default();
                // What it did say before it ended counts.
                let _ = timeout(AGAIN_AFTER, heir.gone()).await;
                drop(talking);
                take_back(&self.lent).await;
                match (error, told) {
                    (UpgradeError::Failed(why), Some(status)) => {
                        Err(UpgradeError::Failed(format!("{why} ({status})")))
                    }
                    (error, _) => Err(error),
                }
            }
        }
    }

    /// Everything up to the point where it could serve. Gives its number, and whether
    /// this process knows all that is in the store.
    async fn talk(
        &self,
        heir: &Heir,
        steps: &mut UnboundedReceiver<Message>,
        child: &mut Started,
    ) -> Result<(u32, bool), UpgradeError> {
        let unexpected = |said| UpgradeError::Failed(format!("it said {said:?} out of turn"));
        let ended = |at: &str| UpgradeError::Failed(format!("it ended {at}; its messages say why"));
        let pid = match steps.recv().await {
            Some(Message::Checked { spoken: SPOKEN, pid, version }) => {
                child.speaks(pid);
                tracing::info!(version, pid, "a new process has checked its configuration");
                pid
            }
            Some(Message::Checked { version, .. }) => {
                let why = format!("version {version} upgrades in another way: restart instead");
                return Err(UpgradeError::Failed(why));
            }
            Some(said) => return Err(unexpected(said)),
            None => return Err(ended("before its configuration was checked")),
        };
        keep(&self.context).await;
        let lent = Arc::clone(&self.lent);
        let let_go = spawn_blocking(move || lent.let_go()).await;
        let_go.map_err(|error| UpgradeError::Failed(error.to_string()))?;
        heir.say(Message::Free);
        match steps.recv().await {
            Some(Message::Ready { revision }) => Ok((pid, revision == self.lent.status().head)),
            Some(said) => Err(unexpected(said)),
            None => Err(ended("before it could serve")),
        }
    }
}

/// Gets the store back, or says loudly that it did not come.
async fn take_back(lent: &Arc<LentStore>) {
    let mut why = String::new();
    for _ in 0..ATTEMPTS {
        let again = Arc::clone(lent);
        match spawn_blocking(move || again.take_back()).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => why = error,
            Err(error) => why = error.to_string(),
        }
        if lent.is_lost() {
            break;
        }
        tracing::warn!(why, "the store can't be taken back yet; changes are refused");
        sleep(AGAIN_AFTER).await;
    }
    tracing::error!(why, "the store did not come back; changes are refused until a restart");
    lent.give_up(why);
}

fn spawn(to: &Successor, talk: OwnedFd, doors: &Doors) -> Result<Started, UpgradeError> {
    let failed = UpgradeError::failed("the new process can't be started");
    let mut command = Command::new(&to.program);
    let names: Vec<&str> = doors.iter().map(|(name, _)| *name).collect();
    command
        .args(&to.args)
        .env(PREDECESSOR, std::process::id().to_string())
        .env("LISTEN_FDS", doors.len().to_string())
        .env("LISTEN_FDNAMES", names.join(":"))
        // Nobody knows it before it is there; without it they are for whoever reads it.
        .env_remove("LISTEN_PID")
        .env_remove("WATCHDOG_PID")
        .stdin(Stdio::from(talk));
    let mut mappings = Vec::new();
    for ((_, door), child_fd) in doors.iter().zip(FIRST..) {
        mappings.push(FdMapping { parent_fd: door.try_clone().map_err(&failed)?, child_fd });
    }
    command.fd_mappings(mappings).map_err(|error| {
        UpgradeError::Failed(format!("its sockets can't be handed on: {error}"))
    })?;
    let child = command.spawn().map_err(|error| {
        UpgradeError::Failed(format!("{} can't be started: {error}", to.program.display()))
    })?;
    Ok(Started { child: Some(child), speaks: None })
}

/// A process that was started, and is ended with this value.
struct Started {
    child: Option<Child>,
    /// Who speaks for it: another one, if a script stands before it.
    speaks: Option<OwnedFd>,
}

impl Started {
    fn speaks(&mut self, pid: u32) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        self.speaks = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
    }

    /// It may live. Gives who speaks for it.
    fn keep(mut self) -> Option<OwnedFd> {
        self.child = None;
        self.speaks.take()
    }

    /// Ends it, unless it has ended: then it says how.
    fn end(mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok().flatten();
        drop(self);
        status.map(|status| status.to_string())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(process) = &self.speaks {
            let _ = pidfd_send_signal(process, Signal::KILL);
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// The process that takes over, as the old one knows it.
pub(in crate::app) struct Heir {
    say: UnboundedSender<Message>,
    answers: Mutex<HashMap<u64, oneshot::Sender<Result<Receipt, CommitError>>>>,
    next: AtomicU64,
    gone: watch::Sender<bool>,
    writing: Mutex<Option<JoinHandle<std::io::Result<()>>>>,
    listening: Mutex<Option<AbortHandle>>,
    /// Once it serves.
    process: Mutex<Option<OwnedFd>>,
}

/// A talk that comes to nothing, unless it is taken out: what is left of the new
/// process hears the end of it, and ends.
struct Talking(Option<Arc<Heir>>);

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
    fn over(
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
                    let ended = lent.follow(&change);
                    // A key that was made there signs there as soon as this is said.
                    keys::refresh(&context);
                    self.say(Message::Applied { revision: change.revision, ended });
                }
                Ok(Some(Message::Answer { id, outcome })) => {
                    if let Some(asked) = self.answers.lock().remove(&id) {
                        let _ = asked.send(outcome);
                    }
                }
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

    fn say(&self, message: Message) {
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

    /// Has it read its configuration again. False if it can't be told.
    fn reload(&self) -> bool {
        let process = self.process.lock();
        process.as_ref().is_some_and(|it| pidfd_send_signal(it, Signal::HUP).is_ok())
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
            let _ = timeout(AGAIN_AFTER, writing).await;
        }
    }

    /// Has a change made by the process that has the store.
    pub(super) async fn commit(&self, change: Change) -> Result<Receipt, CommitError> {
        let unknown = || CommitError::Unknown("the process that has the store is gone".to_owned());
        let (answer, answered) = oneshot::channel();
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.answers.lock().insert(id, answer);
        if *self.gone.borrow() {
            self.answers.lock().remove(&id);
            return Err(unknown());
        }
        self.say(Message::Commit { id, change });
        answered.await.unwrap_or_else(|_| Err(unknown()))
    }
}

/// The process that serves, for one that drains.
pub struct Serving(Arc<Heir>);

impl Serving {
    /// Has it read its configuration again, by the signal that came here. False if it
    /// can't be told.
    pub fn reload(&self) -> bool {
        self.0.reload()
    }
}

struct Gone<'a>(&'a watch::Sender<bool>);

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}
