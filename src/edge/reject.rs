//! A denial, or a failure of the way up, as an HTTP response.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

use crate::api::oauth::TokenClient;
use crate::policy::{Denial, Reason};

/// An answer of our own.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    /// Why, for the log; finer than what the client hears.
    pub(crate) reason: &'static str,
    /// Who was given a token, for the log.
    pub(crate) client: Option<TokenClient>,
}

impl Reply {
    /// What a denied client hears: the public code, never the finer reason.
    /// `metadata` is where the protected resource describes itself.
    pub(crate) fn denied(denial: &Denial, request_id: &str, metadata: &str) -> Self {
        let reason = denial.reason;
        let description = match &denial.detail {
            Some(detail) => format!("{} ({detail})", reason.description().trim_end_matches('.')),
            None => reason.description().to_owned(),
        };
        let mut reply = Self::error(reason.status(), reason.error(), &description, request_id);
        if let Some(challenge) = challenge(denial, metadata) {
            reply.add(WWW_AUTHENTICATE, &challenge);
        }
        if reason == Reason::MethodNotAllowed {
            reply.add(ALLOW, &denial.allowed_methods.join(", "));
        }
        if matches!(reason, Reason::RateLimited | Reason::RevocationStale | Reason::Overloaded) {
            let wait = denial.retry_after.unwrap_or_default();
            reply.add(RETRY_AFTER, &wait.as_millis().div_ceil(1000).max(1).to_string());
        }
        reply
    }

    /// An error of the contract's shape.
    pub(crate) fn error(status: u16, error: &str, description: &str, request_id: &str) -> Self {
        let body = serde_json::json!({
            "error": error,
            "error_description": description,
            "request_id": request_id,
        });
        let body = Bytes::from(body.to_string());
        let mut reply = Reply { status, fields: Vec::new(), body, reason: "", client: None };
        reply.add(CONTENT_TYPE, "application/json");
        reply.add(CACHE_CONTROL, "no-store");
        reply.add(HeaderName::from_static("x-request-id"), request_id);
        reply
    }

    /// The client must open a connection for this host (RFC 9110 section
    /// 15.5.20): this one has shown the certificate of another.
    pub(crate) fn misdirected(request_id: &str) -> Self {
        let description = "This connection was made for another host. Open one for this host.";
        Self::error(421, "misdirected_request", description, request_id)
    }

    /// Adds a field; a value that can't be one is left out.
    fn add(&mut self, name: HeaderName, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.fields.push((name, value));
        }
    }

    /// Its head.
    pub(crate) fn head(&self) -> pingora::Result<ResponseHeader> {
        let mut header = ResponseHeader::build_no_case(self.status, Some(self.fields.len() + 1))?;
        for (name, value) in &self.fields {
            header.append_header(name.clone(), value.clone())?;
        }
        if !matches!(self.status, 204 | 304) {
            header.insert_header("content-length", self.body.len())?;
        }
        Ok(header)
    }

    /// Sends it. The connection stays usable where the request was read whole.
    pub(crate) async fn send(self, session: &mut Session) -> pingora::Result<()> {
        let header = self.head()?;
        let is_head = session.req_header().method == http::Method::HEAD;
        let body = (!is_head && !self.body.is_empty()).then_some(self.body);
        session.write_response_header(Box::new(header), false).await?;
        session.write_response_body(body, true).await
    }

    /// The whole response as bytes, for a connection that is to be closed.
    pub(crate) fn to_closing_bytes(&self) -> Vec<u8> {
        let reason =
            http::StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason());
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or("Error"));
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        text.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", self.body.len()));
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The RFC 6750 section 3 challenge; a 401 also says where tokens come from
/// (RFC 9728 section 5.1).
fn challenge(denial: &Denial, metadata: &str) -> Option<String> {
    let realm = "Bearer realm=\"portcullis\"";
    let from = format!("resource_metadata=\"{metadata}\"");
    match denial.reason.status() {
        401 if denial.reason == Reason::TokenMissing => Some(format!("{realm}, {from}")),
        401 => Some(format!("{realm}, error=\"{}\", {from}", denial.reason.error())),
        403 => {
            let scopes: Vec<&str> = denial.needed.iter().map(|scope| scope.as_str()).collect();
            Some(format!(
                "{realm}, error=\"{}\", scope=\"{}\"",
                denial.reason.error(),
                scopes.join(" ")
            ))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scope;

    #[test]
    fn a_challenge_says_what_is_needed_and_not_why() {
        let mut denial = Denial::new(Reason::WrongAccount);
        denial.needed = vec![Scope::new("a.b").unwrap(), Scope::new("c.d").unwrap()];
        let reply = Reply::denied(&denial, "r", "https://a.example/.well-known/x");
        let text = String::from_utf8(reply.to_closing_bytes()).unwrap();
        assert!(text.contains("error=\"insufficient_scope\", scope=\"a.b c.d\""), "{text}");
        assert!(!text.contains("wrong_account"), "{text}");
        let missing = Reply::denied(&Denial::new(Reason::TokenMissing), "r", "https://a.example/x");
        let challenge = HeaderValue::from_static(
            "Bearer realm=\"portcullis\", resource_metadata=\"https://a.example/x\"",
        );
        assert!(missing.fields.contains(&(WWW_AUTHENTICATE, challenge)));
    }
}
