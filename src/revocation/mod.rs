//! What is dead, in memory: exact, asked on every request, after any cache.
//!
//! [`RevocationSet`] answers whether a verified token still counts;
//! [`Streams`] knows what is under way, so that a revocation can cut it.
//! Both are fed by committed changes only and never touch the store.

mod filter;
mod gathered;
mod set;
mod standing;
mod streams;
#[cfg(test)]
mod tests;
mod tokens;

pub use gathered::Gathered;
pub(crate) use set::ById;
pub use set::RevocationSet;
pub use standing::{Refusal, Standing, StandingState};
pub use streams::{CutReason, CutSlot, Live, Stake, StreamGuard, Streams};
