//! Who is a client and who is not, and that nobody can tell why not.

use super::*;

/// Clients that are none, each for another reason, with the word in the log.
fn bad_clients(gateway: &Gateway) -> Vec<(Client, &'static str)> {
    let end = UnixTime::from_secs(NOW);
    let revoked = Revoked { by: "t".into(), at: end, reason: "r".into() };
    let good = || gateway.client(|_| {});
    let other = good();
    vec![
        (Client { id: ClientId::from_random([9; 16]), ..good() }, "unknown_client"),
        (Client { secret: other.secret.clone(), ..good() }, "wrong_secret"),
        (Client { secret: "x".into(), ..good() }, "wrong_secret"),
        (Client { secret: other.secret.to_lowercase(), ..good() }, "wrong_secret"),
        (gateway.client(|c| c.state = CredentialState::Revoked(revoked)), "revoked"),
        (gateway.client(|c| c.state = CredentialState::Suspended), "suspended"),
        (gateway.client(|c| c.expires_at = Some(end)), "expired"),
        (gateway.client(|c| c.expires_at = Some(end.plus(Duration::from_millis(900)))), "expired"),
        (gateway.client(|c| c.secrets[0].retires_at = Some(end)), "secret_retired"),
        (gateway.client(|c| c.secrets.clear()), "wrong_secret"),
        (gateway.client(|c| c.account = AccountId::new("other").unwrap()), "wrong_account"),
    ]
}

#[test]
fn one_answer_for_every_bad_client() {
    let gateway = Gateway::new();
    let mut bodies = BTreeSet::new();
    for (client, reason) in bad_clients(&gateway) {
        let answer = gateway.form("/acme/token", &client.form());
        answer.assert(400, "invalid_client");
        assert!(!answer.headers.contains_key("www-authenticate"));
        assert_eq!(answer.reason, Some(RefusalReason(reason)));
        bodies.insert((format!("{:?}", answer.headers), answer.text));
        let request = http::Request::post("/acme/token")
            .header("authorization", client.basic())
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-request-id", "r-1")
            .body("grant_type=client_credentials")
            .unwrap();
        let basic = gateway.send(request);
        basic.assert(401, "invalid_client");
        assert_eq!(basic.headers["www-authenticate"], "Basic realm=\"portcullis\"");
        assert_eq!(basic.text, bodies.first().unwrap().1);
    }
    // No credentials, and halves of them, are bad credentials too: the log alone tells.
    let id = format!("&client_id={}", gateway.client(|_| {}).id);
    for body in ["", "&client_id=x", &id, "&client_secret=x", "&client_id=&client_secret="] {
        let form = format!("grant_type=client_credentials{body}");
        let answer = gateway.form("/acme/token", &form);
        assert_eq!(answer.reason, Some(RefusalReason("credentials_missing")));
        bodies.insert((format!("{:?}", answer.headers), answer.text));
    }
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
    assert_eq!(gateway.minted("invalid_client"), 27);
    let mut request = http::Request::post("/acme/token").body("grant_type=client_credentials");
    request.as_mut().unwrap().headers_mut().insert("x-request-id", "r-2".parse().unwrap());
    let other = gateway.send(request.unwrap()).text;
    assert_eq!(other.replace("r-2", "r-1"), bodies.first().unwrap().1);
}

#[test]
fn who_failed_is_told_to_the_log() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let whose = |path: &str, form: &str| {
        let request = http::Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(form.to_owned()))
            .unwrap();
        let response = block_on(gateway.router.clone().oneshot(request)).unwrap();
        response.extensions().get::<TokenClient>().cloned()
    };
    let known =
        Some(TokenClient { client_id: client.id, account: AccountId::new("acme").unwrap() });
    let good = client.form();
    let wrong = Client { id: client.id, secret: "x".into() }.form();
    let other_grant = good.replace("grant_type=client_credentials", "grant_type=password");
    for (path, form) in [
        ("/oauth2/token", &good),
        ("/oauth2/token", &wrong),
        ("/other/token", &good),
        ("/oauth2/token", &format!("{good}&scope=not.held")),
        ("/oauth2/token", &other_grant),
        ("/oauth2/token", &format!("{good}&expires_in=-1")),
        ("/oauth2/introspect", &format!("{wrong}&token=x")),
        ("/oauth2/introspect", &format!("{good}&token=x")),
        ("/oauth2/revoke", &format!("{good}&token=x")),
    ] {
        assert_eq!(whose(path, form), known, "{path} {form}");
    }
    let nobody = Client { id: ClientId::from_random([9; 16]), secret: "x".into() }.form();
    for form in [&nobody, "grant_type=client_credentials&client_id=evil&client_secret=x", "", "{"] {
        assert_eq!(whose("/oauth2/token", form), None, "{form}");
    }
}

