//! The world that a request is judged in: immutable, swapped whole.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::HeaderValue;
use http::header::InvalidHeaderValue;

use super::access::ScopeBits;
use super::table::RouteTable;
use crate::domain::{Environments, Grant, Rate, Role, RoleId, Scope, ScopeSet, UnixTime};
use crate::revocation::Standing;
use crate::token::{
    Expectations, Keyring, TokenCache, TokenError, UnverifiedToken, VerifiedToken, verify,
};

/// Routes, roles and keys of one moment.
pub struct Snapshot {
    pub(super) table: Arc<RouteTable>,
    pub(super) keys: Arc<Keyring>,
    pub(super) expect: Expectations,
    pub(super) cache: TokenCache<Principal>,
    /// Tokens whose signature was found to be wrong by `keys`. Apart from the good
    /// ones, so that whoever makes up bad ones pushes none of those out.
    refused: TokenCache<()>,
    roles: Vec<Role>,
    role_bits: HashMap<RoleId, (ScopeBits, bool)>,
    cache_entries: usize,
}

/// What a snapshot is made of.
pub struct SnapshotParts {
    /// The compiled routes.
    pub routes: RouteTable,
    /// The predefined roles.
    pub roles: Vec<Role>,
    /// The keys that tokens are verified with.
    pub keys: Arc<Keyring>,
    /// Issuer, audience, clock skew.
    pub expect: Expectations,
    /// How many verified tokens are remembered.
    pub cache_entries: usize,
}

/// Bad tokens that are remembered, and about the bytes they take: enough for a
/// client that goes on with one that is no good, or a botnet that has a few.
const REFUSED: usize = 4096;
const REFUSED_BYTES: usize = 4 << 20;

/// Who a verified token speaks for, and what it may do in this snapshot.
#[derive(Clone)]
pub struct Principal(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) token: VerifiedToken,
    /// What this was worked out from.
    standing: Arc<Standing>,
    /// What it may do now.
    pub(super) held: ScopeBits,
    /// What its armed roles add, each until its time.
    pub(super) armed: Vec<ArmedRole>,
    /// What it might do were its armed roles armed.
    pub(super) dormant: ScopeBits,
    pub(super) grant: Grant,
    pub(super) scope_text: Box<str>,
    pub(super) identity: Option<Identity>,
    no_environment: bool,
    rate: Option<Rate>,
    concurrency: Option<u32>,
}

/// What an upstream is told of who asks. Worked out once a token, for it is
/// sent with every request.
pub struct Identity {
    /// The credential.
    pub client_id: HeaderValue,
    /// The tenant.
    pub account: HeaderValue,
    /// As [`Principal::scope_text`].
    pub scope: HeaderValue,
    /// The token's own id.
    pub jti: HeaderValue,
}

/// An armed role that an administrator woke for a while.
pub(super) struct ArmedRole {
    pub(super) role: RoleId,
    pub(super) until: UnixTime,
    pub(super) bits: ScopeBits,
}

impl Snapshot {
    /// Puts a world together.
    pub fn new(parts: SnapshotParts) -> Self {
        let SnapshotParts { routes, roles, keys, expect, cache_entries } = parts;
        let bits = |role: &Role| (role.id.clone(), (routes.scopes.bits(&role.scopes), role.armed));
        let role_bits = roles.iter().map(bits).collect();
        let cache = TokenCache::new(cache_entries);
        let table = Arc::new(routes);
        let refused = TokenCache::with_bytes(REFUSED, REFUSED_BYTES);
        Snapshot { table, keys, expect, cache, refused, roles, role_bits, cache_entries }
    }

    /// The same world with other keys. It remembers no token that was verified
    /// with the old ones.
    #[must_use]
    pub fn with_keys(&self, keys: Arc<Keyring>) -> Self {
        Snapshot {
            table: Arc::clone(&self.table),
            keys,
            expect: self.expect.clone(),
            cache: TokenCache::new(self.cache_entries),
            refused: TokenCache::with_bytes(REFUSED, REFUSED_BYTES),
            roles: self.roles.clone(),
            role_bits: self.role_bits.clone(),
            cache_entries: self.cache_entries,
        }
    }

