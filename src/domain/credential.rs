//! Credentials and their life: active, suspended and back, revoked for good.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    AccountId, ClientId, Environments, Generation, Rate, RoleId, RoleSet, ScopeSet, SecretHash,
    UnixTime,
};

/// A `client_id` with its secrets' hashes and what it may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The public half.
    pub client_id: ClientId,
    /// What people call it.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// The tenant it is bound to.
    pub account: AccountId,
    /// Predefined roles.
    pub roles: RoleSet,
    /// Scopes besides those of the roles.
    pub extra_scopes: ScopeSet,
    /// Where its rights hold.
    pub environments: Environments,
    /// Its own limit, before those of its roles.
    pub rate: Option<Rate>,
    /// Its own limit of requests at once.
    pub concurrency: Option<u32>,
    /// The administrator who minted it.
    pub created_by: String,
    /// When.
    pub created_at: UnixTime,
    /// The end of its life, if one was set.
    pub expires_at: Option<UnixTime>,
    /// Where it is in its life.
    pub state: CredentialState,
    /// Until when each of its armed roles is awake. A window that is over counts
    /// for nothing.
    pub armed: BTreeMap<RoleId, UnixTime>,
    /// Its secrets, oldest first. The newest stays even when it is retired, so
    /// that no number is used twice.
    pub secrets: Vec<SecretGeneration>,
}

/// One of a credential's secrets. Rotation adds a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretGeneration {
    /// Counted from 1; stands in the tokens it mints as `gen`.
    pub generation: Generation,
    /// When it was made.
    pub created_at: UnixTime,
    /// From when on it and its tokens are dead.
    pub retires_at: Option<UnixTime>,
    /// Ended by hand, for good, whatever a clock that was set back says.
    pub retired: bool,
    /// It is to be ended once it was not used for so long.
    pub retire_unused: Option<Duration>,
    /// Of the secret, which was shown once.
    pub hash: SecretHash,
}

impl SecretGeneration {
    /// The one that a credential begins with.
    pub fn first(created_at: UnixTime, hash: SecretHash) -> Self {
        SecretGeneration {
            generation: 1,
            created_at,
            retires_at: None,
            retired: false,
            retire_unused: None,
            hash,
        }
    }

    /// Whether it and what it minted count at `now`.
    pub fn lives_at(&self, now: UnixTime) -> bool {
        !self.retired && self.retires_at.is_none_or(|end| now < end)
    }
}

/// Where a credential is in its life. Expiry is not a state: it is a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialState {
    /// It works.
    Active,
    /// It sleeps, and can be woken.
    Suspended,
    /// It is dead.
    Revoked(Revoked),
}

/// Who ended a credential, when and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoked {
    /// The administrator.
    pub by: String,
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: String,
}

/// The state as people and metrics read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateName {
    /// It works.
    Active,
    /// It sleeps.
    Suspended,
    /// It is dead.
    Revoked,
    /// Its time is over.
    Expired,
}

impl StateName {
    /// All of them.
    pub const ALL: [StateName; 4] =
        [StateName::Active, StateName::Suspended, StateName::Revoked, StateName::Expired];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            StateName::Active => "active",
            StateName::Suspended => "suspended",
            StateName::Revoked => "revoked",
            StateName::Expired => "expired",
        }
    }
}

/// A change of state that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// Revocation can't be undone or altered.
    #[error("the credential is revoked, for good")]
    Revoked,
}

impl Credential {
    /// The state as it reads at `now`.
    pub fn state_at(&self, now: UnixTime) -> StateName {
        match self.state {
            CredentialState::Revoked(_) => StateName::Revoked,
            _ if self.expires_at.is_some_and(|end| now >= end) => StateName::Expired,
            CredentialState::Suspended => StateName::Suspended,
            CredentialState::Active => StateName::Active,
        }
    }

    /// Ends it for good.
    ///
    /// # Errors
    /// When it has ended before: the first end stands.
    pub fn revoke(self, revoked: Revoked) -> Result<Self, StateError> {
        self.transition(CredentialState::Revoked(revoked))
    }

    /// Puts it to sleep; asleep it stays.
    ///
    /// # Errors
    /// When it is revoked.
    pub fn suspend(self) -> Result<Self, StateError> {
        self.transition(CredentialState::Suspended)
    }

    /// Wakes it; awake it stays.
    ///
    /// # Errors
    /// When it is revoked.
    pub fn resume(self) -> Result<Self, StateError> {
        self.transition(CredentialState::Active)
    }

    /// Whether its rights and secrets may be changed.
    ///
    /// # Errors
    /// When it is revoked.
    pub fn changeable(&self) -> Result<(), StateError> {
        match self.state {
            CredentialState::Revoked(_) => Err(StateError::Revoked),
            CredentialState::Active | CredentialState::Suspended => Ok(()),
        }
    }

    fn transition(mut self, to: CredentialState) -> Result<Self, StateError> {
        if matches!(self.state, CredentialState::Revoked(_)) {
            return Err(StateError::Revoked);
        }
        self.state = to;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential() -> Credential {
        Credential {
            client_id: ClientId::from_random([1; 16]),
            name: "n".into(),
            description: String::new(),
            account: AccountId::new("a").unwrap(),
            roles: RoleSet::default(),
            extra_scopes: ScopeSet::new(),
            environments: Environments::All,
            rate: None,
            concurrency: None,
            created_by: "t".into(),
            created_at: UnixTime::from_secs(0),
            expires_at: Some(UnixTime::from_secs(100)),
            state: CredentialState::Active,
            armed: BTreeMap::new(),
            secrets: Vec::new(),
        }
    }

    #[test]
    fn revoked_is_for_good() {
        let revoked = Revoked { by: "t".into(), at: UnixTime::from_secs(1), reason: "r".into() };
        let dead = credential().suspend().unwrap().revoke(revoked.clone()).unwrap();
        assert_eq!(dead.clone().resume(), Err(StateError::Revoked));
        assert_eq!(dead.clone().suspend(), Err(StateError::Revoked));
        assert_eq!(dead.clone().revoke(revoked), Err(StateError::Revoked));
        assert_eq!(dead.state_at(UnixTime::from_secs(999)), StateName::Revoked);
    }

    #[test]
    fn expiry_is_a_time() {
        assert_eq!(credential().state_at(UnixTime::from_secs(99)), StateName::Active);
        assert_eq!(credential().state_at(UnixTime::from_secs(100)), StateName::Expired);
        let asleep = credential().suspend().unwrap();
        assert_eq!(asleep.state_at(UnixTime::from_secs(99)), StateName::Suspended);
        assert_eq!(asleep.resume().unwrap().state, CredentialState::Active);
    }
}
