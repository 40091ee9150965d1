//! Every call of the admin port with every role and with none, as the description
//! lists them: a new call can't be forgotten. And bad input to every field.

use serde_json::{Value, json};

use crate::harness::{Harness, Minted};

const ROLES: [&str; 3] = ["viewer", "admin", "super-admin"];

/// One call of the description.
struct Call {
    method: String,
    path: String,
    operation: Value,
}

impl Call {
    fn id(&self) -> &str {
        self.operation["operationId"].as_str().unwrap()
    }

    /// How much a role must be at least; 0 is nobody.
    fn needs(&self) -> usize {
        match self.operation["x-required-role"].as_str().expect("every call says") {
            "none" => 0,
            role => ROLES.iter().position(|known| *known == role).expect("a role") + 1,
        }
    }

    fn schema<'d>(&self, document: &'d Value) -> Option<&'d Value> {
        let content = &self.operation["requestBody"]["content"]["application/json"];
        let name = content["schema"]["$ref"].as_str()?.rsplit('/').next()?;
        Some(&document["components"]["schemas"][name])
    }
}

async fn described(h: &Harness) -> (Value, Vec<Call>) {
    let (_, document) = h.admin("GET", "/openapi.json", Value::Null).await;
    let mut calls = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let (method, path) = (method.to_uppercase(), path.clone());
            calls.push(Call { method, path, operation: operation.clone() });
        }
    }
    (document, calls)
}

/// A body that would do in this world; without one here that of the description.
fn body(h: &Harness, call: &Call) -> Value {
    match call.id() {
        "mintCredential" => json!({ "name": "n", "account": "acme", "roles": ["reader"] }),
        "changeCredential" => json!({ "roles": ["reader", "emergency"] }),
        "armRole" => json!({ "role": "emergency", "for": "1m" }),
        "disarmRole" => json!({ "role": "emergency" }),
        "revokeTokens" => json!({ "jti": "6f9619ff-8b86-4011-b42d-00c04fc964ff" }),
        "explain" => json!({ "method": "GET", "url": "/any/acme/x" }),
        "signIn" => json!({ "key": h.admin_key }),
        _ => call.operation["requestBody"]["content"]["application/json"]["example"].clone(),
    }
}

async fn send(
    h: &Harness,
    call: (&str, &str),
    key: Option<&str>,
    body: Option<String>,
) -> (u16, Value, String) {
    let url = format!("http://{}{}", h.running().admin, call.1);
    let mut request = h.http.request(call.0.parse().unwrap(), url);
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body);
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let challenge = answer.headers().get("www-authenticate");
    let challenge = challenge.map_or("", |value| value.to_str().unwrap()).to_owned();
    (status, answer.json().await.unwrap_or(Value::Null), challenge)
}

fn head(h: &Harness) -> u64 {
    h.running().context.store.status().head
}

