//! The file as a tree of values that know their place.
//!
//! A [`Section`] is a table. It remembers which keys were asked for, so that
//! whatever is left over is an unknown key. A reader returns `None` once it has
//! noted a fault, and the check goes on: all faults come out at once.

use std::cell::RefCell;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::fault::Fault;
use super::text::Variables;
use super::value::Value;

/// A file being read: its lines, its surroundings, its faults so far.
pub(super) struct Reader<'a> {
    pub(super) lines: Lines,
    /// What it is called.
    pub(super) file: &'a Path,
    /// Relative paths are relative to this; empty for the working directory.
    pub(super) base: &'a Path,
    pub(super) variables: &'a Variables<'a>,
    pub(super) faults: RefCell<Vec<Fault>>,
    pub(super) warnings: RefCell<Vec<Fault>>,
    /// The keys of each section that was read, and whether they were there.
    #[cfg(test)]
    pub(super) asked: RefCell<Vec<(String, bool)>>,
}

/// A key, and where in the text it stands.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) key: String,
    offset: Option<usize>,
}

impl Place {
    /// The place of an item in an array: it has the array's key.
    pub(super) fn item(&self, offset: usize) -> Place {
        Place { key: self.key.clone(), offset: Some(offset) }
    }
}

impl Reader<'_> {
    pub(super) fn fault(&self, place: &Place, message: impl Into<String>) {
        self.faults.borrow_mut().push(self.note(place, message.into()));
    }

    pub(super) fn warn(&self, place: &Place, message: impl Into<String>) {
        self.warnings.borrow_mut().push(self.note(place, message.into()));
    }

    fn note(&self, place: &Place, message: String) -> Fault {
        Fault { line: self.line(place), key: place.key.clone(), message }
    }

    /// The line of a place, counted from 1.
    pub(super) fn line(&self, place: &Place) -> Option<usize> {
        Some(self.lines.of(place.offset?))
    }
}

/// Where lines end. Ten thousand faults must not mean to count the lines of a large file
/// ten thousand times.
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn new(text: &str) -> Self {
        Lines(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line of an offset, counted from 1.
    fn of(&self, offset: usize) -> usize {
        self.0.partition_point(|end| *end < offset) + 1
    }

    /// Line and column, both counted from 1.
    pub(super) fn and_column(&self, text: &str, offset: usize) -> (usize, usize) {
        let before = text.get(..offset).unwrap_or(text);
        let column = before.rsplit('\n').next().map_or(0, |tail| tail.chars().count()) + 1;
        (self.of(before.len()), column)
    }
}

/// A table, or one that is not there and so has only defaults.
pub(super) struct Section<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) place: Place,
    table: Option<&'a DeTable<'a>>,
    known: RefCell<Vec<&'a str>>,
}

impl<'a> Section<'a> {
    /// Reads a whole file.
    pub(super) fn root<T>(
        reader: &'a Reader<'a>,
        table: &'a DeTable<'a>,
        read: impl FnOnce(&Section<'a>) -> T,
    ) -> T {
        let place = Place { key: String::new(), offset: None };
        Section::new(reader, place, Some(table)).read(read).1
    }

    pub(super) fn new(
        reader: &'a Reader<'a>,
        place: Place,
        table: Option<&'a DeTable<'a>>,
    ) -> Self {
        Section { reader, place, table, known: RefCell::default() }
    }

    /// Reads it; what `read` did not ask for is unknown.
    pub(super) fn read<T>(self, read: impl FnOnce(&Section<'a>) -> T) -> (Self, T) {
        let value = read(&self);
        let known = self.known.take();
        for (key, _) in self.table.into_iter().flatten() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let place = Place { key: self.key(name), offset: Some(key.span().start) };
                self.reader.fault(&place, unknown(name, &known));
            }
        }
        #[cfg(test)]
        self.reader
            .asked
            .borrow_mut()
            .extend(known.iter().map(|key| (self.key(key), self.has(key))));
        (self, value)
    }

