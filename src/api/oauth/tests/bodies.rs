//! All forms of a body, good and broken.

use super::*;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn multipart(fields: &[(&str, &str)]) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        body +=
            &format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    body + "--xyz--\r\n"
}

#[test]
fn every_form_on_every_path() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let Client { id, secret } = &client;
    let json = format!(
        r#"{{"grant_type":"client_credentials","client_id":"{id}","client_secret":"{secret}","scope":"*"}}"#
    );
    let fields = [
        ("client_id", id.to_string()),
        ("client_secret", secret.clone()),
        ("grant_type", "client_credentials".into()),
    ];
    let parts = multipart(&fields.each_ref().map(|(name, value)| (*name, value.as_str())));
    let form = client.form();
    let mut ids = BTreeSet::new();
    for path in [
        "/oauth2/token",
        "/oauth/v2/token",
        "/v1/token",
        "/acme/token",
        "/acme/token?expires_in=60",
    ] {
        for (content_type, body) in [
            (JSON, json.as_str()),
            ("Application/JSON; charset=utf-8", &json),
            (FORM, &form),
            ("application/x-www-form-urlencoded;charset=UTF-8", &form),
            (FORM, &format!("{form}\r\n")),
            (FORM, &format!("{form}&unknown=1&unknown=2&resource=a&resource=b")),
            (FORM, &form.replace('-', "%2D")),
            ("multipart/form-data; boundary=xyz", &parts),
            ("multipart/form-data; boundary=\"xyz\"", &parts),
        ] {
            let answer = gateway.post(path, content_type, body);
            assert_eq!(answer.status, 200, "{path} {content_type} {}", answer.text);
            assert_eq!(answer.body["token_type"], "Bearer");
            assert_eq!(answer.body["scope"], "campaign.list campaign.toggle env:*");
            let life = if path.contains('?') { 60 } else { 43_200 };
            assert_eq!(answer.body["expires_in"], life);
            assert_eq!(answer.body.as_object().unwrap().len(), 4);
            assert_eq!(answer.headers["cache-control"], "no-store");
            assert_eq!(answer.headers["pragma"], "no-cache");
            assert_eq!(answer.headers["content-type"], "application/json");
            assert_eq!(answer.headers["x-request-id"], "r-1");
            assert!(ids.insert(answer.body["access_token"].to_string()), "a token twice");
        }
    }
    for body in [json.clone(), format!(" \n{json}"), form.clone()] {
        let request = http::Request::post("/v1/token").body(body).unwrap();
        assert_eq!(gateway.send(request).status, 200, "no content type");
    }
    assert_eq!(gateway.minted("ok"), 48);
}

