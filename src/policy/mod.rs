//! The decision: pure, total, with its reasons.
//!
//! No async, no clock, no I/O, no serde, no store, no Pingora. A request is
//! judged on the very bytes that are forwarded; what is not allowed is denied.

mod access;
mod decide;
mod decision;
mod explain;
mod holds;
mod path;
mod reason;
mod request;
mod route;
mod snapshot;
mod table;
#[cfg(test)]
mod tests;
mod weight;

pub use access::Access;
pub use decide::decide;
pub use decision::{Decision, Denial, Ground, Permit};
pub use explain::{Step, explain};
pub use path::{CanonicalPath, OwnedTarget, PathFault, Segments, Target};
pub use reason::Reason;
pub use request::{Body, RequestFacts};
pub use route::{BodyRule, Route, RouteFault, RouteSpec};
pub use snapshot::{Identity, Principal, Snapshot, SnapshotParts};
pub use table::RouteTable;
