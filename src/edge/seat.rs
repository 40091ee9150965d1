//! Every open connection has a seat: whether it is idle, and whether it must go, or
//! must as soon as it is idle.
//!
//! When all seats are taken and somebody waits at the door, those that have been
//! idle longest are asked to leave; who is being served never is. A seat costs a
//! request two stores and a look at the clock; only coming, going and asking to
//! leave take the lock.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// States of a seat; anything between is the time since which it is idle.
const BUSY: u64 = 0;
const MUST_GO: u64 = u64::MAX;

/// An eighth of the idle ones leave at once, but not more than these: to look
/// for them costs the same for one as for many.
const MOST_AT_ONCE: usize = 32;

/// How long the one at the door waits before more are asked to leave.
const AGAIN: Duration = Duration::from_millis(100);

/// One connection's seat.
#[derive(Debug, Default)]
struct State {
    state: AtomicU64,
    waker: AtomicWaker,
}

/// All seats.
#[derive(Debug)]
pub(crate) struct Seats {
    began: Instant,
    free: Arc<Semaphore>,
    taken: Mutex<HashMap<u64, Arc<State>>>,
    next: AtomicU64,
    /// True once nobody is to be idle any more.
    closing: AtomicBool,
}

impl Seats {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Seats {
            began: Instant::now(),
            free: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            taken: Mutex::default(),
            next: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        })
    }

    /// Takes a seat, as soon as there is one.
    pub(crate) async fn take(self: &Arc<Self>) -> Seat {
        loop {
            if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
                return self.seat(Some(permit));
            }
            self.make_room();
            if let Ok(permit) = timeout(AGAIN, Arc::clone(&self.free).acquire_owned()).await {
                return self.seat(permit.ok());
            }
        }
    }

    /// A seat beyond the number, for who is at the door when the house closes.
    pub(crate) fn squeeze_in(self: &Arc<Self>) -> Seat {
        self.seat(None)
    }

    fn seat(self: &Arc<Self>, permit: Option<OwnedSemaphorePermit>) -> Seat {
        let (id, state) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::<State>::default());
        self.taken.lock().insert(id, Arc::clone(&state));
        Seat { seats: Arc::clone(self), id, state, _permit: permit }
    }

    /// Asks those that have been idle longest to leave.
    fn make_room(&self) {
        let mut idle: Vec<(u64, Arc<State>)> = {
            let taken = self.taken.lock();
            let idle = taken.values().filter_map(|state| {
                let since = state.state.load(Ordering::Acquire);
                (since != BUSY && since != MUST_GO).then(|| (since, Arc::clone(state)))
            });
            idle.collect()
        };
        let count = (idle.len() / 8).clamp(1, MOST_AT_ONCE);
        if count < idle.len() {
            idle.select_nth_unstable_by_key(count, |(since, _)| *since);
        }
        for (since, state) in idle.iter().take(count) {
            // Who has been given work in between stays.
            let (from, to) = (*since, MUST_GO);
            if state.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                state.waker.wake();
            }
        }
    }

    /// Asks everybody to leave who is idle, now or later.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        for state in self.taken.lock().values() {
            state.waker.wake();
        }
    }

    /// Asks everybody to leave, busy or not.
    pub(crate) fn clear(&self) {
        for state in self.taken.lock().values() {
            state.state.store(MUST_GO, Ordering::Release);
            state.waker.wake();
        }
    }
}

/// A connection's seat; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Arc<Seats>,
    id: u64,
    state: Arc<State>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Seat {
    /// There is nothing to do.
    pub(crate) fn rests(&self) {
        let since = u64::try_from(self.seats.began.elapsed().as_micros()).unwrap_or(MUST_GO);
        self.turn(since.clamp(BUSY + 1, MUST_GO - 1));
    }

    /// There is a request. False if it came too late: the connection must go.
    pub(crate) fn works(&self) -> bool {
        self.turn(BUSY)
    }

    fn turn(&self, to: u64) -> bool {
        let turned = self.state.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state != MUST_GO).then_some(to)
        });
        turned.is_ok()
    }

    /// Waits until the connection must go. One task may wait.
    pub(crate) async fn must_go(&self) {
        poll_fn(|context| {
            if self.state.state.load(Ordering::Acquire) == MUST_GO {
                return Poll::Ready(());
            }
            self.state.waker.register(context.waker());
            match self.state.state.load(Ordering::Acquire) {
                MUST_GO => Poll::Ready(()),
                _ => Poll::Pending,
            }
        })
        .await;
    }

    /// Waits until nobody is to be idle any more. For the task that waits for
    /// [`Seat::must_go`], after that: it wakes for both.
    pub(crate) async fn is_closing(&self) {
        let closing = &self.seats.closing;
        poll_fn(|_| if closing.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending })
            .await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.taken.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn must_go(seat: &Seat) -> bool {
        seat.must_go().now_or_never().is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_leave_for_who_waits() {
        let seats = Seats::new(10);
        let mut taken = Vec::new();
        for at in 0..10 {
            let seat = seats.take().await;
            if at > 1 {
                seat.rests();
                // Two at the same instant would have no order.
                while seats.began.elapsed().as_micros()
                    == u128::from(seat.state.state.load(Ordering::Relaxed))
                {}
            }
            taken.push(seat);
        }
        let waiting = tokio::spawn({
            let seats = Arc::clone(&seats);
            async move { seats.take().await }
        });
        tokio::task::yield_now().await;
        let leave: Vec<bool> = taken.iter().map(must_go).collect();
        assert_eq!(leave.iter().filter(|leaves| **leaves).count(), 1);
        assert!(leave[2], "{leave:?}");
        assert!(!taken[2].works(), "too late");
        assert!(taken[3].works() && taken[0].works());
        assert!(!waiting.is_finished());
        drop(taken.remove(2));
        let new = waiting.await.unwrap();
        assert_eq!(seats.taken.lock().len(), 10);
        drop((taken, new));
        assert_eq!(seats.taken.lock().len(), 0);
        assert_eq!(seats.free.available_permits(), 10);
    }

    #[tokio::test]
    async fn who_is_idle_hears_of_the_end() {
        let seats = Seats::new(2);
        let seat = seats.take().await;
        seat.rests();
        let waiting = tokio::spawn(async move {
            tokio::select! {
                biased;
                () = seat.must_go() => "must go",
                () = seat.is_closing() => "may go",
            }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        seats.close();
        assert_eq!(waiting.await.unwrap(), "may go");
        // Later comers as well.
        let seat = seats.take().await;
        assert!(!must_go(&seat) && seat.is_closing().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_asked_while_there_is_room_and_the_busy_never() {
        let seats = Seats::new(2);
        let (one, two) = (seats.take().await, seats.take().await);
        one.rests();
        assert!(!must_go(&one) && one.works());
        let waiting = tokio::spawn({
            let seats = Arc::clone(&seats);
            async move { seats.take().await }
        });
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!must_go(&one) && !must_go(&two) && !waiting.is_finished());
        two.rests();
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(must_go(&two) && !must_go(&one));
        drop(two);
        let new = waiting.await.unwrap();
        assert!(!must_go(&new));
        seats.clear();
        assert!(must_go(&one) && must_go(&new), "at the end all go");
    }
}
