//! Failed sign-ins at the token endpoint, over sockets.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Harness, Minted};

impl Harness {
    async fn sign_in(&self, minted: &Minted, secret: &str, client: &str) -> reqwest::Response {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &minted.client_id),
            ("client_secret", secret),
        ];
        let request = self.http.post(self.url("/oauth2/token")).form(&form);
        request.header("x-forwarded-for", client).send().await.unwrap()
    }
}

/// The proxy in front is believed: it is not its address that is slowed.
#[tokio::test]
async fn a_loop_of_wrong_secrets_is_slow_and_nobody_elses_business() {
    let h = Harness::builder().server("trusted_proxies = [\"127.0.0.0/8\"]").start().await;
    let minted = h.mint(&["reader"]).await;
    let (bad, neighbour) = ("192.0.2.1", "6.6.6.6, 192.0.2.2");
    for _ in 0..100 {
        assert_eq!(h.sign_in(&minted, "wrong", bad).await.status(), 400);
    }
    let begun = Instant::now();
    let slowed = h.sign_in(&minted, "wrong", bad).await;
    assert!(begun.elapsed() >= Duration::from_secs(1), "it came at once");
    assert_eq!(
        (slowed.status().as_u16(), &slowed.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    assert_eq!(slowed.json::<serde_json::Value>().await.unwrap()["error"], "rate_limited");
    // While more are held back than may be: all are answered, and others not held up.
    let others = async {
        for secret in [&minted.client_secret, "wrong"] {
            let status = if secret == "wrong" { 400 } else { 200 };
            assert_eq!(h.sign_in(&minted, secret, neighbour).await.status(), status);
        }
        assert_eq!(h.sign_in(&minted, &minted.client_secret, bad).await.status(), 200);
    };
    let crowd = futures::future::join_all((0..600).map(|_| h.sign_in(&minted, "wrong", bad)));
    let (answers, ()) = tokio::join!(crowd, others);
    assert!(answers.iter().all(|answer| answer.status() == 429));
    let line = h.logged(|line| line["status"] == 429 && line["route"] == "oauth.token").await;
    let who = (&line["reason"], &line["client_id"], &line["account"]);
    assert_eq!(who, (&json!("wrong_secret"), &json!(minted.client_id), &json!("acme")));
    assert!(!h.log.text().contains("6.6.6.6"));
}
