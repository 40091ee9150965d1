//! The route table: compiled once, collecting every fault; looked up per request.
//!
//! A tree over path segments. A literal beats a placeholder, a placeholder
//! beats a rest, wherever the routes stand in the file, compared from the left.
//! The path alone picks the place; only then is the method asked for.

use std::collections::HashMap;
use std::sync::Arc;

use super::access::ScopeIndex;
use super::path::lenient_reading;
use super::route::{MethodRule, Piece, Route, RouteFault, RouteSpec};

/// All routes of a snapshot.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Arc<Route>>,
    by_host: HashMap<String, Tree>,
    any_host: Tree,
    pub(crate) scopes: ScopeIndex,
}

#[derive(Debug, Default)]
struct Tree(Vec<Node>);

#[derive(Debug, Default)]
struct Node {
    /// Sorted by name.
    literals: Vec<(String, usize)>,
    placeholder: Option<usize>,
    rest: Option<usize>,
    /// The routes that end here.
    ends: Vec<Arc<Route>>,
}

/// What a path and a method lead to.
#[derive(Debug)]
pub(crate) enum Lookup<'t> {
    Found(&'t Arc<Route>, &'t MethodRule),
    /// The methods that are listed, in alphabetical order.
    WrongMethod(&'t [Arc<Route>]),
    Nothing,
    /// A lenient upstream could take the path for that of another route.
    Ambiguous,
}

impl RouteTable {
    /// Compiles the routes of a configuration, in their order.
    ///
    /// # Errors
    /// Every fault there is, not only the first.
    pub fn compile(specs: Vec<RouteSpec>) -> Result<Self, Vec<RouteFault>> {
        let mut table = RouteTable::default();
        let mut faults = Vec::new();
        let mut names = HashMap::new();
        for (index, spec) in specs.into_iter().enumerate() {
            if let Some(first) = names.insert(spec.name.clone(), index) {
                let message = format!(
                    "{:?} is the name of route number {} too; names are unique",
                    spec.name,
                    first + 1
                );
                faults.push(RouteFault { route: index, key: "name", message });
            }
            let Some((route, pieces)) = Route::compile(spec, index, &mut table.scopes, &mut faults)
            else {
                continue;
            };
            let route = Arc::new(route);
            let tree = match &route.host {
                Some(host) => table.by_host.entry(host.clone()).or_default(),
                None => &mut table.any_host,
            };
            if let Err(message) = tree.insert(&pieces, &route) {
                faults.push(RouteFault { route: index, key: "path", message });
            }
            table.routes.push(route);
        }
        if faults.is_empty() { Ok(table) } else { Err(faults) }
    }

    /// The routes, in the order of the configuration.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }

    /// Finds the route for the segments of a path, then the rule for a method. Routes of the
    /// request's host come first; if one of them has the path, it is final.
    pub(crate) fn lookup(&self, host: Option<&str>, segments: &[&str], method: &str) -> Lookup<'_> {
        let own = host.and_then(|host| self.tree_of(host));
        let mut found = self.find(own, segments);
        if let Find::Ends(ends) = found
            && let Some(("", bare @ [_, ..])) =
                segments.split_last().map(|(last, bare)| (*last, bare))
            && !ends.iter().any(|route| route.template.ends_with('/'))
            && matches!(self.find(own, bare), Find::Ends(other) if !std::ptr::eq(ends, other))
        {
            found = Find::Ambiguous;
        }
        match found {
            Find::Nothing => Lookup::Nothing,
            Find::Ambiguous => Lookup::Ambiguous,
            Find::Ends(ends) => ends
                .iter()
                .find_map(|route| route.rule(method).map(|rule| Lookup::Found(route, rule)))
                .unwrap_or(Lookup::WrongMethod(ends)),
        }
    }

    fn find<'t>(&'t self, own: Option<&'t Tree>, segments: &[&str]) -> Find<'t> {
        match own.map(|tree| tree.find(segments)) {
            None | Some(Find::Nothing) => self.any_host.find(segments),
            Some(found) => found,
        }
    }

    /// The tree of a Host field: its port and letter case do not matter.
    fn tree_of(&self, host: &str) -> Option<&Tree> {
        if self.by_host.is_empty() {
            return None;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let name = name.trim_end_matches('.');
        let found = self.by_host.get(name);
        found.or_else(|| self.by_host.get(name.to_ascii_lowercase().as_str()))
    }
}

enum Find<'t> {
    Ends(&'t [Arc<Route>]),
    Nothing,
    Ambiguous,
}

