use std::time::Duration;

use serde_json::json;

use super::*;
use crate::domain::{ClientId, Scope};
use crate::service::{authenticate, keep_usage, lapse, retire_unused};
use crate::store::{Change, CommitError, codec};

const DAY: Duration = Duration::from_secs(86_400);

async fn one(port: &Port) -> (ClientId, String, String) {
    let issued = port.world.credential("a").await;
    let id = issued.credential.client_id;
    (id, format!("/v1/credentials/{id}"), issued.secret.expose().to_owned())
}

#[tokio::test]
async fn only_what_is_said_changes() {
    let port = Port::new().await;
    let (_, path, _) = one(&port).await;
    let mut expected = port.get(&path).await.json;
    for (patch, scopes) in [
        (json!({ "name": " New name " }), json!(["campaign.list", "campaign.toggle"])),
        (json!({ "description": "d" }), json!(["campaign.list", "campaign.toggle"])),
        (json!({ "roles": ["campaign-viewer"] }), json!(["campaign.list"])),
        (json!({ "scopes": ["a.b"] }), json!(["a.b", "campaign.list"])),
        (json!({ "roles": [] }), json!(["a.b"])),
        (json!({ "environments": ["qa", "prod"] }), json!(["a.b"])),
        (json!({ "environments": ["*"] }), json!(["a.b"])),
        (json!({ "expires_at": "2030-01-01T00:00:00Z", "rate": "5/s" }), json!(["a.b"])),
        (json!({ "concurrency": 3, "rate": "6/m" }), json!(["a.b"])),
        (json!({ "expires_at": null, "rate": null, "concurrency": null }), json!(["a.b"])),
    ] {
        for (name, value) in patch.as_object().unwrap() {
            expected[match name.as_str() {
                "scopes" => "extra_scopes",
                name => name,
            }] = match name.as_str() {
                "name" => json!("New name"),
                "environments" if value == &json!(["*"]) => json!([]),
                "environments" => json!(["prod", "qa"]),
                _ => value.clone(),
            };
        }
        expected["scopes"] = scopes;
        let answer = port.call("PATCH", &path, patch).await;
        assert_eq!((answer.status.as_u16(), &answer.json), (200, &expected), "{}", answer.text);
        assert_eq!(port.get(&path).await.json, expected);
    }
    let head = port.world.store.status().head;
    assert_eq!(port.call("PATCH", &path, json!({})).await.json, expected);
    assert_eq!(port.world.store.status().head, head, "nothing changed, nothing is written");
    let trail = port.get("/v1/audit?q=credential.update").await.json;
    assert_eq!(trail["items"].as_array().unwrap().len(), 10);
}

