//! Through the router, over a real store in memory, with a clock that stands
//! still and randomness that repeats.

mod bodies;
mod clients;
mod discovery;
mod inspect;
mod loops;
mod properties;
mod revoke;
mod tokens;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::domain::*;
use crate::policy::{RouteTable, Snapshot, SnapshotParts};
use crate::service::{Memory, Minting, keys};
use crate::store::codec;
use crate::store::{Change, MemoryStore, Store};
use crate::token::{Algorithm, Expectations, Sealer};

const NOW: i64 = 1_795_314_000;
const ISSUER: &str = "http://127.0.0.1:8080";

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.block_on(future)
}

/// A generator that gives the same bytes in every run, and never twice in one.
#[derive(Default)]
struct Seeded(AtomicU64);

impl Entropy for Seeded {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in buffer.chunks_mut(32) {
            let count = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &count);
            chunk.copy_from_slice(&hash.as_ref()[..chunk.len()]);
        }
        Ok(())
    }
}

struct Gateway {
    context: Arc<Context>,
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    router: Router,
}

struct Client {
    id: ClientId,
    secret: String,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    text: String,
    reason: Option<RefusalReason>,
}

fn roles() -> Vec<Role> {
    let role = |id: &str, scopes: &str, armed| Role {
        id: RoleId::new(id).unwrap(),
        label: id.into(),
        description: String::new(),
        scopes: Grant::parse(scopes).unwrap().0,
        armed,
        rate: None,
        concurrency: None,
    };
    vec![
        role("operator", "campaign.list campaign.toggle", false),
        role("emergency", "library.clear", true),
        role("huge", &(0..600).map(|n| format!("scope.number{n} ")).collect::<String>(), false),
    ]
}

fn paths() -> OauthPaths {
    OauthPaths {
        token: ["/oauth2/token", "/oauth/v2/token", "/v1/token", "/{account}/token"]
            .map(str::to_owned)
            .to_vec(),
        info: Some("/token".into()),
        issuer: String::new(),
    }
}

impl Gateway {
    fn new() -> Self {
        let store = Arc::new(MemoryStore::new());
        let memory = Arc::new(Memory::default());
        memory.load(&*store).unwrap();
        store.observe(memory.clone());
        let clock = Arc::new(ManualClock::new(UnixTime::from_secs(NOW)));
        let entropy = Arc::new(Seeded::default());
        let sealer = Sealer::new(&[7; 32]).unwrap();
        let means = keys::Means {
            store: &*store,
            memory: &memory,
            sealer: &sealer,
            master_key_file: "master.key",
            clock: &*clock,
            entropy: &*entropy,
        };
        let ring = block_on(keys::prepare(means, Some(Algorithm::EdDsa), None)).unwrap();
        let world = Snapshot::new(SnapshotParts {
            routes: RouteTable::compile(vec![]).unwrap(),
            roles: roles(),
            keys: Arc::new(ring),
            expect: Expectations {
                issuer: ISSUER.into(),
                audience: "campaign-api".into(),
                clock_skew: Duration::from_secs(30),
            },
            cache_entries: 100,
        });
        let minting = Minting {
            issuer: ISSUER.into(),
            audience: "campaign-api".into(),
            token_ttl: Duration::from_secs(43_200),
            max_token_ttl: Duration::from_secs(86_400),
            front: crate::service::Front::default(),
            token_rate: None,
            clock_skew: Duration::from_secs(30),
        };
        let context = Arc::new(Context {
            store: store.clone(),
            memory,
            world: ArcSwap::from_pointee(world),
            minting: ArcSwap::from_pointee(minting),
            clock: clock.clone(),
            entropy,
            hasher: SecretHasher::new(&[8; 32]),
            sealer,
        });
        let metrics = Metrics::new("0.0.0").unwrap();
        let router = router(Arc::clone(&context), &paths(), metrics.clone());
        Gateway { context, store, clock, metrics, router }
    }

