use serde_json::json;

use super::*;
use crate::domain::ClientSecret;
use crate::service::{Actor, suspend};
use crate::store::CommitError;

#[tokio::test]
async fn mint_find_show_revoke_and_again() {
    let port = Port::new().await;
    let minted = port
        .call(
            "POST",
            "/v1/credentials",
            json!({
                "name": "Nightly sync", "description": "pauses tests", "account": "1234",
                "roles": ["campaign-operator"], "scopes": ["a.b"], "environments": ["production"],
                "expires_at": "2030-01-01T01:00:00+01:00", "rate": "100/s", "concurrency": 5
            }),
        )
        .await;
    assert_eq!(minted.status, 201, "{}", minted.text);
    assert_eq!(minted.headers["cache-control"], "no-store");
    let secret = minted.json["client_secret"].as_str().unwrap().to_owned();
    assert!(ClientSecret::well_formed(&secret));
    let id = minted.json["client_id"].as_str().unwrap().to_owned();
    let mut shown = minted.json.clone();
    shown.as_object_mut().unwrap().remove("client_secret");
    let warnings = shown.as_object_mut().unwrap().remove("warnings").unwrap();
    let warned = warnings[0].as_str().unwrap();
    assert!(warned.contains("no route") && warned.contains("\"a.b\""), "{warnings}");
    assert_eq!(warnings.as_array().unwrap().len(), 1, "the roles' own are asked for, or told");
    assert_eq!(
        shown,
        json!({
            "client_id": id, "name": "Nightly sync", "description": "pauses tests",
            "account": "1234", "roles": ["campaign-operator"],
            "scopes": ["a.b", "campaign.list", "campaign.toggle"], "extra_scopes": ["a.b"],
            "armed": [], "environments": ["production"],
            "state": "active", "rate": "100/s", "concurrency": 5, "created_by": "ada",
            "created_at": "2026-11-22T02:20:00Z", "expires_at": "2030-01-01T00:00:00Z",
            "revoked_by": null, "revoked_at": null, "revoked_reason": null, "last_used_at": null,
            "secrets": [{ "generation": 1, "created_at": "2026-11-22T02:20:00Z",
                "retires_at": null, "retires_unused_for": null, "last_used_at": null }]
        })
    );
    let path = format!("/v1/credentials/{id}");
    assert_eq!(port.get(&path).await.json, shown);
    let list = port.get("/v1/credentials").await.json;
    assert_eq!(list, json!({ "items": [shown], "next_cursor": null }));

    let client = crate::domain::ClientId::parse(&id).unwrap();
    port.world.ctx.memory.activity.touch(client, 1, port.world.ctx.now());
    let used = port.get(&path).await.json;
    assert_eq!(used["last_used_at"], "2026-11-22T02:20:00Z");
    assert_eq!(used["secrets"][0]["last_used_at"], "2026-11-22T02:20:00Z");

    for (verb, state) in [
        ("suspend", "suspended"),
        ("suspend", "suspended"),
        ("resume", "active"),
        ("resume", "active"),
    ] {
        let answer = port.call("POST", &format!("{path}/{verb}"), json!({})).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(answer.json["streams_closed"], 0);
        assert_eq!(port.get(&path).await.json["state"], state);
    }
    let revoke = format!("{path}/revoke");
    let first = port.call("POST", &revoke, json!({ "reason": "leaked" })).await;
    let at = "2026-11-22T02:20:00Z";
    let revision = port.world.store.status().head;
    assert_eq!(first.json, json!({ "revision": revision, "revoked_at": at, "streams_closed": 0 }));
    port.world.clock.advance(std::time::Duration::from_secs(5));
    let again = port.call("POST", &revoke, json!({ "reason": "other" })).await;
    assert_eq!((again.status, &again.json), (StatusCode::OK, &first.json));
    let dead = port.get(&path).await.json;
    assert_eq!(
        [&dead["state"], &dead["revoked_by"], &dead["revoked_at"], &dead["revoked_reason"]],
        ["revoked", "ada", at, "leaked"]
    );
    assert_eq!(port.call("POST", &format!("{path}/resume"), json!({})).await.status, 409);
    let counted = String::from_utf8(port.metrics.render().unwrap()).unwrap();
    for line in [
        "portcullis_revocations_total{kind=\"credential\"} 1",
        "portcullis_revocations_total{kind=\"suspension\"} 1",
    ] {
        assert!(counted.contains(line), "{counted}");
    }
    let audit = port.get("/v1/audit").await.json;
    let lines: Vec<_> = audit["items"].as_array().unwrap().iter().collect();
    assert_eq!(
        lines.iter().map(|line| line["action"].as_str().unwrap()).collect::<Vec<_>>(),
        [
            "credential.revoke",
            "credential.resume",
            "credential.suspend",
            "credential.issue",
            "admin.create",
            "admin.create",
            "admin.create"
        ]
    );
    assert_eq!(
        lines[0],
        &json!({ "revision": revision, "at": at, "actor": "ada", "action": "credential.revoke",
            "source": "unknown", "target": id, "reason": "leaked",
            "changes": [{ "field": "state", "before": "active", "after": "revoked" }] })
    );
    for path in ["/v1/credentials", &path, "/v1/audit", "/v1/admins", "/v1/me", "/v1/roles"] {
        let answer = port.send(request("GET", path, Some(&port.super_admin), "")).await;
        assert_eq!(answer.status, 200, "{path}");
        for hidden in [&secret, &port.viewer, &port.admin, &port.super_admin] {
            assert!(!answer.text.contains(hidden.as_str()), "{path}");
        }
        assert!(!answer.text.contains("hash"), "{path}");
    }
}

