//! Histories: lines of `user item` enter, one sequence of item numbers a person leaves.
//!
//! INVARIANT: lines of a person are in the order in which things happened; lines of different
//! people may be mixed. Users and items are numbered in the order of their first line.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use kinora_harness::publish::FileError;
use sha2::{Digest, Sha256};

use crate::error::{RankingError, Result};

/// Fewer items than this leave nothing to learn from once two are held out.
pub const SHORTEST: usize = 3;

/// The histories of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequences {
    /// Item ids; the position of an id is the item's number.
    pub items: Vec<String>,
    /// Items of each person, oldest first.
    pub histories: Vec<Vec<u32>>,
}

/// Leave-one-out: the last item of a history is the test, the one before it the validation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Split<'a> {
    pub train: &'a [u32],
    pub validation: u32,
    pub test: u32,
}

impl<'a> Split<'a> {
    /// Nothing for a history of fewer than [`SHORTEST`] items.
    pub fn of(history: &'a [u32]) -> Option<Self> {
        match history {
            [train @ .., validation, test] if !train.is_empty() => {
                Some(Self { train, validation: *validation, test: *test })
            }
            _ => None,
        }
    }
}

impl Sequences {
    /// Reads a text file, compressed with gzip where its name ends in `.gz`.
    pub fn read(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(FileError::at("read", path))?;
        let reader: Box<dyn Read> = if path.extension().is_some_and(|extension| extension == "gz") {
            Box::new(MultiGzDecoder::new(file))
        } else {
            Box::new(file)
        };
        Self::parse(BufReader::new(reader), path)
    }

    /// Reads lines; `path` names them in errors.
    pub fn parse(lines: impl BufRead, path: &Path) -> Result<Self> {
        let (mut users, mut numbers) = (HashMap::<String, usize>::new(), HashMap::<String, u32>::new());
        let mut sequences = Self { items: Vec::new(), histories: Vec::new() };
        for (index, line) in lines.lines().enumerate() {
            let fault =
                |reason: String| RankingError::Sequences { path: path.to_owned(), line: index + 1, reason };
            let line = line.map_err(|error| fault(format!("it cannot be read: {error}")))?;
            let mut words = line.split_whitespace();
            let (user, item) = match (words.next(), words.next(), words.next()) {
                (None, ..) => continue,
                (Some(user), Some(item), None) => (user, item),
                _ => {
                    return Err(fault(format!(
                        "{} words where `user item` must be",
                        line.split_whitespace().count()
                    )));
                }
            };
            let user = match users.get(user) {
                Some(&user) => user,
                None => {
                    users.insert(user.to_owned(), sequences.histories.len());
                    sequences.histories.push(Vec::new());
                    sequences.histories.len() - 1
                }
            };
            let item = match numbers.entry(item.to_owned()) {
                Entry::Occupied(number) => *number.get(),
                Entry::Vacant(slot) => {
                    sequences.items.push(item.to_owned());
                    *slot.insert(sequences.items.len() as u32 - 1)
                }
            };
            sequences.histories[user].push(item);
        }
        if sequences.splits().next().is_none() {
            let reason = format!("no user has the {SHORTEST} items that training and testing need");
            return Err(RankingError::Sequences { path: path.to_owned(), line: 1, reason });
        }
        Ok(sequences)
    }

    /// Of everyone whose history is long enough.
    pub fn splits(&self) -> impl Iterator<Item = Split<'_>> {
        self.histories.iter().filter_map(|history| Split::of(history))
    }

    /// SHA-256, in hexadecimal, of what was read: what ties a checkpoint to its data.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        for item in &self.items {
            hash.update((item.len() as u64).to_le_bytes());
            hash.update(item);
        }
        for history in &self.histories {
            hash.update((history.len() as u64).to_le_bytes());
            for item in history {
                hash.update(item.to_le_bytes());
            }
        }
        format!("{:x}", hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Sequences> {
        Sequences::parse(text.as_bytes(), Path::new("log.txt"))
    }

    #[test]
    fn mixed_lines_keep_each_persons_order() {
        let sequences = parse("u a\nv b\nu b\n\nu\tc\nv a\n").unwrap();
        assert_eq!(sequences.items, ["a", "b", "c"]);
        assert_eq!(sequences.histories, [vec![0, 1, 2], vec![1, 0]]);
        let splits: Vec<_> = sequences.splits().collect();
        assert_eq!(splits, [Split { train: &[0], validation: 1, test: 2 }]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, line) in [("u a\nu\n", "line 2"), ("u a 3\n", "line 1"), ("u a\nu b\n", "no user")] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(line) && error.contains("log.txt"), "{error}");
        }
    }

    #[test]
    fn compressed_and_plain_files_read_alike() {
        use std::io::Write;
        let directory = tempfile::tempdir().unwrap();
        let (plain, packed) = (directory.path().join("a.txt"), directory.path().join("a.txt.gz"));
        std::fs::write(&plain, "u a\nu b\nu c\n").unwrap();
        let mut encoder =
            flate2::write::GzEncoder::new(File::create(&packed).unwrap(), flate2::Compression::fast());
        encoder.write_all(b"u a\nu b\nu c\n").unwrap();
        encoder.finish().unwrap();
        assert_eq!(Sequences::read(&plain).unwrap(), Sequences::read(&packed).unwrap());
    }
}