    /// The routes.
    pub fn routes(&self) -> &RouteTable {
        &self.table
    }

    /// The predefined roles, in the order of the configuration.
    pub fn roles(&self) -> &[Role] {
        &self.roles
    }

    /// The keys.
    pub fn keys(&self) -> &Arc<Keyring> {
        &self.keys
    }

    /// What a token must say of itself.
    pub fn expectations(&self) -> &Expectations {
        &self.expect
    }

    /// Tokens that were verified before and need no second verification.
    pub fn cache(&self) -> &TokenCache<Principal> {
        &self.cache
    }

    /// All scopes that roles and extra scopes amount to, armed roles included:
    /// what a token of this credential carries (contract, sections 3 and 4).
    pub fn scopes_of<'a>(
        &'a self,
        roles: impl IntoIterator<Item = &'a RoleId>,
        extra: &ScopeSet,
    ) -> ScopeSet {
        let mut all = extra.clone();
        for id in roles {
            let role = self.roles.iter().find(|role| role.id == *id);
            all.extend(role.into_iter().flat_map(|role| role.scopes.iter().cloned()));
        }
        all
    }

    /// Those of `said` that count at `now`, given how the credential stands.
    pub(super) fn scopes_awake(
        &self,
        said: &ScopeSet,
        standing: &Standing,
        now: UnixTime,
    ) -> ScopeSet {
        let counts = |role: &&RoleId| {
            let asleep = self.role_bits.get(*role).is_none_or(|(_, armed)| *armed);
            !asleep || standing.armed.get(*role).is_some_and(|until| now < *until)
        };
        let has = self.scopes_of(standing.roles.iter().filter(counts), &standing.extra_scopes);
        said.intersection(&has).cloned().collect()
    }

    /// Works out what a token may do and keeps it. That it is kept says nothing of
    /// whether it counts: that is asked each time.
    pub(super) fn remember(
        &self,
        text: &[u8],
        token: VerifiedToken,
        standing: &Arc<Standing>,
    ) -> Principal {
        let principal = self.principal(token, standing);
        self.cache.insert(text, principal.clone(), principal.bytes());
        principal
    }

    /// Verifies a token, unless its signature was found to be wrong before. That is
    /// judged before anything that time or a claim has a say in, so that for one and
    /// the same text and keys it can't turn out otherwise. Nothing but that refusal is
    /// remembered; one that is new costs a verification each time, as it must.
    ///
    /// # Errors
    /// As [`verify`].
    pub(super) fn verify(
        &self,
        text: UnverifiedToken<'_>,
        now: UnixTime,
    ) -> Result<VerifiedToken, TokenError> {
        if self.refused.get(text.as_str()).is_some() {
            return Err(TokenError::BadSignature);
        }
        let verified = verify(text, &self.keys, &self.expect, now);
        if verified == Err(TokenError::BadSignature) {
            self.refused.insert(text.as_str(), (), 0);
        }
        verified
    }

    /// What `token` may do, given how its credential stands: never more than
    /// the token says, and never more than the credential still has.
    pub(super) fn principal(&self, token: VerifiedToken, standing: &Arc<Standing>) -> Principal {
        let said = self.table.scopes.bits(token.scopes());
        let mut awake = self.table.scopes.bits(&standing.extra_scopes);
        let mut dormant = ScopeBits::default();
        let mut armed = Vec::new();
        for id in &standing.roles {
            let Some((bits, is_armed)) = self.role_bits.get(id) else { continue };
            let side = if *is_armed { &mut dormant } else { &mut awake };
            *side = side.or(bits);
            if *is_armed && let Some(until) = standing.armed.get(id) {
                let bits = said.and(bits);
                armed.push(ArmedRole { role: id.clone(), until: *until, bits });
            }
        }
        let has = self.scopes_of(&standing.roles, &standing.extra_scopes);
        let scopes: ScopeSet = token.scopes().intersection(&has).cloned().collect();
        let met = token.environments().intersect(&standing.environments);
        let no_environment = met.is_none();
        let environments = met.unwrap_or_else(|| token.environments().clone());
        let grant = Grant { scopes, environments };
        let scope_text = if no_environment {
            grant.scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ")
        } else {
            grant.to_string()
        };
        let roles = || self.roles.iter().filter(|role| standing.roles.contains(&role.id));
        let strictest = roles().filter_map(|role| role.rate).min_by(Rate::strictness);
        let fewest = roles().filter_map(|role| role.concurrency).min();
        let identity = identity(&token, &scope_text).ok();
        Principal(Arc::new(Inner {
            rate: standing.rate.or(strictest),
            concurrency: standing.concurrency.or(fewest),
            standing: Arc::clone(standing),
            held: said.and(&awake),
            dormant: said.and(&dormant),
            armed,
            grant,
            // Copied: shrunk, it would keep the block that it grew into.
            scope_text: scope_text.as_str().into(),
            identity,
            no_environment,
            token,
        }))
    }
}

