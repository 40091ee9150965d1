//! The top-level keys of a JSON body, where they decide what a request takes.

use std::collections::BTreeSet;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use http::HeaderMap;
use http::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE};

/// The longest body that is held to look at its keys, in bytes.
pub(crate) const MAX_HELD: usize = 64 * 1024;

/// What a held body turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Held {
    /// Nothing.
    Absent,
    /// More than may be held.
    TooLong,
    /// Something that is not JSON.
    OtherMedia,
    /// Without a single reading.
    Ambiguous,
    /// An object with these keys.
    Keys(BTreeSet<String>),
}

/// What the fields of a request say of its body.
#[derive(Debug, PartialEq, Eq)]
pub enum Media {
    /// JSON in UTF-8, uncoded.
    Json,
    /// Nothing at all is said.
    Unsaid,
    /// JSON in another encoding, two sayings, or one that goes no further than here.
    Unclear,
    /// Something else.
    Other,
}

impl Media {
    pub(crate) fn of(fields: &HeaderMap) -> Self {
        let mut codings = fields.get_all(CONTENT_ENCODING).iter();
        if codings.any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Media::Unclear;
        }
        if is_nominated(fields) {
            return Media::Unclear;
        }
        let mut types = fields.get_all(CONTENT_TYPE).iter();
        let (Some(first), None) = (types.next(), types.next()) else {
            return if fields.contains_key(CONTENT_TYPE) { Media::Unclear } else { Media::Unsaid };
        };
        let Ok(text) = first.to_str() else { return Media::Unclear };
        let mut parts = text.split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = matches!(essence.as_str(), "application/json" | "text/json")
            || (essence.starts_with("application/") && essence.ends_with("+json"));
        match (is_json, parts.all(is_utf8)) {
            (false, _) => Media::Other,
            (true, true) => Media::Json,
            (true, false) => Media::Unclear,
        }
    }
}

/// Whether `Connection` takes away what the fields say, before the upstream can read it.
fn is_nominated(fields: &HeaderMap) -> bool {
    let names =
        fields.get_all(CONNECTION).iter().flat_map(|names| names.as_bytes().split(|b| *b == b','));
    names.map(<[u8]>::trim_ascii).any(|name| {
        [CONTENT_TYPE, CONTENT_ENCODING]
            .iter()
            .any(|said| name.eq_ignore_ascii_case(said.as_str().as_bytes()))
    })
}

/// True for a parameter that names no other charset than UTF-8.
fn is_utf8(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    }
}

