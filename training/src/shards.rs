//! Shards in the WebDataset layout: encoded clips with their captions go in, `shard-000000.tar`.. and a
//! `manifest.json` come out; and back, in a seeded order.
//!
//! INVARIANT: the directory appears complete or not at all, and the same clips give the same bytes. A reader
//! gives only what matches the manifest's SHA-256; the rest is counted as skipped with a reason.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use kinora_harness::CODE_VERSION;
use kinora_harness::publish::{self, FileError};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

const MANIFEST: &str = "manifest.json";
const FORMAT: u32 = 1;
/// The largest shard in bytes; a reader holds one in memory.
pub const MAX_SHARD_BYTES: u64 = 1 << 30;
/// The largest manifest that is read.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;
/// Tar counts in blocks of so many bytes, and ends with two empty ones.
const BLOCK: u64 = 512;

/// How clips are divided, and what the manifest says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardOptions {
    /// The most clips in a shard.
    pub max_clips: usize,
    /// The most bytes in a shard, unless one clip alone takes more.
    pub max_bytes: u64,
    /// The seed that the clips were made or ordered with.
    pub seed: u64,
}

/// What a directory of shards is, written as `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardManifest {
    /// Format version, 1.
    pub format: u32,
    pub code_version: String,
    pub seed: u64,
    pub clips: u64,
    pub bytes: u64,
    pub shards: Vec<ShardEntry>,
}

/// One shard in the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    pub file: String,
    pub clips: u64,
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

/// The content of `KEY.json`.
#[derive(Serialize, Deserialize)]
struct Facts<V> {
    caption: String,
    facts: V,
}

/// Why shards could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    #[error("a shard must hold from 1 clip and from 1 to {MAX_SHARD_BYTES} bytes")]
    Options,
    #[error("`{key}` cannot name a clip in a shard: use 1 to 80 letters, digits, `-` and `_`, once")]
    Key { key: String },
    #[error("the clip `{key}` is larger than {MAX_SHARD_BYTES} bytes")]
    Large { key: String },
    #[error("what is known of the clip `{key}` cannot be written as JSON")]
    Facts { key: String, source: serde_json::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{} does not describe shards", path.display())]
    Manifest { path: PathBuf, source: serde_json::Error },
    #[error("{} does not describe shards: {reason}", path.display())]
    ManifestContent { path: PathBuf, reason: &'static str },
    #[error("none of the {count} clips in {} can be read; {first}: {reason}", path.display())]
    NothingReadable { path: PathBuf, count: u64, first: String, reason: String },
}

/// Writes the directory `dir` out of the clips that `fill` adds, replacing what was there.
pub fn write_shards<E: From<ShardError>>(
    dir: &Path,
    options: ShardOptions,
    fill: impl FnOnce(&mut ShardWriter) -> Result<(), E>,
) -> Result<ShardManifest, E> {
    if options.max_clips == 0 || !(1..=MAX_SHARD_BYTES).contains(&options.max_bytes) {
        return Err(ShardError::Options.into());
    }
    let mut manifest = None;
    let written = publish::write_directory(dir, |scratch| {
        let mut writer = ShardWriter::new(scratch, options);
        fill(&mut writer).map_err(Stopped::Caller)?;
        manifest = Some(writer.finish()?);
        Ok(())
    });
    match (written, manifest) {
        (Ok(()), Some(manifest)) => Ok(manifest),
        (Ok(()), None) => Err(ShardError::Options.into()),
        (Err(Stopped::Caller(error)), _) => Err(error),
        (Err(Stopped::Shard(error)), _) => Err(error.into()),
    }
}

/// What ended the writing: the caller's error or ours.
enum Stopped<E> {
    Caller(E),
    Shard(ShardError),
}

impl<E, S: Into<ShardError>> From<S> for Stopped<E> {
    fn from(error: S) -> Self {
        Self::Shard(error.into())
    }
}

/// Adds clips to shards; [`write_shards`] makes one.
#[derive(Debug)]
pub struct ShardWriter {
    dir: PathBuf,
    options: ShardOptions,
    keys: HashSet<String>,
    shards: Vec<ShardEntry>,
    current: Option<OpenShard>,
}

struct OpenShard {
    path: PathBuf,
    clips: u64,
    tar: tar::Builder<Hashing<BufWriter<File>>>,
}

impl fmt::Debug for OpenShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenShard")
            .field("path", &self.path)
            .field("clips", &self.clips)
            .finish_non_exhaustive()
    }
}

