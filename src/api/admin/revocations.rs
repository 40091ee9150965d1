//! Revoking single tokens, and everything issued before a time; and listing it.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::view::{Page, ReceiptView};
use super::{Kind, Shared};
use crate::api::actor::{Admin, Viewer};
use crate::api::body::Fields;
use crate::api::error::ApiError;
use crate::api::query::{Params, cursor};
use crate::domain::{AccountId, ClientId, Jti, UnixTime};
use crate::service::{
    FieldFault, Revocation, RevocationKind, TokenRef, cut_off, list_revocations, revoke_token,
};
use crate::store::Revision;
use crate::store::codec::CutOffSubject;

const LIST: u8 = b'r';

/// What is revoked: exactly one of `jti`, `token`, `client_id` and `account`,
/// the latter two with `issued_before`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct NewRevocation {
    /// The id of a token, a UUID.
    jti: Option<String>,
    /// A token of this gateway; it may have expired.
    token: Option<String>,
    /// A credential whose tokens end.
    client_id: Option<String>,
    /// An account whose credentials' tokens end.
    account: Option<String>,
    /// RFC 3339, not in the future: tokens issued before this end.
    issued_before: Option<String>,
    /// Why, up to 300 characters.
    reason: Option<String>,
}

/// A revocation of tokens. What does not concern its kind is null.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "revision": 42, "kind": "token", "jti": "6f9619ff-8b86-4011-b42d-00c04fc964ff",
    "client_id": "0b9f19ff-8b86-4011-b42d-00c04fc964ff", "account": null, "issued_before": null,
    "revoked_by": "ada", "revoked_at": "2026-11-22T03:00:00Z", "reason": null,
    "expires_at": "2026-11-23T03:00:00Z"
}))]
pub(super) struct RevocationView {
    /// The change it came with.
    revision: u64,
    /// `token` or `cut_off`.
    kind: &'static str,
    /// The token.
    #[schema(required = true)]
    jti: Option<String>,
    /// The credential: whose token, or all of whose tokens.
    #[schema(required = true)]
    client_id: Option<String>,
    /// The account whose credentials' tokens ended.
    #[schema(required = true)]
    account: Option<String>,
    /// Tokens issued before this ended.
    #[schema(required = true)]
    issued_before: Option<String>,
    /// The administrator's name; `client …` if a client revoked its own token.
    revoked_by: String,
    /// When.
    revoked_at: String,
    /// Why, where somebody said why.
    #[schema(required = true)]
    reason: Option<String>,
    /// When the record may go: the token is dead by itself. Cut-offs stay.
    #[schema(required = true)]
    expires_at: Option<String>,
}

impl RevocationView {
    fn of(revision: Revision, revocation: Revocation) -> Self {
        match revocation {
            Revocation::Token(token) => RevocationView {
                revision,
                kind: "token",
                jti: Some(token.jti.to_string()),
                client_id: token.client_id.map(|id| id.to_string()),
                account: None,
                issued_before: None,
                revoked_by: token.revoked_by,
                revoked_at: token.revoked_at.to_string(),
                reason: token.reason,
                expires_at: Some(token.expires_at.to_string()),
            },
            Revocation::CutOff(cut) => {
                let (client_id, account) = match cut.subject {
                    CutOffSubject::Client(id) => (Some(id.to_string()), None),
                    CutOffSubject::Account(account) => (None, Some(account.to_string())),
                };
                RevocationView {
                    revision,
                    kind: "cut_off",
                    jti: None,
                    client_id,
                    account,
                    issued_before: Some(cut.issued_before.to_string()),
                    revoked_by: cut.by,
                    revoked_at: cut.at.to_string(),
                    reason: cut.reason,
                    expires_at: None,
                }
            }
        }
    }
}

/// Lists revoked tokens and cut-offs, newest first. Tokens that are dead by
/// themselves are forgotten; revoked credentials are in their own list.
#[utoipa::path(get, path = "/v1/revocations", tag = "revocations", operation_id = "listRevocations",
    params(
        ("kind" = Option<String>, Query, description = "Only `token`, or only `cut_off`"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 200; 50 if left out"),
        ("cursor" = Option<String>, Query,
            description = "What next_cursor of the page before said")),
    responses(
        (status = 200, description = "A page", body = Page<RevocationView>),
        (status = 503, description = "The store can't be read right now")))]
