//! What every use case works with, so that none takes nine arguments.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::apply::Memory;
use super::front::Front;
use crate::domain::{Clock, Entropy, Rate, SecretHasher, UnixTime};
use crate::policy::Snapshot;
use crate::store::Store;
use crate::token::Sealer;

/// The gateway's state and means.
pub struct Context {
    /// The one door for changes.
    pub store: Arc<dyn Store>,
    /// What committed changes amount to.
    pub memory: Arc<Memory>,
    /// Routes, roles and keys of this moment. Two change it, a reload and the
    /// keys' own life, so each takes the other's half from the world that it
    /// replaces (`rcu`).
    pub world: ArcSwap<Snapshot>,
    /// How tokens are minted.
    pub minting: ArcSwap<Minting>,
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Where unpredictable bytes come from.
    pub entropy: Arc<dyn Entropy>,
    /// Hashes and compares secrets.
    pub hasher: SecretHasher,
    /// Seals what must not lie at rest in clear.
    pub sealer: Sealer,
}

/// How tokens are minted.
#[derive(Clone, Debug)]
pub struct Minting {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The life of a token when the client asks for none.
    pub token_ttl: Duration,
    /// The longest life of a token.
    pub max_token_ttl: Duration,
    /// How often each client may mint; no limit if none.
    pub token_rate: Option<Rate>,
    /// By how much clocks may differ.
    pub clock_skew: Duration,
    /// What becomes of requests before they are judged.
    pub front: Front,
}

/// By how much a clock may have been set back, and what is made still gets a time after
/// the newest of its kind.
const SET_BACK: Duration = Duration::from_secs(60);

impl Context {
    /// The present moment. It never goes behind what was forgotten because it was
    /// over: see [`Context::behind`].
    pub fn now(&self) -> UnixTime {
        self.clock.now().max(self.memory.not_before())
    }

    /// The time to write down for what is made now: after the `newest` of its kind, so
    /// that lists, which go by these times, are in the order of making within a
    /// millisecond too, and while a clock catches up that was set back a little. If it
    /// was set back by more it had been wrong before: then it is believed.
    pub(super) fn now_after(&self, newest: Option<UnixTime>) -> UnixTime {
        let now = self.now();
        match newest {
            Some(newest) if newest >= now && newest.since(now) <= SET_BACK => {
                newest.plus(Duration::from_millis(1))
            }
            _ => now,
        }
    }

    /// By how much the clock is behind the time up to which revocations were forgotten;
    /// zero if it is not. Time stands still until it has caught up.
    pub fn behind(&self) -> Duration {
        self.memory.not_before().since(self.clock.now())
    }
}