impl ShardWriter {
    fn new(dir: &Path, options: ShardOptions) -> Self {
        Self { dir: dir.to_owned(), options, keys: HashSet::new(), shards: Vec::new(), current: None }
    }

    /// Adds an encoded clip under a name of its own, with its caption and what else is known of it.
    pub fn add(
        &mut self,
        key: &str,
        mp4: &[u8],
        caption: &str,
        facts: impl Serialize,
    ) -> Result<(), ShardError> {
        // A dot would end the key, for every reader of this layout.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=80).contains(&key.len()) || !key.bytes().all(is_plain) || !self.keys.insert(key.to_owned()) {
            return Err(ShardError::Key { key: key.to_owned() });
        }
        let facts = Facts { caption: caption.to_owned(), facts };
        let json =
            serde_json::to_vec(&facts).map_err(|source| ShardError::Facts { key: key.to_owned(), source })?;
        let bytes = stored(mp4.len()) + stored(json.len());
        if bytes + 2 * BLOCK > MAX_SHARD_BYTES {
            return Err(ShardError::Large { key: key.to_owned() });
        }
        let is_full = self.current.as_ref().is_some_and(|shard| {
            shard.clips >= self.options.max_clips as u64
                || shard.tar.get_ref().bytes + bytes + 2 * BLOCK > self.options.max_bytes
        });
        if is_full {
            self.close()?;
        }
        let shard = match &mut self.current {
            Some(shard) => shard,
            None => self.current.insert(OpenShard::create(&self.dir, self.shards.len())?),
        };
        shard.clips += 1;
        shard.append(&format!("{key}.mp4"), mp4)?;
        shard.append(&format!("{key}.json"), &json)
    }

    fn close(&mut self) -> Result<(), ShardError> {
        if let Some(shard) = self.current.take() {
            self.shards.push(shard.finish()?);
        }
        Ok(())
    }

    fn finish(mut self) -> Result<ShardManifest, ShardError> {
        self.close()?;
        let manifest = ShardManifest {
            format: FORMAT,
            code_version: CODE_VERSION.to_owned(),
            seed: self.options.seed,
            clips: self.shards.iter().map(|shard| shard.clips).sum(),
            bytes: self.shards.iter().map(|shard| shard.bytes).sum(),
            shards: self.shards,
        };
        let path = self.dir.join(MANIFEST);
        let json = serde_json::to_vec_pretty(&manifest)
            .map_err(|source| ShardError::Manifest { path: path.clone(), source })?;
        publish::write_file(&path, &json)?;
        Ok(manifest)
    }
}

/// What a file of so many bytes takes in a tar.
fn stored(bytes: usize) -> u64 {
    BLOCK + (bytes as u64).next_multiple_of(BLOCK)
}

fn shard_name(index: usize) -> String {
    format!("shard-{index:06}.tar")
}

impl OpenShard {
    fn create(dir: &Path, index: usize) -> Result<Self, ShardError> {
        let path = dir.join(shard_name(index));
        let file = File::create(&path).map_err(FileError::at("create", &path))?;
        let sink = Hashing { sink: BufWriter::new(file), hash: Sha256::new(), bytes: 0 };
        Ok(Self { path, clips: 0, tar: tar::Builder::new(sink) })
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> Result<(), ShardError> {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        // No times, no owners: the same clips give the same bytes.
        header.set_mtime(0);
        let appended = self.tar.append_data(&mut header, name, bytes);
        Ok(appended.map_err(FileError::at("write", &self.path))?)
    }

    fn finish(self) -> Result<ShardEntry, ShardError> {
        let Self { path, clips, tar } = self;
        let finished = tar.into_inner().and_then(|Hashing { sink, hash, bytes }| {
            sink.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
            Ok((format!("{:x}", hash.finalize()), bytes))
        });
        let (sha256, bytes) = finished.map_err(FileError::at("write", &path))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(ShardEntry { file, clips, bytes, sha256 })
    }
}

/// Hashes and counts what passes through.
struct Hashing<W> {
    sink: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.sink.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

/// An encoded clip out of a shard.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardClip {
    pub key: String,
    pub mp4: Vec<u8>,
    pub caption: String,
    /// What else the writer knew.
    pub facts: Value,
}

/// What was left out of a shard, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedShard {
    /// The shard's file, or the clip in it as `FILE/KEY`.
    pub name: String,
    /// How many clips were lost.
    pub clips: u64,
    pub reason: String,
}

