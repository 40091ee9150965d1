//! What administrators read: the wire form of the domain's words.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::AdminState;
use crate::domain::{
    Credential, CredentialState, Environments, SecretGeneration, UnixTime, show_duration,
};
use crate::service::Receipt;

/// A page of a list, newest first.
#[derive(Serialize, ToSchema)]
pub(super) struct Page<T: ToSchema> {
    /// What was found.
    pub(super) items: Vec<T>,
    /// To be sent as `cursor` for the next page; null on the last one.
    #[schema(required = true)]
    pub(super) next_cursor: Option<String>,
}

impl<T: ToSchema + Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        (StatusCode::OK, axum::Json(self)).into_response()
    }
}

/// A credential, without its secrets.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "client_id": "6f9619ff-8b86-4011-b42d-00c04fc964ff", "name": "Nightly sync",
    "description": "", "account": "1234", "roles": ["campaign-operator"],
    "scopes": ["campaign.schedule", "campaign.toggle"], "extra_scopes": [], "armed": [],
    "environments": [], "state": "active",
    "rate": null, "concurrency": null, "created_by": "ada", "created_at": "2026-11-22T03:00:00Z",
    "expires_at": null, "revoked_by": null, "revoked_at": null, "revoked_reason": null,
    "last_used_at": null, "secrets": [{ "generation": 1, "created_at": "2026-11-22T03:00:00Z",
    "retires_at": null, "retires_unused_for": null, "last_used_at": null }]
}))]
pub(super) struct CredentialView {
    /// The public half: a UUID.
    client_id: String,
    /// What people call it.
    name: String,
    /// What it is for.
    description: String,
    /// The tenant it is bound to.
    account: String,
    /// The ids of its roles, sorted.
    roles: Vec<String>,
    /// All its rights, those of its roles included, sorted.
    scopes: Vec<String>,
    /// The scopes that it has besides those of its roles, sorted: what `scopes` is
    /// when it is minted or changed.
    extra_scopes: Vec<String>,
    /// Its armed roles that are awake now.
    armed: Vec<ArmedView>,
    /// Where its rights hold, sorted. An empty list means all environments,
    /// as it does when a credential is minted.
    environments: Vec<String>,
    /// `active`, `suspended`, `revoked` or `expired`.
    state: &'static str,
    /// Its own limit, such as `100/s`; null if it has none.
    #[schema(required = true)]
    rate: Option<String>,
    /// Its own limit of requests at once; null if it has none.
    #[schema(required = true)]
    concurrency: Option<u32>,
    /// The administrator who minted it.
    created_by: String,
    /// When.
    created_at: String,
    /// The end of its life; null if none is set.
    #[schema(required = true)]
    expires_at: Option<String>,
    /// Who revoked it.
    #[schema(required = true)]
    revoked_by: Option<String>,
    /// When.
    #[schema(required = true)]
    revoked_at: Option<String>,
    /// Why.
    #[schema(required = true)]
    revoked_reason: Option<String>,
    /// When any of its secrets or their tokens was last used; null if never.
    #[schema(required = true)]
    last_used_at: Option<String>,
    /// Its secrets, oldest first.
    secrets: Vec<SecretView>,
}

/// An armed role that is awake.
#[derive(Serialize, ToSchema)]
pub(super) struct ArmedView {
    /// The role.
    role: String,
    /// Until when.
    armed_until: String,
}

/// One of a credential's secrets; never the secret itself.
#[derive(Serialize, ToSchema)]
pub(super) struct SecretView {
    /// Counted from 1.
    generation: u32,
    /// When it was made.
    created_at: String,
    /// From when on it and its tokens are dead; null if no end is set.
    #[schema(required = true)]
    retires_at: Option<String>,
    /// It is retired once it was not used for so long, such as `30d`; null if not.
    #[schema(required = true)]
    retires_unused_for: Option<String>,
    /// When it or one of its tokens was last used.
    #[schema(required = true)]
    last_used_at: Option<String>,
}

/// A new credential, with its secret, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct MintedView<'a> {
    #[serde(flatten)]
    pub(super) credential: CredentialView,
    /// 64 letters and digits, `pcs1…`. It can't be shown again.
    #[schema(example = "pcs1…")]
    pub(super) client_secret: &'a str,
    /// What it was made with and is of no use, in sentences; left out if there is nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(super) warnings: Vec<String>,
}

/// The proof that it is so: on disk for good, and in force.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "revision": 42, "revoked_at": "2026-11-22T03:00:00Z", "streams_closed": 3
}))]
pub(super) struct ReceiptView {
    /// The count of changes at which it happened.
    revision: u64,
    /// When.
    revoked_at: String,
    /// How many streams and requests in flight were cut.
    streams_closed: usize,
}

impl From<Receipt> for ReceiptView {
    fn from(receipt: Receipt) -> Self {
        ReceiptView {
            revision: receipt.revision,
            revoked_at: receipt.revoked_at.to_string(),
            streams_closed: receipt.streams_closed,
        }
    }
}

/// Anything with a text form, sorted as its set is.
pub(super) fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

fn text(at: Option<UnixTime>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// Environments as they are asked for: none for all.
pub(super) fn environments(environments: &Environments) -> Vec<String> {
    match environments {
        Environments::All => Vec::new(),
        Environments::Only(list) => texts(list),
    }
}

impl AdminState {
    /// A credential's secrets as they read now.
    pub(super) fn secrets(&self, credential: &Credential) -> Vec<SecretView> {
        let activity = &self.context.memory.activity;
        let view = |secret: &SecretGeneration| SecretView {
            generation: secret.generation,
            created_at: secret.created_at.to_string(),
            retires_at: text(secret.retires_at),
            retires_unused_for: secret.retire_unused.map(show_duration),
            last_used_at: text(activity.last_used(credential.client_id, secret.generation)),
        };
        credential.secrets.iter().map(view).collect()
    }

    /// How a credential reads now.
    pub(super) fn view(&self, credential: &Credential) -> CredentialView {
        let context = &self.context;
        let world = context.world.load();
        let now = context.now();
        let awake = credential.armed.iter().filter(|(_, until)| now < **until);
        let revoked = match &credential.state {
            CredentialState::Revoked(revoked) => Some(revoked),
            CredentialState::Active | CredentialState::Suspended => None,
        };
        CredentialView {
            client_id: credential.client_id.to_string(),
            name: credential.name.clone(),
            description: credential.description.clone(),
            account: credential.account.to_string(),
            roles: texts(&credential.roles),
            scopes: texts(world.scopes_of(&credential.roles, &credential.extra_scopes)),
            extra_scopes: texts(&credential.extra_scopes),
            armed: awake
                .map(|(role, until)| ArmedView {
                    role: role.to_string(),
                    armed_until: until.to_string(),
                })
                .collect(),
            environments: environments(&credential.environments),
            state: credential.state_at(now).as_str(),
            rate: credential.rate.map(|rate| rate.to_string()),
            concurrency: credential.concurrency,
            created_by: credential.created_by.clone(),
            created_at: credential.created_at.to_string(),
            expires_at: text(credential.expires_at),
            revoked_by: revoked.map(|revoked| revoked.by.clone()),
            revoked_at: text(revoked.map(|revoked| revoked.at)),
            revoked_reason: revoked.map(|revoked| revoked.reason.clone()),
            last_used_at: text(context.memory.activity.last_used_at_all(credential.client_id)),
            secrets: self.secrets(credential),
        }
    }
}
