//! Somebody who tries and tries.

use super::*;

const FREE: usize = 100;

/// What a form sent from `source` is answered, and whether that may come late.
fn from(gateway: &Gateway, source: &str, path: &str, form: &str) -> (Answer, bool) {
    let mut request = http::Request::post(path)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form.to_owned()))
        .unwrap();
    request.extensions_mut().insert(Caller(source.parse().unwrap()));
    let response = block_on(gateway.router.clone().oneshot(request)).unwrap();
    let late = response.extensions().get::<NoHurry>().is_some();
    (Answer::of(response), late)
}

#[test]
fn a_loop_is_slowed_and_a_right_secret_is_right() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let wrong = Client { id: client.id, secret: "x".into() }.form();
    let asleep = gateway.client(|c| c.state = CredentialState::Suspended);
    let good = client.form();
    let (here, neighbour) = ("2001:db8::1", "2001:db8:0:1::1");
    for n in 0..FREE {
        let (answer, late) = from(&gateway, here, "/oauth2/token", &wrong);
        answer.assert(400, "invalid_client");
        assert!(!late, "{n}");
    }
    let asked = |path: &str, form: &str| format!("{path} {form}");
    for (path, form, reason) in [
        ("/oauth2/token", wrong.clone(), "wrong_secret"),
        ("/v1/token", "grant_type=client_credentials".to_owned(), "credentials_missing"),
        // Nor does anybody learn now that a secret is right.
        ("/oauth2/token", asleep.form(), "suspended"),
        ("/oauth2/introspect", format!("{wrong}&token=x"), "wrong_secret"),
        ("/oauth2/revoke", format!("{wrong}&token=x"), "wrong_secret"),
    ] {
        let (answer, late) = from(&gateway, "2001:db8::abcd:1", path, &form);
        answer.assert(429, "rate_limited");
        assert_eq!(answer.headers["retry-after"], "1", "{}", asked(path, &form));
        assert!(!answer.headers.contains_key("www-authenticate"));
        assert_eq!((answer.reason, late), (Some(RefusalReason(reason)), true));
    }
    assert_eq!((gateway.minted("invalid_client"), gateway.minted("rate_limited")), (100, 3));
    let (answer, late) = from(&gateway, here, "/oauth2/token", &good);
    assert_eq!((answer.status.as_u16(), late), (200, false), "{}", answer.text);
    let (answer, _) = from(&gateway, neighbour, "/oauth2/token", &wrong);
    answer.assert(400, "invalid_client");
    // After the wait it is told again; then the wait is longer.
    gateway.clock.advance(Duration::from_secs(1));
    from(&gateway, here, "/oauth2/token", &wrong).0.assert(400, "invalid_client");
    assert_eq!(from(&gateway, here, "/oauth2/token", &wrong).0.headers["retry-after"], "2");
}

#[test]
fn what_is_no_sign_in_is_not_counted() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let good = client.form();
    for _ in 0..=FREE {
        let asked = |more: &str| from(&gateway, "192.0.2.1", "/oauth2/token", more).0;
        asked(&format!("{good}&scope=not.held")).assert(400, "invalid_scope");
        asked("{").assert(400, "invalid_request");
    }
    let nobody = "grant_type=client_credentials&client_id=x&client_secret=x";
    from(&gateway, "192.0.2.1", "/oauth2/token", nobody).0.assert(400, "invalid_client");
}

#[test]
fn each_client_has_a_rate_of_its_own() {
    let gateway = Gateway::new();
    let (busy, other) = (gateway.client(|_| {}), gateway.client(|_| {}));
    let minting = Minting { token_rate: Some("3/m".parse().unwrap()), ..minting(&gateway) };
    gateway.context.minting.store(Arc::new(minting));
    let asked = |client: &Client| from(&gateway, "192.0.2.1", "/oauth2/token", &client.form());
    for _ in 0..3 {
        assert_eq!(asked(&busy).0.status, 200);
    }
    let (refused, late) = asked(&busy);
    refused.assert(429, "rate_limited");
    assert!(!late);
    assert_eq!(refused.headers["retry-after"], "20");
    assert_eq!(refused.headers["ratelimit-policy"], "\"rate\";q=3;w=60");
    assert_eq!(refused.headers["ratelimit"], "\"rate\";r=0;t=20");
    assert_eq!(refused.reason, Some(RefusalReason("rate_limited")));
    assert_eq!(asked(&other).0.status, 200);
    gateway.clock.advance(Duration::from_secs(20));
    assert_eq!(asked(&busy).0.status, 200);
}

fn minting(gateway: &Gateway) -> Minting {
    (**gateway.context.minting.load()).clone()
}
