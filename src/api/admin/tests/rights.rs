use serde_json::json;

use super::*;
use crate::domain::{ClientId, Scope};
use crate::store::{Change, codec};

/// Every call, and the least role that it takes; none for all the world.
fn calls(
    id: &str,
    generation: &str,
    key: &str,
) -> Vec<(&'static str, String, Value, Option<AdminRole>)> {
    use AdminRole::{Admin, SuperAdmin, Viewer};
    let minting = json!({ "name": "n", "account": "acme", "roles": ["campaign-viewer"] });
    let one = |rest: &str| format!("/v1/credentials/{id}{rest}");
    vec![
        ("POST", "/v1/credentials".into(), minting, Some(Admin)),
        ("GET", "/v1/credentials".into(), json!(null), Some(Viewer)),
        ("GET", one(""), json!(null), Some(Viewer)),
        (
            "PATCH",
            one(""),
            json!({ "roles": ["campaign-operator", "library-cleaner"] }),
            Some(Admin),
        ),
        ("POST", one("/arm"), json!({ "role": "library-cleaner", "for": "15m" }), Some(Admin)),
        ("POST", one("/disarm"), json!({ "role": "library-cleaner" }), Some(Admin)),
        ("POST", one("/secrets"), json!({ "retire_old_after": "24h" }), Some(Admin)),
        ("DELETE", one(&format!("/secrets/{generation}")), json!(null), Some(Admin)),
        ("GET", one("/impact"), json!(null), Some(Viewer)),
        ("GET", one("/usage"), json!(null), Some(Viewer)),
        ("POST", one("/narrow"), json!({}), Some(Admin)),
        ("POST", one("/suspend"), json!({}), Some(Admin)),
        ("POST", one("/resume"), json!({}), Some(Admin)),
        ("POST", one("/revoke"), json!({ "reason": "r" }), Some(Admin)),
        (
            "POST",
            "/v1/revocations".into(),
            json!({ "jti": "6f9619ff-8b86-4011-b42d-00c04fc964ff" }),
            Some(Admin),
        ),
        ("GET", "/v1/revocations".into(), json!(null), Some(Viewer)),
        ("GET", "/v1/roles".into(), json!(null), Some(Viewer)),
        ("GET", "/v1/routes".into(), json!(null), Some(Viewer)),
        ("GET", "/v1/me".into(), json!(null), Some(Viewer)),
        ("GET", "/v1/audit".into(), json!(null), Some(Viewer)),
        ("GET", "/v1/audit/verify".into(), json!(null), Some(Viewer)),
        ("GET", "/v1/backup".into(), json!(null), Some(SuperAdmin)),
        ("GET", "/v1/admins".into(), json!(null), Some(Viewer)),
        ("POST", "/v1/admins".into(), json!({ "name": "n", "role": "viewer" }), Some(SuperAdmin)),
        ("DELETE", "/v1/admins/{name}".into(), json!(null), Some(SuperAdmin)),
        ("GET", "/v1/keys".into(), json!(null), Some(Viewer)),
        ("POST", "/v1/keys/rotate".into(), json!({}), Some(SuperAdmin)),
        ("POST", "/v1/keys/{kid}/revoke".into(), json!({ "reason": "r" }), Some(SuperAdmin)),
        ("POST", "/v1/reload".into(), json!({}), Some(SuperAdmin)),
        ("POST", "/v1/explain".into(), json!({ "method": "GET", "url": "/" }), Some(Viewer)),
        ("GET", "/v1/live".into(), json!(null), Some(Viewer)),
        ("POST", "/v1/session".into(), json!({ "key": key }), None),
        ("DELETE", "/v1/session".into(), json!(null), Some(Viewer)),
        ("GET", "/healthz".into(), json!(null), None),
        ("GET", "/readyz".into(), json!(null), None),
        ("GET", "/openapi.json".into(), json!(null), None),
    ]
}

#[tokio::test]
async fn each_role_may_do_what_it_may_and_no_more() {
    let port = Port::new().await;
    port.readiness.ready();
    port.world.keep_key().await;
    port.reload_for_ever();
    let kid = port.world.ctx.world.load().keys().signing().kid().to_string();
    let id = port.world.credential("a").await.credential.client_id.to_string();
    let keys = [
        (None, None),
        (Some("pak1nonsense"), None),
        (Some(port.viewer.as_str()), Some(AdminRole::Viewer)),
        (Some(port.admin.as_str()), Some(AdminRole::Admin)),
        (Some(port.super_admin.as_str()), Some(AdminRole::SuperAdmin)),
    ];
    let used = codec::Usage {
        client_id: ClientId::parse(&id).unwrap(),
        last_used: Vec::new(),
        scopes: [Scope::new("campaign.list").unwrap()].into(),
    };
    let change = Change { guards: Vec::new(), ops: vec![codec::put(&used)] };
    port.world.store.commit(change).await.unwrap();
    for (method, path, body, needed) in calls(&id, "1", &port.viewer) {
        for (key, role) in keys {
            let head = port.world.store.status().head;
            let path = path.replace("{name}", "n").replace("{kid}", &kid);
            let answer = port.send(request(method, &path, key, &body.to_string())).await;
            let told = format!("{method} {path} as {role:?}: {}", answer.text);
            match needed {
                Some(_) if role.is_none() => {
                    assert_eq!(answer.status, 401, "{told}");
                    let challenge = answer.headers["www-authenticate"].to_str().unwrap();
                    assert!(challenge.starts_with("Bearer"), "{told}");
                    assert_eq!(challenge.contains("invalid_token"), key.is_some(), "{told}");
                }
                Some(needed) if role < Some(needed) => {
                    assert_eq!(answer.status, 403, "{told}");
                    assert_eq!(answer.json["error"], "forbidden");
                }
                _ => assert!(answer.status.is_success(), "{told}"),
            }
            if !answer.status.is_success() {
                assert_eq!(port.world.store.status().head, head, "{told}");
                assert!(answer.json["request_id"].is_string(), "{told}");
            }
        }
    }
}

