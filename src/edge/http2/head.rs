//! The head of an HTTP/2 request: as strict as HTTP/1.1, and made to look like it.
//!
//! The h2 crate has refused broken pseudo-fields, fields of the connection and
//! upper case (RFC 9113 section 8.2). The rest of what `edge::head` asks of HTTP/1.1
//! is asked here, of every request, before Pingora has seen it.

use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::{HeaderValue, Method};
use pingora::http::RequestHeader;

use crate::edge::grammar::{is_authority, is_target, is_tchar, length_of};
use crate::edge::head::{HeadLimits, MAX_FIELDS};
use crate::policy::{Denial, Reason};

/// Whether a head has one reading, within the limits. A CONNECT has none, unless it asks
/// for a WebSocket.
pub(crate) fn check(
    request: &RequestHeader,
    is_websocket: bool,
    limits: &HeadLimits,
) -> Result<(), Denial> {
    let method = request.method.as_str();
    if request.method == Method::CONNECT && !is_websocket {
        return Err(Denial::malformed("CONNECT is not served here, but for WebSockets"));
    }
    if is_websocket && request.headers.contains_key(CONTENT_LENGTH) {
        // An upstream would take the first bytes of the tunnel for a body.
        return Err(Denial::malformed("CONNECT has no content"));
    }
    if method.len() > 32 || !method.bytes().all(is_tchar) {
        return Err(Denial::malformed("the method is not a token"));
    }
    let target = request.raw_path();
    if target.len() > limits.target_bytes {
        return Err(Denial::new(Reason::TargetTooLong));
    }
    if !is_target(target) {
        return Err(Denial::malformed(
            "the request target holds a character that must be percent-encoded",
        ));
    }
    // RFC 9113 section 8.3.1: the authority stands elsewhere.
    if !target.starts_with(b"/") && target != b"*" {
        return Err(Denial::malformed("the request target does not begin with a slash"));
    }
    let sizes = request.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    if request.headers.len() > MAX_FIELDS || sizes.sum::<usize>() > limits.header_bytes {
        return Err(Denial::new(Reason::HeadersTooLarge));
    }
    if request.headers.values().any(|value| value.as_bytes().trim_ascii() != value.as_bytes()) {
        return Err(Denial::malformed("a header value begins or ends with white space"));
    }
    for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
        if request.headers.contains_key(name) {
            return Err(Denial::malformed("a field of the connection has no place in HTTP/2"));
        }
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => return Err(Denial::malformed("there is no Host")),
        (Some(_), Some(_)) => return Err(Denial::malformed("there is more than one Host")),
        (Some(host), None) if !is_authority(host.as_bytes()) => {
            return Err(Denial::malformed("Host is not a host with an optional port"));
        }
        (Some(host), None) => {
            let authority = request.uri.authority().map(|authority| authority.as_str().as_bytes());
            if authority.is_some_and(|authority| authority != host.as_bytes()) {
                return Err(Denial::malformed("Host and :authority differ"));
            }
        }
    }
    let mut lengths = request.headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (Some(_), Some(_)) => Err(Denial::malformed("there is more than one Content-Length")),
        (Some(length), None) if length_of(length.as_bytes()).is_none() => {
            Err(Denial::malformed("Content-Length is not one whole number"))
        }
        _ => Ok(()),
    }
}

