//! Committed changes -> memory. The only writer of what the data plane reads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::activity::Activity;
use super::admin_book::AdminBook;
use super::arm::Armed;
use super::directory::Directory;
use super::ledger::Ledger;
use super::rates::Rates;
use super::trail::Trail;
use super::unused::Unused;
use crate::domain::{ClientId, Credential, CredentialState, UnixTime};
use crate::revocation::{CutReason, RevocationSet, Standing, Streams};
use crate::store::codec::{CodecError, CutOff, CutOffSubject, Record, RecordId, StoredKey};
use crate::store::{Committed, Effect, Entry, Key, Observer, Revision, Store, StoreError};

/// What committed changes amount to.
#[derive(Default)]
pub struct Memory {
    /// What is dead: asked on every request.
    pub revoked: RevocationSet,
    /// What is under way.
    pub streams: Arc<Streams>,
    /// All credentials, the revoked ones too.
    pub directory: Directory,
    /// All administrators.
    pub admins: AdminBook,
    /// Who did what.
    pub trail: Trail,
    /// What each credential has left of its rate.
    pub request_rates: Rates,
    /// What each client has left of the token endpoint's rate.
    pub token_rates: Rates,
    /// The first receipts of what was revoked.
    pub ledger: Ledger,
    /// Roles that are armed for a while.
    pub armed: Armed,
    /// Credentials with secrets that end when they are unused.
    pub unused: Unused,
    /// When and for what credentials were used.
    pub activity: Activity,
    /// The signing keys as they lie in the store, sealed.
    pub keys: Mutex<Vec<StoredKey>>,
    /// Small things of the gateway's own, by name.
    pub meta: Mutex<BTreeMap<String, Vec<u8>>>,
    /// The revision that all this is up to.
    revision: AtomicU64,
}

/// Why the store could not be brought into memory.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The engine could not read it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record could not be understood.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Memory {
    /// Loads all there is. To be called once, before anything is served.
    ///
    /// # Errors
    /// When anything can't be read or understood: less than all is nothing.
    pub fn load(&self, store: &dyn Store) -> Result<Revision, LoadError> {
        let mut fault = None;
        let revision = store.load(&mut |entry| {
            if fault.is_none()
                && let Err(error) = self.learn(&entry)
            {
                fault = Some(error);
            }
        })?;
        if let Some(error) = fault {
            return Err(error.into());
        }
        self.revision.store(revision, Ordering::Release);
        Ok(revision)
    }

    /// The revision that memory is up to.
    pub fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// Takes one record in and cuts what it ends. Returns how much that was.
    fn learn(&self, entry: &Entry) -> Result<usize, CodecError> {
        Ok(match Record::decode(entry)? {
            Record::Credential(credential) => self.learn_credential(credential, entry.revision),
            Record::RevokedToken(token) => {
                let before = self.revoked.revoke_token(token.jti, token.expires_at);
                let ended = match token.client_id {
                    Some(client) => self
                        .streams
                        .cut_client(client, CutReason::Revoked, |live| live.jti == token.jti),
                    None => {
                        self.streams.cut_any(CutReason::Revoked, |_, live| live.jti == token.jti)
                    }
                };
                self.ledger.put_closed(entry.revision, ended);
                let until = self.revoked.kept_until(token.jti);
                self.ledger.put_token(&token, entry.revision, before, until);
                ended
            }
            Record::CutOff(cut) => self.learn_cut_off(cut, entry.revision),
            Record::SigningKey(key) => {
                let mut keys = self.keys.lock();
                keys.retain(|known| known.kid != key.kid);
                keys.push(key);
                0
            }
            Record::Usage(usage) => {
                self.activity.learn(usage);
                0
            }
            Record::Administrator(admin) => {
                self.admins.put(admin, entry.revision);
                0
            }
            Record::Audit(revision, line) => {
                self.trail.put(revision, line);
                0
            }
            Record::AuditHead => 0,
            Record::Meta { name, value } => {
                if !self.ledger.put_meta(&name, &value) {
                    self.meta.lock().insert(name, value);
                }
                0
            }
        })
    }

    fn learn_credential(&self, mut credential: Credential, revision: Revision) -> usize {
        self.directory.fold(&mut credential);
        let client = credential.client_id;
        let before = self.revoked.standing(client);
        self.revoked.set_standing(client, Standing::of(&credential, revision));
        self.armed.put(&credential);
        self.unused.put(&credential);
        let ended = match credential.state {
            CredentialState::Revoked(_) => {
                self.streams.cut_client(client, CutReason::Revoked, |_| true)
            }
            CredentialState::Suspended => {
                self.streams.cut_client(client, CutReason::Suspended, |_| true)
            }
            CredentialState::Active => {
                let kept = |generation| {
                    credential.secrets.iter().any(|s| s.generation == generation && !s.retired)
                };
                let revoked = CutReason::Revoked;
                let ended = self.streams.cut_client(client, revoked, |live| !kept(live.generation));
                ended + self.cut_narrowed(client, before.as_deref())
            }
        };
        // Whoever finds it dead in the directory asks the ledger next.
        self.ledger.put_closed(revision, ended);
        self.directory.put(credential, revision);
        ended
    }

    /// Cuts what ran on rights that were lost since `before`.
    fn cut_narrowed(&self, client: ClientId, before: Option<&Standing>) -> usize {
        match (before, self.revoked.standing(client)) {
            (Some(before), Some(now)) if !now.covers(before) => {
                self.streams.cut_client(client, CutReason::Narrowed, |live| !live.holds(&now))
            }
            _ => 0,
        }
    }

    fn learn_cut_off(&self, cut: CutOff, revision: Revision) -> usize {
        let before = cut.issued_before;
        let ended = match cut.subject.clone() {
            CutOffSubject::Client(client) => {
                self.revoked.cut_off_client(client, before);
                self.streams.cut_client(client, CutReason::Revoked, |live| live.issued_at < before)
            }
            CutOffSubject::Account(account) => {
                self.revoked.cut_off_account(account.clone(), before);
                self.streams.cut_any(CutReason::Revoked, |_, live| {
                    live.account == account && live.issued_at < before
                })
            }
        };
        self.ledger.put_closed(revision, ended);
        self.ledger.put_cut_off(&cut, revision);
        ended
    }

    fn forget(&self, key: &Key) {
        match RecordId::decode(key) {
            Ok(RecordId::RevokedToken { hour, jti }) => {
                let end = UnixTime::from_secs((i64::from(hour) + 1) * 3600);
                self.revoked.forget_token(jti, end);
                self.ledger.forget_token(hour, jti);
            }
            Ok(RecordId::Administrator(name)) => self.admins.remove(&name),
            Ok(RecordId::SigningKey(kid)) => self.keys.lock().retain(|key| key.kid != kid),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a removed key can't be read"),
        }
    }
}

impl Observer for Memory {
    fn committed(&self, change: &Committed) -> usize {
        let mut ended = 0;
        for effect in &change.effects {
            match effect {
                Effect::Put(entry) => match self.learn(entry) {
                    Ok(count) => ended += count,
                    // We wrote it ourselves a moment ago; a start would refuse it.
                    Err(error) => tracing::error!(%error, "a committed record can't be read back"),
                },
                Effect::Deleted(key) => self.forget(key),
            }
        }
        self.revision.store(change.revision, Ordering::Release);
        ended
    }
}
