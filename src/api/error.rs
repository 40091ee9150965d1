//! A failed call: what the caller is told, and what only the log is told.
//!
//! A handler makes an [`ApiError`]; [`super::frame`] turns it into JSON, because
//! only it knows the request's id.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::service::keys::{KeyRevokeError, RotateError};
use crate::service::{
    AdminError, ChangeError, ExplainError, FieldFault, IssueError, RevokeError, UpdateError,
};

/// Seconds after which a store that is away is worth another try.
const RETRY_AFTER: &str = "2";

/// Why a call failed. Boxed: every handler returns one, and few do.
#[derive(Clone, Debug)]
pub(crate) struct ApiError(Box<Failure>);

#[derive(Clone, Debug)]
struct Failure {
    status: StatusCode,
    code: &'static str,
    public: String,
    internal: Option<String>,
    fields: Vec<Located>,
    headers: HeaderMap,
}

/// A field that is not valid, with its line where it stands in a file.
#[derive(Clone, Debug)]
pub(crate) struct Located {
    pub(crate) field: String,
    pub(crate) line: Option<usize>,
    pub(crate) message: String,
}

/// The body of every failed call.
#[derive(Serialize, ToSchema)]
pub(crate) struct ErrorBody<'a> {
    /// One word for programs.
    #[schema(example = "invalid_fields")]
    error: &'a str,
    /// One sentence for people.
    #[schema(example = "Some fields are not valid; see fields.")]
    error_description: &'a str,
    /// To be quoted when asking for help; the log has it too.
    #[schema(example = "5d2f2b6f0f4f9c7a0000000000000001")]
    request_id: &'a str,
    /// With 422: every field that is not valid.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fields: Vec<FieldBody<'a>>,
}

/// One field that is not valid.
#[derive(Serialize, ToSchema)]
pub(crate) struct FieldBody<'a> {
    /// Its name.
    #[schema(example = "expires_at")]
    field: &'a str,
    /// What it must be.
    #[schema(example = "must lie in the future")]
    message: &'a str,
    /// The line of the file that it stands on, if it stands in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
}

impl ApiError {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        public: impl Into<String>,
    ) -> ApiError {
        let (public, headers) = (public.into(), HeaderMap::new());
        let (internal, fields) = (None, Vec::new());
        ApiError(Box::new(Failure { status, code, public, internal, fields, headers }))
    }

    fn because(mut self, internal: impl ToString) -> Self {
        self.0.internal = Some(internal.to_string());
        self
    }

    fn with(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.0.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// The connection is of no use after it.
    pub(crate) fn closing(self) -> Self {
        self.with(header::CONNECTION, "close")
    }

    /// 400: the body is not what JSON may be.
    pub(crate) fn broken(why: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", why)
    }

    /// 401: no key, or none of ours.
    pub(crate) fn unauthorized(sent_one: bool) -> Self {
        let (text, challenge) = if sent_one {
            ("The key is not known.", "Bearer realm=\"admin\", error=\"invalid_token\"")
        } else {
            ("Send an admin key in the Authorization header, as Bearer.", "Bearer realm=\"admin\"")
        };
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", text)
            .with(header::WWW_AUTHENTICATE, challenge)
    }

    /// 401: the session has ended.
    pub(crate) fn session_over() -> Self {
        let text = "The session has ended; sign in again.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", text)
            .with(header::WWW_AUTHENTICATE, "Bearer realm=\"admin\", error=\"invalid_token\"")
    }

    /// 403: a cookie came along, but not from a page of ours.
    pub(crate) fn foreign_origin() -> Self {
        let text = "With the console's cookie, a change must come from the console's own origin.";
        Self::new(StatusCode::FORBIDDEN, "foreign_origin", text)
    }

    /// 403: the role is too small.
    pub(crate) fn forbidden(needed: &str) -> Self {
        let text = format!("This takes an administrator with the role {needed}.");
        Self::new(StatusCode::FORBIDDEN, "forbidden", text)
    }

    /// 429: too many wrong keys from there.
    pub(crate) fn slowed(wait: Duration) -> Self {
        let text = "Too many wrong keys came from this address; see Retry-After.";
        let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", text);
        let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        error.0.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        error
    }

    /// 404: nothing of that name.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", text)
    }

    /// 409: not in the state that things are in.
    pub(crate) fn conflict(text: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", text)
    }

    /// 422: fields that are not valid.
    pub(crate) fn fields(fields: Vec<FieldFault>) -> Self {
        let text = "Some fields are not valid; see fields.";
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_fields", text);
        let located = |FieldFault { field, message }| Located { field, line: None, message };
        error.0.fields = fields.into_iter().map(located).collect();
        error
    }

    /// 422: a configuration that can't be taken on.
    pub(crate) fn configuration(faults: Vec<Located>) -> Self {
        let text = "The configuration is refused, and all stays as it was; see fields.";
        let mut error = Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_configuration", text);
        error.0.fields = faults;
        error
    }

    /// 503: others come first, or it is ending.
    pub(crate) fn busy() -> Self {
        let text = "The gateway is ending, or busy with the same thing. Nothing was changed.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
            .with(header::RETRY_AFTER, RETRY_AFTER)
    }

    /// 500: our fault; what it was is for the log.
    pub(crate) fn internal(why: impl ToString) -> Self {
        let text = "The gateway failed to answer.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", text).because(why)
    }

    /// 503: the store can't be read.
    pub(crate) fn unreadable(why: impl ToString) -> Self {
        let text = "The store can't be read right now. Try again.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
            .with(header::RETRY_AFTER, RETRY_AFTER)
            .because(why)
    }

    /// The JSON answer. Called once, where the failure is also logged.
    pub(super) fn render(&self, request_id: &str) -> Response {
        let failure = &self.0;
        if failure.status.is_server_error() {
            let (status, internal) = (failure.status.as_u16(), failure.internal.as_deref());
            tracing::error!(request_id, status, internal, "{}", failure.public);
        }
        let body = ErrorBody {
            error: failure.code,
            error_description: &failure.public,
            request_id,
            fields: failure
                .fields
                .iter()
                .map(|fault| FieldBody {
                    field: &fault.field,
                    message: &fault.message,
                    line: fault.line,
                })
                .collect(),
        };
        (failure.status, failure.headers.clone(), axum::Json(body)).into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<ChangeError> for ApiError {
    fn from(error: ChangeError) -> Self {
        let text = match &error {
            ChangeError::NotDone(_) | ChangeError::Contended => {
                "Nothing was changed: the store takes no change right now. Try again."
            }
            ChangeError::Unknown(_) => {
                "The outcome is unknown: the store did not say whether the change happened. \
                 It is safe to ask again."
            }
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
            .with(header::RETRY_AFTER, RETRY_AFTER)
            .because(error)
    }
}

impl From<IssueError> for ApiError {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Entropy(error) => Self::internal(error),
            IssueError::Change(error) => error.into(),
        }
    }
}