/// Host from `:authority` (RFC 9113 section 8.3.1), and one Cookie field
/// (section 8.2.3): from here on nobody has to know two ways of asking.
pub(crate) fn make_like_http1(request: &mut RequestHeader) {
    if !request.headers.contains_key(HOST) {
        let authority = request.uri.authority().map(|authority| authority.as_str().to_owned());
        if let Some(authority) = authority.filter(|authority| !authority.is_empty()) {
            // An authority that is no field value leaves no Host: refused above.
            let _ = request.insert_header(HOST, authority);
        }
    }
    let cookies: Vec<&[u8]> =
        request.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() > 1
        && let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..]))
    {
        let _ = request.insert_header(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: HeadLimits = HeadLimits {
        header_bytes: 512,
        target_bytes: 64,
        header_timeout: Duration::from_secs(1),
        idle_timeout: Duration::from_secs(1),
    };

    fn request(method: &str, uri: &str, fields: &[(&str, &str)]) -> RequestHeader {
        let mut builder =
            http::Request::builder().version(http::Version::HTTP_2).method(method).uri(uri);
        for (name, value) in fields {
            builder = builder.header(*name, *value);
        }
        let mut request = RequestHeader::from(builder.body(()).unwrap().into_parts().0);
        make_like_http1(&mut request);
        request
    }

    #[test]
    fn one_reading_passes() {
        for (uri, fields) in [
            ("https://h/", &[][..]),
            ("https://h:8443/a?b=[1]", &[("content-length", "3"), ("te", "trailers")]),
            ("/a", &[("host", "h")]),
            ("https://h/", &[("host", "h"), ("x", "")]),
        ] {
            let verdict = check(&request("GET", uri, fields), false, &LIMITS);
            assert!(verdict.is_ok(), "{uri}: {verdict:?}");
        }
    }

    #[test]
    fn two_readings_do_not() {
        let long = "a".repeat(65);
        let many: Vec<(&str, &str)> = vec![("x", ""); MAX_FIELDS];
        for (method, uri, fields, word) in [
            ("CONNECT", "h:443", &[][..], "CONNECT"),
            (&"M".repeat(33), "https://h/", &[], "method"),
            ("GET", "https://h/\"a\"", &[], "target"),
            ("GET", "/a", &[], "no Host"),
            ("GET", "/a", &[("host", "h"), ("host", "h")], "more than one Host"),
            ("GET", "https://h/", &[("host", "g")], "differ"),
            ("GET", "/a", &[("host", "u@h")], "Host"),
            ("GET", "https://a!b/", &[], "Host"),
            ("GET", "https://h/", &[("x", " a")], "white space"),
            ("GET", "https://h/", &[("x", "a\t")], "white space"),
            ("GET", "https://h/", &[("connection", "x")], "connection"),
            ("GET", "https://h/", &[("upgrade", "websocket")], "connection"),
            ("GET", "https://h/", &[("transfer-encoding", "chunked")], "connection"),
            ("GET", "https://h/", &[("content-length", "1"), ("content-length", "1")], "more than"),
            ("GET", "https://h/", &[("content-length", "+1")], "whole number"),
        ] {
            let denial = check(&request(method, uri, fields), false, &LIMITS).unwrap_err();
            assert_eq!(denial.reason, Reason::MalformedRequest, "{uri} {fields:?}");
            let detail = denial.detail.unwrap_or_default();
            assert!(detail.contains(word), "{uri} {fields:?}: {detail}");
        }
        for (uri, fields, reason) in [
            (format!("https://h/{long}"), &[][..], Reason::TargetTooLong),
            ("https://h/".to_owned(), &many, Reason::HeadersTooLarge),
            ("https://h/".to_owned(), &[("x", &*"a".repeat(512))], Reason::HeadersTooLarge),
        ] {
            let denial = check(&request("GET", &uri, fields), false, &LIMITS).unwrap_err();
            assert_eq!(denial.reason, reason, "{uri}");
        }
    }

    #[test]
    fn of_connect_only_websockets_pass_and_are_checked_no_less() {
        let connect = |fields: &[(&str, &str)]| request("CONNECT", "https://h/a", fields);
        check(&connect(&[("sec-websocket-version", "13")]), true, &LIMITS).unwrap();
        check(&connect(&[]), false, &LIMITS).unwrap_err();
        for field in ["content-length", "connection", "upgrade", "host"] {
            check(&connect(&[(field, "0")]), true, &LIMITS).unwrap_err();
        }
    }

    #[test]
    fn host_and_cookies_are_as_on_http1() {
        let fields = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2"), ("cookie", "c=3; d=4")];
        let made = request("GET", "https://api.example:8443/", &fields);
        assert_eq!(made.headers.get(HOST).unwrap(), "api.example:8443");
        let cookies: Vec<_> = made.headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3; d=4"]);
    }
}
