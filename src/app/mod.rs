//! The composition root: a configuration -> running parts. No logic lives here.

mod aside;
mod background;
mod backup;
mod descriptors;
mod end;
mod error;
mod lanes;
mod listeners;
mod panics;
mod parts;
mod ports;
mod reload;
mod seal_file;
mod start;
mod state;
mod upgrade;

pub use backup::{BackupError, NewFile, Restored, back_up, restore};
pub use end::Ended;
pub use listeners::Sockets;
pub use reload::{Reloadable, TakenOn};
pub use start::{Handed, Means, Running, StartError, start, start_with};
pub use state::Offline;
pub use upgrade::{NextProcess, Predecessor, Successor, UpgradeError};
