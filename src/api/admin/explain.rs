//! The decision on a request that nobody sent, step by step.

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shared;
use super::view::texts;
use crate::api::actor::Viewer;
use crate::api::body::Fields;
use crate::api::error::ApiError;
use crate::domain::ClientId;
use crate::policy::{Decision, Principal, Step};
use crate::service::{self, Bearer, ExplainRequest, Explanation, FieldFault, Verdict};

/// A request to be judged.
#[derive(ToSchema)]
#[expect(dead_code, reason = "documents the body, which is read field by field")]
pub(super) struct NewExplain {
    /// The method.
    method: String,
    /// An absolute URL, or a path with a query.
    url: String,
    /// A token. Without `token` and `client_id` the request has none.
    token: Option<String>,
    /// A credential: judged as with a token of all its rights, minted now.
    client_id: Option<String>,
}

/// The decision and how it came about. The request is taken to have no body.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "decision": "deny", "endpoint": null, "reason": "insufficient_scope", "status": 403,
    "error": "insufficient_scope", "route": "campaigns", "upstream": "legacy",
    "client_id": "6f9619ff-8b86-4011-b42d-00c04fc964ff", "account": "1234",
    "scope": "campaign.list env:*", "needed": ["campaign.create"], "allow": [], "detail": null,
    "steps": [{ "step": "route", "found": "campaigns (/v1/accounts/{account}/campaigns)" }]
}))]
pub(super) struct ExplainView {
    /// `allow`, `deny`, or `local`: the gateway answers this address by itself.
    decision: &'static str,
    /// With `local`: which of its endpoints answers, as logs name it.
    #[schema(required = true)]
    endpoint: Option<&'static str>,
    /// Why it is denied: the word of logs and metrics.
    #[schema(required = true)]
    reason: Option<&'static str>,
    /// What a client would get; null where the upstream answers.
    #[schema(required = true)]
    status: Option<u16>,
    /// The error code that a client would get.
    #[schema(required = true)]
    error: Option<&'static str>,
    /// The route that was found.
    #[schema(required = true)]
    route: Option<String>,
    /// Where it goes, or would go.
    #[schema(required = true)]
    upstream: Option<String>,
    /// Whose request it is, if a live token says so.
    #[schema(required = true)]
    client_id: Option<String>,
    /// The account of the token.
    #[schema(required = true)]
    account: Option<String>,
    /// What the token may do now.
    #[schema(required = true)]
    scope: Option<String>,
    /// The scopes that would have been needed.
    needed: Vec<String>,
    /// The methods that the address has, if this is not one of them.
    allow: Vec<String>,
    /// What exactly was malformed.
    #[schema(required = true)]
    detail: Option<String>,
    /// The steps that were passed, in their order.
    steps: Vec<StepView>,
}

/// One step that was passed.
#[derive(Serialize, ToSchema)]
pub(super) struct StepView {
    /// What was looked at.
    step: &'static str,
    /// What was found.
    found: String,
}

/// Judges a request as the data plane would at this moment.
#[utoipa::path(post, path = "/v1/explain", tag = "explain", operation_id = "explain",
    request_body(content = NewExplain, example = json!({
        "method": "GET", "url": "https://api.example.com/v1/accounts/1234/campaigns",
        "client_id": "6f9619ff-8b86-4011-b42d-00c04fc964ff"
    })),
    responses((status = 200, description = "The decision", body = ExplainView)))]
pub(super) async fn explain(
    State(shared): State<Shared>,
    _: Viewer,
    mut fields: Fields,
) -> Result<axum::Json<ExplainView>, ApiError> {
    let (method, url) = (fields.needed_text("method"), fields.needed_text("url"));
    let (token, client) = (fields.text("token"), fields.text("client_id"));
    let (bearer, faults) = match (token, client) {
        (Some(_), Some(_)) => {
            let what = "give token or client_id, not both";
            (Bearer::Nobody, vec![FieldFault::new("client_id", what)])
        }
        (Some(token), None) => (Bearer::Token(token), Vec::new()),
        (None, Some(client)) => match ClientId::parse(&client) {
            Some(client) => (Bearer::Client(client), Vec::new()),
            None => (Bearer::Nobody, vec![FieldFault::new("client_id", "must be a UUID")]),
        },
        (None, None) => (Bearer::Nobody, Vec::new()),
    };
    fields.finish(faults)?;
    let request = ExplainRequest { method, url, bearer };
    let explanation = service::explain(&shared.context, &request)?;
    Ok(axum::Json(view(explanation)))
}

/// What the admin port answers, for those who judge without one.
pub fn explanation(found: Explanation) -> impl Serialize {
    view(found)
}

fn view(explanation: Explanation) -> ExplainView {
    let step = |step: Step| StepView { step: step.name, found: step.text };
    let empty = ExplainView {
        decision: "deny",
        endpoint: None,
        reason: None,
        status: None,
        error: None,
        route: None,
        upstream: None,
        client_id: None,
        account: None,
        scope: None,
        needed: Vec::new(),
        allow: Vec::new(),
        detail: None,
        steps: explanation.steps.into_iter().map(step).collect(),
    };
    let decision = match explanation.verdict {
        Verdict::Judged(decision) => decision,
        Verdict::Own(endpoint) => {
            return ExplainView { decision: "local", endpoint: Some(endpoint), ..empty };
        }
    };
    match decision {
        Decision::Allow(permit) => ExplainView {
            decision: "allow",
            route: Some(permit.route().name.to_string()),
            upstream: Some(permit.upstream().to_string()),
            ..empty.of(permit.principal())
        },
        Decision::Deny(denial) => ExplainView {
            reason: Some(denial.reason.as_str()),
            status: Some(denial.reason.status()),
            error: Some(denial.reason.error()),
            route: denial.route.as_ref().map(|route| route.name.to_string()),
            upstream: denial.route.as_ref().map(|route| route.upstream.to_string()),
            needed: texts(&denial.needed),
            allow: denial.allowed_methods.clone(),
            detail: denial.detail.clone(),
            ..empty.of(denial.principal.as_ref())
        },
        Decision::ReadBody(route) => ExplainView { route: Some(route.name.to_string()), ..empty },
    }
}

impl ExplainView {
    fn of(self, principal: Option<&Principal>) -> Self {
        let Some(principal) = principal else { return self };
        ExplainView {
            client_id: Some(principal.token().client_id().to_string()),
            account: Some(principal.token().account().to_string()),
            scope: Some(principal.scope_text().to_owned()),
            ..self
        }
    }
}
