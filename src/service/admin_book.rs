//! All administrators in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::domain::{AdminName, Administrator};

/// The administrators.
#[derive(Default)]
pub struct AdminBook(RwLock<BTreeMap<AdminName, Arc<Administrator>>>);

impl AdminBook {
    pub(super) fn put(&self, admin: Administrator) {
        self.0.write().insert(admin.name.clone(), Arc::new(admin));
    }

    pub(super) fn remove(&self, name: &AdminName) {
        self.0.write().remove(name);
    }

    /// The administrator of that name.
    pub fn get(&self, name: &AdminName) -> Option<Arc<Administrator>> {
        self.0.read().get(name).cloned()
    }

    /// The first that `wanted` picks, having looked at every one: how long it
    /// takes does not tell which one it was.
    pub fn find(&self, wanted: impl Fn(&Administrator) -> bool) -> Option<Arc<Administrator>> {
        let book = self.0.read();
        book.values().fold(None, |found, admin| {
            let hit = wanted(admin);
            found.or_else(|| hit.then(|| Arc::clone(admin)))
        })
    }

    /// All of them, newest first.
    pub fn list(&self) -> Vec<Arc<Administrator>> {
        let mut all: Vec<_> = self.0.read().values().cloned().collect();
        all.sort_by(|a, b| (b.created_at, &b.name).cmp(&(a.created_at, &a.name)));
        all
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.read().is_empty()
    }
}
