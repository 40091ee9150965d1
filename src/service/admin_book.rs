//! All administrators in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::domain::{AdminName, AdminRole, Administrator, UnixTime};
use crate::store::Revision;

/// The administrators.
#[derive(Default)]
pub struct AdminBook(RwLock<BTreeMap<AdminName, (Arc<Administrator>, Revision)>>);

impl AdminBook {
    pub(super) fn put(&self, admin: Administrator, revision: Revision) {
        self.0.write().insert(admin.name.clone(), (Arc::new(admin), revision));
    }

    pub(super) fn remove(&self, name: &AdminName) {
        self.0.write().remove(name);
    }

    /// The administrator of that name.
    pub fn get(&self, name: &AdminName) -> Option<Arc<Administrator>> {
        self.find_named(name).map(|(admin, _)| admin)
    }

    /// The administrator of that name, and the commit that made it.
    pub(super) fn find_named(&self, name: &AdminName) -> Option<(Arc<Administrator>, Revision)> {
        self.0.read().get(name).cloned()
    }

    /// A super-admin who is not the one of that name, and the commit that made it.
    pub(super) fn other_super_admin(
        &self,
        name: &AdminName,
    ) -> Option<(Arc<Administrator>, Revision)> {
        let book = self.0.read();
        let other =
            |admin: &Administrator| admin.role == AdminRole::SuperAdmin && admin.name != *name;
        book.values().find(|(admin, _)| other(admin)).cloned()
    }

    /// The first that `wanted` picks, having looked at every one: how long it
    /// takes does not tell which one it was.
    pub fn find(&self, wanted: impl Fn(&Administrator) -> bool) -> Option<Arc<Administrator>> {
        let book = self.0.read();
        book.values().fold(None, |found, (admin, _)| {
            let hit = wanted(admin);
            found.or_else(|| hit.then(|| Arc::clone(admin)))
        })
    }

    /// All of them, newest first.
    pub fn list(&self) -> Vec<Arc<Administrator>> {
        let mut all: Vec<_> = self.0.read().values().map(|(admin, _)| Arc::clone(admin)).collect();
        all.sort_by(|a, b| (b.created_at, &b.name).cmp(&(a.created_at, &a.name)));
        all
    }

    /// When the newest was made.
    pub(super) fn newest(&self) -> Option<UnixTime> {
        self.0.read().values().map(|(admin, _)| admin.created_at).max()
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
