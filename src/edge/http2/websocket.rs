//! WebSockets over HTTP/2 (RFC 8441): a CONNECT with `:protocol` becomes the HTTP/1.1
//! upgrade of the same path, and is judged and forwarded as one.
//!
//! Pingora believes that it serves an upgrade. It is told that there is no body until the
//! upstream's 101 has come, which goes out as 200; from then on DATA frames are the bytes of
//! the tunnel, both ways. Frames of the WebSocket are nobody's business here.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use h2::ext::Protocol;
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderName, HeaderValue, Method, StatusCode, Version, request};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use crate::domain::Entropy;
use crate::edge::downward::strip_hop_by_hop;
use crate::policy::{Denial, Reason};

/// What a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A request and its response.
    Exchange,
    /// A request for a tunnel, without a body; what its client sends must wait.
    Asking,
    /// Bytes both ways, until either side ends it.
    Tunnel,
}

impl Shape {
    /// Of a stream that begins with this request.
    pub(super) fn of(request: &RequestHeader) -> Self {
        // Nobody else makes one of this version out of a stream's head.
        if request.version == Version::HTTP_11 { Shape::Asking } else { Shape::Exchange }
    }

    /// Makes the 101 that was asked for the 200 that it is over HTTP/2, and says whether it
    /// was one.
    ///
    /// # Errors
    /// Any other 2xx, whoever it comes from: it would say that there is a tunnel.
    pub(super) fn takes(self, header: &mut ResponseHeader) -> pingora::Result<bool> {
        match (self, header.status) {
            (Shape::Asking, StatusCode::SWITCHING_PROTOCOLS) => {
                header.set_status(StatusCode::OK)?;
                Ok(true)
            }
            (Shape::Asking, status) if status.is_success() => {
                let odd = "this would say that there is a tunnel";
                Error::e_explain(ErrorType::InternalError, odd)
            }
            _ => Ok(false),
        }
    }
}

/// Whether a head asks for a WebSocket.
pub(super) fn is_asked_for(head: &request::Parts) -> bool {
    let protocol = head.extensions.get::<Protocol>();
    head.method == Method::CONNECT
        && protocol.is_some_and(|name| name.as_str().eq_ignore_ascii_case("websocket"))
}

