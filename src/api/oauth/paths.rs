//! From a path to an endpoint: literal paths first, then those with `{account}`.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::OauthPaths;
use crate::policy::CanonicalPath;

pub(super) const INTROSPECT: &str = "/oauth2/introspect";
pub(super) const REVOKE: &str = "/oauth2/revoke";
pub(super) const JWKS: &str = "/.well-known/jwks.json";
const SERVER: &str = "/.well-known/oauth-authorization-server";
const RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// Where the gateway describes itself as a protected resource, for clients that
/// were refused (RFC 9728 section 5.1). An issuer's path stands behind the well-known
/// part (section 3.1), not before it.
pub fn resource_metadata(issuer: &str, paths: &OauthPaths) -> String {
    let base = issuer.trim_end_matches('/');
    let (origin, path) = match base.strip_suffix(&paths.issuer) {
        Some(origin) => (origin, paths.issuer.as_str()),
        None => (base, ""),
    };
    format!("{origin}{RESOURCE}{path}")
}

/// One of our endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Token,
    TokenInfo,
    Introspect,
    /// RFC 7009.
    Revoke,
    Jwks,
    /// RFC 8414.
    Server,
    /// RFC 9728.
    Resource,
}

impl Endpoint {
    pub(super) fn name(self) -> &'static str {
        match self {
            Endpoint::Token => "oauth.token",
            Endpoint::TokenInfo => "oauth.token_info",
            Endpoint::Introspect => "oauth.introspect",
            Endpoint::Revoke => "oauth.revoke",
            Endpoint::Jwks => "oauth.jwks",
            Endpoint::Server | Endpoint::Resource => "oauth.metadata",
        }
    }

    /// The methods that it takes (RFC 9110 section 10.2.1).
    pub(super) fn allow(self) -> &'static str {
        match self {
            Endpoint::Token | Endpoint::Introspect | Endpoint::Revoke => "POST",
            _ => "GET, HEAD",
        }
    }
}

/// An endpoint, and the account that the path names.
pub(super) struct Found<'p> {
    pub(super) endpoint: Endpoint,
    pub(super) account: Option<&'p str>,
}

/// Segments, `None` for `{account}`.
type Template = Vec<Option<String>>;

pub(super) struct PathTable {
    literals: HashMap<String, Endpoint, RandomState>,
    /// Those whose literals stand further left come first.
    templates: Vec<(Template, Endpoint)>,
}

impl PathTable {
    pub(super) fn new(paths: &OauthPaths) -> Self {
        let mut table = PathTable { literals: HashMap::default(), templates: Vec::new() };
        for path in &paths.token {
            table.add(path, Endpoint::Token);
        }
        if let Some(path) = &paths.info {
            table.add(path, Endpoint::TokenInfo);
        }
        table.templates.sort_by_key(|(template, _)| {
            template.iter().map(Option::is_none).collect::<Vec<bool>>()
        });
        for (path, endpoint) in [
            (INTROSPECT, Endpoint::Introspect),
            (REVOKE, Endpoint::Revoke),
            (JWKS, Endpoint::Jwks),
            (SERVER, Endpoint::Server),
            (RESOURCE, Endpoint::Resource),
        ] {
            table.literals.insert(path.to_owned(), endpoint);
        }
        // Also where clients look that go by the issuer (RFC 8414 and 9728, section 3.1).
        for (path, endpoint) in [(SERVER, Endpoint::Server), (RESOURCE, Endpoint::Resource)] {
            table.literals.insert(format!("{path}{}", paths.issuer), endpoint);
        }
        table
    }

    fn add(&mut self, path: &str, endpoint: Endpoint) {
        if !is_template(path) {
            self.literals.insert(path.to_owned(), endpoint);
            return;
        }
        let piece = |segment: &str| (segment != "{account}").then(|| segment.to_owned());
        self.templates.push((path.split('/').map(piece).collect(), endpoint));
    }

    /// The first token path that is the same for all accounts.
    pub(super) fn published_token_path(&self, paths: &OauthPaths) -> Option<String> {
        paths.token.iter().find(|path| !is_template(path)).cloned()
    }

    pub(super) fn find<'p>(&self, path: &'p str) -> Option<Found<'p>> {
        if let Some(endpoint) = self.literals.get(path) {
            return Some(Found { endpoint: *endpoint, account: None });
        }
        let found = self.templates.iter().find_map(|(template, endpoint)| {
            matching(template, path).map(|account| Found { endpoint: *endpoint, account })
        })?;
        // What could be read in two ways is not ours: it is refused further on.
        CanonicalPath::parse(path).is_ok().then_some(found)
    }
}

