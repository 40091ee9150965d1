//! The composition root: a configuration -> running parts. No logic lives here.

mod background;
mod parts;
mod seal_file;
mod start;

pub use start::{Means, Running, StartError, start};
