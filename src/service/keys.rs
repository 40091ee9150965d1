//! The signing keys at start: those that lie sealed in the store, one more if
//! it takes one, and the operator's own if there is one.
//!
//! The newest key of the store whose time has come signs, unless the operator
//! gave another; all are believed. It also makes sure that the master key is the
//! one that this store was made with: with another, every secret would be wrong
//! without a word.

mod revoke;
#[cfg(test)]
mod revoke_tests;
mod ring;
mod rotate;
#[cfg(test)]
mod rotate_tests;
#[cfg(test)]
mod tests;

pub use revoke::{KeyRevokeError, RevokedKeys, revoke};
pub(super) use revoke::{end_operators, read_revoked};
pub use ring::{KeyState, KeyStatus, list, refresh};
pub use rotate::{RotateError, retire, rotate};

use std::sync::Arc;
use std::time::Duration;

use super::Memory;
use crate::domain::{Action, AuditEntry, Changes, Clock, Entropy, Kid, SecretText, UnixTime};
use crate::store::codec::{self, StoredKey};
use crate::store::{Change, CommitError, Guard, Op, Store};
use crate::token::{Algorithm, KeyError, Keyring, SealError, Sealer, SigningKey, generate};

/// The actor in the audit trail.
const ACTOR: &str = "gateway";
/// The record that says which algorithm the configuration asked for last: a key
/// of another one that a rotation made stays, until the configuration changes.
const CONFIGURED: &str = "configured-algorithm";
/// The record that only the right master key can open.
const SEAL_CHECK: &str = "seal-check";

/// What preparing works with: the context does not exist yet, since the
/// snapshot in it needs the keys.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// Loaded and observed by `memory`.
    pub store: &'a dyn Store,
    /// What the store holds.
    pub memory: &'a Memory,
    /// Opens what is sealed.
    pub sealer: &'a Sealer,
    /// Where the master key came from, for messages: a path.
    pub master_key_file: &'a str,
    /// Dates a new key.
    pub clock: &'a dyn Clock,
    /// For sealing.
    pub entropy: &'a dyn Entropy,
}

/// Why there are no keys to start with.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The master key is another one, or the record is damaged.
    #[error(
        "the {what} in the store was sealed with another master key than the one in {file}. \
         Put back the key file that this store was made with (from the backup it came with). \
         Without it nobody can recover the store: neither its signing keys nor one secret; \
         then start with an empty store folder and mint all credentials anew"
    )]
    WrongMasterKey {
        /// What could not be opened.
        what: String,
        /// The file that was tried.
        file: String,
    },
    /// A stored key is not what its record says.
    #[error("the signing key {kid} in the store is not usable: {why}; restore a backup")]
    Unusable {
        /// The key.
        kid: Kid,
        /// What is wrong with it.
        why: String,
    },
    /// The operator's key can't be used.
    #[error("oauth.signing_key_file {0}")]
    Operator(KeyError),
    /// The operator's key is for another algorithm than the configuration asks for.
    #[error(
        "oauth.signing_key_file holds a key for {has}, but oauth.algorithm is {wanted}; \
         set algorithm = \"{has}\", or give another key"
    )]
    OperatorAlgorithm {
        /// What the key is for.
        has: Algorithm,
        /// What the configuration says.
        wanted: Algorithm,
    },
    /// A new key could not be made.
    #[error("a new signing key {0}")]
    Generate(KeyError),
    /// A new key could not be sealed.
    #[error("a new signing key could not be sealed: {0}")]
    Seal(SealError),
    /// A new key could not be kept.
    #[error("a new signing key could not be stored: {0}")]
    Store(#[from] CommitError),
}

/// Brings the keys into shape. `wanted` is the configured algorithm; where the
/// configuration leaves it out, `None`, the operator's key decides, else the
/// newest key of the store, and a first key is for EdDSA.
///
/// # Errors
/// See [`KeysError`]; nothing was changed, unless the store's answer was lost.
pub async fn prepare(
    means: Means<'_>,
    wanted: Option<Algorithm>,
    operator_pem: Option<&SecretText>,
) -> Result<Keyring, KeysError> {
    let checked = check_seal(&means)?;
    let mut keys = open_all(&means)?;
    let operator = operator_pem.map(|pem| read_operator(pem, wanted)).transpose()?;
    // Not an error: a gateway whose key was revoked must be able to restart.
    let operator = operator.filter(|key| {
        let dead = means.memory.revoked_keys.first(key.kid()).is_some();
        if dead {
            tracing::error!(kid = %key.kid(), "the key of oauth.signing_key_file was revoked and is \
                not used; give another one, or remove the line");
        }
        !dead
    });
    let mut change = Change::default();
    if !checked {
        change.guards.push(Guard::Absent(codec::key::meta(SEAL_CHECK)));
        change.ops.push(seal_check(&means)?);
    }
    let newest = keys.first().map(|(_, key)| key.algorithm());
    let asked_before = means.memory.meta.lock().get(CONFIGURED).cloned();
    let asked_now = wanted.map(|wanted| wanted.as_str().as_bytes().to_vec());
    let is_news = asked_now.is_some() && asked_now != asked_before;
    if let Some(asked) = asked_now.filter(|_| is_news && operator.is_none()) {
        change.ops.push(codec::meta(CONFIGURED, &asked));
    }
    let wanted = wanted.unwrap_or_else(|| newest.unwrap_or(Algorithm::EdDsa));
    if operator.is_none() && newest != Some(wanted) && (is_news || newest.is_none()) {
        let why = newest.map_or_else(
            || "the first key".to_owned(),
            |old| format!("the algorithm changed from {old} to {wanted}"),
        );
        let made = keys.first().map(|(made, _)| *made);
        let at = at_least_after(means.clock.now(), made);
        let entry = AuditEntry {
            at: means.clock.now(),
            actor: ACTOR.to_owned(),
            source: ACTOR.to_owned(),
            action: Action::KeyCreated,
            target: String::new(),
            reason: Some(why),
            changes: Vec::new(),
        };
        let key = NewKey::make(means.sealer, means.entropy, wanted, at, means.clock.now())?;
        change.guards.push(key.guard());
        change.ops.extend(key.ops(entry));
        keys.insert(0, (at, key.key));
    }
    if !change.ops.is_empty() {
        means.store.commit(change).await?;
    }
    ring::build(means.memory, means.sealer, operator.map(Arc::new), means.clock.now()).map_err(
        |error| match error {
            ring::RingError::Key { kid, error } => explain(&means, kid, error),
            // There is one by now; an error rather than a panic if there were not.
            ring::RingError::Empty => KeysError::Generate(KeyError::Generation),
        },
    )
}

