//! Who did what, when.

use std::fmt;

use super::UnixTime;

/// What was done. A closed list: searching and counting rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A credential was minted.
    CredentialIssued,
    /// A credential was revoked for good.
    CredentialRevoked,
    /// A credential was put to sleep.
    CredentialSuspended,
    /// A suspended credential was woken.
    CredentialResumed,
    /// Name, rights, expiry or limits of a credential were changed.
    CredentialUpdated,
    /// A credential was narrowed to the rights that it used.
    CredentialNarrowed,
    /// A credential got another secret.
    SecretCreated,
    /// One of a credential's secrets was ended.
    SecretRetired,
    /// An armed role of a credential was woken for a while.
    RoleArmed,
    /// An armed role of a credential was put to sleep again.
    RoleDisarmed,
    /// The time for which a role was armed is over.
    RoleLapsed,
    /// One token was revoked.
    TokenRevoked,
    /// All tokens of a credential that were issued before a time were revoked.
    CredentialCutOff,
    /// All tokens of an account that were issued before a time were revoked.
    AccountCutOff,
    /// An administrator was made.
    AdminCreated,
    /// A signing key was made.
    KeyCreated,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 16] = [
        Action::CredentialIssued,
        Action::CredentialRevoked,
        Action::CredentialSuspended,
        Action::CredentialResumed,
        Action::CredentialUpdated,
        Action::CredentialNarrowed,
        Action::SecretCreated,
        Action::SecretRetired,
        Action::RoleArmed,
        Action::RoleDisarmed,
        Action::RoleLapsed,
        Action::TokenRevoked,
        Action::CredentialCutOff,
        Action::AccountCutOff,
        Action::AdminCreated,
        Action::KeyCreated,
    ];

    /// `object.verb`.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::CredentialIssued => "credential.issue",
            Action::CredentialRevoked => "credential.revoke",
            Action::CredentialSuspended => "credential.suspend",
            Action::CredentialResumed => "credential.resume",
            Action::CredentialUpdated => "credential.update",
            Action::CredentialNarrowed => "credential.narrow",
            Action::SecretCreated => "secret.create",
            Action::SecretRetired => "secret.retire",
            Action::RoleArmed => "role.arm",
            Action::RoleDisarmed => "role.disarm",
            Action::RoleLapsed => "role.lapse",
            Action::TokenRevoked => "token.revoke",
            Action::CredentialCutOff => "credential.cut_off",
            Action::AccountCutOff => "account.cut_off",
            Action::AdminCreated => "admin.create",
            Action::KeyCreated => "key.create",
        }
    }

    /// The action of that name.
    pub fn parse(text: &str) -> Option<Self> {
        Action::ALL.into_iter().find(|action| action.as_str() == text)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One line of the trail. It commits with the change it describes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at: UnixTime,
    /// The administrator's name, `command-line`, or `gateway`.
    pub actor: String,
    /// What was done.
    pub action: Action,
    /// To what: a client id, a jti, a name, a kid. Never a secret.
    pub target: String,
    /// Why, where somebody said why.
    pub reason: Option<String>,
}
