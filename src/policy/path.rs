//! The path that is judged is the path that is forwarded, byte for byte.
//!
//! [`Target::parse`] accepts a request target or refuses it; it never repairs
//! one. Refused is whatever two servers could read differently: dot segments,
//! empty segments, needless or dangerous escapes, backslashes, raw bytes beyond
//! ASCII. What is left has one reading.

use std::fmt;
use std::sync::Arc;

use memchr::{memchr, memchr2};
use smallvec::SmallVec;

/// A path (RFC 3986 section 3.3) with one reading, raw as the client sent it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CanonicalPath<'a>(&'a str);

/// What stands between the slashes of a path.
#[derive(Clone, Debug)]
pub struct Segments<'a>(Option<&'a str>);

impl<'a> Iterator for Segments<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        // Segments are short: byte by byte is quicker than many at a time.
        let slash = rest.bytes().position(|byte| byte == b'/');
        let Some((segment, tail)) = slash.and_then(|at| rest.split_at_checked(at)) else {
            self.0 = None;
            return Some(rest);
        };
        self.0 = tail.get(1..);
        Some(segment)
    }
}

/// The segments of a path, found once.
pub(super) type SegmentList<'a> = SmallVec<[&'a str; 12]>;

/// A request target in origin form: path and query, raw.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Target<'a> {
    raw: &'a str,
    path: CanonicalPath<'a>,
    query: Option<&'a str>,
}

/// A [`Target`] that was read once and is kept beyond the bytes it came in.
#[derive(Clone, Debug)]
pub struct OwnedTarget {
    raw: Arc<str>,
    path: usize,
}

impl OwnedTarget {
    /// As it was when it was read.
    pub fn get(&self) -> Target<'_> {
        let (path, query) = self.raw.split_at_checked(self.path).unwrap_or((&self.raw, ""));
        Target { raw: &self.raw, path: CanonicalPath(path), query: query.get(1..) }
    }
}

/// Why a target was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// Neither `/…` nor an absolute URI.
    #[error("the request target does not begin with '/'")]
    NotOriginForm,
    /// The authority of an absolute target is not what Host says.
    #[error("the authority of the request target is not that of Host")]
    WrongAuthority,
    /// A control character, a space, or a byte above 0x7F.
    #[error("the request target holds a character that must be percent-encoded")]
    RawByte,
    /// `#`.
    #[error("the request target holds a fragment")]
    Fragment,
    /// `//`, and `/;x/`, which is `//` to who cuts parameters off.
    #[error("the path holds an empty segment")]
    EmptySegment,
    /// `.`, `..`, `..;x`.
    #[error("the path holds a dot segment")]
    DotSegment,
    /// `\`, or a character that RFC 3986 does not allow in a path.
    #[error("the path holds a character that is not allowed in one")]
    NotAPathCharacter,
    /// `%`, `%2`, `%zz`, `%u002f`.
    #[error("the path holds a broken percent-escape")]
    BrokenEscape,
    /// `%2f`, `%5c`, `%00` and other controls, and the same escaped twice.
    #[error("the path holds an escaped separator or control character")]
    DangerousEscape,
    /// `%41` for `A`: two spellings of one path.
    #[error("the path escapes a character that needs no escape")]
    NeedlessEscape,
    /// Escapes that are not UTF-8, over-long forms among them.
    #[error("the escapes in the path are not UTF-8")]
    NotUtf8,
}

impl<'a> Target<'a> {
    /// Reads a request target. The absolute form is taken if its authority
    /// equals `host` (the Host field) to the letter; its path and query are what
    /// counts.
    ///
    /// # Errors
    /// When it could be read in two ways.
    pub fn parse(raw: &'a [u8], host: Option<&str>) -> Result<Self, PathFault> {
        // All bytes are looked at, so that the compiler can take many at a time.
        if raw.iter().fold(false, |stray, b| stray | !b.is_ascii_graphic()) {
            return Err(PathFault::RawByte);
        }
        let text = std::str::from_utf8(raw).map_err(|_| PathFault::RawByte)?;
        if memchr(b'#', raw).is_some() {
            return Err(PathFault::Fragment);
        }
        let text = if text.starts_with('/') { text } else { strip_authority(text, host)? };
        let mark = memchr(b'?', text.as_bytes());
        let (path, query) = match mark.and_then(|at| text.split_at_checked(at)) {
            Some((path, query)) => (path, query.get(1..)),
            None => (text, None),
        };
        Ok(Target { raw: text, path: CanonicalPath::parse(path)?, query })
    }

    /// Path and query in origin form: what is forwarded.
    pub fn as_str(&self) -> &'a str {
        self.raw
    }

    /// A copy to keep.
    pub fn to_owned(&self) -> OwnedTarget {
        OwnedTarget { raw: self.raw.into(), path: self.path.0.len() }
    }

    /// The path.
    pub fn path(&self) -> CanonicalPath<'a> {
        self.path
    }

    /// What stands after the first `?`.
    pub fn query(&self) -> Option<&'a str> {
        self.query
    }
}

