//! What is different between two forms of a credential, for the audit trail.
//! Secrets show as their generations and ends, never as anything of themselves.

use super::{Changes, Credential, CredentialState, Environments, SecretGeneration};

impl Credential {
    /// What is different from `before`; everything, if there was none.
    pub fn difference(&self, before: Option<&Credential>) -> Changes {
        type Read = fn(&Credential) -> Option<String>;
        const FIELDS: [(&str, Read); 11] = [
            ("name", |c| Some(c.name.clone())),
            ("description", |c| some_text(c.description.clone())),
            ("account", |c| Some(c.account.to_string())),
            ("roles", |c| joined(&c.roles)),
            ("scopes", |c| joined(&c.extra_scopes)),
            ("environments", |c| match &c.environments {
                Environments::All => Some("all".to_owned()),
                Environments::Only(list) => joined(list),
            }),
            ("rate", |c| c.rate.map(|rate| rate.to_string())),
            ("concurrency", |c| c.concurrency.map(|count| count.to_string())),
            ("expires_at", |c| c.expires_at.map(|end| end.to_string())),
            ("state", |c| Some(state(&c.state).to_owned())),
            ("secrets", |c| joined(c.secrets.iter().map(secret))),
        ];
        FIELDS.into_iter().fold(Changes::new(), |changes, (field, read)| {
            changes.field(field, before.and_then(read), read(self))
        })
    }
}

fn state(state: &CredentialState) -> &'static str {
    match state {
        CredentialState::Active => "active",
        CredentialState::Suspended => "suspended",
        CredentialState::Revoked(_) => "revoked",
    }
}

fn secret(secret: &SecretGeneration) -> String {
    match secret.retires_at {
        None => format!("generation {}", secret.generation),
        Some(end) => format!("generation {} until {end}", secret.generation),
    }
}

fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> Option<String> {
    let words: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    some_text(words.join(", "))
}
