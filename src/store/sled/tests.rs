mod crash;
mod damage;
mod failing;
mod formats;
mod opening;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::store::conformance::{self, Harness};

/// A store in a temporary folder of its own.
struct Temporary(TempDir);

impl Temporary {
    fn new() -> Self {
        Temporary(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("store")
    }
}

impl Harness for Temporary {
    fn open(&self) -> Arc<dyn Store> {
        Arc::new(open(&self.path()).unwrap())
    }

    fn reopen(&self) -> Option<Arc<dyn Store>> {
        Some(self.open())
    }
}

fn open(path: &Path) -> Result<SledStore, OpenError> {
    SledStore::open(options(path))
}

fn options(path: &Path) -> SledOptions {
    SledOptions { retry_after: Duration::from_millis(1), ..SledOptions::new(path) }
}

/// Waits until something is so; fails after half a minute.
fn until(what: &str, so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain: {what}");
        std::thread::yield_now();
    }
}

conformance::suite!(Temporary::new());
