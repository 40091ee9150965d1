use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::ClientId;

/// Each with `If-Match`, if one is given, as the administrator `ada`.
async fn with(port: &Port, method: &str, path: &str, tag: Option<&str>, body: Value) -> Answer {
    let mut request = request(method, path, Some(&port.admin), &body.to_string());
    if let Some(tag) = tag {
        request.headers_mut().insert("if-match", tag.parse().unwrap());
    }
    port.send(request).await
}

fn tag(answer: &Answer) -> String {
    let tag = answer.headers["etag"].to_str().unwrap().to_owned();
    let inner = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap();
    assert!(!inner.is_empty() && !inner.contains('"'), "a strong tag: {tag}");
    tag
}

#[tokio::test]
async fn a_stale_page_gives_nothing_back() {
    let port = Port::new().await;
    let body = json!({ "name": "n", "account": "acme",
        "roles": ["campaign-operator", "campaign-viewer"] });
    let minted = port.call("POST", "/v1/credentials", body).await;
    let path = format!("/v1/credentials/{}", minted.json["client_id"].as_str().unwrap());
    let read = tag(&port.get(&path).await);
    assert_eq!(read, tag(&minted));

    // Somebody takes a right away meanwhile.
    let less = json!({ "roles": ["campaign-viewer"] });
    let now = tag(&with(&port, "PATCH", &path, Some(&read), less).await);
    assert_ne!(now, read);
    assert_eq!(now, tag(&port.get(&path).await));
    let head = port.world.store.status().head;
    let more = json!({ "roles": ["campaign-operator", "campaign-viewer", "library-cleaner"] });
    for stale in [&read, &format!("W/{now}"), "\"1\"", &format!("W/{now}, {read}")] {
        for (method, path, body) in
            [("PATCH", path.clone(), more.clone()), ("POST", format!("{path}/narrow"), json!({}))]
        {
            let refused = with(&port, method, &path, Some(stale), body).await;
            assert_eq!(refused.status, 412, "{method} {stale}: {}", refused.text);
            assert_eq!(refused.json["error"], "precondition_failed");
            assert!(refused.json["error_description"].as_str().unwrap().contains("read it again"));
        }
    }
    for bad in ["", "now", "*, *", "\"a"] {
        let refused = with(&port, "PATCH", &path, Some(bad), more.clone()).await;
        assert_eq!(
            (refused.status.as_u16(), &refused.json["error"]),
            (400, &json!("invalid_request"))
        );
    }
    assert_eq!(port.world.store.status().head, head, "nothing happened");
    assert_eq!(port.get(&path).await.json["roles"], json!(["campaign-viewer"]));

    // What is said of the fields comes first, and what is no more is not found.
    let wrong = json!({ "name": "" });
    assert_eq!(with(&port, "PATCH", &path, Some(&read), wrong).await.status, 422);
    let nobody = "/v1/credentials/6f9619ff-8b86-4011-b42d-00c04fc964ff";
    assert_eq!(with(&port, "PATCH", nobody, Some("*"), more.clone()).await.status, 404);

    for good in [format!("{read}, {now}"), "*".to_owned()] {
        let done = with(&port, "PATCH", &path, Some(&good), json!({ "name": good })).await;
        assert_eq!(done.status, 200, "{}", done.text);
    }
    assert_eq!(with(&port, "PATCH", &path, None, more).await.status, 200, "as ever");
}

#[tokio::test]
async fn a_tag_follows_every_change_and_nothing_else() {
    let port = Port::new().await;
    let client = port.world.credential("a").await.credential.client_id;
    let path = format!("/v1/credentials/{client}");
    let mut last = tag(&port.get(&path).await);
    port.world.ctx.memory.activity.touch(client, 1, port.world.ctx.now());
    port.world.clock.advance(std::time::Duration::from_secs(9));
    port.world.credential("b").await;
    assert_eq!(tag(&port.get(&path).await), last);
    let armed = json!({ "roles": ["campaign-operator", "library-cleaner"] });
    for (method, rest, body) in [
        ("PATCH", "", armed),
        ("POST", "/suspend", json!({})),
        ("POST", "/resume", json!({})),
        ("POST", "/secrets", json!({})),
        ("DELETE", "/secrets/1", json!(null)),
        ("POST", "/arm", json!({ "role": "library-cleaner", "for": "15m" })),
        // Whatever somebody believes of it, it ends.
        ("POST", "/revoke", json!({ "reason": "r" })),
    ] {
        let stale = (rest == "/revoke").then_some("\"stale\"");
        let done = with(&port, method, &format!("{path}{rest}"), stale, body).await;
        assert!(done.status.is_success(), "{rest}: {}", done.text);
        let next = tag(&port.get(&path).await);
        assert_ne!(next, last, "{rest}");
        last = next;
    }
    assert_eq!(port.get(&path).await.json["state"], "revoked");
    let late = with(&port, "PATCH", &path, Some("\"stale\""), json!({ "name": "x" })).await;
    assert_eq!(late.status, 409, "nothing that is read again would help");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_who_read_the_same_one_writes() {
    let port = Arc::new(Port::new().await);
    let client: ClientId = port.world.credential("a").await.credential.client_id;
    let path = format!("/v1/credentials/{client}");
    let read = tag(&port.get(&path).await);
    let writers = (0..16).map(|n| {
        let (port, path, read) = (Arc::clone(&port), path.clone(), read.clone());
        tokio::spawn(async move {
            let body = json!({ "description": format!("{n}") });
            with(&port, "PATCH", &path, Some(&read), body).await.status.as_u16()
        })
    });
    let mut told = Vec::new();
    for writer in writers.collect::<Vec<_>>() {
        told.push(writer.await.unwrap());
    }
    told.sort_unstable();
    assert_eq!((told[0], &told[1..]), (200, [412; 15].as_slice()));
}
