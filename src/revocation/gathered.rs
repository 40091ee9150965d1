//! Many tokens on their way into the set, each put with its neighbours: a start takes
//! millions in, and one after the other each of them waits for memory.

use super::filter::PARTS;
use super::tokens::Row;

/// How many are gathered, at 20 bytes each: a thousand for each part of the set. Tests
/// are to see what happens then.
const MANY: usize = if cfg!(test) { 100 } else { 1024 * PARTS };

/// Tokens that are not in a set yet, by the part of it where they will lie. Only good
/// for the one set.
#[derive(Default)]
pub struct Gathered {
    pub(super) parts: Vec<Vec<Row>>,
    count: usize,
}

impl Gathered {
    pub(super) fn put(&mut self, number: usize, row: Row) {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, Vec::new);
        }
        if let Some(part) = self.parts.get_mut(number) {
            part.push(row);
            self.count += 1;
        }
    }

    /// Takes all out, in the order of the parts.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Row> {
        self.count = 0;
        self.parts.iter_mut().flat_map(|part| part.drain(..))
    }

    /// True if it is time to put them in.
    pub fn is_full(&self) -> bool {
        self.count >= MANY
    }
}
