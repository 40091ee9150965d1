//! Revocation by the token's own client (RFC 7009).

use super::*;
use crate::store::CommitError;

fn revoke(gateway: &Gateway, caller: &Client, token: &str) -> Answer {
    gateway.form("/oauth2/revoke", &format!("{}&token={token}", caller.form()))
}

fn live(gateway: &Gateway, token: &str) -> bool {
    gateway.get(&format!("/token?access_token={token}")).status == 200
}

fn counted(gateway: &Gateway) -> u64 {
    gateway.metrics.revocations.with_label_values(&["token"]).get()
}

#[track_caller]
fn assert_done(answer: &Answer) {
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""));
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[test]
fn a_client_ends_its_own_token_and_no_other() {
    let gateway = Gateway::new();
    let (client, other) = (gateway.client(|_| {}), gateway.client(|_| {}));
    let (token, spare) = (gateway.token(&client, ""), gateway.token(&client, ""));
    revoke(&gateway, &other, &token).assert(400, "invalid_grant");
    assert!(live(&gateway, &token));
    assert_done(&revoke(&gateway, &client, &token));
    assert!(!live(&gateway, &token) && live(&gateway, &spare));
    assert_done(&revoke(&gateway, &client, &token));
    assert_eq!(counted(&gateway), 1);
    let hinted = format!("{}&token={spare}&token_type_hint=refresh_token", client.form());
    assert_done(&gateway.form("/oauth2/revoke", &hinted));
    assert!(!live(&gateway, &spare));
    let (trail, _) = gateway.context.memory.trail.list(None, 1, |_| true);
    let (_, entry) = &trail[0];
    assert_eq!(
        (entry.action, &entry.actor),
        (Action::TokenRevoked, &format!("client {}", client.id))
    );
    assert_eq!(entry.source, "data plane");
}

#[test]
fn nobody_fills_the_trail_with_tokens_of_its_own() {
    let gateway = Gateway::new();
    let (client, other) = (gateway.client(|_| {}), gateway.client(|_| {}));
    let token = gateway.token(&client, "");
    for _ in 0..600 {
        assert_done(&revoke(&gateway, &client, &token));
    }
    let refused = revoke(&gateway, &client, &token);
    refused.assert(429, "rate_limited");
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.headers["ratelimit-policy"], "\"rate\";q=600;w=60");
    assert_eq!(refused.headers["ratelimit"], "\"rate\";r=0;t=1");
    assert_done(&revoke(&gateway, &other, &gateway.token(&other, "")));
}

#[test]
fn what_is_no_token_is_as_good_as_revoked() {
    let gateway = Gateway::new();
    let (client, other) = (gateway.client(|_| {}), gateway.client(|_| {}));
    let token = gateway.token(&client, "&expires_in=100");
    let head = gateway.store.status().head;
    for bad in ["x", "a.b.c", &token[1..], &format!("{token}A"), &"A".repeat(9000)] {
        assert_done(&revoke(&gateway, &client, bad));
    }
    // Past its end it lives on for the skew of clocks, and can be ended.
    gateway.clock.advance(Duration::from_secs(115));
    revoke(&gateway, &other, &token).assert(400, "invalid_grant");
    assert_eq!(gateway.store.status().head, head);
    assert_done(&revoke(&gateway, &client, &token));
    assert_eq!(gateway.store.status().head, head + 1);
    gateway.clock.advance(Duration::from_secs(60));
    assert_done(&revoke(&gateway, &other, &token));
}

#[test]
fn who_is_no_client_and_what_is_no_question() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let token = gateway.token(&client, "");
    let anonymous = gateway.form("/oauth2/revoke", &format!("token={token}"));
    anonymous.assert(401, "invalid_client");
    assert_eq!(anonymous.headers["www-authenticate"], "Basic realm=\"portcullis\"");
    gateway.form("/oauth2/revoke", &client.form()).assert(400, "invalid_request");
    gateway.get("/oauth2/revoke").assert(405, "method_not_allowed");
    assert!(live(&gateway, &token));
}

#[test]
fn a_store_that_is_away_is_told() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let token = gateway.token(&client, "");
    gateway.store.fail_next(CommitError::NotDone("full".into()));
    let answer = revoke(&gateway, &client, &token);
    answer.assert(503, "temporarily_unavailable");
    assert_eq!(answer.headers["retry-after"], "2");
    assert!(live(&gateway, &token));
    assert_done(&revoke(&gateway, &client, &token));
    assert_eq!(counted(&gateway), 1);
}