pub(super) async fn list(
    State(shared): State<Shared>,
    _: Viewer,
    mut params: Params,
) -> Result<Page<RevocationView>, ApiError> {
    let kind = params.read("kind", "must be token or cut_off", |text| match text {
        "token" => Some(RevocationKind::Token),
        "cut_off" => Some(RevocationKind::CutOff),
        _ => None,
    });
    let limit = params.limit();
    let before = params.cursor(LIST, |place| Some(Revision::from_be_bytes(place.try_into().ok()?)));
    params.finish()?;
    let context = Arc::clone(&shared.context);
    let read = move || list_revocations(&context, kind, before, limit);
    let read = tokio::task::spawn_blocking(read).await.map_err(ApiError::internal)?;
    let (found, next) = read.map_err(ApiError::unreadable)?;
    let items = found.into_iter().map(|(revision, it)| RevocationView::of(revision, it));
    let next_cursor = next.map(|revision| cursor(LIST, &revision.to_be_bytes()));
    Ok(Page { items: items.collect(), next_cursor })
}

enum Wanted {
    Token(TokenRef),
    CutOff(CutOffSubject, UnixTime),
}

/// Revokes one token, or everything issued to somebody before a time.
///
/// A second call answers with the first receipt; so does a cut-off that a later
/// one covers.
#[utoipa::path(post, path = "/v1/revocations", tag = "revocations", operation_id = "revokeTokens",
    request_body(content = NewRevocation, examples(
        ("token" = (value = json!({ "jti": "6f9619ff-8b86-4011-b42d-00c04fc964ff" }))),
        ("cut-off" = (value = json!({
            "account": "1234", "issued_before": "2026-11-22T03:00:00Z"
        }))))),
    responses((status = 200, description = "Revoked", body = ReceiptView)))]
pub(super) async fn revoke(
    State(shared): State<Shared>,
    admin: Admin,
    mut fields: Fields,
) -> Result<axum::Json<ReceiptView>, ApiError> {
    let wanted = read(&shared, &mut fields);
    let reason = fields.text("reason");
    let wanted = match wanted {
        Ok(wanted) => {
            fields.finish(Vec::new())?;
            wanted
        }
        Err(fault) => {
            fields.finish(vec![fault.clone()])?;
            return Err(ApiError::fields(vec![fault]));
        }
    };
    let (context, actor, reason) = (&shared.context, admin.actor(), reason.as_deref());
    let (kind, receipt) = match wanted {
        Wanted::Token(token) => (Kind::Token, revoke_token(context, actor, token, reason).await?),
        Wanted::CutOff(subject, before) => {
            (Kind::CutOff, cut_off(context, actor, subject, before, reason).await?)
        }
    };
    shared.count(kind, &receipt);
    Ok(axum::Json(receipt.into()))
}

fn read(shared: &Shared, fields: &mut Fields) -> Result<Wanted, FieldFault> {
    const KINDS: [&str; 4] = ["jti", "token", "client_id", "account"];
    let given: Vec<&str> = KINDS.into_iter().filter(|kind| fields.has(kind)).collect();
    let [kind] = given.as_slice() else {
        for name in KINDS.into_iter().chain(["issued_before"]) {
            fields.text(name);
        }
        let what = "give exactly one of jti, token, client_id and account";
        return Err(FieldFault::new(given.last().copied().unwrap_or("jti"), what));
    };
    let text = fields.needed_text(kind);
    let fault = |what: &str| FieldFault::new(*kind, what);
    if matches!(*kind, "jti" | "token") {
        return Ok(Wanted::Token(match *kind {
            "jti" => TokenRef::by_id(Jti::parse(&text).ok_or_else(|| fault("must be a UUID"))?),
            _ => TokenRef::by_text(&shared.context, &text)?,
        }));
    }
    let before = fields.needed_text("issued_before");
    let subject = match *kind {
        "client_id" => {
            CutOffSubject::Client(ClientId::parse(&text).ok_or_else(|| fault("must be a UUID"))?)
        }
        _ => CutOffSubject::Account(
            AccountId::new(&text).map_err(|error| fault(&error.to_string()))?,
        ),
    };
    let before = UnixTime::parse_rfc3339(&before).ok_or_else(|| {
        FieldFault::new(
            "issued_before",
            "must be a time in RFC 3339, such as \"2030-01-31T00:00:00Z\"",
        )
    })?;
    Ok(Wanted::CutOff(subject, before))
}
