//! Minting a credential: check what was asked for, make a secret, commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::actor::Actor;
use super::change::{ChangeError, Outcome, Plan, commit, written};
use super::context::Context;
use super::fault::{Faults, FieldFault};
use super::reading;
use crate::domain::{
    AccountId, Action, ClientId, ClientSecret, Credential, CredentialState, EntropyError,
    Environments, Rate, RoleId, Scope, ScopeSet, SecretGeneration, UnixTime,
};
use crate::policy::Snapshot;
use crate::store::codec::{self, AtRest};
use crate::store::{Guard, Op, Receipt, Revision};

/// The most bytes that a new credential takes at rest. An entry has room for
/// more: the reason it is revoked for one day, and further secrets, must fit.
pub(super) const ROOM: usize = 4200;

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
    /// The commit that made it.
    pub revision: Revision,
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
        let name = reading::name(&mut faults, &self.name);
        let description = reading::description(&mut faults, &self.description);
        let account = faults.take("account", AccountId::new(&self.account));
        let roles = reading::roles(&mut faults, &self.roles, world);
        let scopes = reading::scopes(&mut faults, &self.scopes);
        if self.roles.is_empty() && self.scopes.is_empty() {
            faults.add("roles", "must name at least one role, or scopes must name a scope");
        }
        let environments = reading::environments(&mut faults, &self.environments);
        let expires_at = self.expires_at.as_deref();
        let expires_at = expires_at.and_then(|end| reading::expires_at(&mut faults, end, now));
        let rate = self.rate.as_deref().and_then(|rate| reading::rate(&mut faults, rate));
        let concurrency = self.concurrency;
        let concurrency = concurrency.and_then(|count| reading::concurrency(&mut faults, count));
        reading::check_grant(&mut faults, world, &roles, &scopes, &environments);
        match (account, faults.is_empty()) {
            (Some(account), true) => {
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

impl CheckedRequest {
    /// It must not be refused by the store, which could only say "no".
    fn fits(self) -> Result<Self, Vec<FieldFault>> {
        let nobody = ClientId::from_bytes([0; 16]);
        let hash = crate::domain::SecretHash::from_bytes([0; 32]);
        let secret = SecretGeneration::first(UnixTime::MAX, hash);
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
            roles: self.roles.into(),
            extra_scopes: self.scopes,
            environments: self.environments,
            rate: self.rate,
            concurrency: self.concurrency,
            created_by,
            created_at,
            expires_at: self.expires_at,
            state: CredentialState::Active,
            armed: BTreeMap::new(),
            secrets: vec![secret],
        }
    }
}

/// The scopes, besides those of the roles, that no route asks for: most likely they were
/// meant to be others. The configuration's own check says the same of roles.
pub fn unasked_scopes(world: &Snapshot, credential: &Credential) -> Vec<Scope> {
    let scopes = &world.routes().scopes;
    credential.extra_scopes.iter().filter(|scope| !scopes.has(scope)).cloned().collect()
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
        let first = SecretGeneration::first(now, hash);
        let created_at = ctx.now_after(ctx.memory.directory.newest());
        let credential =
            request.clone().into_credential(client_id, first, actor.name().to_owned(), created_at);
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
        Ok::<_, IssueError>(Plan::Commit(change, (Arc::new(credential), secret)))
    });
    match made.await? {
        Outcome::Already(issued) => Ok(issued),
        Outcome::Committed(Receipt { revision, .. }, (credential, secret)) => {
            Ok(Issued { credential, revision, secret })
        }
    }
}