impl From<RevokeError> for ApiError {
    fn from(error: RevokeError) -> Self {
        match error {
            RevokeError::Unknown(what) => Self::not_found(format!("There is no such {what}.")),
            RevokeError::Invalid(faults) => Self::fields(faults),
            RevokeError::State(_) => {
                Self::conflict("The credential is revoked, which can't be undone.")
            }
            RevokeError::ClockBehind(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "Nothing was changed: the gateway's clock is behind by more than a day, and a \
                 time would not end what was issued meanwhile. Set the clock right, or revoke \
                 or suspend the credential.",
            )
            .with(header::RETRY_AFTER, RETRY_AFTER)
            .because(error),
            RevokeError::Change(error) => error.into(),
        }
    }
}

impl From<UpdateError> for ApiError {
    fn from(error: UpdateError) -> Self {
        match error {
            UpdateError::Unknown => Self::not_found("There is no such credential."),
            UpdateError::NoSecret => Self::not_found("There is no such secret."),
            UpdateError::Invalid(faults) => Self::fields(faults),
            UpdateError::State(_) => {
                Self::conflict("The credential is revoked, which can't be undone.")
            }
            UpdateError::Stale => Self::new(
                StatusCode::PRECONDITION_FAILED,
                "precondition_failed",
                "The credential has changed since it was read (If-Match): read it again, and \
                 decide on what it is now. Nothing was changed.",
            ),
            UpdateError::Refused(why) => Self::conflict(why),
            UpdateError::Entropy(error) => Self::internal(error),
            UpdateError::Change(error) => error.into(),
        }
    }
}

impl From<AdminError> for ApiError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::NameTaken => {
                Self::conflict("There is an administrator of that name already.")
            }
            AdminError::NameReserved => {
                Self::fields(vec![FieldFault::new("name", "is reserved; choose another one")])
            }
            AdminError::Unknown => Self::not_found("There is no such administrator."),
            AdminError::LastSuperAdmin => {
                Self::conflict("The last super-admin stays: make another one first.")
            }
            AdminError::Entropy(error) => Self::internal(error),
            AdminError::Change(error) => error.into(),
        }
    }
}

impl From<RotateError> for ApiError {
    fn from(error: RotateError) -> Self {
        match error {
            RotateError::OperatorsKey => Self::conflict(
                "The configuration gives the signing key (oauth.signing_key_file): put another \
                 one there and restart.",
            ),
            RotateError::Make(error) => Self::internal(error),
            RotateError::Change(error) => error.into(),
        }
    }
}

impl From<KeyRevokeError> for ApiError {
    fn from(error: KeyRevokeError) -> Self {
        match error {
            KeyRevokeError::Revoke(error) => error.into(),
            KeyRevokeError::Make(error) => Self::internal(error),
        }
    }
}

impl From<ExplainError> for ApiError {
    fn from(error: ExplainError) -> Self {
        match error {
            ExplainError::Invalid(faults) => Self::fields(faults),
            ExplainError::UnknownClient => Self::not_found("There is no such credential."),
            ExplainError::Entropy(error) => Self::internal(error),
            ExplainError::Mint(error) => Self::internal(error),
        }
    }
}
