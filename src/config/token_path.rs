//! Where tokens are handed out: literal paths, and paths with `{account}`.

use crate::policy::CanonicalPath;

/// A path of the token endpoint, such as `/v1/token` or `/{account}/token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPath {
    template: String,
    /// `None` stands for `{account}`.
    segments: Vec<Option<String>>,
}

/// What a request path that mints tokens says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenPathMatch<'p> {
    /// The account named in the path, raw, which must be the client's own.
    pub account: Option<&'p str>,
}

impl TokenPath {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(template: &str) -> Result<Self, String> {
        let filled = template.replace("{account}", "a");
        if filled.contains(['{', '}']) {
            return Err("must be a path whose only placeholder is {account}".into());
        }
        CanonicalPath::parse(&filled).map_err(|fault| format!("is no usable path: {fault}"))?;
        let segments: Vec<_> = template
            .split('/')
            .skip(1)
            .map(|segment| (segment != "{account}").then(|| segment.to_owned()))
            .collect();
        if segments.iter().flatten().any(|segment| segment.contains('{')) {
            return Err("has {account} as a part of a segment; it must be a whole one".into());
        }
        if segments.iter().filter(|segment| segment.is_none()).count() > 1 {
            return Err("has {account} twice".into());
        }
        Ok(TokenPath { template: template.to_owned(), segments })
    }

    /// The template, as the configuration has it.
    pub fn template(&self) -> &str {
        &self.template
    }

    /// `None` if `path` is another path; else the account that it names, if
    /// the template asks for one.
    pub fn match_path<'p>(&self, path: &'p str) -> Option<Option<&'p str>> {
        let mut account = None;
        let mut theirs = path.strip_prefix('/')?.split('/');
        for mine in &self.segments {
            let segment = theirs.next()?;
            match mine {
                Some(literal) if literal == segment => {}
                None if !segment.is_empty() => account = Some(segment),
                _ => return None,
            }
        }
        theirs.next().is_none().then_some(account)
    }

    /// True if every path that matches the route template `other` matches this.
    pub(super) fn covers(&self, other: &str) -> bool {
        let mut theirs = other.split('/').skip(1);
        self.segments.iter().all(|mine| match (mine, theirs.next()) {
            (_, None) => false,
            (Some(literal), Some(segment)) => literal == segment,
            (None, Some(segment)) => !segment.is_empty() && !segment.starts_with("{*"),
        }) && theirs.next().is_none()
    }
}

/// All paths of the token endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenPaths(Vec<TokenPath>);

impl TokenPaths {
    pub(super) fn new(paths: Vec<TokenPath>) -> Self {
        TokenPaths(paths)
    }

    /// Finds the path for a request. A literal beats `{account}`, compared
    /// from the left, wherever the two stand in the file.
    pub fn find<'p>(&self, path: &'p str) -> Option<TokenPathMatch<'p>> {
        self.0
            .iter()
            .filter_map(|candidate| Some((candidate, candidate.match_path(path)?)))
            .min_by_key(|(candidate, _)| {
                candidate.segments.iter().map(Option::is_none).collect::<Vec<_>>()
            })
            .map(|(_, account)| TokenPathMatch { account })
    }

    /// The paths, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, TokenPath> {
        self.0.iter()
    }

    /// The first path without a placeholder, which metadata documents name.
    pub fn canonical(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|path| path.segments.iter().all(Option::is_some))
            .map(TokenPath::template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_literal_beats_an_account() {
        let paths = ["/{account}/token", "/v1/token", "/oauth2/token", "/x/{account}"];
        let paths = TokenPaths::new(paths.map(|path| TokenPath::parse(path).unwrap()).into());
        let found = |path| paths.find(path).map(|found| found.account);
        for (path, expected) in [
            ("/v1/token", Some(None)),
            ("/v2/token", Some(Some("v2"))),
            ("/x/token", Some(Some("token"))),
            ("//token", None),
            ("/token", None),
            ("/v1/token/", None),
            ("/a/b/token", None),
            ("v1/token", None),
            ("", None),
        ] {
            assert_eq!(found(path), expected, "{path}");
        }
        assert_eq!(paths.canonical(), Some("/v1/token"));
    }

    #[test]
    fn what_is_no_token_path() {
        for bad in
            ["", "token", "/a//b", "/{client}", "/x{account}", "/{account}/{account}", "/%41"]
        {
            assert!(TokenPath::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn covers_the_routes_that_it_would_swallow() {
        let path = TokenPath::parse("/{account}/token").unwrap();
        for (route, expected) in [
            ("/{x}/token", true),
            ("/v9/token", true),
            ("/{x}/{y}", false),
            ("/v9/token/x", false),
            ("/v9", false),
            ("/v9/{*rest}", false),
        ] {
            assert_eq!(path.covers(route), expected, "{route}");
        }
        assert!(!TokenPath::parse("/{account}").unwrap().covers("/{*rest}"));
    }
}