    /// A credential of account `acme` with the role `operator`, as `edit` makes it.
    fn client(&self, edit: impl FnOnce(&mut Credential)) -> Client {
        let mut random = [0; 16];
        self.context.entropy.fill(&mut random).unwrap();
        let secret = ClientSecret::generate(&*self.context.entropy).unwrap().expose().to_owned();
        let mut credential = Credential {
            client_id: ClientId::from_random(random),
            name: "n".into(),
            description: String::new(),
            account: AccountId::new("acme").unwrap(),
            roles: [RoleId::new("operator").unwrap()].into(),
            extra_scopes: ScopeSet::new(),
            environments: Environments::All,
            rate: None,
            concurrency: None,
            created_by: "t".into(),
            created_at: self.context.now(),
            expires_at: None,
            state: CredentialState::Active,
            armed: std::collections::BTreeMap::new(),
            secrets: vec![SecretGeneration {
                generation: 1,
                created_at: self.context.now(),
                retires_at: None,
                retired: false,
                retire_unused: None,
                hash: self.context.hasher.hash(&secret),
            }],
        };
        edit(&mut credential);
        self.keep(&credential);
        Client { id: credential.client_id, secret }
    }

    fn keep(&self, credential: &Credential) {
        let change = Change { guards: vec![], ops: vec![codec::put(credential)] };
        block_on(self.context.store.commit(change)).unwrap();
    }

    fn change(&self, client: &Client, edit: impl FnOnce(&mut Credential)) {
        let mut credential = (*self.context.memory.directory.get(client.id).unwrap()).clone();
        edit(&mut credential);
        self.keep(&credential);
    }

    fn send(&self, request: http::Request<impl Into<Body>>) -> Answer {
        Answer::of(block_on(self.router.clone().oneshot(request.map(Into::into))).unwrap())
    }

    fn post(&self, path: &str, content_type: &str, body: &str) -> Answer {
        self.send(
            http::Request::post(path)
                .header("content-type", content_type)
                .header("x-request-id", "r-1")
                .body(body.to_owned())
                .unwrap(),
        )
    }

    fn form(&self, path: &str, body: &str) -> Answer {
        self.post(path, "application/x-www-form-urlencoded", body)
    }

    fn get(&self, path: &str) -> Answer {
        self.send(http::Request::get(path).header("x-request-id", "r-1").body("").unwrap())
    }

    /// Mints with `more` added to a good form.
    fn mint(&self, client: &Client, more: &str) -> Answer {
        self.form("/oauth2/token", &format!("{}{more}", client.form()))
    }

    /// A good token.
    fn token(&self, client: &Client, more: &str) -> String {
        let answer = self.mint(client, more);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.body["access_token"].as_str().unwrap().to_owned()
    }

    fn minted(&self, outcome: &str) -> u64 {
        self.metrics.tokens_minted.with_label_values(&[outcome]).get()
    }
}

impl Client {
    fn form(&self) -> String {
        let Client { id, secret } = self;
        format!("grant_type=client_credentials&client_id={id}&client_secret={secret}")
    }

    fn basic(&self) -> String {
        basic(&format!("{}:{}", self.id, self.secret))
    }
}

fn basic(text: &str) -> String {
    use base64::Engine;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text))
}

impl Answer {
    fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = block_on(body.collect()).unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
            text,
            reason: parts.extensions.get().copied(),
        }
    }

    #[track_caller]
    fn assert(&self, status: u16, error: &str) -> &Self {
        assert_eq!((self.status.as_u16(), self.body["error"].as_str()), (status, Some(error)));
        assert_eq!(self.headers["content-type"], "application/json");
        assert_eq!(self.headers["cache-control"], "no-store");
        assert_eq!(self.body.as_object().unwrap().len(), 3, "{}", self.text);
        let description = self.body["error_description"].as_str().unwrap();
        let allowed = |b: u8| matches!(b, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(!description.is_empty() && description.bytes().all(allowed), "{description}");
        self
    }
}
