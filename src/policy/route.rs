//! A route: as the configuration says it, and compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::access::{Access, Needs, ScopeIndex};
use super::path::is_pchar;
use crate::domain::{RouteName, UpstreamName};

/// What the configuration says of one route, each value valid by itself.
#[derive(Clone, Debug)]
pub struct RouteSpec {
    /// Its name; unique.
    pub name: RouteName,
    /// The host it answers for; any if none.
    pub host: Option<String>,
    /// The path template.
    pub path: String,
    /// Where its requests go.
    pub upstream: UpstreamName,
    /// What each method takes.
    pub allow: BTreeMap<String, Access>,
    /// `account = "any"`.
    pub any_account: bool,
    /// `environment = "any"`.
    pub any_environment: bool,
    /// The query parameter that must equal the token's account.
    pub account_query: Option<String>,
    /// The query parameter that must be among the token's environments.
    pub environment_query: Option<String>,
    /// Rights that depend on the keys of a JSON body.
    pub body_rules: BTreeMap<String, Vec<BodyRule<Access>>>,
    /// The longest request body in bytes, 0 for no limit; the server's if none.
    pub body_bytes: Option<u64>,
}

/// A body made up of these top-level keys only takes this.
#[derive(Clone, Debug)]
pub struct BodyRule<A> {
    /// The keys.
    pub keys: BTreeSet<String>,
    /// What it takes.
    pub allow: A,
}

/// Something wrong with a route. The text completes "route.key: …".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteFault {
    /// Which of the specs, counted from 0.
    pub route: usize,
    /// The key it is about.
    pub key: &'static str,
    /// What is wrong and what to do.
    pub message: String,
}

/// A compiled route.
#[derive(Debug)]
pub struct Route {
    /// Its name.
    pub name: RouteName,
    /// The host it answers for.
    pub host: Option<String>,
    /// The path template.
    pub template: String,
    /// Where its requests go.
    pub upstream: UpstreamName,
    /// Its place among the routes of the snapshot.
    pub index: usize,
    /// The longest request body in bytes, 0 for no limit; the server's if none.
    pub body_bytes: Option<u64>,
    /// What each method takes, as the configuration says it.
    pub allow: BTreeMap<String, Access>,
    pub(crate) account: Binding,
    pub(crate) environment: Binding,
    pub(crate) methods: Vec<(String, MethodRule)>,
}

/// Where a request names its account or environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Binding {
    /// In this segment of the path, counted from 0.
    Segment(usize),
    /// In this query parameter.
    Query(String),
    /// Nowhere, and any will do.
    Any,
    /// Nowhere: only who may do it everywhere passes.
    Everywhere,
}

/// What one method of a route takes.
#[derive(Debug)]
pub(crate) struct MethodRule {
    pub(crate) access: Arc<Access>,
    pub(crate) needs: Needs,
    pub(crate) body_rules: Vec<BodyRule<(Arc<Access>, Needs)>>,
}

/// A piece of a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Literal(String),
    Placeholder(String),
    Rest,
}

/// Reads a path template: literals, `{name}`, and a last `{*rest}`.
pub(crate) fn parse_template(path: &str) -> Result<Vec<Piece>, String> {
    let segments = path.strip_prefix('/').ok_or("must begin with '/'")?;
    let count = segments.split('/').count();
    let mut seen = BTreeSet::new();
    let mut pieces = Vec::with_capacity(count);
    for (place, segment) in segments.split('/').enumerate() {
        let last = place + 1 == count;
        let inner = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        let piece = match inner {
            Some(name) => {
                let (rest, name) = match name.strip_prefix('*') {
                    Some(name) => (true, name),
                    None => (false, name),
                };
                let valid = !name.is_empty()
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
                if !valid {
                    return Err(format!(
                        "has {segment:?}: a placeholder is {{name}}, with letters, digits and '_'"
                    ));
                }
                if !seen.insert(name) {
                    return Err(format!("names {{{name}}} twice"));
                }
                if rest && !last {
                    return Err(format!("has {segment:?} before its end; it must be last"));
                }
                if rest { Piece::Rest } else { Piece::Placeholder(name.to_owned()) }
            }
            None if segment.is_empty() && !last => {
                return Err("has an empty segment ('//')".to_owned());
            }
            None => {
                let fits = |c: char| u8::try_from(c).is_ok_and(|b| is_pchar(b) && b != b';');
                if let Some(bad) = segment.chars().find(|c| !fits(*c)) {
                    return Err(format!(
                        "has {bad:?} in {segment:?}, which no request path can match"
                    ));
                }
                if segment == "." || segment == ".." {
                    return Err("has a dot segment, which no request path can match".to_owned());
                }
                Piece::Literal(segment.to_owned())
            }
        };
        pieces.push(piece);
    }
    Ok(pieces)
}

