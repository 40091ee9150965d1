//! The one thread that writes: it gathers what waits, writes it as one group,
//! tells the observer, then answers. After a failure it refuses, and tries to
//! open the store again.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::SledOptions;
use super::digest::Digest;
use super::engine::{Engine, MAX_GROUP, MAX_GROUP_OPS};
use super::error::OpenError;
use super::folder::Folder;
use crate::store::plan::{Refusal, weight};
use crate::store::{Change, CommitError, Committed, Observer, Receipt, Status};

/// What the committer and the handles of a store share.
pub(super) struct Shared {
    pub(super) engine: Mutex<Option<Engine>>,
    pub(super) status: Mutex<Status>,
    pub(super) observer: Mutex<Option<Arc<dyn Observer>>>,
}

/// For the company of the last group the next one waits this share of the time that
/// the last one took, …
const LINGER_SHARE: u32 = 8;
/// … and never longer than this.
const LONGEST_LINGER: Duration = Duration::from_millis(1);

type Answer = oneshot::Sender<Result<Receipt, CommitError>>;

/// A change, and where its answer goes.
pub(super) struct Request {
    pub(super) change: Change,
    pub(super) answer: Answer,
}

/// The thread's own state.
pub(super) struct Committer {
    pub(super) shared: Arc<Shared>,
    /// What the observer knows of.
    pub(super) told: Digest,
    pub(super) health: Health,
    pub(super) options: SledOptions,
    // Last, so that the lock is let go after sled.
    pub(super) folder: Folder,
}

/// Whether changes are taken.
pub(super) enum Health {
    /// They are.
    Good,
    /// Not before the store was opened again.
    Failed {
        /// A group that may be on the disk, and what is in the store if it is.
        pending: Option<(Digest, Vec<Committed>)>,
        /// When to try.
        next_try: Instant,
        /// How long to wait after that.
        pause: Duration,
    },
    /// Never again in this process.
    Damaged,
}

