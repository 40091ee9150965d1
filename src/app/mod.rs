//! The composition root: a configuration -> running parts. No logic lives here.

mod aside;
mod background;
mod backup;
mod descriptors;
mod panics;
mod parts;
mod ports;
mod seal_file;
mod start;
mod state;

pub use backup::{BackupError, NewFile, Restored, back_up, restore};
pub use parts::not_built;
pub use start::{Means, Running, StartError, TakenOn, start};
pub use state::Offline;
