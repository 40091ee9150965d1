//! What is taken from and added to the fields of a request on its way up.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, HOST, TE};
use ipnet::IpNet;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{ErrorType, OrErr};

use super::peers::AuthorizationPolicy;
use crate::api::SESSION_COOKIE;
use crate::policy::Permit;

/// Who is at the other end of the connection, and how they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    pub(crate) tls: bool,
}

/// Ids that tell requests apart: a random beginning for the process, then a count.
pub(crate) struct RequestIds {
    start: u64,
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(start: u64) -> Self {
        RequestIds { start, count: AtomicU64::new(0) }
    }

    /// A new one: 32 hexadecimal digits.
    pub(crate) fn next(&self) -> Arc<str> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{:016x}{count:016x}", self.start).into()
    }
}

/// The client's own request id, if it is a sane one.
pub(crate) fn client_request_id(request: &RequestHeader) -> Option<&str> {
    let mut ids = request.headers.get_all("x-request-id").iter();
    let id = ids.next()?.to_str().ok()?;
    let sane = (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    (sane && ids.next().is_none()).then_some(id)
}

/// Prepares the fields for the upstream. `request` is Pingora's sanitised copy.
pub(crate) fn prepare(
    request: &mut RequestHeader,
    client: &RequestHeader,
    permit: &Permit,
    authorization: &AuthorizationPolicy,
    origin: Origin,
    trusted: &[IpNet],
    request_id: &str,
) -> pingora::Result<()> {
    let believed = trusted.iter().any(|network| network.contains(&origin.address));
    for name in unwanted(request, believed) {
        request.remove_header(&name);
    }
    strip_session(request)?;
    match authorization {
        AuthorizationPolicy::Forward => {}
        AuthorizationPolicy::Strip => {
            request.remove_header(&AUTHORIZATION);
        }
        AuthorizationPolicy::Set(value) => {
            let mut value = HeaderValue::from_str(value.expose())
                .or_err(ErrorType::InternalError, "the upstream's key is no header value")?;
            // HTTP/2 keeps it out of the table that later requests refer to.
            value.set_sensitive(true);
            request.insert_header(AUTHORIZATION, value)?;
        }
    }
    if let Some(principal) = permit.principal() {
        let token = principal.token();
        request.insert_header("X-Portcullis-Client-Id", token.client_id().to_string())?;
        request.insert_header("X-Portcullis-Account", token.account().as_str())?;
        request.insert_header("X-Portcullis-Scope", principal.scope_text())?;
        request.insert_header("X-Portcullis-Jti", token.jti().to_string())?;
    }
    request.insert_header("X-Request-Id", request_id)?;
    request.insert_header("traceparent", traceparent(client, request_id))?;
    let chain = match request.headers.get("x-forwarded-for").and_then(|v| v.to_str().ok()) {
        Some(before) => format!("{before}, {}", origin.address),
        None => origin.address.to_string(),
    };
    request.insert_header("X-Forwarded-For", chain)?;
    if !request.headers.contains_key("x-forwarded-proto") {
        request.insert_header("X-Forwarded-Proto", if origin.tls { "https" } else { "http" })?;
    }
    if !request.headers.contains_key("x-forwarded-host")
        && let Some(host) = request.headers.get(HOST).cloned()
    {
        request.insert_header("X-Forwarded-Host", host)?;
    }
    let wants_trailers = client.headers.get_all(TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|b| *b == b',')
            .any(|c| c.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    });
    if wants_trailers && !request.headers.contains_key(CONNECTION) {
        request.insert_header(TE, "trailers")?;
        // HTTP/2 knows no Connection (RFC 9113 section 8.2.2).
        if request.version != http::Version::HTTP_2 {
            request.insert_header(CONNECTION, "TE")?;
        }
    }
    Ok(())
}

