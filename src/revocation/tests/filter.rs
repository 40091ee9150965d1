//! What stands before the exact set never hides anything: whatever comes, goes, is
//! swept and grows meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use crate::revocation::tokens::TokenSet;

/// Spread over all parts, or crowded together as chance has it.
fn id(n: u64) -> [u8; 16] {
    u128::from(n).to_be_bytes()
}

/// As a sweep does it: takes out what ran out before `now`, and gives room back.
fn sweep(set: &TokenSet, now: u32) {
    let mut place = Some(0);
    while let Some(from) = place {
        let (stale, next) = set.stale(from, now, 64);
        for (id, until) in stale {
            set.remove(&id, until);
        }
        place = next;
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// So many from some number on, kept until then.
    Put(u64, u64, u32),
    Remove(u64, u64),
    Sweep(u32),
}

fn step() -> impl Strategy<Value = Step> {
    let ids = (0..40_000_u64, 1..4_000_u64);
    prop_oneof![
        4 => (ids.clone(), 0..100_u32).prop_map(|((from, many), end)| Step::Put(from, many, end)),
        2 => ids.prop_map(|(from, many)| Step::Remove(from, many)),
        1 => (0..100_u32).prop_map(Step::Sweep),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_set_is_exact_whatever_comes_and_goes(steps in prop::collection::vec(step(), 1..40)) {
        let (set, mut model) = (TokenSet::default(), HashMap::new());
        for step in steps {
            match step {
                Step::Put(from, many, until) => for n in from..from + many {
                    let before = model.get(&n).copied();
                    prop_assert_eq!(set.put(id(n), until), before);
                    model.insert(n, before.unwrap_or_default().max(until));
                },
                Step::Remove(from, many) => for n in from..from + many {
                    prop_assert_eq!(set.remove(&id(n), u32::MAX), model.remove(&n).is_some());
                },
                Step::Sweep(now) => {
                    sweep(&set, now);
                    model.retain(|_, until| *until >= now);
                }
            }
        }
        prop_assert_eq!(set.len(), model.len());
        for n in 0..44_000 {
            prop_assert_eq!(set.get(&id(n)), model.get(&n).copied(), "{}", n);
        }
    }
}

/// One revokes and says so, one fills the set and sweeps it again and again, so that
/// every part grows and shrinks; whoever was told never misses what was revoked.
#[test]
fn what_has_a_receipt_is_found_while_all_else_moves() {
    const KEPT: u64 = 60_000;
    const PASSING: u64 = 120_000;
    let (set, told, done) = (TokenSet::default(), AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..KEPT {
                set.put(id(n), u32::MAX);
                told.store(n + 1, Ordering::Release);
            }
        });
        scope.spawn(|| {
            let mut round = 1;
            while told.load(Ordering::Acquire) < KEPT || round < 3 {
                for n in 0..PASSING {
                    set.put(id(round << 32 | n), 1);
                }
                sweep(&set, 2);
                // Those that hold nothing that has run out give their room back.
                sweep(&set, 2);
                round += 1;
            }
            done.store(true, Ordering::Release);
        });
        for seed in 0..2_u64 {
            let (set, told, done) = (&set, &told, &done);
            scope.spawn(move || {
                let mut n = seed;
                while !done.load(Ordering::Acquire) {
                    let count = told.load(Ordering::Acquire);
                    for back in [1, n % count.max(1)] {
                        // The newest, and any other.
                        let Some(n) = count.checked_sub(back.max(1)) else { continue };
                        assert_eq!(set.get(&id(n)), Some(u32::MAX), "{n} of {count}");
                    }
                    n = n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695);
                }
            });
        }
    });
    assert_eq!(set.len() as u64, KEPT);
    for n in 0..KEPT {
        assert!(set.get(&id(n)).is_some() && set.get(&id(1 << 32 | n)).is_none());
    }
}

/// It is there to spare looks: most of what is not there must be known not to be.
#[test]
fn most_of_what_is_not_there_is_known_at_once() {
    let set = TokenSet::default();
    for n in 0..100_000 {
        set.put(id(n), 1);
        if n % 10_000 == 0 || n == 99_999 {
            let vain = (0..10_000).filter(|n| !set.surely_lacks(&id(1 << 40 | n))).count();
            assert!(vain < 1200, "{vain} of 10,000 with {n} there");
        }
    }
    for n in 0..99_000 {
        set.remove(&id(n), 1);
    }
    sweep(&set, 0);
    let vain = (0..10_000).filter(|n| !set.surely_lacks(&id(*n))).count();
    assert!(vain < 1200, "{vain} of 10,000 that were there once");
}