#[test]
fn basic() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let stranger = gateway.client(|_| {});
    let Client { id, secret } = &client;
    let escaped = format!("{}:{}", id.to_string().replace('-', "%2d"), secret);
    let good = client.basic();
    let ask = |authorizations: &[&str], body: &str| {
        let mut request = http::Request::post("/v1/token")
            .header("content-type", "application/x-www-form-urlencoded");
        for value in authorizations {
            request = request.header("authorization", *value);
        }
        let answer = gateway.send(request.body(format!("{body}&x=y")).unwrap());
        (answer.status.as_u16(), answer.body["error"].as_str().unwrap_or("").to_owned())
    };
    let grant = "grant_type=client_credentials";
    let with_id = format!("{grant}&client_id={id}");
    let with_other_id = format!("{grant}&client_id={}", stranger.id);
    let with_secret = format!("{grant}&client_secret={secret}");
    let whole = client.form();
    for (values, body, status, error) in [
        (vec![good.as_str()], grant, 200, ""),
        (vec![&good.replace("Basic", "bAsIC")], grant, 200, ""),
        (vec![&good.replace("Basic", "Basic  ")], grant, 200, ""),
        (vec![&super::basic(&escaped)], grant, 200, ""),
        (vec![&good, "Bearer x.y.z"], grant, 200, ""),
        (vec![&good], &with_id, 200, ""),
        (vec![&good], &with_other_id, 400, "invalid_request"),
        (vec![&good], &with_secret, 400, "invalid_request"),
        (vec![&good], &whole, 400, "invalid_request"),
        (vec![&good, &good], grant, 400, "invalid_request"),
        (vec!["Basic"], grant, 401, "invalid_client"),
        (vec!["Basic @@@@"], grant, 401, "invalid_client"),
        (vec![&super::basic("no colon")], grant, 401, "invalid_client"),
        (vec![&super::basic("a%zz:b")], grant, 401, "invalid_client"),
        (vec![&super::basic("a:b%ff")], grant, 401, "invalid_client"),
        (vec![&super::basic(":")], grant, 401, "invalid_client"),
        (vec![&super::basic(&format!("{id}:{secret}+"))], grant, 401, "invalid_client"),
        (vec![&super::basic(&format!("{id}:{secret}:"))], grant, 401, "invalid_client"),
        (vec![&good.replace("Basic ", "Basic")], grant, 400, "invalid_client"),
        (vec![&good], "", 400, "invalid_request"),
    ] {
        assert_eq!(ask(&values, body), (status, error.to_owned()), "{values:?} {body}");
    }
}

/// What the official client does: an empty Bearer with its first request, the
/// expired one with the next.
#[test]
fn bearers_are_ignored() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let old = gateway.token(&client, "&expires_in=1");
    gateway.clock.advance(Duration::from_secs(3600));
    for value in ["Bearer", "Bearer ", "", &format!("Bearer {old}"), "bearer x", "Token x", "\x01"]
    {
        let Ok(value) = HeaderValue::from_str(value) else { continue };
        let request = http::Request::post("/acme/token?expires_in=43200")
            .header("authorization", value)
            .header("content-type", "application/json")
            .body(format!(
                r#"{{"grant_type":"client_credentials","scope":"*","client_id":"{}","client_secret":"{}"}}"#,
                client.id, client.secret
            ))
            .unwrap();
        assert_eq!(gateway.send(request).status, 200);
    }
    let empty = r#"{"grant_type":"client_credentials","client_id":"","client_secret":""}"#;
    gateway.post("/acme/token", "application/json", empty).assert(400, "invalid_client");
    gateway.post("//token", "application/json", empty).assert(404, "not_found");
}

#[test]
fn either_secret_while_rotating() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let hash = gateway.context.hasher.hash("the new one");
    gateway.change(&client, |credential| {
        let now = credential.created_at;
        credential.secrets[0].retires_at = Some(now.plus(Duration::from_secs(60)));
        let new = SecretGeneration {
            generation: 2,
            created_at: now,
            retires_at: None,
            retired: false,
            retire_unused: None,
            hash,
        };
        credential.secrets.push(new);
    });
    let new = Client { id: client.id, secret: "the new one".into() };
    let body = gateway.mint(&client, "").body;
    assert_eq!(body["expires_in"], 60, "no longer than its secret");
    assert_eq!(gateway.mint(&new, "").body["expires_in"], 43_200);
    gateway.clock.advance(Duration::from_secs(60));
    gateway.mint(&client, "").assert(400, "invalid_client");
    assert_eq!(gateway.mint(&new, "").status, 200);
}

#[test]
fn nothing_is_logged() {
    #[derive(Clone, Default)]
    struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::with_default(subscriber, || {
        let gateway = Gateway::new();
        let client = gateway.client(|_| {});
        let token = gateway.token(&client, "");
        gateway.get(&format!("/token?access_token={token}"));
        for (bad, _) in bad_clients(&gateway) {
            gateway.mint(&bad, "");
        }
    });
    assert_eq!(String::from_utf8(lines.0.lock().clone()).unwrap(), "");
}
