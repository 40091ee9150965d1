//! Keys, metadata, methods, and the client side of them.

use super::*;
use crate::token::VerifyingKey;

#[test]
fn public_parts_only() {
    let gateway = Gateway::new();
    let answer = gateway.get("/.well-known/jwks.json");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    let keys = answer.body["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert!(keys[0].get(member).is_none());
    }
    let kid = keys[0]["kid"].as_str().unwrap();
    assert_eq!(VerifyingKey::from_jwk(&keys[0]).unwrap().kid().as_str(), kid);
    assert_eq!(gateway.context.world.load().keys().signing().kid().as_str(), kid);
}

#[test]
fn documents() {
    let gateway = Gateway::new();
    let scopes = gateway.get("/.well-known/oauth-protected-resource").body;
    assert_eq!(scopes["resource"], ISSUER);
    assert_eq!(scopes["authorization_servers"], serde_json::json!([ISSUER]));
    assert!(scopes["scopes_supported"].as_array().unwrap().contains(&"campaign.list".into()));
    let answer = gateway.get("/.well-known/oauth-authorization-server");
    assert_eq!(answer.headers["cache-control"], "public, max-age=300");
    assert_eq!(answer.headers["content-type"], "application/json");
    let mut body = answer.body;
    body.as_object_mut().unwrap().remove("scopes_supported");
    let methods = ["client_secret_basic", "client_secret_post"];
    let expected = serde_json::json!({
        "issuer": ISSUER,
        "token_endpoint": format!("{ISSUER}/oauth2/token"),
        "jwks_uri": format!("{ISSUER}/.well-known/jwks.json"),
        "introspection_endpoint": format!("{ISSUER}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": methods,
        "revocation_endpoint": format!("{ISSUER}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_methods_supported": methods,
        "grant_types_supported": ["client_credentials"],
        "response_types_supported": [],
    });
    assert_eq!(body, expected);
    // What is published is answered.
    for (member, method) in [
        ("token_endpoint", "POST"),
        ("introspection_endpoint", "POST"),
        ("revocation_endpoint", "POST"),
        ("jwks_uri", "GET"),
    ] {
        let path = expected[member].as_str().unwrap().strip_prefix(ISSUER).unwrap();
        let request = http::Request::builder().method(method).uri(path).body("").unwrap();
        assert!(![404, 405].contains(&gateway.send(request).status.as_u16()), "{member}");
    }
}

#[test]
fn methods() {
    let gateway = Gateway::new();
    for (method, path, status, allow) in [
        ("GET", "/oauth2/token", 405, "POST"),
        ("HEAD", "/acme/token", 405, "POST"),
        ("PUT", "/v1/token", 405, "POST"),
        ("OPTIONS", "/v1/token", 405, "POST"),
        ("GET", "/oauth2/introspect", 405, "POST"),
        ("POST", "/token", 405, "GET, HEAD"),
        ("POST", "/.well-known/jwks.json", 405, "GET, HEAD"),
        ("DELETE", "/.well-known/oauth-authorization-server", 405, "GET, HEAD"),
        ("HEAD", "/.well-known/jwks.json", 200, ""),
        ("GET", "/nowhere", 404, ""),
    ] {
        let request = http::Request::builder().method(method).uri(path).body("").unwrap();
        let answer = gateway.send(request);
        assert_eq!(answer.status, status, "{method} {path}");
        let found = answer.headers.get("allow").map_or("", |value| value.to_str().unwrap());
        assert_eq!(found, allow, "{method} {path}");
        if status == 405 && method != "HEAD" {
            answer.assert(405, "method_not_allowed");
        }
    }
    let text = String::from_utf8(gateway.metrics.render().unwrap()).unwrap();
    for outcome in
        ["ok", "invalid_client", "invalid_scope", "invalid_request", "unsupported_grant_type"]
    {
        let line = format!("portcullis_tokens_minted_total{{outcome=\"{outcome}\"}} 0");
        assert!(text.contains(&line), "{line}");
    }
}
