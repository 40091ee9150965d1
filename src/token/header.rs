//! The JOSE header of a token (RFC 7515 section 4): read to refuse.
//!
//! The library's own reader takes `crit`, `b64:false` and a member that stands
//! twice without a word, so this one looks at every member. Keys that a token
//! brings along (`jwk`, `jku`, `x5c`) are never read at all.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use smallvec::SmallVec;

use super::{Algorithm, TokenError};

/// Ours have three. The limit keeps the look for doubles from being quadratic
/// in what strangers send.
const MAX_MEMBERS: usize = 16;

/// What matters of a header.
#[derive(Default)]
pub(super) struct Header {
    pub(super) kid: Option<String>,
    alg: Option<String>,
    typ: Option<String>,
    /// `crit` or `b64` is there, whatever it says.
    extended: bool,
}

impl Header {
    /// Decodes and reads.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] if it is not a JSON object, a member stands in
    /// it twice, or `kid`, `alg` or `typ` is no string.
    pub(super) fn read(encoded: &str) -> Result<Self, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::Malformed)?;
        // First: the parser doesn't look at the letters of what it skips.
        let text = std::str::from_utf8(&bytes).map_err(|_| TokenError::Malformed)?;
        serde_json::from_str(text).map_err(|_| TokenError::Malformed)
    }

    /// True for an access token (RFC 9068 section 2.1); media types have no
    /// case (RFC 7515 section 4.1.9).
    pub(super) fn is_access_token(&self) -> bool {
        self.typ.as_deref().is_some_and(|typ| {
            typ.eq_ignore_ascii_case("at+jwt") || typ.eq_ignore_ascii_case("application/at+jwt")
        })
    }

    /// True if it names the algorithm of the key and asks for no extension
    /// (RFC 7515 section 4.1.11, RFC 7797 section 6).
    pub(super) fn is_plain(&self, algorithm: Algorithm) -> bool {
        self.alg.as_deref() == Some(algorithm.as_str()) && !self.extended
    }
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut seen = SmallVec::<[Cow<'de, str>; 4]>::new();
        while let Some(Name(name)) = map.next_key()? {
            if seen.len() >= MAX_MEMBERS || seen.contains(&name) {
                return Err(A::Error::custom("too many members, or one of them twice"));
            }
            match &*name {
                "kid" => header.kid = Some(map.next_value()?),
                "alg" => header.alg = Some(map.next_value()?),
                "typ" => header.typ = Some(map.next_value()?),
                known => {
                    header.extended |= matches!(known, "crit" | "b64");
                    map.next_value::<IgnoredAny>()?;
                }
            }
            seen.push(name);
        }
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Header, TokenError> {
        Header::read(&URL_SAFE_NO_PAD.encode(json))
    }

    #[test]
    fn shapes() {
        let many: Vec<String> = (0..17).map(|n| format!("\"m{n}\":0")).collect();
        let many = format!("{{{}}}", many.join(","));
        for bad in [
            "",
            "null",
            "[]",
            "\"a\"",
            "7",
            "{",
            "{}x",
            "{} {}",
            "{\"kid\":1}",
            "{\"alg\":256}",
            "{\"typ\":null}",
            "{\"kid\":[\"a\"]}",
            "{\"kid\":\"a\",\"kid\":\"a\"}",
            "{\"x\":1,\"x\":2}",
            "{\"kid\":\"a\",\"k\\u0069d\":\"b\"}",
            "[\"a\",\"b\"]",
            "\u{feff}{}",
            &many,
        ] {
            assert_eq!(read(bad).err(), Some(TokenError::Malformed), "{bad}");
        }
        assert_eq!(
            Header::read(&URL_SAFE_NO_PAD.encode(b"{\"x\":\"\xff\"}")).err(),
            Some(TokenError::Malformed)
        );
        assert_eq!(Header::read("@@@@").err(), Some(TokenError::Malformed));
        assert!(read("{}").is_ok());
    }

    #[test]
    fn types_and_extensions() {
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
            let json = format!("{{\"typ\":\"{typ}\"}}");
            assert!(read(&json).unwrap().is_access_token(), "{typ}");
        }
        for typ in ["", "JWT", "at+jwt ", "text/at+jwt", "logout+jwt", "at+jwt;v=1"] {
            let json = format!("{{\"typ\":\"{typ}\"}}");
            assert!(!read(&json).unwrap().is_access_token(), "{typ}");
        }
        assert!(read(r#"{"alg":"ES256"}"#).unwrap().is_plain(Algorithm::Es256));
        for other in [
            r#"{}"#,
            r#"{"alg":"es256"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"none"}"#,
            r#"{"alg":"ES256","crit":[]}"#,
            r#"{"alg":"ES256","crit":null}"#,
            r#"{"alg":"ES256","b64":true}"#,
            r#"{"alg":"ES256","b64":false,"crit":["b64"]}"#,
        ] {
            assert!(!read(other).unwrap().is_plain(Algorithm::Es256), "{other}");
        }
    }
}
