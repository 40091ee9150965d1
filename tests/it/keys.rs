//! A signing key that others know: dropped at once, for good.

use serde_json::{Value, json};

use crate::harness::Harness;
use crate::raw::Raw;

async fn published(h: &Harness) -> Vec<String> {
    let (_, jwks) = h.ask("GET", "/.well-known/jwks.json", None).await;
    let keys = jwks["keys"].as_array().unwrap().iter();
    keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_takes_its_tokens_and_streams_with_it() {
    let mut h = Harness::builder().engine("sled").start().await;
    let minted = h.mint(&["reader"]).await;
    let old = h.trade(&minted).await;
    let [first] = published(&h).await.try_into().unwrap();
    let (_, next) = h.admin("POST", "/v1/keys/rotate", json!({ "activate_after": "0s" })).await;
    let next = next["kid"].as_str().unwrap().to_owned();
    let kept = h.trade(&minted).await;
    let stream = |token: &str| {
        format!(
            "GET /any/acme/events HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {token}\r\n\r\n"
        )
    };
    let (mut cut, mut alive) = (Raw::connect(h.data()).await, Raw::connect(h.data()).await);
    cut.send(stream(&old)).await;
    alive.send(stream(&kept)).await;
    cut.head().await.unwrap();
    alive.head().await.unwrap();
    h.upstream.wait_for_streams(2).await;
    let path = format!("/v1/keys/{first}/revoke");
    assert_eq!(h.admin("POST", &path, json!({})).await.0, 422, "it takes a reason");
    let (status, receipt) = h.admin("POST", &path, json!({ "reason": "leaked" })).await;
    assert_eq!((status, &receipt["streams_closed"]), (200, &json!(1)), "{receipt}");
    assert!(cut.is_closed().await);
    h.upstream.wait_for_streams(1).await;
    for _ in 0..2 {
        assert_eq!(published(&h).await, std::slice::from_ref(&next));
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&old)).await.0, 401);
        assert_eq!(h.ask("GET", "/any/acme/x", Some(&kept)).await.0, 200);
        let again = h.admin("POST", &path, json!({ "reason": "again" })).await;
        assert_eq!(again, (200, receipt.clone()));
        alive = Raw::connect(h.data()).await;
        h.restart().await;
    }
    drop(alive);
    h.admin("POST", "/v1/keys/nonsense/revoke", json!({ "reason": "r" })).await;
    // The one that signs: another takes its place at once.
    let path = format!("/v1/keys/{next}/revoke");
    assert_eq!(h.admin("POST", &path, json!({ "reason": "r" })).await.0, 200);
    let [new] = published(&h).await.try_into().unwrap();
    assert!(![&first, &next].contains(&&new));
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&kept)).await.0, 401);
    let token = h.trade(&minted).await;
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
    let metrics = h.metrics().await;
    for line in ["revocations_total{kind=\"key\"} 1", "revocation_set_size{kind=\"key\"} 2"] {
        assert!(metrics.contains(&format!("portcullis_{line}")), "{line}: {metrics}");
    }
    let (_, trail) = h.admin("GET", "/v1/audit?q=key.revoke", Value::Null).await;
    assert_eq!(trail["items"].as_array().unwrap().len(), 2, "{trail}");
    assert_eq!(trail["items"][1]["reason"], "leaked");
    let (_, whole) = h.admin("GET", "/v1/audit/verify", Value::Null).await;
    assert_eq!(whole["ok"], true, "{whole}");
}
