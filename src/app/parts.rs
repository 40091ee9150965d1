//! Configuration values -> the values that the rooms want.

use std::io;
use std::sync::Arc;

use super::start::StartError;
use crate::api::oauth::{OauthPaths, endpoints, own_endpoints, resource_metadata, router};
use crate::config::{
    Limits, Oauth, Protocol, Server, Tls, Upstream, UpstreamAuthorization, UpstreamTls,
};
use crate::domain::UpstreamName;
use crate::edge::{
    AuthorizationPolicy, EdgeParts, EdgeSettings, EjectionRule, HealthRule, Mount, NamedAddress,
    Resolver, Shown, TlsFront, TlsParts, Trust, UpstreamProtocol, UpstreamSettings, examine_head,
};
use crate::metrics::Metrics;
use crate::policy::{Snapshot, SnapshotParts};
use crate::service::{Context, Front, Minting};
use crate::token::{DEFAULT_CACHE_ENTRIES, Expectations, Keyring};

pub(super) fn minting(oauth: &Oauth, limits: &Limits) -> Minting {
    let (head, target) = (limits.header_bytes, limits.target_bytes);
    let examine = move |read: &[u8]| examine_head(read, head, target);
    Minting {
        issuer: oauth.issuer.clone(),
        audience: oauth.audience.clone(),
        token_ttl: oauth.token_ttl,
        max_token_ttl: oauth.max_token_ttl,
        token_rate: oauth.token_rate,
        clock_skew: oauth.clock_skew,
        front: Front::new(examine, own_endpoints(&oauth_paths(oauth))),
    }
}

fn oauth_paths(oauth: &Oauth) -> OauthPaths {
    OauthPaths {
        token: oauth.token_paths.iter().map(|path| path.template().to_owned()).collect(),
        info: oauth.token_info_path.clone(),
        issuer: oauth.issuer_path().to_owned(),
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

/// How clients and upstreams are reached: what has to be looked up and tried out, and can
/// fail.
pub(super) struct Reach {
    upstreams: Vec<UpstreamSettings>,
    tls: Option<TlsFront>,
}

impl Reach {
    pub(super) async fn find(
        server: &Server,
        upstreams: Vec<Upstream>,
        resolver: &Arc<dyn Resolver>,
    ) -> Result<Self, StartError> {
        let tls = server.tls.as_ref().map(front).transpose()?;
        let mut resolved = Vec::with_capacity(upstreams.len());
        for upstream in upstreams {
            resolved.push(resolve(upstream, resolver).await?);
        }
        Ok(Reach { upstreams: resolved, tls })
    }
}

pub(super) fn edge_settings(
    server: &Server,
    oauth: &Oauth,
    reach: Reach,
    context: &Arc<Context>,
    metrics: &Metrics,
) -> EdgeSettings {
    let paths = oauth_paths(oauth);
    let owned = endpoints(&paths);
    let resource_metadata = resource_metadata(&oauth.issuer, &paths);
    let mount = Mount::new(Box::new(owned), router(Arc::clone(context), &paths, metrics.clone()));
    EdgeSettings::new(EdgeParts {
        header_bytes: server.limits.header_bytes,
        target_bytes: server.limits.target_bytes,
        body_bytes: server.limits.body_bytes,
        header_timeout: server.limits.header_timeout,
        idle_timeout: server.limits.idle_timeout,
        connections: server.limits.connections,
        requests: server.limits.requests,
        lag: server.limits.lag,
        trusted_proxies: server.trusted_proxies.clone(),
        upstreams: reach.upstreams,
        mount,
        tls: reach.tls,
        resource_metadata,
    })
}

fn front(tls: &Tls) -> Result<TlsFront, StartError> {
    let shown = tls
        .identities
        .iter()
        .map(|identity| Shown { names: identity.names.clone(), pair: Arc::clone(&identity.pair) });
    let clients =
        tls.clients.as_ref().map(|clients| (Arc::clone(&clients.authorities), clients.required));
    Ok(TlsFront::new(TlsParts { shown: shown.collect(), clients })?)
}

/// Names are looked up first here, and then again beside the requests: on the
/// way of one there is no time for it.
async fn resolve(
    upstream: Upstream,
    resolver: &Arc<dyn Resolver>,
) -> Result<UpstreamSettings, StartError> {
    let mut addresses = Vec::new();
    for text in upstream.addresses {
        let unresolved = |error: io::Error| StartError::Unresolved {
            upstream: upstream.name.to_string(),
            address: text.clone(),
            error,
        };
        let found = match text.parse() {
            Ok(address) => vec![address],
            Err(_) => resolver.resolve(&text).await.map_err(unresolved)?,
        };
        if found.is_empty() {
            return Err(unresolved(io::Error::other("it has no address")));
        }
        addresses.push(NamedAddress { text, found });
    }
    let trust = match &upstream.tls {
        Some(tls) => Some(trust(&upstream.name, tls)?),
        None => None,
    };
    let (check, ejection) = (upstream.health_check, upstream.outlier_ejection);
    Ok(UpstreamSettings {
        name: upstream.name,
        addresses,
        protocol: match upstream.protocol {
            Protocol::Http1 => UpstreamProtocol::Http1,
            Protocol::H2 | Protocol::H2c => UpstreamProtocol::Http2,
        },
        trust,
        authorization: match upstream.authorization {
            UpstreamAuthorization::Strip => AuthorizationPolicy::Strip,
            UpstreamAuthorization::Forward => AuthorizationPolicy::Forward,
            UpstreamAuthorization::Set(value) => AuthorizationPolicy::Set(value),
        },
        connect_timeout: upstream.connect_timeout,
        read_timeout: upstream.read_timeout,
        health: HealthRule {
            path: check.path,
            interval: check.interval,
            timeout: check.timeout,
            unhealthy_after: check.unhealthy_after,
            healthy_after: check.healthy_after,
        },
        ejection: EjectionRule {
            after: ejection.after,
            base_time: ejection.base_time,
            max_time: ejection.max_time,
        },
        resolver: Arc::clone(resolver),
    })
}

fn trust(upstream: &UpstreamName, tls: &UpstreamTls) -> Result<Trust, StartError> {
    let shown = tls.client_certificate.as_ref();
    let shown = shown.map(|identity| (identity.chain.as_slice(), identity.key.as_slice()));
    Trust::new(tls.server_name.clone(), tls.ca.as_deref(), shown)
        .ok_or_else(|| StartError::NoTrust(upstream.to_string()))
}
