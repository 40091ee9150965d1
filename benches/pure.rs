//! What one request costs before any I/O: paths, routes, tokens, revocations,
//! the decision. `cargo bench --bench pure`; about a minute once it is built.
#![expect(clippy::unwrap_used, reason = "a bench that can't be set up has no figures")]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use portcullis::domain::{
    AccountId, ClientId, EnvironmentId, Environments, Grant, Jti, Role, RoleId, RouteName, Scope,
    UnixTime, UpstreamName,
};
use portcullis::policy::{
    Access, Body, Decision, RequestFacts, RouteSpec, RouteTable, Snapshot, SnapshotParts, Target,
    decide,
};
use portcullis::revocation::{RevocationSet, Standing, StandingState};
use portcullis::token::{
    Algorithm, Authorization, Expectations, Keyring, NewToken, SigningKey, TokenCache,
    UnverifiedToken, VerifiedToken, generate, mint, verify,
};

const HOUR: Duration = Duration::from_secs(3600);
const MILLION: u64 = 1_000_000;
const SCOPES: [&str; 6] = [
    "campaign.list",
    "campaign.create",
    "campaign.update",
    "campaign.toggle",
    "label.read",
    "library.read",
];

fn now() -> UnixTime {
    UnixTime::from_secs(1_795_314_000)
}

fn key(algorithm: Algorithm) -> Arc<SigningKey> {
    Arc::new(SigningKey::from_pkcs8(&generate(algorithm).unwrap()).unwrap())
}

fn expect() -> Expectations {
    Expectations {
        issuer: "https://gateway.example".into(),
        audience: "campaign-api".into(),
        clock_skew: Duration::from_secs(30),
    }
}

fn client() -> ClientId {
    ClientId::from_random([7; 16])
}

fn account() -> AccountId {
    AccountId::new("bmvs3rk9q4h7x2c8t6j1").unwrap()
}

fn grant() -> Grant {
    let stages = ["production", "staging"].map(|id| EnvironmentId::new(id).unwrap());
    Grant {
        scopes: SCOPES.map(|scope| Scope::new(scope).unwrap()).into(),
        environments: Environments::Only(stages.into()),
    }
}

fn minted(key: &SigningKey) -> String {
    let expect = expect();
    let token = NewToken {
        issuer: &expect.issuer,
        audience: &expect.audience,
        client_id: client(),
        account: &account(),
        grant: &grant(),
        generation: 1,
        jti: Jti::from_random([9; 16]),
        issued_at: now(),
        expires_at: now().plus(12 * HOUR),
    };
    mint(key, &token).unwrap().expose().to_owned()
}

fn verified(key: &Arc<SigningKey>, text: &str) -> VerifiedToken {
    let keys = Keyring::new(Arc::clone(key), vec![]);
    verify(UnverifiedToken::parse(text).unwrap(), &keys, &expect(), now()).unwrap()
}