#[tokio::test]
async fn bad_changes_change_nothing() {
    let port = Port::new().await;
    let (_, path, _) = one(&port).await;
    let before = port.get(&path).await.json;
    for (body, fields) in [
        (json!({ "name": null }), vec!["name"]),
        (json!({ "name": "" }), vec!["name"]),
        (json!({ "description": "\u{1}" }), vec!["description"]),
        (json!({ "roles": null }), vec!["roles"]),
        (json!({ "roles": [] }), vec!["roles"]),
        (json!({ "roles": ["nobody"] }), vec!["roles"]),
        (json!({ "scopes": ["a b"], "rate": "x" }), vec!["scopes", "rate"]),
        (json!({ "environments": ["a/b"] }), vec!["environments"]),
        (json!({ "expires_at": "2020-01-01T00:00:00Z" }), vec!["expires_at"]),
        (json!({ "expires_at": 1 }), vec!["expires_at"]),
        (json!({ "concurrency": 0 }), vec!["concurrency"]),
        (json!({ "account": "other" }), vec!["account"]),
        (json!({ "name": 1, "client_secret": "x" }), vec!["name", "client_secret"]),
    ] {
        let answer = port.call("PATCH", &path, body.clone()).await;
        assert_eq!(answer.status, 422, "{body} {}", answer.text);
        let told = answer.json["fields"].as_array().unwrap();
        let told: Vec<_> = told.iter().map(|fault| fault["field"].as_str().unwrap()).collect();
        assert_eq!(told, fields, "{body}");
    }
    for (rest, body, field) in [
        ("/secrets", json!({ "retire_old_after": "soon" }), "retire_old_after"),
        ("/secrets", json!({ "retire_old_after": "999d" }), "retire_old_after"),
        ("/secrets", json!({ "after": "1h" }), "after"),
        ("/arm", json!({ "role": "campaign-operator", "for": "1m" }), "role"),
        ("/arm", json!({ "role": "library-cleaner", "for": "1m" }), "role"),
        ("/arm", json!({ "role": "nobody", "for": "1m" }), "role"),
        ("/arm", json!({ "role": "library-cleaner" }), "for"),
        ("/arm", json!({ "role": "library-cleaner", "for": "25h" }), "for"),
        ("/arm", json!({ "role": "library-cleaner", "for": "0s" }), "for"),
        ("/disarm", json!({ "role": "nobody" }), "role"),
        ("/disarm", json!({ "for": "1m" }), "for"),
    ] {
        let answer = port.call("POST", &format!("{path}{rest}"), body.clone()).await;
        assert_eq!(answer.status, 422, "{rest} {body} {}", answer.text);
        assert_eq!(answer.json["fields"][0]["field"], field, "{rest} {body}");
    }
    assert_eq!(port.get("/v1/credentials?unused_for=long").await.status, 422);
    let nobody = "/v1/credentials/6f9619ff-8b86-4011-b42d-00c04fc964ff";
    assert_eq!(port.call("PATCH", nobody, json!({ "name": "n" })).await.status, 404);
    for rest in ["/impact", "/usage"] {
        assert_eq!(port.get(&format!("{nobody}{rest}")).await.status, 404, "{rest}");
    }
    for gone in ["2", "0", "x", "-1"] {
        let gone = format!("{path}/secrets/{gone}");
        assert_eq!(port.call("DELETE", &gone, json!(null)).await.status, 404, "{gone}");
    }
    port.world.store.fail_next(CommitError::NotDone("full".into()));
    assert_eq!(port.call("PATCH", &path, json!({ "name": "m" })).await.status, 503);
    assert_eq!(port.get(&path).await.json, before);
    let revoked = port.call("POST", &format!("{path}/revoke"), json!({ "reason": "r" })).await;
    assert_eq!(revoked.status, 200);
    for (method, rest, body) in [
        ("PATCH", "", json!({ "name": "m" })),
        ("POST", "/secrets", json!({})),
        ("DELETE", "/secrets/1", json!(null)),
        ("POST", "/narrow", json!(null)),
        ("POST", "/arm", json!({ "role": "library-cleaner", "for": "1m" })),
    ] {
        let answer = port.call(method, &format!("{path}{rest}"), body).await;
        assert_eq!(answer.status, 409, "{method} {rest} {}", answer.text);
    }
}

#[tokio::test]
async fn secrets_overlap_and_their_numbers_are_never_used_again() {
    let port = Port::new().await;
    let (id, path, first) = one(&port).await;
    let secrets = format!("{path}/secrets");
    let works = |secret: &str| authenticate(&port.world.ctx, &id.to_string(), secret, None).is_ok();
    let last = port.call("DELETE", &format!("{secrets}/1"), json!(null)).await;
    assert_eq!(last.status, 409, "{}", last.text);
    let made = port.call("POST", &secrets, json!({ "retire_old_after": "24h" })).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.json["generation"], 2);
    assert_eq!(made.json["secrets"][0]["retires_at"], "2026-11-23T02:20:00Z");
    assert_eq!(made.json["secrets"][1]["retires_at"], json!(null));
    let second = made.json["client_secret"].as_str().unwrap().to_owned();
    assert!(works(&first) && works(&second) && !port.get(&path).await.text.contains(&second));
    port.world.clock.advance(DAY);
    assert!(!works(&first) && works(&second));
    let third = port.call("POST", &secrets, json!({})).await;
    assert_eq!(third.json["generation"], 3);
    let retired = port.call("DELETE", &format!("{secrets}/3"), json!(null)).await;
    assert_eq!(retired.status, 200, "{}", retired.text);
    let again = port.call("DELETE", &format!("{secrets}/3"), json!(null)).await;
    assert_eq!(again.json, retired.json);
    assert!(!works(third.json["client_secret"].as_str().unwrap()) && works(&second));
    port.world.clock.set(crate::service::testing::start());
    assert!(!works(third.json["client_secret"].as_str().unwrap()), "retired by hand is for good");
    port.world.clock.advance(DAY);
    for generation in 4..=12 {
        let made = port.call("POST", &secrets, json!({})).await;
        assert_eq!(made.json["generation"], generation, "{}", made.text);
    }
    let eleventh = port.call("POST", &secrets, json!({})).await;
    assert_eq!(eleventh.status, 409, "{}", eleventh.text);
    // However often it is rotated, it never outgrows its place, nor its numbers.
    for generation in 13..=60 {
        let made = port.call("POST", &secrets, json!({ "retire_old_after": "0s" })).await;
        if generation == 13 {
            assert_eq!(made.status, 409);
            for old in 3..=12 {
                port.call("DELETE", &format!("{secrets}/{old}"), json!(null)).await;
            }
            let made = port.call("POST", &secrets, json!({ "retire_old_after": "0s" })).await;
            assert_eq!(made.json["generation"], 13, "{}", made.text);
            continue;
        }
        assert_eq!(made.json["generation"], generation, "{}", made.text);
    }
    let counted = String::from_utf8(port.metrics.render().unwrap()).unwrap();
    assert!(counted.contains("portcullis_revocations_total{kind=\"secret\"} 10"), "{counted}");
}

