//! Latents on disk: encoded takes enter, parts of a few takes each leave, and back, one take at a time.
//!
//! A part is the length of a header, the header as JSON, the latents as half floats (little endian), and the
//! SHA-256 of all that. INVARIANT: a part appears whole or not at all, and one that is not what was written is
//! told at opening, before anything is learned from it.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use burn::tensor::f16;
use kinora_harness::publish::{FileError, write_file};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::GridError;
use super::config::GridConfig;

/// Bytes of a SHA-256.
const SHA_BYTES: usize = 32;
/// Bytes before the header: its length.
const LENGTH_BYTES: usize = 8;
/// Reasons that a part keeps for what it left out.
const KEPT_REASONS: usize = 16;

/// The latents of one take.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Encoded {
    pub(super) caption: String,
    pub(super) is_heard: bool,
    /// `[time, channels, height, width]`
    pub(super) picture: Vec<f32>,
    /// `[time, channels]`; nothing in a silent model.
    pub(super) sound: Vec<f32>,
    /// Each `[channels, height, width]`.
    pub(super) references: Vec<Vec<f32>>,
}

/// Latents of one take, whatever is to be known of it without reading them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) caption: String,
    pub(super) is_heard: bool,
    pub(super) references: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    /// Items of the footage that went into this part, those that were skipped included.
    items: u64,
    skipped: u64,
    /// The first of those, as `NAME: REASON`.
    reasons: Vec<String>,
    entries: Vec<Entry>,
}

/// What goes into a part.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) items: u64,
    pub(super) skipped: Vec<String>,
    pub(super) takes: Vec<Encoded>,
}

/// Numbers of the latents of a take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sizes {
    picture: usize,
    sound: usize,
    reference: usize,
}

impl Sizes {
    fn of(config: &GridConfig) -> Self {
        Self {
            picture: config.picture_numbers(),
            sound: config.sound_numbers(),
            reference: config.reference_numbers(),
        }
    }

    fn of_entry(self, entry: &Entry) -> usize {
        self.picture + self.sound + entry.references * self.reference
    }
}

/// Where the latents of a take lie.
#[derive(Debug)]
struct Place {
    part: usize,
    offset: u64,
}

/// The parts that were written so far.
#[derive(Debug)]
pub(super) struct Cache {
    directory: PathBuf,
    sizes: Sizes,
    files: Vec<Mutex<File>>,
    entries: Vec<Entry>,
    places: Vec<Place>,
    items: u64,
    skipped: u64,
    reasons: Vec<String>,
}

fn part_path(directory: &Path, index: usize) -> PathBuf {
    directory.join(format!("part-{index:06}.latents"))
}

impl Cache {
    /// Opens and verifies what lies in `directory`, which is made where it is missing.
    pub(super) fn open(directory: &Path, config: &GridConfig) -> Result<Self, GridError> {
        fs::create_dir_all(directory).map_err(FileError::at("create", directory))?;
        let mut cache = Self {
            directory: directory.to_owned(),
            sizes: Sizes::of(config),
            files: Vec::new(),
            entries: Vec::new(),
            places: Vec::new(),
            items: 0,
            skipped: 0,
            reasons: Vec::new(),
        };
        while part_path(directory, cache.files.len()).exists() {
            cache.admit()?;
        }
        Ok(cache)
    }

    /// Items of the footage that are in the cache, those that were skipped included.
    pub(super) fn items(&self) -> u64 {
        self.items
    }

    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Why, of the first few.
    pub(super) fn reasons(&self) -> &[String] {
        &self.reasons
    }

