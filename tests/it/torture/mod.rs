//! The gateway on its worst day: killed, cut off from power, flooded, starved, fed
//! with rubbish, for a few seconds here and for as long as `make torture` and `make
//! soak` say. A seed is printed; `SEED=…` plays the same choices again.

mod crash;
mod faults;
mod model;
mod overload;
mod soak;
mod steady;
mod wire;

use std::time::Duration;

/// Choices that can be played again (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// One that `SEED` or the clock throws first; it says so.
    pub(crate) fn new(what: &str) -> Self {
        let seed = number("SEED").unwrap_or_else(|| {
            let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
            since.as_nanos() as u64
        });
        println!("{what}: SEED={seed}");
        Dice(seed)
    }

    /// Another one, whose throws hang on nothing but this one's.
    pub(crate) fn child(&mut self) -> Self {
        Dice(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        (self.next() % most.max(1) as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub(crate) fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.next() % (to - from))
    }
}

/// A number that the caller set.
pub(crate) fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} must be a number, not {text:?}")))
}
