//! The admin port as a client sees it: address and key from the environment,
//! JSON in and out, errors in words that say what to do.

use std::io::Read;
use std::time::Duration;

use anyhow::Context;
use http::{Method, Request};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::failure::{Refused, Usage};
use super::out::plain;
use crate::domain::{AdminKey, SecretText};

/// Where it is unless somebody says otherwise.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:8081";
/// The variable that says where.
pub(super) const URL_VARIABLE: &str = "PORTCULLIS_ADMIN_URL";
/// The variable with the key.
pub(super) const KEY_VARIABLE: &str = "PORTCULLIS_ADMIN_KEY";

const TIMEOUT: Duration = Duration::from_secs(30);
/// The longest answer that is read.
const LONGEST: u64 = 16 << 20;

/// An answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The JSON body; null if there is none or it is something else.
    pub(super) body: Value,
    /// The body as it came.
    pub(super) text: String,
}

/// Sends requests, follows no redirect, and takes every status for an answer.
#[derive(Debug)]
pub(super) struct Http(ureq::Agent);

impl Http {
    /// For addresses on this machine, past any proxy.
    pub(super) fn local() -> Self {
        Self::build(true)
    }

    fn build(local: bool) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT))
            .user_agent(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        let config = if local { config.proxy(None) } else { config };
        Http(config.build().into())
    }

    /// Sends one request.
    ///
    /// # Errors
    /// When there was no answer.
    pub(super) fn send(
        &self,
        method: Method,
        url: &str,
        bearer: Option<&str>,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(url);
        if let Some(bearer) = bearer {
            request = request.header("Authorization", format!("Bearer {bearer}"));
        }
        let response = match body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json");
                self.0.run(request.body(serde_json::to_vec(body)?)?)
            }
            None => self.0.run(request.body(())?),
        };
        let mut response = response?;
        let status = response.status().as_u16();
        let text = response.body_mut().with_config().limit(LONGEST).read_to_string()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status, body, text })
    }
}

/// The admin port and the right to use it.
#[derive(Debug)]
pub(super) struct AdminPort {
    base: String,
    key: SecretText,
    http: Http,
}

impl AdminPort {
    /// With the key of the environment.
    ///
    /// # Errors
    /// When there is none, or it can't be one.
    pub(super) fn from_env(base: &str) -> anyhow::Result<Self> {
        let Some(key) = std::env::var(KEY_VARIABLE).ok().filter(|key| !key.is_empty()) else {
            return Err(Usage(format!(
                "no admin key: set {KEY_VARIABLE} to the key of an administrator. \
                 \"portcullis admin create\" makes the first one"
            ))
            .into());
        };
        if !AdminKey::well_formed(key.trim()) {
            return Err(Usage(format!(
                "{KEY_VARIABLE} does not hold an admin key: one begins with \"{}\" and has 64 \
                 letters and digits. Is it cut, or the secret of a credential?",
                AdminKey::PREFIX
            ))
            .into());
        }
        Self::new(base, key.trim())
    }

    /// With a key.
    ///
    /// # Errors
    /// When the address is none.
    pub(super) fn new(base: &str, key: &str) -> anyhow::Result<Self> {
        let base = base.trim_end_matches('/');
        let uri: http::Uri =
            base.parse().ok().filter(|_| base.contains("://")).ok_or_else(|| {
                Usage(format!(
                    "{base:?} is no address of an admin port; one looks like {DEFAULT_URL}"
                ))
            })?;
        let local = matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]"));
        let key = SecretText::new(key.to_owned());
        Ok(AdminPort { base: base.to_owned(), key, http: Http::build(local) })
    }

    /// `GET`, with those of the parameters that are there.
    pub(super) fn get(&self, path: &str, query: &[(&str, Option<&str>)]) -> anyhow::Result<Value> {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        for (name, value) in query.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
            pairs.append_pair(name, value);
        }
        let query = pairs.finish();
        let mark = if query.is_empty() { "" } else { "?" };
        self.ask(Method::GET, &format!("{path}{mark}{query}"), None)
    }

    /// `GET` of something long, as a stream without an end to its time.
    pub(super) fn stream(&self, path: &str) -> anyhow::Result<impl Read + use<>> {
        let request = Request::builder()
            .uri(format!("{}{path}", self.base))
            .header("Authorization", format!("Bearer {}", self.key.expose()));
        let request = self.http.0.configure_request(request.body(())?);
        let request = request.timeout_global(None).timeout_recv_response(Some(TIMEOUT)).build();
        let sent = self.http.0.run(request);
        let mut response = sent.with_context(|| self.unreachable())?;
        let status = response.status().as_u16();
        if status == 200 {
            return Ok(response.into_body().into_reader());
        }
        let text = response.body_mut().with_config().limit(LONGEST).read_to_string()?;
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let answer = Answer { status, body, text };
        let words = refusal(&answer);
        Err(Refused { status, body: answer.body, words }.into())
    }

    /// `POST`.
    pub(super) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, Some(body))
    }

    /// `PATCH`.
    pub(super) fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.ask(Method::PATCH, path, Some(body))
    }

    /// `DELETE`.
    pub(super) fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::DELETE, path, None)
    }

    fn unreachable(&self) -> String {
        format!(
            "the admin port at {} can't be reached. Is the gateway running there? \
             {URL_VARIABLE} or --admin-url says where it is",
            self.base
        )
    }

    fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let url = format!("{}{path}", self.base);
        let sent = self.http.send(method, &url, Some(self.key.expose()), body);
        let answer = sent.with_context(|| self.unreachable())?;
        match answer.status {
            200..=299 => Ok(answer.body),
            status => {
                let words = refusal(&answer);
                Err(Refused { status, body: answer.body, words }.into())
            }
        }
    }
}

