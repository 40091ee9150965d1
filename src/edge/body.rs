//! The top-level keys of a JSON body, where they decide what a request takes.

use std::collections::BTreeSet;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The longest body that is held to look at its keys, in bytes.
pub(crate) const MAX_HELD: usize = 64 * 1024;

/// What a held body turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// Nothing.
    Absent,
    /// More than may be held.
    TooLong,
    /// Without a single reading.
    Ambiguous,
    /// An object with these keys.
    Keys(BTreeSet<String>),
}

/// Reads a whole body. `content_type` and `content_encoding` are the fields'
/// values; any coding and any charset but UTF-8 is another encoding.
pub(crate) fn read_keys(
    body: &[u8],
    content_type: Option<&str>,
    content_encoding: Option<&str>,
) -> Held {
    let coded = content_encoding.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity"));
    if body.is_empty() && !coded {
        return Held::Absent;
    }
    if coded || !is_utf8_charset(content_type) {
        return Held::Ambiguous;
    }
    match serde_json::from_slice::<Keys>(body) {
        Ok(Keys(keys)) => Held::Keys(keys),
        Err(_) => Held::Ambiguous,
    }
}

fn is_utf8_charset(content_type: Option<&str>) -> bool {
    let mut parameters = content_type.unwrap_or_default().split(';').skip(1);
    parameters.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    })
}

/// Unique top-level keys; anything else is an error.
struct Keys(BTreeSet<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Keys;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = BTreeSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    map.next_value::<IgnoredAny>()?;
                    if !keys.insert(key) {
                        return Err(A::Error::custom("a key stands twice"));
                    }
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(body: &str) -> Held {
        read_keys(body.as_bytes(), Some("application/json"), None)
    }

    #[test]
    fn one_object_with_unique_keys() {
        let set = |keys: &[&str]| Held::Keys(keys.iter().map(|k| (*k).to_owned()).collect());
        assert_eq!(keys(r#"{"status":"pause"}"#), set(&["status"]));
        assert_eq!(keys(r#" {"a":{"b":1,"b":2},"c":[]} "#), set(&["a", "c"]));
        assert_eq!(keys(r#"{"st\u0061tus":1}"#), set(&["status"]));
        assert_eq!(keys("{}"), set(&[]));
        assert_eq!(read_keys(b"", None, None), Held::Absent);
        let utf8 = read_keys(b"{}", Some("application/json; charset=\"UTF-8\""), Some("identity"));
        assert_eq!(utf8, set(&[]));
    }

    #[test]
    fn anything_else_is_ambiguous() {
        for body in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            "[]",
            "null",
            "1",
            "status=pause",
            r#"{"a":1}{"a":1}"#,
            r#"{"a":1,}"#,
            "{'a':1}",
            "\u{feff}{}",
            r#"{"a":"\ud800"}x"#,
        ] {
            assert_eq!(keys(body), Held::Ambiguous, "{body}");
        }
        assert_eq!(read_keys(b"{\"\xff\":1}", None, None), Held::Ambiguous);
        assert_eq!(
            read_keys(b"{}", Some("application/json; charset=utf-16"), None),
            Held::Ambiguous
        );
        assert_eq!(read_keys(b"{}", None, Some("gzip")), Held::Ambiguous);
    }
}
