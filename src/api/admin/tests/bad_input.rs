use serde_json::json;

use super::*;

#[tokio::test]
async fn every_bad_field_is_told() {
    let port = Port::new().await;
    let good = json!({ "name": "n", "account": "acme", "roles": ["campaign-viewer"] });
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, field) in [
        (with("name", json!("")), "name"),
        (with("name", json!(" ")), "name"),
        (with("name", json!(null)), "name"),
        (with("name", json!(5)), "name"),
        (with("name", json!("a\nb")), "name"),
        (with("name", json!("x".repeat(101))), "name"),
        (with("description", json!("x".repeat(1001))), "description"),
        (with("description", json!("\u{0}")), "description"),
        (with("account", json!("a/b")), "account"),
        (with("account", json!(["acme"])), "account"),
        (with("roles", json!([])), "roles"),
        (with("roles", json!(["nobody"])), "roles"),
        (with("roles", json!("campaign-viewer")), "roles"),
        (with("roles", json!([1])), "roles"),
        (with("scopes", json!(["a b"])), "scopes"),
        (with("scopes", json!(["env:*"])), "scopes"),
        (with("environments", json!(["a/b"])), "environments"),
        (with("expires_at", json!("tomorrow")), "expires_at"),
        (with("expires_at", json!("2020-01-01T00:00:00Z")), "expires_at"),
        (with("expires_at", json!(1_900_000_000)), "expires_at"),
        (with("rate", json!("fast")), "rate"),
        (with("concurrency", json!(0)), "concurrency"),
        (with("concurrency", json!(-1)), "concurrency"),
        (with("concurrency", json!(1.5)), "concurrency"),
        (with("concurrency", json!(4_294_967_296_u64)), "concurrency"),
        (with("client_secret", json!("mine")), "client_secret"),
    ] {
        let answer = port.call("POST", "/v1/credentials", body.clone()).await;
        assert_eq!(answer.status, 422, "{body} {}", answer.text);
        assert_eq!(answer.json["error"], "invalid_fields");
        assert_eq!(answer.json["fields"][0]["field"], field, "{body}");
        assert_eq!(answer.json["fields"].as_array().unwrap().len(), 1, "{body} {}", answer.text);
    }
    let all = json!({ "name": 1, "account": "", "roles": ["x"], "rate": "1/d", "more": 1 });
    let answer = port.call("POST", "/v1/credentials", all).await;
    let fields: Vec<_> =
        answer.json["fields"].as_array().unwrap().iter().map(|f| f["field"].clone()).collect();
    assert_eq!(fields, ["name", "account", "roles", "rate", "more"]);
    assert!(port.world.ctx.memory.directory.is_empty());
}

#[tokio::test]
async fn what_may_be_left_out_may_be_null() {
    let port = Port::new().await;
    let document: Value = serde_json::from_str(&crate::api::openapi()).unwrap();
    let schemas = &document["components"]["schemas"];
    let path = format!("/v1/credentials/{}", port.world.credential("a").await.credential.client_id);
    for field in ["description", "roles", "scopes", "environments", "expires_at", "rate"] {
        let mut body = json!({ "name": "n", "account": "acme" });
        body[if field == "roles" { "scopes" } else { "roles" }] =
            if field == "roles" { json!(["campaign.list"]) } else { json!(["campaign-viewer"]) };
        body[field] = json!(null);
        let minted = port.call("POST", "/v1/credentials", body).await;
        assert_eq!(minted.status, 201, "{field}: {}", minted.text);
        let changed = port.call("PATCH", &path, json!({ field: null })).await;
        for (schema, taken) in [("NewCredential", true), ("Changes", changed.status == 200)] {
            let told = &schemas[schema]["properties"][field]["type"];
            let nullable = told.as_array().is_some_and(|types| types.contains(&json!("null")));
            assert_eq!(nullable, taken, "{schema}.{field}: {told}");
        }
    }
}

