//! The rows of the contract's section 5, over the wire.

use std::time::Duration;

use serde_json::json;

use crate::harness::Harness;
use crate::raw::once;

#[tokio::test(flavor = "multi_thread")]
async fn each_refusal_has_its_status_error_and_reason() {
    let h = Harness::start().await;
    let reader = h.token(&["reader"]).await;
    let limited = h
        .mint_with(
            json!({"name": "n", "account": "acme", "roles": ["reader"], "environments": ["prod"]}),
        )
        .await;
    let limited = h.trade(&limited).await;
    let emergency = h.token(&["emergency"]).await;
    let list = "/v1/accounts/acme/account_environments/prod/campaigns";
    let rows: &[(&str, &str, Option<&str>, u16, &str, &str)] = &[
        ("GET", "/nowhere", Some(&reader), 404, "not_found", "no_route"),
        ("GET", "/nowhere", None, 404, "not_found", "no_route"),
        ("PUT", list, None, 405, "method_not_allowed", "method_not_allowed"),
        ("GET", list, None, 401, "unauthorized", "token_missing"),
        ("GET", list, Some(""), 401, "unauthorized", "token_missing"),
        ("GET", list, Some("x"), 401, "invalid_token", "token_malformed"),
        ("GET", list, Some("eyJhbGciOiJub25lIn0.e30."), 401, "invalid_token", "unknown_key"),
        ("POST", list, Some(&reader), 403, "insufficient_scope", "insufficient_scope"),
        (
            "DELETE",
            "/backend/accounts/acme/tag-clear",
            Some(&emergency),
            403,
            "insufficient_scope",
            "not_armed",
        ),
        (
            "GET",
            "/v1/accounts/other/account_environments/prod/campaigns",
            Some(&reader),
            403,
            "insufficient_scope",
            "wrong_account",
        ),
        (
            "GET",
            "/v1/accounts/acme/account_environments/dev/campaigns",
            Some(&limited),
            403,
            "insufficient_scope",
            "wrong_environment",
        ),
        (
            "GET",
            "/v1/accounts/acme/projects",
            Some(&limited),
            403,
            "insufficient_scope",
            "wrong_environment",
        ),
    ];
    for (method, path, token, status, error, reason) in rows {
        let (got, body) = h.ask(method, path, *token).await;
        assert_eq!((got, body["error"].as_str()), (*status, Some(*error)), "{method} {path}");
        assert!(
            !body.to_string().contains(reason) || error == reason,
            "{body} tells the finer reason"
        );
        h.logged(|line| {
            line["path"] == *path
                && line["reason"] == *reason
                && line["status"] == *status
                && line["decision"] == "deny"
        })
        .await;
    }
    assert_eq!(h.upstream.count(), 0);
    assert_eq!(h.ask("GET", list, Some(&limited)).await.0, 200);
    assert_eq!(h.ask("GET", "/v1/accounts/acme/projects", Some(&reader)).await.0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn challenges_follow_rfc_6750() {
    let h = Harness::start().await;
    let reader = h.token(&["reader"]).await;
    let list = "/v1/accounts/acme/account_environments/prod/campaigns";
    let head =
        |method: &str, auth: &str| format!("{method} {list} HTTP/1.1\r\nHost: h\r\n{auth}\r\n");
    let missing = once(h.data(), head("GET", "")).await.unwrap();
    let challenge = missing.field("www-authenticate").unwrap();
    assert!(challenge.starts_with("Bearer realm=\"portcullis\""), "{challenge}");
    assert!(!challenge.contains("error"), "{challenge}");
    // RFC 9728 section 5.1.
    let metadata = challenge.split("resource_metadata=\"").nth(1).unwrap().trim_end_matches('"');
    assert!(metadata.ends_with("/.well-known/oauth-protected-resource"), "{metadata}");
    let two = format!("Authorization: Bearer {reader}\r\nAuthorization: Bearer {reader}\r\n");
    for (auth, error) in [
        ("Authorization: Bearer x\r\n", "error=\"invalid_token\""),
        ("Authorization: Basic eDp5\r\n", "error=\"invalid_token\""),
        (two.as_str(), "error=\"invalid_token\""),
    ] {
        let answer = once(h.data(), head("GET", auth)).await.unwrap();
        assert_eq!(answer.status, 401);
        assert!(answer.field("www-authenticate").unwrap().contains(error), "{auth}");
    }
    let auth = format!("Authorization: bearer {reader}\r\n");
    let scope = once(h.data(), head("POST", &auth)).await.unwrap();
    let challenge = scope.field("www-authenticate").unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\", scope=\"campaign.create\""),
        "{challenge}"
    );
    let wrong = once(h.data(), head("PUT", "")).await.unwrap();
    assert_eq!(wrong.field("allow"), Some("GET, HEAD, POST"));
    // A token anywhere but in the Authorization field is no token.
    let elsewhere = format!(
        "GET {list}?access_token={reader} HTTP/1.1\r\nHost: h\r\nCookie: access_token={reader}\r\n\r\n"
    );
    assert_eq!(once(h.data(), elsewhere).await.unwrap().status, 401);
}

