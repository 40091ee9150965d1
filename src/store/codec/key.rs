//! Where each kind of record lies: one prefix a kind, so that keys of one kind
//! stand together and the kind is known without reading the value.

use super::CutOffSubject;
use crate::domain::{AccountId, AdminName, ClientId, Jti, Kid, UnixTime};
use crate::store::{Key, Revision};

/// What a key stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordId {
    /// A credential.
    Credential(ClientId),
    /// A revoked token, by the hour since the epoch in which it expires.
    RevokedToken {
        /// The hour.
        hour: u32,
        /// The token.
        jti: Jti,
    },
    /// Revoked tokens, packed: by the hour, and the first commit that revoked one of
    /// them.
    RevokedTokens {
        /// The hour.
        hour: u32,
        /// The commit.
        first: Revision,
    },
    /// A cut-off.
    CutOff(CutOffSubject),
    /// A signing key.
    SigningKey(Kid),
    /// When and for what a credential was used.
    Usage(ClientId),
    /// An administrator.
    Administrator(AdminName),
    /// An audit entry, by the commit it came with.
    Audit(Revision),
    /// The end of the chain of audit entries.
    AuditHead,
    /// A small thing of the gateway's own.
    Meta(String),
}

const CREDENTIAL: &[u8] = b"c/";
const TOKEN: &[u8] = b"t/";
const PACKED: &[u8] = b"p/";
const CUT_OFF_CLIENT: &[u8] = b"o/c/";
const CUT_OFF_ACCOUNT: &[u8] = b"o/a/";
const SIGNING_KEY: &[u8] = b"k/";
const ADMINISTRATOR: &[u8] = b"a/";
const AUDIT: &[u8] = b"x/";
const META: &[u8] = b"m/";
const USAGE: &[u8] = b"u/";

/// Of a credential.
pub fn credential(id: &ClientId) -> Key {
    join(CREDENTIAL, id.as_bytes())
}

/// Of a revoked token. The hour comes first: what expires together lies together.
pub fn revoked_token(expires_at: UnixTime, jti: &Jti) -> Key {
    revoked_token_in(hour_of(expires_at), jti)
}

/// Of a revoked token whose hour is known.
pub fn revoked_token_in(hour: u32, jti: &Jti) -> Key {
    let mut rest = hour.to_be_bytes().to_vec();
    rest.extend_from_slice(jti.as_bytes());
    join(TOKEN, &rest)
}

/// What the keys of revoked tokens begin with, all of them or those of an hour. Packed
/// ones lie elsewhere.
pub fn revoked_tokens(hour: Option<u32>) -> Key {
    match hour {
        Some(hour) => join(TOKEN, &hour.to_be_bytes()),
        None => join(TOKEN, &[]),
    }
}

/// Of revoked tokens that lie packed; without the first commit, what the keys of all
/// those of an hour begin with.
pub fn packed_tokens(hour: u32, first: Option<Revision>) -> Key {
    let mut rest = hour.to_be_bytes().to_vec();
    rest.extend(first.into_iter().flat_map(Revision::to_be_bytes));
    join(PACKED, &rest)
}

/// When the hour of a key begins.
pub fn begin_of(hour: u32) -> UnixTime {
    UnixTime::from_secs(i64::from(hour) * 3600)
}

/// Of a cut-off.
pub fn cut_off(subject: &CutOffSubject) -> Key {
    match subject {
        CutOffSubject::Client(id) => join(CUT_OFF_CLIENT, id.as_bytes()),
        CutOffSubject::Account(account) => join(CUT_OFF_ACCOUNT, account.as_str().as_bytes()),
    }
}

/// Of a signing key.
pub fn signing_key(kid: &Kid) -> Key {
    join(SIGNING_KEY, kid.as_str().as_bytes())
}

/// Of an administrator.
pub fn administrator(name: &AdminName) -> Key {
    join(ADMINISTRATOR, name.as_str().as_bytes())
}

/// Of when and for what a credential was used.
pub fn usage(id: &ClientId) -> Key {
    join(USAGE, id.as_bytes())
}

/// Of the audit entry that came with a commit.
pub fn audit(revision: Revision) -> Key {
    join(AUDIT, &revision.to_be_bytes())
}

/// Of a small thing of the gateway's own.
pub fn meta(name: &str) -> Key {
    join(META, name.as_bytes())
}

/// What audit keys begin with, for [`crate::store::Op::Append`]; and where the
/// head of their chain lies.
pub fn audit_prefix() -> Key {
    Key(AUDIT.to_vec())
}

/// The hour since the epoch; year 9999 fits with room to spare.
pub fn hour_of(at: UnixTime) -> u32 {
    u32::try_from(at.as_secs() / 3600).unwrap_or(u32::MAX)
}

fn join(prefix: &[u8], rest: &[u8]) -> Key {
    Key([prefix, rest].concat())
}

/// Reads a key; `None` if it is none of ours.
pub(super) fn parse(key: &Key) -> Option<RecordId> {
    let bytes = key.0.as_slice();
    if let Some(rest) = bytes.strip_prefix(CREDENTIAL) {
        return Some(RecordId::Credential(ClientId::from_bytes(rest.try_into().ok()?)));
    }
    if let Some(rest) = bytes.strip_prefix(TOKEN) {
        let (hour, jti) = rest.split_first_chunk::<4>()?;
        let jti = Jti::from_bytes(jti.try_into().ok()?);
        return Some(RecordId::RevokedToken { hour: u32::from_be_bytes(*hour), jti });
    }
    if let Some(rest) = bytes.strip_prefix(PACKED) {
        let (hour, first) = rest.split_first_chunk::<4>()?;
        let first = Revision::from_be_bytes(first.try_into().ok()?);
        return Some(RecordId::RevokedTokens { hour: u32::from_be_bytes(*hour), first });
    }
    if let Some(rest) = bytes.strip_prefix(CUT_OFF_CLIENT) {
        let id = ClientId::from_bytes(rest.try_into().ok()?);
        return Some(RecordId::CutOff(CutOffSubject::Client(id)));
    }
    if let Some(rest) = bytes.strip_prefix(CUT_OFF_ACCOUNT) {
        let account = AccountId::new(text(rest)?).ok()?;
        return Some(RecordId::CutOff(CutOffSubject::Account(account)));
    }
    if let Some(rest) = bytes.strip_prefix(SIGNING_KEY) {
        return Some(RecordId::SigningKey(Kid::new(text(rest)?).ok()?));
    }
    if let Some(rest) = bytes.strip_prefix(ADMINISTRATOR) {
        return Some(RecordId::Administrator(AdminName::new(text(rest)?).ok()?));
    }
    if let Some(rest) = bytes.strip_prefix(AUDIT) {
        if rest.is_empty() {
            return Some(RecordId::AuditHead);
        }
        return Some(RecordId::Audit(Revision::from_be_bytes(rest.try_into().ok()?)));
    }
    if let Some(rest) = bytes.strip_prefix(USAGE) {
        return Some(RecordId::Usage(ClientId::from_bytes(rest.try_into().ok()?)));
    }
    let rest = bytes.strip_prefix(META)?;
    Some(RecordId::Meta(text(rest)?.to_owned()))
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
