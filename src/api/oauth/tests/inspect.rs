//! The legacy checker and introspection.

use super::*;

fn introspect(gateway: &Gateway, caller: &Client, token: &str) -> Answer {
    gateway
        .form("/oauth2/introspect", &format!("{}&token={token}&token_type_hint=x", caller.form()))
}

#[test]
fn a_live_token() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let token = gateway.token(&client, "&expires_in=100");
    gateway.clock.advance(Duration::from_secs(40));
    let info = gateway.get(&format!("/token?access_token={token}"));
    assert_eq!(info.status, 200);
    assert_eq!(info.headers["cache-control"], "no-store");
    let scope = "campaign.list campaign.toggle env:*";
    let id = client.id.to_string();
    let expected = serde_json::json!({
        "client_id": id, "account": "acme", "expires_in": 60, "scope": scope});
    assert_eq!(info.body, expected);
    let answer = introspect(&gateway, &client, &token);
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["cache-control"], "no-store");
    let mut body = answer.body;
    let jti = body.as_object_mut().unwrap().remove("jti").unwrap();
    assert!(Jti::parse(jti.as_str().unwrap()).is_some());
    let expected = serde_json::json!({
        "active": true, "scope": scope, "client_id": id, "sub": id, "token_type": "Bearer",
        "exp": NOW + 100, "iat": NOW, "iss": ISSUER, "aud": "campaign-api", "account": "acme"});
    assert_eq!(body, expected);
}

#[test]
fn what_is_no_live_token() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let other = gateway.client(|_| {});
    let token = gateway.token(&client, "&expires_in=100");
    let inactive = |caller: &Client, token: &str| {
        let answer = introspect(&gateway, caller, token);
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "{\"active\":false}"));
    };
    let refused = |token: &str| {
        gateway.get(&format!("/token?access_token={token}")).assert(400, "invalid_token");
    };
    for bad in ["x", "a.b.c", "*", &token[1..], &format!("{token}A"), &"A".repeat(9000)] {
        refused(bad);
        inactive(&client, bad);
    }
    inactive(&other, &token);
    assert_eq!(gateway.get(&format!("/token?access_token={token}")).status, 200);
    // Each way to end it, and back where there is a way back.
    gateway.change(&client, |c| c.state = CredentialState::Suspended);
    refused(&token);
    introspect(&gateway, &client, &token).assert(401, "invalid_client");
    gateway.change(&client, |c| c.state = CredentialState::Active);
    let now = gateway.context.now();
    let world = gateway.context.world.load_full();
    let read = crate::token::UnverifiedToken::parse(&token).unwrap();
    let jti = crate::token::verify(read, world.keys(), world.expectations(), now).unwrap().jti();
    assert_eq!(gateway.get(&format!("/token?access_token={token}")).status, 200);
    gateway.context.memory.revoked.revoke_token(jti, now);
    refused(&token);
    inactive(&client, &token);
    // Its end counts without skew.
    let token = gateway.token(&client, "&expires_in=100");
    gateway.clock.advance(Duration::from_millis(99_999));
    assert_eq!(gateway.get(&format!("/token?access_token={token}")).body["expires_in"], 1);
    gateway.clock.advance(Duration::from_millis(1));
    refused(&token);
    inactive(&client, &token);
}

#[test]
fn less_right_shows_at_once() {
    let gateway = Gateway::new();
    let client = gateway.client(|c| {
        c.extra_scopes.insert(Scope::new("flag.list").unwrap());
    });
    let token = gateway.token(&client, "&scope=flag.list+campaign.list+env:e1");
    let scope = || gateway.get(&format!("/token?access_token={token}")).body["scope"].clone();
    assert_eq!(scope(), "campaign.list flag.list env:e1");
    gateway.change(&client, |c| c.extra_scopes.clear());
    assert_eq!(scope(), "campaign.list env:e1");
    let elsewhere = BTreeSet::from([EnvironmentId::new("e2").unwrap()]);
    gateway.change(&client, |c| c.environments = Environments::Only(elsewhere));
    assert_eq!(scope(), "campaign.list");
}

#[test]
fn broken_questions() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let token = gateway.token(&client, "");
    for (query, error) in [
        ("", "invalid_token"),
        ("?", "invalid_token"),
        ("?access_token=", "invalid_token"),
        ("?token=x", "invalid_token"),
        ("?access_token=%zz", "invalid_request"),
    ] {
        gateway.get(&format!("/token{query}")).assert(400, error);
    }
    let twice = format!("/token?access_token={token}&access_token={token}");
    gateway.get(&twice).assert(400, "invalid_request");
    let anonymous = gateway.form("/oauth2/introspect", &format!("token={token}"));
    anonymous.assert(401, "invalid_client");
    assert_eq!(anonymous.headers["www-authenticate"], "Basic realm=\"portcullis\"");
    gateway.form("/oauth2/introspect", &client.form()).assert(400, "invalid_request");
    let basic = http::Request::post("/oauth2/introspect")
        .header("authorization", client.basic())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}"))
        .unwrap();
    assert_eq!(gateway.send(basic).body["active"], true);
}
