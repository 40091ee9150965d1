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
    /// An armed role allowed a request, the first since it was woken.
    RoleUsed,
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
    /// An administrator was removed.
    AdminRemoved,
    /// A signing key was made.
    KeyCreated,
    /// A signing key was removed, after the last token that it signed.
    KeyRetired,
    /// A signing key and all that it signed were revoked.
    KeyRevoked,
    /// Another configuration was taken on.
    ConfigReloaded,
    /// Everything was copied out.
    StoreBackedUp,
    /// Everything came from a backup: what stands before this may not be the whole
    /// story.
    StoreRestored,
}

impl Action {
    /// All of them.
    pub const ALL: [Action; 23] = [
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
        Action::RoleUsed,
        Action::RoleLapsed,
        Action::TokenRevoked,
        Action::CredentialCutOff,
        Action::AccountCutOff,
        Action::AdminCreated,
        Action::AdminRemoved,
        Action::KeyCreated,
        Action::KeyRetired,
        Action::KeyRevoked,
        Action::ConfigReloaded,
        Action::StoreBackedUp,
        Action::StoreRestored,
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
            Action::RoleUsed => "role.use",
            Action::RoleLapsed => "role.lapse",
            Action::TokenRevoked => "token.revoke",
            Action::CredentialCutOff => "credential.cut_off",
            Action::AccountCutOff => "account.cut_off",
            Action::AdminCreated => "admin.create",
            Action::AdminRemoved => "admin.remove",
            Action::KeyCreated => "key.create",
            Action::KeyRetired => "key.retire",
            Action::KeyRevoked => "key.revoke",
            Action::ConfigReloaded => "config.reload",
            Action::StoreBackedUp => "store.back_up",
            Action::StoreRestored => "store.restore",
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
    /// From where: an address, `command-line`, or `gateway`.
    pub source: String,
    /// What was done.
    pub action: Action,
    /// To what: a client id, a jti, a name, a kid. Never a secret.
    pub target: String,
    /// Why, where somebody said why.
    pub reason: Option<String>,
    /// What is different now.
    pub changes: Vec<Changed>,
}

/// One thing that is different: as it was and as it is. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// What, in the words of the admin port.
    pub field: String,
    /// As it was; `None` if it was not.
    pub before: Option<String>,
    /// As it is; `None` if it is no more.
    pub after: Option<String>,
}

/// The longest text that is kept of one value, in bytes: a trail is no backup.
const LONGEST: usize = 240;
/// The most that is kept of all of them, so that an entry always fits the store.
const MOST: usize = 1536;

/// Gathers what is different, cut to what a trail can hold.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    list: Vec<Changed>,
    bytes: usize,
}

impl Changes {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a field, unless it is the same as before.
    #[must_use]
    pub fn field(mut self, field: &str, before: Option<String>, after: Option<String>) -> Self {
        if before == after {
            return self;
        }
        let mut take = |text: String| {
            let room = LONGEST.min(MOST.saturating_sub(self.bytes));
            let kept = cut(text, room);
            self.bytes += kept.len();
            kept
        };
        let (before, after) = (before.map(&mut take), after.map(&mut take));
        self.list.push(Changed { field: field.to_owned(), before, after });
        self
    }

    /// A field of something new.
    #[must_use]
    pub fn made(self, field: &str, after: impl ToString) -> Self {
        self.field(field, None, Some(after.to_string()))
    }

    /// The list.
    pub fn into_vec(self) -> Vec<Changed> {
        self.list
    }
}

/// The beginning of a text, with a mark where something is missing.
fn cut(text: String, room: usize) -> String {
    if text.len() <= room {
        return text;
    }
    let mut end = room.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_is_short() {
        let long = || Some("\u{1f980}".repeat(1000));
        let mut changes = Changes::new().field("same", long(), long()).made("b", 7);
        for _ in 0..30 {
            changes = changes.field("long", long(), None);
        }
        let list = changes.into_vec();
        assert_eq!((list.len(), list[0].after.as_deref()), (31, Some("7")));
        let bytes = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let all: usize = list.iter().map(|c| bytes(&c.before) + bytes(&c.after)).sum();
        assert!(all <= MOST + 31 * 3, "{all}");
        assert!(list[1].before.as_ref().unwrap().ends_with('…'));
    }
}
