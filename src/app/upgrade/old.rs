//! The old process: it starts the new one, lends it the store, and follows it while
//! it drains. Until the new one says that it serves, so does this one, and everything can
//! be taken back.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::child::Started;
use super::heir::{Heir, NextProcess, Talking};
use super::lent::LentStore;
use super::patience::within;
use super::wire::{Message, SPOKEN};
use crate::app::background::keep;
use crate::app::start::Running;
use crate::store::Store;

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
    pub(super) fn failed(doing: &str) -> impl Fn(std::io::Error) -> Self + '_ {
        move |error| UpgradeError::Failed(format!("{doing}: {error}"))
    }
}

/// How long the new process may take from the word to serve until it does, in tenths of a
/// second: all it has to do is to accept.
const SERVES_WITHIN: u32 = 50;

/// So long, in tenths of a second, the store is waited for when an upgrade has failed;
/// after that it is asked for beside, ever more seldom.
const WAITED_FOR: u32 = 100;
const AGAIN_AFTER: Duration = Duration::from_millis(500);
const SELDOM: Duration = Duration::from_secs(30);

/// And after so many tenths of a second more it is said not to come.
const OVERDUE_AFTER: u32 = 200;

const NO_ANSWER: &str = "the disk does not answer";

/// The same at the end, when nobody has long to wait.
const LAST_PAUSE: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_secs(5);

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
        if let Err(error) = &outcome {
            tracing::error!(%error, "not upgraded; this process goes on as before");
        }
        if let Err(UpgradeError::Failed(_)) = &outcome {
            // Said before, since a disk may hang; counted when it is over.
            take_back(&self.lent, &mut self.letting_go).await;
        }
        self.counters.upgrades.with_label_values(&[word]).inc();
        outcome
    }

    /// The process that serves, after [`Running::hand_over`].
    pub fn heir(&self) -> Option<NextProcess> {
        self.heir.clone().map(NextProcess::new)
    }

    async fn try_hand_over(&mut self, to: &Successor) -> Result<u32, UpgradeError> {
        if self.before.as_ref().is_some_and(|before| before.is_there()) {
            let why = "the process before this one still drains; ask again when it has ended";
            return Err(UpgradeError::Refused(why.to_owned()));
        }
        if let Some(why) = self.lent.why_not() {
            return Err(UpgradeError::Refused(why));
        }
        // Whoever took over lost its parent, and nothing ended with that.
        let is_first_here = self.before.is_none() && {
            let first = std::fs::read_to_string("/proc/1/comm").ok();
            ends_its_container(std::process::id(), parent_id(), first.as_deref())
        };
        if is_first_here {
            let why = "this is the first process of a container, or was started by that, and \
                the container ends with it; replace the container instead";
            return Err(UpgradeError::Refused(why.to_owned()));
        }
        let failed = UpgradeError::failed("the new process can't be talked to");
        let (ours, theirs) = UnixStream::pair().map_err(&failed)?;
        ours.set_nonblocking(true).map_err(&failed)?;
        let context = Arc::clone(&self.context);
        let lent = Arc::clone(&self.lent);
        let over = Heir::over(ours, lent, context, self.aside.handle());
        let (heir, mut steps) = over.map_err(&failed)?;
        let talking = Talking::with(&heir);
        // Whenever this is dropped the child ends before the talk does: one that was told to
        // serve would take a talk that ends for the end of this process, and make sure of it.
        let mut child = Started::new(to, theirs.into(), &self.doors)?;
        let wait = self.times.upgrade;
        let outcome = match timeout(wait, self.talk(&heir, &mut steps, &mut child)).await {
            Ok(Ok(able)) => goes_over(&heir, &mut steps).await.map(|()| able),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(UpgradeError::Failed(format!(
                "it took longer than {wait:?} (server.upgrade_timeout)"
            ))),
        };
        match outcome {
            Ok((pid, in_step)) => {
                self.lent.is_with(Arc::clone(&heir));
                talking.succeeds();
                heir.serves(child.keep());
                if !in_step {
                    // A format that was moved forward, or a change whose end nobody knew.
                    tracing::warn!("the store holds more than this process knows: nothing drains");
                    self.times.drain = Duration::ZERO;
                }
                self.heir = Some(heir);
                Ok(pid)
            }
            Err(error) => {
                let told = spawn_blocking(move || child.end(AGAIN_AFTER)).await.unwrap_or_default();
                // What it did say before it ended counts.
                let _ = timeout(AGAIN_AFTER, heir.gone()).await;
                drop(talking);
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
        &mut self,
        heir: &Heir,
        steps: &mut UnboundedReceiver<Message>,
        child: &mut Started,
    ) -> Result<(u32, bool), UpgradeError> {
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
        let letting_go = self.letting_go.insert(spawn_blocking(move || lent.let_go()));
        let let_go = letting_go.await;
        self.letting_go = None;
        let_go.map_err(|error| UpgradeError::Failed(error.to_string()))?;
        heir.say(Message::Free);
        match steps.recv().await {
            Some(Message::Ready { revision }) => Ok((pid, revision == self.lent.status().head)),
            Some(said) => Err(unexpected(said)),
            None => Err(ended("before it could serve")),
        }
    }
}

/// Tells the new process to serve, and waits until it does. Up to then this one accepts as
/// well: whoever comes is served, whatever becomes of the other.
async fn goes_over(
    heir: &Heir,
    steps: &mut UnboundedReceiver<Message>,
) -> Result<(), UpgradeError> {
    heir.go();
    match within(SERVES_WITHIN, steps.recv()).await {
        Some(Some(Message::Serving)) => Ok(()),
        Some(Some(said)) => Err(unexpected(said)),
        Some(None) => Err(ended("when it was to serve")),
        None => {
            let seconds = SERVES_WITHIN / 10;
            let why = format!("it hung: told to serve, it accepted nobody within {seconds} s");
            Err(UpgradeError::Failed(why))
        }
    }
}

fn unexpected(said: Message) -> UpgradeError {
    UpgradeError::Failed(format!("it said {said:?} out of turn"))
}

fn ended(at: &str) -> UpgradeError {
    UpgradeError::Failed(format!("it ended {at}; its messages say why"))
}

/// Whether a container ends with a process: with its first one, called `first`, and with
/// the one that an init such as tini waits for. What hides its first process is hardened
/// by systemd.
fn ends_its_container(own: u32, parent: u32, first: Option<&str>) -> bool {
    let is_inits = |first: &str| parent == 1 && !["systemd", "init"].contains(&first.trim());
    own == 1 || first.is_some_and(is_inits)
}

/// Gets the store back while a process that is to end drains, from a new one that was killed
/// a moment ago: until the end somebody may revoke. Returns when both have come to their
/// end; what is left to write then can be done without.
pub(in crate::app) async fn take_back_until(
    drained: impl Future<Output = ()>,
    lent: &Arc<LentStore>,
    letting_go: &mut Option<JoinHandle<()>>,
) {
    let mut back = pin!(async {
        has_let_go(letting_go).await;
        while try_to_take_back(lent).await.is_err() {
            sleep(LAST_PAUSE).await;
        }
    });
    let mut drained = pin!(drained);
    tokio::select! {
        () = &mut back => return drained.await,
        () = &mut drained => {}
    }
    if timeout(LAST_WAIT, back).await.is_err() {
        tracing::warn!("the store did not come back from the new process");
    }
}

/// Waits until letting go of the store has ended: whoever gave up waiting for that has
/// not stopped it.
async fn has_let_go(letting_go: &mut Option<JoinHandle<()>>) {
    if let Some(begun) = letting_go {
        let _ = begun.await;
    }
    *letting_go = None;
}

/// Gets the store back, or goes on trying beside when that takes long. What does not come
/// at all is said loudly, and still asked for.
async fn take_back(lent: &Arc<LentStore>, letting_go: &mut Option<JoinHandle<()>>) {
    let why = Mutex::new(NO_ANSWER.to_owned());
    if within(WAITED_FOR, ask_again_and_again(lent, letting_go, &why)).await.is_some() {
        return;
    }
    tracing::warn!(
        why = why.lock().as_str(),
        "the store is not back yet; changes are refused until it is"
    );
    let (lent, mut letting_go) = (Arc::clone(lent), letting_go.take());
    tokio::spawn(async move {
        let mut back = pin!(ask_again_and_again(&lent, &mut letting_go, &why));
        if within(OVERDUE_AFTER, &mut back).await.is_none() {
            let why = why.lock().clone();
            tracing::error!(why, "the store does not come back; changes are refused until it does");
            lent.is_overdue(why);
            back.await;
        }
        if !lent.is_lost() {
            tracing::info!("the store is back: changes are taken again");
        }
    });
}

/// Returns when the store is back, or lost. `last` is why it was not, the last time.
async fn ask_again_and_again(
    lent: &Arc<LentStore>,
    letting_go: &mut Option<JoinHandle<()>>,
    last: &Mutex<String>,
) {
    has_let_go(letting_go).await;
    let mut pause = AGAIN_AFTER;
    while let Err(why) = try_to_take_back(lent).await {
        if *last.lock() != why {
            tracing::warn!(why, "the store can't be taken back yet; changes are refused");
        }
        *last.lock() = why;
        sleep(pause).await;
        pause = (pause + AGAIN_AFTER).min(SELDOM);
    }
}

/// An error if it is worth to try again.
async fn try_to_take_back(lent: &Arc<LentStore>) -> Result<(), String> {
    let again = Arc::clone(lent);
    let taken = spawn_blocking(move || again.take_back()).await;
    match taken.unwrap_or_else(|error| Err(error.to_string())) {
        Err(why) if lent.is_lost() => {
            tracing::error!(
                why,
                "the store did not come back; changes are refused until a restart"
            );
            Ok(())
        }
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::FutureExt as _;
    use tokio::task::yield_now;
    use tokio::time::advance;

    use super::*;
    use crate::app::upgrade::Reopen;
    use crate::store::MemoryStore;

    /// The talk may have ended before the store was let go of, which goes on all the same.
    #[tokio::test]
    async fn a_store_is_taken_back_after_it_was_let_go_of() {
        let reopen: Box<Reopen> = Box::new(|| Ok(Arc::new(MemoryStore::new()) as Arc<dyn Store>));
        let lent = Arc::new(LentStore::new(Arc::new(MemoryStore::new()), Some(reopen), None));
        let mut here = lent.here();
        let (go_on, goes_on) = mpsc::channel();
        let letting = Arc::clone(&lent);
        let mut letting_go = Some(spawn_blocking(move || {
            goes_on.recv().unwrap();
            letting.let_go();
        }));
        let mut taking = Box::pin(take_back(&lent, &mut letting_go));
        assert!((&mut taking).now_or_never().is_none());
        go_on.send(()).unwrap();
        taking.await;
        assert!(letting_go.is_none());
        assert!(here.has_changed().unwrap() && *here.borrow_and_update(), "away, and here again");
    }

    /// A store on a disk that does not answer before the sender is used.
    fn on_a_disk_that_hangs() -> (Arc<LentStore>, mpsc::Sender<()>) {
        let (answer, answers) = mpsc::channel();
        let answers = Mutex::new(answers);
        let reopen: Box<Reopen> = Box::new(move || {
            answers.lock().recv().unwrap();
            Ok(Arc::new(MemoryStore::new()) as Arc<dyn Store>)
        });
        let lent = Arc::new(LentStore::new(Arc::new(MemoryStore::new()), Some(reopen), None));
        lent.let_go();
        (lent, answer)
    }

    /// Time goes on for as long as it is not done.
    async fn passes(what: impl Future<Output = ()>) {
        let time = async {
            loop {
                advance(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = what => {}
            () = time => {}
        }
    }

    /// Reloads wait for a failed upgrade to be over.
    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_after_an_upgrade_holds_nothing_up_and_is_told_of() {
        let (lent, answer) = on_a_disk_that_hangs();
        let mut here = lent.here();
        passes(take_back(&lent, &mut None)).await;
        assert_eq!(lent.status().refusing, None, "it may come yet");
        assert!(lent.why_not().is_some_and(|why| why.contains("not back yet")));
        let overdue = async {
            while lent.status().refusing.is_none() {
                yield_now().await;
            }
        };
        passes(overdue).await;
        assert_eq!(lent.status().refusing.as_deref(), Some(NO_ANSWER));
        answer.send(()).unwrap();
        here.wait_for(|here| *here).await.unwrap();
        assert_eq!((lent.status().refusing, lent.why_not()), (None, None));
    }

    /// Whoever is to end may drain for long, and somebody may want to revoke.
    #[tokio::test]
    async fn a_store_that_is_away_at_the_end_comes_back_before_all_is_drained() {
        let (lent, answer) = on_a_disk_that_hangs();
        let mut here = lent.here();
        answer.send(()).unwrap();
        let drained = async {
            here.wait_for(|here| *here).await.unwrap();
        };
        take_back_until(drained, &lent, &mut None).await;
        assert!(lent.why_not().is_none());
    }

    /// Nor does it keep anybody from ending.
    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_at_the_end_is_not_waited_for() {
        let (lent, answer) = on_a_disk_that_hangs();
        passes(take_back_until(async {}, &lent, &mut None)).await;
        assert!(lent.why_not().is_some(), "it is still away");
        answer.send(()).unwrap();
    }

    #[test]
    fn who_is_all_of_a_container_is_known() {
        let cases = [
            (1, 0, Some("portcullis\n"), true),
            (7, 1, Some("docker-init\n"), true),
            (7, 1, Some("tini\n"), true),
            (7, 1, Some("systemd\n"), false),
            (7, 1, None, false),
            (7, 5, Some("tini\n"), false),
        ];
        for (own, parent, first, ends) in cases {
            assert_eq!(ends_its_container(own, parent, first), ends, "{own} {parent} {first:?}");
        }
    }

    /// A disk that hangs may come back, and with it the store.
    #[test]
    fn a_store_that_is_overdue_is_still_taken_back() {
        let reopen: Box<Reopen> = Box::new(|| Ok(Arc::new(MemoryStore::new()) as Arc<dyn Store>));
        let lent = LentStore::new(Arc::new(MemoryStore::new()), Some(reopen), None);
        lent.let_go();
        lent.is_overdue("the disk hangs".to_owned());
        assert_eq!(lent.status().refusing.as_deref(), Some("the disk hangs"));
        assert!(!lent.is_lost());
        assert_eq!(lent.take_back(), Ok(()));
        assert_eq!(lent.status().refusing, None);
    }
}
