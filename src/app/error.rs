//! Why there is no gateway, in words for whoever started it.

use std::net::SocketAddr;

use super::seal_file::SealFileError;
use crate::domain::EntropyError;
use crate::service::{LoadError, keys};
use crate::store::OpenError;
use crate::token::SealError;

/// Why a gateway did not start. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store can't be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The store can't be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The key file can't be had.
    #[error(transparent)]
    SealFile(#[from] SealFileError),
    /// The sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The signing keys can't be had.
    #[error(transparent)]
    Keys(#[from] keys::KeysError),
    /// TLS can't be set up.
    #[error("TLS can't be set up ([server.tls]): {0}")]
    Tls(#[from] rustls::Error),
    /// The first administrator could not be made.
    #[error("the first administrator could not be made: {0}")]
    FirstAdmin(String),
    /// An upstream's name has no address.
    #[error("upstream {upstream:?}: the address {address:?} can't be resolved: {error}")]
    Unresolved {
        /// Which upstream.
        upstream: String,
        /// Which of its addresses.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// TLS to an upstream without a server name: nothing would be verified.
    #[error("upstream {0:?}: TLS needs a server_name; name what its certificate must be for")]
    NoTrust(String),
    /// An address can't be listened on.
    #[error("can't listen on {address} ({key}): {error}. Free the port, or name another address")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The key that says so.
        key: &'static str,
        /// What the system said.
        error: std::io::Error,
    },
    /// A socket was handed over that nobody would accept on.
    #[error(
        "a socket on {0} was handed over, and no key says to listen there: name that address, \
         or take it out of the socket unit"
    )]
    Unwanted(SocketAddr),
    /// The process that was to be followed goes on instead.
    #[error("the process that was to be followed has ended, or goes on by itself")]
    GivenUp,
    /// There is no randomness to be had.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A metric could not be registered.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
    /// The system refused a thread or a task.
    #[error("the system refused a thread: {0}")]
    Thread(std::io::Error),
}
