//! A denial, or a failure of the way up, as an HTTP response.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{ErrorType, OrErr};

use super::failure::Failure;
use crate::api::oauth::TokenClient;
use crate::domain::Limit;
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
        if matches!(reason, Reason::RevocationStale | Reason::Overloaded) {
            reply.add(RETRY_AFTER, "1");
        }
        for (name, value) in denial.over.into_iter().flat_map(Limit::fields) {
            reply.add(HeaderName::from_static(name), &value);
        }
        reply
    }

    /// What is answered where a way failed, or somebody was silent.
    pub(super) fn failed(failure: &Failure, request_id: &str) -> Self {
        Self::error(failure.status, failure.error, failure.description, request_id)
    }

    /// An error of the contract's shape.
    pub(crate) fn error(status: u16, error: &str, description: &str, request_id: &str) -> Self {
        let body = body(error, description, request_id);
        // The three, and a challenge or what stands in its place.
        let fields = Vec::with_capacity(4);
        let mut reply = Reply { status, fields, body, reason: "", client: None };
        reply.fields.push((CONTENT_TYPE, HeaderValue::from_static("application/json")));
        reply.fields.push((CACHE_CONTROL, HeaderValue::from_static("no-store")));
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
        // Field by field, Pingora would read each name anew.
        let mut head = http::Response::new(()).into_parts().0;
        head.status = StatusCode::from_u16(self.status)
            .or_err(ErrorType::InvalidHTTPHeader, "an answer of ours has no valid status")?;
        head.headers.reserve(self.fields.len() + 1);
        for (name, value) in &self.fields {
            head.headers.append(name.clone(), value.clone());
        }
        let is_said = head.headers.contains_key(CONTENT_LENGTH);
        if !matches!(self.status, 204 | 304) && !is_said {
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        }
        Ok(ResponseHeader::from(head))
    }

    /// Sends it. The connection stays usable where the request was read whole.
    pub(crate) async fn send(self, session: &mut Session) -> pingora::Result<()> {
        let header = self.head()?;
        let is_head = session.req_header().method == http::Method::HEAD;
        let body = (!is_head && !self.body.is_empty()).then_some(self.body);
        session.write_response_header(Box::new(header), false).await?;
        session.write_response_body(body, true).await
    }

    /// The whole response as bytes, for a connection that is to be closed. HEAD gets no
    /// body.
    pub(crate) fn to_closing_bytes(&self, is_head: bool) -> Vec<u8> {
        let reason = StatusCode::from_u16(self.status).ok().and_then(|s| s.canonical_reason());
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or("Error"));
        for (name, value) in &self.fields {
            text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        text.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", self.body.len()));
        let mut bytes = text.into_bytes();
        if !is_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

/// An error of the contract's shape, piece by piece: whoever knocks a thousand times
/// should not have a tree of JSON built each time.
fn body(error: &str, description: &str, request_id: &str) -> Bytes {
    let length = error.len() + description.len() + request_id.len();
    let mut body = Vec::with_capacity(length + 64);
    for (key, text) in [
        ("{\"error\":", error),
        (",\"error_description\":", description),
        (",\"request_id\":", request_id),
    ] {
        body.extend_from_slice(key.as_bytes());
        // Neither memory nor a text fails to take it.
        let _ = serde_json::to_writer(&mut body, text);
    }
    body.push(b'}');
    body.into()
}

/// The RFC 6750 section 3 challenge; a 401 also says where tokens come from
/// (RFC 9728 section 5.1).
fn challenge(denial: &Denial, metadata: &str) -> Option<String> {
    let error = denial.reason.error();
    match denial.reason.status() {
        401 if denial.reason == Reason::TokenMissing => {
            Some([REALM, ", resource_metadata=\"", metadata, "\""].concat())
        }
        401 => {
            let parts = [REALM, ", error=\"", error, "\", resource_metadata=\"", metadata, "\""];
            Some(parts.concat())
        }
        403 => {
            let mut challenge = [REALM, ", error=\"", error, "\", scope=\""].concat();
            for (place, scope) in denial.needed.iter().enumerate() {
                challenge.push_str(if place == 0 { "" } else { " " });
                challenge.push_str(scope.as_str());
            }
            challenge.push('"');
            Some(challenge)
        }
        _ => None,
    }
}

const REALM: &str = "Bearer realm=\"portcullis\"";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Scope;

    #[test]
    fn a_body_is_what_serde_makes_of_it() {
        for odd in ["", "plain", "\"quoted\" \\ and\n", "é"] {
            let json = serde_json::json!({
                "error": odd, "error_description": odd, "request_id": odd,
            });
            assert_eq!(Reply::error(400, odd, odd, odd).body, json.to_string());
        }
    }

    #[test]
    fn a_challenge_says_what_is_needed_and_not_why() {
        let mut denial = Denial::new(Reason::WrongAccount);
        denial.needed = vec![Scope::new("a.b").unwrap(), Scope::new("c.d").unwrap()];
        let reply = Reply::denied(&denial, "r", "https://a.example/.well-known/x");
        let text = String::from_utf8(reply.to_closing_bytes(false)).unwrap();
        assert!(text.contains("error=\"insufficient_scope\", scope=\"a.b c.d\""), "{text}");
        assert!(!text.contains("wrong_account"), "{text}");
        let missing = Reply::denied(&Denial::new(Reason::TokenMissing), "r", "https://a.example/x");
        let challenge = HeaderValue::from_static(
            "Bearer realm=\"portcullis\", resource_metadata=\"https://a.example/x\"",
        );
        assert!(missing.fields.contains(&(WWW_AUTHENTICATE, challenge)));
    }
}
