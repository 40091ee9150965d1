//! Administrators: making one, listing them, removing one.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::view::Page;
use crate::api::actor::{SuperAdmin, Viewer};
use crate::api::body::Fields;
use crate::api::error::ApiError;
use crate::api::query::{Params, cursor};
use crate::domain::{AdminName, AdminRole, Administrator, UnixTime};
use crate::service::{AdminError, FieldFault, create_admin, remove_admin};

const LIST: u8 = b'm';

/// An administrator to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct NewAdmin {
    /// Unique: letters, digits, `-`, `_` and `.`; stands in the audit trail.
    name: String,
    /// `viewer`, `admin` or `super-admin`.
    role: String,
}

/// A new administrator, with the key, which is shown this once.
#[derive(Serialize, ToSchema)]
pub(super) struct CreatedView<'a> {
    /// The name.
    #[schema(example = "ada")]
    name: String,
    /// The role.
    #[schema(example = "admin")]
    role: &'static str,
    /// 64 letters and digits, `pak1…`. It can't be shown again.
    #[schema(example = "pak1…")]
    key: &'a str,
}

/// An administrator, without the key.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "name": "ada", "role": "admin", "created_by": "command-line",
    "created_at": "2026-11-22T03:00:00Z"
}))]
pub(super) struct AdminView {
    /// The name.
    name: String,
    /// `viewer`, `admin` or `super-admin`.
    role: &'static str,
    /// Who made it.
    created_by: String,
    /// When.
    created_at: String,
}

/// Makes an administrator.
#[utoipa::path(post, path = "/v1/admins", tag = "administrators", operation_id = "createAdmin",
    request_body(content = NewAdmin, example = json!({ "name": "ada", "role": "admin" })),
    responses(
        (status = 201, description = "Made: the key works already", body = CreatedView<'static>),
        (status = 409, description = "The name is taken")))]
pub(super) async fn create(
    State(shared): State<Shared>,
    admin: SuperAdmin,
    mut fields: Fields,
) -> Result<Response, ApiError> {
    let (name, role) = (fields.needed_text("name"), fields.needed_text("role"));
    let name = AdminName::new(&name).map_err(|error| FieldFault::new("name", error.to_string()));
    let role = role.parse::<AdminRole>();
    let role = role.map_err(|error| FieldFault::new("role", error.to_string()));
    let (name, role) = match (name, role) {
        (Ok(name), Ok(role)) => {
            fields.finish(Vec::new())?;
            (name, role)
        }
        (name, role) => {
            let faults: Vec<_> = name.err().into_iter().chain(role.err()).collect();
            fields.finish(faults.clone())?;
            return Err(ApiError::fields(faults));
        }
    };
    let created = create_admin(&shared.context, admin.actor(), name, role).await?;
    let view = CreatedView {
        name: created.admin.name.to_string(),
        role: created.admin.role.as_str(),
        key: created.key.expose(),
    };
    Ok((StatusCode::CREATED, axum::Json(view)).into_response())
}

/// Lists the administrators, newest first.
#[utoipa::path(get, path = "/v1/admins", tag = "administrators", operation_id = "listAdmins",
    params(
        ("limit" = Option<u32>, Query, description = "How many, 1 to 200; 50 if left out"),
        ("cursor" = Option<String>, Query,
            description = "What next_cursor of the page before said")),
    responses((status = 200, description = "A page", body = Page<AdminView>)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    _: Viewer,
    mut params: Params,
) -> Result<Page<AdminView>, ApiError> {
    let limit = params.limit();
    let after = params.cursor(LIST, read_place);
    params.finish()?;
    let mut older = shared.context.memory.admins.list();
    if let Some((at, name)) = after {
        older.retain(|admin| (admin.created_at, &admin.name) < (at, &name));
    }
    let more = older.len() > limit;
    older.truncate(limit);
    let next_cursor = older.last().filter(|_| more).map(|admin| write_place(admin));
    let view = |admin: &Administrator| AdminView {
        name: admin.name.to_string(),
        role: admin.role.as_str(),
        created_by: admin.created_by.clone(),
        created_at: admin.created_at.to_string(),
    };
    Ok(Page { items: older.iter().map(|admin| view(admin)).collect(), next_cursor })
}

/// Removes an administrator; the key is of no use from then on.
#[utoipa::path(delete, path = "/v1/admins/{name}", tag = "administrators", operation_id = "removeAdmin",
    params(("name" = String, Path, description = "The name")),
    responses(
        (status = 204, description = "Removed"),
        (status = 409, description = "It is the last super-admin, who stays")))]
pub(super) async fn remove(
    State(shared): State<Shared>,
    admin: SuperAdmin,
    path: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, ApiError> {
    // What can be no name names nobody.
    let name = path.ok().and_then(|Path(name)| AdminName::new(&name).ok());
    let name = name.ok_or(AdminError::Unknown)?;
    remove_admin(&shared.context, admin.actor(), &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn write_place(admin: &Administrator) -> String {
    let at = admin.created_at.as_millis().to_be_bytes();
    cursor(LIST, &[at.as_slice(), admin.name.as_str().as_bytes()].concat())
}

fn read_place(bytes: &[u8]) -> Option<(UnixTime, AdminName)> {
    let (at, name) = bytes.split_first_chunk::<8>()?;
    let name = AdminName::new(std::str::from_utf8(name).ok()?).ok()?;
    Some((UnixTime::from_millis(i64::from_be_bytes(*at)), name))
}