/// The clips of a directory of shards: the shards in a seeded order, the clips as they lie in them.
///
/// After the last clip, an error where there was none.
#[derive(Debug)]
pub struct ShardReader {
    dir: PathBuf,
    manifest: ShardManifest,
    waiting: VecDeque<ShardEntry>,
    clips: VecDeque<ShardClip>,
    skipped: Vec<SkippedShard>,
    read: u64,
    is_over: bool,
}

impl ShardReader {
    /// Reads the manifest; the shards are read as their clips are taken.
    pub fn open(dir: &Path, seed: u64) -> Result<Self, ShardError> {
        publish::recover(dir)?;
        let path = dir.join(MANIFEST);
        let mut json = Vec::new();
        File::open(&path)
            .and_then(|file| file.take(MAX_MANIFEST_BYTES).read_to_end(&mut json))
            .map_err(FileError::at("read", &path))?;
        let manifest: ShardManifest = serde_json::from_slice(&json)
            .map_err(|source| ShardError::Manifest { path: path.clone(), source })?;
        let wrong = |reason| Err(ShardError::ManifestContent { path: path.clone(), reason });
        if manifest.format != FORMAT {
            return wrong("it is of another format");
        }
        let named = |(index, shard): (usize, &ShardEntry)| shard.file == shard_name(index);
        if !manifest.shards.iter().enumerate().all(named) {
            return wrong("its shards are not numbered in order");
        }
        if manifest.shards.is_empty() {
            return wrong("it lists no shards");
        }
        let mut order = manifest.shards.clone();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        Ok(Self {
            dir: dir.to_owned(),
            manifest,
            waiting: order.into(),
            clips: VecDeque::new(),
            skipped: Vec::new(),
            read: 0,
            is_over: false,
        })
    }

    pub fn manifest(&self) -> &ShardManifest {
        &self.manifest
    }

    /// What was left out so far.
    pub fn skipped(&self) -> &[SkippedShard] {
        &self.skipped
    }

    fn load(&mut self, shard: &ShardEntry) {
        let mut skip = |name: String, clips: u64, reason: String| {
            self.skipped.push(SkippedShard { name, clips, reason });
        };
        match verified(&self.dir.join(&shard.file), shard) {
            Err(reason) => skip(shard.file.clone(), shard.clips, reason),
            Ok(bytes) => {
                for (key, clip) in unpacked(&bytes) {
                    match clip {
                        Ok(clip) => self.clips.push_back(clip),
                        Err(reason) => skip(format!("{}/{key}", shard.file), 1, reason),
                    }
                }
            }
        }
    }
}

impl Iterator for ShardReader {
    type Item = Result<ShardClip, ShardError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(clip) = self.clips.pop_front() {
                self.read += 1;
                return Some(Ok(clip));
            }
            let Some(shard) = self.waiting.pop_front() else { break };
            self.load(&shard);
        }
        let is_first_end = !std::mem::replace(&mut self.is_over, true);
        let first = self.skipped.first().filter(|_| is_first_end && self.read == 0)?;
        Some(Err(ShardError::NothingReadable {
            path: self.dir.clone(),
            count: self.skipped.iter().map(|skip| skip.clips).sum(),
            first: first.name.clone(),
            reason: first.reason.clone(),
        }))
    }
}

