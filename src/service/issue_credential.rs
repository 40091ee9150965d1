//! Minting a credential: check what was asked for, make a secret, commit.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::actor::Actor;
use super::change::{ChangeError, Outcome, Plan, commit, written};
use super::context::Context;
use super::fault::{Faults, FieldFault};
use crate::domain::{
    AccountId, Action, ClientId, ClientSecret, Credential, CredentialState, EntropyError,
    EnvironmentId, Environments, Grant, Rate, RoleId, Scope, ScopeSet, SecretGeneration, UnixTime,
};
use crate::policy::Snapshot;
use crate::store::codec::{self, AtRest};
use crate::store::{Guard, Op};

/// The most bytes that a new credential takes at rest. An entry has room for
/// more: the reason it is revoked for one day, and further secrets, must fit.
const ROOM: usize = 4200;

/// The most bytes of a token's `scope`. More would make the token longer than
/// the gateway itself takes.
const SCOPE_BYTES: usize = 5000;

/// A credential as somebody asks for it, in the caller's own words.
#[derive(Clone, Debug, Default)]
pub struct CredentialRequest {
    /// What people call it: 1 to 100 characters.
    pub name: String,
    /// What it is for: up to 1000 characters.
    pub description: String,
    /// The tenant it is bound to.
    pub account: String,
    /// Predefined roles. At least one role or scope is needed.
    pub roles: Vec<String>,
    /// Scopes besides those of the roles.
    pub scopes: Vec<String>,
    /// Where its rights hold; none, or `*` alone, for everywhere.
    pub environments: Vec<String>,
    /// The end of its life, RFC 3339.
    pub expires_at: Option<String>,
    /// Its own limit, such as `100/s`.
    pub rate: Option<String>,
    /// Its own limit of requests at once.
    pub concurrency: Option<u64>,
}

/// A request in which everything is valid.
#[derive(Clone, Debug)]
pub struct CheckedRequest {
    name: String,
    description: String,
    account: AccountId,
    roles: BTreeSet<RoleId>,
    scopes: ScopeSet,
    environments: Environments,
    expires_at: Option<UnixTime>,
    rate: Option<Rate>,
    concurrency: Option<u32>,
}

/// A new credential, and its secret to be shown once.
#[derive(Debug)]
pub struct Issued {
    /// The credential.
    pub credential: Arc<Credential>,
    /// Its secret.
    pub secret: ClientSecret,
}

/// Why there is no new credential.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No randomness, no secret.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// It did not commit.
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl CredentialRequest {
    /// Checks it against the roles of `world`.
    ///
    /// # Errors
    /// Every fault there is, not only the first.
    pub fn check(
        &self,
        world: &Snapshot,
        now: UnixTime,
    ) -> Result<CheckedRequest, Vec<FieldFault>> {
        let mut faults = Faults::default();
        let name = self.name.trim();
        if name.is_empty() {
            faults.add("name", "must not be empty");
        }
        faults.check_text("name", name, 100, &[]);
        faults.check_text("description", &self.description, 1000, &['\n', '\t']);
        let account = faults.take("account", AccountId::new(&self.account));
        let role = |text: &str| match world.roles().iter().find(|role| role.id.as_str() == text) {
            Some(role) => Ok(role.id.clone()),
            None => Err("is no role of this gateway"),
        };
        let roles: BTreeSet<_> = faults.take_each("roles", &self.roles, role).into_iter().collect();
        let scopes: ScopeSet =
            faults.take_each("scopes", &self.scopes, Scope::new).into_iter().collect();
        if self.roles.is_empty() && self.scopes.is_empty() {
            faults.add("roles", "must name at least one role, or scopes must name a scope");
        }
        let environments = match self.environments.as_slice() {
            [all] if all == "*" => Vec::new(),
            some => faults.take_each("environments", some, EnvironmentId::new),
        };
        let environments = Environments::from_list(environments.into_iter().collect());
        let expires_at = self.expires_at.as_deref().map(|text| future(text, now));
        let expires_at = expires_at.and_then(|end| faults.take("expires_at", end));
        let rate = self.rate.as_deref().map(str::parse::<Rate>);
        let rate = rate.and_then(|rate| faults.take("rate", rate));
        let concurrency = self.concurrency.map(at_least_one);
        let concurrency = concurrency.and_then(|count| faults.take("concurrency", count));
        let grant =
            Grant { scopes: world.scopes_of(&roles, &scopes), environments: environments.clone() };
        if grant.to_string().len() > SCOPE_BYTES {
            let what = "makes, with the roles and environments, more rights than a token can carry";
            faults.add("scopes", what);
        }
        match (account, faults.is_empty()) {
            (Some(account), true) => {
                let (name, description) = (name.to_owned(), self.description.clone());
                let checked = CheckedRequest {
                    name,
                    description,
                    account,
                    roles,
                    scopes,
                    environments,
                    expires_at,
                    rate,
                    concurrency,
                };
                checked.fits()
            }
            _ => Err(faults.into_vec()),
        }
    }
}

