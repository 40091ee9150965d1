//! The only form at rest: typed records to keys and bytes and back.
//!
//! A value is one byte of version and what that version says; version 1 is JSON
//! that refuses fields it does not know. What stands in the key is not repeated
//! in the value. Reading is strict: a record that can't be read whole is an
//! error that names its key, never a default.

pub mod key;
mod pack;
mod parts;
mod trail;
mod usage;
mod wire;

#[cfg(test)]
mod tests;

use std::fmt;

use crate::domain::{
    AccountId, Administrator, AuditEntry, ClientId, Credential, Generation, Jti, Kid, ScopeSet,
    UnixTime,
};

pub use key::RecordId;
pub use pack::{MOST_PACKED, Pack, Packed, pack};

use super::{Entry, Key, Op, Revision};

/// One thing that lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A credential with its secrets' hashes.
    Credential(Credential),
    /// A token that was revoked before its time.
    RevokedToken(RevokedToken),
    /// The end of everything issued before a time.
    CutOff(CutOff),
    /// Revoked tokens that may go in the same hour.
    RevokedTokens(Pack),
    /// A signing key, sealed.
    SigningKey(StoredKey),
    /// An administrator.
    Administrator(Administrator),
    /// When and for what a credential was used.
    Usage(Usage),
    /// Who did what, in which commit.
    Audit(Revision, AuditEntry),
    /// The end of the chain of audit entries. Whoever verifies the chain reads
    /// it; nobody else needs to, and one that is no good must stop nobody.
    AuditHead,
    /// A small thing of the gateway's own.
    Meta {
        /// What it is.
        name: String,
        /// Its bytes, as they were given.
        value: Vec<u8>,
    },
}

/// When and for what a credential was used. It lies apart from the credential,
/// so that noting a use never writes the credential itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Whose.
    pub client_id: ClientId,
    /// The last use of each secret and of what it minted.
    pub last_used: Vec<(Generation, UnixTime)>,
    /// The scopes that permitted requests needed.
    pub scopes: ScopeSet,
}

/// A token that was revoked before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedToken {
    /// The token.
    pub jti: Jti,
    /// From when on the record may go: the token is dead by itself.
    pub expires_at: UnixTime,
    /// Whose it is, where that is known.
    pub client_id: Option<ClientId>,
    /// Who revoked it.
    pub revoked_by: String,
    /// When.
    pub revoked_at: UnixTime,
    /// Why, where somebody said why.
    pub reason: Option<String>,
}

/// Whose tokens a cut-off ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CutOffSubject {
    /// One credential's.
    Client(ClientId),
    /// Those of every credential of an account.
    Account(AccountId),
}

/// Everything issued to somebody before a time is dead. Of two, the later counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    /// Whose.
    pub subject: CutOffSubject,
    /// What was issued before this is dead.
    pub issued_before: UnixTime,
    /// Who said so.
    pub by: String,
    /// When.
    pub at: UnixTime,
    /// Why, where somebody said why.
    pub reason: Option<String>,
}

/// A signing key as it is kept: sealed, with what must be known to use it.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its thumbprint.
    pub kid: Kid,
    /// What it signs with (RFC 7518 section 3.1).
    pub algorithm: String,
    /// When it was made. Of two keys that may sign, the newer one does.
    pub created_at: UnixTime,
    /// From when on it may sign.
    pub activates_at: UnixTime,
    /// The private key, encrypted by whoever made this; the store never sees it open.
    pub sealed: Vec<u8>,
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

/// A record that can't be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record under the key {key:?} can't be read: {what}")]
pub struct CodecError {
    /// Where it lies.
    pub key: Key,
    /// What is wrong with it.
    pub what: String,
}

impl Record {
    /// Reads what lies in a store.
    ///
    /// # Errors
    /// When the key is of no known kind, the version is unknown, a field is
    /// unknown, missing or invalid, or key and value contradict each other.
    pub fn decode(entry: &Entry) -> Result<Record, CodecError> {
        let fail = |what: String| CodecError { key: entry.key.clone(), what };
        wire::decode(RecordId::decode(&entry.key)?, &entry.value).map_err(|fault| fail(fault.0))
    }
}

impl RecordId {
    /// Reads a key alone, as of a value that was deleted.
    ///
    /// # Errors
    /// When it is of no known kind.
    pub fn decode(key: &Key) -> Result<RecordId, CodecError> {
        let what = "no record of this version of Portcullis lies under such a key";
        key::parse(key).ok_or_else(|| CodecError { key: key.clone(), what: what.into() })
    }
}

/// A record that lies under a key of its own. Audit entries don't: see [`audit`].
pub trait AtRest: wire::Encode {
    /// Where it lies.
    fn key(&self) -> Key;
}

impl AtRest for Credential {
    fn key(&self) -> Key {
        key::credential(&self.client_id)
    }
}

impl AtRest for RevokedToken {
    fn key(&self) -> Key {
        key::revoked_token(self.expires_at, &self.jti)
    }
}

impl AtRest for CutOff {
    fn key(&self) -> Key {
        key::cut_off(&self.subject)
    }
}

impl AtRest for StoredKey {
    fn key(&self) -> Key {
        key::signing_key(&self.kid)
    }
}

impl AtRest for Usage {
    fn key(&self) -> Key {
        key::usage(&self.client_id)
    }
}

impl AtRest for Administrator {
    fn key(&self) -> Key {
        key::administrator(&self.name)
    }
}

/// Writes a record where it belongs.
pub fn put<T: AtRest>(record: &T) -> Op {
    Op::Put { key: record.key(), value: record.encode() }
}

/// Writes an audit entry with the commit it stands in: at most one a change.
pub fn audit(entry: &AuditEntry) -> Op {
    Op::Append { prefix: key::audit_prefix(), value: wire::Encode::encode(entry) }
}

/// Writes a small thing of the gateway's own, such as the check of a seal.
pub fn meta(name: &str, value: &[u8]) -> Op {
    Op::Put { key: key::meta(name), value: parts::encode_raw(value) }
}
