//! `[[route]]`: read one by one, then compiled together.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use super::read::{Section, closest};
use super::server::body_bytes;
use super::token_path::TokenPath;
use super::upstream::is_host_name;
use super::value::Value;
use crate::domain::{RouteName, Scope, ScopeSet, UpstreamName};
use crate::policy::{Access, BodyRule, RouteSpec, RouteTable};

/// The routes, and what they make use of.
pub(super) struct Routes {
    pub(super) table: RouteTable,
    pub(super) scopes: ScopeSet,
    pub(super) upstreams: BTreeSet<UpstreamName>,
}

/// Reads and compiles all of them. What the compiler says of a key that has a
/// fault already is dropped: it saw something else in its stead.
pub(super) fn routes(
    root: &Section<'_>,
    upstreams: &HashSet<&str>,
    reserved: &[TokenPath],
) -> Routes {
    let mut count = 0;
    let read = root.tables("route", "name", |section| {
        count += 1;
        let before = section.reader.faults.borrow().len();
        let spec = route(section, count, upstreams, reserved);
        let faults = section.reader.faults.borrow();
        let faulty: Vec<String> = faults.iter().skip(before).map(|f| f.key.clone()).collect();
        (spec, faulty)
    });
    if read.is_empty() {
        let message = "there is none: every request but those of the token endpoints gets a 404";
        root.reader.warn(&root.place_of("route"), message);
    }
    let (mut specs, mut places) = (Vec::new(), Vec::new());
    for (section, (spec, faulty)) in read {
        let Some(spec) = spec else { continue };
        specs.push(spec);
        places.push((section, faulty));
    }
    let rules = |spec: &RouteSpec| -> Vec<Access> {
        let rules = spec.body_rules.values().flatten().map(|rule| rule.allow.clone());
        spec.allow.values().cloned().chain(rules).collect()
    };
    let scopes = specs
        .iter()
        .flat_map(rules)
        .filter_map(|access| access.scopes().cloned())
        .flatten()
        .collect();
    let upstreams = specs.iter().map(|spec| spec.upstream.clone()).collect();
    let table = RouteTable::compile(specs).unwrap_or_else(|faults| {
        for fault in faults {
            let Some((section, faulty)) = places.get(fault.route) else { continue };
            let place = section.place_of(fault.key);
            if !faulty.contains(&place.key) {
                section.reader.fault(&place, fault.message);
            }
        }
        RouteTable::default()
    });
    Routes { table, scopes, upstreams }
}

/// One route. What has a fault is stood in for by what hides no other fault
/// and makes none up.
fn route(
    section: &Section<'_>,
    number: usize,
    upstreams: &HashSet<&str>,
    reserved: &[TokenPath],
) -> Option<RouteSpec> {
    let name = section.need("name", "\"campaigns\"", |value| value.name(RouteName::new));
    let host = section.get("host", host);
    let path = section.need("path", "\"/v1/accounts/{account}/campaigns\"", |value| {
        let path = value.text()?;
        if let Some(own) = reserved.iter().find(|own| own.covers(&path)) {
            return value.fault(format!(
                "leads to what the gateway answers itself ({}) and never proxies; change it",
                own.template()
            ));
        }
        warn_of_other_placeholders(value, &path);
        Some(path)
    });
    let upstream = section.need("upstream", "\"legacy\"", |value| {
        let name = value.name(UpstreamName::new)?;
        if !upstreams.contains(name.as_str()) {
            return value.wrong("must be the name of an [[upstream]]");
        }
        Some(name)
    });
    let allow = section.need("allow", "{ GET = \"campaign.list\" }", |value| {
        by_method(value, |value| access(value).unwrap_or_else(|| stand_in(value)))
    });
    let any =
        |key| section.value(key).is_some_and(|value| value.word(&[("any", true)]).unwrap_or(true));
    let (any_account, any_environment) = (any("account"), any("environment"));
    let (account_query, environment_query) = match section.value("bind_query") {
        None => (None, None),
        Some(value) => {
            let bound = value.table(|section| {
                let bound = |key| {
                    section
                        .value(key)
                        .map(|v: Value<'_>| parameter(&v).unwrap_or_else(|| key.into()))
                };
                (bound("account"), bound("environment"))
            });
            bound.unwrap_or_else(|| (Some("account".into()), Some("environment".into())))
        }
    };
    let body_rules = section.get("body_rules", |value| by_method(value, body_rules));
    Some(RouteSpec {
        name: name.or_else(|| RouteName::new(&format!("no.name.{number}")).ok())?,
        host,
        path: path.unwrap_or_default(),
        upstream: upstream.or_else(|| UpstreamName::new("no.name").ok())?,
        allow: allow.unwrap_or_default(),
        any_account,
        any_environment,
        account_query,
        environment_query,
        body_rules: body_rules.unwrap_or_default(),
        body_bytes: section.get("body_bytes", body_bytes),
    })
}

fn by_method<T>(value: &Value<'_>, read: impl Fn(&Value<'_>) -> T) -> Option<BTreeMap<String, T>> {
    value.table(|methods| {
        let entry = |(method, value): (&str, Value<'_>)| {
            if let Some(near) = misspelt(method) {
                let message = format!("is no method that is registered; did you mean {near:?}?");
                value.reader.warn(&value.place, message);
            }
            (method.to_owned(), read(&value))
        };
        methods.entries().map(entry).collect()
    })
}

