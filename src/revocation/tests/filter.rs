//! What stands before the exact set never hides anything: whatever comes, goes, is
//! swept and grows meanwhile.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};

use proptest::prelude::*;

use crate::revocation::filter::{Filter, part_of};
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

/// One revokes and says so; one puts others into the same part of the set and sweeps it,
/// so that it grows and shrinks; one fills its filter again and again. Whoever was told
/// never misses what was revoked.
#[test]
fn what_has_a_receipt_is_found_while_all_else_moves() {
    const KEPT: usize = 1000;
    const PASSING: usize = 1500;
    const ROUNDS: usize = 50;
    let set = TokenSet::default();
    let ids = (0..).map(id).filter(|id| set.number(id) == 0);
    let ids: Vec<[u8; 16]> = ids.take(KEPT + PASSING).collect();
    let (kept, passing) = ids.split_at(KEPT);
    let sweep_part = || {
        for _ in 0..2 {
            loop {
                let (stale, _) = set.stale(0, 2, 64);
                stale.iter().for_each(|(id, until)| assert!(set.remove(id, *until)));
                if stale.is_empty() {
                    break;
                }
            }
        }
    };
    let (told, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let step = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                for (n, id) in kept.iter().enumerate() {
                    set.put(*id, u32::MAX);
                    told.store(n + 1, Ordering::Release);
                }
                step.wait();
                kept.iter().for_each(|id| assert!(set.remove(id, u32::MAX)));
                told.store(0, Ordering::Release);
                step.wait();
            }
            done.store(true, Ordering::Release);
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                passing.iter().for_each(|id| assert_eq!(set.put(*id, 1), None));
                sweep_part();
            }
        });
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                set.refill(0);
            }
        });
        let mut missed = 0;
        for _ in 0..ROUNDS {
            for n in (0..).step_by(7_919) {
                let count = told.load(Ordering::Acquire);
                // The newest, and any other.
                let some = count.checked_sub(1).into_iter().flat_map(|last| [last, n % count]);
                missed += some.filter(|n| set.get(&kept[*n]).is_none()).count();
                if count == KEPT {
                    break;
                }
            }
            missed += kept.iter().filter(|id| set.get(id).is_none()).count();
            step.wait();
            step.wait();
        }
        assert_eq!(missed, 0);
    });
    sweep_part();
    assert_eq!(set.len(), 0);
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

/// Whoever is told that an id was there already can count on it as the first one can.
#[test]
fn who_is_told_already_has_it_in_force() {
    let mut missed = 0;
    for n in 0..3000_u64 {
        let set = TokenSet::default();
        let barrier = Barrier::new(2);
        let revoke = || {
            barrier.wait();
            set.put(id(n), 1);
            set.get(&id(n)).is_none()
        };
        missed += std::thread::scope(|scope| {
            let other = scope.spawn(revoke);
            usize::from(revoke()) + usize::from(other.join().unwrap())
        });
    }
    assert_eq!(missed, 0);
}

/// A part grows through sizes that nobody used before, and is filled anew in each, while
/// somebody looks: what was there from the beginning is never said to be lacking.
#[test]
fn what_was_there_is_there_while_it_grows() {
    let hash = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let stays: Vec<u64> = (1..).map(hash).filter(|hash| part_of(*hash) == 0).take(256).collect();
    let fresh = || {
        let filter = Filter::default();
        filter.fill(0, 80, stays.iter().copied());
        Arc::new(filter)
    };
    let (now, done) = (Mutex::new(fresh()), AtomicBool::new(false));
    let (missed, looked) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                let filter = Arc::clone(&now.lock().unwrap());
                for _ in 0..64 {
                    let lost = stays.iter().filter(|hash| filter.lacks(**hash)).count();
                    missed.fetch_add(lost, Ordering::Relaxed);
                }
                looked.fetch_add(1, Ordering::Release);
            }
        });
        for _ in 0..60 {
            let filter = fresh();
            *now.lock().unwrap() = Arc::clone(&filter);
            let before = looked.load(Ordering::Acquire);
            while looked.load(Ordering::Acquire) < before + 2 {
                std::thread::yield_now();
            }
            for count in [300, 1200, 5000, 5000, 1200, 300, 80] {
                filter.fill(0, count, stays.iter().copied());
            }
        }
        done.store(true, Ordering::Release);
    });
    assert_eq!(missed.into_inner(), 0);
}
