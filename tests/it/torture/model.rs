//! What the gateway has acknowledged, as its clients know it, and whether what came
//! back after a crash agrees. Each client has credentials of its own and does one
//! thing after the other, so at most one of each is in doubt.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Dice;

/// Where the gateway is, and whose key opens the admin port.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) data: String,
    pub(super) admin: String,
    pub(super) key: String,
    pub(super) http: reqwest::Client,
}

impl Door {
    /// An answer of the admin port; none if the gateway died over it.
    pub(super) async fn admin(
        &self,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Option<(u16, Value)> {
        let url = format!("{}{path}", self.admin);
        let request = self.http.request(method.parse().unwrap(), url).bearer_auth(&self.key);
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }

    async fn ask(&self, method: &str, path: &str, token: &str) -> Option<u16> {
        let url = format!("{}{path}", self.data);
        let request = self.http.request(method.parse().unwrap(), url).bearer_auth(token);
        let answer = request.send().await.ok()?;
        let status = answer.status().as_u16();
        answer.bytes().await.ok()?;
        Some(status)
    }

    async fn trade(&self, id: &str, secret: &str) -> Option<(u16, Value)> {
        let body = json!({
            "grant_type": "client_credentials", "client_id": id, "client_secret": secret,
        });
        let url = format!("{}/oauth2/token", self.data);
        let answer = self.http.post(url).json(&body).send().await.ok()?;
        let status = answer.status().as_u16();
        Some((status, answer.json().await.ok()?))
    }
}

/// What is to be done to a credential. Each is written down before it is sent.
#[derive(Clone, Debug, PartialEq)]
enum Deed {
    Mint { name: String },
    Roles { narrow: bool },
    Suspend(bool),
    Rotate,
    Retire { generation: u64 },
    Revoke,
    RevokeToken { jti: String, by_text: Option<String> },
    CutOff { before: i64 },
}

#[derive(Clone, Debug)]
struct Token {
    text: String,
    jti: String,
    generation: u64,
    issued_at: i64,
    /// Whether it was made with both roles: what it lacks does not come back.
    wide: bool,
    /// The revision of the receipt, once it was revoked by itself.
    revoked: Option<u64>,
}

/// A credential that was acknowledged.
#[derive(Clone, Debug)]
struct Credential {
    id: String,
    /// Each generation's secret; none for one whose answer never came.
    secrets: BTreeMap<u64, Option<String>>,
    retired: BTreeMap<u64, u64>,
    tokens: Vec<Token>,
    narrow: bool,
    suspended: bool,
    revoked: Option<u64>,
    /// The latest cut-off, in seconds, and its receipt's revision.
    cut: Option<(i64, u64)>,
}

/// What one client knows.
#[derive(Default)]
pub(super) struct Book {
    name: String,
    minted: usize,
    credentials: Vec<Credential>,
    /// What was sent and not answered, and to which credential.
    doubt: Option<(usize, Deed)>,
    /// The newest revision of a receipt.
    pub(super) revision: u64,
    pub(super) acknowledged: usize,
    pub(super) in_doubt: usize,
    touched: Vec<usize>,
}

const WIDE: [&str; 2] = ["library", "reader"];

impl Book {
    pub(super) fn new(client: usize) -> Self {
        Book { name: format!("client-{client}"), ..Book::default() }
    }

    /// Does one thing. False once the gateway is gone.
    pub(super) async fn act(&mut self, door: &Door, dice: &mut Dice) -> bool {
        let live: Vec<usize> = (0..self.credentials.len())
            .rev()
            .filter(|at| self.credentials[*at].revoked.is_none())
            .take(6)
            .collect();
        let deed = match dice.below(100) {
            _ if live.is_empty() => None,
            0..=19 => None,
            throw => Some((*dice.pick(&live), throw)),
        };
        let Some((at, throw)) = deed else {
            self.minted += 1;
            let deed = Deed::Mint { name: format!("{}-{}", self.name, self.minted) };
            return self.send(door, self.credentials.len(), deed).await;
        };
        let credential = &self.credentials[at];
        let alive: Vec<u64> = credential.usable().map(|(generation, _)| generation).collect();
        let deed = match throw {
            20..=49 => return self.trade(door, at, dice).await,
            50..=59 => Deed::Roles { narrow: !credential.narrow },
            60..=67 => Deed::Suspend(!credential.suspended),
            68..=75 if credential.live_generations().count() < 8 => Deed::Rotate,
            76..=80 if credential.live_generations().count() > 1 && !alive.is_empty() => {
                Deed::Retire { generation: *dice.pick(&alive) }
            }
            81..=84 => Deed::Revoke,
            85..=95 if !credential.tokens.is_empty() => {
                let token = dice.pick(&credential.tokens);
                let by_text = (dice.below(2) == 0).then(|| token.text.clone());
                Deed::RevokeToken { jti: token.jti.clone(), by_text }
            }
            96..=99 => Deed::CutOff { before: now() },
            _ => return self.trade(door, at, dice).await,
        };
        self.send(door, at, deed).await
    }

