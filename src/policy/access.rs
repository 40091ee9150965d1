//! What a method of a route takes, and scopes as bits.

use std::collections::HashMap;

use smallvec::SmallVec;

use crate::domain::{NameError, Scope, ScopeSet};
use crate::token::block;

/// What the configuration says a method takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody, without a token: `"@public"`.
    Public,
    /// Any live token: `"@authenticated"`.
    Authenticated,
    /// One of these scopes; never empty.
    AnyOf(ScopeSet),
    /// Each of these scopes; never empty.
    AllOf(ScopeSet),
}

impl Access {
    /// Reads one word of the configuration: a scope, `@authenticated` or `@public`.
    ///
    /// # Errors
    /// What the word must be, when it is not.
    pub fn parse(word: &str) -> Result<Self, NameError> {
        match word {
            "@public" => Ok(Access::Public),
            "@authenticated" => Ok(Access::Authenticated),
            _ if word.starts_with('@') => {
                Err(NameError("be a scope, \"@authenticated\" or \"@public\""))
            }
            _ => Ok(Access::AnyOf(ScopeSet::from([Scope::new(word)?]))),
        }
    }

    /// True if it asks for scopes.
    pub fn is_scoped(&self) -> bool {
        matches!(self, Access::AnyOf(_) | Access::AllOf(_))
    }

    /// Whether these scopes suffice, word by word. Deny is the default: an empty
    /// need is never met.
    pub(super) fn met_by(&self, held: &ScopeSet) -> bool {
        match self {
            Access::Public | Access::Authenticated => true,
            Access::AnyOf(wanted) => wanted.iter().any(|scope| held.contains(scope)),
            Access::AllOf(wanted) => !wanted.is_empty() && wanted.is_subset(held),
        }
    }

    /// The scopes it names.
    pub fn scopes(&self) -> Option<&ScopeSet> {
        match self {
            Access::AnyOf(scopes) | Access::AllOf(scopes) => Some(scopes),
            Access::Public | Access::Authenticated => None,
        }
    }
}

/// The scopes that some route asks for, numbered.
#[derive(Debug, Default)]
pub(crate) struct ScopeIndex(HashMap<Scope, usize>);

impl ScopeIndex {
    /// The number of a scope, given now if it has none.
    pub(crate) fn intern(&mut self, scope: &Scope) -> usize {
        let next = self.0.len();
        *self.0.entry(scope.clone()).or_insert(next)
    }

    /// Whether some route asks for it.
    pub(crate) fn has(&self, scope: &Scope) -> bool {
        self.0.contains_key(scope)
    }

    /// The scopes as bits. One that no route asks for has no bit.
    pub(crate) fn bits<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) -> ScopeBits {
        let mut bits = ScopeBits::default();
        for number in scopes.into_iter().filter_map(|scope| self.0.get(scope)) {
            bits.set(*number);
        }
        bits
    }
}

/// A set of numbered scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScopeBits(SmallVec<[u64; 4]>);

impl ScopeBits {
    pub(crate) fn set(&mut self, number: usize) {
        let (word, bit) = (number / 64, number % 64);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << bit;
        }
    }

    /// True if every scope of `other` is in `self`.
    pub(crate) fn contains_all(&self, other: &ScopeBits) -> bool {
        let mine = self.0.iter().chain(std::iter::repeat(&0));
        other.0.iter().zip(mine).all(|(theirs, mine)| theirs & !mine == 0)
    }

    /// True if some scope of `other` is in `self`.
    pub(crate) fn contains_any(&self, other: &ScopeBits) -> bool {
        self.0.iter().zip(&other.0).any(|(mine, theirs)| mine & theirs != 0)
    }

    /// What it takes besides its own place.
    pub(crate) fn bytes_aside(&self) -> usize {
        if self.0.spilled() { block(self.0.capacity() * size_of::<u64>()) } else { 0 }
    }

    /// What is in both.
    pub(crate) fn and(&self, other: &ScopeBits) -> ScopeBits {
        ScopeBits(self.0.iter().zip(&other.0).map(|(a, b)| a & b).collect())
    }

    /// What is in either.
    pub(crate) fn or(&self, other: &ScopeBits) -> ScopeBits {
        let mut both = self.clone();
        if both.0.len() < other.0.len() {
            both.0.resize(other.0.len(), 0);
        }
        both.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
        both
    }
}

