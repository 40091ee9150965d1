//! Revoked is dead: at once, for good, under way or not, after a restart too.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis::store::{CommitError, MemoryStore};
use serde_json::json;

use crate::harness::Harness;
use crate::raw::Raw;

fn event_stream(token: &str) -> String {
    format!(
        "GET /any/acme/events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_credential_is_dead_for_tokens_new_and_old() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
    let path = format!("/v1/credentials/{}/revoke", minted.client_id);
    let (status, receipt) = h.admin("POST", &path, json!({"reason": "leaked"})).await;
    assert_eq!(status, 200, "{receipt}");
    assert!(receipt["revision"].is_u64() && receipt["revoked_at"].is_string(), "{receipt}");
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 401);
    assert_eq!(h.try_trade(&minted).await.0, 400);
    h.logged(|line| line["reason"] == "revoked").await;
    let (status, again) = h.admin("POST", &path, json!({"reason": "again"})).await;
    assert_eq!(
        (status, &again["revision"], &again["revoked_at"]),
        (200, &receipt["revision"], &receipt["revoked_at"])
    );
    let (_, shown) =
        h.admin("GET", &format!("/v1/credentials/{}", minted.client_id), json!(null)).await;
    assert_eq!(
        (shown["state"].as_str(), shown["revoked_reason"].as_str()),
        (Some("revoked"), Some("leaked"))
    );
    assert_eq!(shown["revoked_by"], "root");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_revoked_by_its_id_or_itself_and_others_live_on() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let (one, two, three) =
        (h.trade(&minted).await, h.trade(&minted).await, h.trade(&minted).await);
    for token in [&one, &two, &three] {
        assert_eq!(h.ask("GET", "/any/acme/x", Some(token)).await.0, 200);
    }
    let jti = h.upstream.seen()[0].field("x-portcullis-jti").unwrap().to_owned();
    let (status, receipt) = h.admin("POST", "/v1/revocations", json!({"jti": jti})).await;
    assert_eq!(status, 200, "{receipt}");
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&one)).await.0, 401);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&two)).await.0, 200);
    let (status, _) = h.admin("POST", "/v1/revocations", json!({"token": two})).await;
    assert_eq!(status, 200);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&two)).await.0, 401);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&three)).await.0, 200);
    let metrics = h.metrics().await;
    assert!(metrics.contains("portcullis_revocation_set_size{kind=\"token\"} 2"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_and_keys_outlive_a_restart() {
    let mut h = Harness::builder().engine("sled").start().await;
    let (dead, alive) = (h.mint(&["reader"]).await, h.mint(&["reader"]).await);
    let (dead_token, single, kept) =
        (h.trade(&dead).await, h.trade(&alive).await, h.trade(&alive).await);
    h.admin("POST", &format!("/v1/credentials/{}/revoke", dead.client_id), json!({"reason": "r"}))
        .await;
    h.admin("POST", "/v1/revocations", json!({"token": single})).await;
    for _ in 0..2 {
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&dead_token)).await.0, 401);
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&single)).await.0, 401);
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&kept)).await.0, 200);
        assert_eq!(h.try_trade(&dead).await.0, 400);
        assert_eq!(h.try_trade(&alive).await.0, 200);
        h.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_cut_and_the_rest_is_not() {
    let h = Harness::start().await;
    let (dead, alive) = (h.mint(&["reader"]).await, h.mint(&["reader"]).await);
    let (dead_token, alive_token) = (h.trade(&dead).await, h.trade(&alive).await);
    let mut cut = Raw::connect(h.data()).await;
    let mut kept = Raw::connect(h.data()).await;
    cut.send(event_stream(&dead_token)).await;
    kept.send(event_stream(&alive_token)).await;
    cut.head().await.unwrap();
    kept.head().await.unwrap();
    h.upstream.wait_for_streams(2).await;
    let (_, receipt) = h
        .admin(
            "POST",
            &format!("/v1/credentials/{}/revoke", dead.client_id),
            json!({"reason": "r"}),
        )
        .await;
    assert_eq!(receipt["streams_closed"], 1, "{receipt}");
    assert!(cut.is_closed().await);
    h.upstream.wait_for_streams(1).await;
    h.logged(|line| line["reason"] == "revoked" && line["decision"] == "allow").await;
    h.metered(&["portcullis_streams_cut_total{reason=\"revoked\"} 1", "portcullis_open_streams 1"])
        .await;
    drop(kept);
    h.upstream.wait_for_streams(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tokens_own_end_ends_its_streams() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    let mut raw = Raw::connect(h.data()).await;
    raw.send(event_stream(&token)).await;
    raw.head().await.unwrap();
    h.upstream.wait_for_streams(1).await;
    h.clock.advance(Duration::from_secs(12 * 3600 + 30));
    assert!(raw.is_closed().await);
    h.upstream.wait_for_streams(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn suspended_sleeps_and_wakes() {
    let h = Harness::start().await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let call = |verb: &str| format!("/v1/credentials/{}/{verb}", minted.client_id);
    let (status, first) = h.admin("POST", &call("suspend"), json!({})).await;
    assert_eq!(status, 200, "{first}");
    // Again, and after another change: the same receipt, and nothing new.
    let rename = format!("/v1/credentials/{}", minted.client_id);
    h.admin("PATCH", &rename, json!({"name": "other"})).await;
    let head = h.running().context.store.status().head;
    assert_eq!(h.admin("POST", &call("suspend"), json!({})).await, (200, first));
    assert_eq!(h.running().context.store.status().head, head);
    let metrics = h.metrics().await;
    assert!(metrics.contains("revocations_total{kind=\"suspension\"} 1"), "{metrics}");
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 401);
    h.logged(|line| line["reason"] == "suspended").await;
    assert_eq!(h.try_trade(&minted).await.0, 400);
    assert_eq!(h.admin("POST", &call("resume"), json!({})).await.0, 200);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
}

/// 1,000 requests are under way while the credential is revoked: none that
/// starts after the receipt succeeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_request_that_starts_after_the_receipt_succeeds() {
    let h = Arc::new(Harness::builder().engine("sled").start().await);
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let revoked = Arc::new(AtomicBool::new(false));
    let mut asking = tokio::task::JoinSet::new();
    // Half of them hang in the upstream, the other half come again and again.
    for n in 0..1000 {
        let (h, token, revoked) = (Arc::clone(&h), token.clone(), Arc::clone(&revoked));
        asking.spawn(async move {
            let word = if n % 2 == 0 { "wait" } else { "x" };
            let request = format!(
                "GET /any/acme/{word} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
            );
            let mut raw = Raw::connect(h.data()).await;
            let (mut before, mut after) = (0, 0);
            loop {
                let late = revoked.load(Ordering::SeqCst);
                if !raw.try_send(&request).await {
                    raw = Raw::connect(h.data()).await;
                    continue;
                }
                match raw.answer().await {
                    Some(answer) if answer.status == 200 => {
                        assert!(!late, "a request that began after the receipt got a 200");
                        before += 1;
                    }
                    Some(answer) => {
                        assert_eq!(answer.status, 401);
                        after += 1;
                    }
                    // Cut while under way.
                    None => raw = Raw::connect(h.data()).await,
                }
                if late {
                    return (before, after);
                }
            }
        });
    }
    h.upstream.wait_for_such(500, |seen| seen.target().ends_with("/wait")).await;
    h.upstream.wait_for(1500).await;
    let (status, receipt) = h
        .admin(
            "POST",
            &format!("/v1/credentials/{}/revoke", minted.client_id),
            json!({"reason": "r"}),
        )
        .await;
    revoked.store(true, Ordering::SeqCst);
    assert_eq!(status, 200, "{receipt}");
    assert!(receipt["streams_closed"].as_u64().unwrap() >= 500, "{receipt}");
    let (mut before, mut after) = (0, 0);
    while let Some(counts) = asking.join_next().await {
        let (b, a) = counts.unwrap();
        before += b;
        after += a;
    }
    assert!(before > 0 && after >= 1000, "{before} before, {after} after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_that_fails_gives_an_error_and_no_receipt() {
    let store = Arc::new(MemoryStore::new());
    let h = Harness::builder()
        .store(Arc::clone(&store) as Arc<dyn portcullis::store::Store>)
        .start()
        .await;
    let minted = h.mint(&["reader"]).await;
    let token = h.trade(&minted).await;
    let path = format!("/v1/credentials/{}/revoke", minted.client_id);
    for error in
        [CommitError::NotDone("disk full".into()), CommitError::Unknown("I/O error".into())]
    {
        store.fail_next(error);
        let (status, body) = h.admin("POST", &path, json!({"reason": "r"})).await;
        assert_eq!((status, body["error"].as_str()), (503, Some("unavailable")), "{body}");
        assert!(body["revision"].is_null());
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200, "nothing happened");
    }
    assert_eq!(h.admin("POST", &path, json!({"reason": "r"})).await.0, 200);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_revocations_at_once_all_come_back() {
    let h = Arc::new(Harness::builder().engine("sled").start().await);
    let mut ids = Vec::new();
    for _ in 0..64 {
        ids.push(h.mint(&["reader"]).await.client_id);
    }
    let mut asking = tokio::task::JoinSet::new();
    for id in ids {
        let h = Arc::clone(&h);
        asking.spawn(async move {
            h.admin("POST", &format!("/v1/credentials/{id}/revoke"), json!({"reason": "r"})).await
        });
    }
    while let Some(answer) = asking.join_next().await {
        assert_eq!(answer.unwrap().0, 200);
    }
}
