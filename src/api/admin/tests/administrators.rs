use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ConnectInfo;
use serde_json::json;

use super::*;
use crate::domain::AdminName;
use crate::service::{Actor, AdminError, remove_admin, verify_audit};

#[tokio::test]
async fn the_last_super_admin_stays() {
    let port = Port::new().await;
    let remove = async |name: &str| {
        let path = format!("/v1/admins/{name}");
        port.send(request("DELETE", &path, Some(&port.super_admin), "")).await
    };
    assert_eq!(remove("root").await.status, 409);
    assert_eq!(remove("nobody").await.status, 404);
    assert_eq!(remove("%ff").await.status, 404);
    assert_eq!(remove("a%2Fb").await.status, 404);
    let gone = remove("ada").await;
    assert_eq!((gone.status.as_u16(), gone.text.as_str()), (204, ""));
    assert_eq!(remove("ada").await.status, 404);
    assert_eq!(port.call("GET", "/v1/me", json!(null)).await.status, 401, "the key is dead");
    let line = &port.get("/v1/audit?q=admin.remove").await.json["items"][0];
    assert_eq!((&line["target"], &line["actor"]), (&json!("ada"), &json!("root")));
    let changes = json!([{ "field": "role", "before": "admin", "after": null }]);
    assert_eq!(line["changes"], changes);
    // The name is free again, for somebody else with another key.
    port.world.admin("ada", AdminRole::SuperAdmin).await;
    assert_eq!(port.call("GET", "/v1/me", json!(null)).await.status, 401);
    assert_eq!(remove("root").await.status, 204, "there is another one");
    let restarted = TestWorld::over(Arc::clone(&port.world.store));
    assert_eq!(restarted.ctx.memory.admins.len(), 2);
}

/// Each removes the next one, all at once, again and again: one stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn super_admins_who_remove_each_other_leave_one() {
    for count in [2, 3, 8] {
        let world = TestWorld::new();
        let names: Vec<_> = (0..count).map(|n| AdminName::new(&format!("s{n}")).unwrap()).collect();
        for name in &names {
            world.admin(name.as_str(), AdminRole::SuperAdmin).await;
        }
        let tasks: Vec<_> = names
            .iter()
            .map(|name| {
                let (ctx, name) = (Arc::clone(&world.ctx), name.clone());
                tokio::spawn(async move { remove_admin(&ctx, &Actor::gateway(), &name).await })
            })
            .collect();
        let mut refused = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => {}
                Err(AdminError::LastSuperAdmin) => refused += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!((refused, world.ctx.memory.admins.len()), (1, 1));
        assert_eq!(verify_audit(&world.ctx).unwrap().first_broken, None);
    }
}

#[tokio::test]
async fn wrong_keys_slow_their_address_and_are_counted() {
    let port = Port::new().await;
    let ask = async |address: &str, key: &str| {
        let mut request = request("GET", "/v1/me", Some(key), "");
        let peer: SocketAddr = address.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo(peer));
        port.send(request).await
    };
    let (bad, good) = ("192.0.2.1:40000", "192.0.2.2:40000");
    for _ in 0..100 {
        assert_eq!(ask(bad, "pak1nonsense").await.status, 401);
    }
    let slowed = ask(bad, "pak1nonsense").await;
    assert_eq!((slowed.status.as_u16(), &slowed.json["error"]), (429, &json!("rate_limited")));
    assert_eq!(slowed.headers["retry-after"], "1");
    assert_eq!(ask(bad, &port.viewer).await.status, 200, "a right key is a right key");
    assert_eq!(ask(good, "pak1nonsense").await.status, 401);
    assert_eq!(port.metrics.admin_auth_failures.get(), 101);
    port.world.clock.advance(Duration::from_secs(1));
    assert_eq!(ask(bad, "pak1nonsense").await.status, 401);
    let mut minting = request(
        "POST",
        "/v1/credentials",
        Some(&port.admin),
        &json!({ "name": "n", "account": "a", "roles": ["campaign-viewer"] }).to_string(),
    );
    let peer: SocketAddr = "[::ffff:192.0.2.9]:1".parse().unwrap();
    minting.extensions_mut().insert(ConnectInfo(peer));
    assert_eq!(port.send(minting).await.status, 201);
    let line = &port.get("/v1/audit?q=192.0.2.9").await.json["items"][0];
    assert_eq!(
        (&line["source"], &line["action"]),
        (&json!("192.0.2.9"), &json!("credential.issue"))
    );
    assert!(line["changes"].as_array().unwrap().iter().any(|it| it["field"] == "roles"));
    assert!(!line.to_string().contains("pcs1"));
}

#[tokio::test]
async fn the_trail_is_verified_from_the_store() {
    let port = Port::new().await;
    let whole = port.get("/v1/audit/verify").await;
    assert_eq!(whole.json, json!({ "entries": 3, "ok": true, "first_broken": null }));
    let mut entries = Vec::new();
    let prefix = crate::store::codec::key::audit_prefix();
    port.world.store.scan(&prefix, &mut |entry| entries.push(entry)).unwrap();
    let mut entry = entries[2].clone();
    entry.value[20] ^= 1;
    port.world.store.forge(entry);
    let broken = port.get("/v1/audit/verify").await.json;
    assert_eq!(broken["ok"], false);
    assert!(broken["first_broken"]["revision"].as_u64().unwrap() <= 3, "{broken}");
    assert_eq!(port.get("/v1/audit/verify?x=1").await.status, 422);
}