#[tokio::test]
async fn every_other_bad_field_is_told_too() {
    let port = Port::new().await;
    let id = port.world.credential("a").await.credential.client_id;
    let revoke = format!("/v1/credentials/{id}/revoke");
    let uuid = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
    let early = "2026-11-22T02:00:00Z";
    for (path, body, field) in [
        (revoke.as_str(), json!({}), "reason"),
        (&revoke, json!({ "reason": " " }), "reason"),
        (&revoke, json!({ "reason": "x".repeat(301) }), "reason"),
        (&revoke, json!({ "reason": 1 }), "reason"),
        ("/v1/revocations", json!({}), "jti"),
        ("/v1/revocations", json!({ "jti": "x" }), "jti"),
        ("/v1/revocations", json!({ "jti": uuid.to_uppercase() }), "jti"),
        ("/v1/revocations", json!({ "jti": uuid, "token": "x" }), "token"),
        ("/v1/revocations", json!({ "token": "a.b.c" }), "token"),
        ("/v1/revocations", json!({ "jti": uuid, "issued_before": early }), "issued_before"),
        ("/v1/revocations", json!({ "account": "acme" }), "issued_before"),
        ("/v1/revocations", json!({ "account": "a/b", "issued_before": early }), "account"),
        (
            "/v1/revocations",
            json!({ "account": "acme", "issued_before": "2036-01-01T00:00:00Z" }),
            "issued_before",
        ),
        ("/v1/explain", json!({ "url": "/" }), "method"),
        ("/v1/explain", json!({ "method": "GET", "url": "ftp://x/" }), "url"),
        ("/v1/explain", json!({ "method": "GET", "url": "/", "client_id": "x" }), "client_id"),
        (
            "/v1/explain",
            json!({ "method": "GET", "url": "/", "client_id": uuid, "token": "x" }),
            "client_id",
        ),
        ("/v1/admins", json!({ "name": "a b", "role": "viewer" }), "name"),
        ("/v1/admins", json!({ "name": "gateway", "role": "viewer" }), "name"),
        ("/v1/admins", json!({ "name": "ok", "role": "god" }), "role"),
    ] {
        let sent = request("POST", path, Some(&port.super_admin), &body.to_string());
        let answer = port.send(sent).await;
        assert_eq!(answer.status, 422, "{path} {body} {}", answer.text);
        assert_eq!(answer.json["fields"][0]["field"], field, "{path} {body} {}", answer.text);
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("cursor=AWE", "cursor"),
        ("state=dead", "state"),
        ("satte=revoked", "satte"),
        ("q=a&q=b", "q"),
    ] {
        let answer = port.get(&format!("/v1/credentials?{query}")).await;
        assert_eq!(answer.status, 422, "{query}");
        assert_eq!(answer.json["fields"][0]["field"], field, "{query}");
    }
    let taken = request(
        "POST",
        "/v1/admins",
        Some(&port.super_admin),
        &json!({ "name": "ada", "role": "viewer" }).to_string(),
    );
    assert_eq!(port.send(taken).await.status, 409);
}

#[tokio::test]
async fn what_is_unknown_is_not_found() {
    let port = Port::new().await;
    let uuid = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
    let early = "2026-11-22T02:00:00Z";
    for id in [uuid, "x", "..", "%00", "%ff"] {
        let path = format!("/v1/credentials/{id}");
        assert_eq!(port.get(&path).await.status, 404, "{id}");
        for (verb, body) in
            [("revoke", json!({ "reason": "r" })), ("suspend", json!({})), ("resume", json!({}))]
        {
            let answer = port.call("POST", &format!("{path}/{verb}"), body).await;
            assert_eq!((answer.status.as_u16(), &answer.json["error"]), (404, &json!("not_found")));
        }
    }
    for body in [
        json!({ "client_id": uuid, "issued_before": early }),
        json!({ "account": "nobody", "issued_before": early }),
    ] {
        assert_eq!(port.call("POST", "/v1/revocations", body).await.status, 404);
    }
    let ask = json!({ "method": "GET", "url": "/", "client_id": uuid });
    assert_eq!(port.call("POST", "/v1/explain", ask).await.status, 404);
}

#[tokio::test]
async fn broken_bodies() {
    let port = Port::new().await;
    for body in ["", "{", "[]", "null", "{\"name\":\"a\",\"name\":\"b\"}", "name=a", "{}x"] {
        let sent = request("POST", "/v1/credentials", Some(&port.admin), body);
        let answer = port.send(sent).await;
        assert_eq!(answer.status, 400, "{body}");
        assert_eq!(answer.json["error"], "invalid_request");
    }
    let deep = format!("{{\"name\":{}", "[".repeat(50_000));
    let answer = port.send(request("POST", "/v1/credentials", Some(&port.admin), &deep)).await;
    assert_eq!(answer.status, 400);
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(65 * 1024));
    for path in ["/v1/credentials", "/v1/revocations", "/v1/explain"] {
        let answer = port.send(request("POST", path, Some(&port.admin), &long)).await;
        assert_eq!(answer.status, 413, "{path}");
        assert_eq!(answer.json["error"], "content_too_large");
    }
}
