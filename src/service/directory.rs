//! All credentials in memory: found by id, listed and searched newest first.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::page::{Line, Page, RolesNumber};
use super::query::Query;
use crate::domain::{AccountId, ClientId, Credential, RoleSet, UnixTime};
use crate::policy::Snapshot;
use crate::revocation::ById;
use crate::store::Revision;

/// A credential's place in the list. It never changes, so a cursor made of it
/// neither skips nor repeats while others write.
pub type Place = (UnixTime, ClientId);

/// The credentials.
#[derive(Default)]
pub struct Directory {
    by_id: ById<ClientId, (Arc<Credential>, Revision)>,
    /// Oldest first.
    pages: RwLock<Vec<Arc<Page>>>,
    shared: Mutex<Shared>,
}

/// What many credentials have in common is kept once: the accounts, and the
/// sets of roles, which are numbered so that a search looks at each only once.
#[derive(Default)]
struct Shared {
    accounts: HashSet<AccountId>,
    numbers: HashMap<RoleSet, RolesNumber>,
    sets: Vec<RoleSet>,
}

impl Shared {
    /// Lets a credential share what others have too. Gives its roles' number.
    fn join(&mut self, credential: &mut Credential) -> RolesNumber {
        match self.accounts.get(&credential.account) {
            Some(known) => credential.account = known.clone(),
            None => drop(self.accounts.insert(credential.account.clone())),
        }
        if let Some((known, number)) = self.numbers.get_key_value(&credential.roles) {
            credential.roles = known.clone();
            return *number;
        }
        let number = RolesNumber::try_from(self.sets.len()).unwrap_or(RolesNumber::MAX);
        self.sets.push(credential.roles.clone());
        self.numbers.insert(credential.roles.clone(), number);
        number
    }
}

pub(super) fn place_of(credential: &Credential) -> Place {
    (credential.created_at, credential.client_id)
}

impl Directory {
    /// Lets a credential share what others have too, so that what is made of it
    /// shares it as well. Gives the number of its roles.
    pub(super) fn fold(&self, credential: &mut Credential) -> RolesNumber {
        credential.secrets.shrink_to_fit();
        self.shared.lock().join(credential)
    }

    /// Takes a credential in, or its newer form.
    pub(super) fn put(&self, mut credential: Credential, revision: Revision) {
        let roles = self.fold(&mut credential);
        let credential = Arc::new(credential);
        let place = place_of(&credential);
        {
            let mut pages = self.pages.write();
            if pages.is_empty() {
                pages.push(Arc::default());
            }
            let younger = pages.partition_point(|page| page.oldest().is_some_and(|it| it <= place));
            let at = younger.saturating_sub(1);
            let last = at + 1 == pages.len();
            if let Some(page) = pages.get_mut(at) {
                let page = Arc::make_mut(page);
                page.put(Arc::clone(&credential), roles);
                if let Some(younger) = page.split(last) {
                    pages.insert(at + 1, Arc::new(younger));
                }
            }
        }
        self.by_id.insert(credential.client_id, (credential, revision));
    }

    /// The credential of that id.
    pub fn get(&self, client: ClientId) -> Option<Arc<Credential>> {
        self.by_id.get(&client).map(|found| Arc::clone(&found.0))
    }

    /// The credential of that id and the commit that wrote it.
    pub fn find(&self, client: ClientId) -> Option<(Arc<Credential>, Revision)> {
        self.by_id.get(&client).map(|found| found.clone())
    }

    /// When the newest was made.
    pub(super) fn newest(&self) -> Option<UnixTime> {
        self.pages.read().last().and_then(|page| page.newest()).map(|(at, _)| at)
    }

    /// Whether any credential is bound to an account.
    pub(super) fn has_account(&self, account: &AccountId) -> bool {
        // Credentials are never forgotten, nor bound to another account.
        self.shared.lock().accounts.contains(account)
    }

    /// Reads what somebody typed to find credentials.
    pub(super) fn query(&self, typed: &str, world: &Snapshot) -> Query {
        let place = |client| self.get(client).map(|found| place_of(&found));
        Query::read(typed, world, &self.shared.lock().sets, place)
    }

    /// Up to `limit` that `query` finds and `wanted` picks, newest first, older
    /// than `after`, and whether there are more.
    pub(super) fn list(
        &self,
        mut after: Option<Place>,
        limit: usize,
        query: &Query,
        wanted: impl Fn(&Credential) -> bool,
    ) -> (Vec<Arc<Credential>>, bool) {
        let mut found = Vec::new();
        // A page is looked at without a lock: nobody who writes waits for a search.
        while let Some(page) = self.page_before(after) {
            let place = std::mem::replace(&mut after, page.oldest());
            if !query.may_be_in(&page) {
                continue;
            }
            let fits = |line: &Line<'_>| query.fits(line) && wanted(line.credential);
            for line in page.older(place).filter(fits) {
                if found.len() == limit {
                    return (found, true);
                }
                found.push(Arc::clone(line.credential));
            }
        }
        (found, false)
    }

    /// The page with the youngest that is older than `place`.
    fn page_before(&self, place: Option<Place>) -> Option<Arc<Page>> {
        let pages = self.pages.read();
        let Some(place) = place else { return pages.last().cloned() };
        let count = pages.partition_point(|page| page.oldest().is_some_and(|it| it < place));
        count.checked_sub(1).and_then(|at| pages.get(at)).cloned()
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
