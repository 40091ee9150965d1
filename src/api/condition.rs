//! Entity tags of credentials, and the `If-Match` that names them (RFC 9110,
//! sections 8.8.3 and 13.1.1). They are for changes: nothing here is cached.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::error::ApiError;
use crate::domain::Credential;
use crate::service::{Condition, version};
use crate::store::Revision;

/// The `ETag` of a credential as it is. It follows what administrators change: when
/// it was last used, and what the configuration makes of its roles, are no part of it.
pub(crate) fn etag(credential: &Credential, revision: Revision) -> [(HeaderName, String); 1] {
    [(header::ETAG, format!("\"{}\"", version(credential, revision)))]
}

/// What the caller says that the credential must still be.
pub(crate) struct IfMatch(pub(crate) Condition);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        read(&parts.headers).map(IfMatch).ok_or_else(|| {
            ApiError::broken(
                "If-Match must be a list of entity tags in double quotes, as ETag gave them out, \
                 or * alone.",
            )
        })
    }
}

/// `None` if it can't be read: whoever set a condition must not be served without one.
fn read(headers: &HeaderMap) -> Option<Condition> {
    let lines: Vec<&[u8]> =
        headers.get_all(header::IF_MATCH).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return Some(Condition::default());
    }
    // Several lines are one list (RFC 9110, section 5.3).
    let all = lines.join(b",".as_slice());
    if all.trim_ascii() == b"*" {
        return Some(Condition::default());
    }
    let (mut rest, mut strong, mut any) = (all.as_slice(), Vec::new(), false);
    loop {
        rest = rest.trim_ascii_start();
        match rest.split_first() {
            None => return any.then(|| Condition::one_of(strong)),
            Some((b',', behind)) => rest = behind,
            Some(_) => {
                let weak = rest.strip_prefix(b"W/");
                let opened = weak.unwrap_or(rest).strip_prefix(b"\"")?;
                let end = opened.iter().position(|byte| *byte == b'"')?;
                let (tag, closed) = opened.split_at_checked(end)?;
                let stands = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x7e | 0x80..);
                if !tag.iter().all(stands) {
                    return None;
                }
                any = true;
                // A weak one is never the same as another (section 8.8.3.2).
                if weak.is_none() {
                    strong.push(String::from_utf8_lossy(tag).into_owned());
                }
                rest = closed.strip_prefix(b"\"")?.trim_ascii_start();
                if !(rest.is_empty() || rest.starts_with(b",")) {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&'static str]) -> Option<Condition> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, HeaderValue::from_static(line));
        }
        read(&headers)
    }

    #[test]
    fn lists_of_tags_and_the_star() {
        let one_of = |tags: &[&str]| {
            Some(Condition::one_of(tags.iter().map(|tag| (*tag).to_owned()).collect()))
        };
        for always in [&[] as &[_], &["*"], &[" * "]] {
            assert_eq!(of(always), Some(Condition::default()), "{always:?}");
        }
        for (lines, tags) in [
            (&["\"a\""] as &[_], &["a"] as &[_]),
            (&[" ,\"a\" ,, \"b,c\","], &["a", "b,c"]),
            (&["\"a\"", "W/\"b\", \"c\""], &["a", "c"]),
            (&["W/\"a\""], &[]),
            (&["\"\""], &[""]),
            (&["\"W/\""], &["W/"]),
        ] {
            assert_eq!(of(lines), one_of(tags), "{lines:?}");
        }
        for bad in [
            "",
            " ",
            ",",
            "a",
            "\"a",
            "a\"",
            "\"a\"b",
            "\"a\" \"b\"",
            "*, \"a\"",
            "\"a\", *",
            "**",
            "w/\"a\"",
            "W/ \"a\"",
            "W/a",
            "W/",
            "\"a b\"",
            "'a'",
        ] {
            assert_eq!(of(&[bad]), None, "{bad}");
        }
        assert_eq!(of(&["*", "*"]), None);
    }
}