    async fn trade(&mut self, door: &Door, at: usize, dice: &mut Dice) -> bool {
        let credential = &self.credentials[at];
        let usable: Vec<_> = credential.usable().collect();
        if usable.is_empty() {
            return true;
        }
        let (generation, secret) = *dice.pick(&usable);
        let Some((status, answer)) = door.trade(&credential.id, secret).await else {
            return false;
        };
        if credential.suspended {
            assert_eq!(status, 400, "a suspended credential was traded: {answer}");
            return true;
        }
        assert_eq!(status, 200, "{answer}");
        let text = answer["access_token"].as_str().unwrap().to_owned();
        let claims = claims(&text);
        let token = Token {
            jti: claims["jti"].as_str().unwrap().to_owned(),
            issued_at: claims["iat"].as_i64().unwrap(),
            wide: !credential.narrow,
            generation,
            text,
            revoked: None,
        };
        let credential = &mut self.credentials[at];
        credential.tokens.push(token);
        self.touched.push(at);
        let token = credential.tokens.last().unwrap().clone();
        let expected = credential.answer_to(&token);
        let Some(status) = door.ask("GET", "/any/acme/x", &token.text).await else { return false };
        assert_eq!(status, expected, "a token just made, of {credential:?}");
        true
    }

    async fn send(&mut self, door: &Door, at: usize, deed: Deed) -> bool {
        let path = |rest: &str| format!("/v1/credentials/{}{rest}", self.credentials[at].id);
        let (method, path, body) = match &deed {
            Deed::Mint { name } => (
                "POST",
                "/v1/credentials".to_owned(),
                json!({ "name": name, "account": "acme", "roles": WIDE }),
            ),
            Deed::Roles { narrow } => ("PATCH", path(""), json!({ "roles": roles(*narrow) })),
            Deed::Suspend(true) => ("POST", path("/suspend"), json!({})),
            Deed::Suspend(false) => ("POST", path("/resume"), json!({})),
            Deed::Rotate => ("POST", path("/secrets"), json!({})),
            Deed::Retire { generation } => {
                ("DELETE", path(&format!("/secrets/{generation}")), Value::Null)
            }
            Deed::Revoke => ("POST", path("/revoke"), json!({ "reason": "torture" })),
            Deed::RevokeToken { jti, by_text } => {
                let body = match by_text {
                    Some(text) => json!({ "token": text }),
                    None => json!({ "jti": jti }),
                };
                ("POST", "/v1/revocations".to_owned(), body)
            }
            Deed::CutOff { before } => {
                let client = &self.credentials[at].id;
                let body = json!({ "client_id": client, "issued_before": rfc3339(*before) });
                ("POST", "/v1/revocations".to_owned(), body)
            }
        };
        self.touched.push(at);
        self.doubt = Some((at, deed.clone()));
        let Some((status, answer)) = door.admin(method, &path, &body).await else { return false };
        self.doubt = None;
        assert!((200..300).contains(&status), "{method} {path} {body}: {status} {answer}");
        self.acknowledged += 1;
        self.note(at, deed, &answer);
        true
    }

    /// Writes down what an answer says was done.
    fn note(&mut self, at: usize, deed: Deed, answer: &Value) {
        let revision = answer["revision"].as_u64();
        self.revision = self.revision.max(revision.unwrap_or(0));
        if let Deed::Mint { .. } = deed {
            let text = |key: &str| answer[key].as_str().unwrap().to_owned();
            let secret = text("client_secret");
            return self.credentials.push(Credential::new(text("client_id"), Some(secret)));
        }
        let credential = &mut self.credentials[at];
        match deed {
            Deed::Mint { .. } => {}
            Deed::Roles { narrow } => credential.narrow = narrow,
            Deed::Suspend(suspended) => credential.suspended = suspended,
            Deed::Rotate => {
                let secret = answer["client_secret"].as_str().map(str::to_owned);
                credential.secrets.insert(answer["generation"].as_u64().unwrap(), secret);
            }
            Deed::Retire { generation } => {
                repeats(&mut credential.retired.entry(generation).or_insert(0), revision);
            }
            Deed::Revoke => credential.revoked = revision,
            Deed::RevokeToken { jti, .. } => {
                let token = credential.tokens.iter_mut().find(|token| token.jti == jti).unwrap();
                repeats(&mut token.revoked.get_or_insert(0), revision);
            }
            Deed::CutOff { before } => match &mut credential.cut {
                // Covered by the one before, whose receipt it is then.
                Some((cut, first)) if *cut >= before => repeats(&mut &mut *first, revision),
                cut => *cut = Some((before, revision.unwrap())),
            },
        }
    }