/// Newest even if the clock went back since the last one was made.
fn at_least_after(now: UnixTime, last: Option<UnixTime>) -> UnixTime {
    last.map_or(now, |last| now.max(last.plus(Duration::from_millis(1))))
}

/// What a sealed key is bound to: one can't be put in another's place.
fn context(kid: &Kid) -> String {
    format!("signing key {kid}")
}

/// True if the store has the check and it opens; false if it has none yet.
fn check_seal(means: &Means<'_>) -> Result<bool, KeysError> {
    let kept = means.memory.meta.lock().get(SEAL_CHECK).cloned();
    match kept {
        None => Ok(false),
        Some(sealed) => means.sealer.open(SEAL_CHECK, &sealed).map(|_| true).map_err(|_| {
            KeysError::WrongMasterKey {
                what: "seal check".to_owned(),
                file: means.master_key_file.to_owned(),
            }
        }),
    }
}

fn seal_check(means: &Means<'_>) -> Result<Op, KeysError> {
    let sealed = means.sealer.seal(SEAL_CHECK, b"portcullis", means.entropy);
    Ok(codec::meta(SEAL_CHECK, &sealed.map_err(KeysError::Seal)?))
}

/// All keys of the store, the newest first.
fn open_all(means: &Means<'_>) -> Result<Vec<(UnixTime, SigningKey)>, KeysError> {
    let stored = ring::newest_first(means.memory);
    let opened = |key: &StoredKey| {
        let opened = open(means.sealer, key);
        let opened = opened.map_err(|fault| explain(means, key.kid.clone(), fault))?;
        Ok((key.created_at, opened))
    };
    stored.iter().map(opened).collect()
}

/// Why a stored key can't be opened.
#[derive(Debug)]
enum OpenFault {
    /// It was sealed with something else.
    Seal,
    /// It is not what its record says.
    Unusable(String),
}

fn open(sealer: &Sealer, stored: &StoredKey) -> Result<SigningKey, OpenFault> {
    let der = sealer.open(&context(&stored.kid), &stored.sealed).map_err(|_| OpenFault::Seal)?;
    let key =
        SigningKey::from_pkcs8(&der).map_err(|error| OpenFault::Unusable(error.to_string()))?;
    if *key.kid() != stored.kid || key.algorithm().as_str() != stored.algorithm {
        return Err(OpenFault::Unusable("it is another key than its record says".to_owned()));
    }
    Ok(key)
}

fn explain(means: &Means<'_>, kid: Kid, fault: OpenFault) -> KeysError {
    match fault {
        OpenFault::Seal => KeysError::WrongMasterKey {
            what: format!("signing key {kid}"),
            file: means.master_key_file.to_owned(),
        },
        OpenFault::Unusable(why) => KeysError::Unusable { kid, why },
    }
}

fn read_operator(pem: &SecretText, wanted: Option<Algorithm>) -> Result<SigningKey, KeysError> {
    let key = SigningKey::from_pem(pem.expose()).map_err(KeysError::Operator)?;
    match wanted {
        Some(wanted) if wanted != key.algorithm() => {
            Err(KeysError::OperatorAlgorithm { has: key.algorithm(), wanted })
        }
        _ => Ok(key),
    }
}

/// A key that is not kept yet.
struct NewKey {
    key: SigningKey,
    stored: StoredKey,
}

impl NewKey {
    fn make(
        sealer: &Sealer,
        entropy: &dyn Entropy,
        algorithm: Algorithm,
        created_at: UnixTime,
        activates_at: UnixTime,
    ) -> Result<Self, KeysError> {
        let der = generate(algorithm).map_err(KeysError::Generate)?;
        let key = SigningKey::from_pkcs8(&der).map_err(KeysError::Generate)?;
        let kid = key.kid().clone();
        let sealed = sealer.seal(&context(&kid), &der, entropy).map_err(KeysError::Seal)?;
        let algorithm = algorithm.as_str().to_owned();
        Ok(NewKey { key, stored: StoredKey { kid, algorithm, created_at, activates_at, sealed } })
    }

    fn guard(&self) -> Guard {
        Guard::Absent(codec::key::signing_key(&self.stored.kid))
    }

    /// What keeps it, with its line in the trail.
    fn ops(&self, entry: AuditEntry) -> [Op; 2] {
        let StoredKey { kid, algorithm, activates_at, .. } = &self.stored;
        let changes =
            Changes::new().made("algorithm", algorithm).made("activates_at", activates_at);
        let entry = AuditEntry { target: kid.to_string(), changes: changes.into_vec(), ..entry };
        [codec::put(&self.stored), codec::audit(&entry)]
    }
}