fn is_template(path: &str) -> bool {
    path.split('/').any(|segment| segment == "{account}")
}

/// Whether a path fits, and the account in it. Two that differ fit nothing.
fn matching<'p>(template: &Template, path: &'p str) -> Option<Option<&'p str>> {
    // Asked of every request: nearly all of them end otherwise.
    if let Some(Some(last)) = template.last()
        && !path.ends_with(last.as_str())
    {
        return None;
    }
    let mut account = None;
    let mut segments = path.split('/');
    for piece in template {
        let segment = segments.next()?;
        let fits = match piece {
            Some(literal) => literal == segment,
            None => !segment.is_empty() && *account.get_or_insert(segment) == segment,
        };
        if !fits {
            return None;
        }
    }
    segments.next().is_none().then_some(account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_beats_the_account() {
        let paths = OauthPaths {
            token: ["/oauth2/token", "/v1/token", "/{account}/token", "/{account}/v2/token"]
                .map(str::to_owned)
                .to_vec(),
            info: Some("/token".into()),
            issuer: "/auth/a".into(),
        };
        let table = PathTable::new(&paths);
        let name = super::super::endpoints(&paths);
        for (path, endpoint, account) in [
            ("/oauth2/token", "oauth.token", None),
            ("/v1/token", "oauth.token", None),
            ("/v2/token", "oauth.token", Some("v2")),
            ("/acme/token", "oauth.token", Some("acme")),
            ("/acme;x/token", "oauth.token", Some("acme;x")),
            ("/acme/v2/token", "oauth.token", Some("acme")),
            ("/token", "oauth.token_info", None),
            ("/oauth2/introspect", "oauth.introspect", None),
            ("/.well-known/jwks.json", "oauth.jwks", None),
            ("/.well-known/oauth-authorization-server", "oauth.metadata", None),
            ("/.well-known/oauth-protected-resource", "oauth.metadata", None),
            ("/.well-known/oauth-protected-resource/auth/a", "oauth.metadata", None),
            ("/.well-known/oauth-authorization-server/auth/a", "oauth.metadata", None),
        ] {
            let found = table.find(path).unwrap();
            assert_eq!((found.endpoint.name(), found.account), (endpoint, account), "{path}");
            assert_eq!(name(path), Some(endpoint));
        }
        for path in [
            "",
            "/",
            "//token",
            "///token",
            "/token/",
            "/acme/token/",
            "/acme//token",
            "/acme/TOKEN",
            "/../token",
            "/./token",
            "/..;/token",
            "/%61cme/token",
            "/a%2fb/token",
            "/acme\\x/token",
            "acme/token",
            "/acme/x/token",
            "/acme/oauth2/token",
            "/.well-known/jwks.json/",
            "/.well-known/jwks.json/auth/a",
            "/.well-known/oauth-protected-resource/auth",
            "/.well-known/oauth-protected-resource/auth/a/",
        ] {
            assert!(table.find(path).is_none(), "{path}");
            assert_eq!(name(path), None);
        }
    }

    #[test]
    fn the_issuers_path_stands_behind_the_well_known_part() {
        for (issuer, path, expected) in [
            ("http://h:1", "", "http://h:1/.well-known/oauth-protected-resource"),
            ("http://h:1/", "", "http://h:1/.well-known/oauth-protected-resource"),
            ("http://h/auth", "/auth", "http://h/.well-known/oauth-protected-resource/auth"),
            ("http://h/auth/b/", "/auth/b", "http://h/.well-known/oauth-protected-resource/auth/b"),
        ] {
            let paths = OauthPaths { issuer: path.into(), ..OauthPaths::default() };
            assert_eq!(resource_metadata(issuer, &paths), expected);
        }
    }

    #[test]
    fn the_account_of_two_segments_is_one() {
        let paths = OauthPaths {
            token: vec!["/{account}/{account}".into(), "/a/{account}".into()],
            info: None,
            issuer: String::new(),
        };
        let table = PathTable::new(&paths);
        assert_eq!(table.find("/x/x").unwrap().account, Some("x"));
        assert!(table.find("/x/y").is_none());
        assert_eq!(table.find("/a/b").unwrap().account, Some("b"));
    }
}