#[test]
fn broken_bodies() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let Client { id, secret } = &client;
    let form = client.form();
    let rest = format!(r#""client_id":"{id}","client_secret":"{secret}""#);
    let parts = |more: &[(&str, &str)]| {
        let id = id.to_string();
        let good = [("client_id", id.as_str()), ("client_secret", secret)];
        multipart(&[&good, more].concat())
    };
    let grant = ("grant_type", "client_credentials");
    let many = [("x", "y"); 40];
    let long = "x".repeat(20_000);
    let mime = "multipart/form-data; boundary=xyz";
    let ok = r#""grant_type":"client_credentials""#;
    for (content_type, body, error) in [
        (JSON, String::new(), "invalid_request"),
        (JSON, "{".into(), "invalid_request"),
        (JSON, "[]".into(), "invalid_request"),
        (JSON, "null".into(), "invalid_request"),
        (JSON, "\"x\"".into(), "invalid_request"),
        (JSON, format!("[\"client_credentials\",\"{id}\",\"{secret}\"]"), "invalid_request"),
        (JSON, format!("{{{ok},{rest}}}x"), "invalid_request"),
        (JSON, format!("{{{ok},{rest}}}{{}}"), "invalid_request"),
        (JSON, format!("\u{feff}{{{ok},{rest}}}"), "invalid_request"),
        (JSON, format!("{{{ok},{rest},{ok}}}"), "invalid_request"),
        (JSON, format!("{{{ok},{rest},\"gr\\u0061nt_type\":\"x\"}}"), "invalid_request"),
        (JSON, format!("{{{ok},{rest},\"scope\":null,\"scope\":\"a\"}}"), "invalid_request"),
        (JSON, format!("{{{ok},{rest},\"scope\":[\"a\"]}}"), "invalid_request"),
        (JSON, format!("{{{ok},{rest},\"scope\":7}}"), "invalid_request"),
        (JSON, format!("{{{ok},{rest},\"scope\":true}}"), "invalid_request"),
        (JSON, format!("{{{ok},{rest},\"scope\":{{}}}}"), "invalid_request"),
        (
            JSON,
            format!("{{{ok},\"client_id\":7,\"client_secret\":\"{secret}\"}}"),
            "invalid_request",
        ),
        (JSON, format!("{{{rest}}}"), "invalid_request"),
        (JSON, format!("{{\"grant_type\":\"\",{rest}}}"), "invalid_request"),
        (JSON, format!("{{\"grant_type\":\"password\",{rest}}}"), "unsupported_grant_type"),
        (JSON, form.clone(), "invalid_request"),
        (FORM, String::new(), "invalid_request"),
        (FORM, format!("{{{ok},{rest}}}"), "invalid_request"),
        (FORM, format!("{form}&client_id={id}"), "invalid_request"),
        (FORM, format!("{form}&%63lient_id={id}"), "invalid_request"),
        (FORM, format!("{form}&scope=&scope="), "invalid_request"),
        (FORM, format!("{form}&scope=%zz"), "invalid_request"),
        (FORM, format!("{form}&scope=%"), "invalid_request"),
        (FORM, format!("{form}&scope=%ff"), "invalid_request"),
        (FORM, form.replace("client_credentials", "refresh_token"), "unsupported_grant_type"),
        (FORM, form.replace("client_credentials", "CLIENT_CREDENTIALS"), "unsupported_grant_type"),
        (FORM, form.replace("grant_type", "grant"), "invalid_request"),
        (mime, parts(&[]), "invalid_request"),
        (mime, parts(&[grant, grant]), "invalid_request"),
        (mime, parts(&[grant, ("scope", &long)]), "invalid_request"),
        (mime, parts(&[&[grant][..], &many].concat()), "invalid_request"),
        (mime, parts(&[grant]).replace("xyz--", "xyz"), "invalid_request"),
        (mime, parts(&[grant]).replace("name=\"grant_type\"", "x=\"y\""), "invalid_request"),
        ("multipart/form-data", parts(&[grant]), "invalid_request"),
        ("text/plain", form.clone(), "invalid_request"),
        ("", form.clone(), "invalid_request"),
        ("application/jsonx", "{}".into(), "invalid_request"),
        ("application/json, text/plain", "{}".into(), "invalid_request"),
    ] {
        let answer = gateway.post("/oauth2/token", content_type, &body);
        let found = (answer.status.as_u16(), answer.body["error"].as_str());
        assert_eq!(found, (400, Some(error)), "{content_type} {body}");
        answer.assert(400, error);
        assert!(!answer.text.contains(secret), "{}", answer.text);
        assert_eq!(answer.body["request_id"], "r-1");
    }
    assert_eq!(gateway.minted("ok"), 0);
    let two = http::Request::post("/v1/token").header("content-type", JSON);
    let two = two.header("content-type", FORM).body(form.clone()).unwrap();
    gateway.send(two).assert(400, "invalid_request");
    let bytes = [form.as_bytes(), b"&scope=\xff"].concat();
    let bytes = http::Request::post("/v1/token").header("content-type", FORM).body(bytes).unwrap();
    gateway.send(bytes).assert(400, "invalid_request");
    let huge = format!("{form}&x={}", "y".repeat(MAX_BODY));
    gateway.form("/v1/token", &huge).assert(413, "content_too_large");
}

#[test]
fn only_expires_in_may_stand_in_the_query() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let Client { id, secret } = &client;
    for (query, status) in [
        ("", 200),
        ("expires_in=60", 200),
        ("utm=1&x", 200),
        ("expires_in=", 200),
        (&format!("client_id={id}"), 400),
        (&format!("client_secret={secret}"), 400),
        (&format!("clien%74_secret={secret}"), 400),
        ("grant_type=client_credentials", 400),
        ("scope=campaign.list", 400),
        ("client_secret=", 400),
        ("password=x", 400),
        ("expires_in=60&expires_in=60", 400),
        ("expires_in=-1", 400),
        ("x=%zz", 400),
    ] {
        let answer = gateway.form(&format!("/oauth2/token?{query}"), &client.form());
        assert_eq!(answer.status, status, "{query}");
        assert!(!answer.text.contains(secret));
    }
    let both = gateway.form("/oauth2/token?expires_in=1", &(client.form() + "&expires_in=1"));
    both.assert(400, "invalid_request");
}