impl Tree {
    fn insert(&mut self, pieces: &[Piece], route: &Arc<Route>) -> Result<(), String> {
        if self.0.is_empty() {
            self.0.push(Node::default());
        }
        let mut at = 0;
        for piece in pieces {
            at = self.step(at, piece);
        }
        let Some(end) = self.0.get_mut(at) else { return Ok(()) };
        let clash = end.ends.iter().find_map(|other| {
            let method = route.methods.iter().find(|(m, _)| other.rule(m).is_some());
            method.map(|(method, _)| (other, method))
        });
        if let Some((other, method)) = clash {
            return Err(format!(
                "matches the very paths of route {:?}, and both list {method}; \
                 nothing says which one counts, so change or remove one",
                other.name
            ));
        }
        end.ends.push(Arc::clone(route));
        Ok(())
    }

    fn step(&mut self, at: usize, piece: &Piece) -> usize {
        let next = self.0.len();
        let Some(node) = self.0.get_mut(at) else { return at };
        let there = match piece {
            Piece::Literal(name) => {
                match node.literals.binary_search_by(|(n, _)| n.as_str().cmp(name)) {
                    Ok(place) => node.literals.get(place).map_or(next, |(_, to)| *to),
                    Err(place) => {
                        node.literals.insert(place, (name.clone(), next));
                        next
                    }
                }
            }
            Piece::Placeholder(_) => *node.placeholder.get_or_insert(next),
            Piece::Rest => *node.rest.get_or_insert(next),
        };
        if there == next {
            self.0.push(Node::default());
        }
        there
    }

