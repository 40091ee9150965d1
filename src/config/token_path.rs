//! Where tokens are handed out: literal paths, and paths with `{account}`.

use crate::policy::CanonicalPath;

/// A path of the token endpoint, such as `/v1/token` or `/{account}/token`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPath {
    template: String,
    /// `None` stands for `{account}`.
    segments: Vec<Option<String>>,
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

    /// The paths, in the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, TokenPath> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
