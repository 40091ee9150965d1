//! What parts of a head may be made of, on HTTP/1.1 and HTTP/2 alike.

use memchr::{memchr, memchr2};

/// Whether a request target holds nothing that must be percent-encoded.
pub(super) fn is_target(target: &[u8]) -> bool {
    // Pingora's URI takes a backtick in a query only, and would answer by itself.
    let in_query = || memchr2(b'?', b'`', target).and_then(|at| target.get(at)) == Some(&b'?');
    !target.is_empty()
        && target.iter().all(|b| is_in(&TARGET, *b))
        && (memchr(b'`', target).is_none() || in_query())
}

/// The one whole number that a Content-Length has to be.
pub(super) fn length_of(value: &[u8]) -> Option<u64> {
    // Nineteen digits are a u64.
    (1..=19).contains(&value.len()).then_some(())?;
    value.iter().try_fold(0, |length: u64, byte| {
        Some(length * 10 + u64::from(char::from(*byte).to_digit(10)?))
    })
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
    is_in(&TCHAR, byte)
}

/// Whether there are nothing but `tchar`s.
pub(super) fn is_token(text: &[u8]) -> bool {
    text.iter().all(|b| is_tchar(*b))
}

/// Whether a value holds a control character other than a tab. It has no branch
/// that depends on a byte: the compiler turns it into vector code.
pub(super) fn has_control(value: &[u8]) -> bool {
    let is_control = |b: u8| ((b < 0x20) & (b != b'\t')) | (b == 0x7f);
    value.iter().fold(false, |found, b| found | is_control(*b))
}

/// For each byte, whether it belongs: one look instead of a row of comparisons.
type Set = [bool; 256];

const TCHAR: Set = letters_digits_and(b"!#$%&'*+-.^_`|~");

/// What may stand in a request target: all that can be seen but `"`, `<`, `>`, `#`.
const TARGET: Set = letters_digits_and(b"!$%&'()*+,-./:;=?@[\\]^_`{|}~");

#[expect(clippy::indexing_slicing, reason = "done by the compiler, which stops at a fault")]
const fn letters_digits_and(others: &[u8]) -> Set {
    let mut set = [false; 256];
    let mut at = 0;
    while at < 256 {
        set[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    let mut at = 0;
    while at < others.len() {
        set[others[at] as usize] = true;
        at += 1;
    }
    set
}

fn is_in(set: &Set, byte: u8) -> bool {
    set.get(usize::from(byte)).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables against what they stand for, byte by byte.
    #[test]
    fn sets() {
        for byte in 0..=255_u8 {
            let seen = byte.is_ascii_graphic() && !b"\"<>#".contains(&byte);
            assert_eq!(is_in(&TARGET, byte), seen, "{byte:#x}");
            let tchar = byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(&byte);
            assert_eq!(is_tchar(byte), tchar, "{byte:#x}");
            for long in [1, 100] {
                let value = [&vec![b'a'; long][..], &[byte], &vec![b'z'; long]].concat();
                let control = byte.is_ascii_control() && byte != b'\t';
                assert_eq!(has_control(&value), control, "{byte:#x}");
            }
        }
        assert!(is_target(b"/a?b`") && is_target(b"/a?`?"));
        assert!(!is_target(b"/a`?b") && !is_target(b"`") && !is_target(b""));
    }
}