/// An Upgrade field, like any other, changes nothing in judging.
#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_header_changes_nothing_in_judging() {
    let h = Harness::start().await;
    let reader = h.token(&["reader"]).await;
    for upgrade in ["websocket", "h2c", "x", "TLS/1.0", ""] {
        let more = format!("Host: h\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n");
        for (path, token, status) in [
            ("/v1/accounts/acme/projects", "", 401),
            ("/v1/accounts/other/projects", reader.as_str(), 403),
            ("/nowhere", reader.as_str(), 404),
            ("/any/acme/../x", reader.as_str(), 400),
            ("/v1/accounts/acme/projects", reader.as_str(), 200),
        ] {
            let before = h.upstream.count();
            let request =
                format!("GET {path} HTTP/1.1\r\n{more}Authorization: Bearer {token}\r\n\r\n");
            let answer = once(h.data(), request).await.unwrap();
            assert_eq!(answer.status, status, "Upgrade: {upgrade}, {path}");
            assert_eq!(h.upstream.count() - before, usize::from(status == 200));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_request_of_a_connection_is_judged_anew() {
    let h = Harness::start().await;
    let reader = h.token(&["reader"]).await;
    let mut raw = crate::raw::Raw::connect(h.data()).await;
    let good =
        format!("GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {reader}\r\n\r\n");
    raw.send(&good).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    raw.send("GET /any/acme/x HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert_eq!(raw.answer().await.unwrap().status, 401);
    // Two in one packet: the second is answered on its own merits.
    raw.send(format!("{good}GET /any/acme/pipelined HTTP/1.1\r\nHost: h\r\n\r\n")).await;
    assert_eq!(raw.answer().await.unwrap().status, 200);
    assert_eq!(raw.answer().await.unwrap().status, 401);
    assert!(h.upstream.seen().iter().all(|seen| !seen.target().contains("pipelined")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_dies_at_its_end() {
    let h = Harness::start().await;
    let token = h.token(&["reader"]).await;
    h.clock.advance(Duration::from_secs(12 * 3600 + 29));
    assert_eq!(
        h.ask("GET", "/any/acme/x", Some(&token)).await.0,
        200,
        "the clocks may differ by 30 s"
    );
    h.clock.advance(Duration::from_secs(1));
    let (status, body) = h.ask("GET", "/any/acme/x", Some(&token)).await;
    assert_eq!((status, body["error"].as_str()), (401, Some("invalid_token")));
    h.logged(|line| line["reason"] == "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_a_body_decide_where_the_route_says_so() {
    let h = Harness::start().await;
    let operator = h.token(&["operator"]).await;
    let path = "/v1/accounts/acme/account_environments/prod/campaigns/7";
    let send = |body: &str, more: &str| {
        let request = format!(
            "PATCH {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {operator}\r\nContent-Type: application/json\r\n{more}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        once(h.data(), request)
    };
    let body = r#"{"status":"pause"}"#;
    assert_eq!(send(body, "").await.unwrap().status, 200);
    assert_eq!(h.upstream.last().body, body.as_bytes(), "what was held is forwarded");
    assert_eq!(send(body, "Expect: 100-continue\r\n").await.unwrap().status, 200);
    let before = h.upstream.count();
    for (body, more, status) in [
        (r#"{"status":"pause","global_code":"x"}"#, "", 403),
        (r#"{"global_code":"x"}"#, "", 403),
        ("{}", "", 403),
        ("", "", 403),
        (r#"{"status":"a","status":"b"}"#, "", 400),
        (r#"{"status":"a","st\u0061tus":"b"}"#, "", 400),
        ("[1]", "", 400),
        ("status=pause", "", 400),
        (r#"{"status":"pause"}"#, "Content-Encoding: gzip\r\n", 400),
    ] {
        assert_eq!(send(body, more).await.unwrap().status, status, "{body}");
    }
    let long = format!(r#"{{"status":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(send(&long, "").await.unwrap().status, 403, "too long to be held");
    assert_eq!(h.upstream.count(), before);
    // Whoever holds the stronger right may send long bodies, in chunks too.
    let editor =
        h.mint_with(json!({"name": "n", "account": "acme", "scopes": ["campaign.update"]})).await;
    let editor = h.trade(&editor).await;
    let chunk = "y".repeat(50_000);
    let request = format!(
        "PATCH {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {editor}\r\nTransfer-Encoding: chunked\r\n\r\n\
         c350\r\n{chunk}\r\nc350\r\n{chunk}\r\n0\r\n\r\n"
    );
    assert_eq!(once(h.data(), request).await.unwrap().status, 200);
    assert_eq!(h.upstream.last().length, 100_000, "not a byte of what was looked at is lost");
    assert_eq!(h.upstream.last().body, "y".repeat(100_000).as_bytes());
}

#[tokio::test(flavor = "multi_thread")]
async fn account_and_environment_in_the_query() {
    let h = Harness::start().await;
    let limited = h
        .mint_with(
            json!({"name": "n", "account": "acme", "roles": ["reader"], "environments": ["prod"]}),
        )
        .await;
    let token = h.trade(&limited).await;
    for (query, status) in [
        ("account_id=acme&account_environment_id=prod", 200),
        ("account_id=acme&account_environment_id=dev", 403),
        ("account_id=other&account_environment_id=prod", 403),
        ("account_id=acme", 400),
        ("account_id=acme&account_id=acme&account_environment_id=prod", 400),
        ("account_id=acme&account_id[]=other&account_environment_id=prod", 400),
        ("", 400),
    ] {
        let (got, _) = h.ask("POST", &format!("/resource-loader?{query}"), Some(&token)).await;
        assert_eq!(got, status, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_over_its_limits_is_429_and_others_are_free() {
    let h = Harness::start().await;
    let limited = json!({"name": "n", "account": "acme", "roles": ["reader"], "rate": "2/m", "concurrency": 1});
    let minted = h.mint_with(limited).await;
    let (token, other) = (h.trade(&minted).await, h.token(&["reader"]).await);
    let mut waiting = crate::raw::Raw::connect(h.data()).await;
    waiting
        .send(format!(
            "GET /any/acme/wait HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
        .await;
    h.upstream.wait_for(1).await;
    let request =
        format!("GET /any/acme/x HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n\r\n");
    let answer = once(h.data(), &request).await.unwrap();
    assert_eq!((answer.status, answer.field("retry-after")), (429, Some("1")), "one at a time");
    let policy = "\"concurrency\";q=1;qu=\"concurrent-requests\"";
    assert_eq!(answer.field("ratelimit-policy"), Some(policy));
    assert_eq!(answer.field("ratelimit"), Some("\"concurrency\";r=0"));
    h.upstream.release();
    assert_eq!(waiting.answer().await.unwrap().status, 200);
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
    let answer = once(h.data(), request).await.unwrap();
    assert_eq!((answer.status, answer.json()["error"].as_str()), (429, Some("rate_limited")));
    assert_eq!(answer.field("retry-after"), Some("30"));
    assert_eq!(answer.field("ratelimit-policy"), Some("\"rate\";q=2;w=60"));
    assert_eq!(answer.field("ratelimit"), Some("\"rate\";r=0;t=30"));
    h.logged(|line| {
        line["reason"] == "rate_limited" && line["client_id"] == json!(minted.client_id)
    })
    .await;
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&other)).await.0, 200);
    h.clock.advance(Duration::from_secs(30));
    assert_eq!(h.ask("GET", "/any/acme/x", Some(&token)).await.0, 200);
}
