//! A bound parameter that is accepted has one value in every server's eyes.

use proptest::prelude::*;

use crate::policy::request::{QueryValue, query_value};

const NAME: &str = "account_id";

fn decode(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_encoding::percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

/// Key and value of each pair, decoded.
fn pairs(query: &str, separators: &[char]) -> Vec<(String, String)> {
    let split = |pair: &str| match pair.split_once('=') {
        Some((key, value)) => (decode(key), decode(value)),
        None => (decode(pair), String::new()),
    };
    query.split(separators).map(split).collect()
}

/// PHP: leading spaces go, `.`, ` ` and an unclosed `[` are `_`, a NUL ends it,
/// `[…]` makes a list.
fn php(key: &str) -> String {
    let key = key.trim_start_matches(' ').split('\0').next().unwrap();
    let stem = match key.find('[').filter(|at| *at > 0) {
        Some(at) if key[at..].contains(']') => &key[..at],
        _ => key,
    };
    stem.replace(['.', ' ', '['], "_")
}

/// Rack 2: brackets before the name are skipped, the name ends at the next.
fn rack(key: &str) -> String {
    key.trim_start_matches(['[', ']']).split(['[', ']']).next().unwrap().to_owned()
}

/// ASP.NET: whatever the case.
fn asp(key: &str) -> String {
    key.to_lowercase()
}

/// Servlets and most others: as it stands.
fn plain(key: &str) -> String {
    key.to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn an_accepted_parameter_has_one_value_for_everybody(
        tail in prop::collection::vec(
            prop::sample::select(vec![
                "&", "&", "&", ";", "=", "=8", "=8", "account_id", "account_id", "ACCOUNT_ID",
                "account", "_id", "id", "[", "]", "[]", "%5B", "%5d", ".", "+", "%20", "%00", "%5F",
                "x", "7", "?", "%255f",
            ]),
            0..8,
        ),
        front in any::<bool>(),
    ) {
        let tail = tail.concat();
        let query = if front { format!("account_id=7&{tail}") } else { format!("{tail}&account_id=7") };
        if let QueryValue::Once(value) = query_value(Some(&query), NAME) {
            for (server, reads) in
                [("php", php as fn(&str) -> String), ("rack", rack), ("asp", asp), ("plain", plain)]
            {
                for separators in [&['&'][..], &['&', ';']] {
                    let mut found = pairs(&query, separators);
                    found.retain(|(key, _)| reads(key) == NAME);
                    let values: Vec<&str> = found.iter().map(|(_, value)| value.as_str()).collect();
                    if separators.len() == 1 || !value.contains(';') {
                        prop_assert_eq!(&values, &[value.as_str()], "{} of {}", server, query);
                    }
                }
            }
        }
    }
}
