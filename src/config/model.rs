//! A configuration that holds: every value checked, every default filled in.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;

use super::{ClientIdentity, TokenPaths, Warning};
use crate::domain::{Rate, Role, SecretText, UnixTime, UpstreamName};
use crate::policy::RouteTable;
use crate::token::Algorithm;

/// All that one file says.
#[derive(Debug)]
pub struct Config {
    /// The data plane.
    pub server: Server,
    /// The admin port.
    pub admin: Admin,
    /// The port of `/metrics`, `/healthz`, `/readyz`.
    pub metrics: Metrics,
    /// Where credentials, revocations and keys are kept.
    pub store: Store,
    /// Tokens and their endpoints.
    pub oauth: Oauth,
    /// Where requests go; names are unique.
    pub upstreams: Vec<Upstream>,
    /// The predefined roles; ids are unique.
    pub roles: Vec<Role>,
    /// The routes, compiled; each names one of `upstreams`.
    pub routes: RouteTable,
    /// What is allowed and likely not meant, in the order of the lines.
    pub warnings: Vec<Warning>,
}

/// The data plane.
#[derive(Clone, Debug)]
pub struct Server {
    /// Plain HTTP; may be empty if there is TLS. A port may be 0: the system picks one.
    pub listen: Vec<SocketAddr>,
    /// Worker threads; 0: one per core.
    pub threads: usize,
    /// Peers whose `X-Forwarded-*` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How long requests in flight may take to end after SIGTERM.
    pub drain_timeout: Duration,
    /// How long to go on accepting after SIGTERM, not ready, so that load balancers
    /// notice.
    pub shutdown_delay: Duration,
    /// How long a new binary may take until it serves, before it is given up.
    pub upgrade_timeout: Duration,
    /// HTTPS.
    pub tls: Option<Tls>,
    /// What a client may send, and how long it may take.
    pub limits: Limits,
}

/// HTTPS on the data plane.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Where; never empty.
    pub listen: Vec<SocketAddr>,
    /// Picked by SNI; never empty. The first one serves unknown names.
    pub identities: Vec<Identity>,
    /// Client certificates, if they are asked for.
    pub clients: Option<ClientCertificates>,
}

/// What the gateway shows: a certificate that was read, with its key.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The host names and addresses that it is for, in lower case; `*.` at the
    /// front stands for one label.
    pub names: Vec<String>,
    /// It is not valid before.
    pub from: UnixTime,
    /// It is not valid from here on.
    pub until: UnixTime,
    /// Chain and key; they fit.
    pub pair: Arc<CertifiedKey>,
    /// Where it stands in the file.
    pub(super) line: Option<usize>,
}

/// Asking clients for certificates.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// The authorities that sign them; never empty.
    pub authorities: Arc<RootCertStore>,
    /// True: no connection without one.
    pub required: bool,
}

/// Limits for clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest request head in bytes.
    pub header_bytes: usize,
    /// The longest request target in bytes.
    pub target_bytes: usize,
    /// The longest request body in bytes; 0: no limit. A route may have its own.
    pub body_bytes: u64,
    /// From the first byte of a head to its last.
    pub header_timeout: Duration,
    /// Between two requests on a connection.
    pub idle_timeout: Duration,
    /// Connections at once.
    pub connections: usize,
    /// The most requests that wait for an upstream at once.
    pub requests: usize,
    /// How late the processor may be before requests are refused; zero: however late.
    pub lag: Duration,
}

/// The admin port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Where; plain HTTP.
    pub listen: SocketAddr,
}

/// The port of metrics and probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where; plain HTTP, no key.
    pub listen: SocketAddr,
}

/// Where things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// What keeps them.
    pub engine: Engine,
    /// The folder of the embedded engine.
    pub path: PathBuf,
    /// The file of the 32 random bytes that seal signing keys at rest; made at
    /// first start.
    pub key_file: PathBuf,
}

/// The engines of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Embedded, on disk.
    Sled,
    /// In memory: gone at exit.
    Memory,
}

/// Tokens and their endpoints.
#[derive(Clone, Debug)]
pub struct Oauth {
    /// `iss`: an http(s) URL without query and fragment (RFC 8414 section 2).
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// What new signing keys are made for.
    pub algorithm: Algorithm,
    /// The life of a token that asks for none; whole seconds.
    pub token_ttl: Duration,
    /// The longest life of a token; whole seconds, at least `token_ttl`.
    pub max_token_ttl: Duration,
    /// How far clocks may differ.
    pub clock_skew: Duration,
    /// The operator's own signing key, PKCS#8 in PEM; else one is made at first start.
    pub signing_key: Option<SecretText>,
    /// For each client at the token endpoint.
    pub token_rate: Option<Rate>,
    /// Where tokens are handed out; never empty.
    pub token_paths: TokenPaths,
    /// The legacy checker, if it is on; never one of `token_paths`.
    pub token_info_path: Option<String>,
}

/// Where requests go.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name; a metric label.
    pub name: UpstreamName,
    /// `host:port`, each unique; never empty. Names are resolved by whoever connects.
    pub addresses: Vec<String>,
    /// HTTPS to the upstream. Always there with [`Protocol::H2`], never with [`Protocol::H2c`].
    pub tls: Option<UpstreamTls>,
    /// What is spoken.
    pub protocol: Protocol,
    /// What becomes of the Authorization header.
    pub authorization: UpstreamAuthorization,
    /// To a connection that can be used, TLS included.
    pub connect_timeout: Duration,
    /// To the response head, then between upload bytes; never on an open stream.
    pub read_timeout: Duration,
    /// How its addresses are looked at.
    pub health_check: HealthCheck,
    /// How requests that fail tell of an address.
    pub outlier_ejection: OutlierEjection,
}

/// How the addresses of an upstream are looked at, again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for with GET, where 2xx is good; a connection is enough if none.
    pub path: Option<String>,
    /// From one look to the next.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// How many bad ones in a row take an address out; at least 1.
    pub unhealthy_after: u32,
    /// How many good ones in a row bring it back; at least 1.
    pub healthy_after: u32,
}

/// Taking out addresses where requests fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierEjection {
    /// How many failures in a row take an address out; 0: none do.
    pub after: u32,
    /// How long it is out the first time; twice as long each time that follows.
    pub base_time: Duration,
    /// The longest that it is out; at least `base_time`.
    pub max_time: Duration,
}

/// HTTPS to an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamTls {
    /// What SNI says and the certificate must be for; never empty.
    pub server_name: String,
    /// The certificates of the authorities to trust, in DER; the system's if none.
    pub ca: Option<Vec<Vec<u8>>>,
    /// The certificate to show.
    pub client_certificate: Option<ClientIdentity>,
}

/// What an upstream speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 over TLS.
    H2,
    /// HTTP/2 in clear, with prior knowledge.
    H2c,
}

/// What becomes of the client's Authorization header.
#[derive(Clone, Debug)]
pub enum UpstreamAuthorization {
    /// It ends here.
    Strip,
    /// The upstream gets it too.
    Forward,
    /// The upstream gets this whole value instead; a valid header value.
    Set(SecretText),
}
