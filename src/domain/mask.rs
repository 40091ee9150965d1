//! What clients write where it is written down: whoever puts a token or a secret into a path
//! has it on the way already, but not in a log.
//!
//! It finds what we mint by how that begins, also where letters of it are escaped. It is no
//! search for what others mint.

use std::borrow::Cow;

use memchr::{memchr, memchr2_iter};
use percent_encoding::percent_decode;

use super::{AdminKey, ClientSecret};

/// How all of them begin; a token with `{"` in Base64, as does each part of one.
const BEGINNINGS: [&str; 3] = [ClientSecret::PREFIX, AdminKey::PREFIX, "eyJ"];

/// Their last letters, which are looked for.
const LAST: [u8; 2] = [b'1', b'J'];

/// Bytes, with the beginning. What is shorter is worth nothing to a thief, and may be a
/// word (`surveyJobs`).
const SHORTEST: usize = 16;

/// How often an escape is escaped by somebody who has nothing to hide.
const MOST_ROUNDS: usize = 3;

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
    holds_plain(text.as_bytes()) || holds_escaped(text.as_bytes())
}

/// True of whatever holds one, and of what has escapes.
fn may_hold_secret(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= SHORTEST && (holds_plain(bytes) || memchr(b'%', bytes).is_some())
}

fn holds_plain(text: &[u8]) -> bool {
    let [one, other] = LAST;
    memchr2_iter(one, other, text).any(|last| {
        let Some((before, after)) = text.split_at_checked(last + 1) else { return false };
        let begun = BEGINNINGS.iter().find(|begun| before.ends_with(begun.as_bytes()));
        begun.is_some_and(|begun| begun.len() + after.len() >= SHORTEST)
    })
}

fn holds_escaped(text: &[u8]) -> bool {
    let mut text = Cow::Borrowed(text);
    for _ in 0..=MOST_ROUNDS {
        match Cow::from(percent_decode(&text)) {
            Cow::Borrowed(_) => return false,
            Cow::Owned(decoded) if holds_plain(&decoded) => return true,
            Cow::Owned(decoded) => text = Cow::Owned(decoded),
        }
    }
    true
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