/// Browsers know no ports: whoever is signed in to the console sends its cookie
/// here too, where nobody else may see it.
fn strip_session(request: &mut RequestHeader) -> pingora::Result<()> {
    let is_session =
        |pair: &str| pair.split('=').next().unwrap_or_default().trim() == SESSION_COOKIE;
    let fields: Vec<HeaderValue> = request.headers.get_all(COOKIE).iter().cloned().collect();
    if !fields.iter().any(|f| String::from_utf8_lossy(f.as_bytes()).split(';').any(is_session)) {
        return Ok(());
    }
    request.remove_header(&COOKIE);
    for field in fields {
        let text = String::from_utf8_lossy(field.as_bytes());
        let kept: Vec<&str> = text.split(';').filter(|pair| !is_session(pair)).collect();
        let kept = kept.join(";");
        if !kept.trim().is_empty() {
            request.append_header(COOKIE, kept.trim().to_owned())?;
        }
    }
    Ok(())
}

/// Fields of the framing and of the hop; another spelling of one is a trick.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// The names of fields that must not go up: ours in any spelling, other
/// spellings of framing fields, and what says where the client is, unless a
/// trusted proxy said so.
fn unwanted(request: &RequestHeader, believed: bool) -> Vec<http::HeaderName> {
    let unwanted = |name: &&http::HeaderName| {
        let name = name.as_str();
        let plain = plain(name);
        let spelled_otherwise = plain != name;
        is_ours(name)
            || (spelled_otherwise && FRAMING.contains(&plain.as_str()))
            || (tells_origin(&plain) && (spelled_otherwise || !believed))
            || (spelled_otherwise && matches!(plain.as_str(), "x-request-id" | "traceparent"))
    };
    request.headers.keys().filter(unwanted).cloned().collect()
}

/// Whether a server that makes one character of all that are no letter or digit, or
/// leaves them out, could read one of our names in it.
fn is_ours(name: &str) -> bool {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric).take(OURS.len());
    letters.eq(OURS.iter().copied())
}

/// What our names begin with, without what stands between.
const OURS: &[u8] = b"xportcullis";

fn tells_origin(name: &str) -> bool {
    name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip" | "x-forwarded")
}

/// The name as lenient servers read it: `-` for whatever is no letter or digit, in
/// lower case (names come in lower case here).
fn plain(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// The client's trace with our own span, or a new trace (W3C Trace Context).
fn traceparent(client: &RequestHeader, request_id: &str) -> String {
    let mut given = client.headers.get_all("traceparent").iter();
    let first = given.next().and_then(|v| v.to_str().ok());
    let fresh = || {
        let id: String = request_id.bytes().filter(u8::is_ascii_hexdigit).map(char::from).collect();
        let id = id.to_ascii_lowercase();
        (
            if id.len() == 32 && id.bytes().any(|b| b != b'0') { id } else { hash128(request_id) },
            "00",
        )
    };
    let (trace, flags) = match (first.and_then(parse_traceparent), given.next()) {
        (Some((trace, flags)), None) => (trace.to_owned(), flags),
        _ => fresh(),
    };
    let span = hash128(request_id);
    format!("00-{trace}-{}-{flags}", span.get(..16).unwrap_or("0000000000000001"))
}

fn parse_traceparent(text: &str) -> Option<(&str, &str)> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let real = |text: &str| text.bytes().any(|b| b != b'0');
    let fits = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && real(trace)
        && hex(span, 16)
        && real(span)
        && hex(flags, 2)
        && (version != "00" || parts.next().is_none());
    fits.then_some((trace, flags))
}

/// 32 hexadecimal digits that depend on the text (FNV-1a, twice).
fn hash128(text: &str) -> String {
    let fnv = |seed: u64| {
        text.bytes()
            .fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
            | 1
    };
    format!("{:016x}{:016x}", fnv(0xcbf2_9ce4_8422_2325), fnv(0x9e37_79b9_7f4a_7c15))
}

/// Fields by which an upstream may be told to do something else than what was
/// judged: another method, another path.
const OVERRIDES: [&str; 7] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-rewrite-uri",
];

/// The field of a request that would undo what was judged, in any spelling.
pub(crate) fn override_field(request: &RequestHeader) -> Option<&str> {
    let names = request.headers.keys().map(http::HeaderName::as_str);
    names
        .filter(|name| name.starts_with('x'))
        .find(|name| OVERRIDES.contains(&plain(name).as_str()))
}

