//! What is in a token: lifetimes, scopes, claims.

use super::*;
use crate::token::{UnverifiedToken, verify};

#[test]
fn lifetimes() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let short = gateway.client(|c| c.expires_at = Some(UnixTime::from_millis(NOW * 1000 + 90_999)));
    for (asked, life) in [
        ("", Some(43_200)),
        ("&expires_in=", Some(43_200)),
        ("&expires_in=0", Some(86_400)),
        ("&expires_in=1", Some(1)),
        ("&expires_in=1800", Some(1800)),
        ("&expires_in=86400", Some(86_400)),
        ("&expires_in=86401", Some(86_400)),
        ("&expires_in=99999999999999999999999", Some(86_400)),
        ("&expires_in=-1", None),
        ("&expires_in=-0", None),
        ("&expires_in=1.5", None),
        ("&expires_in=1e3", None),
        ("&expires_in=12h", None),
        ("&expires_in=+", None),
    ] {
        let answer = gateway.mint(&client, asked);
        match life {
            Some(life) => assert_eq!(answer.body["expires_in"], life, "{asked}"),
            None => drop(answer.assert(400, "invalid_request")),
        }
        if let Some(life) = life {
            assert_eq!(gateway.mint(&short, asked).body["expires_in"], life.min(90), "{asked}");
        }
    }
    for (json, life) in [
        ("1800", Some(1800)),
        ("\"1800\"", Some(1800)),
        ("1800.0", Some(1800)),
        ("0", Some(86_400)),
        ("18446744073709551616", Some(86_400)),
        ("1e300", Some(86_400)),
        ("null", Some(43_200)),
        ("\"\"", Some(43_200)),
        ("-1", None),
        ("-1.0", None),
        ("-18446744073709551616", None),
        ("1.5", None),
        ("1e-3", None),
        ("1e400", None),
        ("true", None),
        ("[1]", None),
        ("{}", None),
        ("\"1800.0\"", None),
    ] {
        let body = format!(
            r#"{{"expires_in":{json},"grant_type":"client_credentials","client_id":"{}","client_secret":"{}"}}"#,
            client.id, client.secret
        );
        let answer = gateway.post("/v1/token", "application/json", &body);
        match life {
            Some(life) => assert_eq!(answer.body["expires_in"], life, "{json}"),
            None => drop(answer.assert(400, "invalid_request")),
        }
    }
}

#[test]
fn scopes() {
    let gateway = Gateway::new();
    let wide = gateway.client(|c| {
        c.roles.insert(RoleId::new("emergency").unwrap());
        c.extra_scopes.insert(Scope::new("flag.list").unwrap());
    });
    let narrow = gateway.client(|c| {
        let ids = ["e1", "e2"].map(|id| EnvironmentId::new(id).unwrap());
        c.environments = Environments::Only(ids.into());
    });
    let all = "campaign.list campaign.toggle flag.list library.clear env:*";
    let limited = "campaign.list campaign.toggle env:e1 env:e2";
    for (client, asked, expected) in [
        (&wide, "", Some(all)),
        (&wide, "*", Some(all)),
        (&wide, "flag.list+campaign.list", Some("campaign.list flag.list env:*")),
        (&wide, "library.clear+env:e9", Some("library.clear env:e9")),
        (&wide, "campaign.delete", None),
        (&wide, "campaign.list+campaign.delete", None),
        (&wide, "+", None),
        (&narrow, "", Some(limited)),
        (&narrow, "*", Some(limited)),
        (&narrow, "campaign.list", Some("campaign.list env:e1 env:e2")),
        (&narrow, "campaign.list+env:e2", Some("campaign.list env:e2")),
        (&narrow, "*+env:e2", Some("campaign.list campaign.toggle env:e2")),
        (&narrow, "campaign.list+env:*", None),
        (&narrow, "campaign.list+env:e3", None),
        (&narrow, "campaign.list%0aenv:e1", None),
    ] {
        let answer = gateway.mint(client, &format!("&scope={asked}"));
        match expected {
            Some(scope) => assert_eq!(answer.body["scope"], scope, "{asked}"),
            None => drop(answer.assert(400, "invalid_scope")),
        }
    }
    let gone = gateway.client(|c| c.roles = [RoleId::new("gone").unwrap()].into());
    gateway.mint(&gone, "").assert(400, "invalid_scope");
    let huge = gateway.client(|c| c.roles = [RoleId::new("huge").unwrap()].into());
    let answer = gateway.mint(&huge, "");
    answer.assert(400, "invalid_scope");
    assert!(answer.text.contains("8 KiB"), "{}", answer.text);
    assert_eq!(gateway.mint(&huge, "&scope=scope.number7").status, 200);
    assert_eq!(gateway.minted("invalid_scope"), 8);
}

#[test]
fn claims_and_nothing_in_the_store() {
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let revision = gateway.context.memory.revision();
    let token = gateway.token(&client, "&scope=campaign.list&expires_in=60");
    assert_eq!(gateway.context.store.status().head, revision);
    let world = gateway.context.world.load();
    let read = UnverifiedToken::parse(&token).unwrap();
    let now = gateway.context.now();
    let verified = verify(read, world.keys(), world.expectations(), now).unwrap();
    assert_eq!(verified.client_id(), client.id);
    assert_eq!(verified.account().as_str(), "acme");
    assert_eq!(verified.generation(), 1);
    assert_eq!(verified.issued_at(), now);
    assert_eq!(verified.expires_at(), now.plus(Duration::from_secs(60)));
    assert_eq!(verified.scopes().len(), 1);
    assert_eq!(verified.environments(), &Environments::All);
}

#[test]
fn no_randomness_no_token() {
    struct Dry;
    impl Entropy for Dry {
        fn fill(&self, _: &mut [u8]) -> Result<(), EntropyError> {
            Err(EntropyError("dry".into()))
        }
    }
    let gateway = Gateway::new();
    let client = gateway.client(|_| {});
    let metrics = gateway.metrics.clone();
    let mut context = Arc::into_inner({
        drop(gateway.router);
        gateway.context
    })
    .unwrap();
    context.entropy = Arc::new(Dry);
    let context = Arc::new(context);
    let router = router(Arc::clone(&context), &paths(), metrics.clone());
    let gateway = Gateway { context, store: gateway.store, clock: gateway.clock, metrics, router };
    gateway.mint(&client, "").assert(500, "server_error");
    assert_eq!(gateway.minted("server_error"), 1);
}
