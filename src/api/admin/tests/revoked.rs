use std::time::Duration;

use serde_json::json;

use super::*;
use crate::service::sweep;

#[tokio::test]
async fn the_list_of_revocations_is_newest_first() {
    let port = Port::new().await;
    let id = port.world.credential("a").await.credential.client_id.to_string();
    let token = port.world.credential("b").await;
    let text = port.world.token(&token).expose().to_owned();
    let jti = "6f9619ff-8b86-4011-b42d-00c04fc964ff";
    let before = "2020-01-01T00:00:00Z";
    let later = "2020-01-02T00:00:00Z";
    for body in [
        json!({ "client_id": id, "issued_before": before, "reason": "first" }),
        json!({ "jti": jti, "reason": "leaked" }),
        json!({ "account": "acme", "issued_before": before }),
        json!({ "token": text }),
        json!({ "client_id": id, "issued_before": later }),
        json!({ "jti": jti }),
    ] {
        assert_eq!(port.call("POST", "/v1/revocations", body).await.status, 200);
    }
    let all = port.get("/v1/revocations").await.json;
    let items = all["items"].as_array().unwrap();
    let kinds: Vec<_> = items.iter().map(|it| it["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["cut_off", "token", "cut_off", "token"], "one moved up: {all}");
    assert_eq!((&items[0]["client_id"], &items[0]["issued_before"]), (&json!(id), &json!(later)));
    assert_eq!(items[1]["client_id"], token.credential.client_id.to_string());
    assert_eq!((&items[2]["account"], &items[2]["jti"]), (&json!("acme"), &json!(null)));
    assert_eq!((&items[3]["jti"], &items[3]["reason"]), (&json!(jti), &json!("leaked")));
    assert!(items.iter().all(|it| it["revoked_by"] == "ada"));
    assert!(!all.to_string().contains(&text));
    // Page by page, and by kind.
    for (query, expected) in [("", 4), ("&kind=token", 2), ("&kind=cut_off", 2)] {
        let (mut path, mut found) = (format!("/v1/revocations?limit=1{query}"), Vec::new());
        loop {
            let page = port.get(&path).await.json;
            found.extend(page["items"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            path = format!("/v1/revocations?limit=1{query}&cursor={next}");
        }
        assert_eq!(found.len(), expected, "{query}");
        assert!(found.iter().all(|it| items.contains(it)));
    }
    let restarted = TestWorld::over(port.world.store.clone());
    let again = crate::service::list_revocations(&restarted.ctx, None, None, 9).unwrap().0;
    let revisions: Vec<_> = again.iter().map(|(revision, _)| *revision).collect();
    assert!(
        revisions.iter().eq(items
            .iter()
            .map(|it| it["revision"].as_u64().unwrap())
            .collect::<Vec<_>>()
            .iter())
    );
    // What is swept is gone.
    port.world.clock.advance(Duration::from_secs(400 * 24 * 3600));
    sweep(&port.world.ctx).await.unwrap();
    let left = port.get("/v1/revocations").await.json;
    assert_eq!(left["items"].as_array().unwrap().len(), 2);
    for bad in ["kind=x", "cursor=x", "limit=0", "q=x"] {
        assert_eq!(port.get(&format!("/v1/revocations?{bad}")).await.status, 422, "{bad}");
    }
}

#[tokio::test]
async fn keys_are_listed_and_rotated() {
    let port = Port::new().await;
    port.world.keep_key().await;
    let rotate = async |body: Value| {
        let body = body.to_string();
        port.send(request("POST", "/v1/keys/rotate", Some(&port.super_admin), &body)).await
    };
    for (body, field) in [
        (json!({ "algorithm": "HS256" }), "algorithm"),
        (json!({ "activate_after": "soon" }), "activate_after"),
        (json!({ "activate_after": "31d" }), "activate_after"),
        (json!({ "activate_after": "-1s" }), "activate_after"),
        (json!({ "activate_after": "é" }), "activate_after"),
        (json!({ "activate_after": 5 }), "activate_after"),
        (json!({ "kid": "x" }), "kid"),
    ] {
        let answer = rotate(body).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json["fields"][0]["field"]),
            (422, &json!(field))
        );
    }
    let made = rotate(json!({ "algorithm": "RS256", "activate_after": "10m" })).await;
    assert_eq!((made.status.as_u16(), &made.json["state"]), (201, &json!("next")));
    let keys = port.get("/v1/keys").await.json;
    assert_eq!(keys["items"][0], made.json);
    assert_eq!(keys["items"][1]["state"], "active");
    assert!(keys["items"][1]["retires_at"].is_string());
    let line = &port.get("/v1/audit?q=key.create").await.json["items"][0];
    assert_eq!((&line["actor"], &line["target"]), (&json!("root"), &made.json["kid"]));
}