impl Route {
    /// Checks and compiles one route. All its faults are added to `faults`.
    pub(crate) fn compile(
        spec: RouteSpec,
        index: usize,
        scopes: &mut ScopeIndex,
        faults: &mut Vec<RouteFault>,
    ) -> Option<(Route, Vec<Piece>)> {
        let before = faults.len();
        let mut fault =
            |key, message: String| faults.push(RouteFault { route: index, key, message });
        let pieces = parse_template(&spec.path).unwrap_or_else(|message| {
            fault("path", message);
            Vec::new()
        });
        if spec.allow.is_empty() {
            fault(
                "allow",
                "lists no method, so nobody could use the route; list one or remove the route"
                    .into(),
            );
        }
        for method in spec.allow.keys().chain(spec.body_rules.keys()) {
            if let Err(message) = check_method(method) {
                fault("allow", message);
            }
        }
        let scoped = spec.allow.values().any(Access::is_scoped) || !spec.body_rules.is_empty();
        let account = bind(&pieces, "account", spec.account_query.as_deref(), spec.any_account)
            .unwrap_or_else(|(key, message)| {
                fault(key, message);
                Binding::Any
            });
        if scoped && account == Binding::Everywhere && !pieces.is_empty() {
            fault(
                "path",
                "asks for scopes but has no {account}; add it, bind a query parameter with \
                 bind_query = { account = \"…\" }, or say account = \"any\""
                    .into(),
            );
        }
        let environment =
            bind(&pieces, "environment", spec.environment_query.as_deref(), spec.any_environment)
                .unwrap_or_else(|(key, message)| {
                    fault(key, message);
                    Binding::Any
                });
        let public = spec.allow.values().any(|access| *access == Access::Public);
        let queried = spec.account_query.is_some() || spec.environment_query.is_some();
        if public && queried {
            fault(
                "bind_query",
                "binds nothing on a method that is \"@public\"; use two routes".into(),
            );
        }
        let mut methods = Vec::with_capacity(spec.allow.len());
        for (method, access) in &spec.allow {
            let mut body_rules = Vec::new();
            for rule in spec.body_rules.get(method).into_iter().flatten() {
                if rule.keys.is_empty() {
                    fault("body_rules", format!("{method}: a rule lists no keys"));
                }
                if !rule.allow.is_scoped() || !access.is_scoped() {
                    fault(
                        "body_rules",
                        format!("{method}: the rule and the method must both ask for scopes"),
                    );
                }
                let needs = Needs::compile(&rule.allow, scopes);
                let allow = (Arc::new(rule.allow.clone()), needs);
                body_rules.push(BodyRule { keys: rule.keys.clone(), allow });
            }
            let needs = Needs::compile(access, scopes);
            let access = Arc::new(access.clone());
            methods.push((method.clone(), MethodRule { access, needs, body_rules }));
        }
        for method in spec.body_rules.keys().filter(|method| !spec.allow.contains_key(*method)) {
            fault("body_rules", format!("has rules for {method}, which `allow` does not list"));
        }
        let route = Route {
            name: spec.name,
            host: spec.host.map(|host| host.to_ascii_lowercase()),
            template: spec.path,
            upstream: spec.upstream,
            index,
            body_bytes: spec.body_bytes,
            allow: spec.allow,
            account,
            environment,
            methods,
        };
        (faults.len() == before).then_some((route, pieces))
    }

    /// What `method` takes; HEAD follows GET (RFC 9110 section 9.3.2).
    pub(crate) fn rule(&self, method: &str) -> Option<&MethodRule> {
        let find = |name: &str| self.methods.iter().find(|(m, _)| m == name).map(|(_, rule)| rule);
        find(method).or_else(|| if method == "HEAD" { find("GET") } else { None })
    }
}

fn check_method(method: &str) -> Result<(), String> {
    if method.is_empty() || !method.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
        return Err(format!(
            "lists {method:?}; a method is written in capitals, such as \"PATCH\""
        ));
    }
    match method {
        "CONNECT" => Err("lists CONNECT, which is never proxied; remove it".into()),
        "HEAD" => Err("lists HEAD, which follows GET; remove it".into()),
        _ => Ok(()),
    }
}

fn bind(
    pieces: &[Piece],
    name: &'static str,
    query: Option<&str>,
    any: bool,
) -> Result<Binding, (&'static str, String)> {
    let segment =
        pieces.iter().position(|piece| matches!(piece, Piece::Placeholder(n) if n == name));
    match (segment, query, any) {
        (Some(place), None, false) => Ok(Binding::Segment(place)),
        (None, Some(""), false) => Err(("bind_query", format!("{name}: names no parameter"))),
        (None, Some(query), false) => Ok(Binding::Query(query.to_owned())),
        (None, None, true) => Ok(Binding::Any),
        (None, None, false) => Ok(Binding::Everywhere),
        (Some(_), _, true) => Err((
            name,
            format!(
                "is \"any\", but the path has {{{name}}}, which is bound; rename the placeholder"
            ),
        )),
        (Some(_), Some(_), false) => Err((
            "bind_query",
            format!("{name}: the path has {{{name}}} already; keep one of the two"),
        )),
        (None, Some(_), true) => {
            Err((name, "is \"any\" and bound in the query; keep one of the two".into()))
        }
    }
}