fn strip_authority<'a>(text: &'a str, host: Option<&str>) -> Result<&'a str, PathFault> {
    let rest = strip_prefix_any_case(text, "http://")
        .or_else(|| strip_prefix_any_case(text, "https://"))
        .ok_or(PathFault::NotOriginForm)?;
    let slash = rest.find('/').ok_or(PathFault::NotOriginForm)?;
    let (authority, path) = rest.split_at(slash);
    match host {
        Some(host) if authority == host => Ok(path),
        _ => Err(PathFault::WrongAuthority),
    }
}

fn strip_prefix_any_case<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

impl<'a> CanonicalPath<'a> {
    /// Reads a path.
    ///
    /// # Errors
    /// When it could be read in two ways.
    pub fn parse(path: &'a str) -> Result<Self, PathFault> {
        let segments = path.strip_prefix('/').ok_or(PathFault::NotOriginForm)?;
        if is_plain(path) {
            return Ok(CanonicalPath(path));
        }
        let mut rest = Segments(Some(segments));
        while let Some(segment) = rest.next() {
            if segment.is_empty() && rest.0.is_some() {
                return Err(PathFault::EmptySegment);
            }
            check_segment(segment)?;
        }
        Ok(CanonicalPath(path))
    }

    /// The raw path.
    pub fn as_str(&self) -> &'a str {
        self.0
    }

    /// What stands between the slashes. A path that ends in `/` has an empty
    /// last segment.
    pub fn segments(&self) -> Segments<'a> {
        Segments(Some(self.0.get(1..).unwrap_or_default()))
    }
}

/// Whether a path is of letters, digits, `-`, `_` and single slashes, as nearly all are:
/// then it has one reading, and there is no need to look closer.
fn is_plain(path: &str) -> bool {
    let (mut before, mut odd) = (LETTER, 0);
    for byte in path.bytes() {
        let class = CLASSES.get(usize::from(byte)).copied().unwrap_or(OTHER);
        odd |= (class & before) | (class & OTHER);
        before = class;
    }
    odd == 0
}

const LETTER: u8 = 0;
const SLASH: u8 = 1;
const OTHER: u8 = 2;

/// What each byte is in a path.
static CLASSES: [u8; 256] = {
    let mut classes = [OTHER; 256];
    let (mut rest, mut byte): (&mut [u8], u8) = (&mut classes, 0);
    while let Some((class, others)) = rest.split_first_mut() {
        *class = match byte {
            b'/' => SLASH,
            b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => LETTER,
            _ => OTHER,
        };
        (rest, byte) = (others, byte.wrapping_add(1));
    }
    classes
};

fn check_segment(segment: &str) -> Result<(), PathFault> {
    let bytes = segment.as_bytes();
    if is_plain(segment) {
        return Ok(());
    }
    let name = segment.split(';').next().unwrap_or_default();
    let name = name.split("%3b").next().and_then(|name| name.split("%3B").next());
    match name {
        Some("." | "..") => return Err(PathFault::DotSegment),
        Some("") => return Err(PathFault::EmptySegment),
        _ => {}
    }
    let mut decoded = Vec::new();
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            if !is_pchar(*first) {
                return Err(PathFault::NotAPathCharacter);
            }
            decoded.push(*first);
            continue;
        }
        let value = escape(tail).ok_or(PathFault::BrokenEscape)?;
        rest = tail.get(2..).unwrap_or_default();
        match value {
            0x00..=0x1f | 0x7f | b'/' | b'\\' => return Err(PathFault::DangerousEscape),
            // `%252e`: an upstream that decodes twice would see a dot; after
            // `..%253b` it would see a parameter and then a dot segment.
            b'%' if matches!(escape(rest), Some(0 | b'.' | b'/' | b'\\' | b'%' | b';')) => {
                return Err(PathFault::DangerousEscape);
            }
            _ if is_unreserved(value) => return Err(PathFault::NeedlessEscape),
            _ => decoded.push(value),
        }
    }
    std::str::from_utf8(&decoded).map(|_| ()).map_err(|_| PathFault::NotUtf8)
}

/// The byte that the two hex digits at the front stand for.
fn escape(digits: &[u8]) -> Option<u8> {
    let [high, low, ..] = digits else { return None };
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|v| u8::try_from(v).ok());
    Some(value(*high)? * 16 + value(*low)?)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// `pchar` of RFC 3986 section 3.3, but for escapes.
pub(super) fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// The segment as a lenient server might read it: escapes decoded, twice if
/// there are two layers, and parameters cut off. `None` when that changes nothing.
pub(super) fn lenient_reading(segment: &str) -> Option<String> {
    memchr2(b'%', b';', segment.as_bytes())?;
    let mut read = decode(segment.as_bytes());
    loop {
        let again = decode(&read);
        if again == read {
            break;
        }
        read = again;
    }
    let name = read.split(|byte| *byte == b';').next().unwrap_or_default();
    let name = std::str::from_utf8(name).ok()?;
    (name != segment).then(|| name.to_owned())
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match escape(tail) {
            Some(value) if *first == b'%' => {
                decoded.push(value);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => decoded.push(*first),
        }
    }
    decoded
}

impl fmt::Debug for CanonicalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Debug for Target<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.raw, f)
    }
}
