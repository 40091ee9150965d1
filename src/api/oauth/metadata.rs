//! Keys and discovery: public, cacheable, and read from the world of the moment
//! (RFC 7517 section 5, RFC 8414 section 2, RFC 9728 section 2).

use std::collections::BTreeSet;

use axum::response::Response;
use serde_json::{Value, json as value};

use super::error::Refusal;
use super::paths::{INTROSPECT, JWKS, REVOKE};
use super::{Desk, json};
use crate::policy::Snapshot;

/// Five minutes: a new key is published long before the old one ends.
const CACHE: &str = "public, max-age=300";

impl Desk {
    /// Public parts of all keys that are believed.
    pub(super) fn jwks(&self) -> Result<Response, Refusal> {
        json(&self.context.world.load().keys().jwks(), CACHE)
    }

    /// RFC 8414.
    pub(super) fn server_metadata(&self) -> Result<Response, Refusal> {
        let minting = self.context.minting.load();
        let world = self.context.world.load();
        let base = minting.issuer.trim_end_matches('/');
        let methods = value!(["client_secret_basic", "client_secret_post"]);
        let mut document = value!({
            "issuer": minting.issuer,
            "jwks_uri": format!("{base}{}", JWKS),
            "introspection_endpoint": format!("{base}{}", INTROSPECT),
            "introspection_endpoint_auth_methods_supported": methods,
            "revocation_endpoint": format!("{base}{}", REVOKE),
            "revocation_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_methods_supported": methods,
            "grant_types_supported": ["client_credentials"],
            // Required, and there is no authorization endpoint to have any.
            "response_types_supported": [],
            "scopes_supported": scopes(&world),
        });
        if let (Some(path), Some(document)) = (&self.token_path, document.as_object_mut()) {
            let endpoint = Value::String(format!("{base}{path}"));
            document.insert("token_endpoint".to_owned(), endpoint);
        }
        json(&document, CACHE)
    }

    /// RFC 9728: the gateway stands for the APIs behind it.
    pub(super) fn resource_metadata(&self) -> Result<Response, Refusal> {
        let minting = self.context.minting.load();
        let world = self.context.world.load();
        let document = value!({
            "resource": minting.issuer,
            "authorization_servers": [minting.issuer],
            "bearer_methods_supported": ["header"],
            "scopes_supported": scopes(&world),
        });
        json(&document, CACHE)
    }
}

/// What the predefined roles grant. Other scopes a credential may have as well.
fn scopes(world: &Snapshot) -> Vec<String> {
    let all: BTreeSet<_> = world.roles().iter().flat_map(|role| &role.scopes).collect();
    all.into_iter().map(ToString::to_string).collect()
}