async fn world() -> (Harness, Minted, Vec<String>) {
    let h = Harness::start().await;
    let minted = h.mint(&["reader", "emergency"]).await;
    let mut keys = Vec::new();
    for role in ROLES {
        let (_, made) = h
            .admin("POST", "/v1/admins", json!({ "name": format!("a-{role}"), "role": role }))
            .await;
        keys.push(made["key"].as_str().unwrap().to_owned());
    }
    (h, minted, keys)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_do_what_the_description_says_and_no_more() {
    let (h, minted, keys) = world().await;
    let token = h.trade(&minted).await;
    // Something to narrow down to.
    assert_eq!(
        h.ask("GET", "/v1/accounts/acme/projects", Some(&token)).await.0,
        200,
        "one right is used"
    );
    let (document, mut calls) = described(&h).await;
    let shown = document.to_string();
    assert!(!shown.contains("unlisted"), "a call that the list of roles lacks");
    // What ends the credential comes last, and the key that signs after all.
    calls.sort_by_key(|call| match call.id() {
        "revokeCredential" => 1,
        "revokeKey" => 2,
        _ => 0,
    });
    let mut allowed = 0;
    for call in &calls {
        let needs = call.needs();
        let text = (!call.operation["requestBody"].is_null()).then(|| body(&h, call).to_string());
        for role in 0..=ROLES.len() {
            let (_, list) = h.admin("GET", "/v1/keys", Value::Null).await;
            let kid = list["items"][0]["kid"].as_str().unwrap();
            let path = call.path.replace("{client_id}", &minted.client_id).replace("{kid}", kid);
            let path = path.replace("{generation}", "1").replace("{name}", "ada");
            let key = role.checked_sub(1).map(|place| keys[place].as_str());
            let before = head(&h);
            let (status, answer, challenge) =
                send(&h, (&call.method, &path), key, text.clone()).await;
            let told = format!("{} {path} as {role}: {status} {answer}", call.method);
            if role >= needs {
                assert!(status < 500 && ![401, 403, 405].contains(&status), "{told}");
                allowed += usize::from(status < 300);
                continue;
            }
            let expected = if role == 0 { 401 } else { 403 };
            assert_eq!(status, expected, "{told}");
            assert!(answer["request_id"].is_string(), "{told}");
            assert_eq!(challenge.starts_with("Bearer"), role == 0, "{told}");
            assert_eq!(head(&h), before, "{told}");
        }
    }
    // Most of them do something: the paths and bodies above are real ones.
    assert!(allowed >= calls.len(), "{allowed} of {}", calls.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_here_is_for_those_with_a_key() {
    let (h, _, keys) = world().await;
    for call in [("GET", "/v2"), ("PUT", "/v1/credentials"), ("GET", "/v1"), ("GET", "/console/x")]
    {
        assert_eq!(send(&h, call, None, None).await.0, 401, "{call:?}");
        let (status, ..) = send(&h, call, Some(&keys[0]), None).await;
        assert!([404, 405].contains(&status), "{call:?} {status}");
    }
    assert_eq!(send(&h, ("PUT", "/healthz"), None, None).await.0, 405);
    assert_eq!(send(&h, ("GET", "/"), None, None).await.0, 200);
    assert_eq!(send(&h, ("HEAD", "/v1/credentials"), None, None).await.0, 401);
    assert_eq!(send(&h, ("HEAD", "/v1/credentials"), Some(&keys[0]), None).await.0, 200);
}

/// Values that a field of this schema can't have.
fn bad_values(schema: &Value) -> Vec<Value> {
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        one => vec![one.clone()],
    };
    let is = |name: &str| types.contains(&json!(name));
    if is("array") {
        let mut bad = vec![json!("text"), json!(5), json!({}), json!([5]), json!([null])];
        bad.extend([json!([[]]), json!(["a\u{7}b"]), json!(["x".repeat(5000)]), json!([""])]);
        return bad;
    }
    if is("integer") {
        return vec![json!("5"), json!(1.5), json!(-1), json!([]), json!(true), json!(1e30)];
    }
    assert!(is("string"), "{schema}");
    let texts = [json!("x".repeat(5000)), json!("a\u{7}b"), json!("\u{0}"), json!("a\nb")];
    let mut bad = vec![json!(5), json!(true), json!([]), json!(["x"]), json!({ "a": 1 })];
    bad.extend(texts);
    bad
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_in_any_field_is_named_and_changes_nothing() {
    let (h, minted, _) = world().await;
    let (document, mut calls) = described(&h).await;
    // Wrong keys slow their sender down.
    calls.sort_by_key(|call| call.id() == "signIn");
    let (_, list) = h.admin("GET", "/v1/keys", Value::Null).await;
    let kid = list["items"][0]["kid"].as_str().unwrap().to_owned();
    let key = Some(h.admin_key.as_str());
    let mut tried = 0;
    for call in &calls {
        let Some(schema) = call.schema(&document) else { continue };
        let path = call.path.replace("{client_id}", &minted.client_id).replace("{kid}", &kid);
        let at = (call.method.as_str(), path.as_str());
        let good = body(&h, call);
        let before = head(&h);
        let required = schema["required"].as_array().cloned().unwrap_or_default();
        for (field, its) in schema["properties"].as_object().unwrap() {
            let mut values = bad_values(its);
            if required.contains(&json!(field)) {
                values.push(Value::Null);
            }
            for value in values {
                let is_text = value.is_string();
                // Any text may be tried as a token or a key: it is a wrong one. And
                // what people describe may have lines.
                let of_any_text = match (call.id(), field.as_str()) {
                    ("explain", "token") | ("signIn", _) => is_text,
                    (_, "description") => value == "a\nb",
                    _ => false,
                };
                if of_any_text {
                    continue;
                }
                let mut body = good.clone();
                body[field] = value.clone();
                let (status, answer, _) = send(&h, at, key, Some(body.to_string())).await;
                let shown: String = value.to_string().chars().take(40).collect();
                let told = format!("{at:?} {field} = {shown}: {status} {answer}");
                assert_eq!(status, 422, "{told}");
                let mut named = answer["fields"].as_array().unwrap().iter();
                assert!(named.any(|fault| fault["field"] == *field), "{told}");
                assert_eq!(head(&h), before, "{told}");
                tried += 1;
            }
            let twice = format!(
                "{{{0}:{1},{0}:{1}}}",
                json!(field),
                good.get(field).unwrap_or(&json!("x"))
            );
            let (status, answer, _) = send(&h, at, key, Some(twice)).await;
            assert_eq!((status, &answer["error"]), (400, &json!("invalid_request")), "{at:?}");
        }
        let mut more = good.clone();
        more["no_such_field"] = json!(1);
        let (status, answer, _) = send(&h, at, key, Some(more.to_string())).await;
        assert_eq!(status, 422, "{at:?} {answer}");
        assert_eq!(answer["fields"][0]["field"], "no_such_field", "{at:?}");
        for broken in ["{", "[]", "null", "{\"a\":1,}", "\u{feff}{}", "{}{}"] {
            let (status, ..) = send(&h, at, key, Some(broken.to_owned())).await;
            assert_eq!(status, 400, "{at:?} {broken}");
        }
        assert_eq!(head(&h), before, "{at:?}");
    }
    assert!(tried > 200, "{tried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_names_and_bad_parameters_change_nothing() {
    let (h, minted, keys) = world().await;
    let (_, calls) = described(&h).await;
    let before = head(&h);
    for call in calls.iter().filter(|call| call.needs() > 0) {
        let text = (!call.operation["requestBody"].is_null()).then(|| body(&h, call).to_string());
        if call.path.contains('{') {
            for unknown in ["x", "%00", "%ff", "6f9619ff-8b86-4011-b42d-00c04fc964ff", "%2e%2e"] {
                let path = call.path.replace("{client_id}", unknown).replace("{kid}", unknown);
                let path = path.replace("{name}", unknown).replace("{generation}", unknown);
                let at = (call.method.as_str(), path.as_str());
                let (status, answer, _) = send(&h, at, Some(&h.admin_key), text.clone()).await;
                assert_eq!(status, 404, "{at:?} {answer}");
            }
        }
        if call.method != "GET" {
            continue;
        }
        let path = call.path.replace("{client_id}", &minted.client_id);
        for (query, expected) in
            [("limit=x", 422), ("nonsense=1", 422), ("q=%ff", 400), ("limit=1&limit=1", 422)]
        {
            let listed = call.operation["parameters"].to_string();
            if !listed.contains("\"limit\"") {
                continue;
            }
            let at = format!("{path}?{query}");
            let (status, answer, _) = send(&h, ("GET", &at), Some(&keys[0]), None).await;
            assert_eq!(status, expected, "{at} {answer}");
        }
    }
    for call in ["suspend", "resume", "narrow"] {
        let path = format!("/v1/credentials/{}/{call}", minted.client_id);
        for (text, expected) in [("{", 400), ("[]", 400), ("{\"a\":1}", 422), ("nonsense", 400)] {
            let sent = send(&h, ("POST", &path), Some(&h.admin_key), Some(text.to_owned())).await;
            assert_eq!(sent.0, expected, "{call} {text}");
        }
    }
    assert_eq!(head(&h), before);
}
