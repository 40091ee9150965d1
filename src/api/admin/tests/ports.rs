use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::routing::get;
use serde_json::json;

use super::*;
use crate::api::frame::framed;
use crate::api::ops_router;

#[tokio::test]
async fn unknown_paths_and_methods_are_told_in_json() {
    let port = Port::new().await;
    let answer = port.send(request("GET", "/v2", Some(&port.viewer), "")).await;
    assert_eq!((answer.status.as_u16(), &answer.json["error"]), (404, &json!("not_found")));
    let answer = port.send(request("DELETE", "/v1/credentials", Some(&port.viewer), "")).await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.json["error"], "method_not_allowed");
    let allow = answer.headers["allow"].to_str().unwrap();
    assert!(allow.contains("POST") && allow.contains("GET"), "{allow}");
}

#[tokio::test]
async fn a_request_id_comes_in_and_goes_out() {
    let port = Port::new().await;
    let with = |ids: &[&str]| {
        let mut request = request("GET", "/v1/me", None, "");
        for id in ids {
            request.headers_mut().append("x-request-id", id.parse().unwrap());
        }
        request
    };
    let answer = port.send(with(&["abc-1"])).await;
    assert_eq!(answer.headers["x-request-id"], "abc-1");
    assert_eq!(answer.json["request_id"], "abc-1");
    let long = "x".repeat(129);
    for ids in [vec![], vec!["a b"], vec![long.as_str()], vec!["a", "b"]] {
        let answer = port.send(with(&ids)).await;
        let id = answer.headers["x-request-id"].to_str().unwrap();
        assert_eq!(id.len(), 32);
        assert_eq!(answer.json["request_id"], id);
    }
}

#[tokio::test]
async fn a_panic_tells_nothing() {
    async fn broken() -> &'static str {
        panic!("the secret is xyzzy")
    }
    let router = framed(Router::new().route("/", get(broken)), 1);
    let answer = send(&router, request("GET", "/", None, "")).await;
    assert_eq!((answer.status.as_u16(), &answer.json["error"]), (500, &json!("server_error")));
    assert!(!answer.text.contains("xyzzy"));
}

#[tokio::test]
async fn the_metrics_port() {
    let port = Port::new().await;
    let gathered = Arc::new(AtomicUsize::new(0));
    let gather = {
        let (gathered, metrics) = (gathered.clone(), port.metrics.clone());
        move || {
            gathered.fetch_add(1, Ordering::SeqCst);
            metrics.open_streams.set(17);
        }
    };
    let ops = ops_router(port.metrics.clone(), port.readiness.clone(), Arc::new(gather));
    let answer = send(&ops, request("GET", "/metrics", None, "")).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text.contains("portcullis_open_streams 17"));
    assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    assert_eq!(gathered.load(Ordering::SeqCst), 1);
    for router in [&ops, &port.router] {
        let alive = send(router, request("GET", "/healthz", None, "")).await;
        assert_eq!((alive.status, alive.json), (StatusCode::OK, json!({ "status": "alive" })));
    }
    let ready = async || {
        let mine = send(&ops, request("GET", "/readyz", None, "")).await;
        let other = port.send(request("GET", "/readyz", None, "")).await;
        assert_eq!((mine.status, &mine.json), (other.status, &other.json));
        (mine.status.as_u16(), mine.json)
    };
    let revision = port.world.store.status().head;
    let not =
        |reasons: Value| json!({ "status": "not_ready", "reasons": reasons, "revision": revision });
    assert_eq!(ready().await, (503, not(json!(["starting"]))));
    port.readiness.ready();
    let good = json!({ "status": "ready", "reasons": [], "revision": revision });
    assert_eq!(ready().await, (200, good));
    port.readiness.not_ready("draining");
    assert_eq!(ready().await, (503, not(json!(["draining"]))));
    port.readiness.ready();
    port.world.store.close();
    assert_eq!(ready().await, (503, not(json!(["the store takes no changes: it is closed"]))));
    let answer = send(&ops, request("GET", "/v1/credentials", Some(&port.super_admin), "")).await;
    assert_eq!(answer.status, 404);
}
