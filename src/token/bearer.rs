//! From Authorization headers to a token that has the shape of one
//! (RFC 6750 section 2.1, RFC 9110 section 11.6.2).
//!
//! Nothing is decoded or believed here, and nothing is repaired: a token has
//! one spelling, so that one token is one entry in every cache and every log.

use std::fmt;

use memchr::{memchr, memrchr};

/// The longest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// What the Authorization headers of one request say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authorization<'a> {
    /// There is none, or a `Bearer` without a token.
    Missing,
    /// One header with one text. Whether it has the shape of a token was not looked at:
    /// whoever knows the text from before need not. [`UnreadToken::parse`] tells.
    Bearer(UnreadToken<'a>),
    /// Anything else.
    Malformed,
}

impl<'a> Authorization<'a> {
    /// Reads the values of all Authorization headers of a request, as they came.
    /// The scheme is taken in any case, with one or more spaces after it.
    pub fn from_values(mut values: impl Iterator<Item = &'a [u8]>) -> Authorization<'a> {
        let Some(value) = values.next() else {
            return Authorization::Missing;
        };
        if values.next().is_some() {
            return Authorization::Malformed;
        }
        Self::from_value(value)
    }

    fn from_value(value: &'a [u8]) -> Authorization<'a> {
        const SCHEME: &[u8] = b"bearer";
        let Some((scheme, rest)) = value.split_at_checked(SCHEME.len()) else {
            return Authorization::Malformed;
        };
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Authorization::Malformed;
        }
        let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
        let text = rest.get(spaces..).unwrap_or_default();
        if spaces == 0 && !text.is_empty() {
            return Authorization::Malformed;
        }
        Self::of(text)
    }

    /// What a header with this text says.
    pub fn of(text: &'a [u8]) -> Authorization<'a> {
        if text.is_empty() {
            return Authorization::Missing;
        }
        if text.len() > MAX_TOKEN_BYTES {
            return Authorization::Malformed;
        }
        Authorization::Bearer(UnreadToken(text))
    }
}

/// At most 8 KiB that may be a token, and perhaps no text even.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnreadToken<'a>(&'a [u8]);

impl<'a> UnreadToken<'a> {
    /// The bytes as they came.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// As [`UnverifiedToken::parse`].
    pub fn parse(&self) -> Option<UnverifiedToken<'a>> {
        std::str::from_utf8(self.0).ok().and_then(UnverifiedToken::parse)
    }
}

impl fmt::Debug for UnreadToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[text]")
    }
}

/// A text that has the shape of a signed token. Nothing in it is believed:
/// only [`super::verify`] makes it worth anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UnverifiedToken<'a>(&'a str);

/// The parts of the compact serialisation (RFC 7515 section 7.1), still encoded.
pub(super) struct Parts<'a> {
    pub(super) header: &'a str,
    pub(super) payload: &'a str,
    pub(super) signature: &'a str,
    /// What the signature is over: header, dot, payload.
    pub(super) signed: &'a str,
}

impl<'a> UnverifiedToken<'a> {
    /// Takes three base64url parts without padding, each in its canonical
    /// spelling, of at most 8 KiB together. Payload and signature may be empty,
    /// so that an unsecured token is refused for its `alg` (RFC 7519 section 6).
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_TOKEN_BYTES || !two_dots_and_base64url(text.as_bytes()) {
            return None;
        }
        let token = UnverifiedToken(text);
        let parts = token.parts()?;
        let canonical = [parts.header, parts.payload, parts.signature].into_iter().all(canonical);
        (canonical && !parts.header.is_empty()).then_some(token)
    }

    /// The token as it came.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    pub(super) fn parts(&self) -> Option<Parts<'a>> {
        let first = memchr(b'.', self.0.as_bytes())?;
        let last = memrchr(b'.', self.0.as_bytes())?;
        Some(Parts {
            header: self.0.get(..first)?,
            payload: self.0.get(first + 1..last)?,
            signature: self.0.get(last + 1..)?,
            signed: self.0.get(..last)?,
        })
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

/// Runs for every request, so it has no branch that depends on a byte: the
/// compiler turns it into vector code. Chunks keep the count in one byte.
fn two_dots_and_base64url(text: &[u8]) -> bool {
    let mut stray = 0_u8;
    let mut dots = 0_usize;
    for chunk in text.chunks(128) {
        let mut here = 0_u8;
        for &byte in chunk {
            let dot = byte == b'.';
            let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
            let digit = byte.wrapping_sub(b'0') < 10;
            let other = (byte == b'-') | (byte == b'_');
            here += u8::from(dot);
            stray |= u8::from(!(dot | letter | digit | other));
        }
        dots += usize::from(here);
    }
    stray == 0 && dots == 2
}