impl Committer {
    /// Works until every sender is gone and everything sent was answered.
    pub(super) fn run(mut self, requests: &Receiver<Request>) {
        let (mut carried, mut company, mut patience) = (None, 1, Duration::ZERO);
        loop {
            let first = match carried.take() {
                Some(request) => request,
                None => match self.next(requests) {
                    Ok(request) => request,
                    Err(RecvTimeoutError::Timeout) => {
                        self.recover();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                },
            };
            let group;
            (group, carried) = gather(first, requests, company, patience);
            company = group.len();
            let began = Instant::now();
            self.serve(group);
            patience = (began.elapsed() / LINGER_SHARE).min(LONGEST_LINGER);
        }
    }

    fn next(&self, requests: &Receiver<Request>) -> Result<Request, RecvTimeoutError> {
        match &self.health {
            Health::Good | Health::Damaged => {
                requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
            }
            Health::Failed { next_try, .. } => {
                requests.recv_timeout(next_try.saturating_duration_since(Instant::now()))
            }
        }
    }

    fn serve(&mut self, group: Vec<Request>) {
        if matches!(&self.health, Health::Failed { next_try, .. } if *next_try <= Instant::now()) {
            self.recover();
        }
        let shared = self.shared.clone();
        let mut slot = shared.engine.lock();
        let Some(engine) = slot.as_mut() else {
            let why = self.shared.status.lock().refusing.clone().unwrap_or_default();
            let refused = CommitError::NotDone(why);
            group.into_iter().for_each(|request| reply(request.answer, Err(refused.clone())));
            return;
        };
        let (mut accepted, mut answers, mut conflicts) = (Vec::new(), Vec::new(), Vec::new());
        let mut writing = engine.group();
        let mut requests = group.into_iter();
        for Request { change, answer } in requests.by_ref() {
            match writing.add(change) {
                Ok(committed) => {
                    accepted.push(committed);
                    answers.push(answer);
                }
                Err(Refusal::Conflict) => conflicts.push(answer),
                Err(Refusal::Invalid(why)) => reply(answer, Err(CommitError::NotDone(why))),
                Err(Refusal::Read(why)) => {
                    let why = format!("reading failed: {why}");
                    self.fail(slot.take(), &why, None);
                    let refused = CommitError::NotDone(why);
                    let rest = requests.map(|request| request.answer);
                    let all = answers.into_iter().chain(conflicts).chain([answer]).chain(rest);
                    all.for_each(|answer| reply(answer, Err(refused.clone())));
                    return;
                }
            }
        }
        let prepared = writing.prepare();
        let digest = prepared.digest;
        // Conflicts are told last: with a change of this group, perhaps, and that
        // is true only once it is written.
        let outcome = if accepted.is_empty() { Ok(()) } else { engine.write(prepared) };
        if let Err(why) = outcome {
            self.fail(slot.take(), &why, Some((digest, accepted)));
            let unknown = CommitError::Unknown(why.clone());
            answers.into_iter().for_each(|answer| reply(answer, Err(unknown.clone())));
            let refused = CommitError::NotDone(why);
            conflicts.into_iter().for_each(|answer| reply(answer, Err(refused.clone())));
            return;
        }
        drop(slot);
        let receipts = self.tell(digest, &accepted);
        answers.into_iter().zip(receipts).for_each(|(answer, receipt)| reply(answer, receipt));
        conflicts.into_iter().for_each(|answer| reply(answer, Err(CommitError::Conflict)));
    }

    /// Brings memory up to date with changes that are durable.
    fn tell(&mut self, digest: Digest, changes: &[Committed]) -> Vec<Result<Receipt, CommitError>> {
        let observer = self.shared.observer.lock().clone();
        let receipts = changes
            .iter()
            .map(|change| {
                let revision = change.revision;
                let Some(observer) = &observer else { return Ok(Receipt { revision, ended: 0 }) };
                // A panic must not end the only thread that can write.
                match catch_unwind(AssertUnwindSafe(|| observer.committed(change))) {
                    Ok(ended) => Ok(Receipt { revision, ended }),
                    Err(_) => {
                        tracing::error!(revision, "a change is durable, but applying it panicked");
                        let why = "it is durable, but applying it failed".into();
                        Err(CommitError::Unknown(why))
                    }
                }
            })
            .collect();
        self.told = digest;
        self.shared.status.lock().head = digest.sequence;
        receipts
    }

    /// Gives sled up after an error: it would answer every call with one.
    fn fail(
        &mut self,
        engine: Option<Engine>,
        why: &str,
        pending: Option<(Digest, Vec<Committed>)>,
    ) {
        tracing::error!(
            path = %self.folder.path().display(), error = why,
            "the store failed; changes are refused until it was opened again"
        );
        self.refuse(why.to_owned());
        drop(engine);
        let pause = self.options.retry_after;
        self.health = Health::Failed { pending, next_try: Instant::now() + pause, pause };
    }

    fn refuse(&self, why: String) {
        self.shared.status.lock().refusing = Some(why);
    }

    /// Opens the store again, and catches up with what turned out to be durable.
    fn recover(&mut self) {
        let Health::Failed { pending, next_try, pause } = &mut self.health else { return };
        let probed = self
            .folder
            .probe()
            .map_err(|error| OpenError::io(self.folder.path(), "trying to write", error));
        let engine = match probed
            .and_then(|()| Engine::open(&self.folder, &self.options, true, &mut |_| ()))
        {
            Ok(engine) => engine,
            Err(error @ OpenError::Damaged { .. }) => return self.give_up(error.to_string()),
            Err(error) => {
                *pause = (*pause * 2).min(self.options.retry_after * 32);
                *next_try = Instant::now() + *pause;
                tracing::warn!(%error, retry_in = ?*pause, "the store can't be opened yet");
                return self.refuse(error.to_string());
            }
        };
        let digest = engine.digest();
        // A group is one batch: all of it is there, or none.
        let late = match pending.take() {
            Some((with, changes)) if with == digest => changes,
            _ if digest == self.told => Vec::new(),
            _ => {
                let found = format!("after a failure it holds what nobody wrote ({digest:?})");
                return self.give_up(OpenError::damaged(self.folder.path(), found).to_string());
            }
        };
        *self.shared.engine.lock() = Some(engine);
        self.health = Health::Good;
        self.tell(digest, &late);
        self.shared.status.lock().refusing = None;
        tracing::info!(path = %self.folder.path().display(), "the store takes changes again");
    }

    fn give_up(&mut self, why: String) {
        tracing::error!(error = why, "the store takes no more changes");
        self.refuse(why);
        self.health = Health::Damaged;
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        drop(self.shared.engine.lock().take());
        self.refuse("it is closed".into());
    }
}

/// Takes what waits, as far as one group may go; the request that no longer fits
/// opens the next one. Where the last group was of `company`, the same callers come
/// back in a moment: whoever began without them would keep them waiting for a group
/// of a few, and then the few for theirs.
fn gather(
    first: Request,
    requests: &Receiver<Request>,
    company: usize,
    patience: Duration,
) -> (Vec<Request>, Option<Request>) {
    let mut ops = weight(&first.change);
    let mut group = vec![first];
    let deadline = Instant::now() + patience;
    while group.len() < MAX_GROUP {
        let request = match requests.try_recv() {
            Ok(request) => request,
            Err(_) if group.len() >= company => break,
            Err(_) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let Ok(request) = requests.recv_timeout(left) else { break };
                request
            }
        };
        ops += weight(&request.change);
        if ops > MAX_GROUP_OPS {
            return (group, Some(request));
        }
        group.push(request);
    }
    (group, None)
}

/// Answers; whoever asked may have gone, and the change stands all the same.
fn reply(answer: Answer, outcome: Result<Receipt, CommitError>) {
    let _ = answer.send(outcome);
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn request() -> Request {
        let change = Change { guards: Vec::new(), ops: Vec::new() };
        Request { change, answer: oneshot::channel().0 }
    }

    #[test]
    fn who_came_together_is_waited_for_and_nobody_else() {
        let (send, requests) = channel();
        // Waiting for somebody here would take a minute.
        let began = Instant::now();
        assert_eq!(gather(request(), &requests, 1, LONG).0.len(), 1);
        let waiting = std::thread::spawn(move || gather(request(), &requests, 3, LONG).0.len());
        for _ in 0..2 {
            send.send(request()).unwrap();
        }
        assert_eq!(waiting.join().unwrap(), 3);
        assert!(began.elapsed() < LONG);
    }

    #[test]
    fn who_does_not_come_back_is_not_waited_for_long() {
        let (send, requests) = channel();
        send.send(request()).unwrap();
        assert_eq!(gather(request(), &requests, 64, Duration::ZERO).0.len(), 2);
        drop(send);
        assert_eq!(gather(request(), &requests, 64, LONG).0.len(), 1);
    }
}
