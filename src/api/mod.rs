//! Plain HTTP in and out: OAuth, the admin port, the metrics port.
//!
//! Handlers translate and nothing more: what may be done, and how, is said by
//! the use cases. Nothing here listens, or knows Pingora, the configuration or
//! the disk.

mod actor;
mod admin;
mod body;
mod error;
mod frame;
pub mod oauth;
mod ops;
mod query;
mod readiness;

pub use admin::{admin_router, explanation, openapi};
pub use ops::ops_router;
pub use readiness::Readiness;
