//! One process takes over from another, without a gap in what is served and
//! without a gap in what is revoked.
//!
//! The talk: new `Checked` -> old lets go of the store, `Free` -> new opens, loads,
//! `Ready` -> old `Go`, stops accepting -> new accepts -> old drains, `Done`.
//! Up to `Go` whatever goes wrong ends the new process, and the old one takes the
//! store back. [`lent`] says why nothing that is revoked in between is lost.

mod heir;
mod lent;
mod new;
mod old;
mod wire;

pub use heir::Serving;
pub use new::Predecessor;
pub use old::{Successor, UpgradeError};

pub(super) use heir::Heir;
pub(super) use lent::{LentStore, Reopen};
pub(super) use old::has_let_go;
