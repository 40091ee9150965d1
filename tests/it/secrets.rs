//! Nothing secret lies anywhere in clear.

use std::path::Path;

use serde_json::json;

use crate::harness::Harness;

/// Every byte of every file below a folder.
fn contents(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, all);
        } else {
            all.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
}

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[tokio::test(flavor = "multi_thread")]
async fn state_folder_log_and_metrics_hold_no_secret_in_clear() {
    let mut h = Harness::builder().engine("sled").start().await;
    let (kept, dead) = (h.mint(&["reader"]).await, h.mint(&["operator"]).await);
    let (token, dead_token) = (h.trade(&kept).await, h.trade(&dead).await);
    h.ask("GET", "/any/acme/x", Some(&token)).await;
    h.ask(
        "GET",
        &format!("/any/acme/x?access_token={token}&client_secret={}", kept.client_secret),
        Some(&token),
    )
    .await;
    h.ask("GET", &format!("/token?access_token={token}"), None).await;
    h.ask("GET", "/any/acme/x", Some(&kept.client_secret)).await;
    h.admin("POST", "/v1/revocations", json!({"token": dead_token})).await;
    h.admin("POST", &format!("/v1/credentials/{}/revoke", dead.client_id), json!({"reason": "r"}))
        .await;
    let (_, made) =
        h.admin("POST", "/v1/admins", json!({"name": "second", "role": "viewer"})).await;
    let second_key = made["key"].as_str().unwrap().to_owned();
    let seal_key = std::fs::read_to_string(h.folder.path().join("state.key")).unwrap();
    let metrics = h.metrics().await;
    let (_, listed) = h.admin("GET", "/v1/credentials", json!(null)).await;
    let (_, trail) = h.admin("GET", "/v1/audit", json!(null)).await;
    let admin_key = h.admin_key.clone();
    h.stop().await;

    let mut places = Vec::new();
    contents(&h.state_folder(), &mut places);
    assert!(
        places.iter().any(|(_, bytes)| has(bytes, kept.client_id.as_bytes()) || bytes.len() > 1000),
        "the scan sees the store"
    );
    places.push(("the log".into(), h.log.text().into_bytes()));
    places.push(("the metrics".into(), metrics.into_bytes()));
    places.push(("the list".into(), listed.to_string().into_bytes()));
    places.push(("the audit trail".into(), trail.to_string().into_bytes()));
    assert!(has(
        &places.iter().find(|(name, _)| name == "the log").unwrap().1,
        kept.client_id.as_bytes()
    ));
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    let secrets = [
        ("a client secret", kept.client_secret.clone()),
        ("a client secret", dead.client_secret.clone()),
        ("an administrator's key", admin_key),
        ("an administrator's key", second_key),
        ("a token", token.clone()),
        ("a token's signature", signature(&token)),
        ("a token's signature", signature(&dead_token)),
        ("the sealing key", seal_key.trim().to_owned()),
    ];
    for (place, bytes) in &places {
        for (what, secret) in &secrets {
            assert!(!has(bytes, secret.as_bytes()), "{what} stands in {place}");
        }
        // The beginning of every PKCS#8 Ed25519 private key, and PEM's.
        assert!(
            !has(bytes, b"\x06\x03\x2b\x65\x70\x04\x22\x04\x20"),
            "a private key stands in {place}"
        );
        assert!(!has(bytes, b"PRIVATE KEY"), "a private key stands in {place}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_file_is_private_and_needed() {
    use std::os::unix::fs::PermissionsExt;
    let mut h = Harness::builder().engine("sled").start().await;
    let path = h.folder.path().join("state.key");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(h.state_folder().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let token = h.token(&["reader"]).await;
    h.stop().await;
    let right = std::fs::read(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = h.try_launch().await.unwrap_err().to_string();
    assert!(error.contains("key file") && error.contains("missing"), "{error}");
    std::fs::write(&path, "0".repeat(64)).unwrap();
    let error = h.try_launch().await.unwrap_err().to_string();
    assert!(error.contains("key"), "{error}");
    std::fs::write(&path, right).unwrap();
    h.try_launch().await.unwrap();
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200, "the keys are the same");
}
