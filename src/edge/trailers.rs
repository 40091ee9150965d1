//! Trailer fields (RFC 9110 section 6.5): which pass, and how they are written.
//!
//! Pingora drops them. They go from where a body is read to where it is written past it.

use std::sync::atomic::{AtomicBool, Ordering};

use http::header::{HeaderMap, HeaderName, HeaderValue, TRAILER};
use parking_lot::Mutex;
use pingora::http::RequestHeader;

use super::grammar::is_tchar;
use super::headers::{is_framing, is_hop_by_hop, is_ours, plain, tells_origin, undoes};

/// The fields behind a body: their names as they were spelled, and their values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trailers(Vec<(Box<[u8]>, HeaderValue)>);

impl Trailers {
    /// Reads the lines of the trailer section of chunks that were walked along.
    pub(crate) fn read(section: &[u8]) -> Self {
        let field = |line: &[u8]| {
            let (name, value) = line.split_at_checked(memchr::memchr(b':', line)?)?;
            let value = HeaderValue::from_bytes(value.get(1..)?.trim_ascii()).ok()?;
            Some((Box::from(name), value))
        };
        Trailers(section.split(|byte| *byte == b'\n').filter_map(field).collect())
    }

    /// Those of HTTP/2.
    pub(crate) fn of(map: &HeaderMap) -> Self {
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            (Box::from(name.as_str().as_bytes()), value.clone())
        };
        Trailers(map.iter().map(field).collect())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Those that an upstream may get.
    pub(crate) fn upward(mut self) -> Self {
        self.0.retain(|(name, _)| may_go_up(name));
        self
    }

    /// Those that a client may get.
    pub(crate) fn downward(mut self) -> Self {
        self.0.retain(|(name, _)| may_go_down(name));
        self
    }

    /// As lines of HTTP/1.1, without the empty one that ends them.
    pub(crate) fn to_lines(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        for (name, value) in &self.0 {
            for part in [name, &b": "[..], value.as_bytes(), b"\r\n"] {
                lines.extend_from_slice(part);
            }
        }
        lines
    }

    /// As a block of HTTP/2.
    pub(crate) fn to_map(&self) -> HeaderMap {
        let field = |(name, value): &(Box<[u8]>, HeaderValue)| {
            Some((HeaderName::from_bytes(name).ok()?, value.clone()))
        };
        let mut map = HeaderMap::new();
        for (name, value) in self.0.iter().filter_map(field) {
            map.append(name, value);
        }
        map
    }
}

/// What of `Trailer` may go up: the names of fields that may.
pub(crate) fn announced(client: &RequestHeader) -> Option<HeaderValue> {
    let mut names: Vec<&[u8]> = Vec::new();
    for value in client.headers.get_all(TRAILER) {
        let named = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        names.extend(named.filter(|name| may_go_up(name)));
    }
    (!names.is_empty()).then(|| HeaderValue::from_bytes(&names.join(&b", "[..])).ok()).flatten()
}

/// A server may take what comes behind for what comes before. So nothing goes up that says
/// who or where the client is, what is asked for or on what conditions, or what the body
/// is (RFC 9110 section 6.5.1), in any spelling.
fn may_go_up(name: &[u8]) -> bool {
    let Ok(name) = std::str::from_utf8(name) else { return false };
    let name = name.to_ascii_lowercase();
    let plain = plain(&name);
    let is_refused = name.is_empty()
        || !name.bytes().all(is_tchar)
        || is_ours(&name)
        || is_framing(&plain)
        || is_hop_by_hop(&plain)
        || tells_origin(&plain)
        || undoes(&name)
        || plain.starts_with("if-")
        || NOT_UP.contains(&plain.as_str());
    !is_refused
}

const NOT_UP: [&str; 14] = [
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "max-forwards",
    "pragma",
    "range",
    "traceparent",
    "tracestate",
    "x-request-id",
];

