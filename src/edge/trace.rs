//! A request's place in a trace (W3C Trace Context), and the id that its client gives it.
//! Written for every request, so nothing is formatted piece by piece.

use http::HeaderValue;
use http::header::InvalidHeaderValue;
use pingora::http::RequestHeader;
use smallvec::SmallVec;

use crate::domain::{hex, sane_request_id};

/// The client's own request id, if it is a sane one.
pub(crate) fn client_request_id(request: &RequestHeader) -> Option<&str> {
    sane_request_id(request.headers.get_all(&X_REQUEST_ID).iter().map(HeaderValue::as_bytes))
}

static X_REQUEST_ID: http::HeaderName = http::HeaderName::from_static("x-request-id");
static TRACEPARENT: http::HeaderName = http::HeaderName::from_static("traceparent");

/// The `client`'s trace with our own span, where it has one, or a new trace.
///
/// # Errors
/// Never: it is made of digits and `-`.
pub(super) fn traceparent(
    client: Option<&RequestHeader>,
    request_id: &str,
) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut given = client.into_iter().flat_map(|client| client.headers.get_all(&TRACEPARENT));
    let first = given.next().and_then(|v| v.to_str().ok());
    let mut written = SmallVec::<[u8; LENGTH]>::new();
    written.extend_from_slice(b"00-");
    let flags = match (first.and_then(parse), given.next()) {
        (Some((trace, flags)), None) => {
            written.extend_from_slice(trace.as_bytes());
            flags
        }
        _ => {
            written.extend_from_slice(&new_trace(request_id));
            "00"
        }
    };
    written.push(b'-');
    written.extend_from_slice(&hex(fnv(request_id, SPAN)));
    written.push(b'-');
    written.extend_from_slice(flags.as_bytes());
    HeaderValue::from_bytes(&written)
}

const LENGTH: usize = "00-".len() + 32 + "-".len() + 16 + "-00".len();

/// The request id, if it is one of 32 hexadecimal digits; else what depends on it.
fn new_trace(request_id: &str) -> [u8; 32] {
    let is_ours = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    let is_zero = |trace: &[u8; 32]| trace.iter().all(|b| *b == b'0');
    let bytes = request_id.as_bytes();
    // Ours, or one like it, is copied at once.
    if let Ok(trace) = <[u8; 32]>::try_from(bytes)
        && trace.iter().fold(true, |ours, b| ours & is_ours(b))
        && !is_zero(&trace)
    {
        return trace;
    }
    let digits = bytes.iter().filter(|b| b.is_ascii_hexdigit()).map(u8::to_ascii_lowercase);
    let digits: SmallVec<[u8; 128]> = digits.collect();
    match <[u8; 32]>::try_from(digits.as_slice()) {
        Ok(trace) if !is_zero(&trace) => trace,
        _ => {
            let mut trace = [0; 32];
            let (one, other) = trace.split_at_mut(16);
            one.copy_from_slice(&hex(fnv(request_id, SPAN)));
            other.copy_from_slice(&hex(fnv(request_id, OTHER_HALF)));
            trace
        }
    }
}

fn parse(text: &str) -> Option<(&str, &str)> {
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

const SPAN: u64 = 0xcbf2_9ce4_8422_2325;
const OTHER_HALF: u64 = 0x9e37_79b9_7f4a_7c15;

/// FNV-1a of a text, never 0.
fn fnv(text: &str, seed: u64) -> u64 {
    text.bytes().fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
        | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RequestIds;
    use crate::edge::headers::tests::request;

    fn traceparent(client: &RequestHeader, request_id: &str) -> String {
        super::traceparent(Some(client), request_id).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn request_ids_and_traces() {
        assert_eq!(client_request_id(&request(&[("X-Request-Id", "a-1")])), Some("a-1"));
        let twice = request(&[("X-Request-Id", "a"), ("X-Request-Id", "b")]);
        assert_eq!(client_request_id(&twice), None);
        let one = RequestIds::new(0xabc).next();
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let kept = traceparent(&request(&[("traceparent", trace)]), &one);
        assert!(kept.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && kept.ends_with("-01"));
        assert_ne!(kept, trace, "the span is ours");
        for bad in ["", "00-0-0-0", "00-00000000000000000000000000000000-b7ad6b7169203331-01"] {
            let fresh = traceparent(&request(&[("traceparent", bad)]), &one);
            assert!(parse(&fresh).is_some(), "{fresh}");
            assert!(fresh.starts_with("00-0000000000000abc0000000000000001-"), "{fresh}");
        }
        for id in ["not-hex", "", "0", &"0".repeat(32), &"z".repeat(128)] {
            let fresh = traceparent(&request(&[]), id);
            assert!(parse(&fresh).is_some() && fresh.len() == LENGTH, "{id}: {fresh}");
        }
        let uuid = "0AF76519-16cd-43dd-8448-eb211c80319c";
        let fresh = traceparent(&request(&[]), uuid);
        assert!(fresh.starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{fresh}");
    }
}
