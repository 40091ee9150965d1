//! What parts of a head may be made of, on HTTP/1.1 and HTTP/2 alike.

/// Whether a request target holds nothing that must be percent-encoded.
pub(super) fn is_target(target: &[u8]) -> bool {
    let forbidden = |b: &u8| !b.is_ascii_graphic() || matches!(b, b'"' | b'<' | b'>' | b'#');
    // Pingora's URI takes a backtick in a query only, and would answer by itself.
    let path = target.split(|b| *b == b'?').next().unwrap_or_default();
    !target.is_empty() && !target.iter().any(forbidden) && !path.contains(&b'`')
}

/// Whether a Content-Length is one whole number.
pub(super) fn is_length(value: &[u8]) -> bool {
    (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit)
}

/// `uri-host [":" port]` (RFC 9110 section 7.2), without userinfo.
pub(super) fn is_authority(value: &[u8]) -> bool {
    let (host, port) = match value.iter().rposition(|b| *b == b':') {
        Some(at) if !value.ends_with(b"]") => value.split_at(at),
        _ => (value, &b""[..]),
    };
    let port_is_fine =
        port.is_empty() || (port.len() <= 6 && port.iter().skip(1).all(u8::is_ascii_digit));
    let inner = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let host_is_fine = match inner {
        Some(address) => {
            !address.is_empty()
                && address.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        }
        None => {
            !host.is_empty()
                && host
                    .iter()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
        }
    };
    port_is_fine && host_is_fine
}

/// `tchar` of RFC 9110 section 5.6.2.
pub(super) fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
