//! Scopes: one right each (RFC 6749 section 3.3).

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{LONGEST_NAME, NameError};

/// One right, `resource.action`. Environments (`env:…`) and the wildcard `*`
/// look like scopes on the wire and are not: [`super::Grant`] keeps them apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    /// Takes a scope token of RFC 6749 (`%x21 / %x23-5B / %x5D-7E`), at most
    /// 128 characters, that is neither `*` nor begins with `env:` or `@`.
    ///
    /// # Errors
    /// What the text must be, when it is not.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError("not be empty"));
        }
        if text.len() > LONGEST_NAME {
            return Err(NameError("be at most 128 characters long"));
        }
        if !text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            return Err(NameError("be made of visible ASCII characters without '\"' and '\\'"));
        }
        if text == "*" || text.starts_with("env:") || text.starts_with('@') {
            return Err(NameError("name one right, not '*', 'env:…' or '@…'"));
        }
        Ok(Scope(text.into()))
    }

    /// The scope as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Borrow<str> for Scope {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A set of scopes, in alphabetical order.
pub type ScopeSet = BTreeSet<Scope>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar_of_rfc_6749() {
        for good in ["campaign.toggle", "a", "a:b", "https://x/y"] {
            assert!(Scope::new(good).is_ok(), "{good}");
        }
        for bad in ["", "*", "env:*", "env:1", "a b", "a\"b", "a\\b", "é", "@public", "a\n"] {
            assert!(Scope::new(bad).is_err(), "{bad}");
        }
    }
}
