//! What is taken from and added to the fields of a request on its way up.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{AUTHORIZATION, CONNECTION, COOKIE, HOST, TE, TRAILER};
use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType, OrErr};
use smallvec::SmallVec;

use super::noted::Noted;
use super::peers::AuthorizationPolicy;
use super::stage::Passage;
use super::trace::traceparent;
use super::trailers::announced;
use crate::api::SESSION_COOKIE;

/// Who is at the other end of the connection, and how they came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) address: IpAddr,
    pub(crate) tls: bool,
}

/// Prepares the fields for the upstream. `request` is Pingora's copy, without what its
/// Connection names; Connection and Upgrade are Pingora's own there, for a WebSocket.
pub(crate) fn prepare(
    request: &mut RequestHeader,
    client: &RequestHeader,
    noted: Noted,
    passage: &Passage,
    origin: Origin,
    trusted: &[IpNet],
    request_id: &str,
) -> pingora::Result<()> {
    let (permit, authorization) = (&passage.permit, &passage.upstream.authorization);
    let believed = trusted.iter().any(|network| network.contains(&origin.address));
    for name in unwanted(request, believed) {
        request.remove_header(&name);
    }
    // What follows costs more than all judging: for each name Pingora keeps two maps, one
    // for its spelling, and parses the name anew; there is no other way in. So nothing is
    // set twice, and values are ready beforehand or made in one piece. A request made anew,
    // with room for all fields, would save growing those maps; to carry the client's fields
    // over costs 900 instructions each, so that from the fourth on it is the dearer way.
    if noted.cookie {
        strip_session(request)?;
    }
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
        let Some(identity) = principal.identity() else {
            let fault = "what the token says fits no field";
            return Error::e_explain(ErrorType::InternalError, fault);
        };
        request.insert_header("X-Portcullis-Client-Id", identity.client_id.clone())?;
        request.insert_header("X-Portcullis-Account", identity.account.clone())?;
        request.insert_header("X-Portcullis-Scope", identity.scope.clone())?;
        request.insert_header("X-Portcullis-Jti", identity.jti.clone())?;
    }
    request.insert_header("X-Request-Id", request_id)?;
    let trace = traceparent(noted.trace.then_some(client), request_id);
    let trace = trace.or_err(ErrorType::InternalError, "traceparent is no header value")?;
    request.insert_header("traceparent", trace)?;
    // Of who is not believed, nothing of the kind is left.
    let before = match believed {
        true => request.headers.get_all(&X_FORWARDED_FOR).iter().cloned().collect(),
        false => Vec::new(),
    };
    request.insert_header("X-Forwarded-For", chain(&before, origin.address)?)?;
    // A proxy that adds a field of its own adds it behind its client's.
    let said = |request: &RequestHeader, name| {
        believed.then(|| request.headers.get_all(name).iter().next_back().cloned()).flatten()
    };
    let scheme = HeaderValue::from_static(if origin.tls { "https" } else { "http" });
    let scheme = said(request, &X_FORWARDED_PROTO).unwrap_or(scheme);
    request.insert_header("X-Forwarded-Proto", scheme)?;
    let host = said(request, &X_FORWARDED_HOST);
    if let Some(host) = host.or_else(|| request.headers.get(HOST).cloned()) {
        request.insert_header("X-Forwarded-Host", host)?;
    }
    if noted.te && wants_trailers(client) && !request.headers.contains_key(CONNECTION) {
        request.insert_header(TE, HeaderValue::from_static("trailers"))?;
        // HTTP/2 knows no Connection (RFC 9113 section 8.2.2).
        if request.version != http::Version::HTTP_2 {
            request.insert_header(CONNECTION, HeaderValue::from_static("TE"))?;
        }
    }
    if let (true, Some(_), Some(names)) = (noted.trailer, &passage.trailing, announced(client)) {
        request.insert_header(TRAILER, names)?;
    }
    Ok(())
}

/// Whether a client says that it takes trailers of the answer (RFC 9110 section 10.1.4).
pub(super) fn wants_trailers(client: &RequestHeader) -> bool {
    client.headers.get_all(TE).iter().any(|value| {
        value
            .as_bytes()
            .split(|b| *b == b',')
            .any(|c| c.trim_ascii().eq_ignore_ascii_case(b"trailers"))
    })
}

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Who the request passed through before, and who sent it here. All that the proxy
/// passed on counts: in front may stand what its client made up.
fn chain(before: &[HeaderValue], address: IpAddr) -> pingora::Result<HeaderValue> {
    let chain = match (before, address) {
        ([], IpAddr::V4(address)) => HeaderValue::from_bytes(&dotted(address)),
        ([], IpAddr::V6(address)) => HeaderValue::try_from(address.to_string()),
        (before, _) => {
            let mut chain = Vec::new();
            for value in before {
                // What is no address to anybody must not hide those behind it.
                let readable = |b: &u8| if (b' '..=b'~').contains(b) { *b } else { b'?' };
                chain.extend(value.as_bytes().iter().map(readable));
                chain.extend_from_slice(b", ");
            }
            chain.extend_from_slice(address.to_string().as_bytes());
            HeaderValue::try_from(chain)
        }
    };
    chain.or_err(ErrorType::InternalError, "X-Forwarded-For is no header value")
}

