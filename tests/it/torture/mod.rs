//! The gateway on its worst day: killed, cut off from power, flooded, starved, fed
//! with rubbish, for a few seconds here and for as long as `make torture` and `make
//! soak` say. A seed is printed; `SEED=…` plays the same choices again.

mod crash;
mod faults;
mod handover;
pub(crate) mod legacy;
mod load;
mod model;
mod overload;
mod pressure;
mod soak;
pub(crate) mod steady;
mod surge;
mod wire;

use std::time::Duration;

/// Choices that can be played again (splitmix64).
pub(crate) struct Dice(u64);

impl Dice {
    /// One that `SEED` or the clock throws first; it says so.
    #[expect(clippy::print_stdout, reason = "without the seed nothing can be played again")]
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

/// Each row of the failure contract names tests, and each of them is there.
#[test]
fn the_failure_contract_is_proved_by_tests_that_exist() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let section = readme.split("## The failure contract").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(rows.len() >= 24, "{} rows", rows.len());
    let mut sources = String::new();
    for folder in ["src", "tests/it"] {
        gather(&root.join(folder), &mut sources);
    }
    for row in rows {
        let proofs = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap();
        let names: Vec<&str> = proofs.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test proves: {row}");
        for name in names {
            let defined = sources.contains(&format!("fn {name}()"));
            assert!(defined, "there is no test {name}: {row}");
        }
    }
}

fn gather(folder: &std::path::Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}