    fn find(&self, segments: &[&str]) -> Find<'_> {
        match self.0.first() {
            Some(root) => self.descend(root, segments),
            None => Find::Nothing,
        }
    }

    fn descend<'t>(&'t self, node: &'t Node, tail: &[&str]) -> Find<'t> {
        let Some((segment, rest)) = tail.split_first() else {
            return if node.ends.is_empty() { Find::Nothing } else { Find::Ends(&node.ends) };
        };
        if let Some(literal) = self.literal(node, segment) {
            match self.descend(literal, rest) {
                Find::Nothing => {}
                found => return found,
            }
        } else if !node.literals.is_empty()
            && lenient_reading(segment).is_some_and(|name| self.literal(node, &name).is_some())
        {
            return Find::Ambiguous;
        }
        if !segment.is_empty()
            && let Some(placeholder) = node.placeholder.and_then(|to| self.0.get(to))
        {
            match self.descend(placeholder, rest) {
                Find::Nothing => {}
                found => return found,
            }
        }
        match node.rest.and_then(|to| self.0.get(to)) {
            Some(end) if tail.iter().any(|segment| !segment.is_empty()) => {
                // What lies below is the upstream's own; it has no literals of ours.
                Find::Ends(&end.ends)
            }
            _ => Find::Nothing,
        }
    }

    fn literal(&self, node: &Node, segment: &str) -> Option<&Node> {
        let place = node.literals.binary_search_by(|(name, _)| name.as_str().cmp(segment)).ok()?;
        node.literals.get(place).and_then(|(_, to)| self.0.get(*to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{RouteName, UpstreamName};
    use crate::policy::{Access, CanonicalPath};

    fn spec(name: &str, path: &str, methods: &[&str]) -> RouteSpec {
        RouteSpec {
            name: RouteName::new(name).unwrap(),
            host: None,
            path: path.into(),
            upstream: UpstreamName::new("u").unwrap(),
            allow: methods
                .iter()
                .map(|m| ((*m).to_owned(), Access::parse("a.b").unwrap()))
                .collect(),
            any_account: !path.contains("{account}"),
            any_environment: !path.contains("{environment}"),
            account_query: None,
            environment_query: None,
            body_rules: Default::default(),
            body_bytes: None,
        }
    }

    fn table(routes: &[(&str, &str, &[&str])]) -> RouteTable {
        RouteTable::compile(routes.iter().map(|(n, p, m)| spec(n, p, m)).collect()).unwrap()
    }

    fn find(table: &RouteTable, host: Option<&str>, path: &str, method: &str) -> String {
        let path = CanonicalPath::parse(path).unwrap();
        match table.lookup(host, &path.segments().collect::<Vec<_>>(), method) {
            Lookup::Found(route, _) => route.name.to_string(),
            Lookup::WrongMethod(_) => "405".into(),
            Lookup::Nothing => "404".into(),
            Lookup::Ambiguous => "400".into(),
        }
    }

    #[test]
    fn a_literal_beats_a_placeholder_and_is_final() {
        let table = table(&[
            ("any", "/{account}/token", &["POST", "GET"]),
            ("literal", "/v1/token", &["POST"]),
            ("deep", "/v1/{x}/y", &["GET"]),
            ("rest", "/files/{*path}", &["GET"]),
            ("file", "/files/special", &["PUT"]),
        ]);
        for (path, method, expected) in [
            ("/v1/token", "POST", "literal"),
            ("/v1/token", "GET", "405"),
            ("/v2/token", "GET", "any"),
            ("/v1/token/y", "GET", "deep"),
            ("/v1/token/", "GET", "404"),
            ("/V1/token", "POST", "any"),
            ("/files/a/b", "GET", "rest"),
            ("/files/a", "HEAD", "rest"),
            ("/files/special", "GET", "405"),
            ("/files/special/x", "GET", "rest"),
            ("/files/", "GET", "404"),
            ("/files", "GET", "404"),
            ("/", "GET", "404"),
        ] {
            assert_eq!(find(&table, None, path, method), expected, "{method} {path}");
        }
    }

    #[test]
    fn what_a_lenient_upstream_takes_for_a_literal_is_refused() {
        let table =
            table(&[("clear", "/lib/clear", &["DELETE"]), ("item", "/lib/{id}", &["DELETE"])]);
        assert_eq!(find(&table, None, "/lib/clear;x=1", "DELETE"), "400");
        assert_eq!(find(&table, None, "/lib/other;x=1", "DELETE"), "item");
        assert_eq!(find(&table, None, "/lib/caf%C3%A9", "DELETE"), "item");
    }

    /// Many servers take `/lib/clear/` for `/lib/clear`.
    #[test]
    fn a_last_slash_leads_round_no_route() {
        let mut own = spec("own", "/own", &["GET"]);
        own.host = Some("h".into());
        let mut specs = vec![own];
        for (name, path) in [
            ("clear", "/lib/clear"),
            ("file", "/lib/{dir}/{file}"),
            ("rest", "/lib/{*rest}"),
            ("listed", "/both/{x}"),
            ("slashed", "/both/{x}/"),
            ("below", "/both/{*rest}"),
            ("all", "/{*rest}"),
        ] {
            specs.push(spec(name, path, &["GET"]));
        }
        let table = RouteTable::compile(specs).unwrap();
        for (path, expected) in [
            ("/lib/clear/", "400"),
            ("/lib/a/b/", "400"),
            ("/lib/other/", "rest"),
            ("/lib/a/b/c/", "rest"),
            ("/lib/", "all"),
            ("/both/1", "listed"),
            ("/both/1/", "slashed"),
            ("/both/1/2/", "below"),
            ("/own/", "400"),
            ("/", "404"),
        ] {
            assert_eq!(find(&table, Some("h"), path, "GET"), expected, "{path}");
        }
        assert_eq!(find(&table, Some("other"), "/own/", "GET"), "all");
    }

    #[test]
    fn hosts() {
        let mut own = spec("own", "/a", &["GET"]);
        own.host = Some("API.example.com".into());
        let table = RouteTable::compile(vec![
            own,
            spec("any", "/a", &["GET", "PUT"]),
            spec("b", "/b", &["GET"]),
        ])
        .unwrap();
        assert_eq!(find(&table, Some("api.Example.com:8443"), "/a", "GET"), "own");
        assert_eq!(find(&table, Some("api.example.com."), "/a", "GET"), "own");
        assert_eq!(find(&table, Some("api.example.com"), "/a", "PUT"), "405");
        assert_eq!(find(&table, Some("api.example.com"), "/b", "GET"), "b");
        assert_eq!(find(&table, Some("other"), "/a", "GET"), "any");
    }

    #[test]
    fn every_fault_at_once() {
        let mut unbound = spec("unbound", "/x", &["GET"]);
        unbound.any_account = false;
        let mut both = spec("both", "/{account}/x", &["GET"]);
        both.any_account = true;
        let faults = RouteTable::compile(vec![
            spec("one", "/a/{x}", &["GET"]),
            spec("one", "/b//c", &["get"]),
            spec("three", "/a/{y}", &["PUT", "GET"]),
            unbound,
            both,
            spec("rest", "/{*r}/x", &["GET"]),
            spec("none", "/y", &[]),
        ])
        .unwrap_err();
        let seen: Vec<(usize, &str)> = faults.iter().map(|f| (f.route, f.key)).collect();
        assert_eq!(
            seen,
            [
                (1, "name"),
                (1, "path"),
                (1, "allow"),
                (2, "path"),
                (3, "path"),
                (4, "account"),
                (5, "path"),
                (6, "allow")
            ]
        );
    }

    #[test]
    fn methods_of_one_path_may_stand_in_several_routes() {
        let table = table(&[("read", "/a/{x}", &["GET"]), ("write", "/a/{y}", &["PUT"])]);
        assert_eq!(find(&table, None, "/a/1", "HEAD"), "read");
        assert_eq!(find(&table, None, "/a/1", "PUT"), "write");
        assert_eq!(find(&table, None, "/a/1", "DELETE"), "405");
    }
}