#[tokio::test]
async fn a_role_is_armed_for_a_while() {
    let port = Port::new().await;
    let (_, path, _) = one(&port).await;
    let roles = json!({ "roles": ["campaign-operator", "library-cleaner"] });
    port.call("PATCH", &path, roles).await;
    let arm = json!({ "role": "library-cleaner", "for": "15m" });
    let armed = port.call("POST", &format!("{path}/arm"), arm.clone()).await;
    assert_eq!(armed.json["armed_until"], "2026-11-22T02:35:00Z", "{}", armed.text);
    let window = json!([{ "role": "library-cleaner", "armed_until": "2026-11-22T02:35:00Z" }]);
    assert_eq!(port.get(&path).await.json["armed"], window);
    let role = json!({ "role": "library-cleaner" });
    let asleep = port.call("POST", &format!("{path}/disarm"), role.clone()).await;
    assert_eq!(asleep.json["armed_until"], json!(null), "{}", asleep.text);
    let again = port.call("POST", &format!("{path}/disarm"), role).await;
    assert_eq!(again.json["revision"], asleep.json["revision"]);
    port.call("POST", &format!("{path}/arm"), arm.clone()).await;
    let bare = request("POST", &format!("{path}/disarm"), Some(&port.admin), "");
    let all = port.send(bare).await;
    assert_eq!((all.status.as_u16(), &all.json["role"]), (200, &json!(null)), "{}", all.text);
    assert_eq!(port.get(&path).await.json["armed"], json!([]));
    // What needs nothing takes no body.
    for (call, key, status) in [
        (format!("{path}/secrets"), &port.admin, 201),
        // The configuration gives the key here.
        ("/v1/keys/rotate".into(), &port.super_admin, 409),
    ] {
        let made = port.send(request("POST", &call, Some(key), "")).await;
        assert_eq!(made.status, status, "{call}: {}", made.text);
    }
    port.call("POST", &format!("{path}/arm"), arm).await;
    assert!(lapse(&port.world.ctx).await.is_empty());
    port.world.clock.advance(Duration::from_secs(900));
    assert_eq!(port.get(&path).await.json["armed"], json!([]));
    let lapsed = lapse(&port.world.ctx).await;
    assert_eq!(lapsed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["library-cleaner"]);
    assert!(lapse(&port.world.ctx).await.is_empty());
    let trail = port.get("/v1/audit?q=role.").await.json;
    let told = trail["items"].as_array().unwrap();
    let told: Vec<_> = told.iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(
        told,
        ["role.lapse", "role.arm", "role.disarm", "role.arm", "role.disarm", "role.arm"]
    );
}

async fn note(port: &Port, client_id: ClientId, scopes: &[&str]) {
    let scopes = scopes.iter().map(|scope| Scope::new(scope).unwrap()).collect();
    let used = codec::Usage { client_id, last_used: Vec::new(), scopes };
    let change = Change { guards: Vec::new(), ops: vec![codec::put(&used)] };
    port.world.store.commit(change).await.unwrap();
}

#[tokio::test]
async fn narrowing_leaves_what_was_used_and_wakes_nothing() {
    let port = Port::new().await;
    let (id, path, _) = one(&port).await;
    let narrow = format!("{path}/narrow");
    assert_eq!(port.call("POST", &narrow, json!(null)).await.status, 409, "nothing was used");
    let roles = ["campaign-operator", "campaign-viewer", "library-cleaner"];
    let rights = json!({ "roles": roles, "scopes": ["a.b", "c.d"], "environments": ["qa"] });
    port.call("PATCH", &path, rights).await;
    note(&port, id, &["campaign.list", "library.clear", "c.d", "lost.since"]).await;
    let usage = port.get(&format!("{path}/usage")).await.json;
    assert_eq!(
        usage,
        json!({
            "since": "2026-11-22T02:20:00Z",
            "granted": ["a.b", "c.d", "campaign.list", "campaign.toggle", "library.clear"],
            "used": ["c.d", "campaign.list", "library.clear"],
            "never_used": ["a.b", "campaign.toggle"],
            "proposed": { "roles": ["campaign-viewer", "library-cleaner"], "scopes": ["c.d"],
                "environments": ["qa"], "rate": null, "concurrency": null }
        })
    );
    let narrowed = port.call("POST", &narrow, json!(null)).await;
    assert_eq!(narrowed.status, 200, "{}", narrowed.text);
    for (name, value) in [
        ("roles", json!(["campaign-viewer", "library-cleaner"])),
        ("extra_scopes", json!(["c.d"])),
        ("environments", json!(["qa"])),
    ] {
        assert_eq!(narrowed.json[name], value, "{name}");
    }
    let head = port.world.store.status().head;
    assert_eq!(port.call("POST", &narrow, json!(null)).await.json, narrowed.json);
    assert_eq!(port.world.store.status().head, head);
}

