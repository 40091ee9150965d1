//! A stretch of the directory: credentials next to each other in age, and what
//! a search reads of them laid end to end, in lower case.

use std::ops::Range;
use std::sync::Arc;

use super::directory::{Place, place_of};
use crate::domain::Credential;

/// How many credentials a page holds at most. A search keeps a page alive while
/// it looks, and whoever writes meanwhile pays for one copy of it.
const FULL: usize = 128;

/// The number of a set of roles, see [`super::directory::Directory`].
pub(super) type RolesNumber = u32;

/// Never empty once it is in the directory.
#[derive(Clone, Default)]
pub(super) struct Page {
    /// Oldest first.
    credentials: Vec<Arc<Credential>>,
    roles: Vec<RolesNumber>,
    /// Where the line of each ends in `text`.
    ends: Vec<usize>,
    text: String,
}

/// What a search reads of one credential.
pub(super) struct Line<'a> {
    pub(super) credential: &'a Arc<Credential>,
    pub(super) roles: RolesNumber,
    /// Who made it, its name and its description, in lower case. Between them
    /// stands what no part of a word can hold.
    pub(super) text: &'a str,
}

fn text_of(credential: &Credential) -> String {
    // Each by itself: how a Greek sigma is lowered depends on what stands around it.
    let columns = [&credential.created_by, &credential.name, &credential.description];
    columns.into_iter().flat_map(|column| [column.to_lowercase(), "\n".to_owned()]).collect()
}

impl Page {
    /// The place of the oldest.
    pub(super) fn oldest(&self) -> Option<Place> {
        self.credentials.first().map(|credential| place_of(credential))
    }

    /// The place of the newest.
    pub(super) fn newest(&self) -> Option<Place> {
        self.credentials.last().map(|credential| place_of(credential))
    }

    /// Takes a credential in, or its newer form.
    pub(super) fn put(&mut self, credential: Arc<Credential>, roles: RolesNumber) {
        let place = place_of(&credential);
        let line = text_of(&credential);
        let found = self.credentials.binary_search_by(|known| place_of(known).cmp(&place));
        let (at, old) = match found {
            Ok(at) => (at, self.range(at)),
            Err(at) => (at, self.start(at)..self.start(at)),
        };
        let (start, grown, shrunk) = (old.start, line.len(), old.len());
        self.text.replace_range(old, &line);
        let end = start + grown;
        let behind = match found {
            Ok(_) => at + 1,
            Err(_) => at,
        };
        for end in self.ends.iter_mut().skip(behind) {
            *end = *end + grown - shrunk;
        }
        if found.is_err() {
            self.credentials.insert(at, credential);
            self.roles.insert(at, roles);
            self.ends.insert(at, end);
        } else if let (Some(c), Some(r), Some(e)) =
            (self.credentials.get_mut(at), self.roles.get_mut(at), self.ends.get_mut(at))
        {
            (*c, *r, *e) = (credential, roles, end);
        }
    }

    /// Takes the younger ones away, if there are too many. The last page, which
    /// grows at its end, keeps as many as it can.
    pub(super) fn split(&mut self, last: bool) -> Option<Page> {
        if self.credentials.len() <= FULL {
            return None;
        }
        let at = if last { FULL } else { FULL / 2 };
        let start = self.start(at);
        let mut younger = Page {
            credentials: self.credentials.split_off(at),
            roles: self.roles.split_off(at),
            ends: self.ends.split_off(at),
            text: self.text.split_off(start),
        };
        for end in &mut younger.ends {
            *end -= start;
        }
        for page in [&mut *self, &mut younger] {
            page.credentials.shrink_to_fit();
            page.roles.shrink_to_fit();
            page.ends.shrink_to_fit();
            page.text.shrink_to_fit();
        }
        Some(younger)
    }

    /// The lines of those older than `place`, newest first.
    pub(super) fn older(&self, place: Option<Place>) -> impl Iterator<Item = Line<'_>> {
        let count = match place {
            Some(place) => self.credentials.partition_point(|known| place_of(known) < place),
            None => self.credentials.len(),
        };
        (0..count).rev().filter_map(|at| self.line(at))
    }

    /// All lines, one after the other.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    fn line(&self, at: usize) -> Option<Line<'_>> {
        Some(Line {
            credential: self.credentials.get(at)?,
            roles: *self.roles.get(at)?,
            text: self.text.get(self.range(at))?,
        })
    }

    fn range(&self, at: usize) -> Range<usize> {
        self.start(at)..self.start(at + 1)
    }

    /// Where a line begins, which is where the one before ends.
    fn start(&self, at: usize) -> usize {
        at.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| *end)
    }
}
