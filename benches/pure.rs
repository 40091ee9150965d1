//! What one request costs before any I/O: paths, routes, tokens, revocations,
//! the decision. `cargo bench --bench pure`; about a minute once it is built.
#![expect(clippy::unwrap_used, reason = "a bench that can't be set up has no figures")]

mod fixtures;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput};
use portcullis::domain::UnixTime;
use portcullis::policy::{Decision, Target, decide};
use portcullis::revocation::RevocationSet;
use portcullis::token::{
    Algorithm, Authorization, Keyring, SigningKey, TokenCache, UnverifiedToken, VerifiedToken,
    verify,
};

use fixtures::{HOUR, expect, facts, key, minted, now, revoked, target, verified, world};

const MILLION: u64 = 1_000_000;

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
    let facts = facts(&target, Authorization::of(token.as_str().as_bytes()));
    assert!(matches!(decide(&world, million, &facts, now()), Decision::Allow(_)));
    c.bench_function("decide/cached", |b| {
        b.iter(|| decide(&world, million, black_box(&facts), now()));
    });
    let value = format!("Bearer {text}");
    c.bench_function("decide/cached, target and header read too", |b| {
        b.iter(|| {
            let authorization =
                Authorization::from_values(std::iter::once(black_box(value.as_bytes())));
            decide(&world, million, &fixtures::facts(black_box(&target), authorization), now())
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