/// Makes a request for a WebSocket, which was checked, the upgrade of HTTP/1.1. What proves
/// it to the upstream is ours (RFC 8441 section 5); all else stays as the client said it.
///
/// # Errors
/// When there is no randomness.
pub(super) fn make_upgrade(
    request: &mut RequestHeader,
    entropy: &dyn Entropy,
) -> Result<(), Denial> {
    let mut nonce = [0; 16];
    entropy.fill(&mut nonce).map_err(|_| Denial::new(Reason::Overloaded))?;
    request.set_method(Method::GET);
    request.set_version(Version::HTTP_11);
    request.remove_header(&SEC_WEBSOCKET_ACCEPT);
    for (name, value) in [
        (CONNECTION, "Upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_KEY, BASE64_STANDARD.encode(nonce)),
    ] {
        // Each is a field value, and takes the place of all that the client sent.
        let _ = request.insert_header(name, value);
    }
    Ok(())
}

/// Whether a session is that of a stream that asked for a WebSocket.
pub(crate) fn is_of_stream(session: &Session) -> bool {
    session.is_custom() && session.is_upgrade_req()
}

/// The upstream's answer is none that a tunnel could come of, or could be taken for one.
const NO_TUNNEL: ErrorType = ErrorType::new("UpstreamMadeNoTunnel");

/// To be asked before an upstream is that speaks HTTP/2.
///
/// # Errors
/// When the session is to become a tunnel: there is no upgrade there, and a page is of no
/// use to who wants one.
pub(crate) fn needs_http1(session: &Session) -> pingora::Result<()> {
    match is_of_stream(session) {
        true => Err(Error::explain(NO_TUNNEL, "it speaks HTTP/2").into_up()),
        false => Ok(()),
    }
}

/// Looks at what the upstream says to an upgrade that was made here, and takes from a 101
/// what is between the upstream and us.
///
/// # Errors
/// A 101 that is not the answer to our key; and any 2xx: to whoever sent a CONNECT each of
/// them says that there is a tunnel (RFC 9110 section 9.3.6), and a page would be read as
/// frames.
pub(crate) fn take_answer(
    request: &RequestHeader,
    response: &mut ResponseHeader,
) -> pingora::Result<()> {
    let fault = match response.status {
        StatusCode::SWITCHING_PROTOCOLS if agrees(request, response) => {
            strip_hop_by_hop(response);
            for name in [CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT] {
                response.remove_header(&name);
            }
            return Ok(());
        }
        StatusCode::SWITCHING_PROTOCOLS => "its 101 is no answer to our handshake",
        status if status.is_success() => "it answered a page where a tunnel was asked for",
        _ => return Ok(()),
    };
    Err(Error::explain(NO_TUNNEL, fault).into_up())
}

/// Whether a 101 proves that the handshake was understood (RFC 6455 section 4.1).
fn agrees(request: &RequestHeader, response: &ResponseHeader) -> bool {
    let only = |name: HeaderName| {
        let mut values = response.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    let is_upgrade = |value: &HeaderValue| {
        let mut words = value.as_bytes().split(|byte| *byte == b',');
        words.any(|word| word.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    };
    let is_websocket = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"websocket");
    let key = request.headers.get(SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    only(UPGRADE).is_some_and(is_websocket)
        && response.headers.get_all(CONNECTION).iter().any(is_upgrade)
        && key.is_some_and(|key| {
            only(SEC_WEBSOCKET_ACCEPT).is_some_and(|accept| *accept == *accept_of(key))
        })
}

/// RFC 6455 section 4.2.2. That it is SHA-1 does no harm: it proves no more than that
/// somebody there knows what a WebSocket is.
fn accept_of(key: &[u8]) -> String {
    let text = [key, b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    BASE64_STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    fn asked() -> RequestHeader {
        let mut request = RequestHeader::build("CONNECT", b"/chat", None).unwrap();
        for (name, value) in [
            ("sec-websocket-key", "theirs"),
            ("sec-websocket-key", "theirs, too"),
            ("sec-websocket-accept", "theirs"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat"),
            ("origin", "https://app.example"),
        ] {
            request.append_header(name, value).unwrap();
        }
        make_upgrade(&mut request, &SystemEntropy).unwrap();
        request
    }

    fn answer(status: u16, fields: &[(&'static str, &str)]) -> ResponseHeader {
        let mut response = ResponseHeader::build(status, None).unwrap();
        for (name, value) in fields {
            response.append_header(*name, (*value).to_owned()).unwrap();
        }
        response
    }

    #[test]
    fn the_handshake_is_ours_and_all_else_the_clients() {
        let (request, other) = (asked(), asked());
        assert_eq!((request.method.as_str(), request.version), ("GET", Version::HTTP_11));
        let field = |name| {
            let values: Vec<_> = request.headers.get_all(name).iter().collect();
            assert!(values.len() < 2, "{name}: {values:?}");
            values.first().map(|value| value.to_str().unwrap())
        };
        let key = field("sec-websocket-key").unwrap();
        assert_eq!(BASE64_STANDARD.decode(key).unwrap().len(), 16);
        assert_ne!(key, other.headers["sec-websocket-key"], "another one each time");
        assert_eq!((field("connection"), field("upgrade")), (Some("Upgrade"), Some("websocket")));
        assert_eq!(field("sec-websocket-accept"), None);
        assert_eq!(field("sec-websocket-version"), Some("13"));
        assert_eq!(field("sec-websocket-protocol"), Some("chat"));
        assert_eq!(field("origin"), Some("https://app.example"));
    }

    #[test]
    fn the_key_of_the_rfc_has_the_answer_of_the_rfc() {
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn only_what_proves_the_handshake_is_a_tunnel() {
        let request = asked();
        let accept = accept_of(request.headers["sec-websocket-key"].as_bytes());
        let accept = ("Sec-WebSocket-Accept", accept.as_str());
        let (upgrade, connection) = (("Upgrade", "WebSocket"), ("Connection", "x-hop, upgrade"));
        let good = [upgrade, connection, accept, ("X-Hop", "1"), ("Content-Length", "0")];
        let mut taken = answer(101, &good);
        taken.append_header("Sec-WebSocket-Protocol", "chat").unwrap();
        take_answer(&request, &mut taken).unwrap();
        let left: Vec<_> = taken.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(left, ["sec-websocket-protocol"]);
        for fields in [
            &[][..],
            &[upgrade, connection],
            &[upgrade, accept],
            &[connection, accept],
            &[("Upgrade", "h2c"), connection, accept],
            &[upgrade, upgrade, connection, accept],
            &[upgrade, ("Connection", "close"), accept],
            &[upgrade, connection, accept, accept],
            &[upgrade, connection, ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")],
        ] {
            let error = take_answer(&request, &mut answer(101, fields)).unwrap_err();
            assert_eq!(*error.etype(), NO_TUNNEL, "{fields:?}");
        }
        for status in [200, 201, 204, 299] {
            take_answer(&request, &mut answer(status, &good)).unwrap_err();
        }
        for status in [103, 302, 403, 426, 503] {
            take_answer(&request, &mut answer(status, &[])).unwrap();
        }
    }
}
