//! What holds for any bytes: no panic, no fault of ours, no token by luck.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

static GATEWAY: LazyLock<(Gateway, Client)> = LazyLock::new(|| {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    (gateway, client)
});

fn content_type() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("application/json".to_owned()),
        Just("application/x-www-form-urlencoded".to_owned()),
        Just("multipart/form-data; boundary=x".to_owned()),
        "multipart/form-data; boundary=[\\PC&&[[:ascii:]]]{0,80}",
        "[\\PC&&[[:ascii:]]]{0,40}",
    ]
}

/// Bytes, and things that nearly mean something.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        "--x(\r\n|--|\r|\n)?",
        "Content-Disposition: form-data; name=\"?(scope|client_id|)\"?\r\n(\r\n)?",
        "(grant_type|client_id|client_secret|scope|expires_in)[=:]?",
        "[{}\\[\\],:\"&=%+\r\n;-]{1,4}",
        "[-0-9.e]{1,6}",
        "\\PC{0,8}",
        Just("client_credentials".to_owned()),
    ];
    let parts = prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat().into_bytes());
    prop_oneof![parts, prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn any_request_gets_a_clean_refusal(
        content_type in content_type(),
        body in body(),
        query in "[\\PC&&[[:ascii:]]]{0,30}",
        authorization in prop_oneof!["", "[bB]asic \\PC{0,20}", "Basic [A-Za-z0-9+/]{0,12}={0,2}", "\\PC{0,20}"],
        path in prop_oneof![Just("/v1/token"), Just("/acme/token"), Just("/oauth2/introspect")],
    ) {
        let uri = http::Uri::try_from(format!("{path}?{query}")).unwrap_or(path.parse().unwrap());
        let mut request = http::Request::post(uri).body(body).unwrap();
        for (name, value) in [("content-type", &content_type), ("authorization", &authorization)] {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                request.headers_mut().insert(name, value);
            }
        }
        let answer = GATEWAY.0.send(request);
        prop_assert!([400, 401].contains(&answer.status.as_u16()), "{}", answer.text);
        prop_assert!(answer.body["error"].is_string());
    }

    #[test]
    fn any_parameters_of_a_good_client(scope in "\\PC{0,20}", expires_in in "\\PC{0,6}") {
        let (gateway, client) = &*GATEWAY;
        let body = serde_json::json!({
            "grant_type": "client_credentials", "client_id": client.id.to_string(),
            "client_secret": client.secret, "scope": scope, "expires_in": expires_in});
        let answer = gateway.post("/v1/token", "application/json", &body.to_string());
        prop_assert!([200, 400].contains(&answer.status.as_u16()), "{}", answer.text);
        if answer.status == 200 && !scope.is_empty() && scope != "*" {
            for item in scope.split(' ').filter(|item| !item.is_empty() && *item != "*") {
                prop_assert!(answer.body["scope"].as_str().unwrap().contains(item));
            }
        }
    }

    #[test]
    fn any_text_as_a_token(text in "\\PC{0,60}") {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("access_token", &text);
        let answer = GATEWAY.0.get(&format!("/token?{}", query.finish()));
        prop_assert_eq!(answer.status.as_u16(), 400);
    }

    #[test]
    fn the_log_and_the_answer_agree_on_paths(path in "(/([a-z.%;{}]{0,6}|token|v1|oauth2|introspect)){1,3}") {
        let named = endpoints(&paths())(&path).is_some();
        let Ok(uri) = http::Uri::try_from(path.as_str()) else { return Ok(()) };
        if uri.path() == path {
            let request = http::Request::post(uri).body(Body::empty()).unwrap();
            prop_assert_eq!(GATEWAY.0.send(request).status != 404, named);
        }
    }
}
