//! Names to embedding rows: the names seen in training enter, a fixed numbering leaves.
//!
//! INVARIANT: a vocabulary comes from the rows that train alone. A name that it lacks, or that
//! was too rare to learn from, is [`UNKNOWN`]; nothing real is ever [`PADDING`].

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

/// The row of a place where there is nothing.
pub const PADDING: u32 = 0;
/// The row of every name that has none of its own.
pub const UNKNOWN: u32 = 1;
/// The first row of a name of its own.
const FIRST: u32 = 2;

/// Numbers names in order of first sight, and counts those that are learnt from.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    numbers: HashMap<String, u32>,
    names: Vec<String>,
    counts: Vec<u32>,
}

impl Counter {
    /// The provisional number of `name`.
    pub fn number(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.numbers.get(name) {
            return number;
        }
        let number = self.names.len() as u32;
        self.numbers.insert(name.to_owned(), number);
        self.names.push(name.to_owned());
        self.counts.push(0);
        number
    }

    /// Counts the names with these numbers.
    pub fn count(&mut self, numbers: &[u32]) {
        for &number in numbers {
            self.counts[number as usize] += 1;
        }
    }

    /// Keeps the names counted at least `minimum` times, and at least once. Returns the vocabulary,
    /// and the row of each provisional number.
    pub fn into_vocabulary(self, minimum: u32) -> (Vocabulary, Vec<u32>) {
        self.extend(Vocabulary::default(), minimum)
    }

    /// Adds the names counted so often to those of `known`, which all keep their rows.
    pub fn extend(self, known: Vocabulary, minimum: u32) -> (Vocabulary, Vec<u32>) {
        let Vocabulary { mut names, rows: of } = known;
        let mut rows = Vec::with_capacity(self.names.len());
        for (name, count) in self.names.into_iter().zip(self.counts) {
            if let Some(&row) = of.get(&name) {
                rows.push(row);
            } else if count >= minimum.max(1) {
                rows.push(FIRST + names.len() as u32);
                names.push(name);
            } else {
                rows.push(UNKNOWN);
            }
        }
        (Vocabulary::from(names), rows)
    }
}

/// A fixed numbering of names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Vocabulary {
    names: Vec<String>,
    rows: HashMap<String, u32>,
}

impl Vocabulary {
    /// The row of `name`.
    pub fn row(&self, name: &str) -> u32 {
        self.rows.get(name).copied().unwrap_or(UNKNOWN)
    }

    /// Rows that an embedding of this vocabulary has, padding and unknown among them.
    pub fn rows(&self) -> usize {
        self.names.len() + FIRST as usize
    }
}

impl From<Vec<String>> for Vocabulary {
    fn from(names: Vec<String>) -> Self {
        let rows = names.iter().zip(FIRST..).map(|(name, row)| (name.clone(), row)).collect();
        Self { names, rows }
    }
}

impl From<Vocabulary> for Vec<String> {
    fn from(vocabulary: Vocabulary) -> Self {
        vocabulary.names
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn rare_and_new_names_are_unknown() {
        let mut counter = Counter::default();
        let numbers = ["a", "b", "a", "c", "b", "a", "late"].map(|name| counter.number(name));
        counter.count(&numbers[..6]);
        let (vocabulary, rows) = counter.into_vocabulary(2);
        assert_eq!(vocabulary.rows(), 4);
        assert_eq!(vocabulary.row("c"), UNKNOWN);
        assert_eq!(vocabulary.row("never"), UNKNOWN);
        assert_eq!(numbers.map(|number| rows[number as usize]), [2, 3, 2, UNKNOWN, 3, 2, UNKNOWN]);
    }

    #[test]
    fn known_names_keep_their_rows_when_others_are_added() {
        let mut counter = Counter::default();
        let numbers = ["new", "b", "rare", "new"].map(|name| counter.number(name));
        counter.count(&numbers);
        let known = Vocabulary::from(vec!["a".to_owned(), "b".to_owned()]);
        let (vocabulary, rows) = counter.extend(known, 2);
        assert_eq!(["a", "b", "new", "rare"].map(|name| vocabulary.row(name)), [2, 3, 4, UNKNOWN]);
        assert_eq!(numbers.map(|number| rows[number as usize]), [4, 3, UNKNOWN, 4]);
    }

    proptest! {
        #[test]
        fn numbering_survives_json_and_agrees_with_the_remapping(
            names in prop::collection::vec("[a-e]{1,2}", 0..60),
            minimum in 0_u32..4,
        ) {
            let mut counter = Counter::default();
            let numbers: Vec<u32> = names.iter().map(|name| counter.number(name)).collect();
            counter.count(&numbers);
            let (vocabulary, rows) = counter.into_vocabulary(minimum);
            let json = serde_json::to_string(&vocabulary).unwrap();
            let read: Vocabulary = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read, &vocabulary);
            for (name, number) in names.iter().zip(numbers) {
                let row = read.row(name);
                prop_assert_eq!(row, rows[number as usize]);
                prop_assert!(row != PADDING && (row as usize) < read.rows());
            }
        }
    }
}
