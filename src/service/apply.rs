//! Committed changes -> memory. The only writer of what the data plane reads.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::activity::Activity;
use super::admin_book::AdminBook;
use super::arm::Armed;
use super::directory::Directory;
use super::key_guard::KeyGuard;
use super::keys::{RevokedKeys, read_revoked};
use super::ledger::{First, Ledger};
use super::loading::loading;
use super::packed::Packs;
use super::rates::Rates;
use super::sweep::swept_until;
use super::trail::Trail;
use super::unused::Unused;
use crate::domain::{ClientId, Credential, CredentialState, Jti, Kid, UnixTime};
use crate::revocation::{CutReason, RevocationSet, Standing, Streams};
use crate::store::codec::{
    CodecError, CutOff, CutOffSubject, Pack, Record, RecordId, StoredKey, key,
};
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
    /// From where clients tried wrong secrets.
    pub sign_ins: KeyGuard,
    /// What each client has left of what it may revoke by itself.
    pub revocation_rates: Rates,
    /// The first receipts of what was revoked.
    pub ledger: Ledger,
    /// Where revocations lie packed.
    pub packs: Packs,
    /// Roles that are armed for a while.
    pub armed: Armed,
    /// Credentials with secrets that end when they are unused.
    pub unused: Unused,
    /// When and for what credentials were used.
    pub activity: Activity,
    /// The signing keys as they lie in the store, sealed.
    pub keys: Mutex<Vec<StoredKey>>,
    /// Signing keys that are dead for good.
    pub revoked_keys: RevokedKeys,
    /// Small things of the gateway's own, by name.
    pub meta: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Up to when revocations were forgotten, in milliseconds.
    not_before: AtomicI64,
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
    /// A thread ended before its work was done.
    #[error("a thread that loads the store ended before it was done")]
    Thread,
}

impl Memory {
    /// Loads all there is. To be called once, before anything is served.
    ///
    /// # Errors
    /// When anything can't be read or understood: less than all is nothing.
    pub fn load(&self, store: &dyn Store) -> Result<Revision, LoadError> {
        self.load_while(|visit| store.load(visit).map_err(LoadError::from))
    }

    /// The same, for an engine that shows all there is while it is opened. `open`
    /// returns the revision; when it fails, this memory is worth nothing.
    ///
    /// # Errors
    /// Those of `open`, and when a record can't be understood.
    pub fn load_while<E: From<LoadError>>(
        &self,
        open: impl FnOnce(&mut dyn FnMut(Entry)) -> Result<Revision, E>,
    ) -> Result<Revision, E> {
        let mut fault = None;
        let revision = loading(self, |loading| {
            open(&mut |entry| {
                if fault.is_none()
                    && let Err(error) = loading.learn(&entry)
                {
                    fault = Some(error);
                }
            })
        })?;
        if let Some(error) = fault {
            return Err(LoadError::from(error).into());
        }
        self.revision.store(revision, Ordering::Release);
        Ok(revision)
    }

    /// The time before which no revocation is known any more: nothing may be judged
    /// as of an earlier one.
    pub fn not_before(&self) -> UnixTime {
        UnixTime::from_millis(self.not_before.load(Ordering::Acquire))
    }

    /// The revision that memory is up to.
    pub fn revision(&self) -> Revision {
        self.revision.load(Ordering::Acquire)
    }

