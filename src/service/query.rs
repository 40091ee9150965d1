//! What somebody typed to find credentials: parts of words, or a whole `client_id`.

use std::collections::BTreeSet;

use memchr::memmem::Finder;

use super::directory::Place;
use super::page::{Line, Page};
use super::search::contains;
use crate::domain::{ClientId, Role, RoleId, RoleSet};
use crate::policy::Snapshot;

/// Parts of words, each to be found in a credential.
pub(super) struct Query(Vec<Term>);

/// One part of a word, and the roles that it finds by id or label.
struct Term {
    /// Of the credential whose id it is.
    place: Option<Place>,
    finder: Finder<'static>,
    text: String,
    labelled: BTreeSet<RoleId>,
    /// By their number, whether it finds one of a set of roles.
    sets: Vec<bool>,
}

impl Query {
    /// Reads what was typed. `sets` are the sets of roles that credentials have; `place`
    /// finds one by its id.
    pub(super) fn read(
        typed: &str,
        world: &Snapshot,
        sets: &[RoleSet],
        place: impl Fn(ClientId) -> Option<Place>,
    ) -> Self {
        let mut texts: Vec<String> = typed.split_whitespace().map(str::to_lowercase).collect();
        // What is part of another is found wherever that is. The longest is the
        // rarest, as a rule.
        texts.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        let mut kept: Vec<String> = Vec::new();
        for text in texts {
            if !kept.iter().any(|longer| longer.contains(&text)) {
                kept.push(text);
            }
        }
        let term = |text: String| {
            let place = ClientId::parse(&text).and_then(&place);
            Term { place, ..Term::new(text, world, sets) }
        };
        Query(kept.into_iter().map(term).collect())
    }

    /// False if no credential of the page is what was looked for.
    pub(super) fn may_be_in(&self, page: &Page) -> bool {
        self.0.iter().all(|term| {
            term.sets.contains(&true)
                || term.finder.find(page.text().as_bytes()).is_some()
                || term.place.is_some()
                    && page.oldest() <= term.place
                    && term.place <= page.newest()
        })
    }

    /// Whether every part is found in this credential.
    pub(super) fn fits(&self, line: &Line<'_>) -> bool {
        self.0.iter().all(|term| term.fits(line))
    }
}

impl Term {
    fn new(text: String, world: &Snapshot, sets: &[RoleSet]) -> Self {
        let labelled = |role: &&Role| contains(&role.label, &text);
        let labelled = world.roles().iter().filter(labelled).map(|role| role.id.clone()).collect();
        let (finder, sets_found) = (Finder::new(&text).into_owned(), Vec::new());
        let mut term = Term { place: None, finder, text, labelled, sets: sets_found };
        term.sets = sets.iter().map(|roles| term.finds_one_of(roles)).collect();
        term
    }

    fn finds_one_of(&self, roles: &RoleSet) -> bool {
        roles.iter().any(|id| self.labelled.contains(id) || contains(id.as_str(), &self.text))
    }

    fn fits(&self, line: &Line<'_>) -> bool {
        let by_role = || match self.sets.get(usize::try_from(line.roles).unwrap_or(usize::MAX)) {
            Some(found) => *found,
            // Nobody had this set yet when the search began.
            None => self.finds_one_of(&line.credential.roles),
        };
        let by_id = || self.place.is_some_and(|(_, client)| client == line.credential.client_id);
        self.finder.find(line.text.as_bytes()).is_some() || by_role() || by_id()
    }
}
