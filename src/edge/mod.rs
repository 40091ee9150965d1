//! The only room that knows Pingora.
//!
//! Connections are accepted and heads are read here, so that limits, deadlines
//! and cutting are ours; what one reading passes goes to Pingora, whose
//! callbacks translate, call `policy::decide`, and obey. No policy lives here.

mod again;
mod alarm;
mod amends;
mod answer;
mod body;
mod caller;
mod connection;
mod crowd;
mod downward;
mod extent;
mod failure;
mod framing;
mod grammar;
mod grpc;
mod handshake;
mod head;
mod headers;
mod http2;
mod judge;
mod lag;
mod lane;
mod loan;
mod mount;
mod noted;
mod outgoing;
mod patience;
mod peers;
mod proxy;
mod reject;
mod retry;
mod seat;
mod server;
mod settings;
mod stage;
mod tls;
mod trace;
mod trailers;
mod tunnel;
mod wire;

pub use again::again;
pub use body::{Held, Media, read_keys};
pub use extent::{Malformed, end_of_chunks};
pub use head::examine_head;
pub use lag::{Probe, Sample, SystemProbe};
pub use mount::{Endpoints, Mount};
pub use peers::{
    AuthorizationPolicy, EjectionRule, HealthRule, NamedAddress, Resolver, SystemResolver, Trust,
    UpstreamProtocol, UpstreamSettings,
};
pub use server::{DataPlane, bind};
pub use settings::{EdgeParts, EdgeSettings};
pub use tls::{Shown, TlsFront, TlsParts};
