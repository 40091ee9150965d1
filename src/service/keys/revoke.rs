//! Revoking a signing key that others may know: the key and every token that it
//! signed are dead at once and for good, and if it signed, a new one does.
//!
//! What lasts is a record of its own, so that neither a restart nor the key's
//! own file brings it back.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::ring::{newest_first, operator, refresh, signer};
use super::{KeysError, NewKey, at_least_after};
use crate::domain::{Action, Changes, Kid, UnixTime};
use crate::service::change::{Line, Plan, commit, recorded};
use crate::service::revoke::{needed_reason, receipt};
use crate::service::{Actor, ChangeError, Context, First, Receipt, RevokeError};
use crate::store::codec::{self, AtRest};
use crate::store::{Guard, Op, Revision};

/// Followed by the key's name, it names the record.
const REVOKED: &str = "revoked-key/";

/// Keys that are dead for good, each with its first receipt.
#[derive(Default)]
pub struct RevokedKeys(Mutex<BTreeMap<Kid, First>>);

impl RevokedKeys {
    /// Takes a key in.
    pub(in crate::service) fn put(&self, kid: Kid, first: First) {
        self.0.lock().entry(kid).or_insert(first);
    }

    /// Where and when a key was revoked.
    pub fn first(&self, kid: &Kid) -> Option<First> {
        self.0.lock().get(kid).copied()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Reads the record of a revoked key; `None` if it is something else. One whose
/// time can't be read counts all the same.
pub(in crate::service) fn read_revoked(
    name: &str,
    value: &[u8],
    revision: Revision,
) -> Option<(Kid, First)> {
    let kid = Kid::new(name.strip_prefix(REVOKED)?).ok()?;
    let millis = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    Some((kid, First { revision, at: UnixTime::from_millis(millis.unwrap_or_default()) }))
}

/// The record of a key that is revoked.
fn record(kid: &Kid, at: UnixTime) -> Op {
    codec::meta(&format!("{REVOKED}{kid}"), at.as_millis().to_string().as_bytes())
}

/// The operator's own key, and what revokes it, if it is not: no record of the store goes
/// with it.
pub(in crate::service) fn end_operators(ctx: &Context, at: UnixTime) -> Option<(Kid, Op)> {
    let key = operator(ctx, ctx.world.load().keys())?;
    Some((key.kid().clone(), record(key.kid(), at)))
}

/// Why a key was not revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyRevokeError {
    /// There is no such key, the reason is not valid, or it did not commit.
    #[error(transparent)]
    Revoke(#[from] RevokeError),
    /// The key that is to follow it could not be made.
    #[error(transparent)]
    Make(#[from] KeysError),
}

impl From<ChangeError> for KeyRevokeError {
    fn from(error: ChangeError) -> Self {
        KeyRevokeError::Revoke(error.into())
    }
}

/// Ends a key and all tokens that it signed. If it is the one that signs, a new
/// one of the same algorithm does from now on. A second call gives the receipt
/// of the first.
///
/// # Errors
/// See [`KeyRevokeError`].
pub async fn revoke(
    ctx: &Context,
    actor: &Actor,
    kid: &str,
    reason: &str,
) -> Result<Receipt, KeyRevokeError> {
    let reason = needed_reason(reason)?;
    let unknown = || KeyRevokeError::from(RevokeError::Unknown("signing key"));
    let kid = Kid::new(kid).map_err(|_| unknown())?;
    let made = commit(ctx, || {
        if let Some(first) = ctx.memory.revoked_keys.first(&kid) {
            return Ok(Plan::Done(first));
        }
        let world = ctx.world.load();
        let signing = world.keys().signing();
        let (now, stored) = (ctx.now(), newest_first(&ctx.memory));
        let known = stored.iter().find(|key| key.kid == kid);
        // The operator's own key is in no record: it is there because it signs.
        let signs = *signing.kid() == kid;
        if known.is_none() && !signs {
            return Err(unknown());
        }
        let mut guards = vec![Guard::Absent(codec::key::meta(&format!("{REVOKED}{kid}")))];
        let mut ops = Vec::new();
        let mut changes =
            Changes::new().field("algorithm", known.map(|key| key.algorithm.clone()), None);
        // Its time may have come a moment ago.
        if signs || signer(&stored, now).is_some_and(|key| key.kid == kid) {
            let created_at = at_least_after(now, stored.first().map(|key| key.created_at));
            let (entropy, algorithm) = (&*ctx.entropy, signing.algorithm());
            let next = NewKey::make(&ctx.sealer, entropy, algorithm, created_at, now)?;
            guards.push(next.guard());
            changes = changes.made("signs_now", &next.stored.kid);
            // First, so that there is a key to sign with at every moment.
            ops.push(codec::put(&next.stored));
        }
        ops.push(record(&kid, now));
        ops.extend(known.map(|key| Op::Delete { key: key.key() }));
        let line = Line {
            actor,
            at: now,
            action: Action::KeyRevoked,
            target: kid.to_string(),
            reason: Some(reason.clone()),
            changes,
        };
        Ok(Plan::Commit(recorded(guards, ops, line), now))
    });
    let made = made.await?;
    refresh(ctx);
    Ok(receipt(ctx, made).await)
}