    /// Everything that this client touched, and some of what it did not, is as it
    /// was acknowledged. What was in doubt is whole or absent, and known from now on.
    pub(super) async fn compare(&mut self, door: &Door, dice: &mut Dice) {
        if let Some((at, deed)) = self.doubt.take() {
            self.in_doubt += 1;
            self.settle(door, at, deed).await;
        }
        let mut touched = std::mem::take(&mut self.touched);
        for _ in 0..3 {
            touched.push(dice.below(self.credentials.len()));
        }
        touched.sort_unstable();
        touched.dedup();
        touched.retain(|at| *at < self.credentials.len());
        for at in touched {
            self.compare_one(door, at).await;
        }
    }

    async fn settle(&mut self, door: &Door, at: usize, deed: Deed) {
        if let Deed::Mint { name } = &deed {
            let (_, page) = door
                .admin("GET", &format!("/v1/credentials?q={name}"), &Value::Null)
                .await
                .unwrap();
            let items = page["items"].as_array().unwrap();
            let made: Vec<_> = items.iter().filter(|item| item["name"] == **name).collect();
            assert!(made.len() < 2, "{name} was minted twice: {page}");
            if let Some(made) = made.first() {
                // Whole, though nobody knows its secret.
                let mut credential =
                    Credential::new(made["client_id"].as_str().unwrap().to_owned(), None);
                credential.matches(made);
                credential.tokens.clear();
                self.credentials.push(credential);
            }
            return;
        }
        let credential = &mut self.credentials[at];
        let shown = credential.shown(door).await;
        match deed {
            Deed::Roles { narrow } if shown["roles"] == json!(roles(narrow)) => {
                credential.narrow = narrow;
            }
            Deed::Suspend(_) => credential.suspended = shown["state"] == "suspended",
            Deed::Rotate => {
                let next = credential.secrets.keys().max().unwrap() + 1;
                if generations(&shown).contains(&next) {
                    credential.secrets.insert(next, None);
                }
            }
            Deed::Retire { generation } if !generations(&shown).contains(&generation) => {
                credential.retired.insert(generation, 0);
            }
            Deed::Revoke if shown["state"] == "revoked" => credential.revoked = Some(0),
            Deed::RevokeToken { jti, .. } => {
                let dead = self.credentials[at].clone();
                let token = dead.tokens.iter().find(|token| token.jti == jti).unwrap();
                if dead.answer_to(token) == 200 {
                    let status = door.ask("GET", "/any/acme/x", &token.text).await.unwrap();
                    let known = &mut self.credentials[at].tokens;
                    let token = known.iter_mut().find(|token| token.jti == jti).unwrap();
                    token.revoked = (status == 401).then_some(0);
                } else {
                    // It does not show whether it was done: done it is, then.
                    let done = self.send(door, at, Deed::RevokeToken { jti, by_text: None });
                    assert!(Box::pin(done).await);
                }
            }
            Deed::CutOff { before } => {
                assert!(Box::pin(self.send(door, at, Deed::CutOff { before })).await);
            }
            _ => {}
        }
    }

    async fn compare_one(&mut self, door: &Door, at: usize) {
        let mut credential = self.credentials[at].clone();
        let shown = credential.shown(door).await;
        credential.matches(&shown);
        for (generation, secret) in &credential.secrets {
            let Some(secret) = secret else { continue };
            let (status, answer) = door.trade(&credential.id, secret).await.unwrap();
            let works = credential.revoked.is_none()
                && !credential.suspended
                && !credential.retired.contains_key(generation);
            assert_eq!(status == 200, works, "secret {generation} of {credential:?}: {answer}");
        }
        for token in credential.tokens.iter().rev().take(8) {
            let expected = credential.answer_to(token);
            let status = door.ask("GET", "/any/acme/x", &token.text).await.unwrap();
            assert_eq!(status, expected, "{token:?} of {credential:?}");
            if expected == 200 {
                let path = "/backend/accounts/acme/tag-rebuild";
                let status = door.ask("PATCH", path, &token.text).await.unwrap();
                let expected = if token.wide && !credential.narrow { 200 } else { 403 };
                assert_eq!(status, expected, "{token:?} of {credential:?}");
            }
        }
        self.receipts_repeat(door, &mut credential).await;
        self.credentials[at] = credential;
    }

