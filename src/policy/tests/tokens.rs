//! Every reason for which a token does not count, fresh and from the cache.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

/// A token of ours with another header. Its signature is wrong, which matters
/// only if nobody stumbles over the header first.
fn with_header(json: &str) -> String {
    let good = token(|_| {});
    let (_, rest) = good.split_once('.').unwrap();
    format!("{}.{rest}", URL_SAFE_NO_PAD.encode(json))
}

#[test]
fn every_reason() {
    let world = World::new();
    let kid = KEY.kid();
    let good = token(|_| {});
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let bent = format!("{signed}.{flipped}{}", &signature[1..]);
    let unsigned = format!("{signed}.");
    let typed = |typ, alg| format!(r#"{{"typ":"{typ}","alg":"{alg}","kid":"{kid}"}}"#);
    let crit = format!(r#"{{"typ":"at+jwt","alg":"EdDSA","kid":"{kid}","crit":[]}}"#);
    for (name, token, reason) in [
        ("good", good.clone(), ""),
        ("no JWT", "abc".into(), "token_malformed"),
        ("no JSON", "AAAA.AAAA.AAAA".into(), "token_malformed"),
        ("two in one", format!("{good},{good}"), "token_malformed"),
        ("over 8 KiB", format!("{good}{}", "A".repeat(8192)), "token_malformed"),
        ("another's key", claims().sign(&OTHER_KEY), "unknown_key"),
        ("no kid", with_header(r#"{"typ":"at+jwt","alg":"EdDSA"}"#), "unknown_key"),
        ("another signature", bent, "bad_signature"),
        ("no signature", unsigned, "bad_signature"),
        ("typ JWT", with_header(&typed("JWT", "EdDSA")), "wrong_type"),
        ("alg none", with_header(&typed("at+jwt", "none")), "wrong_type"),
        ("alg HS256", with_header(&typed("at+jwt", "HS256")), "wrong_type"),
        ("crit", with_header(&crit), "wrong_type"),
        ("iss", token(|c| c.issuer = "https://other"), "wrong_issuer"),
        ("aud", token(|c| c.audience = "other"), "wrong_audience"),
        ("exp", token(|c| c.expires_at = at(NOW - 30)), "expired"),
        ("exp within the skew", token(|c| c.expires_at = at(NOW - 29)), ""),
        ("iat", token(|c| c.issued_at = at(NOW + 31)), "not_yet_valid"),
        ("iat within the skew", token(|c| c.issued_at = at(NOW + 30)), ""),
    ] {
        let expected = match reason {
            "" => "allow me acme".to_owned(),
            reason => format!("deny {reason} me"),
        };
        let decision = judge(&world, &Ask::new("GET", "/v1/me").with(&token));
        assert_eq!(tell(&decision), expected, "{name}");
        if let Decision::Deny(denial) = decision {
            assert_eq!(denial.reason.status(), 401, "{name}");
        }
    }
}

#[test]
fn the_header_field() {
    let world = World::new();
    let good = token(|_| {});
    let ask = |values: &[&str]| {
        let mut ask = Ask::new("GET", "/v1/me");
        ask.authorization = values.iter().map(|value| (*value).to_owned()).collect();
        ask
    };
    let bearer = format!("Bearer {good}");
    for (values, expected) in [
        (vec![], "deny token_missing me"),
        (vec!["Bearer"], "deny token_missing me"),
        (vec!["Bearer "], "deny token_missing me"),
        (vec!["Basic YTpi"], "deny token_malformed me"),
        (vec![&*bearer, &*bearer], "deny token_malformed me"),
        (vec![&*bearer, "Bearer"], "deny token_malformed me"),
        (vec![&*bearer], "allow me acme"),
    ] {
        check(&world, &ask(&values), expected);
    }
    // Neither the query nor anything else is looked at.
    let ask = Ask::new("GET", &format!("/v1/me?access_token={good}"));
    check(&world, &ask, "deny token_missing me");
}

#[test]
fn a_token_from_the_cache_dies_at_its_time() {
    let mut world = World::new();
    let ask = Ask::new("GET", "/v1/me").with(&token(|c| c.expires_at = at(NOW + 60)));
    check(&world, &ask, "allow me acme");
    let misses = world.snapshot.cache().misses();
    world.now = at(NOW + 89);
    check(&world, &ask, "allow me acme");
    world.now = at(NOW + 90);
    check(&world, &ask, "deny expired me");
    assert_eq!(world.snapshot.cache().misses(), misses, "all of it came from the cache");
    let Decision::Deny(denial) = judge(&world, &ask) else { panic!() };
    assert!(denial.principal.is_some(), "whose it was is known");
    // A clock that is set back does not make it older than it is.
    world.now = at(NOW - 41);
    check(&world, &ask, "deny not_yet_valid me");
}

#[test]
fn what_is_remembered_ends_with_the_keys() {
    let world = World::new();
    judge(&world, &Ask::new("GET", "/v1/me").with(&token(|_| {})));
    assert_eq!(world.snapshot.cache().len(), 1);
    assert!(world.snapshot.cache().bytes() > 500, "a token and what was found in it");
    let other = world.snapshot.with_keys(Arc::clone(world.snapshot.keys()));
    assert!(other.cache().is_empty());
}

#[test]
fn only_what_we_signed_for_somebody_enters_the_cache() {
    let world = World::new();
    for bad in [
        claims().sign(&OTHER_KEY),
        token(|c| c.issuer = "https://other"),
        token(|c| c.expires_at = at(NOW - 3600)),
        token(|c| c.client = ClientId::from_random([1; 16])),
    ] {
        judge(&world, &Ask::new("GET", "/v1/me").with(&bad));
    }
    assert_eq!(world.snapshot.cache().len(), 0);
}

/// What is dead is verified once only, and stays dead however often it is found.
#[test]
fn what_does_not_count_is_remembered_and_refused_each_time() {
    let world = World::new();
    let (of_no_secret, good) = (token(|c| c.generation = 9), token(|_| {}));
    let ask = |text: &str| Ask::new("GET", "/v1/me").with(text);
    for _ in 0..3 {
        check(&world, &ask(&of_no_secret), "deny revoked me");
    }
    let principal = |ask: &Ask| match judge(&world, ask) {
        Decision::Deny(denial) => denial.principal.map(|p| p.token().client_id()),
        _ => panic!(),
    };
    assert_eq!(principal(&ask(&of_no_secret)), Some(client()));
    assert_eq!(world.snapshot.cache().misses(), 1);
    world.stand(|standing| standing.state = StandingState::Suspended);
    for _ in 0..3 {
        check(&world, &ask(&good), "deny suspended me");
    }
    assert_eq!((world.snapshot.cache().misses(), world.snapshot.cache().len()), (2, 2));
    world.stand(|standing| standing.state = StandingState::Active);
    check(&world, &ask(&good), "allow me acme");
    check(&world, &ask(&of_no_secret), "deny revoked me");
    assert_eq!(world.snapshot.cache().misses(), 2, "and its rights were worked out anew");
}

/// A wrong signature is found once, and stays the reason, whatever else is wrong; good
/// tokens are not pushed out, and a token's shape is no miss of the cache.
#[test]
fn a_wrong_signature_is_remembered_apart() {
    let mut world = World::new();
    let ask = |text: &str| Ask::new("GET", "/v1/me").with(text);
    let good = token(|_| {});
    check(&world, &ask(&good), "allow me acme");
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let bent = |place: usize| {
        let mut bent = signature.as_bytes().to_vec();
        bent[place] = if bent[place] == b'A' { b'B' } else { b'A' };
        format!("{signed}.{}", String::from_utf8(bent).unwrap())
    };
    for place in 0..80 {
        check(&world, &ask(&bent(place)), "deny bad_signature me");
    }
    world.now = at(NOW + 365 * 86_400);
    for place in 0..80 {
        check(&world, &ask(&bent(place)), "deny bad_signature me");
    }
    check(&world, &ask(&good), "deny expired me");
    world.now = at(NOW);
    let misses = world.snapshot.cache().misses();
    check(&world, &ask(&good), "allow me acme");
    check(&world, &ask(&format!("{good}=")), "deny token_malformed me");
    assert_eq!(world.snapshot.cache().misses(), misses);
    assert_eq!(world.snapshot.cache().len(), 1);
    check(&world, &ask(&bent(0)), "deny bad_signature me");
    assert!(world.snapshot.cache().misses() > misses, "it is none of the good ones");
}