/// Whether a response ends with its head.
pub(crate) fn ends_with_head(request: &RequestHeader, response: &ResponseHeader) -> bool {
    request.method == http::Method::HEAD
        || matches!(response.status.as_u16(), 204 | 304)
        || response.headers.get(CONTENT_LENGTH).is_some_and(|length| length == "0")
}

/// Fields of the upstream's connection say nothing about the client's (RFC
/// 9110 section 7.6.1). Pingora sets its own Connection and framing.
pub(crate) fn strip_hop_by_hop(response: &mut ResponseHeader) {
    let nominated: Vec<String> = response
        .headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .filter(|name| {
            !matches!(name.as_str(), "" | "close" | "transfer-encoding" | "content-length")
        })
        .collect();
    for name in nominated {
        response.remove_header(name.as_str());
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authenticate", "upgrade"] {
        response.remove_header(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(fields: &[(&str, &str)]) -> RequestHeader {
        let mut request = RequestHeader::build("GET", b"/", None).unwrap();
        for (name, value) in fields {
            request.append_header((*name).to_owned(), (*value).to_owned()).unwrap();
        }
        request
    }

    #[test]
    fn our_names_in_any_spelling_are_taken_away() {
        let request = request(&[
            ("X-Portcullis-Client-Id", "a"),
            ("x_portcullis_account", "a"),
            ("X.Portcullis-Scope", "a"),
            ("x-portcullis-anything", "a"),
            ("X-Portcullis%2e_Client-Id", "a"),
            ("X~Portcullis!Client|Id", "a"),
            ("X--Portcullis-Jti", "a"),
            ("XPortcullisJti", "a"),
            ("Transfer~Encoding", "chunked"),
            ("X~Forwarded~For", "6.6.6.6"),
            ("Transfer_Encoding", "chunked"),
            ("Content_Length", "1"),
            ("X-Forwarded-For", "6.6.6.6"),
            ("X_Forwarded_For", "6.6.6.6"),
            ("X-Real-IP", "6.6.6.6"),
            ("Forwarded", "for=6.6.6.6"),
            ("X-Source", "kept"),
            ("x_source", "kept"),
        ]);
        let mut left: Vec<String> = request.headers.keys().map(|n| n.to_string()).collect();
        left.retain(|name| !unwanted(&request, false).iter().any(|u| u.as_str() == name));
        left.sort();
        assert_eq!(left, ["x-source", "x_source"]);
        let believed = unwanted(&request, true);
        assert!(!believed.iter().any(|n| n == "x-forwarded-for" || n == "x-real-ip"));
        assert!(believed.iter().any(|n| n == "x_forwarded_for"));
    }

    #[test]
    fn the_consoles_cookie_stays_here() {
        let mut request = request(&[
            ("Cookie", "a=1; portcullis_session=secret; b=2"),
            ("Cookie", "portcullis_session=secret"),
            ("Cookie", "c=3"),
        ]);
        strip_session(&mut request).unwrap();
        let left: Vec<&str> =
            request.headers.get_all(COOKIE).iter().map(|v| v.to_str().unwrap()).collect();
        assert_eq!(left, ["a=1; b=2", "c=3"]);
    }

    #[test]
    fn request_ids_and_traces() {
        assert_eq!(client_request_id(&request(&[("X-Request-Id", "a-1")])), Some("a-1"));
        for bad in ["", "a b", "a\"b", &"x".repeat(129)] {
            assert_eq!(client_request_id(&request(&[("X-Request-Id", bad)])), None, "{bad}");
        }
        let twice = request(&[("X-Request-Id", "a"), ("X-Request-Id", "b")]);
        assert_eq!(client_request_id(&twice), None);
        let ids = RequestIds::new(0xabc);
        let (one, two) = (ids.next(), ids.next());
        assert!(one != two && one.len() == 32);
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let kept = traceparent(&request(&[("traceparent", trace)]), &one);
        assert!(kept.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && kept.ends_with("-01"));
        assert_ne!(kept, trace, "the span is ours");
        for bad in ["", "00-0-0-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            let fresh = traceparent(&request(&[("traceparent", bad)]), &one);
            assert!(parse_traceparent(&fresh).is_some(), "{fresh}");
        }
        assert!(parse_traceparent(&traceparent(&request(&[]), "not-hex")).is_some());
    }
}
