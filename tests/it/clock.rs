//! The wall clock goes back.

use std::time::Duration;

use portcullis::domain::{Clock, UnixTime};
use portcullis::service::sweep;
use serde_json::json;

use crate::harness::Harness;

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
