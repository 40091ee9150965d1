//! The set that is asked on every request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use foldhash::quality::RandomState;

use super::gathered::Gathered;
use super::standing::{Refusal, Standing, StandingState};
use super::tokens::TokenSet;
use crate::domain::{AccountId, ClientId, Jti, Kid, UnixTime};
use crate::token::VerifiedToken;

/// By an id. The hash is quick, and seeded per process.
pub(crate) type ById<K, V> = DashMap<K, V, RandomState>;

/// The first whole second that is not before a time.
fn second_after(time: UnixTime) -> UnixTime {
    let second = UnixTime::from_secs(time.as_secs());
    if second < time { second.plus(Duration::from_secs(1)) } else { second }
}

/// Revocations by token, by credential, by cut-off time and by signing key; exact.
#[derive(Default)]
pub struct RevocationSet {
    tokens: TokenSet,
    standings: ById<ClientId, Arc<Standing>>,
    client_cut_offs: ById<ClientId, UnixTime>,
    account_cut_offs: DashMap<AccountId, UnixTime>,
    any_cut_off: AtomicBool,
    keys: DashMap<Kid, ()>,
    any_key: AtomicBool,
}

impl RevocationSet {
    /// Whether a verified token still counts, and how its credential stands.
    /// A credential that nobody knows is dead: deny is the default.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn check(&self, token: &VerifiedToken, now: UnixTime) -> Result<Arc<Standing>, Refusal> {
        let standing = self.standings.get(&token.client_id()).map(|found| Arc::clone(&found));
        let standing = standing.ok_or(Refusal::Revoked)?;
        if standing.account != *token.account()
            || self.is_token_revoked(token.jti())
            || self.is_cut_off(token)
            || self.is_key_revoked(token.kid())
        {
            return Err(Refusal::Revoked);
        }
        standing.admits(token.generation(), now)?;
        Ok(standing)
    }

    fn is_cut_off(&self, token: &VerifiedToken) -> bool {
        self.any_cut_off.load(Ordering::Acquire) && {
            let issued = token.issued_at();
            let before = |cut: UnixTime| issued < cut;
            self.client_cut_offs.get(&token.client_id()).is_some_and(|cut| before(*cut))
                || self.account_cut_offs.get(token.account()).is_some_and(|cut| before(*cut))
        }
    }

    /// The first second whose tokens no cut-off of theirs concerns. `iat` has no parts of one:
    /// what is to live after a cut-off is issued in the next second. No token says that it was
    /// issued later than it was, since a cut-off between the two would let it live.
    pub fn issued_from(&self, client: ClientId, account: &AccountId) -> Option<UnixTime> {
        let cuts = [
            self.client_cut_offs.get(&client).map(|cut| *cut),
            self.account_cut_offs.get(account).map(|cut| *cut),
        ];
        cuts.into_iter().flatten().max().map(second_after)
    }

    /// Kills every token that a key signed. A world whose keys were swapped knows
    /// none of them either; this holds for those that were verified before.
    pub fn revoke_key(&self, kid: Kid) {
        self.keys.insert(kid, ());
        self.any_key.store(true, Ordering::Release);
    }

    fn is_key_revoked(&self, kid: &Kid) -> bool {
        self.any_key.load(Ordering::Acquire) && self.keys.contains_key(kid)
    }

    /// How a credential stands.
    pub fn standing(&self, client: ClientId) -> Option<Arc<Standing>> {
        self.standings.get(&client).map(|found| Arc::clone(&found))
    }

    /// Sets how a credential stands; an older commit never replaces a newer.
    pub fn set_standing(&self, client: ClientId, standing: Standing) {
        let standing = Arc::new(standing);
        let mut entry = self.standings.entry(client).or_insert_with(|| Arc::clone(&standing));
        if entry.revision <= standing.revision {
            *entry = standing;
        }
    }

    /// Kills one token. The later end stands: it is kept until no clock takes
    /// the token for live. Gives the end that stood before.
    pub fn revoke_token(&self, jti: Jti, until: UnixTime) -> Option<UnixTime> {
        self.tokens.put(*jti.as_bytes(), seconds(until)).map(time)
    }

    /// Gathers a token that is to be killed as by [`RevocationSet::revoke_token`]. False
    /// if its end is none that this set can tell from others.
    pub fn gather(&self, gathered: &mut Gathered, jti: Jti, until: UnixTime) -> bool {
        let (id, end) = (*jti.as_bytes(), seconds(until));
        let told = i64::from(end) == until.as_secs();
        if told {
            gathered.put(self.tokens.number(&id), (id, end));
        }
        told
    }

    /// Kills what was gathered, and tells of each token that was dead before: the end
    /// that stood before, and the one that it was gathered with.
    pub fn revoke_gathered(
        &self,
        gathered: &mut Gathered,
        mut again: impl FnMut(Jti, UnixTime, UnixTime),
    ) {
        for (id, until) in gathered.take() {
            if let Some(before) = self.tokens.put(id, until) {
                again(Jti::from_bytes(id), time(before), time(until));
            }
        }
    }

    /// Whether one token was killed by its id.
    pub fn is_token_revoked(&self, jti: Jti) -> bool {
        self.kept_until(jti).is_some()
    }

    /// Until when a token that was killed by its id is kept.
    pub fn kept_until(&self, jti: Jti) -> Option<UnixTime> {
        self.tokens.get(jti.as_bytes()).map(time)
    }

    /// Forgets a token, unless it is to be kept beyond `end`: one of several
    /// revocations of it may go before the others. True if it is forgotten.
    pub fn forget_token(&self, jti: Jti, end: UnixTime) -> bool {
        self.tokens.remove(jti.as_bytes(), seconds(end))
    }

    /// Up to `limit` tokens that nobody can take for live after `now`, each with
    /// the time until which it was to be kept, and where to go on, if there may be
    /// more. Looks at a part of the set, from `place` on; the first is 0.
    pub fn stale_tokens(
        &self,
        place: usize,
        now: UnixTime,
        limit: usize,
    ) -> (Vec<(Jti, UnixTime)>, Option<usize>) {
        let (stale, next) = self.tokens.stale(place, seconds(now), limit);
        let read = |(id, until)| (Jti::from_bytes(id), time(until));
        (stale.into_iter().map(read).collect(), next)
    }

    /// Kills all tokens of a credential that were issued before a time. The
    /// later time stands.
    pub fn cut_off_client(&self, client: ClientId, issued_before: UnixTime) {
        let mut entry = self.client_cut_offs.entry(client).or_insert(issued_before);
        *entry = (*entry).max(issued_before);
        self.any_cut_off.store(true, Ordering::Release);
    }

    /// Kills all tokens of an account that were issued before a time. The
    /// later time stands.
    pub fn cut_off_account(&self, account: AccountId, issued_before: UnixTime) {
        let mut entry = self.account_cut_offs.entry(account).or_insert(issued_before);
        *entry = (*entry).max(issued_before);
        self.any_cut_off.store(true, Ordering::Release);
    }

    /// How many tokens are revoked by their id.
    pub fn token_count(&self) -> usize {
        self.tokens.len()
    }

    /// How many credentials are dead for good.
    pub fn credential_count(&self) -> usize {
        let dead = |standing: &Standing| standing.state == StandingState::Revoked;
        self.standings.iter().filter(|entry| dead(entry)).count()
    }

    /// How many signing keys are dead for good.
    pub fn key_count(&self) -> usize {
        self.keys.len()
    }

    /// How many cut-off times there are.
    pub fn cut_off_count(&self) -> usize {
        self.client_cut_offs.len() + self.account_cut_offs.len()
    }
}

fn seconds(at: UnixTime) -> u32 {
    u32::try_from(at.as_secs().max(0)).unwrap_or(u32::MAX)
}

fn time(seconds: u32) -> UnixTime {
    UnixTime::from_secs(i64::from(seconds))
}
