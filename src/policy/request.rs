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
/// (`a[]`, `A`, `a%5B%5D`, `a.b` for `a_b`) and in what separates pairs, so
/// whatever might be the parameter counts as it.
pub(crate) fn query_value(query: Option<&str>, name: &str) -> QueryValue {
    let Some(query) = query else { return QueryValue::NotOnce };
    let wanted = loose(name);
    let alike = query
        .split(['&', ';', '?'])
        .filter(|pair| {
            let key = pair.split('=').next().unwrap_or_default();
            loose(&decode(key)) == wanted
        })
        .count();
    let mut plain =
        query.split('&').filter_map(|pair| pair.split_once('=')).filter(|(k, _)| *k == name);
    match (plain.next(), alike) {
        (Some((_, value)), 1) => QueryValue::Once(decode(value)),
        _ => QueryValue::NotOnce,
    }
}

/// Decodes as forms do: `+` is a space.
fn decode(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

/// The name as the most lenient server reads it.
fn loose(name: &str) -> String {
    let name = name.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let name = name.split(['[', '\0']).next().unwrap_or_default();
    name.chars()
        .map(|c| match c {
            '.' | ' ' | '-' => '_',
            c => c.to_ascii_lowercase(),
        })
        .collect()
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
        ] {
            assert_eq!(value(bad), QueryValue::NotOnce, "{bad}");
        }
        assert_eq!(query_value(None, "account_id"), QueryValue::NotOnce);
    }
}
