//! The string by which one request is pulled down, and when it is too late for that.
//!
//! A request is under way until the last of its answer is handed over to who transports
//! it: from then on it is beyond recall, and counts no more. Not before, for its client
//! may take its time; and not after, for who has read its answer may ask the next thing.
//! Whether a last write takes all that is left shows once it is made. Where it does not,
//! the request is taken back: it is under way as it was.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;

/// Why something under way was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// Its token, credential or secret was revoked.
    Revoked,
    /// Its credential was suspended.
    Suspended,
    /// Its token's or credential's time is over.
    Expired,
    /// Its credential lost the right that it runs on.
    Narrowed,
}

impl CutReason {
    /// All of them.
    pub const ALL: [CutReason; 4] =
        [CutReason::Revoked, CutReason::Suspended, CutReason::Expired, CutReason::Narrowed];

    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            CutReason::Revoked => "revoked",
            CutReason::Suspended => "suspended",
            CutReason::Expired => "expired",
            CutReason::Narrowed => "narrowed",
        }
    }

    fn code(self) -> u8 {
        match self {
            CutReason::Revoked => 1,
            CutReason::Suspended => 2,
            CutReason::Expired => 3,
            CutReason::Narrowed => 4,
        }
    }
}

/// What is known of a slot: why it is cut, in the lower bits, and these.
const REASON: u8 = 0b0111;
/// All of the answer has come: whoever writes next may write the end of it.
const ENDS: u8 = 0b1000;
/// No more is left of it to be written, unless it is taken back.
const HANDED_OVER: u8 = 0b1_0000;

/// What one request hangs on. Cut once, it stays cut.
#[derive(Debug, Default)]
pub struct CutSlot {
    state: AtomicU8,
    waker: AtomicWaker,
}

impl CutSlot {
    /// Cuts; the first reason stands. True if this call did it: not where it was too late.
    /// What is taken back then is cut all the same.
    pub fn cut(&self, reason: CutReason) -> bool {
        let cut = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
            (state & REASON == 0).then_some(state | reason.code())
        });
        self.waker.wake();
        cut.is_ok_and(|before| before & HANDED_OVER == 0)
    }

    /// The reason, once cut.
    pub fn reason(&self) -> Option<CutReason> {
        let state = self.state.load(Ordering::Acquire);
        let code = if state & HANDED_OVER == 0 { state & REASON } else { 0 };
        CutReason::ALL.into_iter().find(|reason| reason.code() == code)
    }

    /// Waits until cut. One task may wait.
    pub async fn wait(&self) -> CutReason {
        poll_fn(|context| {
            if let Some(reason) = self.reason() {
                return Poll::Ready(reason);
            }
            self.waker.register(context.waker());
            self.reason().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// All of the answer has come, and nothing else is under way.
    pub fn ends(&self) {
        self.state.fetch_or(ENDS, Ordering::AcqRel);
    }

    /// Whether all of the answer has come.
    pub(crate) fn has_ended(&self) -> bool {
        self.state.load(Ordering::Acquire) & ENDS != 0
    }

    /// To be asked before each write: if the answer ends, it may be handed over with this
    /// one. False where it was cut before: then nothing is to be written any more.
    pub fn hands_over(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            ENDS => {
                let over = ENDS | HANDED_OVER;
                let (success, failure) = (Ordering::AcqRel, Ordering::Acquire);
                self.state.compare_exchange(ENDS, over, success, failure).is_ok()
            }
            state => state & ENDS == 0 || state & HANDED_OVER != 0,
        }
    }

    /// That write has left some of it behind: it is under way.
    pub fn takes_back(&self) {
        if self.is_handed_over()
            && self.state.fetch_and(!HANDED_OVER, Ordering::AcqRel) & REASON != 0
        {
            // Cut in between.
            self.waker.wake();
        }
    }

    /// Whether there is nothing left to be cut.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.state.load(Ordering::Acquire) & HANDED_OVER != 0
    }
}
