//! One process takes over from another, without a gap in what is served and
//! without a gap in what is revoked.
//!
//! The talk: new `Checked` -> old lets go of the store, `Free` -> new opens, loads,
//! `Ready` -> old `Go` -> new accepts, `Serving` -> old stops accepting, drains, `Done`.
//! Up to `Serving` whatever goes wrong ends the new process, and the old one, which went
//! on, takes the store back. [`lent`] says why nothing that is revoked in between is lost.

mod back;
mod child;
mod heir;
mod lent;
mod new;
mod old;
mod patience;
mod wire;

pub use heir::NextProcess;
pub use new::Predecessor;
pub use old::{Successor, UpgradeError};

pub(super) use back::take_back_until;
pub(super) use heir::Heir;
pub(super) use lent::{LentStore, Reopen};
