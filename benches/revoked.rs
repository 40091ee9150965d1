//! Ten million revoked tokens: what each takes in memory, how long a look takes,
//! and how long whoever looks waits while the set is swept.
//! `cargo bench --bench revoked`; about a minute once it is built.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench that is wrong should say so"
)]

use std::alloc::System;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis::domain::{Jti, UnixTime};
use portcullis::revocation::RevocationSet;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const COUNT: u64 = 10_000_000;
const LOOKS: u64 = 5_000_000;

/// Random to look at, and the same in every run (splitmix64).
fn jti(n: u64) -> Jti {
    let mix = |n: u64| {
        let z = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let halves = [mix(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)), mix(!n)];
    let wide = (u128::from(halves[0]) << 64) | u128::from(halves[1]);
    Jti::from_random(wide.to_be_bytes())
}

fn told(what: &str, figure: String, goal: &str) {
    println!("{what:44} {figure:>14}   {goal}");
}

fn held(region: &Region<'_, System>) -> f64 {
    let stats = region.change();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}

/// What this thread has had of a core so far: others on the machine do not count.
fn on_core() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// Nanoseconds for each look, the best of three passes.
fn look(set: &RevocationSet, from: u64, found: bool) -> f64 {
    let ids: Vec<Jti> = (0..LOOKS).map(|n| jti(from + n.wrapping_mul(7_919) % COUNT)).collect();
    let pass = || {
        let began = on_core();
        let count = ids.iter().filter(|id| set.is_token_revoked(black_box(**id))).count();
        assert_eq!(count > 0, found);
        (on_core() - began).as_nanos() as f64 / LOOKS as f64
    };
    (0..3).map(|_| pass()).fold(f64::MAX, f64::min)
}

/// The longest that one of many looks took while `work` ran, and how many took
/// longer than a millisecond: on a busy machine most of those waited for a core.
fn longest_look(set: &RevocationSet, work: impl FnOnce()) -> (Duration, usize, Duration) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let mut times = Vec::with_capacity(1 << 24);
            for n in (COUNT * 3..).take_while(|_| !done.load(Ordering::Relaxed)) {
                let id = jti(n);
                let began = Instant::now();
                black_box(set.is_token_revoked(id));
                if times.len() < times.capacity() {
                    times.push(began.elapsed());
                }
            }
            times
        });
        work();
        done.store(true, Ordering::Relaxed);
        let mut times = looking.join().unwrap();
        times.sort_unstable();
        let longer = times.iter().filter(|time| **time > Duration::from_millis(1)).count();
        let often = times.get(times.len() / 10_000 * 9_999).copied().unwrap_or_default();
        (times.last().copied().unwrap_or_default(), longer, often)
    })
}

fn main() {
    let start = UnixTime::from_secs(1_795_314_000);
    let end = |n: u64| start.plus(Duration::from_secs(3600 * (n % 48)));
    let region = Region::new(ALLOCATOR);
    let set = RevocationSet::default();
    let began = on_core();
    for n in 0..COUNT {
        set.revoke_token(jti(n), end(n));
    }
    println!("{COUNT} tokens put in, in {:.1?}", on_core() - began);
    told("bytes for each", format!("{:.1} B", held(&region) / COUNT as f64), "goal 42 B or less");
    told("a miss", format!("{:.1} ns", look(&set, COUNT, false)), "goal about 30 ns");
    told("a hit", format!("{:.1} ns", look(&set, 0, true)), "");
    let show = |(worst, longer, often): (Duration, usize, Duration)| {
        (format!("{worst:.1?}"), format!("99.99 % within {often:.1?}; {longer} beyond 1 ms"))
    };
    let quiet = longest_look(&set, || std::thread::sleep(Duration::from_secs(2)));
    let (figure, more) = show(quiet);
    told("longest look, nothing else going on", figure, &more);
    let (mut swept, mut slice) = (0_u64, Duration::ZERO);
    let mut took = Duration::ZERO;
    let sweeping = longest_look(&set, || {
        let (mut place, began) = (Some(0), on_core());
        while let Some(from) = place {
            let one = on_core();
            let (stale, next) = set.stale_tokens(from, end(24), 64);
            slice = slice.max(on_core() - one);
            for (jti, until) in &stale {
                assert!(set.forget_token(*jti, *until));
            }
            swept += stale.len() as u64;
            place = next;
        }
        took = on_core() - began;
    });
    let (figure, more) = show(sweeping);
    told(&format!("longest look while {swept} were swept"), figure, &more);
    println!("swept in {took:.1?}, the longest look for the stale {slice:.0?}");
    let left = set.token_count() as f64;
    told("bytes for each that is left", format!("{:.1} B", held(&region) / left), "");
    let passes = (0..3).map(|_| {
        let (mut place, began) = (Some(0), on_core());
        while let Some(from) = place {
            place = set.stale_tokens(from, start, 64).1;
        }
        on_core() - began
    });
    told("a sweep that finds nothing", format!("{:.1?}", passes.min().unwrap()), "once a minute");
}