fn future(text: &str, now: UnixTime) -> Result<UnixTime, &'static str> {
    match UnixTime::parse_rfc3339(text) {
        None => Err("must be a time in RFC 3339, such as \"2030-01-31T00:00:00Z\""),
        Some(end) if end <= now => Err("must lie in the future"),
        Some(end) => Ok(end),
    }
}

fn at_least_one(count: u64) -> Result<u32, &'static str> {
    match u32::try_from(count) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("must be a whole number from 1 to 4294967295"),
    }
}

impl CheckedRequest {
    /// It must not be refused by the store, which could only say "no".
    fn fits(self) -> Result<Self, Vec<FieldFault>> {
        let nobody = ClientId::from_bytes([0; 16]);
        let hash = crate::domain::SecretHash::from_bytes([0; 32]);
        let secret =
            SecretGeneration { generation: 1, created_at: UnixTime::MAX, retires_at: None, hash };
        let longest_name = "x".repeat(128);
        let trial = self.clone().into_credential(nobody, secret, longest_name, UnixTime::MAX);
        match codec::put(&trial) {
            Op::Put { value, .. } if value.len() <= ROOM => Ok(self),
            _ => {
                let what = "takes, with the roles, scopes and environments, more than 4 KB; \
                            shorten it, or bundle the scopes in a role";
                Err(vec![FieldFault::new("description", what)])
            }
        }
    }

    fn into_credential(
        self,
        client_id: ClientId,
        secret: SecretGeneration,
        created_by: String,
        created_at: UnixTime,
    ) -> Credential {
        Credential {
            client_id,
            name: self.name,
            description: self.description,
            account: self.account,
            roles: self.roles,
            extra_scopes: self.scopes,
            environments: self.environments,
            rate: self.rate,
            concurrency: self.concurrency,
            created_by,
            created_at,
            expires_at: self.expires_at,
            state: CredentialState::Active,
            secrets: vec![secret],
        }
    }
}

/// Mints a credential. When this returns it is durable and works.
///
/// # Errors
/// See [`IssueError`]. After [`ChangeError::Unknown`] there may be a credential
/// whose secret nobody knows.
pub async fn issue_credential(
    ctx: &Context,
    actor: &Actor,
    request: CheckedRequest,
) -> Result<Issued, IssueError> {
    let made = commit(ctx, || {
        let now = ctx.now();
        let mut id = [0; 16];
        ctx.entropy.fill(&mut id)?;
        let client_id = ClientId::from_random(id);
        let secret = ClientSecret::generate(&*ctx.entropy)?;
        let hash = ctx.hasher.hash(secret.expose());
        let first = SecretGeneration { generation: 1, created_at: now, retires_at: None, hash };
        let credential =
            request.clone().into_credential(client_id, first, actor.name().to_owned(), now);
        let change = written(
            Guard::Absent(credential.key()),
            codec::put(&credential),
            actor,
            now,
            Action::CredentialIssued,
            client_id.to_string(),
            None,
            credential.difference(None),
        );
        Ok::<_, IssueError>(Plan::Commit(
            change,
            Issued { credential: Arc::new(credential), secret },
        ))
    });
    match made.await? {
        Outcome::Already(issued) | Outcome::Committed(_, issued) => Ok(issued),
    }
}
