//! The OAuth endpoints: tokens, what can be said of them, their revocation,
//! keys, discovery (RFC 6749, 7009, 7517, 7662, 8414, 9728).
//!
//! One table finds the endpoint of a path for the log and for the answer alike,
//! so that the two can't differ. Nothing here logs: requests and answers carry
//! secrets.

mod body;
mod client;
mod error;
mod inspect;
mod metadata;
mod params;
mod paths;
mod revoke;
#[cfg(test)]
mod tests;
mod token;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use prometheus::IntCounter;

use crate::domain::{AccountId, ClientId};
use crate::metrics::Metrics;
use crate::service::{Context, OwnEndpoint};
use error::Refusal;
pub use paths::resource_metadata;
use paths::{Endpoint, Found, PathTable};
use token::Outcomes;

/// The longest body that these endpoints take, in bytes: a token is 8 KiB at most.
/// Whoever it is, knocks without having shown anything.
pub(crate) const MAX_BODY: usize = 32 * 1024;

/// Where the endpoints are; the other paths are given by the RFCs.
#[derive(Clone, Debug, Default)]
pub struct OauthPaths {
    /// Templates of the token endpoint, such as `/oauth2/token` and
    /// `/{account}/token`. The first one without `{account}` is published.
    pub token: Vec<String>,
    /// The path of the legacy checker, if it is on.
    pub info: Option<String>,
    /// The path of the issuer, such as `/auth`, without a slash at its end; mostly empty.
    pub issuer: String,
}

/// Why a request to the token endpoint was refused, in the extensions of the
/// answer: for the access log of whoever called the router, not for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalReason(pub &'static str);

/// From where a request comes, in its extensions: the client's own address, not that of
/// a proxy that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller(pub IpAddr);

/// Whoever is told this has failed to sign in too often, in the extensions of the answer:
/// it is no loss to anybody else if it comes late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHurry;

/// Who was given a token, or failed to get one with an id that there is, in the
/// extensions of the answer: for the access log too. Only a success proves that it was they.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenClient {
    /// The credential.
    pub client_id: ClientId,
    /// Its account.
    pub account: AccountId,
}

/// Names the endpoint of a request path (without the query), `None` if it is
/// not one of these: `oauth.token`, `oauth.token_info`, `oauth.introspect`,
/// `oauth.revoke`, `oauth.jwks`, `oauth.metadata`. A literal path beats `{account}`, which is
/// never empty and never a segment that could be read in two ways.
pub fn endpoints(
    paths: &OauthPaths,
) -> impl Fn(&str) -> Option<&'static str> + Send + Sync + 'static {
    let table = PathTable::new(paths);
    move |path| table.find(path).map(|found| found.endpoint.name())
}

/// As [`endpoints`], with the methods that each takes.
pub fn own_endpoints(
    paths: &OauthPaths,
) -> impl Fn(&str) -> Option<OwnEndpoint> + Send + Sync + 'static {
    let table = PathTable::new(paths);
    move |path| {
        let endpoint = table.find(path)?.endpoint;
        Some(OwnEndpoint { name: endpoint.name(), methods: endpoint.allow() })
    }
}

/// The router of all these endpoints. It takes the request id from the header
/// `x-request-id`, and answers 404 to what [`endpoints`] does not name.
pub fn router(context: Arc<Context>, paths: &OauthPaths, metrics: Metrics) -> Router {
    let table = PathTable::new(paths);
    let token_path = table.published_token_path(paths);
    let outcomes = Outcomes::new(&metrics);
    let revocations = metrics.revocations.with_label_values(&["token"]);
    let desk = Arc::new(Desk { context, table, token_path, outcomes, revocations });
    Router::new().fallback(move |request: Request| {
        let desk = Arc::clone(&desk);
        async move { desk.answer(request).await }
    })
}

/// What answering takes.
struct Desk {
    context: Arc<Context>,
    table: PathTable,
    token_path: Option<String>,
    outcomes: Outcomes,
    /// Tokens that were revoked here.
    revocations: IntCounter,
}

impl Desk {
    async fn answer(&self, request: Request) -> Response {
        let (mut parts, body) = request.into_parts();
        let id = parts.headers.remove("x-request-id");
        let mut client = None;
        let answer = self.route(&parts, body, &mut client).await;
        let mut response = answer.unwrap_or_else(|refusal| refusal.respond(id.as_ref()));
        if let Some(client) = client {
            response.extensions_mut().insert(client);
        }
        if let Some(id) = id {
            response.headers_mut().insert("x-request-id", id);
        }
        response
    }

    /// `client` is told who asks, as far as that is known.
    async fn route(
        &self,
        parts: &Parts,
        body: Body,
        client: &mut Option<TokenClient>,
    ) -> Result<Response, Refusal> {
        let Some(Found { endpoint, account }) = self.table.find(parts.uri.path()) else {
            return Err(Refusal::NOT_FOUND);
        };
        let method = &parts.method;
        let reads = *method == Method::GET || *method == Method::HEAD;
        let posts = *method == Method::POST;
        match endpoint {
            Endpoint::Token if posts => self.token(parts, body, account, client).await,
            Endpoint::TokenInfo if reads => self.info(parts, account),
            Endpoint::Introspect if posts => self.introspect(parts, body, client).await,
            Endpoint::Revoke if posts => self.revoke(parts, body, client).await,
            Endpoint::Jwks if reads => self.jwks(),
            Endpoint::Server if reads => self.server_metadata(),
            Endpoint::Resource if reads => self.resource_metadata(),
            other => Err(Refusal::method_not_allowed(other.allow())),
        }
    }
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    axum::body::to_bytes(body, MAX_BODY).await.map_err(|_| Refusal::TOO_LARGE)
}

/// An answer of JSON with this `Cache-Control`.
fn json<T: serde::Serialize>(value: &T, cache: &'static str) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(value).map_err(|_| Refusal::NOT_WRITTEN)?;
    Ok(json_response(StatusCode::OK, body, cache))
}

fn json_response(status: StatusCode, body: Vec<u8>, cache: &'static str) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(http::header::CONTENT_TYPE, json);
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static(cache));
    response
}
