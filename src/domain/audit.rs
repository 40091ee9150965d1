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
    pub const ALL: [Action; 9] = [
        Action::CredentialIssued,
        Action::CredentialRevoked,
        Action::CredentialSuspended,
        Action::CredentialResumed,
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
