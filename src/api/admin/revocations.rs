//! Revoking single tokens, and everything issued before a time.

use axum::extract::State;
use utoipa::ToSchema;

use super::view::ReceiptView;
use super::{Kind, Shared};
use crate::api::actor::Admin;
use crate::api::body::Fields;
use crate::api::error::ApiError;
use crate::domain::{AccountId, ClientId, Jti, UnixTime};
use crate::service::{FieldFault, TokenRef, cut_off, revoke_token};
use crate::store::codec::CutOffSubject;

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