fn identity(token: &VerifiedToken, scope: &str) -> Result<Identity, InvalidHeaderValue> {
    Ok(Identity {
        client_id: HeaderValue::try_from(token.client_id().to_string())?,
        account: HeaderValue::from_str(token.account().as_str())?,
        scope: HeaderValue::from_str(scope)?,
        jti: HeaderValue::try_from(token.jti().to_string())?,
    })
}

impl Principal {
    /// The token.
    pub fn token(&self) -> &VerifiedToken {
        &self.0.token
    }

    /// Its scopes and environments as a scope string, armed roles included,
    /// less what the credential has lost since.
    pub fn scope_text(&self) -> &str {
        &self.0.scope_text
    }

    /// What upstreams are told of it; `None` if header fields can't say it, which
    /// the alphabets of ids, names and scopes rule out.
    pub fn identity(&self) -> Option<&Identity> {
        self.0.identity.as_ref()
    }

    /// True if it was worked out from this very standing: a revision is not
    /// enough, for one commit may change a credential twice.
    pub fn is_of(&self, standing: &Arc<Standing>) -> bool {
        Arc::ptr_eq(&self.0.standing, standing)
    }

    /// How its credential stood when this was worked out.
    pub fn standing(&self) -> &Arc<Standing> {
        &self.0.standing
    }

    pub(super) fn held(&self) -> &ScopeBits {
        &self.0.held
    }

    /// The armed roles that are awake at `now`.
    pub(super) fn awake(&self, now: UnixTime) -> impl Iterator<Item = &ArmedRole> {
        self.0.armed.iter().filter(move |role| now < role.until)
    }

    pub(super) fn held_or_dormant(&self) -> ScopeBits {
        self.0.held.or(&self.0.dormant)
    }

    /// Whether it may act in this environment.
    pub(super) fn may_enter(&self, environment: &str) -> bool {
        !self.0.no_environment && self.0.grant.environments.contains(environment)
    }

    /// Whether it may act in all environments.
    pub(super) fn may_enter_all(&self) -> bool {
        !self.0.no_environment && self.0.grant.environments == Environments::All
    }

    /// Its credential's own limit, else the strictest of its roles'.
    pub fn rate(&self) -> Option<Rate> {
        self.0.rate
    }

    /// How many requests its credential may have under way: its own limit,
    /// else the strictest of its roles'.
    pub fn concurrency(&self) -> Option<u32> {
        self.0.concurrency
    }

    /// Whether it holds a scope, awake or not.
    pub(super) fn names(&self, scope: &Scope) -> bool {
        self.0.grant.scopes.contains(scope)
    }

    /// The scopes it holds, for people.
    pub fn scopes(&self) -> impl Iterator<Item = &Scope> {
        self.0.grant.scopes.iter()
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Principal({})", self.0.token.client_id())
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} routes)", self.table.routes().len())
    }
}