/// The methods of RFC 9110 and 5789 that are proxied.
const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// The method that was likely meant. There are others than these, but hardly any like them.
fn misspelt(method: &str) -> Option<&'static str> {
    if METHODS.contains(&method) { None } else { closest(method, METHODS.into_iter()) }
}

/// What other routers write for a placeholder is a literal here.
fn warn_of_other_placeholders(value: &Value<'_>, path: &str) {
    for segment in path.split('/') {
        let meant = match (segment.strip_prefix(':'), segment.strip_prefix('*')) {
            (Some(name), _) if !name.is_empty() => format!("{{{name}}}"),
            (_, Some("")) => "{*rest}".to_owned(),
            (_, Some(name)) => format!("{{*{name}}}"),
            _ => continue,
        };
        let message =
            format!("has {segment:?}, which only itself matches; did you mean {meant:?}?");
        value.reader.warn(&value.place, message);
    }
}

/// `"a"`, `["a", "b"]`, `{ all = ["a", "b"] }`, `"@authenticated"`, `"@public"`.
fn access(value: &Value<'_>) -> Option<Access> {
    if value.is_string() {
        return value.name(Access::parse);
    }
    if value.is_array() {
        return scopes(value).map(Access::AnyOf);
    }
    if value.is_table() {
        return value.table(|section| {
            section.need("all", "[\"campaign.list\", \"campaign.read\"]", scopes).map(Access::AllOf)
        })?;
    }
    value.fault(
        "must be a scope, an array of scopes (any of them), { all = […] }, \"@authenticated\" or \
         \"@public\"",
    )
}

/// What a value with a fault was likely meant to be: with scopes or without.
fn stand_in(value: &Value<'_>) -> Access {
    match value.raw() {
        Some(raw) if raw.starts_with('@') => Access::Authenticated,
        _ => Access::AnyOf(ScopeSet::new()),
    }
}

fn scopes(value: &Value<'_>) -> Option<ScopeSet> {
    value.some("scopes", |scope| scope.name(Scope::new)).map(ScopeSet::from_iter)
}

/// `[{ keys = ["status"], allow = "campaign.toggle" }]`.
fn body_rules(value: &Value<'_>) -> Vec<BodyRule<Access>> {
    let before = RefCell::new(HashSet::new());
    let rules = value.some("{ keys, allow }", |rule| {
        rule.table(|section| {
            let keys = section.need("keys", "[\"status\"]", |value| {
                let keys: BTreeSet<String> = value.some("keys", Value::text)?.into_iter().collect();
                if !before.borrow_mut().insert(keys.clone()) {
                    return value.fault("are those of a rule before this one; keep one of the two");
                }
                Some(keys)
            });
            let allow = section.need("allow", "\"campaign.toggle\"", access);
            Some(BodyRule { keys: keys?, allow: allow? })
        })?
    });
    rules.unwrap_or_default()
}

/// A host as the Host field has it, without its port.
fn host(value: &Value<'_>) -> Option<String> {
    let must = "must be a host such as \"api.example.com\", without a port";
    value.parsed(must, |text| {
        let v6 = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let valid = is_host_name(text)
            || text.parse::<Ipv4Addr>().is_ok()
            || v6.is_some_and(|text| text.parse::<Ipv6Addr>().is_ok());
        valid.then(|| text.to_owned())
    })
}

/// The name of a query parameter, as it stands in the query.
fn parameter(value: &Value<'_>) -> Option<String> {
    value.parsed(
        "must be the name of a query parameter, in letters, digits, '-', '_', '.'",
        |text| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            (!text.is_empty() && text.bytes().all(plain)).then(|| text.to_owned())
        },
    )
}
