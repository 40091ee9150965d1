//! What is dead, in memory: exact, asked on every request, after any cache.
//!
//! [`RevocationSet`] answers whether a verified token still counts;
//! [`Streams`] knows what is under way, so that a revocation can cut it.
//! Both are fed by committed changes only and never touch the store.

mod cut;
mod filter;
mod gathered;
mod set;
mod standing;
mod streams;
#[cfg(test)]
mod tests;
mod tokens;

pub use cut::{CutReason, CutSlot};
pub use gathered::Gathered;
pub(crate) use set::ById;
pub use set::RevocationSet;
pub use standing::{Refusal, Standing, StandingState};
pub use streams::{Live, Stake, StreamGuard, Streams};