/// Whether a field may follow an answer: not one of the framing, or of the connection.
fn may_go_down(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    !matches!(
        plain(&name).as_str(),
        "connection"
            | "content-length"
            | "host"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// What one exchange says behind its bodies, on the way from one side to the other.
#[derive(Debug, Default)]
pub(crate) struct Trailing {
    request: Mutex<Trailers>,
    answer: Mutex<Trailers>,
    is_reused: AtomicBool,
}

impl Trailing {
    /// The request goes to an upstream, now or once more; `is_reused` says that the
    /// connection had been used before.
    pub(super) fn begins(&self, is_reused: bool) {
        self.is_reused.store(is_reused, Ordering::Relaxed);
        self.answer.lock().0.clear();
    }

    pub(super) fn is_reused(&self) -> bool {
        self.is_reused.load(Ordering::Relaxed)
    }

    /// All of the request has come, and this behind it.
    pub(super) fn request_ends(&self, trailers: Trailers) {
        *self.request.lock() = trailers.upward();
    }

    /// Whether anything came behind the request.
    pub(super) fn has_request(&self) -> bool {
        !self.request.lock().is_empty()
    }

    /// What is to be written behind the request; there may be another time.
    pub(super) fn of_request(&self) -> Trailers {
        self.request.lock().clone()
    }

    /// All of the answer has come, and this behind it.
    pub(super) fn answer_ends(&self, trailers: Trailers) {
        *self.answer.lock() = trailers.downward();
    }

    /// What is to be written behind the answer, once.
    pub(super) fn of_answer(&self) -> Trailers {
        std::mem::take(&mut *self.answer.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::headers::tests::request;

    #[test]
    fn fields_keep_their_spelling_and_their_order() {
        let lines = b"X-Sum: 1\r\nEmpty:\r\nx-sum:\t2 \r\n";
        let trailers = Trailers::read(lines);
        assert_eq!(trailers.to_lines(), b"X-Sum: 1\r\nEmpty: \r\nx-sum: 2\r\n");
        let map = trailers.to_map();
        let sums: Vec<_> = map.get_all("x-sum").iter().collect();
        assert_eq!(sums, ["1", "2"]);
        assert_eq!(Trailers::of(&map).to_map(), map);
        assert!(Trailers::read(b"").is_empty() && Trailers::of(&HeaderMap::new()).is_empty());
    }

    #[test]
    fn what_would_change_what_was_judged_does_not_go_up() {
        for name in [
            "X-Portcullis-Scope",
            "x_portcullis.account",
            "XPortcullisJti",
            "Authorization",
            "authorization",
            "Cookie",
            "Host",
            "Content-Length",
            "Content_Length",
            "Transfer-Encoding",
            "Transfer~Encoding",
            "Content-Type",
            "Content-Encoding",
            "Connection",
            "Upgrade",
            "TE",
            "Trailer",
            "Keep-Alive",
            "Proxy-Authorization",
            "X-Forwarded-For",
            "X_Forwarded_Host",
            "Forwarded",
            "X-Real-IP",
            "X-HTTP-Method-Override",
            "x_http_method",
            "X-Original-URL",
            "X-Request-Id",
            "traceparent",
            "If-Match",
            "If-None-Match",
            "Range",
            "Expect",
            "Cache_Control",
        ] {
            let line = format!("{name}: 1\r\nX-Sum: 2\r\n");
            let left = Trailers::read(line.as_bytes()).upward();
            assert_eq!(left.to_lines(), b"X-Sum: 2\r\n", "{name}");
            let announcing = request(&[("Trailer", name), ("trailer", "X-Sum, Digest")]);
            assert_eq!(announced(&announcing).unwrap(), "X-Sum, Digest", "{name}");
            assert!(announced(&request(&[("Trailer", name)])).is_none(), "{name}");
        }
        assert_eq!(announced(&request(&[("Trailer", "a b, , X-Sum;q=1, c")])).unwrap(), "c");
    }

    #[test]
    fn an_answers_framing_is_not_undone_behind_it() {
        let lines = b"Content-Length: 3\r\nGrpc-Status: 0\r\nTRANSFER-ENCODING: chunked\r\n\
            Transfer_Encoding: chunked\r\nSet-Cookie: a=b\r\n";
        let left = Trailers::read(lines).downward();
        assert_eq!(left.to_lines(), b"Grpc-Status: 0\r\nSet-Cookie: a=b\r\n");
    }
}
