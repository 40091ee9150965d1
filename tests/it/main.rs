//! The gateway over real sockets: real components, free ports, a manual clock.
//! A test waits for a condition, never for a time.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::type_complexity,
    reason = "a test that is wrong should say so, and a table is a table"
)]

mod addresses;
mod answers;
mod audit;
mod backends;
mod clients;
mod clock;
mod commands;
mod console;
mod corpus;
mod cuts;
mod endless;
mod forwarding;
mod gateway;
mod greedy;
mod grpc;
mod h2;
mod h2_ends;
mod h2_sockets;
mod h2_streams;
mod h2_uploads;
mod harness;
mod held;
mod hostile;
mod judging;
mod keys;
mod leaks;
mod life;
mod malformed;
mod n8n;
mod openapi;
mod pipelining;
mod ports;
mod process;
mod program;
mod raw;
mod reload;
mod revocation;
mod roles;
mod secrets;
mod secure;
mod sign_ins;
mod signals;
mod store_fails;
mod streaming;
mod succession;
mod succession_brink;
mod succession_wires;
mod tls;
mod torture;
mod trailers;
mod unread;
mod upgrade;
mod upstream;
mod upstreams;
mod wait;
mod websockets;
