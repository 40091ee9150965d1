//! A store and an observer that time what passes through them.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::Metrics;
use crate::store::{
    Change, CommitError, Committed, Entry, Key, Observer, Receipt, Revision, Status, Store,
    StoreError,
};

/// Times commits.
pub struct MeteredStore {
    inner: Arc<dyn Store>,
    metrics: Metrics,
}

impl MeteredStore {
    /// Round a store.
    pub fn new(inner: Arc<dyn Store>, metrics: Metrics) -> Self {
        MeteredStore { inner, metrics }
    }
}

#[async_trait]
impl Store for MeteredStore {
    fn load(&self, visit: &mut dyn FnMut(Entry)) -> Result<Revision, StoreError> {
        let revision = self.inner.load(visit)?;
        self.metrics.store_revision.set(i64::try_from(revision).unwrap_or(i64::MAX));
        Ok(revision)
    }

    fn scan(&self, prefix: &Key, visit: &mut dyn FnMut(Entry)) -> Result<(), StoreError> {
        self.inner.scan(prefix, visit)
    }

    fn snapshot(&self, visit: &mut dyn FnMut(Entry) -> bool) -> Result<Revision, StoreError> {
        self.inner.snapshot(visit)
    }

    fn observe(&self, observer: Arc<dyn Observer>) {
        self.inner
            .observe(Arc::new(MeteredObserver { inner: observer, metrics: self.metrics.clone() }));
    }

    async fn commit(&self, change: Change) -> Result<Receipt, CommitError> {
        let start = Instant::now();
        let outcome = self.inner.commit(change).await;
        self.metrics.store_commit.observe(start.elapsed().as_secs_f64());
        outcome
    }

    async fn settled(&self) -> Result<(), CommitError> {
        self.inner.settled().await
    }

    fn status(&self) -> Status {
        self.inner.status()
    }

    fn close(&self) {
        self.inner.close();
    }
}

/// Times what is done with committed changes.
pub struct MeteredObserver {
    inner: Arc<dyn Observer>,
    metrics: Metrics,
}

impl Observer for MeteredObserver {
    fn committed(&self, change: &Committed) -> usize {
        let start = Instant::now();
        let ended = self.inner.committed(change);
        self.metrics.revocation_apply.observe(start.elapsed().as_secs_f64());
        self.metrics.store_revision.set(i64::try_from(change.revision).unwrap_or(i64::MAX));
        ended
    }
}
