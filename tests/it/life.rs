//! The life of a credential: narrowed, rotated, armed, and what it used.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Harness, Minted};
use crate::raw::Raw;
use crate::wait::{STEP, until};

const STAGE: &str = "/v1/accounts/acme/account_environments/prod/campaigns";
const CLEAR: &str = "/backend/accounts/acme/tag-clear";

fn of(minted: &Minted, rest: &str) -> String {
    format!("/v1/credentials/{}{rest}", minted.client_id)
}

/// A request that stays open until somebody ends it.
async fn upload(h: &Harness, method: &str, path: &str, token: &str) -> Raw {
    let mut raw = Raw::connect(h.data()).await;
    raw.send(format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 10\r\n\r\n12345"
    ))
    .await;
    raw
}

async fn open_streams(h: &Harness, minted: &Minted, count: u64) {
    until("as many streams", async || {
        let (_, impact) = h.admin("GET", &of(minted, "/impact"), json!(null)).await;
        impact["open_streams"] == count
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn narrowing_denies_and_cuts_what_it_concerns() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader", "library"]).await;
    let token = h.trade(&minted).await;
    assert_eq!(h.ask("GET", STAGE, Some(&token)).await.0, 200);
    let library = "/backend/accounts/acme/tag-rebuild";
    let mut lost = upload(&h, "PATCH", library, &token).await;
    let kept = upload(&h, "POST", "/any/acme/x", &token).await;
    open_streams(&h, &minted, 2).await;
    let (status, now) = h.admin("PATCH", &of(&minted, ""), json!({ "roles": ["reader"] })).await;
    assert_eq!((status, &now["scopes"]), (200, &json!(["campaign.list", "campaign.read"])));
    assert!(lost.is_closed().await);
    open_streams(&h, &minted, 1).await;
    assert_eq!(h.ask("PATCH", library, Some(&token)).await.0, 403);
    assert_eq!(h.ask("GET", STAGE, Some(&token)).await.0, 200);
    h.metered(&["portcullis_streams_cut_total{reason=\"narrowed\"} 1"]).await;
    h.admin("PATCH", &of(&minted, ""), json!({ "environments": ["test"] })).await;
    assert_eq!(h.ask("GET", STAGE, Some(&token)).await.0, 403);
    // What it got back counts again, on the same token.
    h.admin("PATCH", &of(&minted, ""), json!({ "environments": ["*"] })).await;
    assert_eq!(h.ask("GET", STAGE, Some(&token)).await.0, 200);
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_overlap_and_each_dies_with_its_own_tokens() {
    let h = Harness::start().await;
    let old = h.mint(&["reader"]).await;
    let (status, made) =
        h.admin("POST", &of(&old, "/secrets"), json!({ "retire_old_after": "24h" })).await;
    assert_eq!((status, &made["generation"]), (201, &json!(2)), "{made}");
    let secret = made["client_secret"].as_str().unwrap().to_owned();
    let new = Minted { client_secret: secret, ..old.clone() };
    let (old_token, new_token) = (h.trade(&old).await, h.trade(&new).await);
    let mut cut = upload(&h, "POST", "/any/acme/x", &old_token).await;
    let kept = upload(&h, "POST", "/any/acme/x", &new_token).await;
    open_streams(&h, &old, 2).await;
    let (_, impact) = h.admin("GET", &of(&old, "/impact"), json!(null)).await;
    assert_eq!(impact["live_tokens"], 2, "{impact}");
    let (status, receipt) = h.admin("DELETE", &of(&old, "/secrets/1"), json!(null)).await;
    assert_eq!((status, &receipt["streams_closed"]), (200, &json!(1)), "{receipt}");
    assert!(cut.is_closed().await);
    // Another change in between: the receipt is still the first one.
    h.admin("PATCH", &of(&old, ""), json!({ "name": "other" })).await;
    assert_eq!(h.admin("DELETE", &of(&old, "/secrets/1"), json!(null)).await, (200, receipt));
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&old_token)).await.0, 401);
    let line = h.logged(|line| line["route"] == "oauth.token").await;
    assert_eq!((&line["client_id"], &line["account"]), (&json!(old.client_id), &json!("acme")));
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&new_token)).await.0, 200);
    assert_eq!((h.try_trade(&old).await.0, h.try_trade(&new).await.0), (400, 200));
    let (_, impact) = h.admin("GET", &of(&old, "/impact"), json!(null)).await;
    assert_eq!(impact["live_tokens"], 2, "one retired, one minted: {impact}");
    assert_eq!(impact["routes"], json!([{ "route": "any", "requests_last_hour": 3 }]));
    drop(kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retirement_that_was_set_later_ends_streams_too() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let mut stream = upload(&h, "POST", "/any/acme/x", &token).await;
    open_streams(&h, &minted, 1).await;
    h.admin("POST", &of(&minted, "/secrets"), json!({ "retire_old_after": "1h" })).await;
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
    h.clock.advance(Duration::from_secs(3600));
    assert!(stream.is_closed().await);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_armed_role_works_for_its_minutes() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader", "emergency"]).await;
    let token = h.trade(&minted).await;
    assert_eq!(h.ask("DELETE", CLEAR, Some(&token)).await.0, 403);
    h.logged(|line| line["reason"] == "not_armed").await;
    let arm = json!({ "role": "emergency", "for": "15m" });
    let (status, armed) = h.admin("POST", &of(&minted, "/arm"), arm.clone()).await;
    assert_eq!(status, 200, "{armed}");
    assert_eq!(h.ask("DELETE", CLEAR, Some(&token)).await.0, 200);
    let mut disarmed = upload(&h, "DELETE", CLEAR, &token).await;
    let plain = upload(&h, "POST", "/any/acme/x", &token).await;
    open_streams(&h, &minted, 2).await;
    let (_, asleep) =
        h.admin("POST", &of(&minted, "/disarm"), json!({ "role": "emergency" })).await;
    assert_eq!(asleep["streams_closed"], 1, "{asleep}");
    assert!(disarmed.is_closed().await);
    assert_eq!(h.ask("DELETE", CLEAR, Some(&token)).await.0, 403);

    h.clock.advance(Duration::from_secs(1));
    h.admin("POST", &of(&minted, "/arm"), arm).await;
    let mut lapsed = upload(&h, "DELETE", CLEAR, &token).await;
    open_streams(&h, &minted, 2).await;
    h.clock.advance(Duration::from_secs(900));
    assert_eq!(h.ask("DELETE", CLEAR, Some(&token)).await.0, 403);
    assert!(lapsed.is_closed().await);
    open_streams(&h, &minted, 1).await;
    let lapse = async {
        loop {
            let (_, trail) = h.admin("GET", "/v1/audit?q=role.lapse", json!(null)).await;
            if !trail["items"].as_array().unwrap().is_empty() {
                return trail;
            }
            tokio::time::sleep(STEP).await;
        }
    };
    let trail = tokio::time::timeout(Duration::from_secs(30), lapse).await.expect("a lapse");
    assert_eq!(trail["items"][0]["actor"], "gateway", "{trail}");
    // Three requests ran on it, in two windows.
    let (_, uses) = h.admin("GET", "/v1/audit?q=role.use", json!(null)).await;
    let uses = uses["items"].as_array().unwrap().clone();
    assert_eq!(uses.len(), 2, "{uses:?}");
    assert_eq!(uses[0]["actor"], format!("client {}", minted.client_id));
    assert_eq!(uses[0]["target"], minted.client_id);
    assert!(uses[0]["reason"].as_str().unwrap().starts_with("emergency until 2026-"), "{uses:?}");
    h.metered(&[
        "portcullis_armed_role_armings_total{role=\"emergency\"} 2",
        "portcullis_armed_role_uses_total{role=\"emergency\"} 3",
        "portcullis_armed_role_lapses_total{role=\"emergency\"} 1",
    ])
    .await;
    drop(plain);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_outlives_a_restart_and_narrows() {
    let mut h = Harness::builder().engine("sled").start().await;
    let minted = h.mint(&["reader", "operator", "emergency"]).await;
    let token = h.trade(&minted).await;
    assert_eq!(h.ask("GET", STAGE, Some(&token)).await.0, 200);
    assert_eq!(h.ask("PATCH", "/backend/accounts/acme/tag-rebuild", Some(&token)).await.0, 403);
    let (_, before) = h.admin("GET", &of(&minted, ""), json!(null)).await;
    assert_eq!(before["last_used_at"], "2026-11-22T03:00:00Z");
    h.restart().await;
    let (_, after) = h.admin("GET", &of(&minted, ""), json!(null)).await;
    assert_eq!(before, after);
    let (_, usage) = h.admin("GET", &of(&minted, "/usage"), json!(null)).await;
    assert_eq!(usage["used"], json!(["campaign.list"]), "{usage}");
    let (status, narrowed) = h.admin("POST", &of(&minted, "/narrow"), json!(null)).await;
    assert_eq!((status, &narrowed["scopes"]), (200, &json!(["campaign.list"])), "{narrowed}");
    assert_eq!(h.ask("GET", STAGE, Some(&token)).await.0, 200);
    let patch = h.ask("GET", &format!("{STAGE}/1"), Some(&token)).await;
    assert_eq!(patch.0, 403, "campaign.read was never used");
    h.restart().await;
    assert_eq!(h.ask("GET", STAGE, Some(&token)).await.0, 200);
    assert_eq!(h.ask("GET", &format!("{STAGE}/1"), Some(&token)).await.0, 403);
}
