//! What judging needs to know of a request.

use std::collections::BTreeSet;

use super::path::Target;
use crate::token::Authorization;

/// A request, borrowed from the wire.
#[derive(Clone, Copy, Debug)]
pub struct RequestFacts<'a> {
    /// The method, as sent: methods are case-sensitive.
    pub method: &'a str,
    /// The Host field, if there is one.
    pub host: Option<&'a str>,
    /// Path and query.
    pub target: Target<'a>,
    /// What the Authorization fields hold.
    pub authorization: Authorization<'a>,
    /// The body, as far as it is known.
    pub body: Body<'a>,
}

/// What is known of a request's body. Only a route with body rules asks.
#[derive(Clone, Copy, Debug)]
pub enum Body<'a> {
    /// Nothing yet.
    Unread,
    /// There is none.
    Absent,
    /// It is longer than may be held.
    TooLong,
    /// It has no single reading: not UTF-8, not a JSON object, a key twice.
    Ambiguous,
    /// A JSON object with these top-level keys.
    Keys(&'a BTreeSet<String>),
}

/// What a query says of one parameter.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum QueryValue {
    /// It stands exactly once, in its plain spelling; decoded.
    Once(String),
    /// It is missing, stands twice, or stands in a spelling that another
    /// server might take for it.
    NotOnce,
}

/// Looks a bound parameter up. Servers differ in what they take for a name
/// (`a[]`, `A`, `a%5B%5D`, `a.b` or `a[b` for `a_b`, `]a`) and in what separates
/// pairs, so whatever might be the parameter counts as it.
pub(crate) fn query_value(query: Option<&str>, name: &str) -> QueryValue {
    let Some(query) = query else { return QueryValue::NotOnce };
    let wanted = letters(name);
    let keys = query.split(['&', ';', '?']).map(|pair| pair.split('=').next().unwrap_or_default());
    let alike = keys.filter(|key| could_be(key, &wanted)).count();
    let mut plain =
        query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(k, _)| *k == name);
    match (plain.next(), alike) {
        (Some((_, value)), 1) => QueryValue::Once(decode(value)),
        _ => QueryValue::NotOnce,
    }
}

/// Whether some server might take `key` for the parameter with these letters.
/// A key that can't be decoded, or holds a control character, might be anything.
fn could_be(key: &str, wanted: &str) -> bool {
    let mut bytes = key.as_bytes();
    while let [first, rest @ ..] = bytes {
        bytes = rest;
        if *first == b'%'
            && !matches!(rest, [a, b, ..] if [a, b].iter().all(|d| d.is_ascii_hexdigit()))
        {
            return true;
        }
    }
    let mut name: Vec<u8> = key.bytes().collect();
    loop {
        let decoded: Vec<u8> = percent_encoding::percent_decode(&name).collect();
        if decoded == name {
            break;
        }
        name = decoded;
    }
    let Ok(name) = std::str::from_utf8(&name) else { return true };
    // For some a name ends at a NUL, for others before whatever stands around it.
    if name.contains(char::is_control) {
        return true;
    }
    let brackets = ['[', ']'];
    let stem = name.trim_start_matches(brackets).split(brackets).next().unwrap_or_default();
    letters(name) == wanted || letters(stem) == wanted
}

/// What is left of a name if neither letter case nor anything but letters and
/// digits counts.
fn letters(name: &str) -> String {
    let plain = name.chars().filter(|c| c.is_alphanumeric());
    // Both ways: some letters have the same capital and are not the same.
    plain.flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Decodes as forms do: `+` is a space.
fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_parameter_stands_exactly_once() {
        let value = |query: &str| query_value(Some(query), "account_id");
        let once = |text: &str| QueryValue::Once(text.into());
        assert_eq!(value("account_id=7"), once("7"));
        assert_eq!(value("x=1&account_id=7&y"), once("7"));
        assert_eq!(value("account_id=%37"), once("7"));
        assert_eq!(value("account_id="), once(""));
        assert_eq!(value("account_id=a=b"), once("a=b"));
        assert_eq!(value("account_id=7&filter[account_id]=8"), once("7"));
        assert_eq!(value("account_id=7&my_account_id=8&x=%zz&=&[]"), once("7"));
        for bad in [
            "",
            "x=1",
            "account_id",
            "account_id=7&account_id=7",
            "account_id=7&account_id=8",
            "account_id=7&ACCOUNT_ID=8",
            "account_id=7&account_id[]=8",
            "account_id=7&account_id%5B%5D=8",
            "account_id=7&account%5Fid=8",
            "account%5Fid=7",
            "account_id=7&account.id=8",
            "account_id=7&+account_id=8",
            "x=1;account_id=8&account_id=7",
            "account_id[]=7",
            // Rack 2 strips brackets, PHP takes an unclosed one for '_'.
            "account_id=7&[account_id]=8",
            "account_id=7&]account_id=8",
            "account_id=7&account_id]=8",
            "account_id=7&account[id=8",
            "account_id=7&account%5Bid=8",
            "account_id=7&account_id[x][y]=8",
            "account_id=7&account_id%00x=8",
            "account_id=7&account%5Bid%00account_id=8",
            "account_id=7&%0daccount_id=8",
            "account_id=7&accountId=8",
            // What nobody can say the meaning of: ASP.NET decodes %u005f.
            "account_id=7&account%u005fid=8",
            "account_id=7&account%255fid=8",
            "account_id=7&%ffaccount_id=8",
            "account_id=7&account_%C4%B1d=8",
            "account_id=7&%=8",
        ] {
            assert_eq!(value(bad), QueryValue::NotOnce, "{bad}");
        }
        assert_eq!(query_value(None, "account_id"), QueryValue::NotOnce);
    }
}
