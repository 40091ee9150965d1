//! Configuration values -> the values that the rooms want.

use std::sync::Arc;

use tokio::net::lookup_host;

use super::start::StartError;
use crate::api::oauth::{OauthPaths, endpoints, resource_metadata, router};
use crate::config::{
    Config, Engine, Oauth, Protocol, Server, SigningAlgorithm, Upstream, UpstreamAuthorization,
};
use crate::edge::{AuthorizationPolicy, EdgeParts, EdgeSettings, Mount, UpstreamSettings};
use crate::metrics::Metrics;
use crate::policy::{Snapshot, SnapshotParts};
use crate::service::{Context, Minting};
use crate::token::{Algorithm, DEFAULT_CACHE_ENTRIES, Expectations, Keyring};

/// What the configuration asks for and this version does not do. Nothing is
/// silently left undone.
pub(super) fn refuse_what_is_not_built(config: &Config) -> Result<(), StartError> {
    let asked = not_built(config);
    if asked.is_empty() { Ok(()) } else { Err(StartError::NotBuilt(asked)) }
}

/// What a valid configuration asks for and this version does not do, each with
/// what to do instead.
pub fn not_built(config: &Config) -> Vec<String> {
    let mut asked = Vec::new();
    if config.server.tls.is_some() {
        asked.push(
            "[server.tls]: this version serves plain HTTP only; end TLS in front of it".to_owned(),
        );
    }
    if config.store.engine == Engine::Etcd {
        asked.push("store.engine = \"etcd\": use \"sled\"".to_owned());
    }
    for upstream in &config.upstreams {
        let name = &upstream.name;
        if upstream.protocol != Protocol::Http1 {
            asked.push(format!("upstream {name:?}: protocol: use \"http1\""));
        }
        if upstream
            .tls
            .as_ref()
            .is_some_and(|tls| tls.ca.is_some() || tls.client_certificate.is_some())
        {
            asked.push(format!(
                "upstream {name:?}: ca and client_certificate: use a publicly trusted certificate"
            ));
        }
    }
    asked
}

pub(super) fn algorithm(wanted: SigningAlgorithm) -> Algorithm {
    match wanted {
        SigningAlgorithm::EdDsa => Algorithm::EdDsa,
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::Rs256 => Algorithm::Rs256,
    }
}

pub(super) fn minting(oauth: &Oauth) -> Minting {
    Minting {
        issuer: oauth.issuer.clone(),
        audience: oauth.audience.clone(),
        token_ttl: oauth.token_ttl,
        max_token_ttl: oauth.max_token_ttl,
        token_rate: oauth.token_rate,
        clock_skew: oauth.clock_skew,
    }
}

pub(super) fn snapshot(
    oauth: &Oauth,
    roles: Vec<crate::domain::Role>,
    routes: crate::policy::RouteTable,
    keys: Arc<Keyring>,
) -> Snapshot {
    Snapshot::new(SnapshotParts {
        routes,
        roles,
        keys,
        expect: Expectations {
            issuer: oauth.issuer.clone(),
            audience: oauth.audience.clone(),
            clock_skew: oauth.clock_skew,
        },
        cache_entries: DEFAULT_CACHE_ENTRIES,
    })
}

pub(super) async fn edge_settings(
    server: &Server,
    oauth: &Oauth,
    upstreams: Vec<Upstream>,
    context: &Arc<Context>,
    metrics: &Metrics,
) -> Result<EdgeSettings, StartError> {
    let paths = OauthPaths {
        token: oauth.token_paths.iter().map(|path| path.template().to_owned()).collect(),
        info: oauth.token_info_path.clone(),
    };
    let owned = endpoints(&paths);
    let mount = Mount::new(Box::new(owned), router(Arc::clone(context), &paths, metrics.clone()));
    let mut resolved = Vec::with_capacity(upstreams.len());
    for upstream in upstreams {
        resolved.push(resolve(upstream).await?);
    }
    Ok(EdgeSettings::new(EdgeParts {
        header_bytes: server.limits.header_bytes,
        target_bytes: server.limits.target_bytes,
        body_bytes: server.limits.body_bytes,
        header_timeout: server.limits.header_timeout,
        idle_timeout: server.limits.idle_timeout,
        connections: server.limits.connections,
        trusted_proxies: server.trusted_proxies.clone(),
        upstreams: resolved,
        mount,
        resource_metadata: resource_metadata(&oauth.issuer),
    }))
}

/// Names are looked up once: on the way of a request there is no time for it.
async fn resolve(upstream: Upstream) -> Result<UpstreamSettings, StartError> {
    let mut addresses = Vec::new();
    for address in &upstream.addresses {
        let unresolved = |error: std::io::Error| StartError::Unresolved {
            upstream: upstream.name.to_string(),
            address: address.clone(),
            error,
        };
        addresses.extend(lookup_host(address.as_str()).await.map_err(unresolved)?);
    }
    addresses.sort();
    addresses.dedup();
    Ok(UpstreamSettings {
        name: upstream.name,
        addresses,
        server_name: upstream.tls.map(|tls| tls.server_name),
        authorization: match upstream.authorization {
            UpstreamAuthorization::Strip => AuthorizationPolicy::Strip,
            UpstreamAuthorization::Forward => AuthorizationPolicy::Forward,
            UpstreamAuthorization::Set(value) => AuthorizationPolicy::Set(value),
        },
        connect_timeout: upstream.connect_timeout,
        read_timeout: upstream.read_timeout,
    })
}