/// The bytes of a shard that is what the manifest says.
fn verified(path: &Path, shard: &ShardEntry) -> Result<Vec<u8>, String> {
    let length = fs::metadata(path).map_err(|error| format!("cannot be read: {error}"))?.len();
    if length != shard.bytes {
        return Err(format!("has {length} bytes, the manifest says {}", shard.bytes));
    }
    if length > MAX_SHARD_BYTES {
        return Err(format!("is larger than {MAX_SHARD_BYTES} bytes"));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    File::open(path)
        .and_then(|file| file.take(length).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if format!("{:x}", Sha256::digest(&bytes)) != shard.sha256 {
        return Err("does not match its SHA-256: it was damaged or changed".to_owned());
    }
    Ok(bytes)
}

/// The two files of a clip, as far as they were found.
#[derive(Default)]
struct Parts {
    mp4: Option<Vec<u8>>,
    json: Option<Vec<u8>>,
}

/// The clips in a shard in the order of their first files, or why not.
fn unpacked(bytes: &[u8]) -> Vec<(String, Result<ShardClip, String>)> {
    let mut found: Vec<(String, Parts)> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut end = None;
    let mut archive = tar::Archive::new(Cursor::new(bytes));
    match archive.entries() {
        Err(error) => end = Some(error),
        // Raw: what a header says of sparse or long entries is not acted on.
        Ok(entries) => {
            for entry in entries.raw(true) {
                match entry.and_then(file) {
                    Ok(Some((key, extension, content))) => {
                        let place = *places.entry(key.clone()).or_insert(found.len());
                        if place == found.len() {
                            found.push((key, Parts::default()));
                        }
                        if let Some((_, parts)) = found.get_mut(place) {
                            let part = if extension == "mp4" { &mut parts.mp4 } else { &mut parts.json };
                            *part = Some(content);
                        }
                    }
                    Ok(None) => {}
                    Err(error) => {
                        end = Some(error);
                        break;
                    }
                }
            }
        }
    }
    let mut clips: Vec<_> = found.into_iter().map(|(key, parts)| (key.clone(), joined(key, parts))).collect();
    if let Some(error) = end {
        clips.push(("..".to_owned(), Err(format!("the rest cannot be read: {error}"))));
    }
    clips
}

/// The key, the extension and the content of an entry, if it is a file of a clip.
fn file(mut entry: tar::Entry<'_, Cursor<&[u8]>>) -> io::Result<Option<(String, String, Vec<u8>)>> {
    let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
    let (Some((key, extension)), true) = (name.split_once('.'), entry.header().entry_type().is_file()) else {
        return Ok(None);
    };
    if extension != "mp4" && extension != "json" {
        return Ok(None);
    }
    let mut content = Vec::new();
    entry.read_to_end(&mut content)?;
    if content.len() as u64 != entry.size() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("`{name}` is cut short")));
    }
    Ok(Some((key.to_owned(), extension.to_owned(), content)))
}