#[tokio::test]
async fn last_uses_outlive_a_restart_and_are_found() {
    let port = Port::new().await;
    let world = &port.world;
    let (used, path, _) = one(&port).await;
    let (idle, _, _) = one(&port).await;
    let touch = |client| world.ctx.memory.activity.touch(client, 1, world.ctx.now());
    touch(used);
    touch(idle);
    world.clock.advance(90 * DAY);
    touch(used);
    let found = async |query: &str| {
        let page = port.get(&format!("/v1/credentials?{query}")).await.json;
        let items = page["items"].as_array().unwrap().clone();
        items.iter().map(|item| item["client_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(found("unused_for=90d").await, [idle.to_string()]);
    let (fresh, _, _) = one(&port).await;
    assert_eq!(found("unused_for=90d").await, [fresh.to_string(), idle.to_string()]);
    assert_eq!(found("unused_for=91d").await, [fresh.to_string()]);
    world.store.fail_next(CommitError::NotDone("full".into()));
    assert!(keep_usage(&world.ctx).await.is_err());
    let head = world.store.status().head;
    keep_usage(&world.ctx).await.unwrap();
    keep_usage(&world.ctx).await.unwrap();
    assert_eq!(world.store.status().head, head + 1, "two uses, one change, written once");
    let again = TestWorld::over(world.store.clone());
    let activity = &again.ctx.memory.activity;
    assert_eq!(activity.last_used(used, 1), Some(world.ctx.now()));
    assert_eq!(activity.last_used_at_all(idle), Some(crate::service::testing::start()));
    assert_eq!(port.get(&format!("{path}/impact")).await.json["open_streams"], 0);
}

#[tokio::test]
async fn old_secrets_end_when_nobody_uses_them() {
    let port = Port::new().await;
    let (ctx, clock) = (&port.world.ctx, &port.world.clock);
    let (id, path, first) = one(&port).await;
    let secrets = format!("{path}/secrets");
    let body = json!({ "retire_old_after_unused": "30d" });
    let made = port.call("POST", &secrets, body).await;
    assert_eq!(made.json["secrets"][0]["retires_unused_for"], "30d", "{}", made.text);
    assert_eq!(made.json["secrets"][1]["retires_unused_for"], json!(null));
    let works = || authenticate(ctx, &id.to_string(), &first, None).is_ok();
    clock.advance(29 * DAY);
    ctx.memory.activity.touch(id, 1, ctx.now());
    clock.advance(29 * DAY);
    assert_eq!(retire_unused(ctx).await, 0);
    assert!(works());
    clock.advance(DAY);
    assert_eq!((retire_unused(ctx).await, works()), (1, false));
    assert_eq!(retire_unused(ctx).await, 0);
    let trail = port.get("/v1/audit?q=secret.retire&limit=1").await.json;
    assert_eq!(trail["items"][0]["actor"], "gateway");
}

/// However large it is, it can be rotated and, above all, revoked.
#[tokio::test]
async fn there_is_always_room_to_revoke() {
    let port = Port::new().await;
    let (_, path, _) = one(&port).await;
    let wide = "\u{1f511}";
    let full = port.call("PATCH", &path, json!({ "description": wide.repeat(1000) })).await;
    assert_eq!(full.status, 422, "too large with its rights: {}", full.text);
    let full = port.call("PATCH", &path, json!({ "description": wide.repeat(920) })).await;
    assert_eq!(full.status, 200, "{}", full.text);
    let mut made = 0;
    let refused = loop {
        let answer = port.call("POST", &format!("{path}/secrets"), json!({})).await;
        match answer.status.as_u16() {
            201 => made += 1,
            _ => break answer,
        }
    };
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert!(made >= 2, "{made}");
    let reason = json!({ "reason": wide.repeat(300) });
    let revoked = port.call("POST", &format!("{path}/revoke"), reason).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
}
