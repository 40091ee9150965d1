//! Names by which a request is known: its id, and its place in a trace (W3C
//! Trace Context). Written for every request, so nothing is formatted piece by piece.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use http::header::InvalidHeaderValue;
use pingora::http::RequestHeader;
use smallvec::SmallVec;

/// A path as it may be written down: who puts a token or a secret into it has it on the way
/// already, but not in the log.
pub(crate) fn without_secrets(path: &str) -> Cow<'_, str> {
    // All of them are longer than this.
    const SHORTEST: usize = 48;
    let is_secret = |segment: &&str| {
        segment.len() >= SHORTEST
            && (segment.starts_with("pcs1")
                || segment.starts_with("pak1")
                || (segment.starts_with("eyJ") && segment.matches('.').count() == 2))
    };
    if path.len() < SHORTEST || !path.split('/').any(|segment| is_secret(&segment)) {
        return Cow::Borrowed(path);
    }
    let masked = path.split('/').map(|segment| if is_secret(&segment) { "***" } else { segment });
    Cow::Owned(masked.collect::<Vec<_>>().join("/"))
}

/// Ids that tell requests apart: a random beginning for the process, then a count.
pub(crate) struct RequestIds {
    start: [u8; 16],
    count: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(start: u64) -> Self {
        RequestIds { start: hex(start), count: AtomicU64::new(0) }
    }

    /// A new one: 32 hexadecimal digits.
    pub(crate) fn next(&self) -> Arc<str> {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let mut id = [0; 32];
        let (start, rest) = id.split_at_mut(16);
        start.copy_from_slice(&self.start);
        rest.copy_from_slice(&hex(count));
        text(&id).into()
    }
}

/// The client's own request id, if it is a sane one.
pub(crate) fn client_request_id(request: &RequestHeader) -> Option<&str> {
    let mut ids = request.headers.get_all(&X_REQUEST_ID).iter();
    let id = ids.next()?.to_str().ok()?;
    let sane = (1..=128).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':'));
    (sane && ids.next().is_none()).then_some(id)
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

fn hex(value: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    for (at, digit) in digits.chunks_exact_mut(2).zip(value.to_be_bytes()) {
        if let [high, low] = at {
            (*high, *low) = (hex_digit(digit >> 4), hex_digit(digit & 0xf));
        }
    }
    digits
}

fn hex_digit(value: u8) -> u8 {
    value + if value < 10 { b'0' } else { b'a' - 10 }
}

/// Of hexadecimal digits.
fn text(digits: &[u8]) -> &str {
    std::str::from_utf8(digits).unwrap_or("0000000000000001")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::headers::tests::request;

    fn traceparent(client: &RequestHeader, request_id: &str) -> String {
        super::traceparent(Some(client), request_id).unwrap().to_str().unwrap().to_owned()
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
        assert_eq!(&*one, "0000000000000abc0000000000000001");
        assert_eq!(&*two, "0000000000000abc0000000000000002");
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