    /// Counts clips that were left out beside the items.
    pub(super) fn leave_out(&mut self, clips: u64, reason: String) {
        self.skipped += clips;
        if self.reasons.len() < KEPT_REASONS {
            self.reasons.push(reason);
        }
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Writes the next part.
    pub(super) fn add(&mut self, part: Part) -> Result<(), GridError> {
        let header = Header {
            items: part.items,
            skipped: part.skipped.len() as u64,
            reasons: part.skipped.into_iter().take(KEPT_REASONS).collect(),
            entries: part
                .takes
                .iter()
                .map(|take| Entry {
                    caption: take.caption.clone(),
                    is_heard: take.is_heard,
                    references: take.references.len(),
                })
                .collect(),
        };
        let path = part_path(&self.directory, self.files.len());
        let json = serde_json::to_vec(&header)
            .map_err(|_| GridError::Cache { path: path.clone(), reason: "its header cannot be written" })?;
        let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
        bytes.extend(json);
        for take in &part.takes {
            let references = take.references.iter().flatten();
            for &number in take.picture.iter().chain(&take.sound).chain(references) {
                bytes.extend(f16::from_f32(number).to_le_bytes());
            }
        }
        let digest = Sha256::digest(&bytes);
        bytes.extend(digest);
        write_file(&path, &bytes)?;
        self.admit()
    }

    /// Verifies the next part and takes note of what is in it.
    fn admit(&mut self) -> Result<(), GridError> {
        let index = self.files.len();
        let path = part_path(&self.directory, index);
        let damaged = |reason| GridError::Cache { path: path.clone(), reason };
        let bytes = fs::read(&path).map_err(FileError::at("read", &path))?;
        let (content, digest) =
            bytes.split_last_chunk::<SHA_BYTES>().ok_or_else(|| damaged("it is cut short"))?;
        if Sha256::digest(content).as_slice() != digest {
            return Err(damaged("it does not match its SHA-256"));
        }
        let (length, rest) =
            content.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| damaged("it has no header"))?;
        let length = u64::from_le_bytes(*length) as usize;
        let json = rest.get(..length).ok_or_else(|| damaged("its header is cut short"))?;
        let header: Header =
            serde_json::from_slice(json).map_err(|_| damaged("its header cannot be read"))?;
        let numbers: usize = header.entries.iter().map(|entry| self.sizes.of_entry(entry)).sum();
        if rest.len() - length != 2 * numbers {
            return Err(damaged("it holds latents of another model"));
        }
        let mut offset = (LENGTH_BYTES + length) as u64;
        for entry in header.entries {
            self.places.push(Place { part: index, offset });
            offset += 2 * self.sizes.of_entry(&entry) as u64;
            self.entries.push(entry);
        }
        self.items += header.items;
        self.skipped += header.skipped;
        self.reasons.extend(header.reasons);
        self.reasons.truncate(KEPT_REASONS);
        self.files.push(Mutex::new(File::open(&path).map_err(FileError::at("read", &path))?));
        Ok(())
    }

    /// The latents of a take; `None` beyond the last, or where the disk fails.
    pub(super) fn read(&self, index: usize) -> Option<Encoded> {
        let (entry, place) = (self.entries.get(index)?, self.places.get(index)?);
        let mut bytes = vec![0; 2 * self.sizes.of_entry(entry)];
        {
            let mut file = self.files.get(place.part)?.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(place.offset)).and_then(|_| file.read_exact(&mut bytes)).ok()?;
        }
        let mut numbers = bytes.as_chunks().0.iter().map(|pair| f16::from_le_bytes(*pair).to_f32());
        let mut next = |count: usize| -> Vec<f32> { numbers.by_ref().take(count).collect() };
        Some(Encoded {
            caption: entry.caption.clone(),
            is_heard: entry.is_heard,
            picture: next(self.sizes.picture),
            sound: next(self.sizes.sound),
            references: (0..entry.references).map(|_| next(self.sizes.reference)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::config::tests::tiny;

    fn take(index: usize, references: usize) -> Encoded {
        let sizes = Sizes::of(&tiny());
        let numbers = |count: usize| (0..count).map(|place| ((place + index) % 17) as f32 / 4.0).collect();
        Encoded {
            caption: format!("clip {index}"),
            is_heard: index.is_multiple_of(2),
            picture: numbers(sizes.picture),
            sound: numbers(sizes.sound),
            references: (0..references).map(|_| numbers(sizes.reference)).collect(),
        }
    }

    fn filled(directory: &Path) -> Cache {
        let mut cache = Cache::open(directory, &tiny()).unwrap();
        let skipped = vec!["x: no film".to_owned()];
        cache.add(Part { items: 3, skipped, takes: vec![take(0, 1), take(1, 0)] }).unwrap();
        cache.add(Part { items: 1, skipped: Vec::new(), takes: vec![take(2, 1)] }).unwrap();
        cache
    }

    #[test]
    fn latents_come_back_from_the_disk() {
        let root = tempfile::tempdir().unwrap();
        filled(root.path());
        let cache = Cache::open(root.path(), &tiny()).unwrap();
        assert_eq!((cache.items(), cache.skipped(), cache.entries().len()), (4, 1, 3));
        assert_eq!(cache.reasons(), ["x: no film"]);
        for (index, references) in [(0, 1), (1, 0), (2, 1)] {
            assert_eq!(cache.read(index), Some(take(index, references)));
        }
        assert_eq!(cache.read(3), None);
    }

    #[test]
    fn whatever_is_changed_in_a_part_is_told() {
        let root = tempfile::tempdir().unwrap();
        filled(root.path());
        let path = part_path(root.path(), 1);
        let whole = fs::read(&path).unwrap();
        let flipped = |place: usize| {
            let mut bytes = whole.clone();
            bytes[place] ^= 1;
            bytes
        };
        let damaged = [
            Vec::new(),
            whole[..whole.len() - 5].to_vec(),
            flipped(0),
            flipped(20),
            flipped(whole.len() - 1),
        ];
        for bytes in damaged {
            fs::write(&path, bytes).unwrap();
            let error = Cache::open(root.path(), &tiny()).unwrap_err().to_string();
            assert!(error.contains("part-000001") && !error.contains('\n'), "{error}");
        }
        fs::write(&path, whole).unwrap();
        let mut other = tiny();
        other.picture.channels += 1;
        let error = Cache::open(root.path(), &other).unwrap_err().to_string();
        assert!(error.contains("another model"), "{error}");
    }
}
