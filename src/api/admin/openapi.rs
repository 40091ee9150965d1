//! The description of the admin port, made from the code (OpenAPI 3.1).

use axum::http::header;
use axum::response::IntoResponse;
use serde_json::json;
use utoipa::openapi::extensions::Extensions;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{
    ContentBuilder, Ref, RefOr, Required, Response, ResponseBuilder, SecurityRequirement,
};
use utoipa::{Modify, OpenApi};

use super::lengths::Lengths;
use super::{
    admins, arming, audit, backup, calls, catalogue, change, credentials, explain, impact, keys,
    lifecycle, live, reload, revocations, secrets, session,
};
use crate::api::error::ErrorBody;
use crate::api::ops;
use crate::api::session::COOKIE;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Portcullis admin API",
        description = "Mints, finds and revokes credentials. Every call but /healthz, /readyz, \
            /openapi.json and POST /v1/session takes an admin key, or the cookie of a session. Roles: viewer reads; admin also mints and revokes; \
            super-admin also manages administrators, signing keys and the configuration. \
            x-required-role says the least role of each call, or none."
    ),
    servers((url = "/", description = "Wherever the admin port is")),
    paths(
        credentials::mint, credentials::list, credentials::show,
        lifecycle::revoke, lifecycle::suspend, lifecycle::resume,
        change::change, change::usage, change::narrow, impact::impact,
        secrets::add, secrets::retire, arming::arm, arming::disarm,
        revocations::revoke, revocations::list,
        catalogue::roles, catalogue::routes, catalogue::me,
        admins::create, admins::list, admins::remove,
        keys::list, keys::rotate, keys::revoke,
        audit::list, audit::verify, backup::back_up, explain::explain,
        session::sign_in, session::sign_out, live::show, reload::reload,
        ops::alive, ops::ready, describe,
    ),
    components(schemas(ErrorBody<'static>)),
    modifiers(&Errors, &Lengths)
)]
struct AdminApi;

/// What any call may answer, so that no handler has to repeat it.
struct Errors;

const ERRORS: [(&str, &str, &str, &str); 9] = [
    (
        "400",
        "invalid_request",
        "The body is not one JSON object with unique keys, or the query is no UTF-8",
        "",
    ),
    ("408", "request_timeout", "The body did not come within 10 seconds", "POST"),
    ("401", "unauthorized", "No admin key, or an unknown one", ""),
    ("403", "forbidden", "The administrator's role does not suffice", ""),
    ("404", "not_found", "There is no such thing", ""),
    ("413", "content_too_large", "The body is longer than 64 KiB", "POST"),
    ("422", "invalid_fields", "Some fields or parameters are not valid", ""),
    ("429", "rate_limited", "Too many wrong keys came from this address; see Retry-After", ""),
    (
        "503",
        "unavailable",
        "The store took no change, or did not say; it is safe to ask again",
        "POST DELETE",
    ),
];

/// Calls with a body of which no field is needed, nor the body itself. It may be left out
/// and is not `null`, which the macro can't say.
const MAY_COME_WITHOUT_BODY: [&str; 3] = ["addSecret", "disarmRole", "rotateKey"];

fn error(code: &str, text: &str, fields: bool) -> Response {
    let mut example = json!({
        "error": code, "error_description": format!("{text}."),
        "request_id": "5d2f2b6f0f4f9c7a0000000000000001"
    });
    if fields && let Some(body) = example.as_object_mut() {
        let fields = json!([{ "field": "expires_at", "message": "must lie in the future" }]);
        body.insert("fields".to_owned(), fields);
    }
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name("ErrorBody")))
        .example(Some(example))
        .build();
    ResponseBuilder::new().description(text).content("application/json", content).build()
}

impl Modify for Errors {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        components.add_security_scheme("admin_key", scheme);
        let scheme = SecurityScheme::ApiKey(ApiKey::Cookie(ApiKeyValue::new(COOKIE)));
        components.add_security_scheme("session", scheme);
        let one_of = ["admin_key", "session"];
        let required = |name| SecurityRequirement::new(name, Vec::<String>::new());
        document.security = Some(one_of.map(required).to_vec());
        for (path, item) in &mut document.paths.paths {
            let operations = [
                (&mut item.get, "GET", "GET"),
                (&mut item.post, "POST", "POST"),
                (&mut item.patch, "PATCH", "POST"),
                (&mut item.delete, "DELETE", "POST"),
            ];
            for (operation, verb, method) in operations {
                let Some(operation) = operation else { continue };
                // A call that the list forgot is told as one for nobody.
                let role = match calls::needed(verb, path) {
                    Some(Some(role)) => role.as_str(),
                    Some(None) => "none",
                    None => "unlisted",
                };
                let told = Extensions::builder().add("x-required-role", role).build();
                operation.extensions = Some(told);
                let id = operation.operation_id.as_deref().unwrap_or_default();
                if let Some(RefOr::T(body)) = &mut operation.request_body
                    && MAY_COME_WITHOUT_BODY.contains(&id)
                {
                    body.required = Some(Required::False);
                }
                if !path.starts_with("/v1/") {
                    continue;
                }
                let responses = &mut operation.responses.responses;
                for (status, code, text, only) in ERRORS {
                    if only.is_empty() || only.contains(method) {
                        let response = error(code, text, status == "422");
                        responses.entry(status.to_owned()).or_insert(RefOr::T(response));
                    }
                }
                let told =
                    [("409", "conflict"), ("412", "precondition_failed"), ("503", "unavailable")];
                for (status, code) in told {
                    if let Some(RefOr::T(told)) = responses.get_mut(status)
                        && told.content.is_empty()
                    {
                        *told = error(code, &told.description, false);
                    }
                }
            }
        }
    }
}

/// Describes the admin port.
#[utoipa::path(get, path = "/openapi.json", tag = "health", operation_id = "describe", security(()),
    responses((status = 200, description = "This document", body = Object)))]
pub(super) async fn describe() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], openapi())
}

/// The description of the admin port as pretty JSON.
pub fn openapi() -> String {
    // Made of texts and lists only, it always has a JSON form.
    AdminApi::openapi().to_pretty_json().unwrap_or_default()
}
