//! The wire form of a token's claims (RFC 7519 section 4, RFC 9068 section 2.2).
//!
//! Unknown claims are ignored; a known one of the wrong type, null among them,
//! or one that stands twice is refused (the derived reader does both for the
//! members it knows; the rest is never looked at). Nothing is judged here.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::{Generation, UnixTime};

/// All claims we write, and `nbf`, which we only read. Each may be missing
/// here, so that [`super::verify`] can say which one it was.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Claims<'a> {
    #[serde(deserialize_with = "present")]
    pub(super) iss: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "present")]
    pub(super) sub: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "present")]
    pub(super) client_id: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "present")]
    pub(super) aud: Option<Audience<'a>>,
    #[serde(deserialize_with = "present")]
    pub(super) iat: Option<NumericDate>,
    #[serde(deserialize_with = "present")]
    pub(super) exp: Option<NumericDate>,
    #[serde(deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<NumericDate>,
    #[serde(deserialize_with = "present")]
    pub(super) jti: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "present")]
    pub(super) scope: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "present")]
    pub(super) account: Option<Cow<'a, str>>,
    #[serde(rename = "gen", deserialize_with = "present")]
    pub(super) generation: Option<Generation>,
}

impl Claims<'static> {
    /// Decodes and reads the payload of a token; `None` if it is no claim set.
    pub(super) fn read(encoded: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
        let text = std::str::from_utf8(&bytes).ok()?;
        // The derived reader would take an array of values in our order.
        if !text.trim_start().starts_with('{') {
            return None;
        }
        serde_json::from_str(text).ok()
    }
}

/// A claim that is there must have its type: null is not "missing".
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// `aud`: one name or several (RFC 7519 section 4.1.3).
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Audience<'a> {
    One(Cow<'a, str>),
    Several(Vec<Cow<'a, str>>),
}

impl Audience<'_> {
    /// True if `name` is among them, letter by letter.
    pub(super) fn contains(&self, name: &str) -> bool {
        match self {
            Audience::One(one) => one == name,
            Audience::Several(names) => names.iter().any(|one| one == name),
        }
    }
}

/// Whole seconds since the epoch, within the years that RFC 3339 can write.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub(super) struct NumericDate(UnixTime);

impl NumericDate {
    /// Rounds down to the second.
    pub(super) fn new(at: UnixTime) -> Self {
        NumericDate(at)
    }

    pub(super) fn time(self) -> UnixTime {
        self.0
    }
}

impl TryFrom<u64> for NumericDate {
    type Error = &'static str;

    fn try_from(secs: u64) -> Result<Self, Self::Error> {
        i64::try_from(secs)
            .ok()
            .filter(|secs| *secs <= UnixTime::MAX.as_secs())
            .map(|secs| NumericDate(UnixTime::from_secs(secs)))
            .ok_or("a time beyond the year 9999")
    }
}

impl From<NumericDate> for u64 {
    fn from(date: NumericDate) -> u64 {
        // Never negative: a `UnixTime` begins at the epoch.
        date.0.as_secs().unsigned_abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Claims<'static>> {
        Claims::read(&URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn dates_are_whole_numbers() {
        for (text, secs) in
            [("0", 0), ("1795314000", 1_795_314_000), (" 253402300799 ", 253_402_300_799)]
        {
            let claims = read(&format!("{{\"exp\":{text}}}")).unwrap();
            assert_eq!(claims.exp.unwrap().time(), UnixTime::from_secs(secs), "{text}");
        }
        for bad in [
            "-1",
            "-0",
            "1.0",
            "1.5",
            "1e9",
            "253402300800",
            "9223372036854775808",
            "18446744073709551616",
            "1e400",
            "\"1795314000\"",
            "null",
            "true",
            "[1]",
            "{}",
            "NaN",
            "01",
        ] {
            for name in ["iat", "exp", "nbf"] {
                assert!(read(&format!("{{\"{name}\":{bad}}}")).is_none(), "{name} {bad}");
            }
        }
    }

    #[test]
    fn wrong_types_doubles_and_other_shapes() {
        for bad in [
            "",
            "null",
            "7",
            "[]",
            "[\"iss\"]",
            "{",
            "{}{}",
            "{\"iss\":null}",
            "{\"iss\":7}",
            "{\"iss\":[\"a\"]}",
            "{\"aud\":7}",
            "{\"aud\":[7]}",
            "{\"aud\":[[\"a\"]]}",
            "{\"aud\":null}",
            "{\"aud\":{}}",
            "{\"scope\":[\"a\"]}",
            "{\"gen\":\"1\"}",
            "{\"gen\":-1}",
            "{\"gen\":4294967296}",
            "{\"gen\":1.0}",
            "{\"account\":1}",
            "{\"iss\":\"a\",\"iss\":\"a\"}",
            "{\"exp\":1,\"e\\u0078p\":2}",
            "\u{feff}{}",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
        assert!(read(" {\"roles\":[1],\"cnf\":{\"jkt\":null},\"x\":1.5} ").is_some());
    }

    #[test]
    fn audiences() {
        let aud = |json: &str| read(&format!("{{\"aud\":{json}}}")).unwrap().aud.unwrap();
        assert!(aud("\"a\"").contains("a"));
        assert!(aud("[\"b\",\"a\"]").contains("a"));
        for other in ["\"A\"", "\"a \"", "\"b a\"", "[]", "[\"aa\"]", "\"\""] {
            assert!(!aud(other).contains("a"), "{other}");
        }
    }
}