/// A set in which one credential is active and `entries` tokens are dead.
fn revoked(entries: u64) -> RevocationSet {
    let set = RevocationSet::default();
    let standing = Standing {
        armed: BTreeMap::new(),
        revision: 1,
        state: StandingState::Active,
        expires_at: None,
        generations: vec![(1, None)],
        account: account(),
        roles: [RoleId::new("operator").unwrap()].into(),
        extra_scopes: Default::default(),
        environments: Environments::All,
        rate: None,
        concurrency: None,
    };
    set.set_standing(client(), standing);
    for n in 0..entries {
        // Spread like random ids, and the same in every run.
        let id = u128::from(n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        set.revoke_token(Jti::from_random(id.to_be_bytes()), now().plus(24 * HOUR));
    }
    set
}

/// `count` literal neighbours, below an account and an environment.
fn world(count: usize, access: &str, key: &Arc<SigningKey>) -> Snapshot {
    let spec = |n: usize| RouteSpec {
        name: RouteName::new(&format!("r{n}")).unwrap(),
        host: None,
        path: format!(
            "/v1/accounts/{{account}}/account_environments/{{environment}}/r{n:06}/{{id}}"
        ),
        upstream: UpstreamName::new("legacy").unwrap(),
        allow: BTreeMap::from([("GET".to_owned(), Access::parse(access).unwrap())]),
        any_account: false,
        any_environment: false,
        account_query: None,
        environment_query: None,
        body_rules: BTreeMap::new(),
        body_bytes: None,
    };
    let role = Role {
        id: RoleId::new("operator").unwrap(),
        label: String::new(),
        description: String::new(),
        scopes: grant().scopes,
        armed: false,
        rate: None,
        concurrency: None,
    };
    Snapshot::new(SnapshotParts {
        routes: RouteTable::compile((0..count).map(spec).collect()).unwrap(),
        roles: vec![role],
        keys: Arc::new(Keyring::new(Arc::clone(key), vec![])),
        expect: expect(),
        cache_entries: 1000,
    })
}

fn target(n: usize) -> String {
    let account = account();
    format!("/v1/accounts/{account}/account_environments/production/r{n:06}/128?limit=20")
}

fn facts<'a>(target: &'a str, authorization: Authorization<'a>) -> RequestFacts<'a> {
    RequestFacts {
        method: "GET",
        host: Some("api.example.com"),
        target: Target::parse(target.as_bytes(), None).unwrap(),
        authorization,
        body: Body::Unread,
    }
}

fn paths(c: &mut Criterion) {
    let mut group = c.benchmark_group("path");
    let plain = target(1);
    let escaped =
        "/v1/accounts/bmvs3rk9q4h7x2c8t6j1/files/caf%C3%A9%20au%20lait.v2;x=1/y~z?limit=20";
    for (name, raw) in [("plain", plain.as_str()), ("escaped", escaped)] {
        group.throughput(Throughput::Bytes(raw.len() as u64));
        group.bench_function(name, |b| {
            b.iter(|| Target::parse(black_box(raw.as_bytes()), None).unwrap());
        });
    }
    group.finish();
}

/// The look-up with what is round it on a public route: a permit.
fn lookup(c: &mut Criterion, key: &Arc<SigningKey>) {
    let mut group = c.benchmark_group("route");
    let set = RevocationSet::default();
    for count in [10, 1_000, 100_000] {
        let world = world(count, "@public", key);
        let target = target(count * 7 / 10);
        let facts = facts(&target, Authorization::Missing);
        group.bench_function(BenchmarkId::from_parameter(count), |b| {
            b.iter(|| decide(&world, &set, black_box(&facts), now()));
        });
    }
    group.finish();
}

fn tokens(c: &mut Criterion) {
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256, Algorithm::Rs256] {
        let key = key(algorithm);
        let text = minted(&key);
        let keys = Keyring::new(Arc::clone(&key), vec![]);
        let expect = expect();
        c.bench_function(&format!("mint/{algorithm}"), |b| b.iter(|| minted(black_box(&key))));
        c.bench_function(&format!("verify/{algorithm}"), |b| {
            let token = UnverifiedToken::parse(&text).unwrap();
            b.iter(|| verify(black_box(token), &keys, &expect, now()).unwrap());
        });
    }
    let text = minted(&key(Algorithm::EdDsa));
    let cache = TokenCache::new(1000);
    cache.insert(&text, Arc::new(()), 0);
    c.bench_function("bearer", |b| {
        let value = format!("Bearer {text}");
        b.iter(|| Authorization::from_values(std::iter::once(black_box(value.as_bytes()))));
    });
    c.bench_function("cache/hit", |b| b.iter(|| cache.get(black_box(&text)).unwrap()));
}

fn revocations(c: &mut Criterion, million: &RevocationSet, token: &VerifiedToken) {
    let mut group = c.benchmark_group("revocation");
    let none = revoked(0);
    group.bench_function("live/0", |b| {
        b.iter(|| none.check(black_box(token), now()).unwrap());
    });
    group.bench_function("live/1000000", |b| {
        b.iter(|| million.check(black_box(token), now()).unwrap());
    });
    million.revoke_token(token.jti(), now().plus(24 * HOUR));
    group.bench_function("revoked/1000000", |b| {
        b.iter(|| million.check(black_box(token), now()).unwrap_err());
    });
    million.forget_token(token.jti(), UnixTime::MAX);
    group.finish();
}

/// The goal: a decision on a cached token in less than a microsecond.
fn decisions(c: &mut Criterion, million: &RevocationSet, key: &Arc<SigningKey>, text: &str) {
    let world = world(1_000, "campaign.list", key);
    let target = target(700);
    let token = UnverifiedToken::parse(text).unwrap();
    let facts = facts(&target, Authorization::Bearer(token));
    assert!(matches!(decide(&world, million, &facts, now()), Decision::Allow(_)));
    c.bench_function("decide/cached", |b| {
        b.iter(|| decide(&world, million, black_box(&facts), now()));
    });
    let value = format!("Bearer {text}");
    c.bench_function("decide/cached, target and header read too", |b| {
        b.iter(|| {
            let authorization =
                Authorization::from_values(std::iter::once(black_box(value.as_bytes())));
            decide(&world, million, &self::facts(black_box(&target), authorization), now())
        });
    });
    c.bench_function("decide/first time", |b| {
        b.iter(|| {
            world.cache().clear();
            decide(&world, million, black_box(&facts), now())
        });
    });
}

fn main() {
    let mut c = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    let key = key(Algorithm::EdDsa);
    let text = minted(&key);
    let token = verified(&key, &text);
    paths(&mut c);
    lookup(&mut c, &key);
    tokens(&mut c);
    let million = revoked(MILLION);
    assert_eq!(million.token_count() as u64, MILLION);
    revocations(&mut c, &million, &token);
    decisions(&mut c, &million, &key, &text);
    c.final_summary();
}
