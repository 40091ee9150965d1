//! The wall clock goes back.

use std::time::Duration;

use portcullis::domain::{Clock, UnixTime};
use portcullis::service::sweep;
use serde_json::json;

use crate::harness::Harness;
use crate::raw::Raw;

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn revoke(h: &Harness, token: &str) -> serde_json::Value {
    let (status, receipt) = h.admin("POST", "/v1/revocations", json!({ "token": token })).await;
    assert_eq!(status, 200, "{receipt}");
    receipt
}

/// What was forgotten because it was over must not come back with the time at which it
/// lived, whether or not the gateway is started again in between.
#[tokio::test(flavor = "multi_thread")]
async fn a_swept_revocation_stays_when_the_clock_goes_back() {
    let mut h = Harness::builder().engine("sled").start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    revoke(&h, &token).await;
    let begin = h.clock.now();
    h.clock.advance(DAY * 4);
    assert_eq!(sweep(&h.running().context).await, Ok(1));
    assert_eq!(h.running().context.memory.revoked.token_count(), 0);
    assert!(h.running().readiness.reasons().is_empty());
    h.clock.set(begin);
    for restarted in [false, true] {
        if restarted {
            h.restart().await;
        }
        let (status, body) = h.ask("GET", "/any/acme/x", Some(&token)).await;
        assert_eq!(status, 401, "{body}");
        let reasons = h.running().readiness.reasons();
        assert!(reasons.iter().any(|why| why.contains("clock")), "{reasons:?}");
        let metrics = h.metrics().await;
        let line = metrics.lines().find(|line| line.starts_with("portcullis_clock_behind_seconds"));
        let behind: f64 = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!(behind > 2.0 * 24.0 * 3600.0, "{behind}");
    }
    // Set right, it is ready again.
    h.clock.set(begin.plus(DAY * 4));
    assert!(h.running().readiness.reasons().is_empty());
}

/// A little back, as time servers do it: receipts keep their order, what is revoked stays
/// revoked, and new tokens can be signed and are believed.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_step_back_changes_no_order_and_loses_nothing() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let (first, second) = (h.trade(&minted).await, h.trade(&minted).await);
    let before = revoke(&h, &first).await;
    let (status, _) = h.admin("POST", "/v1/keys/rotate", json!({ "activate_after": "0s" })).await;
    assert_eq!(status, 201);
    let now = h.clock.now();
    h.clock.set(UnixTime::from_secs(now.as_secs() - 3600));
    let after = revoke(&h, &second).await;
    assert!(after["revision"].as_u64() > before["revision"].as_u64());
    assert!(after["revoked_at"].as_str() < before["revoked_at"].as_str());
    for token in [&first, &second] {
        assert_eq!(h.ask("GET", "/any/acme/x", Some(token)).await.0, 401);
    }
    // The first receipt is the first by its commit, whatever the clock said.
    assert_eq!(revoke(&h, &first).await["revision"], before["revision"]);
    let token = h.trade(&minted).await;
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
    assert!(h.running().readiness.reasons().is_empty());
}

/// Tokens and credentials follow the clock in steps of any size, forwards and backwards,
/// to the second and by the skew that is allowed; a remembered token no less than one
/// that was never seen.
#[tokio::test(flavor = "multi_thread")]
async fn tokens_follow_the_clock_by_the_skew() {
    const LIFE: i64 = 12 * 3600;
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let begin = h.clock.now().as_secs();
    let seen = h.trade(&minted).await;
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&seen)).await.0, 200);
    for (step, reason) in [
        (-30, None),
        (-31, Some("not_yet_valid")),
        (-100 * 86_400, Some("not_yet_valid")),
        (LIFE + 29, None),
        (LIFE + 30, Some("expired")),
        (1000 * 86_400, Some("expired")),
        (0, None),
    ] {
        // One that nobody has verified yet, made at the same time.
        h.clock.set(UnixTime::from_secs(begin));
        let fresh = h.trade(&minted).await;
        h.clock.set(UnixTime::from_secs(begin + step));
        for token in [&seen, &fresh] {
            let (status, body) = h.ask("GET", "/any/acme/x", Some(token)).await;
            assert_eq!(status, if reason.is_some() { 401 } else { 200 }, "{step}: {body}");
            if let Some(reason) = reason {
                let id = body["request_id"].clone();
                let line = h.logged(|line| line["request_id"] == id).await;
                assert_eq!(line["reason"], reason, "{step}");
            }
        }
    }
}

/// A step forwards ends open streams and credentials whose time is over; a step back
/// opens nothing that was cut, and wakes no credential that a person ended.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_forwards_ends_what_is_over_and_a_step_back_brings_no_revoked_one_back() {
    let h = Harness::start().await;
    let begin = h.clock.now();
    let ends = begin.plus(Duration::from_secs(3600));
    let body = json!({
        "name": "n", "account": "acme", "roles": ["reader"], "expires_at": ends.to_string()
    });
    let (short, revoked) = (h.mint_with(body).await, h.mint(&["reader"]).await);
    let (token, dead) = (h.trade(&short).await, h.trade(&revoked).await);
    let mut stream = Raw::connect(h.data()).await;
    let head = format!("Host: h\r\nAuthorization: Bearer {token}\r\n\r\n");
    stream.send(format!("GET /any/acme/events HTTP/1.1\r\n{head}")).await;
    h.upstream.wait_for_streams(1).await;
    let path = format!("/v1/credentials/{}/revoke", revoked.client_id);
    assert_eq!(h.admin("POST", &path, json!({ "reason": "r" })).await.0, 200);
    h.clock.set(ends.plus(Duration::from_secs(1)));
    assert!(stream.is_closed().await);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 401);
    assert_eq!(h.try_trade(&short).await.0, 400);
    h.clock.set(begin);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
    for back in [0, 3600, 400 * 86_400] {
        h.clock.set(UnixTime::from_secs(begin.as_secs() - back));
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&dead)).await.0, 401);
        assert_eq!(h.try_trade(&revoked).await.0, 400);
    }
}
