//! Getting the store back from a new process that came to nothing. A disk may hang: nobody
//! waits for long, and it is still asked for.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

use super::lent::LentStore;
use super::patience::within;

/// So long, in tenths of a second, the store is waited for when an upgrade has failed;
/// after that it is asked for beside.
const WAITED_FOR: u32 = 100;

/// It is asked for again this often when another process seems to hold it.
const ATTEMPTS: u32 = 60;
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// And after so many attempts ever more seldom, until this.
const SELDOM: Duration = Duration::from_secs(30);

/// So many tenths of a second after [`WAITED_FOR`] it is said not to come.
const OVERDUE_AFTER: u32 = 200;

const NO_ANSWER: &str = "the disk does not answer";

/// The same at the end, when nobody has long to wait.
const LAST_PAUSE: Duration = Duration::from_millis(50);
const LAST_WAIT: Duration = Duration::from_secs(5);

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
pub(super) async fn take_back(lent: &Arc<LentStore>, letting_go: &mut Option<JoinHandle<()>>) {
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
    let (mut attempts, mut pause) = (0, AGAIN_AFTER);
    while let Err(why) = try_to_take_back(lent).await {
        if *last.lock() != why {
            tracing::warn!(why, "the store can't be taken back yet; changes are refused");
        }
        *last.lock() = why;
        sleep(pause).await;
        attempts += 1;
        if attempts > ATTEMPTS {
            pause = (pause * 2).min(SELDOM);
        }
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
    use crate::store::{MemoryStore, Store};

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
