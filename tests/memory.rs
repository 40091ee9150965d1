//! What remembered tokens take of the process's memory is what the cache says they take.
//!
//! A binary of its own, with the program's allocator and a single test: nothing else may
//! come and go meanwhile.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that can't be set up has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use portcullis::domain::{
    AccountId, ClientId, EnvironmentId, Environments, Grant, Jti, Role, RoleId, RouteName, Scope,
    ScopeSet, UnixTime, UpstreamName,
};
use portcullis::policy::{
    Access, Body, Decision, RequestFacts, RouteSpec, RouteTable, Snapshot, SnapshotParts, Target,
    decide,
};
use portcullis::revocation::{RevocationSet, Standing, StandingState};
use portcullis::token::{
    Algorithm, Authorization, Expectations, Keyring, NewToken, SigningKey, generate, mint,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKENS: u64 = 5_000;

/// A credential with some rights in some environments (0: in all), and the gateway.
struct Scene {
    world: Snapshot,
    revoked: RevocationSet,
    signer: Arc<SigningKey>,
    client: ClientId,
    account: AccountId,
    grant: Grant,
}

fn now() -> UnixTime {
    UnixTime::from_secs(1_795_314_000)
}

fn expect() -> Expectations {
    Expectations {
        issuer: "https://gateway.example".into(),
        audience: "campaign-api".into(),
        clock_skew: Duration::from_secs(30),
    }
}

impl Scene {
    fn new(rights: usize, stages: usize) -> Self {
        let scope = |n: usize| Scope::new(&format!("campaign.action-{n}")).unwrap();
        let scopes: ScopeSet = (0..rights).map(scope).collect();
        let stage = |n: usize| EnvironmentId::new(&format!("production-{n}")).unwrap();
        let environments = Environments::from_list((0..stages).map(stage).collect());
        let route = RouteSpec {
            name: RouteName::new("all").unwrap(),
            host: None,
            path: "/all".into(),
            upstream: UpstreamName::new("legacy").unwrap(),
            allow: BTreeMap::from([("GET".to_owned(), Access::AllOf(scopes.clone()))]),
            any_account: true,
            any_environment: true,
            account_query: None,
            environment_query: None,
            body_rules: BTreeMap::new(),
            body_bytes: None,
        };
        let role = Role {
            id: RoleId::new("operator").unwrap(),
            label: String::new(),
            description: String::new(),
            scopes: scopes.clone(),
            armed: false,
            rate: None,
            concurrency: None,
        };
        let signer =
            Arc::new(SigningKey::from_pkcs8(&generate(Algorithm::EdDsa).unwrap()).unwrap());
        let account = AccountId::new("bmvs3rk9q4h7x2c8t6j1").unwrap();
        let client = ClientId::from_random([7; 16]);
        let revoked = RevocationSet::default();
        let standing = Standing {
            armed: BTreeMap::new(),
            revision: 1,
            state: StandingState::Active,
            expires_at: None,
            generations: vec![(1, None)],
            account: account.clone(),
            roles: [role.id.clone()].into(),
            extra_scopes: ScopeSet::default(),
            environments: Environments::All,
            rate: None,
            concurrency: None,
        };
        revoked.set_standing(client, standing);
        let world = Snapshot::new(SnapshotParts {
            routes: RouteTable::compile(vec![route]).unwrap(),
            roles: vec![role],
            keys: Arc::new(Keyring::new(Arc::clone(&signer), vec![])),
            expect: expect(),
            cache_entries: 100_000,
        });
        Scene { world, revoked, signer, client, account, grant: Grant { scopes, environments } }
    }

    fn tokens(&self) -> Vec<String> {
        let expect = expect();
        let token = |n: u64| {
            let token = NewToken {
                issuer: &expect.issuer,
                audience: &expect.audience,
                client_id: self.client,
                account: &self.account,
                grant: &self.grant,
                generation: 1,
                jti: Jti::from_random(u128::from(n).to_be_bytes()),
                issued_at: now(),
                expires_at: now().plus(Duration::from_secs(3600)),
            };
            mint(&self.signer, &token).unwrap().expose().to_owned()
        };
        (0..TOKENS).map(token).collect()
    }

    /// Judges a request with this token, and says what upstreams are told.
    fn ask(&self, token: &str) {
        let facts = RequestFacts {
            method: "GET",
            host: None,
            target: Target::parse(b"/all", None).unwrap(),
            authorization: Authorization::of(token.as_bytes()),
            body: Body::Unread,
        };
        let Decision::Allow(permit) = decide(&self.world, &self.revoked, &facts, now()) else {
            panic!("it is a good token");
        };
        let told = permit.principal().unwrap().identity().unwrap();
        for value in [&told.client_id, &told.account, &told.scope, &told.jti] {
            drop(value.clone());
        }
    }
}

/// The memory that the process has of its own, in bytes.
fn taken() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn remembered_tokens_take_what_the_cache_says() {
    // As the program does: else memory comes by 2 MiB at a time.
    rustix::thread::disable_transparent_huge_pages(true).unwrap();
    // To the end: what one gives back the next would take.
    let mut kept = Vec::new();
    for (rights, stages) in [(1, 0), (3, 1), (6, 2), (12, 0), (20, 2), (60, 20)] {
        let scene = Scene::new(rights, stages);
        let tokens = scene.tokens();
        let before = taken();
        tokens.iter().for_each(|token| scene.ask(token));
        let really = (taken() - before) / TOKENS;
        let said = scene.world.cache().bytes() / TOKENS;
        assert_eq!(scene.world.cache().len() as u64, TOKENS);
        assert!(
            said.abs_diff(really) * 10 <= really,
            "{rights} rights in {stages} environments take {really} bytes, and are said to take {said}"
        );
        kept.push((scene, tokens));
    }
}
