//! All credentials in memory: found by id, listed newest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::RwLock;

use crate::domain::{ClientId, Credential, UnixTime};

/// A credential's place in the list. It never changes, so a cursor made of it
/// neither skips nor repeats while others write.
pub type Place = (UnixTime, ClientId);

/// The credentials.
#[derive(Default)]
pub struct Directory {
    by_id: DashMap<ClientId, Arc<Credential>>,
    by_age: RwLock<BTreeMap<Place, Arc<Credential>>>,
}

impl Directory {
    /// Takes a credential in, or its newer form.
    pub(super) fn put(&self, credential: Credential) {
        let credential = Arc::new(credential);
        let place = (credential.created_at, credential.client_id);
        self.by_age.write().insert(place, Arc::clone(&credential));
        self.by_id.insert(credential.client_id, credential);
    }

    /// The credential of that id.
    pub fn get(&self, client: ClientId) -> Option<Arc<Credential>> {
        self.by_id.get(&client).map(|found| Arc::clone(&found))
    }

    /// Up to `limit` that `wanted` picks, newest first, older than `after`,
    /// and whether there are more.
    pub fn list(
        &self,
        after: Option<Place>,
        limit: usize,
        wanted: impl Fn(&Credential) -> bool,
    ) -> (Vec<Arc<Credential>>, bool) {
        let by_age = self.by_age.read();
        let older = match after {
            Some(place) => by_age.range(..place),
            None => by_age.range(..),
        };
        let mut found: Vec<Arc<Credential>> = older
            .rev()
            .map(|(_, c)| c)
            .filter(|c| wanted(c))
            .take(limit.saturating_add(1))
            .cloned()
            .collect();
        let more = found.len() > limit;
        found.truncate(limit);
        (found, more)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
