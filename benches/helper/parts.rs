//! The pure parts of a request, each done a fixed number of times between two
//! functions that callgrind knows by name. `benches/compare/guard.py` reads what
//! it counted; the n-th dump belongs to the n-th line printed here.

use std::hint::black_box;
use std::sync::Arc;

use portcullis::policy::{Decision, Reason, Target, decide};
use portcullis::token::{Algorithm, Authorization, Keyring, TokenCache, UnverifiedToken, verify};

use crate::fixtures::{HOUR, expect, facts, key, minted, now, revoked, target, verified, world};

const TIMES: u32 = 100;
const REVOKED: u64 = 100_000;

/// callgrind starts at zero when this is entered, …
#[inline(never)]
fn portcullis_counted(part: &mut dyn FnMut()) {
    for _ in 0..TIMES {
        part();
    }
}

/// … and writes down what it has when this is.
#[inline(never)]
fn portcullis_counting_ends() {
    black_box(());
}

fn count<T>(name: &str, mut part: impl FnMut() -> T) {
    let mut part = || drop(black_box(part()));
    // What happens only once is not to be counted.
    part();
    println!("{TIMES} {name}");
    portcullis_counted(&mut part);
    portcullis_counting_ends();
}

pub(crate) fn run() {
    let signer = key(Algorithm::EdDsa);
    let text = minted(&signer);
    let value = format!("Bearer {text}");
    let bearer = || Authorization::from_values(std::iter::once(black_box(value.as_bytes())));
    let raw = target(700);
    let world_of = |access| world(1_000, access, &signer);

    count("target, parsed", || Target::parse(black_box(raw.as_bytes()), None).unwrap());
    count("bearer, parsed", bearer);
    let cache = TokenCache::new(1000);
    cache.insert(&text, Arc::new(()), 0);
    count("cache, hit", || cache.get(black_box(&text)).unwrap());
    count("mint EdDSA", || minted(black_box(&signer)));
    for algorithm in [Algorithm::EdDsa, Algorithm::Es256] {
        let signer = key(algorithm);
        let text = minted(&signer);
        let token = UnverifiedToken::parse(&text).unwrap();
        let (keys, expect) = (Keyring::new(signer, vec![]), expect());
        count(&format!("verify {algorithm}"), || {
            verify(black_box(token), &keys, &expect, now()).unwrap()
        });
    }

    let set = revoked(REVOKED);
    let token = verified(&signer, &text);
    count("revocation, 100,000 others", || set.check(black_box(&token), now()).unwrap());
    let public = world_of("@public");
    let open = facts(&raw, Authorization::Missing);
    count("decide, public", || decide(&public, &set, black_box(&open), now()));

    let scoped = world_of("campaign.list");
    let known = facts(&raw, Authorization::of(text.as_bytes()));
    assert!(matches!(decide(&scoped, &set, &known, now()), Decision::Allow(_)));
    count("decide, token seen before", || decide(&scoped, &set, black_box(&known), now()));
    count("decide, and target and bearer parsed", || {
        decide(&scoped, &set, &facts(black_box(&raw), bearer()), now())
    });
    count("decide, token seen first", || {
        scoped.cache().clear();
        decide(&scoped, &set, black_box(&known), now())
    });

    count("refuse, no token", || refused(&decide(&scoped, &set, black_box(&open), now())));
    let other = world_of("label.write");
    decide(&other, &set, &known, now());
    count("refuse, wrong scope", || refused(&decide(&other, &set, black_box(&known), now())));
    set.revoke_token(token.jti(), now().plus(24 * HOUR));
    count("refuse, revoked", || refused(&decide(&scoped, &set, black_box(&known), now())));
}

fn refused(decision: &Decision) -> Reason {
    match decision {
        Decision::Deny(denial) => denial.reason,
        _ => std::process::abort(),
    }
}
