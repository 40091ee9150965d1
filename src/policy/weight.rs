//! What a principal takes in memory, for the bound on those that are remembered.
//!
//! Reckoned block by block, as its parts are laid out; a test fills the cache and compares
//! with what the process takes. What principals share (standings, role ids, keys) is not
//! counted here.

use std::collections::BTreeSet;

use super::snapshot::{ArmedRole, Inner, Principal};
use crate::domain::Environments;
use crate::token::block;

/// Two counters before what an `Arc` holds.
const COUNTERS: usize = 2 * size_of::<usize>();

/// What the copies of a header value share once it was sent: a pointer, a length, a counter.
const SHARED: usize = 3 * size_of::<usize>();

/// A node of a B-tree of texts: 11 of them, a parent and its place there; an inner one has
/// 12 children besides. One that was filled in order has 7 to a node.
const LEAF: usize = 11 * size_of::<&str>() + 2 * size_of::<usize>();
const INNER: usize = LEAF + 12 * size_of::<usize>();
const FULL: usize = 11;
const FILLED: usize = 7;

impl Principal {
    /// How many bytes it takes, to within a tenth.
    pub(super) fn bytes(&self) -> usize {
        let Inner { token, grant, scope_text, armed, held, dormant, identity, .. } = &*self.0;
        let texts = token.scopes().iter().map(|scope| shared(scope.as_str())).sum::<usize>();
        // The grant has the same texts, in sets of its own.
        let sets = tree(token.scopes()) + tree(&grant.scopes);
        let environments = match token.environments() {
            Environments::All => 0,
            Environments::Only(ids) => ids.iter().map(|id| shared(id.as_str())).sum(),
        };
        let environment_sets =
            [token.environments(), &grant.environments].map(|these| match these {
                Environments::All => 0,
                Environments::Only(ids) => tree(ids),
            });
        let told = identity.iter().flat_map(|told| {
            [&told.client_id, &told.account, &told.scope, &told.jti]
                .map(|value| block(value.len()) + block(SHARED))
        });
        let bits = armed.iter().map(|role| &role.bits).chain([held, dormant]);
        block(COUNTERS + size_of::<Inner>())
            + texts
            + sets
            + environments
            + environment_sets.into_iter().sum::<usize>()
            + shared(token.account().as_str())
            + block(scope_text.len())
            + told.sum::<usize>()
            + block(armed.capacity() * size_of::<ArmedRole>())
            + bits.map(super::access::ScopeBits::bytes_aside).sum::<usize>()
    }
}

/// An `Arc<str>`.
fn shared(text: &str) -> usize {
    block(COUNTERS + text.len())
}

fn tree<T>(set: &BTreeSet<T>) -> usize {
    if set.is_empty() {
        return 0;
    }
    let more = set.len().saturating_sub(FULL).div_ceil(FILLED);
    let inner = if more == 0 { 0 } else { 1 + more.saturating_sub(FULL).div_ceil(FILLED) };
    (1 + more) * block(LEAF) + inner * block(INNER)
}