    /// A second revocation is answered with the first receipt.
    async fn receipts_repeat(&mut self, door: &Door, credential: &mut Credential) {
        let receipt = async |path: &str, body: Value, method: &str| {
            let (status, answer) = door.admin(method, path, &body).await.unwrap();
            assert_eq!(status, 200, "{path}: {answer}");
            answer["revision"].as_u64()
        };
        let own = format!("/v1/credentials/{}", credential.id);
        if let Some(mut first) = credential.revoked {
            let path = format!("{own}/revoke");
            repeats(&mut &mut first, receipt(&path, json!({ "reason": "again" }), "POST").await);
            credential.revoked = Some(first);
        } else {
            for (generation, first) in &mut credential.retired {
                let path = format!("{own}/secrets/{generation}");
                repeats(&mut &mut *first, receipt(&path, Value::Null, "DELETE").await);
            }
        }
        for token in credential.tokens.iter_mut().rev().take(8) {
            if let Some(first) = &mut token.revoked {
                let body = json!({ "jti": token.jti });
                repeats(&mut &mut *first, receipt("/v1/revocations", body, "POST").await);
            }
        }
        if let Some((before, first)) = &mut credential.cut {
            let body = json!({ "client_id": credential.id, "issued_before": rfc3339(*before) });
            repeats(&mut &mut *first, receipt("/v1/revocations", body, "POST").await);
        }
    }
}

/// The revision of a receipt is that of the first one; 0 if that never arrived.
fn repeats(first: &mut &mut u64, revision: Option<u64>) {
    let revision = revision.expect("a receipt has a revision");
    if **first == 0 {
        **first = revision;
    }
    assert_eq!(**first, revision, "a second receipt is another than the first");
}

impl Credential {
    fn new(id: String, secret: Option<String>) -> Self {
        Credential {
            id,
            secrets: BTreeMap::from([(1, secret)]),
            retired: BTreeMap::new(),
            tokens: Vec::new(),
            narrow: false,
            suspended: false,
            revoked: None,
            cut: None,
        }
    }

    fn live_generations(&self) -> impl Iterator<Item = u64> {
        self.secrets.keys().copied().filter(|generation| !self.retired.contains_key(generation))
    }

    /// Secrets that are known and not retired.
    fn usable(&self) -> impl Iterator<Item = (u64, &str)> {
        self.live_generations()
            .filter_map(|generation| Some((generation, self.secrets[&generation].as_deref()?)))
    }

    /// What a request with this token is answered.
    fn answer_to(&self, token: &Token) -> u16 {
        let dead = self.revoked.is_some()
            || self.suspended
            || token.revoked.is_some()
            || self.retired.contains_key(&token.generation)
            || self.cut.is_some_and(|(before, _)| token.issued_at < before);
        if dead { 401 } else { 200 }
    }

    async fn shown(&self, door: &Door) -> Value {
        let path = format!("/v1/credentials/{}", self.id);
        let (status, shown) = door.admin("GET", &path, &Value::Null).await.unwrap();
        assert_eq!(status, 200, "an acknowledged credential is gone: {self:?}");
        shown
    }

    fn matches(&self, shown: &Value) {
        let state = match (self.revoked, self.suspended) {
            (Some(_), _) => "revoked",
            (None, true) => "suspended",
            (None, false) => "active",
        };
        assert_eq!(shown["state"], state, "{self:?}: {shown}");
        assert_eq!(shown["roles"], json!(roles(self.narrow)), "{self:?}: {shown}");
        assert_eq!(shown["account"], "acme");
        if self.revoked.is_none() {
            let live: Vec<u64> = self.live_generations().collect();
            assert_eq!(generations(shown), live, "{self:?}: {shown}");
        }
    }
}

/// The generations of the secrets that still work.
fn generations(shown: &Value) -> Vec<u64> {
    let secrets = shown["secrets"].as_array().unwrap().iter();
    let live = secrets.filter(|secret| secret["retires_at"].is_null());
    let mut live: Vec<_> = live.map(|secret| secret["generation"].as_u64().unwrap()).collect();
    live.sort_unstable();
    live
}

fn roles(narrow: bool) -> &'static [&'static str] {
    if narrow { &WIDE[1..] } else { &WIDE }
}

pub(super) fn claims(token: &str) -> Value {
    use base64::Engine as _;
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn now() -> i64 {
    i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap()
}

fn rfc3339(seconds: i64) -> String {
    portcullis::domain::UnixTime::from_secs(seconds).to_string()
}
