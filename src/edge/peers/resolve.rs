//! What the names of upstreams mean, looked up beside the requests.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::settings::NamedAddress;

/// Finds the addresses of names.
#[async_trait]
pub trait Resolver: Send + Sync + std::fmt::Debug {
    /// What `address`, `host:port`, means now.
    ///
    /// # Errors
    /// When nobody knows, or nobody can be asked.
    async fn resolve(&self, address: &str) -> io::Result<Vec<SocketAddr>>;
}

/// Asks the system, which asks its files and DNS.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, address: &str) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host(address).await?.collect())
    }
}

/// How long one name may take: others wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// All addresses, in order, each once.
pub(super) fn all(names: &[NamedAddress]) -> Vec<SocketAddr> {
    let mut all: Vec<_> = names.iter().flat_map(|name| name.found.iter().copied()).collect();
    all.sort();
    all.dedup();
    all
}

/// Looks names up again. One that can't be found keeps what it meant.
pub(super) async fn refresh(names: &mut [NamedAddress], resolver: &dyn Resolver, upstream: &str) {
    for name in names.iter_mut().filter(|name| name.is_name()) {
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        let answer = timeout(PATIENCE, resolver.resolve(&name.text)).await;
        match answer.unwrap_or_else(late) {
            Ok(found) if !found.is_empty() => name.found = found,
            Ok(_) => {
                let address = &name.text;
                tracing::warn!(
                    "upstream {upstream}: {address} has no address any more; the old ones stay"
                );
            }
            Err(error) => {
                let address = &name.text;
                tracing::warn!(%error, "upstream {upstream}: {address} can't be looked up; the old addresses stay");
            }
        }
    }
}