#[tokio::test]
async fn a_key_stands_once_and_as_bearer() {
    let port = Port::new().await;
    let me = |values: &[String]| {
        let mut request = request("GET", "/v1/me", None, "");
        for value in values {
            request.headers_mut().append("authorization", value.parse().unwrap());
        }
        request
    };
    let key = &port.viewer;
    let good = port.send(me(&[format!("bearer {key}")])).await;
    assert_eq!(good.json, json!({ "name": "vera", "role": "viewer" }));
    for bad in [
        vec![format!("Bearer {key}"), format!("Bearer {key}")],
        vec![format!("Basic {key}")],
        vec![key.clone()],
        vec!["Bearer".into()],
        vec!["Bearer ".into()],
    ] {
        assert_eq!(port.send(me(&bad)).await.status, 401, "{}", bad.len());
    }
}

/// What is described is served, and what is served is described.
#[tokio::test]
async fn openapi_describes_every_call() {
    let port = Port::new().await;
    let document = port.send(request("GET", "/openapi.json", None, "")).await.json;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut described: Vec<String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().keys();
            methods.map(move |method| format!("{} {path}", method.to_uppercase()))
        })
        .collect();
    let mut served: Vec<String> = calls("{client_id}", "{generation}", "")
        .into_iter()
        .map(|(method, path, _, _)| format!("{method} {path}"))
        .collect();
    for (method, path, _, role) in calls("{client_id}", "{generation}", "") {
        let told = &document["paths"][&path][method.to_lowercase()]["x-required-role"];
        assert_eq!(told, role.map_or("none", AdminRole::as_str), "{method} {path}");
    }
    described.sort_unstable();
    served.sort_unstable();
    assert_eq!(described, served);
    let text = document.to_string();
    for (reference, _) in text.match_indices("#/components/schemas/") {
        let name = text[reference + 21..].split('"').next().unwrap();
        assert!(!document["components"]["schemas"][name].is_null(), "{name}");
    }
    let ids: Vec<_> = text.split("\"operationId\":\"").skip(1).collect();
    let ids: std::collections::BTreeSet<_> =
        ids.iter().map(|id| id.split('"').next().unwrap()).collect();
    assert_eq!(ids.len(), served.len(), "an id names one operation");
    let minting = &document["paths"]["/v1/credentials"]["post"]["responses"];
    for status in ["201", "400", "401", "403", "413", "422", "503"] {
        assert!(!minting[status]["content"]["application/json"].is_null(), "{status}");
    }
    assert!(minting["422"]["content"]["application/json"]["example"]["fields"].is_array());
}

/// A body is described as needed where it is, and only there; never is it `null`.
#[tokio::test]
async fn a_body_that_may_be_left_out_is_described_so() {
    let port = Port::new().await;
    let id = port.world.credential("a").await.credential.client_id.to_string();
    let document = port.send(request("GET", "/openapi.json", None, "")).await.json;
    let mut left_out = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let told = &operation["requestBody"];
            let real = path.replace("{client_id}", &id).replace("{kid}", "none");
            let ask = |body: Body| {
                let mut ask = request(&method.to_uppercase(), &real, Some(&port.super_admin), "");
                *ask.body_mut() = body;
                port.send(ask)
            };
            if told.is_null() {
                continue;
            }
            // In one piece of no length, or in no piece at all.
            let chunks = futures::stream::empty::<Result<Vec<u8>, std::io::Error>>();
            for bare in [Body::empty(), Body::from_stream(chunks)] {
                let answer = ask(bare).await;
                let is_needed = answer.status == 400;
                assert_eq!(told["required"], is_needed, "{method} {path}: {}", answer.text);
            }
            assert_eq!(ask("null".into()).await.status, 400, "{method} {path}");
            assert!(told["content"]["application/json"]["schema"]["$ref"].is_string(), "{told}");
            if told["required"] == false {
                left_out.push(path.rsplit('/').next().unwrap());
            }
        }
    }
    assert_eq!(left_out, ["disarm", "secrets", "rotate"]);
}
