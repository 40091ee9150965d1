//! The decision: pure, total, with its reasons.
//!
//! No async, no clock, no I/O, no serde, no store, no Pingora. A request is
//! judged on the very bytes that are forwarded; what is not allowed is denied.

mod access;
mod path;
mod route;
mod table;

pub use access::Access;
pub use path::{CanonicalPath, PathFault, Target};
pub use route::{BodyRule, Route, RouteFault, RouteSpec};
pub use table::RouteTable;
