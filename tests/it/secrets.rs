//! Nothing secret lies anywhere in clear.

use std::path::Path;

use serde_json::json;

use crate::harness::Harness;
use crate::raw::once;

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

/// In each place of a request that the log tells of.
async fn send_where_it_does_not_belong(h: &Harness, token: &str, secret: &str) {
    let authorization = format!("Authorization: Bearer {token}");
    for shape in [
        "/any/acme/{}",
        "/any/acme/{}/x",
        "/any/acme/x;t={}",
        "/any/acme/access_token={}",
        "/any/acme/&access_token={}",
        "/any/acme/Bearer%20{}",
        "/any/acme/id:{}",
        "/any/acme/;client_secret={}",
        "/any/acme/%7B{}",
        "/any/acme/a%2f{}",
        "/any/acme/%2561{}",
        "/dead/acme/{}",
        "/nowhere/{}",
        "http://u:{}@h/",
        "{}:443",
    ] {
        let target = shape.replace("{}", secret);
        let head = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{authorization}\r\n\r\n");
        once(h.data(), &head).await.expect("an answer");
        let hidden = target.replace("pcs1", "%70cs1").replace("eyJ", "e%79J");
        let head = format!("GET {hidden} HTTP/1.1\r\nHost: h\r\n{authorization}\r\n\r\n");
        once(h.data(), &head).await.expect("an answer");
    }
    let head = format!("{secret} /any/acme/x HTTP/1.1\r\nHost: h\r\n{authorization}\r\n\r\n");
    once(h.data(), &head).await.expect("an answer");
    for path in ["/any/acme/x", "/dead/acme/x"] {
        for id in [secret.to_owned(), format!("id:{secret}")] {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: h\r\n{authorization}\r\nX-Request-Id: {id}\r\n\r\n"
            );
            let answer = once(h.data(), &head).await.expect("an answer");
            assert!(answer.field("x-request-id").is_none_or(|said| !said.contains(secret)));
        }
    }
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
    for secret in [&token, &kept.client_secret] {
        send_where_it_does_not_belong(&h, &token, secret).await;
    }
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
        ("a secret, but for how it begins", kept.client_secret[4..].to_owned()),
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
