//! Whether somebody who presents a `client_id` and a secret is that client
//! (RFC 6749 section 2.3).
//!
//! Whatever is wrong, the answer is one and the same and takes about as long:
//! the secret is hashed once and compared with every slot, known or not. Which
//! it was is a word for the log and never for the client.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::Context;
use crate::domain::{ClientId, Credential, CredentialState, Generation, SecretHash, UnixTime};

/// Comparisons that every attempt makes at least: the secrets that a credential
/// has while it is rotated.
const SLOTS: usize = 2;

/// Who presented these is not a client that may have tokens now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("client authentication failed")]
pub struct BadClient {
    /// Why, for the log. The client must not learn it.
    pub reason: BadClientReason,
}

/// Why a client was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadClientReason {
    /// No credential has this id.
    UnknownClient,
    /// The secret is none of the credential's.
    WrongSecret,
    /// The secret was right until it was retired.
    SecretRetired,
    /// The credential is dead.
    Revoked,
    /// The credential sleeps.
    Suspended,
    /// The credential's time is over.
    Expired,
    /// The credential belongs to another account than the path names.
    WrongAccount,
}

impl BadClientReason {
    /// All of them.
    pub const ALL: [BadClientReason; 7] = [
        BadClientReason::UnknownClient,
        BadClientReason::WrongSecret,
        BadClientReason::SecretRetired,
        BadClientReason::Revoked,
        BadClientReason::Suspended,
        BadClientReason::Expired,
        BadClientReason::WrongAccount,
    ];

    /// The word in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            BadClientReason::UnknownClient => "unknown_client",
            BadClientReason::WrongSecret => "wrong_secret",
            BadClientReason::SecretRetired => "secret_retired",
            BadClientReason::Revoked => "revoked",
            BadClientReason::Suspended => "suspended",
            BadClientReason::Expired => "expired",
            BadClientReason::WrongAccount => "wrong_account",
        }
    }
}

/// Gives the credential, and which of its secrets was presented. `account` is
/// the one that the path names, where it names one.
///
/// # Errors
/// [`BadClient`] for everything that is not a live credential with its own live
/// secret in its own account.
pub fn authenticate(
    ctx: &Context,
    client_id: &str,
    secret: &str,
    account: Option<&str>,
) -> Result<(Arc<Credential>, Generation), BadClient> {
    let presented = ctx.hasher.hash(secret);
    let known = ClientId::parse(client_id).and_then(|id| ctx.memory.directory.get(id));
    let slot = matching_slot(known.as_deref(), &presented);
    let credential = known.ok_or(BadClient { reason: BadClientReason::UnknownClient })?;
    let generation = judge(&credential, slot, account, ctx.now());
    generation.map(|it| (credential, it)).map_err(|reason| BadClient { reason })
}

/// Looks at every slot, whether or not one has matched before.
fn matching_slot(credential: Option<&Credential>, presented: &SecretHash) -> Option<usize> {
    let secrets = credential.map_or(&[][..], |it| it.secrets.as_slice());
    let nothing = [0; 32];
    let mut found = None;
    for slot in 0..secrets.len().max(SLOTS) {
        let kept = secrets.get(slot).map(|it| it.hash.as_bytes());
        let same = verify_slices_are_equal(presented.as_bytes(), kept.unwrap_or(&nothing)).is_ok();
        if same && kept.is_some() {
            found = Some(slot);
        }
    }
    found
}

fn judge(
    credential: &Credential,
    slot: Option<usize>,
    account: Option<&str>,
    now: UnixTime,
) -> Result<Generation, BadClientReason> {
    let secret = slot.and_then(|slot| credential.secrets.get(slot));
    let secret = secret.ok_or(BadClientReason::WrongSecret)?;
    if !secret.lives_at(now) {
        return Err(BadClientReason::SecretRetired);
    }
    match credential.state {
        CredentialState::Active => {}
        CredentialState::Suspended => return Err(BadClientReason::Suspended),
        CredentialState::Revoked(_) => return Err(BadClientReason::Revoked),
    }
    if credential.expires_at.is_some_and(|end| now >= end) {
        return Err(BadClientReason::Expired);
    }
    if account.is_some_and(|account| account != credential.account.as_str()) {
        return Err(BadClientReason::WrongAccount);
    }
    Ok(secret.generation)
}