/// An address in dotted decimal, without the machinery of formatting.
fn dotted(address: Ipv4Addr) -> SmallVec<[u8; 16]> {
    let mut text = SmallVec::new();
    for (place, octet) in address.octets().into_iter().enumerate() {
        if place > 0 {
            text.push(b'.');
        }
        if octet > 99 {
            text.push(b'0' + octet / 100);
        }
        if octet > 9 {
            text.push(b'0' + octet / 10 % 10);
        }
        text.push(b'0' + octet % 10);
    }
    text
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

/// Fields of the framing and of the hop that are Pingora's business; another spelling of
/// one is a trick.
pub(super) fn is_framing(name: &str) -> bool {
    matches!(name, "connection" | "content-length" | "host" | "upgrade")
}

/// The names of fields that must not go up: ours in any spelling, those of the
/// client's connection, other spellings of framing fields, and what says where the
/// client is, unless a trusted proxy said so.
fn unwanted(request: &RequestHeader, believed: bool) -> SmallVec<[HeaderName; 4]> {
    let unwanted = |name: &&HeaderName| {
        let name = name.as_str();
        let is_respelled = is_respelled(name);
        // Nearly every name is none of those, and its first letter tells.
        if !is_respelled && !name.starts_with(['x', 'f', '-']) {
            return is_hop_by_hop(name);
        }
        if is_ours(name) {
            return true;
        }
        if !is_respelled {
            return !believed && tells_origin(name);
        }
        let plain = plain(name);
        is_framing(&plain)
            || is_hop_by_hop(&plain)
            || tells_origin(&plain)
            || matches!(plain.as_str(), "x-request-id" | "traceparent")
    };
    request.headers.keys().filter(unwanted).cloned().collect()
}

/// The other fields of the client's connection (RFC 9110 section 7.6.1).
pub(super) fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "te" | "trailer"
            | "keep-alive"
            | "http2-settings"
            | "proxy-connection"
            | "transfer-encoding"
            | "proxy-authenticate"
            | "proxy-authorization"
    )
}

/// Whether a server that makes one character of all that are no letter or digit, or
/// leaves them out, could read one of our names in it.
pub(super) fn is_ours(name: &str) -> bool {
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric).take(OURS.len());
    letters.eq(OURS.iter().copied())
}

/// What our names begin with, without what stands between.
const OURS: &[u8] = b"xportcullis";

pub(super) fn tells_origin(name: &str) -> bool {
    name.starts_with("x-forwarded-") || matches!(name, "forwarded" | "x-real-ip" | "x-forwarded")
}

/// The name as lenient servers read it: `-` for whatever is no letter or digit, in
/// lower case (names come in lower case here).
pub(super) fn plain(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// Whether [`plain`] would change it; hardly ever. Names come in lower case here.
fn is_respelled(name: &str) -> bool {
    let is_plain = |b: u8| (b.wrapping_sub(b'a') < 26) | (b.wrapping_sub(b'0') < 10) | (b == b'-');
    name.bytes().fold(false, |other, byte| other | !is_plain(byte))
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
    request.headers.keys().map(HeaderName::as_str).find(|name| undoes(name))
}

/// Whether it is the name of such a field, in lower case.
pub(super) fn undoes(name: &str) -> bool {
    name.starts_with('x')
        && match is_respelled(name) {
            false => OVERRIDES.contains(&name),
            true => OVERRIDES.contains(&plain(name).as_str()),
        }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A GET with these fields.
    pub(crate) fn request(fields: &[(&str, &str)]) -> RequestHeader {
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
            ("Keep-Alive", "timeout=5"),
            ("TE", "trailers"),
            ("Trailer", "X-T"),
            ("Transfer-Encoding", "chunked"),
            ("Proxy-Authorization", "Basic x"),
            ("Proxy-Authenticate", "Basic"),
            ("Proxy-Connection", "close"),
            ("HTTP2-Settings", "AAMAAABk"),
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
    fn addresses_are_written_as_the_library_writes_them() {
        for octets in [[0, 0, 0, 0], [1, 10, 100, 255], [127, 0, 0, 1], [99, 9, 200, 109]] {
            let address = IpAddr::from(octets);
            assert_eq!(chain(&[], address).unwrap(), address.to_string().as_str());
        }
        let before = ["6.6.6.6, 7.7.7.7", "\u{e9}, 8.8.8.8"].map(|text| text.parse().unwrap());
        let address = IpAddr::from([1, 2, 3, 4]);
        let chain = chain(&before, address).unwrap();
        assert_eq!(chain, "6.6.6.6, 7.7.7.7, ??, 8.8.8.8, 1.2.3.4");
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
}