    /// True if the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    fn key(&self, name: &str) -> String {
        let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let name = match name.bytes().all(bare) && !name.is_empty() {
            true => name.to_owned(),
            false => format!("{name:?}"),
        };
        if self.place.key.is_empty() { name } else { format!("{}.{name}", self.place.key) }
    }

    /// The value of a key, known from now on.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        self.known.borrow_mut().push(key);
        let value = self.table?.get(key)?;
        Some(self.child(key, value))
    }

    fn child(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        let place = Place { key: self.key(key), offset: Some(value.span().start) };
        Value { reader: self.reader, place, value: value.get_ref() }
    }

    /// The place of a key; if it is not there, the line of the table.
    pub(super) fn place_of(&self, key: &str) -> Place {
        let value = self.table.and_then(|table| table.get(key));
        let offset = value.map(|value| value.span().start).or(self.place.offset);
        Place { key: self.key(key), offset }
    }

    /// Reads a key that may be left out.
    pub(super) fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        self.value(key).and_then(|value| read(&value))
    }

    /// Reads a key that has a default.
    pub(super) fn or<T>(
        &self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> T {
        self.get(key, read).unwrap_or(default)
    }

    /// Reads a key that must be there; `example` shows what to write.
    pub(super) fn need<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(key);
        if value.is_none() {
            let message = format!("is missing; add it, such as {key} = {example}");
            self.reader.fault(&self.place_of(key), message);
        }
        value.and_then(|value| read(&value))
    }

    /// Reads a table; one that is not there is read too, and gives the defaults.
    pub(super) fn table<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Section<'a>) -> T,
    ) -> Option<T> {
        match self.value(key) {
            Some(value) => value.table(read),
            None => {
                let place = Place { key: self.key(key), offset: None };
                Some(Section::new(self.reader, place, None).read(read).1)
            }
        }
    }

    /// Reads `[[key]]`; each is called by the string that its `name` holds.
    pub(super) fn tables<T>(
        &self,
        key: &'static str,
        name: &str,
        mut read: impl FnMut(&Section<'a>) -> T,
    ) -> Vec<(Section<'a>, T)> {
        let Some(list) = self.value(key) else { return Vec::new() };
        let Some(items) = list.value.as_array() else {
            self.reader.fault(&list.place, format!("must be written [[{key}]], once for each"));
            return Vec::new();
        };
        let mut read_all = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let called = item.get_ref().get(name).and_then(|name| name.get_ref().as_str());
            let key = match called {
                Some(called) => format!("{key} {called:?}"),
                None => format!("{key}[{}]", index + 1),
            };
            let place = Place { key, offset: Some(item.span().start) };
            match item.get_ref().as_table() {
                Some(table) => {
                    let section = Section::new(self.reader, place, Some(table));
                    read_all.push(section.read(&mut read));
                }
                None => self.reader.fault(&place, "must be a table"),
            }
        }
        read_all
    }

    /// All keys and their values, where the keys are free.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        self.table.into_iter().flatten().map(|(key, value)| {
            let key: &'a str = key.get_ref().as_ref();
            self.known.borrow_mut().push(key);
            (key, self.child(key, value))
        })
    }
}

fn unknown(name: &str, known: &[&str]) -> String {
    match closest(name, known.iter().copied()) {
        Some(near) => format!("is no known key; did you mean {near:?}?"),
        None if known.is_empty() => "is no known key; remove it".to_owned(),
        None => format!("is no known key; known here: {}", known.join(", ")),
    }
}

/// The word that was likely meant.
pub(super) fn closest<'w>(word: &str, words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_ascii_lowercase();
    words
        .map(|known| (strsim::jaro_winkler(&word, &known.to_ascii_lowercase()), known))
        .filter(|(likeness, _)| *likeness > 0.85)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}
