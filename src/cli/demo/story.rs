//! The whole story over real sockets, told against two addresses: any gateway
//! will do, and one that does not keep its word is found out.

use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::out::plain;
use crate::cli::port::{Answer, Http};

/// Where the story plays.
#[derive(Clone, Copy)]
pub(super) struct Stage<'a> {
    /// The data plane.
    pub(super) gateway: &'a str,
    /// The admin port.
    pub(super) admin: &'a str,
    /// The key of an administrator.
    pub(super) key: &'a str,
    /// The account it is about.
    pub(super) account: &'a str,
}

/// One step: what was done, what had to come, what came.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    pub(super) what: &'static str,
    pub(super) request: String,
    pub(super) expected: &'static str,
    pub(super) got: String,
    pub(super) ok: bool,
}

/// How many steps there are in all.
pub(super) const STEPS: usize = 9;

/// Tells it, step by step. It goes on after a step that came out wrong, unless
/// the next ones need what is missing.
pub(super) fn tell(stage: Stage<'_>, on_step: impl FnMut(&Step)) -> Vec<Step> {
    let mut tale = Tale { http: Http::local(), steps: Vec::new(), on_step };
    run(stage, &mut tale);
    tale.steps
}

/// True if all steps were told and every one came out right.
pub(super) fn went_well(steps: &[Step]) -> bool {
    steps.len() == STEPS && steps.iter().all(|step| step.ok)
}

fn run(stage: Stage<'_>, tale: &mut Tale<impl FnMut(&Step)>) -> Option<()> {
    let Stage { gateway, admin, key, account } = stage;
    let tests = format!("{gateway}/api/core/accounts/{account}/tests");
    let clear = format!("{gateway}/backend/accounts/{account}/tag-clear");
    let script = format!("{gateway}/script/{account}");
    let token_url = format!("{gateway}/oauth2/token");

    let order = json!({"name": "story", "description": "demo --once", "account": account,
        "roles": ["campaign-reader"]});
    let minted = tale.step(
        "an administrator mints a credential that may read campaigns",
        Ask::post(format!("{admin}/v1/credentials"), Some(key), &order),
        "201 and a client_secret",
        |answer| answer.status == 201 && text(answer, "client_secret").is_some(),
    )?;
    let client = text(&minted, "client_id")?;
    let secret = text(&minted, "client_secret")?;

    let trade = json!({"grant_type": "client_credentials", "client_id": client,
        "client_secret": secret});
    let traded = tale.step(
        "the partner trades it for a token",
        Ask::post(token_url.clone(), None, &trade),
        "200 and a bearer token",
        |answer| answer.status == 200 && text(answer, "access_token").is_some(),
    )?;
    let token = text(&traded, "access_token")?;

    tale.step(
        "with it, the partner reads campaigns",
        Ask::new(Method::GET, tests.clone(), Some(token)),
        "200 and a list of campaigns",
        |answer| {
            let items = answer.body.pointer("/_embedded/items").and_then(Value::as_array);
            answer.status == 200 && items.is_some_and(|items| !items.is_empty())
        },
    );
    tale.step(
        "without it, nobody does",
        Ask::new(Method::GET, tests.clone(), None),
        "401 unauthorized",
        |answer| answer.status == 401 && text(answer, "error") == Some("unauthorized"),
    );
    tale.step(
        "the partner tries to clear the library, and has no right to",
        Ask::new(Method::DELETE, clear, Some(token)),
        "403 insufficient_scope",
        |answer| answer.status == 403 && text(answer, "error") == Some("insufficient_scope"),
    );
    tale.step(
        "visitors still get the library",
        Ask::new(Method::GET, script, None),
        "200 and a script that is not empty",
        |answer| answer.status == 200 && !answer.text.is_empty(),
    );
    tale.step(
        "the administrator revokes the credential",
        Ask::post(
            format!("{admin}/v1/credentials/{client}/revoke"),
            Some(key),
            &json!({"reason": "the story wants it"}),
        ),
        "200 and a receipt",
        |answer| answer.status == 200 && answer.body.get("revision").is_some_and(Value::is_u64),
    );
    tale.step(
        "the same token again, at once",
        Ask::new(Method::GET, tests, Some(token)),
        "401 invalid_token",
        |answer| answer.status == 401 && text(answer, "error") == Some("invalid_token"),
    );
    tale.step(
        "and no new token for it",
        Ask::post(token_url, None, &trade),
        "400 invalid_client",
        |answer| answer.status == 400 && text(answer, "error") == Some("invalid_client"),
    );
    Some(())
}

struct Tale<F> {
    http: Http,
    steps: Vec<Step>,
    on_step: F,
}

/// A request of the story.
struct Ask<'a> {
    method: Method,
    url: String,
    bearer: Option<&'a str>,
    body: Option<&'a Value>,
}

impl<'a> Ask<'a> {
    fn new(method: Method, url: String, bearer: Option<&'a str>) -> Self {
        Ask { method, url, bearer, body: None }
    }

    fn post(url: String, bearer: Option<&'a str>, body: &'a Value) -> Self {
        Ask { method: Method::POST, url, bearer, body: Some(body) }
    }
}

impl<F: FnMut(&Step)> Tale<F> {
    /// Does it and keeps what came of it. Gives the answer if it is right.
    fn step(
        &mut self,
        what: &'static str,
        ask: Ask<'_>,
        expected: &'static str,
        is_right: impl FnOnce(&Answer) -> bool,
    ) -> Option<Answer> {
        let Ask { method, url, bearer, body } = ask;
        let request = format!("{method} {url}");
        let came = self.http.send(method, &url, bearer, body);
        let ok = came.as_ref().is_ok_and(is_right);
        let got = match &came {
            Ok(answer) => in_short(answer),
            Err(error) => format!("no answer: {error:#}"),
        };
        let step = Step { what, request, expected, got, ok };
        (self.on_step)(&step);
        self.steps.push(step);
        came.ok().filter(|_| ok)
    }
}

fn text<'a>(answer: &'a Answer, key: &str) -> Option<&'a str> {
    answer.body.get(key).and_then(Value::as_str)
}

/// The status and what is telling in the answer; never a secret or a token.
fn in_short(answer: &Answer) -> String {
    let status = answer.status;
    if let Some(error) = text(answer, "error") {
        return format!("{status} {}", plain(error));
    }
    if let Some(client) = text(answer, "client_id") {
        return format!("{status}, client_id {}", plain(client));
    }
    if let Some(scope) = text(answer, "scope") {
        return format!("{status}, scope {}", plain(scope));
    }
    if let Some(items) = answer.body.pointer("/_embedded/items").and_then(Value::as_array) {
        return format!("{status}, {} campaigns", items.len());
    }
    if let Some(revision) = answer.body.get("revision") {
        return format!("{status}, receipt {revision}");
    }
    format!("{status}, {} bytes", answer.text.len())
}
