//! Ids that tell requests apart: ours, and which of clients' we take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::mask::holds_secret;

/// A random beginning for the process, then a count.
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
        std::str::from_utf8(&id).unwrap_or("0000000000000001").into()
    }
}

/// A client's own id, of the values of its field: a single one that can stand anywhere as it
/// is, and that gives nothing away where it stands.
pub(crate) fn sane_request_id<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<&'a str> {
    let (Some(id), None) = (values.next(), values.next()) else { return None };
    let is_plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    let id = std::str::from_utf8(id).ok()?;
    let sane = (1..=128).contains(&id.len()) && id.as_bytes().iter().all(is_plain);
    (sane && !holds_secret(id)).then_some(id)
}

/// The 16 hexadecimal digits of a number, without the machinery of formatting.
pub(crate) fn hex(value: u64) -> [u8; 16] {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AdminKey, ClientSecret, SystemEntropy};

    #[test]
    fn ids_tell_requests_apart() {
        let ids = RequestIds::new(0xabc);
        let (one, two) = (ids.next(), ids.next());
        assert_eq!(&*one, "0000000000000abc0000000000000001");
        assert_eq!(&*two, "0000000000000abc0000000000000002");
    }

    #[test]
    fn a_sane_id_of_a_client_is_kept() {
        let read = |values: &[&str]| {
            sane_request_id(values.iter().map(|value| value.as_bytes())).map(str::to_owned)
        };
        for good in ["a-1", "0AF76519-16cd-43dd-8448-eb211c80319c", "a:b_c.d", &"x".repeat(128)] {
            assert_eq!(read(&[good]).as_deref(), Some(good));
        }
        for bad in ["", "a b", "a\"b", "a\nb", "é", "a%41", &"x".repeat(129)] {
            assert_eq!(read(&[bad]), None, "{bad}");
        }
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["a", "b"]), None);
        let secret = ClientSecret::generate(&SystemEntropy).unwrap();
        let key = AdminKey::generate(&SystemEntropy).unwrap();
        for secret in [secret.expose(), key.expose(), "eyJhbGciOiJFZERTQSJ9.eyJpc3MiOi.c2ln"] {
            assert_eq!(read(&[secret]), None);
            assert_eq!(read(&[&format!("id:{secret}")]), None);
        }
    }
}