/// True if the last character has no bits that decode to nothing
/// (RFC 4648 section 3.5): otherwise one token had several spellings.
fn canonical(part: &str) -> bool {
    let last = part.bytes().next_back().unwrap_or(b'A');
    match part.len() % 4 {
        0 => true,
        2 => b"AQgw".contains(&last),
        3 => b"AEIMQUYcgkosw048".contains(&last),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    const TOKEN: &str = "eyJhIjowfQ.eyJhIjowfQ.AAAA";

    fn read(values: &[&str]) -> &'static str {
        match Authorization::from_values(values.iter().map(|value| value.as_bytes())) {
            Authorization::Missing => "missing",
            Authorization::Bearer(text) => match text.parse() {
                Some(token) => {
                    assert_eq!(token.as_str(), TOKEN);
                    "bearer"
                }
                None => "malformed",
            },
            Authorization::Malformed => "malformed",
        }
    }

    #[test]
    fn headers() {
        let t = TOKEN;
        let long = format!("Bearer {}.AAAA.AAAA", "A".repeat(MAX_TOKEN_BYTES - 9));
        for (values, expected) in [
            (vec![], "missing"),
            (vec!["Bearer".into()], "missing"),
            (vec!["bearer ".into()], "missing"),
            (vec!["Bearer   ".into()], "missing"),
            (vec![format!("Bearer {t}")], "bearer"),
            (vec![format!("bEARER {t}")], "bearer"),
            (vec![format!("Bearer   {t}")], "bearer"),
            (vec![format!("Bearer {t}"), format!("Bearer {t}")], "malformed"),
            (vec!["Bearer".into(), "Bearer".into()], "malformed"),
            (vec![String::new()], "malformed"),
            (vec!["Bear".into()], "malformed"),
            (vec![format!("Bearer{t}")], "malformed"),
            (vec![format!("Bearer:{t}")], "malformed"),
            (vec![format!("Bearer\t{t}")], "malformed"),
            (vec![format!("Bearer \t{t}")], "malformed"),
            (vec![format!(" Bearer {t}")], "malformed"),
            (vec![format!("Bearer {t} ")], "malformed"),
            (vec![format!("Bearer {t} x")], "malformed"),
            (vec![format!("Bearer {t},{t}")], "malformed"),
            (vec![format!("Bearer {t}, Bearer {t}")], "malformed"),
            (vec![format!("Bearer \"{t}\"")], "malformed"),
            (vec![format!("Bearer {t}\0")], "malformed"),
            (vec![format!("Bearer {t}\r\n")], "malformed"),
            (vec![format!("Bearer {t}é")], "malformed"),
            (vec![format!("Bearer {t}=")], "malformed"),
            (vec![format!("Bearer {t}.")], "malformed"),
            (vec![format!("Bearer {t}.AAAA.AAAA")], "malformed"),
            (vec![format!("Basic {t}")], "malformed"),
            (vec![format!("DPoP {t}")], "malformed"),
            (vec![t.to_owned()], "malformed"),
            (vec![long], "malformed"),
        ] {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            assert_eq!(read(&values), expected, "{values:?}");
        }
        let bytes: &[u8] = b"Bearer a.b.\xff";
        let read = Authorization::from_values([bytes].into_iter());
        assert!(matches!(read, Authorization::Bearer(text) if text.parse().is_none()));
    }

    #[test]
    fn shapes() {
        let longest = format!("{}.AAAA.AAAA", "A".repeat(8180));
        for good in [TOKEN, "AA.AA.AA", "AAA._w.-w", "AAAA.AAAA.", "AAAA..AAAA", &longest] {
            assert!(UnverifiedToken::parse(good).is_some(), "{good}");
        }
        let over = format!("{}.AAAA.AAAAAAA", "A".repeat(8180));
        for bad in [
            "",
            ".",
            "..",
            "AAAA",
            "AAAA.AAAA",
            ".AAAA.AAAA",
            "A.AAAA.AAAA",
            "AAAA.AAAAA.AA",
            "AB.AAAA.AAAA",
            "AAAA.AAB.AAAA",
            "AAAA.AAAA.AB",
            "AAAA.AAAA.@@@@",
            "AA==.AA.AA",
            "AAAA.AA+A.AAAA",
            "AAAA.AA/A.AAAA",
            "{\"payload\":\"AAAA\",\"signatures\":[]}",
            &over,
        ] {
            assert!(UnverifiedToken::parse(bad).is_none(), "{bad}");
        }
        let debug = format!("{:?}", UnverifiedToken::parse(TOKEN));
        assert_eq!(debug, "Some([token])");
    }

    #[test]
    fn agrees_with_the_decoder_about_every_last_character() {
        for length in 0..=4 {
            for last in 0..=127_u8 {
                let mut part = "A".repeat(length);
                part.push(char::from(last));
                let decodes = URL_SAFE_NO_PAD.decode(&part).is_ok();
                let token = format!("AAAA.AAAA.{part}");
                assert_eq!(UnverifiedToken::parse(&token).is_some(), decodes, "{part:?}");
            }
        }
    }
}
