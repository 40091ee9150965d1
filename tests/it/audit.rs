//! The trail, administrators and signing keys over the wire.

use std::sync::Arc;
use std::time::Duration;

use portcullis::store::chain::{Head, link_to};
use portcullis::store::codec::key;
use portcullis::store::{Change, Entry, MemoryStore, Op, Store};
use serde_json::{Value, json};

use crate::harness::Harness;

const CAMPAIGNS: &str = "/v1/accounts/acme/account_environments/e1/campaigns";

async fn verify(gateway: &Harness) -> Value {
    let (status, report) = gateway.admin("GET", "/v1/audit/verify", Value::Null).await;
    assert_eq!(status, 200, "{report}");
    report
}

/// Runs the binary against the admin port.
async fn command(gateway: &Harness, arguments: &[&str]) -> (i32, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command
        .args(arguments)
        .env("PORTCULLIS_ADMIN_URL", format!("http://{}", gateway.running().admin))
        .env("PORTCULLIS_ADMIN_KEY", &gateway.admin_key);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

fn trail(store: &dyn Store) -> Vec<Entry> {
    let mut entries = Vec::new();
    store.scan(&key::audit_prefix(), &mut |entry| entries.push(entry)).unwrap();
    entries
}

#[tokio::test]
async fn a_flipped_byte_in_the_trail_is_named() {
    let store = Arc::new(MemoryStore::new());
    let gateway = Harness::builder().store(Arc::clone(&store) as Arc<dyn Store>).start().await;
    for _ in 0..5 {
        gateway.mint(&["reader"]).await;
    }
    let report = verify(&gateway).await;
    assert_eq!((&report["ok"], &report["first_broken"]), (&json!(true), &Value::Null));
    let (code, text) = command(&gateway, &["audit", "verify"]).await;
    assert!(code == 0 && text.contains("whole"), "{text}");
    let (_, lines) = gateway.admin("GET", "/v1/audit?limit=1", Value::Null).await;
    assert_eq!(lines["items"][0]["source"], "127.0.0.1");

    let entries = trail(&*store);
    let (good, after) = (&entries[3], entries[4].revision);
    let mut bad = good.clone();
    bad.value[12] ^= 1;
    store.forge(bad);
    let report = verify(&gateway).await;
    assert_eq!(report["ok"], false);
    let at = report["first_broken"]["revision"].as_u64().unwrap();
    assert!([good.revision, after].contains(&at), "{report}");
    let (code, text) = command(&gateway, &["audit", "verify"]).await;
    assert!(code == 1 && text.contains(&format!("BROKEN at revision {at}")), "{text}");
    store.forge(good.clone());
    assert_eq!(verify(&gateway).await["ok"], true);

    // Somebody who rewrites an entry with a good link, but through the store.
    let put = Op::Put { key: good.key.clone(), value: good.value.clone() };
    store.commit(Change { guards: vec![], ops: vec![put] }).await.unwrap();
    assert_eq!(verify(&gateway).await["first_broken"]["revision"], good.revision);
}

/// On disk, over restarts, while others write.
#[tokio::test(flavor = "multi_thread")]
async fn the_trail_of_a_disk_holds_over_restarts_and_races() {
    let mut gateway = Harness::builder().engine("sled").start().await;
    for _ in 0..2 {
        let mints = (0..40).map(|_| gateway.mint(&["reader"]));
        let verifies = (0..10).map(|_| verify(&gateway));
        let (_, reports) =
            futures::join!(futures::future::join_all(mints), futures::future::join_all(verifies));
        assert!(reports.iter().all(|report| report["ok"] == true), "{reports:?}");
        gateway.restart().await;
    }
    let report = verify(&gateway).await;
    assert_eq!((&report["ok"], &report["entries"]), (&json!(true), &json!(82)));
    let entries = trail(&*gateway.running().context.store);
    let last = entries.last().unwrap();
    let head = Head::decode(&entries[0].value).unwrap();
    assert_eq!((head.revision, head.link), (last.revision, link_to(&last.key, &last.value)));
}

async fn kids(gateway: &Harness) -> Vec<String> {
    let url = gateway.url("/.well-known/jwks.json");
    let jwks: Value = gateway.http.get(url).send().await.unwrap().json().await.unwrap();
    let kid = |key: &Value| key["kid"].as_str().unwrap().to_owned();
    jwks["keys"].as_array().unwrap().iter().map(kid).collect()
}

fn kid_of(token: &str) -> String {
    use base64::Engine;
    let head = token.split('.').next().unwrap();
    let head = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(head).unwrap();
    let head: Value = serde_json::from_slice(&head).unwrap();
    head["kid"].as_str().unwrap().to_owned()
}

/// Waits until `wanted` is the state of the key at that place of the list.
async fn state(gateway: &Harness, place: usize, wanted: &str) {
    let reached = async {
        loop {
            let (_, keys) = gateway.admin("GET", "/v1/keys", Value::Null).await;
            if keys["items"][place]["state"].as_str() == Some(wanted) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), reached).await.unwrap();
}

#[tokio::test]
async fn a_rotation_over_the_wire() {
    let mut gateway = Harness::builder().engine("sled").start().await;
    let minted = gateway.mint(&["reader"]).await;
    let old = gateway.trade(&minted).await;
    let body = json!({ "algorithm": "ES256", "activate_after": "10m" });
    let (status, made) = gateway.admin("POST", "/v1/keys/rotate", body).await;
    assert_eq!((status, &made["state"]), (201, &json!("next")));
    let new_kid = made["kid"].as_str().unwrap().to_owned();
    assert_eq!(kids(&gateway).await, [kid_of(&old), new_kid.clone()]);
    assert_eq!(kid_of(&gateway.trade(&minted).await), kid_of(&old));
    gateway.clock.advance(Duration::from_secs(600));
    state(&gateway, 0, "active").await;
    let new = gateway.trade(&minted).await;
    assert_eq!((kid_of(&new), kids(&gateway).await.len()), (new_kid.clone(), 2));
    gateway.restart().await;
    assert_eq!(kid_of(&gateway.trade(&minted).await), new_kid);
    for token in [&old, &new] {
        assert_eq!(gateway.ask("GET", CAMPAIGNS, Some(token)).await.0, 200);
    }
    // Twelve hours is the life of a token: the old one works until its end.
    gateway.clock.advance(Duration::from_secs(12 * 3600 - 601));
    assert_eq!(gateway.ask("GET", CAMPAIGNS, Some(&old)).await.0, 200);
    let (code, text) = command(&gateway, &["key", "list"]).await;
    assert!(code == 0 && text.contains("retiring") && text.contains("active"), "{text}");
    gateway.clock.advance(Duration::from_secs(13 * 3600));
    let gone = async {
        while kids(&gateway).await.len() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.unwrap();
    assert_eq!(kids(&gateway).await, [new_kid]);
    assert_eq!(verify(&gateway).await["ok"], true);
}

#[tokio::test]
async fn administrators_by_command() {
    let gateway = Harness::start().await;
    let body = json!({ "name": "ada", "role": "super-admin" });
    assert_eq!(gateway.admin("POST", "/v1/admins", body).await.0, 201);
    let (code, text) = command(&gateway, &["admin", "list"]).await;
    assert!(code == 0 && text.contains("ada") && text.contains("super-admin"), "{text}");
    let (code, text) = command(&gateway, &["admin", "remove", "ada"]).await;
    assert!(code == 0 && text.contains("removed"), "{text}");
    let (code, text) = command(&gateway, &["admin", "remove", "ada"]).await;
    assert!(code == 1 && text.contains("no such administrator"), "{text}");
    let (code, text) = command(&gateway, &["audit", "list", "-q", "admin.remove"]).await;
    assert!(code == 0 && text.contains("127.0.0.1") && text.contains("role"), "{text}");
    let (code, text) = command(&gateway, &["key", "rotate", "--activate-after", "0s"]).await;
    assert!(code == 0 && text.contains("active"), "{text}");
    // Wrong keys slow this address down; metrics count them.
    let url = format!("http://{}/v1/me", gateway.running().admin);
    let mut statuses = Vec::new();
    for _ in 0..101 {
        let sent = gateway.http.get(&url).bearer_auth("pak1wrong").send().await.unwrap();
        statuses.push(sent.status().as_u16());
    }
    assert!(statuses[..100].iter().all(|status| *status == 401) && statuses[100] == 429);
    assert!(gateway.metrics().await.contains("portcullis_admin_auth_failures_total 100"));
    assert_eq!(gateway.admin("GET", "/v1/me", Value::Null).await.0, 200);
}

/// The client of RFC 7009, through the real listener.
#[tokio::test]
async fn a_client_revokes_its_own_token() {
    let gateway = Harness::start().await;
    let minted = gateway.mint(&["reader"]).await;
    let token = gateway.trade(&minted).await;
    assert_eq!(gateway.ask("GET", CAMPAIGNS, Some(&token)).await.0, 200);
    let request = gateway
        .http
        .post(gateway.url("/oauth2/revoke"))
        .basic_auth(&minted.client_id, Some(&minted.client_secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(format!("token={token}&token_type_hint=access_token"));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), "");
    assert_eq!(gateway.ask("GET", CAMPAIGNS, Some(&token)).await.0, 401);
    let (_, list) = gateway.admin("GET", "/v1/revocations", Value::Null).await;
    assert_eq!(list["items"][0]["revoked_by"], format!("client {}", minted.client_id));
}