fn joined(key: String, parts: Parts) -> Result<ShardClip, String> {
    let mp4 = parts.mp4.ok_or("has no .mp4")?;
    let json = parts.json.ok_or("has no .json")?;
    let Facts { caption, facts } =
        serde_json::from_slice(&json).map_err(|error| format!("its .json cannot be read: {error}"))?;
    Ok(ShardClip { key, mp4, caption, facts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const OPTIONS: ShardOptions = ShardOptions { max_clips: 3, max_bytes: 1 << 20, seed: 7 };

    fn content(index: usize) -> Vec<u8> {
        (0..index * 300).map(|byte| (byte * 7 + index) as u8).collect()
    }

    fn fill(writer: &mut ShardWriter, clips: usize) -> Result<(), ShardError> {
        (0..clips).try_for_each(|index| {
            writer.add(
                &format!("{index:04}"),
                &content(index),
                &format!("clip {index}"),
                json!({ "n": index }),
            )
        })
    }

    fn written(root: &Path, options: ShardOptions, clips: usize) -> (PathBuf, ShardManifest) {
        let dir = root.join("shards");
        let manifest = write_shards(&dir, options, |writer| fill(writer, clips)).unwrap();
        (dir, manifest)
    }

    fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect();
        files.sort();
        files
    }

    #[test]
    fn clips_come_back_as_they_went_in() {
        let root = tempfile::tempdir().unwrap();
        let (dir, manifest) = written(root.path(), OPTIONS, 8);
        let counts: Vec<u64> = manifest.shards.iter().map(|shard| shard.clips).collect();
        assert_eq!((manifest.clips, counts, manifest.seed), (8, vec![3, 3, 2], 7));
        let mut reader = ShardReader::open(&dir, 1).unwrap();
        assert_eq!(*reader.manifest(), manifest);
        let mut clips: Vec<ShardClip> = reader.by_ref().map(Result::unwrap).collect();
        assert!(reader.skipped().is_empty() && reader.next().is_none());
        clips.sort_by(|a, b| a.key.cmp(&b.key));
        let expected = (0..8).map(|index| ShardClip {
            key: format!("{index:04}"),
            mp4: content(index),
            caption: format!("clip {index}"),
            facts: json!({ "n": index }),
        });
        assert!(clips.into_iter().eq(expected));
    }

    #[test]
    fn the_order_is_the_seeds() {
        let root = tempfile::tempdir().unwrap();
        let (dir, _) = written(root.path(), ShardOptions { max_clips: 1, ..OPTIONS }, 12);
        let order = |seed| -> Vec<String> {
            ShardReader::open(&dir, seed).unwrap().map(|clip| clip.unwrap().key).collect()
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn the_same_clips_give_the_same_bytes() {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [one, two] = roots.each_ref().map(|root| files(&written(root.path(), OPTIONS, 5).0));
        assert_eq!(one, two);
        assert_eq!(
            one.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["manifest.json", "shard-000000.tar", "shard-000001.tar"]
        );
    }

    #[test]
    fn a_shard_keeps_to_its_bytes() {
        let root = tempfile::tempdir().unwrap();
        let options = ShardOptions { max_clips: 99, max_bytes: 8192, ..OPTIONS };
        let (dir, manifest) = written(root.path(), options, 12);
        assert!(manifest.shards.len() > 2);
        for shard in &manifest.shards {
            assert!(shard.bytes <= 8192, "{shard:?}");
            assert_eq!(fs::metadata(dir.join(&shard.file)).unwrap().len(), shard.bytes);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_flipped_byte_is_a_counted_skip(at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let root = tempfile::tempdir().unwrap();
            let (dir, _) = written(root.path(), OPTIONS, 8);
            let path = dir.join("shard-000001.tar");
            let mut bytes = fs::read(&path).unwrap();
            *at.get_mut(&mut bytes) ^= flip;
            fs::write(&path, bytes).unwrap();
            let mut reader = ShardReader::open(&dir, 3).unwrap();
            prop_assert_eq!(reader.by_ref().map(Result::unwrap).count(), 5);
            let [skip] = reader.skipped() else { return Err(TestCaseError::fail("not one skip")) };
            prop_assert_eq!((skip.name.as_str(), skip.clips), ("shard-000001.tar", 3));
            prop_assert!(skip.reason.contains("SHA-256"));
        }

        #[test]
        fn any_bytes_are_unpacked_without_a_panic(
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
            length in any::<prop::sample::Index>(),
        ) {
            let root = tempfile::tempdir().unwrap();
            let (dir, _) = written(root.path(), OPTIONS, 3);
            let mut bytes = fs::read(dir.join("shard-000000.tar")).unwrap();
            *at.get_mut(&mut bytes) ^= flip;
            bytes.truncate(length.index(bytes.len()));
            prop_assert!(unpacked(&bytes).len() <= 4);
        }
    }

    /// Replaces the only shard by other bytes, which the manifest then vouches for.
    fn vouched(dir: &Path, bytes: &[u8]) {
        let path = dir.join(MANIFEST);
        let mut manifest: ShardManifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        manifest.shards[0].bytes = bytes.len() as u64;
        manifest.shards[0].sha256 = format!("{:x}", Sha256::digest(bytes));
        fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
        fs::write(dir.join("shard-000000.tar"), bytes).unwrap();
    }

    #[test]
    fn incomplete_clips_are_counted_one_by_one() {
        let root = tempfile::tempdir().unwrap();
        let (dir, _) = written(root.path(), OPTIONS, 1);
        let mut tar = tar::Builder::new(Vec::new());
        let mut append = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        append("whole.mp4", b"1");
        append("whole.json", br#"{"caption": "a", "facts": null}"#);
        append("whole.txt", b"of another program");
        append("alone.mp4", b"2");
        append("odd.json", b"{}");
        append("odd.mp4", b"3");
        let bytes = tar.into_inner().unwrap();
        vouched(&dir, &bytes);
        let mut reader = ShardReader::open(&dir, 0).unwrap();
        let keys: Vec<String> = reader.by_ref().map(|clip| clip.unwrap().key).collect();
        assert_eq!(keys, ["whole"]);
        let names: Vec<&str> = reader.skipped().iter().map(|skip| skip.name.as_str()).collect();
        assert_eq!(names, ["shard-000000.tar/alone", "shard-000000.tar/odd"]);
        // A shard that ends early keeps what came before.
        vouched(&dir, &bytes[..512 * 5 + 100]);
        let mut reader = ShardReader::open(&dir, 0).unwrap();
        assert_eq!(reader.by_ref().map(Result::unwrap).count(), 1);
        assert!(reader.skipped().last().unwrap().reason.contains("the rest"));
    }

    #[test]
    fn shards_that_are_all_lost_are_an_error() {
        let root = tempfile::tempdir().unwrap();
        let (dir, _) = written(root.path(), OPTIONS, 4);
        fs::write(dir.join("shard-000000.tar"), b"short").unwrap();
        fs::remove_file(dir.join("shard-000001.tar")).unwrap();
        let mut reader = ShardReader::open(&dir, 0).unwrap();
        let message = reader.next().unwrap().unwrap_err().to_string();
        assert!(message.contains("none of the 4 clips"), "{message}");
        assert!(reader.next().is_none());
    }

    #[test]
    fn a_manifest_that_points_elsewhere_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let (dir, mut manifest) = written(root.path(), OPTIONS, 1);
        manifest.shards[0].file = "../elsewhere.tar".to_owned();
        fs::write(dir.join(MANIFEST), serde_json::to_vec(&manifest).unwrap()).unwrap();
        assert!(matches!(ShardReader::open(&dir, 0), Err(ShardError::ManifestContent { .. })));
        fs::write(dir.join(MANIFEST), b"{").unwrap();
        assert!(matches!(ShardReader::open(&dir, 0), Err(ShardError::Manifest { .. })));
        assert!(matches!(ShardReader::open(&root.path().join("nowhere"), 0), Err(ShardError::File(_))));
    }

    #[test]
    fn a_key_is_plain_and_used_once() {
        let root = tempfile::tempdir().unwrap();
        for keys in [&["a", "a"][..], &["a.b"], &["../a"], &[""], &["é"]] {
            let dir = root.path().join("shards");
            let refused: Result<_, ShardError> = write_shards(&dir, OPTIONS, |writer| {
                keys.iter().try_for_each(|key| writer.add(key, b"", "", ()))
            });
            assert!(matches!(refused, Err(ShardError::Key { .. })), "{keys:?}");
            assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_nothing_or_what_was_there() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, b"in the way").unwrap();
        let blocked = write_shards(&file.join("shards"), OPTIONS, |writer| fill(writer, 2));
        assert!(blocked.unwrap_err().to_string().contains("file"));
        let (dir, _) = written(root.path(), OPTIONS, 4);
        let before = files(&dir);
        let failed: Result<_, ShardError> = write_shards(&dir, OPTIONS, |writer| {
            fill(writer, 2)?;
            Err(ShardError::Options)
        });
        assert!(failed.is_err());
        assert!(files(&dir) == before);
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error_that_leaves_no_half_directory() {
        let root = tempfile::tempdir().unwrap();
        let full = write_shards(&root.path().join("shards"), OPTIONS, |writer| {
            // The second shard meets a device that is always full.
            std::os::unix::fs::symlink("/dev/full", writer.dir.join("shard-000001.tar")).unwrap();
            fill(writer, 6)
        });
        let Err(ShardError::File(error)) = full else { panic!("a full disk was not noticed") };
        assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().contains("shard-000001.tar"), "{error}");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
