//! What clients write where it is written down: whoever puts a token or a secret into a path
//! has it on the way already, but not in a log.
//!
//! It finds what we mint by how that begins, also where letters of it are escaped. It is no
//! search for what others mint.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr2_iter};

use super::{AdminKey, ClientSecret};

/// How all of them begin; a token with `{"` in Base64, as does each part of one.
const BEGINNINGS: [&str; 3] = [ClientSecret::PREFIX, AdminKey::PREFIX, "eyJ"];

/// Their last letters, which are looked for.
const LAST: [u8; 2] = [b'1', b'J'];

/// Bytes, with the beginning. What is shorter is worth nothing to a thief, and may be a
/// word (`surveyJobs`).
const SHORTEST: usize = 16;

/// A path, or another text of a client's, as it may be written down: without the segments
/// that hold a secret. Called for every request.
pub(crate) fn masked(path: &str) -> Cow<'_, str> {
    if !may_hold_secret(path) {
        return Cow::Borrowed(path);
    }
    let segments = path.split('/').map(|one| if holds_secret(one) { "***" } else { one });
    Cow::Owned(segments.collect::<Vec<_>>().join("/"))
}

/// Whether a text holds what may be a token, a secret or a key of ours.
pub(crate) fn holds_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    holds_plain(bytes) || (hides_letters(bytes) && holds_plain(&unescaped(bytes)))
}

/// True of whatever holds one, and of more.
fn may_hold_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= SHORTEST && (holds_plain(bytes) || hides_letters(bytes))
}

fn holds_plain(text: &[u8]) -> bool {
    let [one, other] = LAST;
    memchr2_iter(one, other, text).any(|last| {
        let Some((before, after)) = text.split_at_checked(last + 1) else { return false };
        let begun = BEGINNINGS.iter().find(|begun| before.ends_with(begun.as_bytes()));
        begun.is_some_and(|begun| begun.len() + after.len() >= SHORTEST)
    })
}

/// Whether there are escapes of what needs none, or of escapes: in a path that is not
/// refused there is hardly ever one.
fn hides_letters(text: &[u8]) -> bool {
    memchr_iter(b'%', text).any(|at| {
        let escaped = text.get(at + 1..).and_then(|after| match after {
            [high, low, ..] => byte_of(*high, *low),
            _ => None,
        });
        escaped.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'%')
    })
}

/// What is left once nothing is escaped any more, however often it was: from the end on, so
/// that each escape is seen when its digits are there.
fn unescaped(text: &[u8]) -> Vec<u8> {
    let mut back = Vec::with_capacity(text.len());
    for byte in text.iter().rev() {
        let mut byte = *byte;
        while let (b'%', [before @ .., low, high]) = (byte, back.as_slice()) {
            let Some(decoded) = byte_of(*high, *low) else { break };
            back.truncate(before.len());
            byte = decoded;
        }
        back.push(byte);
    }
    back.reverse();
    back
}

/// The byte of two hexadecimal digits.
fn byte_of(high: u8, low: u8) -> Option<u8> {
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    Some(value(high)? * 16 + value(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SystemEntropy;

    fn secrets() -> [String; 3] {
        let secret = ClientSecret::generate(&SystemEntropy).unwrap();
        let key = AdminKey::generate(&SystemEntropy).unwrap();
        let token = format!("eyJ{0}.eyJ{0}.{0}", "aB3_-".repeat(8));
        [secret.expose().to_owned(), key.expose().to_owned(), token]
    }

    #[test]
    fn a_segment_that_holds_a_secret_anywhere_is_masked_whole() {
        for begun in BEGINNINGS {
            assert!(LAST.contains(begun.as_bytes().last().unwrap()), "{begun}");
        }
        let shapes = [
            "{}",
            "x;t={}",
            "access_token={}",
            "&access_token={}",
            "Bearer%20{}",
            "id:{}",
            ";client_secret={}",
            "{}.json",
            "a%2F{}",
            "%7B%7D{}x%",
            "é{}é",
        ];
        for secret in secrets() {
            for shape in shapes {
                let segment = shape.replace("{}", &secret);
                for (path, wanted) in [
                    (format!("/files/{segment}"), "/files/***"),
                    (format!("/files/{segment}/x"), "/files/***/x"),
                    (format!("/{segment}/{segment}/1/J"), "/***/***/1/J"),
                    (segment.clone(), "***"),
                ] {
                    assert_eq!(masked(&path), wanted, "{path}");
                }
            }
        }
    }

    #[test]
    fn escapes_hide_nothing() {
        let escape = |text: &str, at: usize| {
            let (before, after) = text.split_at(at);
            format!("{before}%{:02x}{}", after.as_bytes()[0], &after[1..])
        };
        for secret in secrets() {
            for at in 0..4 {
                let once = escape(&secret, at);
                for rounds in 0..6 {
                    let path = format!(
                        "/files/{}/x",
                        once.replace('%', &format!("%{}", "25".repeat(rounds)))
                    );
                    assert_eq!(masked(&path), "/files/***/x", "{path}");
                }
            }
            let all: String = secret.bytes().map(|b| format!("%{b:02X}")).collect();
            assert_eq!(masked(&format!("/{all}")), "/***");
        }
        for (text, plain) in [
            ("%252541", "A"),
            ("%4%31", "A"),
            ("%6%2535", "e"),
            ("%%32%35", "%"),
            ("a%20%zz%4", "a %zz%4"),
            ("%", "%"),
        ] {
            assert_eq!(unescaped(text.as_bytes()), plain.as_bytes(), "{text}");
        }
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for path in [
            "",
            "/",
            "/v1/accounts/acme/account_environments/1/campaigns/11?x",
            "/surveyJobs/1",
            "/surveyJobsOverview/1/2/3/4/5/6/7/8",
            "/files/caf%C3%A9%20au%20lait.v2;x=1/y~z/with%2525",
            "/pcs1/pak1/eyJ/and/many/more/segments/after/them",
            "/cs1pcs2pak3eyKeyj-and-a-long-rest-of-it",
            "/100%/%zz/%",
        ] {
            assert_eq!(masked(path), path);
        }
    }
}