/// What a method takes, compiled.
#[derive(Clone, Debug)]
pub(crate) enum Needs {
    Public,
    Authenticated,
    AnyOf(ScopeBits),
    AllOf(ScopeBits),
}

impl Needs {
    pub(crate) fn compile(access: &Access, index: &mut ScopeIndex) -> Self {
        let mut bits = |scopes: &ScopeSet| {
            let mut bits = ScopeBits::default();
            scopes.iter().for_each(|scope| bits.set(index.intern(scope)));
            bits
        };
        match access {
            Access::Public => Needs::Public,
            Access::Authenticated => Needs::Authenticated,
            Access::AnyOf(scopes) => Needs::AnyOf(bits(scopes)),
            Access::AllOf(scopes) => Needs::AllOf(bits(scopes)),
        }
    }

    /// True if some scope of `bits` is among those it asks for.
    pub(crate) fn names_any(&self, bits: &ScopeBits) -> bool {
        match self {
            Needs::Public | Needs::Authenticated => false,
            Needs::AnyOf(wanted) | Needs::AllOf(wanted) => wanted.contains_any(bits),
        }
    }

    /// True if `held` suffices. Deny is the default: an empty need is never met.
    pub(crate) fn met_by(&self, held: &ScopeBits) -> bool {
        match self {
            Needs::Public | Needs::Authenticated => true,
            Needs::AnyOf(wanted) => held.contains_any(wanted),
            Needs::AllOf(wanted) => *wanted != ScopeBits::default() && held.contains_all(wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(words: &[&str]) -> ScopeSet {
        words.iter().map(|word| Scope::new(word).unwrap()).collect()
    }

    #[test]
    fn any_and_all() {
        let mut index = ScopeIndex::default();
        let any = Needs::compile(&Access::AnyOf(set(&["a", "b"])), &mut index);
        let all = Needs::compile(&Access::AllOf(set(&["a", "b"])), &mut index);
        let one = index.bits(&set(&["b", "unknown"]));
        let both = index.bits(&set(&["a", "b"]));
        assert!(any.met_by(&one) && !all.met_by(&one));
        assert!(any.met_by(&both) && all.met_by(&both));
        assert!(!any.met_by(&ScopeBits::default()) && !all.met_by(&ScopeBits::default()));
        assert!(!Needs::AllOf(ScopeBits::default()).met_by(&both), "deny is the default");
        assert!(!Needs::AnyOf(ScopeBits::default()).met_by(&both));
    }

    #[test]
    fn bits_beyond_one_word() {
        let mut index = ScopeIndex::default();
        let names: Vec<Scope> = (0..300).map(|n| Scope::new(&format!("s{n}")).unwrap()).collect();
        names.iter().for_each(|name| {
            index.intern(name);
        });
        let last = index.bits(names.last());
        let first = index.bits(names.first());
        assert!(!first.contains_all(&last) && !last.contains_all(&first));
        assert!(first.or(&last).contains_all(&last) && last.or(&first).contains_all(&first));
        assert!(first.or(&last).and(&last).contains_all(&last));
        assert!(!first.contains_any(&last));
    }

    #[test]
    fn words() {
        assert_eq!(Access::parse("@public"), Ok(Access::Public));
        assert_eq!(Access::parse("a.b"), Ok(Access::AnyOf(set(&["a.b"]))));
        assert!(Access::parse("@pubic").is_err());
        assert!(Access::parse("").is_err());
    }
}
