//! All credentials in memory: found by id, listed newest first.

use std::collections::BTreeMap;
use std::sync::Arc;

use dashmap::DashMap;
use parking_lot::RwLock;

use crate::domain::{ClientId, Credential, UnixTime};
use crate::store::Revision;

/// How many are looked at before writers get their turn.
const CHUNK: usize = 512;

/// A credential's place in the list. It never changes, so a cursor made of it
/// neither skips nor repeats while others write.
pub type Place = (UnixTime, ClientId);

/// The credentials.
#[derive(Default)]
pub struct Directory {
    by_id: DashMap<ClientId, (Arc<Credential>, Revision)>,
    by_age: RwLock<BTreeMap<Place, Arc<Credential>>>,
}

impl Directory {
    /// Takes a credential in, or its newer form.
    pub(super) fn put(&self, credential: Credential, revision: Revision) {
        let credential = Arc::new(credential);
        let place = (credential.created_at, credential.client_id);
        self.by_age.write().insert(place, Arc::clone(&credential));
        self.by_id.insert(credential.client_id, (credential, revision));
    }

    /// The credential of that id.
    pub fn get(&self, client: ClientId) -> Option<Arc<Credential>> {
        self.find(client).map(|(credential, _)| credential)
    }

    /// The credential of that id and the commit that wrote it.
    pub fn find(&self, client: ClientId) -> Option<(Arc<Credential>, Revision)> {
        self.by_id.get(&client).map(|found| found.clone())
    }

    /// Up to `limit` that `wanted` picks, newest first, older than `after`,
    /// and whether there are more.
    pub fn list(
        &self,
        mut after: Option<Place>,
        limit: usize,
        wanted: impl Fn(&Credential) -> bool,
    ) -> (Vec<Arc<Credential>>, bool) {
        let mut found = Vec::new();
        loop {
            let chunk = self.older(after);
            let Some(last) = chunk.last() else { return (found, false) };
            after = Some((last.created_at, last.client_id));
            for credential in chunk.into_iter().filter(|credential| wanted(credential)) {
                if found.len() == limit {
                    return (found, true);
                }
                found.push(credential);
            }
        }
    }

    fn older(&self, after: Option<Place>) -> Vec<Arc<Credential>> {
        let by_age = self.by_age.read();
        let older = match after {
            Some(place) => by_age.range(..place),
            None => by_age.range(..),
        };
        older.rev().take(CHUNK).map(|(_, credential)| Arc::clone(credential)).collect()
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
