use std::time::Duration;

use serde_json::json;

use super::*;
use crate::api::session::{EACH, IDLE, LONGEST};
use crate::store::codec::AtRest;
use crate::store::{Change, Op};

const HOST: &str = "gateway.test:8081";
const OWN: &str = "http://gateway.test:8081";

fn with(mut request: Request<Body>, fields: &[(&'static str, &str)]) -> Request<Body> {
    request.headers_mut().insert("host", HOST.parse().unwrap());
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

impl Port {
    async fn sign_in(&self, key: &str, fields: &[(&'static str, &str)]) -> Answer {
        let body = json!({ "key": key }).to_string();
        self.send(with(request("POST", "/v1/session", None, &body), fields)).await
    }

    /// The cookie, as a browser sends it back.
    async fn cookie(&self, key: &str) -> String {
        let answer = self.sign_in(key, &[("origin", OWN)]).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let set = answer.headers["set-cookie"].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    }

    async fn me(&self, cookie: &str) -> u16 {
        let asked = with(request("GET", "/v1/me", None, ""), &[("cookie", cookie)]);
        self.send(asked).await.status.as_u16()
    }
}

#[tokio::test]
async fn in_and_out() {
    let port = Port::new().await;
    let answer = port.sign_in(&port.admin, &[("origin", OWN)]).await;
    assert_eq!(answer.json, json!({ "name": "ada", "role": "admin" }));
    let set = answer.headers["set-cookie"].to_str().unwrap();
    let (pair, rest) = set.split_once("; ").unwrap();
    assert_eq!(rest, "Path=/; Max-Age=43200; HttpOnly; SameSite=Strict");
    assert_eq!(pair.strip_prefix("portcullis_session=").unwrap().len(), 43);
    assert!(!answer.text.contains(&pair[20..]) && !set.contains(&port.admin));
    assert_eq!(port.me(&format!("a=b; {pair}; c")).await, 200);
    assert_eq!(port.me(&format!("{pair}; portcullis_session=x")).await, 401);
    assert_eq!(port.me("portcullis_session=x").await, 401);

    let behind_tls = [("origin", OWN), ("x-forwarded-proto", "https")];
    let answer = port.sign_in(&port.admin, &behind_tls).await;
    assert!(answer.headers["set-cookie"].to_str().unwrap().ends_with("SameSite=Strict; Secure"));

    let out = request("DELETE", "/v1/session", None, "");
    let answer = port.send(with(out, &[("cookie", pair), ("origin", OWN)])).await;
    assert_eq!(answer.status, 204);
    assert!(answer.headers["set-cookie"].to_str().unwrap().contains("=; Path=/; Max-Age=0;"));
    assert_eq!(port.me(pair).await, 401);
}

#[tokio::test]
async fn only_a_key_signs_in_and_only_from_here() {
    let port = Port::new().await;
    for key in ["", "pak1nonsense", &format!("{}x", port.admin)] {
        let answer = port.sign_in(key, &[]).await;
        assert_eq!(answer.status, 401, "{key}");
        assert!(!answer.headers.contains_key("set-cookie"));
    }
    let body = json!({ "key": port.admin, "x": 1 }).to_string();
    assert_eq!(port.send(request("POST", "/v1/session", None, &body)).await.status, 422);
    for (field, status) in [
        (("origin", "http://evil.test"), 403),
        (("origin", "null"), 403),
        (("sec-fetch-site", "cross-site"), 403),
        (("sec-fetch-site", "same-origin"), 200),
        (("accept", "*/*"), 200),
    ] {
        assert_eq!(port.sign_in(&port.admin, &[field]).await.status, status, "{field:?}");
    }
}

#[tokio::test]
async fn a_change_with_the_cookie_comes_from_the_own_origin() {
    let port = Port::new().await;
    let cookie = port.cookie(&port.admin).await;
    let id = port.world.credential("a").await.credential.client_id.to_string();
    let path = format!("/v1/credentials/{id}/suspend");
    let post = |fields: &[(&'static str, &str)]| {
        let fields = [&[("cookie", cookie.as_str())], fields].concat();
        with(request("POST", &path, None, "{}"), &fields)
    };
    for (fields, status) in [
        (vec![("origin", OWN)], 200),
        (vec![("origin", "https://GATEWAY.test:8081")], 200),
        (vec![("sec-fetch-site", "same-origin")], 200),
        (vec![], 200),
        (vec![("sec-fetch-site", "same-site")], 403),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "none")], 403),
        (vec![("origin", "http://gateway.test")], 403),
        (vec![("origin", "http://gateway.test:8081.evil.test")], 403),
        (vec![("origin", "http://evil.test"), ("sec-fetch-site", "same-origin")], 403),
        (vec![("origin", OWN), ("origin", "http://evil.test")], 403),
        (vec![("origin", "null")], 403),
        (vec![("origin", "")], 403),
    ] {
        let head = port.world.store.status().head;
        let answer = port.send(post(&fields)).await;
        assert_eq!(answer.status, status, "{fields:?}: {}", answer.text);
        assert!(status == 200 || port.world.store.status().head == head, "{fields:?}");
    }
}

#[tokio::test]
async fn authorization_wins_over_the_cookie() {
    let port = Port::new().await;
    let cookie = port.cookie(&port.super_admin).await;
    let asked = |key| with(request("GET", "/v1/me", Some(key), ""), &[("cookie", &cookie)]);
    assert_eq!(port.send(asked(&port.viewer)).await.json["name"], "vera");
    assert_eq!(port.send(asked("pak1nonsense")).await.status, 401);
    let create = json!({ "name": "n", "role": "viewer" }).to_string();
    let create = request("POST", "/v1/admins", Some(&port.viewer), &create);
    let fields = [("cookie", cookie.as_str()), ("origin", OWN)];
    assert_eq!(port.send(with(create, &fields)).await.status, 403);
    // A program with a key has no origin.
    let change = json!({ "name": "n", "role": "viewer" }).to_string();
    let change = request("POST", "/v1/admins", Some(&port.super_admin), &change);
    assert_eq!(port.send(with(change, &[("cookie", &cookie)])).await.status, 201);
}

#[tokio::test]
async fn a_session_ends_idle_and_ends_anyway() {
    let port = Port::new().await;
    let second = Duration::from_secs(1);
    let idle = port.cookie(&port.viewer).await;
    port.world.clock.advance(IDLE - second);
    assert_eq!(port.me(&idle).await, 200);
    port.world.clock.advance(IDLE);
    assert_eq!(port.me(&idle).await, 401);

    let busy = port.cookie(&port.viewer).await;
    let step = IDLE - second;
    let mut age = Duration::ZERO;
    while age + step < LONGEST {
        port.world.clock.advance(step);
        age += step;
        assert_eq!(port.me(&busy).await, 200, "{age:?}");
    }
    port.world.clock.advance(LONGEST - age);
    assert_eq!(port.me(&busy).await, 401);
}

#[tokio::test]
async fn a_session_dies_with_its_administrator() {
    let port = Port::new().await;
    let (mine, other) = (port.cookie(&port.viewer).await, port.cookie(&port.admin).await);
    let name = crate::domain::AdminName::new("vera").unwrap();
    let admin = port.world.ctx.memory.admins.get(&name).unwrap();
    let change = Change { guards: vec![], ops: vec![Op::Delete { key: admin.key() }] };
    port.world.store.commit(change).await.unwrap();
    assert_eq!(port.me(&mine).await, 401);
    assert_eq!(port.me(&other).await, 200);
    // Another one of that name is another one.
    let mine = port.world.admin("vera", AdminRole::SuperAdmin).await;
    assert_eq!(port.me(&port.cookie(&mine).await).await, 200);
}

#[tokio::test]
async fn too_many_sessions_end_the_one_longest_unused() {
    let port = Port::new().await;
    let other = port.cookie(&port.admin).await;
    let mut mine = Vec::new();
    for _ in 0..EACH {
        mine.push(port.cookie(&port.viewer).await);
        port.world.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(port.me(&mine[0]).await, 200);
    let last = port.cookie(&port.viewer).await;
    assert_eq!(port.me(&mine[1]).await, 401);
    for cookie in [&mine[0], &mine[2], &last, &other] {
        assert_eq!(port.me(cookie).await, 200);
    }
}

#[tokio::test]
async fn the_console_is_served_strictly() {
    let port = Port::new().await;
    let get = |path: &str| request("GET", path, None, "");
    let page = port.send(get("/")).await;
    assert_eq!(page.status, 200);
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert!(!page.text.contains("<style") && !page.text.contains(" style=\""));
    let mut linked = 0;
    for path in page.text.split('"').filter(|text| text.starts_with("console/")) {
        let answer = port.send(get(&format!("/{path}"))).await;
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert_eq!(answer.headers["referrer-policy"], "no-referrer");
        assert_eq!(answer.headers["cache-control"], "no-cache");
        let again = with(get(&format!("/{path}")), &[]);
        let tag = answer.headers["etag"].to_str().unwrap();
        let again = port.send(with(again, &[("if-none-match", tag)])).await;
        assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""), "{path}");
        linked += 1;
    }
    assert!(linked >= 3);
    assert_eq!(port.send(get("/console/none.js")).await.status, 401);
    assert_eq!(port.send(request("POST", "/", None, "")).await.status, 405);
}

#[tokio::test]
async fn live_numbers() {
    let port = Port::new().await;
    port.metrics.decisions.with_label_values(&["campaigns", "deny", "expired"]).inc_by(3);
    port.metrics.upstream_up.with_label_values(&["legacy", "127.0.0.1:9"]).set(1);
    port.metrics.open_streams.set(2);
    let live = port.get("/v1/live").await.json;
    let labels = json!({ "route": "campaigns", "decision": "deny", "reason": "expired" });
    assert_eq!(live["decisions"], json!([{ "labels": labels, "value": 3 }]));
    let upstream = json!({ "upstream": "legacy", "address": "127.0.0.1:9", "up": true });
    assert_eq!(live["upstreams"], json!([upstream]));
    assert_eq!((&live["open_streams"], &live["at"]), (&json!(2), &json!("2026-11-22T02:20:00Z")));
}