    /// Takes one record in and cuts what it ends. Returns how much that was.
    pub(super) fn learn(&self, record: Record, revision: Revision) -> usize {
        match record {
            Record::Credential(credential) => self.learn_credential(credential, revision),
            Record::RevokedToken(token) => {
                let hour = key::hour_of(token.expires_at);
                self.learn_token((hour, token.jti), token.expires_at, revision);
                let ended = match token.client_id {
                    Some(client) => self
                        .streams
                        .cut_client(client, CutReason::Revoked, |live| live.jti == token.jti),
                    None => {
                        self.streams.cut_any(CutReason::Revoked, |_, live| live.jti == token.jti)
                    }
                };
                self.ledger.put_closed(revision, ended);
                ended
            }
            Record::RevokedTokens(pack) => {
                self.learn_pack(&pack, |jti, until| self.keep_token((pack.hour(), jti), until));
                0
            }
            Record::CutOff(cut) => self.learn_cut_off(cut, revision),
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
                self.admins.put(admin, revision);
                0
            }
            Record::Audit(at, line) => {
                self.trail.put(at, line);
                0
            }
            Record::AuditHead => 0,
            Record::Meta { name, value } => {
                if let Some((kid, first)) = read_revoked(&name, &value, revision) {
                    return self.learn_revoked_key(kid, first);
                }
                if let Some(until) = swept_until(&name, &value) {
                    self.not_before.fetch_max(until.as_millis(), Ordering::AcqRel);
                } else if !self.ledger.put_meta(&name, &value) {
                    self.meta.lock().insert(name, value);
                }
                0
            }
        }
    }

    /// A token is dead, by a commit whose record lies under an hour.
    fn learn_token(&self, place: (u32, Jti), expires_at: UnixTime, revision: Revision) {
        self.keep_token(place, expires_at);
        self.ledger.put_tokens(place.0, std::iter::once(revision));
    }

    /// A token is dead whose record lies under an hour.
    pub(super) fn keep_token(&self, place: (u32, Jti), until: UnixTime) {
        let before = self.revoked.revoke_token(place.1, until);
        self.ledger.put_kept(place, before, self.revoked.kept_until(place.1));
    }

    /// The tokens of a pack are dead, each once `keep` has had it.
    pub(super) fn learn_pack(&self, pack: &Pack, mut keep: impl FnMut(Jti, UnixTime)) {
        pack.ends().for_each(|(jti, until, _)| keep(jti, until));
        let revisions = || pack.ends().map(|(_, _, revision)| revision);
        self.ledger.put_tokens(pack.hour(), revisions());
        let last = revisions().max().unwrap_or_else(|| pack.first());
        self.packs.put(pack.hour(), pack.first(), last);
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

    fn learn_revoked_key(&self, kid: Kid, first: First) -> usize {
        self.revoked.revoke_key(kid.clone());
        let ended = self.streams.cut_any(CutReason::Revoked, |_, live| live.kid == kid);
        self.ledger.put_closed(first.revision, ended);
        self.revoked_keys.put(kid, first);
        ended
    }

    /// Forgets a token whose revocation may go in an hour that is over.
    pub(super) fn forget_token(&self, hour: u32, jti: Jti) {
        let end = UnixTime::from_secs((i64::from(hour) + 1) * 3600);
        self.revoked.forget_token(jti, end);
    }

    fn forget(&self, key: &Key) {
        match RecordId::decode(key) {
            Ok(RecordId::RevokedToken { hour, jti }) => self.forget_token(hour, jti),
            // Whoever removes a pack knows what is in it.
            Ok(RecordId::RevokedTokens { hour, first }) => self.packs.forget(hour, first),
            Ok(RecordId::Administrator(name)) => self.admins.remove(&name),
            Ok(RecordId::SigningKey(kid)) => self.keys.lock().retain(|key| key.kid != kid),
            Ok(RecordId::Meta(name)) => self.ledger.forget_meta(&name),
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "a removed key can't be read"),
        }
    }
}

impl Observer for Memory {
    fn committed(&self, change: &Committed) -> usize {
        let mut ended = 0;
        let packed = packed_by(change);
        for effect in &change.effects {
            match effect {
                Effect::Put(entry) => match Record::decode(entry) {
                    Ok(record) => ended += self.learn(record, entry.revision),
                    // We wrote it ourselves a moment ago; a start would refuse it.
                    Err(error) => tracing::error!(%error, "a committed record can't be read back"),
                },
                // Its record moved into a pack: it is as dead as before.
                Effect::Deleted(key) if packed.contains(key) => {}
                Effect::Deleted(key) => self.forget(key),
            }
        }
        self.revision.store(change.revision, Ordering::Release);
        ended
    }
}

/// The keys of the records that a change moved into packs.
fn packed_by(change: &Committed) -> HashSet<Key> {
    let mut keys = HashSet::new();
    for effect in &change.effects {
        if let Effect::Put(entry) = effect
            && matches!(RecordId::decode(&entry.key), Ok(RecordId::RevokedTokens { .. }))
            && let Ok(Record::RevokedTokens(pack)) = Record::decode(entry)
        {
            let hour = pack.hour();
            keys.extend(pack.iter().map(|token| key::revoked_token_in(hour, &token.jti)));
        }
    }
    keys
}
