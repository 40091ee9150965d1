//! The old process: it starts the new one, lends it the store, and follows it while
//! it drains. Until the new one says that it serves, so does this one, and everything can
//! be taken back.

use std::ffi::OsString;
use std::os::unix::net::UnixStream;
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::back::take_back;
use super::child::Started;
use super::heir::{Heir, NextProcess, Talking};
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

/// What was killed may live on for as long as its disk hangs.
const ENDS_WITHIN: Duration = Duration::from_millis(500);

impl Running {
    /// Starts another process and hands it everything: sockets, store, and the word to
    /// serve. Afterwards this one should [`Running::retire`]. Dropped before its end it
    /// ends the new process.
    ///
    /// # Errors
    /// See [`UpgradeError`].
    pub async fn hand_over(&mut self, to: &Successor) -> Result<u32, UpgradeError> {
        let outcome = self.try_hand_over(to).await;
        if let Err(error) = &outcome {
            tracing::error!(%error, "not upgraded; this process goes on as before");
            let word = match error {
                UpgradeError::Failed(_) => {
                    // Said before, since a disk may hang; counted when it is over.
                    take_back(&self.lent, &mut self.letting_go).await;
                    "failed"
                }
                UpgradeError::Refused(_) => "refused",
            };
            self.counters.upgrades.with_label_values(&[word]).inc();
        }
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
                let has_hung_up = heir.is_gone();
                let ended = spawn_blocking(move || child.end(has_hung_up, ENDS_WITHIN));
                let told = ended.await.unwrap_or_default();
                // What it did say before it ended counts.
                let _ = timeout(ENDS_WITHIN, heir.gone()).await;
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
