//! The gateway over real sockets: real components, free ports, a manual clock.
//! A test waits for a condition, never for a time.

mod forwarding;
mod harness;
mod judging;
mod malformed;
mod n8n;
mod process;
mod raw;
mod revocation;
mod secrets;
mod streaming;
mod upstream;
