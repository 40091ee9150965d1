//! The composition root: a configuration -> running parts. No logic lives here.

mod background;
mod parts;
mod seal_file;
mod start;
mod state;

pub use parts::not_built;
pub use start::{Means, Running, StartError, start};
pub use state::Offline;
