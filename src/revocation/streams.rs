//! What is under way, and how it is cut.
//!
//! Every permitted request with a token registers here before its last
//! revocation check, so that a revocation between the two finds it.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Poll;

use futures::task::AtomicWaker;

use super::set::ById;
use crate::domain::{AccountId, ClientId, Generation, Jti, UnixTime};
use crate::token::VerifiedToken;

/// Why something under way was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutReason {
    /// Its token, credential or secret was revoked.
    Revoked,
    /// Its credential was suspended.
    Suspended,
    /// Its token's or credential's time is over.
    Expired,
}

impl CutReason {
    /// All of them.
    pub const ALL: [CutReason; 3] = [CutReason::Revoked, CutReason::Suspended, CutReason::Expired];

    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            CutReason::Revoked => "revoked",
            CutReason::Suspended => "suspended",
            CutReason::Expired => "expired",
        }
    }

    fn code(self) -> u8 {
        match self {
            CutReason::Revoked => 1,
            CutReason::Suspended => 2,
            CutReason::Expired => 3,
        }
    }
}

/// The string by which one request is pulled down. Cut once, it stays cut.
#[derive(Debug, Default)]
pub struct CutSlot {
    reason: AtomicU8,
    waker: AtomicWaker,
}

impl CutSlot {
    /// Cuts; the first reason stands. True if this call did it.
    pub fn cut(&self, reason: CutReason) -> bool {
        let cut = self
            .reason
            .compare_exchange(0, reason.code(), Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        self.waker.wake();
        cut
    }

    /// The reason, once cut.
    pub fn reason(&self) -> Option<CutReason> {
        let code = self.reason.load(Ordering::Acquire);
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
}

/// Something under way, and what it depends on.
#[derive(Clone, Debug)]
pub struct Live {
    /// The token.
    pub jti: Jti,
    /// The tenant.
    pub account: AccountId,
    /// The secret that minted the token.
    pub generation: Generation,
    /// When the token was issued.
    pub issued_at: UnixTime,
    /// The token's own end, clock skew included.
    pub ends_at: UnixTime,
    slot: Arc<CutSlot>,
}

impl Live {
    fn slot(&self) -> Arc<CutSlot> {
        Arc::clone(&self.slot)
    }
}

/// Never to be called under a lock of the registry: a cut wakes a task, and
/// what that runs may drop a [`StreamGuard`].
fn cut_all(picked: &[Arc<CutSlot>], reason: CutReason) -> usize {
    picked.iter().filter(|slot| slot.cut(reason)).count()
}

/// All that is under way.
#[derive(Default)]
pub struct Streams {
    live: ById<ClientId, HashMap<u64, Live>>,
    next: AtomicU64,
}

impl Streams {
    /// Registers a request that runs on `token` until the guard is dropped.
    pub fn register(
        self: &Arc<Self>,
        token: &VerifiedToken,
        ends_at: UnixTime,
        slot: Arc<CutSlot>,
    ) -> StreamGuard {
        let live = Live {
            jti: token.jti(),
            account: token.account().clone(),
            generation: token.generation(),
            issued_at: token.issued_at(),
            ends_at,
            slot,
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let client = token.client_id();
        self.live.entry(client).or_default().insert(id, live);
        StreamGuard { streams: Arc::clone(self), client, id }
    }

    /// Cuts what one credential has under way and `which` picks. Returns how many.
    pub fn cut_client(
        &self,
        client: ClientId,
        reason: CutReason,
        which: impl Fn(&Live) -> bool,
    ) -> usize {
        let picked = match self.live.get(&client) {
            Some(lives) => lives.values().filter(|live| which(live)).map(Live::slot).collect(),
            None => Vec::new(),
        };
        cut_all(&picked, reason)
    }

    /// Cuts whatever `which` picks, of anybody. Returns how many.
    pub fn cut_any(&self, reason: CutReason, which: impl Fn(ClientId, &Live) -> bool) -> usize {
        let mut picked = Vec::new();
        for entry in &self.live {
            let mine = entry.values().filter(|live| which(*entry.key(), live));
            picked.extend(mine.map(Live::slot));
        }
        cut_all(&picked, reason)
    }

    /// How many requests with a token are under way.
    pub fn count(&self) -> usize {
        self.live.iter().map(|entry| entry.len()).sum()
    }

    /// How many of one credential are under way.
    pub fn count_of(&self, client: ClientId) -> usize {
        self.live.get(&client).map_or(0, |lives| lives.len())
    }
}

/// Keeps a request registered.
pub struct StreamGuard {
    streams: Arc<Streams>,
    client: ClientId,
    id: u64,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        if let Some(mut lives) = self.streams.live.get_mut(&self.client) {
            lives.remove(&self.id);
        }
        self.streams.live.remove_if(&self.client, |_, lives| lives.is_empty());
    }
}
