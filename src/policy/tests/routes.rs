//! Which route, which method, and what is refused before any token is looked at.

use super::*;

const STAGE: &str = "/v1/accounts/acme/account_environments/prod/campaigns";

#[test]
fn finds_the_route_or_says_404_before_401() {
    let world = World::new();
    for (method, target, expected) in [
        ("GET", STAGE, "deny token_missing campaigns"),
        (
            "GET",
            "/v1/accounts/acme/account_environments/prod/campaigns/7",
            "deny token_missing campaign",
        ),
        ("GET", "/v1/accounts/acme/account_environments/prod/campaigns/", "deny no_route -"),
        ("GET", "/v1/accounts/acme/account_environments/prod", "deny no_route -"),
        ("GET", "/", "deny no_route -"),
        ("BREW", "/nowhere", "deny no_route -"),
        ("GET", "/V1/me", "deny no_route -"),
        ("GET", "/v1/me", "deny token_missing me"),
        ("GET", "/v1/me/x", "deny no_route -"),
        ("GET", "/v1/mexico", "deny no_route -"),
        ("GET", "/lib/a/b/c", "deny token_missing library"),
        ("GET", "/lib/", "deny no_route -"),
        ("GET", "/lib", "deny no_route -"),
        ("GET", "/lib/items/1", "deny method_not_allowed item"),
        ("GET", "/lib/clear", "deny method_not_allowed clear"),
        ("GET", "/lib/clear;x", "deny malformed_request -"),
        ("GET", "/lib/../v1/me", "deny malformed_request -"),
        ("GET", "//v1/me", "deny malformed_request -"),
        ("GET", "http://api.example.com/v1/me", "deny token_missing me"),
        ("GET", "http://other.example.com/v1/me", "deny malformed_request -"),
        ("GET", "*", "deny malformed_request -"),
    ] {
        check(&world, &Ask::new(method, target), expected);
        if expected.starts_with("deny m") || expected.starts_with("deny no_route") {
            let bad = Ask::new(method, target).with("no-token");
            check(&world, &bad, expected);
            check(&world, &Ask::new(method, target).with(&token(|_| {})), expected);
        }
    }
}

#[test]
fn says_405_before_401_with_the_methods_that_are_listed() {
    let world = World::new();
    for (method, target, allowed) in [
        ("PUT", STAGE, vec!["GET", "HEAD", "POST"]),
        ("get", "/v1/me", vec!["GET", "HEAD", "PUT"]),
        ("OPTIONS", "/v1/me", vec!["GET", "HEAD", "PUT"]),
        ("CONNECT", "/v1/me", vec!["GET", "HEAD", "PUT"]),
        ("", "/v1/me", vec!["GET", "HEAD", "PUT"]),
        ("GET", "/lib/clear", vec!["DELETE"]),
        ("HEAD", "/lib/clear", vec!["DELETE"]),
        ("GET", "/v1/accounts/acme/search", vec!["POST"]),
        ("DELETE", "/report", vec!["GET", "HEAD", "PUT"]),
    ] {
        for bearer in [None, Some(token(|_| {}))] {
            let mut ask = Ask::new(method, target);
            ask.authorization.extend(bearer.map(|token| format!("Bearer {token}")));
            let Decision::Deny(denial) = judge(&world, &ask) else { panic!("{ask:?}") };
            assert_eq!(denial.reason, Reason::MethodNotAllowed, "{ask:?}");
            assert_eq!(denial.allowed_methods, allowed, "{ask:?}");
        }
    }
}

#[test]
fn collects_the_methods_of_all_routes_of_a_path() {
    let split = vec![
        spec("write", "/a/{y}", &[("PUT", "a.b")]),
        spec("read", "/a/{x}", &[("GET", "a.b"), ("DELETE", "a.b")]),
    ];
    let world = World::of(split, vec![]);
    let Decision::Deny(denial) = judge(&world, &Ask::new("POST", "/a/1")) else { panic!() };
    assert_eq!(denial.allowed_methods, ["DELETE", "GET", "HEAD", "PUT"]);
    check(&world, &Ask::new("HEAD", "/a/1"), "deny token_missing read");
    check(&world, &Ask::new("PUT", "/a/1"), "deny token_missing write");
}

#[test]
fn head_follows_get() {
    let world = World::new();
    let good = token(|_| {});
    for (target, expected) in [
        ("/health", "allow health nobody"),
        ("/v1/me", "allow me acme"),
        (STAGE, "allow campaigns acme"),
        ("/v1/accounts/other/labels", "deny wrong_account labels"),
        ("/report", "deny malformed_request report"),
    ] {
        check(&world, &Ask::new("HEAD", target).with(&good), expected);
        check(&world, &Ask::new("GET", target).with(&good), expected);
    }
    let weak = token_of(&["label.read"]);
    check(&world, &Ask::new("HEAD", STAGE).with(&weak), "deny insufficient_scope campaigns");
}

#[test]
fn a_host_has_its_own_routes() {
    let world = World::new();
    for (host, expected) in [
        (Some("ops.example.com"), "deny token_missing own-health"),
        (Some("OPS.Example.com:8443"), "deny token_missing own-health"),
        (Some("ops.example.com."), "deny token_missing own-health"),
        (Some("ops.example.com:"), "deny token_missing own-health"),
        (Some("ops.example.com:x"), "allow health nobody"),
        (Some("xops.example.com"), "allow health nobody"),
        (Some("[::1]:8080"), "allow health nobody"),
        (Some(""), "allow health nobody"),
        (None, "allow health nobody"),
    ] {
        let mut ask = Ask::new("GET", "/health");
        ask.host = host.map(str::to_owned);
        check(&world, &ask, expected);
    }
    let ask = Ask::new("POST", "/health").host("ops.example.com");
    check(&world, &ask, "deny method_not_allowed own-health");
    let ask = Ask::new("GET", "/v1/me").host("ops.example.com");
    check(&world, &ask, "deny token_missing me");
}

#[test]
fn a_public_route_looks_at_no_token() {
    let world = World::new();
    world.stand(|standing| standing.state = StandingState::Revoked);
    let ask = Ask::new("GET", "/health");
    check(&world, &ask, "allow health nobody");
    check(&world, &ask.clone().with(&token(|_| {})), "allow health nobody");
    check(&world, &ask.clone().with("x").with("y"), "allow health nobody");
    check(&world, &Ask::new("POST", "/health"), "deny token_missing health");
    let Decision::Allow(permit) = judge(&world, &ask.with(&token(|_| {}))) else { panic!() };
    assert!(permit.principal().is_none());
}
