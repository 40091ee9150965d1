//! Plain HTTP in and out, as axum routers over the use cases.
//!
//! Nothing here listens: who calls a router, and where, is settled above.

pub mod oauth;
