//! A refusal in the shape that gRPC clients read: HTTP 200, `grpc-status` and
//! `grpc-message`, no body ("Trailers-Only" of the gRPC over HTTP/2 protocol); or
//! the same two as trailers, where a response is cut short.
//!
//! The log and the metrics keep the HTTP status that any other client gets.

use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::Session;

use super::reject::Reply;

/// The media type of a gRPC request. Only over HTTP/2 is there gRPC.
pub(crate) fn media(request: &RequestHeader) -> Option<&HeaderValue> {
    let media = request.headers.get(CONTENT_TYPE).filter(|media| is_media(media));
    media.filter(|_| request.version == Version::HTTP_2)
}

/// Whether a media type is gRPC's.
pub(crate) fn is_media(media: &HeaderValue) -> bool {
    let start = media.as_bytes().get(..b"application/grpc".len());
    start.is_some_and(|start| start.eq_ignore_ascii_case(b"application/grpc"))
}

/// Whether a response of this media type ends with a status in its trailers. That
/// of gRPC-Web has it in its body.
pub(crate) fn ends_with_status(media: &HeaderValue) -> bool {
    is_media(media) && media.as_bytes().get(b"application/grpc".len()) != Some(&b'-')
}

/// Sends a refusal.
pub(crate) async fn refuse(session: &mut Session, reply: &Reply) -> pingora::Result<()> {
    let media = media(session.req_header()).cloned();
    let head = head(reply, media)?;
    if let Some(stream) = session.downstream_session.as_custom_mut() {
        // Pingora's own way opens the stream and ends it with an empty frame,
        // in which some clients find no status.
        stream.write_response_header(Box::new(head), true).await?;
    }
    Ok(())
}

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// A refusal as the head that is all of it.
pub(crate) fn head(reply: &Reply, media: Option<HeaderValue>) -> pingora::Result<ResponseHeader> {
    let mut header = ResponseHeader::build_no_case(200, Some(6))?;
    let media = media.unwrap_or(HeaderValue::from_static("application/grpc"));
    header.insert_header(CONTENT_TYPE, media)?;
    for (name, value) in trailers(reply) {
        if let Some(name) = name {
            header.insert_header(name, value)?;
        }
    }
    let kept = [REQUEST_ID, WWW_AUTHENTICATE, RETRY_AFTER, RATELIMIT, RATELIMIT_POLICY];
    for (name, value) in reply.fields.iter().filter(|(name, _)| kept.contains(name)) {
        header.append_header(name.clone(), value.clone())?;
    }
    Ok(header)
}

/// A refusal as the end of a response that was begun.
pub(crate) fn trailers(reply: &Reply) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    trailers.insert(STATUS, HeaderValue::from_static(code(reply.status)));
    if let Ok(message) = HeaderValue::try_from(message(reply)) {
        trailers.insert(MESSAGE, message);
    }
    trailers
}

/// The gRPC status code that says what an HTTP status says.
fn code(status: u16) -> &'static str {
    match status {
        400 => "3",
        408 | 504 => "4",
        403 => "7",
        413 | 414 | 429 | 431 => "8",
        404 | 405 => "12",
        421 | 502 | 503 => "14",
        401 => "16",
        _ => "13",
    }
}

/// All but printable ASCII, and `%` itself.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The description that stands in the body of an ordinary refusal.
fn message(reply: &Reply) -> String {
    let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let text = body.get("error_description").and_then(|text| text.as_str()).unwrap_or_default();
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::Limit;
    use crate::policy::{Denial, Reason};

    #[test]
    fn every_reason_has_its_code() {
        for (reason, status) in [
            (Reason::MalformedRequest, "3"),
            (Reason::TokenMissing, "16"),
            (Reason::Revoked, "16"),
            (Reason::WrongAccount, "7"),
            (Reason::NoRoute, "12"),
            (Reason::MethodNotAllowed, "12"),
            (Reason::RateLimited, "8"),
            (Reason::BodyTooLarge, "8"),
            (Reason::RevocationStale, "14"),
            (Reason::Overloaded, "14"),
        ] {
            let reply = Reply::denied(&Denial::new(reason), "r", "");
            assert_eq!(code(reply.status), status, "{reason:?}");
        }
        assert_eq!((code(504), code(502), code(500)), ("4", "14", "13"));
    }

    #[test]
    fn only_grpc_proper_ends_with_trailers() {
        for (media, begins, ends) in [
            ("application/grpc", true, true),
            ("Application/gRPC+proto", true, true),
            ("application/grpc;x=y", true, true),
            ("application/grpc-web+proto", true, false),
            ("application/grp", false, false),
            ("application/json", false, false),
        ] {
            let value = HeaderValue::from_static(media);
            assert_eq!((is_media(&value), ends_with_status(&value)), (begins, ends), "{media}");
        }
    }

    #[test]
    fn the_head_says_it_all() {
        let reply = Reply::denied(&Denial::new(Reason::TokenMissing), "r-1", "");
        let made = head(&reply, Some(HeaderValue::from_static("application/grpc+proto"))).unwrap();
        let field = |name: &str| made.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(made.status, 200);
        assert_eq!(field("content-type"), Some("application/grpc+proto"));
        assert_eq!(field("grpc-status"), Some("16"));
        assert_eq!(field("x-request-id"), Some("r-1"));
        assert!(field("www-authenticate").is_some() && field("content-length").is_none());
        let mut limited = Denial::new(Reason::RateLimited);
        limited.over = Some(Limit::Rate("3/m".parse().unwrap(), Duration::from_secs(17)));
        let made = head(&Reply::denied(&limited, "r", ""), None).unwrap();
        let field = |name: &str| made.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(field("retry-after"), Some("17"));
        assert_eq!(field("ratelimit-policy"), Some("\"rate\";q=3;w=60"));
        assert_eq!(field("ratelimit"), Some("\"rate\";r=0;t=17"));
        let reply = Reply::error(500, "e", "100 % \u{e9}\n", "r");
        assert_eq!(message(&reply), "100 %25 %C3%A9%0A");
        assert_eq!(trailers(&reply).get(MESSAGE).unwrap(), "100 %25 %C3%A9%0A");
    }
}