#[tokio::test]
async fn tokens_and_cut_offs() {
    let port = Port::new().await;
    let issued = port.world.credential("a").await;
    let token = port.world.token(&issued);
    let text = json!({ "token": token.expose(), "reason": "leaked" });
    let first = port.call("POST", "/v1/revocations", text.clone()).await;
    assert_eq!(first.status, 200, "{}", first.text);
    assert_eq!(port.call("POST", "/v1/revocations", text).await.json, first.json);
    let jti = json!({ "jti": "6f9619ff-8b86-4011-b42d-00c04fc964ff" });
    assert_eq!(port.call("POST", "/v1/revocations", jti).await.status, 200);
    let id = issued.credential.client_id.to_string();
    for subject in ["client_id", "account"] {
        let value = if subject == "account" { "acme" } else { &id };
        let cut = json!({ subject: value, "issued_before": "2026-11-22T02:00:00Z" });
        let answer = port.call("POST", "/v1/revocations", cut).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let counted = String::from_utf8(port.metrics.render().unwrap()).unwrap();
    assert!(counted.contains("portcullis_revocations_total{kind=\"token\"} 2"), "{counted}");
    assert!(counted.contains("portcullis_revocations_total{kind=\"cut_off\"} 2"), "{counted}");
    let audit = port.get("/v1/audit?q=LEAK&limit=1").await.json;
    assert_eq!(audit["items"][0]["action"], "token.revoke");
    assert!(!audit.to_string().contains(token.expose()));
}

#[tokio::test]
async fn finds_parts_of_words_in_every_column() {
    let port = Port::new().await;
    for (name, description, role) in [
        ("Alpha", "sends the WEEKLY mail", "campaign-operator"),
        ("Bravo", "nothing", "campaign-viewer"),
        ("Charlie", "nothing", "library-cleaner"),
    ] {
        let body = json!({ "name": name, "description": description, "account": "acme",
            "roles": [role], "environments": [if name == "Alpha" { "production" } else { "qa" }] });
        assert_eq!(port.call("POST", "/v1/credentials", body).await.status, 201);
    }
    port.world.credential("Delta").await;
    let names = async |query: &str| {
        let answer = port.get(&format!("/v1/credentials?{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let items = answer.json["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("q=LPH", vec!["Alpha"]),
        ("q=weekl", vec!["Alpha"]),
        ("q=aD", vec!["Charlie", "Bravo", "Alpha"]),
        ("q=command-l", vec!["Delta"]),
        ("q=VIEWER", vec!["Bravo"]),
        ("q=every+camp", vec!["Bravo"]),
        ("q=bra+every", vec!["Bravo"]),
        ("q=zulu", vec![]),
        ("role=library-cleaner", vec!["Charlie"]),
        ("environment=production", vec!["Delta", "Alpha"]),
        ("environment=*", vec!["Delta"]),
        ("account=other", vec![]),
        ("state=active&q=al", vec!["Alpha"]),
        ("state=revoked", vec![]),
        ("q=", vec!["Delta", "Charlie", "Bravo", "Alpha"]),
    ] {
        let mut found = names(query).await;
        let mut expected = expected;
        // Minted within one millisecond, they have no order among them.
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn pages_go_on_while_others_write() {
    let port = Port::new().await;
    for n in 0..7 {
        port.world.credential(&format!("{n}")).await;
        port.world.clock.advance(std::time::Duration::from_secs(1));
    }
    let (mut seen, mut path) = (Vec::new(), "/v1/credentials?limit=3".to_owned());
    loop {
        let page = port.get(&path).await.json;
        for item in page["items"].as_array().unwrap() {
            seen.push(item["name"].as_str().unwrap().to_owned());
        }
        port.world.credential("late").await;
        let Some(next) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/credentials?limit=3&cursor={next}");
    }
    assert_eq!(seen, ["6", "5", "4", "3", "2", "1", "0"]);
    for list in ["/v1/admins", "/v1/audit", "/v1/roles", "/v1/routes"] {
        let whole = request("GET", list, Some(&port.super_admin), "");
        let whole = port.send(whole).await.json["items"].as_array().unwrap().clone();
        let (mut parts, mut path) = (Vec::new(), format!("{list}?limit=1"));
        loop {
            let page = port.send(request("GET", &path, Some(&port.super_admin), "")).await.json;
            parts.extend(page["items"].as_array().unwrap().clone());
            let Some(next) = page["next_cursor"].as_str() else { break };
            path = format!("{list}?limit=1&cursor={next}");
        }
        assert_eq!(parts, whole, "{list}");
    }
}

#[tokio::test]
async fn no_receipt_when_the_store_is_away() {
    let port = Port::new().await;
    let id = port.world.credential("a").await.credential.client_id;
    let asleep = port.world.credential("b").await.credential.client_id;
    suspend(&port.world.ctx, &Actor::gateway(), asleep).await.unwrap();
    let before = port.get("/v1/credentials").await.json;
    let minting = json!({ "name": "n", "account": "acme", "roles": ["campaign-viewer"] });
    let calls = [
        ("/v1/credentials".to_owned(), minting),
        (format!("/v1/credentials/{id}/revoke"), json!({ "reason": "r" })),
        (format!("/v1/credentials/{id}/suspend"), json!({})),
        (format!("/v1/credentials/{asleep}/resume"), json!({})),
        (
            "/v1/revocations".to_owned(),
            json!({ "client_id": id.to_string(), "issued_before": "2026-11-22T02:00:00Z" }),
        ),
        ("/v1/revocations".to_owned(), json!({ "jti": "6f9619ff-8b86-4011-b42d-00c04fc964ff" })),
        ("/v1/admins".to_owned(), json!({ "name": "new", "role": "viewer" })),
    ];
    for (path, body) in calls {
        for (error, says) in [
            (CommitError::NotDone("disk is full at /secret/path".into()), "Nothing was changed"),
            (CommitError::Unknown("the disk went away".into()), "outcome is unknown"),
        ] {
            port.world.store.fail_next(error);
            let sent = request("POST", &path, Some(&port.super_admin), &body.to_string());
            let answer = port.send(sent).await;
            assert_eq!(answer.status, 503, "{path}");
            assert_eq!(answer.json["error"], "unavailable");
            assert!(answer.headers.contains_key("retry-after"));
            let told = answer.json["error_description"].as_str().unwrap();
            assert!(told.contains(says) && !answer.text.contains("disk"), "{told}");
            assert!(answer.json.get("revision").is_none());
        }
    }
    assert_eq!(port.get("/v1/credentials").await.json, before);
    assert_eq!(port.world.ctx.memory.admins.len(), 3);
    assert_eq!(port.world.ctx.memory.revoked.token_count(), 0);
    let counted = String::from_utf8(port.metrics.render().unwrap()).unwrap();
    let mut kinds = counted.lines().filter(|line| line.starts_with("portcullis_revocations_total"));
    assert!(kinds.all(|line| line.ends_with(" 0")), "{counted}");
}

#[tokio::test]
async fn explains_with_a_token_a_client_or_nothing() {
    let port = Port::new().await;
    let issued = port.world.credential("a").await;
    let id = issued.credential.client_id.to_string();
    let url = "https://api.example.com/v1/accounts/acme/campaigns";
    let answer = port
        .call("POST", "/v1/explain", json!({ "method": "GET", "url": url, "client_id": id }))
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["decision"], "allow");
    assert_eq!(answer.json["client_id"], id.as_str());
    assert_eq!(answer.json["scope"], "campaign.list campaign.toggle env:*");
    assert!(answer.json["steps"].as_array().unwrap().len() >= 5, "{}", answer.text);
    assert!(!answer.text.contains("eyJ"), "the token stays inside");
    let token = port.world.token(&issued).expose().to_owned();
    let denied = port
        .call("POST", "/v1/explain", json!({ "method": "POST", "url": url, "token": token }))
        .await;
    let picked = ["decision", "reason", "status", "route", "upstream", "needed"];
    assert_eq!(
        picked.map(|name| denied.json[name].clone()),
        [
            json!("deny"),
            json!("insufficient_scope"),
            json!(403),
            json!("campaigns"),
            json!("legacy"),
            json!(["campaign.create"])
        ]
    );
    let nobody = port.call("POST", "/v1/explain", json!({ "method": "PUT", "url": url })).await;
    assert_eq!(nobody.json["allow"], json!(["GET", "HEAD", "PATCH", "POST"]));
}
