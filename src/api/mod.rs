//! Plain HTTP in and out: OAuth, the admin port, the metrics port.
//!
//! Handlers translate and nothing more: what may be done, and how, is said by
//! the use cases. Nothing here listens, or knows Pingora, the configuration or
//! the disk.

mod actor;
mod admin;
mod body;
mod condition;
mod console;
mod error;
mod frame;
pub mod oauth;
mod ops;
mod query;
mod readiness;
mod session;

pub use admin::{
    ConfigFault, ReloadOrder, Reloaded, Reloads, Unchanged, admin_router, explanation, openapi,
};
pub use ops::ops_router;
pub use readiness::Readiness;
pub(crate) use session::COOKIE as SESSION_COOKIE;
