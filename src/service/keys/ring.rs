//! From the stored keys and a time to the ring that signs and believes: the one
//! place that says which key signs, which waits, and which goes.
//!
//! Of the keys whose time has come the one that was made last signs. A key is
//! believed for as long as a token that it signed may live.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::{OpenFault, open};
use crate::domain::{Kid, UnixTime};
use crate::service::{Context, Memory};
use crate::store::codec::StoredKey;
use crate::token::{Keyring, Sealer, SigningKey};

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, so that others learn of it; it will sign.
    Next,
    /// It signs.
    Active,
    /// Believed until the last token that it signed has ended.
    Retiring,
}

/// A key, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its name: the thumbprint.
    pub kid: String,
    /// What it signs with.
    pub algorithm: String,
    /// Where it is.
    pub state: KeyState,
    /// When it was made; `None` for the operator's own.
    pub created_at: Option<UnixTime>,
    /// From when on it may sign; `None` for the operator's own.
    pub activates_at: Option<UnixTime>,
    /// When it is no longer believed; `None` while nothing follows it.
    pub retires_at: Option<UnixTime>,
}

/// Why there is no ring.
#[derive(Debug)]
pub(super) enum RingError {
    /// A key can't be opened.
    Key { kid: Kid, error: OpenFault },
    /// There is no key at all.
    Empty,
}

/// Which of the stored keys signs at `now`, the newest first.
pub(super) fn signer(newest_first: &[StoredKey], now: UnixTime) -> Option<&StoredKey> {
    let active = newest_first.iter().find(|key| key.activates_at <= now);
    // Where the clock went back before all of them, the oldest is the least wrong.
    active.or(newest_first.last())
}

/// All stored keys that are not revoked, the newest first.
pub(super) fn newest_first(memory: &Memory) -> Vec<StoredKey> {
    let mut keys = memory.keys.lock().clone();
    keys.retain(|key| memory.revoked_keys.first(&key.kid).is_none());
    keys.sort_by(|a, b| (b.created_at, &b.kid).cmp(&(a.created_at, &a.kid)));
    keys
}

pub(super) fn build(
    memory: &Memory,
    sealer: &Sealer,
    operator: Option<Arc<SigningKey>>,
    now: UnixTime,
) -> Result<Keyring, RingError> {
    let stored = newest_first(memory);
    let mut believed = Vec::with_capacity(stored.len());
    for key in &stored {
        let opened = open(sealer, key);
        let fault = |error| RingError::Key { kid: key.kid.clone(), error };
        believed.push(Arc::new(opened.map_err(fault)?));
    }
    let kid = signer(&stored, now).map(|key| &key.kid);
    let own = believed.iter().find(|key| Some(key.kid()) == kid).cloned();
    let signing = operator.or(own).ok_or(RingError::Empty)?;
    Ok(Keyring::new(signing, believed.iter().map(|key| key.verifying_key()).collect()))
}

/// The operator's own key, if it signs: it does whenever there is one that is not
/// revoked, and the store never holds it.
pub(super) fn operator(ctx: &Context, ring: &Keyring) -> Option<Arc<SigningKey>> {
    let signing = ring.signing();
    let stored = ctx.memory.keys.lock().iter().any(|key| key.kid == *signing.kid());
    let dead = ctx.memory.revoked_keys.first(signing.kid()).is_some();
    (!stored && !dead).then(|| Arc::clone(signing))
}

/// Brings the ring up to the stored keys and the time. True if it is another
/// one now. Whoever swaps the world otherwise keeps its ring: see
/// [`Context::world`].
pub fn refresh(ctx: &Context) -> bool {
    let mut swapped = false;
    ctx.world.rcu(|world| {
        swapped = false;
        let (now, ring) = (ctx.now(), world.keys());
        let own = operator(ctx, ring);
        let stored = newest_first(&ctx.memory);
        let kid = own.as_ref().map(|key| key.kid()).or(signer(&stored, now).map(|key| &key.kid));
        let mut wanted: BTreeSet<&str> = stored.iter().map(|key| key.kid.as_str()).collect();
        wanted.extend(own.as_ref().map(|key| key.kid().as_str()));
        if kid == Some(ring.signing().kid()) && wanted == ring.kids().collect() {
            return Arc::clone(world);
        }
        match build(&ctx.memory, &ctx.sealer, own.clone(), now) {
            Ok(ring) => {
                swapped = true;
                Arc::new(world.with_keys(Arc::new(ring)))
            }
            Err(error) => {
                tracing::error!(?error, "the signing keys can't be opened; the old ones stay");
                Arc::clone(world)
            }
        }
    });
    swapped
}

/// When the key at `place` is no longer believed: the first of those made after
/// it takes over, and then the last token that it signed ends.
pub(super) fn end(newest_first: &[StoredKey], place: usize, life: Duration) -> Option<UnixTime> {
    let followers = newest_first.iter().take(place);
    followers.map(|key| key.activates_at).min().map(|from| from.plus(life))
}

/// For how long a token may be believed after it was signed.
pub(super) fn token_life(ctx: &Context) -> Duration {
    let minting = ctx.minting.load();
    minting.max_token_ttl.saturating_add(minting.clock_skew)
}

/// All keys, the newest first.
pub fn list(ctx: &Context) -> Vec<KeyStatus> {
    let (now, life) = (ctx.now(), token_life(ctx));
    let world = ctx.world.load();
    let stored = newest_first(&ctx.memory);
    let signing = world.keys().signing();
    let own = operator(ctx, world.keys()).map(|key| KeyStatus {
        kid: key.kid().to_string(),
        algorithm: key.algorithm().to_string(),
        state: KeyState::Active,
        created_at: None,
        activates_at: None,
        retires_at: None,
    });
    let rest = stored.iter().enumerate().map(|(place, key)| KeyStatus {
        kid: key.kid.to_string(),
        algorithm: key.algorithm.clone(),
        state: match key {
            key if key.kid == *signing.kid() => KeyState::Active,
            key if key.activates_at > now => KeyState::Next,
            _ => KeyState::Retiring,
        },
        created_at: Some(key.created_at),
        activates_at: Some(key.activates_at),
        retires_at: end(&stored, place, life),
    });
    own.into_iter().chain(rest).collect()
}
