//! How much of the ends of answers lies with the h2 crate, between the windows that a client
//! has opened and the connection that it may not read.
//!
//! What is there is beyond recall, and its requests count no more. So it is little: where
//! nothing goes out, the next end waits where it is, and its request is under way.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use super::HELD;

/// Of one connection.
#[derive(Debug, Default)]
pub(super) struct Air {
    /// Bytes that were taken and that nobody has seen go out.
    aloft: AtomicUsize,
    /// True while the connection takes nothing.
    is_stuck: AtomicBool,
    is_awaited: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Air {
    /// Waits until so many bytes of an end may be handed over.
    pub(super) fn poll_take(&self, cx: &Context<'_>, bytes: usize) -> Poll<()> {
        if self.takes(bytes) {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock();
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        self.is_awaited.store(true, Ordering::SeqCst);
        drop(waiting);
        // In between it may have gone out.
        if self.takes(bytes) { Poll::Ready(()) } else { Poll::Pending }
    }

    /// One at a time passes by what the client takes slowly.
    fn takes(&self, bytes: usize) -> bool {
        let aloft = self.aloft.load(Ordering::SeqCst);
        let is_stuck = self.is_stuck.load(Ordering::SeqCst);
        let takes = aloft == 0 || !is_stuck && aloft.saturating_add(bytes) <= HELD;
        if takes {
            self.aloft.store(aloft.saturating_add(bytes), Ordering::SeqCst);
        }
        takes
    }

    /// So much of whatever it was went out. It goes round: each stream has its frame.
    pub(super) fn wrote(&self, bytes: usize) {
        let aloft = self.aloft.load(Ordering::SeqCst);
        if aloft > 0 {
            self.aloft.store(aloft.saturating_sub(bytes), Ordering::SeqCst);
            if aloft <= bytes {
                self.wake();
            }
        }
    }

    /// The connection takes nothing.
    pub(super) fn is_stuck(&self) {
        self.is_stuck.store(true, Ordering::SeqCst);
    }

    /// All went out.
    pub(super) fn is_clear(&self) {
        self.is_stuck.store(false, Ordering::SeqCst);
        self.aloft.store(0, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        if self.is_awaited.load(Ordering::SeqCst) {
            let mut waiting = self.waiting.lock();
            self.is_awaited.store(false, Ordering::SeqCst);
            for waker in waiting.drain(..) {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn ends_wait_while_nothing_goes_out() {
        let (air, woken) = (Air::default(), Arc::<Woken>::default());
        let waker = Waker::from(Arc::clone(&woken));
        let takes = |bytes| air.poll_take(&Context::from_waker(&waker), bytes).is_ready();
        let woken = || woken.0.swap(0, Ordering::SeqCst);
        assert!(takes(1) && takes(HELD - 1), "as much as is held of one stream");
        assert!(!takes(1) && !takes(1));
        air.wrote(HELD - 1);
        assert_eq!(woken(), 0);
        air.wrote(1);
        assert_eq!(woken(), 1, "once");
        assert!(takes(2 * HELD), "one always may");
        assert!(!takes(1));
        air.is_clear();
        assert_eq!(woken(), 1);
        air.is_stuck();
        assert!(takes(1) && !takes(1), "one at a time");
        air.wrote(100);
        assert_eq!(woken(), 1);
        assert!(takes(1) && !takes(1), "and on it goes");
        air.is_clear();
        assert_eq!(woken(), 1);
        assert!(takes(1) && takes(1));
        air.is_clear();
        assert_eq!(woken(), 0);
    }
}
