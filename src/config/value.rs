//! One value of the file, read as this or that.
//!
//! A reader returns `None` once it has noted a fault. Faults show what the file
//! has, never what an environment variable holds.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::read::{Place, Reader, Section};
use super::text::substitute;
use super::units;

/// A value and its place.
pub(super) struct Value<'a> {
    pub(super) reader: &'a Reader<'a>,
    pub(super) place: Place,
    pub(super) value: &'a DeValue<'a>,
}

impl<'a> Value<'a> {
    /// Notes a fault here.
    pub(super) fn fault<T>(&self, message: impl Into<String>) -> Option<T> {
        self.reader.fault(&self.place, message);
        None
    }

    /// Notes a fault that shows the text as the file has it: without the
    /// values of environment variables, which may be secret.
    pub(super) fn wrong<T>(&self, must: impl std::fmt::Display) -> Option<T> {
        self.fault(format!("{must}; it is {}", self.shown()))
    }

    fn shown(&self) -> String {
        match self.value.as_str() {
            Some(raw) if raw.chars().count() <= 80 => format!("{raw:?}"),
            Some(raw) => format!("{:?}…", raw.chars().take(79).collect::<String>()),
            None => match self.value.as_integer().filter(|number| number.radix() == 10) {
                Some(number) => number.as_str().to_owned(),
                None => format!("of type {}", self.value.type_str()),
            },
        }
    }

    fn must_be<T>(&self, what: &str) -> Option<T> {
        self.fault(format!("must be {what}, not of type {}", self.value.type_str()))
    }

    pub(super) fn is_string(&self) -> bool {
        self.value.is_str()
    }

    pub(super) fn is_array(&self) -> bool {
        self.value.is_array()
    }

    pub(super) fn is_table(&self) -> bool {
        self.value.is_table()
    }

    /// The string as the file has it, before environment variables.
    pub(super) fn raw(&self) -> Option<&'a str> {
        self.value.as_str()
    }

    /// A string, with the environment variables put in.
    pub(super) fn text(&self) -> Option<String> {
        let Some(raw) = self.value.as_str() else { return self.must_be("a string") };
        substitute(raw, self.reader.variables).map_or_else(|message| self.fault(message), Some)
    }

    /// A string that a parser takes; `must` says what it takes.
    pub(super) fn parsed<T>(&self, must: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        if !self.value.is_str() {
            return self.must_be(must.strip_prefix("must be ").unwrap_or("a string"));
        }
        parse(&self.text()?).map_or_else(|| self.wrong(must), Some)
    }

    /// A string that is a name; the error completes "must …".
    pub(super) fn name<T, E: std::fmt::Display>(
        &self,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        parse(&self.text()?).map_or_else(|fault| self.wrong(fault), Some)
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let list = words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>();
        let must = match list.as_slice() {
            [one] => format!("must be {one}"),
            [rest @ .., last] => format!("must be {} or {last}", rest.join(", ")),
            [] => String::new(),
        };
        self.parsed(&must, |text| {
            words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value)
        })
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        self.value.as_bool().map_or_else(|| self.must_be("true or false"), Some)
    }

    /// A whole number.
    pub(super) fn number(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let number = match self.value.as_integer() {
            Some(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            None => return self.must_be("a whole number"),
        };
        number.filter(|number| range.contains(number)).map_or_else(
            || self.fault(format!("must lie between {} and {}", range.start(), range.end())),
            Some,
        )
    }

    /// A size in bytes: `"64KiB"`, or a plain number.
    pub(super) fn size(&self, range: RangeInclusive<u64>) -> Option<u64> {
        let must = "must be a size such as \"64KiB\", \"1MiB\" or 4096";
        let size = match self.value.as_integer() {
            Some(number) => match u64::from_str_radix(number.as_str(), number.radix()) {
                Ok(size) => size,
                Err(_) => return self.fault(must),
            },
            None => self.parsed(must, units::size)?,
        };
        if range.contains(&size) {
            return Some(size);
        }
        let [least, most] = [range.start(), range.end()].map(|end| units::show_size(*end));
        self.wrong(format_args!("must lie between {least} and {most}"))
    }

    /// A length of time: `"90s"`.
    pub(super) fn duration(&self, range: RangeInclusive<Duration>) -> Option<Duration> {
        let must = "must be a duration such as \"500ms\", \"90s\", \"15m\", \"12h\" or \"2d\"";
        let duration = self.parsed(must, units::duration)?;
        if range.contains(&duration) {
            return Some(duration);
        }
        let [least, most] = [range.start(), range.end()].map(|end| units::show_duration(*end));
        self.wrong(format_args!("must lie between {least} and {most}"))
    }

    /// A path, made relative to the base.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() {
            return self.fault("must not be empty");
        }
        Some(self.reader.base.join(text))
    }

    /// An array. Items with faults are left out.
    pub(super) fn list<T>(
        &self,
        of: &str,
        mut read: impl FnMut(&Value<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let Some(items) = self.value.as_array() else {
            return self.must_be(&format!("an array of {of}"));
        };
        let item = |item: &'a Spanned<DeValue<'a>>| Value {
            reader: self.reader,
            place: self.place.item(item.span().start),
            value: item.get_ref(),
        };
        Some(items.iter().filter_map(|it| read(&item(it))).collect())
    }

    /// An array that may not be empty.
    pub(super) fn some<T>(
        &self,
        of: &str,
        read: impl FnMut(&Value<'a>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if self.value.as_array().is_some_and(|items| items.is_empty()) {
            return self.fault(format!("must list at least one of {of}"));
        }
        self.list(of, read)
    }

    /// A table.
    pub(super) fn table<T>(&self, read: impl FnOnce(&Section<'a>) -> T) -> Option<T> {
        match self.value.as_table() {
            Some(table) => {
                let section = Section::new(self.reader, self.place.clone(), Some(table));
                Some(section.read(read).1)
            }
            None => self.must_be("a table"),
        }
    }
}