/// Reads a whole body. A form that looks like JSON is a form: only what is
/// sent as JSON counts as such.
pub fn read_keys(body: &[u8], media: &Media) -> Held {
    match media {
        Media::Unclear => Held::Ambiguous,
        _ if body.is_empty() => Held::Absent,
        Media::Other => Held::OtherMedia,
        // Who takes what has no type for a form finds fields in it.
        Media::Unsaid if body.contains(&b'=') => Held::OtherMedia,
        // All of it is held against the grammar (RFC 8259), so that where a key ends is seen
        // as every other reader sees it. But no value is made anything of: what a number or
        // half of a surrogate pair means, and how deep a value may be, is the upstream's
        // business. Not so in a key, which one reader might replace and another drop.
        Media::Json | Media::Unsaid => {
            match std::str::from_utf8(body).map(serde_json::from_str::<Keys>) {
                Ok(Ok(Keys(keys))) => Held::Keys(keys),
                _ => Held::Ambiguous,
            }
        }
    }
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
        read_keys(body.as_bytes(), &Media::Json)
    }

    #[test]
    fn one_object_with_unique_keys() {
        let set = |keys: &[&str]| Held::Keys(keys.iter().map(|k| (*k).to_owned()).collect());
        assert_eq!(keys(r#"{"status":"pause"}"#), set(&["status"]));
        assert_eq!(keys(r#" {"a":{"b":1,"b":2},"c":[]} "#), set(&["a", "c"]));
        assert_eq!(keys(r#"{"st\u0061tus":1}"#), set(&["status"]));
        for value in [
            "1e400",
            "-1e-999",
            "123456789012345678901234567890",
            r#""\ud83d""#,
            r#""\udc00\ud83d""#,
            r#"[{"\ud83d":[1e400]}]"#,
            r#"{"status":1,"name":{"name":2}}"#,
            &format!("{}{}", "[".repeat(200), "]".repeat(200)),
            &format!("{}1{}", r#"{"a":"#.repeat(9000), "}".repeat(9000)),
        ] {
            assert_eq!(keys(&format!(r#"{{"name":{value}}}"#)), set(&["name"]), "{value}");
        }
        assert_eq!(keys("{}"), set(&[]));
        assert_eq!(keys(""), Held::Absent);
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
            r#"{"\ud800":1}"#,
            r#"{"sta\ud83dtus":1}"#,
            r#"{"a":1,"b":"\ud83d","\u0061":2}"#,
            r#"{"a":"\ud83d","a":1e400}"#,
            r#"{"a":"\u12"}"#,
            r#"{"a":"\x"}"#,
            "{\"a\":\"\n\"}",
            r#"{"a":01}"#,
            r#"{"a":1e}"#,
            r#"{"a":.5}"#,
            r#"{"a":NaN}"#,
            r#"{"a":[1,]}"#,
            r#"{"a":{"b"}}"#,
            r#"{"a":{b:1}}"#,
            r#"{"a":[}]}"#,
            r#"{"a":"\ud83d\"}"#,
        ] {
            assert_eq!(keys(body), Held::Ambiguous, "{body}");
        }
        assert_eq!(read_keys(b"{\"\xff\":1}", &Media::Json), Held::Ambiguous);
        assert_eq!(read_keys(b"{\"status\":\"\xff\"}", &Media::Json), Held::Ambiguous);
        assert_eq!(read_keys(b"{}", &Media::Unclear), Held::Ambiguous);
        for media in [Media::Other, Media::Unsaid] {
            assert_eq!(read_keys(br#"{"status":"&name=evil&"}"#, &media), Held::OtherMedia);
        }
        let plain = read_keys(br#"{"status":"pause"}"#, &Media::Unsaid);
        assert_eq!(plain, Held::Keys(["status".to_owned()].into()));
    }

    #[test]
    fn what_the_fields_say() {
        let media = |fields: &[(&str, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in fields {
                map.append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
            }
            Media::of(&map)
        };
        let typed = |value: &str| media(&[("content-type", value)]);
        assert_eq!(media(&[]), Media::Unsaid);
        for nominated in ["content-type", "close, Content-Encoding", "x,CONTENT-TYPE ,y"] {
            let fields = [("content-type", "application/json"), ("connection", nominated)];
            assert_eq!(media(&fields), Media::Unclear, "{nominated}");
        }
        assert_eq!(media(&[("content-encoding", "identity")]), Media::Unsaid);
        assert_eq!(typed("application/json"), Media::Json);
        for json in [
            "application/json",
            "Application/JSON; charset=\"UTF-8\"",
            "application/vnd.api+json; v=1",
        ] {
            assert_eq!(typed(json), Media::Json, "{json}");
        }
        for other in [
            "application/x-www-form-urlencoded",
            "text/plain",
            "text/csv",
            "multipart/form-data; boundary=x",
            "",
        ] {
            assert_eq!(typed(other), Media::Other, "{other}");
        }
        assert_eq!(typed("application/json; charset=utf-16"), Media::Unclear);
        assert_eq!(media(&[("content-encoding", "gzip")]), Media::Unclear);
        let twice = media(&[("content-type", "application/json"), ("content-type", "text/plain")]);
        assert_eq!(twice, Media::Unclear);
    }
}