/// One segment of a path.
pub(super) fn segment(text: &str) -> String {
    // A lone dot segment would be resolved away by some client or server.
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string().replace("%2D", "-")
}

/// A refusal in words: the API's own, its fields, and what to do.
fn refusal(answer: &Answer) -> String {
    let text = |key: &str| answer.body.get(key).and_then(Value::as_str).map(plain);
    let said = text("error_description").or_else(|| text("error"));
    let said = said.unwrap_or_else(|| "the answer is none of an admin port".to_owned());
    let mut words = format!("refused ({}): {said}", answer.status);
    match answer.body.get("fields") {
        Some(Value::Object(fields)) => {
            for (field, fault) in fields {
                let fault = fault.as_str().map_or_else(|| fault.to_string(), str::to_owned);
                words.push_str(&format!("\n  {}: {}", plain(field), plain(&fault)));
            }
        }
        Some(Value::Array(fields)) => {
            for fault in fields {
                let part = |key: &str| fault.get(key).and_then(Value::as_str).map(plain);
                let field = part("field").unwrap_or_default();
                let why = part("message").unwrap_or_else(|| plain(&fault.to_string()));
                let line = fault.get("line").and_then(Value::as_u64);
                let line = line.map(|line| format!("line {line}: ")).unwrap_or_default();
                words.push_str(&format!("\n  {line}{field}: {why}"));
            }
        }
        _ => {}
    }
    match answer.status {
        401 => {
            words.push_str(&format!("\n{KEY_VARIABLE} holds a key that this gateway does not know"))
        }
        429 => words.push_str("\nwait a little; wrong keys slow this machine's address down"),
        403 => words.push_str("\nask an administrator with a higher role"),
        _ => {}
    }
    if let Some(id) = text("request_id") {
        words.push_str(&format!("\n(request {id})"));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refusals_name_the_fields() {
        let answer =
            |status, body: Value| refusal(&Answer { status, text: body.to_string(), body });
        let bad = json!({"error": "invalid_request", "error_description": "Some fields are wrong.",
            "request_id": "r1", "fields": {"account": "must not be empty", "roles": "unknown \u{7}"}});
        assert_eq!(
            answer(422, bad),
            "refused (422): Some fields are wrong.\n  account: must not be empty\n  \
             roles: unknown \\u{7}\n(request r1)"
        );
        assert!(answer(401, json!({"error": "unauthorized"})).contains(KEY_VARIABLE));
        assert!(answer(502, Value::Null).contains("none of an admin port"));
    }

    #[test]
    fn an_id_is_one_segment() {
        assert_eq!(segment("0b9f-a"), "0b9f-a");
        assert_eq!(segment("../x?y"), "%2E%2E%2Fx%3Fy");
    }

    #[test]
    fn a_port_that_is_not_there_says_what_to_do() {
        // Bound, so that nobody else gets it, and never listened on: it refuses.
        let nobody = tokio::net::TcpSocket::new_v4().unwrap();
        nobody.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let url = format!("http://{}", nobody.local_addr().unwrap());
        let port = AdminPort::new(&url, "k").unwrap();
        let error = format!("{:#}", port.get("/v1/me", &[]).unwrap_err());
        assert!(error.contains("can't be reached") && error.contains(&url), "{error}");
        assert!(AdminPort::new("127.0.0.1:8081", "k").is_err());
    }
}
