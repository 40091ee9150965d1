//! Credentials: minting one, finding them, showing one.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use utoipa::ToSchema;

use super::view::{CredentialView, MintedView, Page};
use super::{Named, Shared, no_such_credential};
use crate::api::actor::{Admin, Viewer};
use crate::api::body::Fields;
use crate::api::condition::etag;
use crate::api::error::ApiError;
use crate::api::query::{Params, cursor};
use crate::domain::{ClientId, Scope, StateName, UnixTime, parse_duration};
use crate::service::{CredentialRequest, Filter, Place, issue_credential, search, unasked_scopes};

const LIST: u8 = b'c';

/// A credential to be minted. At least one role or scope is needed. What may be left out
/// may be null as well.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct NewCredential {
    /// What people call it: 1 to 100 characters.
    name: String,
    /// What it is for: up to 1000 characters.
    description: Option<String>,
    /// The tenant it is bound to.
    account: String,
    /// Ids of predefined roles.
    roles: Option<Vec<String>>,
    /// Scopes besides those of the roles.
    scopes: Option<Vec<String>>,
    /// Where its rights hold; an empty list, `["*"]` or nothing means everywhere.
    environments: Option<Vec<String>>,
    /// The end of its life, RFC 3339, in the future.
    expires_at: Option<String>,
    /// Its own limit, such as `100/s`, `600/m` or `5000/h`.
    rate: Option<String>,
    /// Its own limit of requests at once, 1 or more.
    #[schema(minimum = 1)]
    concurrency: Option<u32>,
}

/// Mints a credential.
///
/// The answer has the secret, which is shown this once.
#[utoipa::path(post, path = "/v1/credentials", tag = "credentials", operation_id = "mintCredential",
    request_body(content = NewCredential, example = json!({
        "name": "Nightly sync", "description": "Pauses campaigns at night", "account": "1234",
        "roles": ["campaign-operator"], "environments": ["production"],
        "expires_at": "2030-01-01T00:00:00Z"
    })),
    responses((status = 201, description = "Minted: it works already", body = MintedView<'static>,
        headers(("ETag" = String, description = "To be sent as `If-Match` with a change")))))]
pub(super) async fn mint(
    State(shared): State<Shared>,
    admin: Admin,
    mut fields: Fields,
) -> Result<Response, ApiError> {
    let request = CredentialRequest {
        name: fields.needed_text("name"),
        description: fields.text("description").unwrap_or_default(),
        account: fields.needed_text("account"),
        roles: fields.texts("roles"),
        scopes: fields.texts("scopes"),
        environments: fields.texts("environments"),
        expires_at: fields.text("expires_at"),
        rate: fields.text("rate"),
        concurrency: fields.count("concurrency"),
    };
    let context = &shared.context;
    let checked = request.check(&context.world.load(), context.now());
    let checked = match checked {
        Ok(checked) => {
            fields.finish(Vec::new())?;
            checked
        }
        Err(faults) => {
            fields.finish(faults.clone())?;
            return Err(ApiError::fields(faults));
        }
    };
    let issued = issue_credential(context, admin.actor(), checked).await?;
    let credential = shared.view(&issued.credential);
    let warnings = unasked_scopes(&context.world.load(), &issued.credential);
    let warn = |scope: &Scope| {
        format!("no route of this gateway asks for the scope {scope:?}: is it spelt as meant?")
    };
    let warnings = warnings.iter().map(warn).collect();
    let minted = MintedView { credential, client_secret: issued.secret.expose(), warnings };
    let tag = etag(&issued.credential, issued.revision);
    Ok((StatusCode::CREATED, tag, axum::Json(minted)).into_response())
}

/// Lists credentials, revoked ones too, newest first.
#[utoipa::path(get, path = "/v1/credentials", tag = "credentials", operation_id = "listCredentials",
    params(
        ("q" = Option<String>, Query, description = "Parts of words, in any case, each to be found \
            in who made it, its name, its description, or the id or label of one of its roles; or \
            its whole `client_id`"),
        ("state" = Option<String>, Query,
            description = "`active`, `suspended`, `revoked` or `expired`"),
        ("role" = Option<String>, Query, description = "The id of a role"),
        ("account" = Option<String>, Query, description = "An account"),
        ("environment" = Option<String>, Query,
            description = "An environment that it may act in; `*`: all of them"),
        ("unused_for" = Option<String>, Query, description = "Only those that were never used, or \
            not for so long, such as `90d`"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 200; 50 if left out"),
        ("cursor" = Option<String>, Query,
            description = "What next_cursor of the page before said")),
    responses((status = 200, description = "A page", body = Page<CredentialView>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    _: Viewer,
    mut params: Params,
) -> Result<Page<CredentialView>, ApiError> {
    let limit = params.limit();
    let after = params.cursor(LIST, read_place);
    let state = |text: &str| StateName::ALL.into_iter().find(|state| state.as_str() == text);
    let filter = Filter {
        q: params.text("q"),
        state: params.read("state", "must be active, suspended, revoked or expired", state),
        role: params.text("role"),
        account: params.text("account"),
        environment: params.text("environment"),
        unused_for: params.read("unused_for", "must be a duration such as \"90d\"", parse_duration),
    };
    params.finish()?;
    let (found, next) = search(&shared.context, &filter, after, limit);
    let items = found.iter().map(|credential| shared.view(credential)).collect();
    Ok(Page { items, next_cursor: next.map(write_place) })
}

fn write_place((at, client): Place) -> String {
    cursor(LIST, &[at.as_millis().to_be_bytes().as_slice(), client.as_bytes()].concat())
}

fn read_place(bytes: &[u8]) -> Option<Place> {
    let (at, client) = bytes.split_first_chunk::<8>()?;
    let at = UnixTime::from_millis(i64::from_be_bytes(*at));
    Some((at, ClientId::from_bytes(client.try_into().ok()?)))
}

/// Shows a credential with all its rights.
#[utoipa::path(get, path = "/v1/credentials/{client_id}", tag = "credentials", operation_id = "showCredential",
    params(("client_id" = String, Path, description = "Its id, a UUID")),
    responses((status = 200, description = "The credential", body = CredentialView,
        headers(("ETag" = String, description = "To be sent as `If-Match` with a change")))))]
pub(super) async fn show(
    State(shared): State<Shared>,
    _: Viewer,
    Named(client): Named,
) -> Result<Response, ApiError> {
    let found = shared.context.memory.directory.find(client);
    let (credential, revision) = found.ok_or_else(no_such_credential)?;
    Ok((etag(&credential, revision), axum::Json(shared.view(&credential))).into_response())
}
