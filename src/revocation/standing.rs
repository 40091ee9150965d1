//! How a credential stands now: what a token of it is held against.

use std::collections::BTreeMap;

use crate::domain::{
    AccountId, Credential, CredentialState, Environments, Generation, Rate, RoleId, RoleSet,
    ScopeSet, UnixTime,
};

/// The part of a credential that judging needs.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Of the commit that last changed the credential: what was worked out
    /// from an older one must be worked out anew.
    pub revision: u64,
    /// Where it is in its life.
    pub state: StandingState,
    /// The end of its life, if one was set.
    pub expires_at: Option<UnixTime>,
    /// The secrets whose tokens count, and until when.
    pub generations: Vec<(Generation, Option<UnixTime>)>,
    /// The tenant it is bound to.
    pub account: AccountId,
    /// Its roles.
    pub roles: RoleSet,
    /// Until when each of its armed roles is awake.
    pub armed: BTreeMap<RoleId, UnixTime>,
    /// Scopes besides those of the roles.
    pub extra_scopes: ScopeSet,
    /// Where its rights hold.
    pub environments: Environments,
    /// Its own limit, before those of its roles.
    pub rate: Option<Rate>,
    /// Its own limit of requests at once.
    pub concurrency: Option<u32>,
}

/// Where a credential is in its life, without the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StandingState {
    /// It works.
    Active,
    /// It sleeps.
    Suspended,
    /// It is dead.
    Revoked,
}

/// Why a verified token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It, its credential or its secret is dead, or nobody knows the credential.
    Revoked,
    /// Its credential sleeps.
    Suspended,
    /// Its credential's time is over.
    Expired,
}

impl Standing {
    /// The standing of a credential as of `revision`.
    pub fn of(credential: &Credential, revision: u64) -> Self {
        Standing {
            revision,
            state: match credential.state {
                CredentialState::Active => StandingState::Active,
                CredentialState::Suspended => StandingState::Suspended,
                CredentialState::Revoked(_) => StandingState::Revoked,
            },
            expires_at: credential.expires_at,
            generations: credential
                .secrets
                .iter()
                .filter(|s| !s.retired)
                .map(|s| (s.generation, s.retires_at))
                // A Vec that is grown has room for four; there is one, as a rule.
                .collect::<Box<[_]>>()
                .into_vec(),
            account: credential.account.clone(),
            roles: credential.roles.clone(),
            armed: credential.armed.clone(),
            extra_scopes: credential.extra_scopes.clone(),
            environments: credential.environments.clone(),
            rate: credential.rate,
            concurrency: credential.concurrency,
        }
    }

    /// Whether everything that was granted by `before` is granted still.
    pub fn covers(&self, before: &Standing) -> bool {
        let awake = |(role, until): (&RoleId, &UnixTime)| {
            self.armed.get(role).is_some_and(|still| still >= until)
        };
        self.roles.is_superset(&before.roles)
            && self.extra_scopes.is_superset(&before.extra_scopes)
            && self.environments.covers(&before.environments)
            && before.armed.iter().all(awake)
    }

    /// Whether something that `generation` minted counts at `now`.
    ///
    /// # Errors
    /// Why it does not.
    pub fn admits(&self, generation: Generation, now: UnixTime) -> Result<(), Refusal> {
        let alive = self
            .generations
            .iter()
            .any(|(g, retires)| *g == generation && retires.is_none_or(|at| now < at));
        match self.state {
            StandingState::Revoked => Err(Refusal::Revoked),
            _ if !alive => Err(Refusal::Revoked),
            StandingState::Suspended => Err(Refusal::Suspended),
            StandingState::Active if self.expires_at.is_some_and(|end| now >= end) => {
                Err(Refusal::Expired)
            }
            StandingState::Active => Ok(()),
        }
    }
}
