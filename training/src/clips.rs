//! A folder of anyone's clips: MP4 and WebM files with captions go in, decoded clips come out one by one.
//!
//! A caption is the text of `NAME.txt` beside `NAME.mp4`, or a line `{"file": "NAME.mp4", "caption": ".."}` of
//! `captions.jsonl`; the text file wins. INVARIANT: every clip and every
//! line of captions is either read or counted as skipped with a reason, and a folder that gives no clip at
//! all is an error.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use crate::clip::Clip;
use crate::media::decode::{self, DecodeOptions};

/// Files that are taken for clips.
const EXTENSIONS: [&str; 5] = ["mp4", "m4v", "mov", "webm", "mkv"];
const CAPTIONS: &str = "captions.jsonl";
/// The longest caption file, and the longest line of captions, in bytes.
const MAX_CAPTION_BYTES: u64 = 16 << 10;

/// A clip and what it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptionedClip {
    /// The file's path inside the folder, with `/` between its parts.
    pub name: String,
    pub caption: String,
    pub clip: Clip,
}

/// What was left out, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file's path inside the folder, or the line of captions.
    pub name: String,
    pub reason: String,
}

/// Why a folder gave no clips.
#[derive(Debug, thiserror::Error)]
pub enum ClipsError {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} holds no MP4 or WebM files", path.display())]
    Empty { path: PathBuf },
    #[error("none of the {count} clips in {} can be read; the first, {first}: {reason}", path.display())]
    NothingReadable { path: PathBuf, count: usize, first: String, reason: String },
}

/// The clips of one folder, in the order of their names.
///
/// After the last clip, an error where there was none.
#[derive(Debug)]
pub struct Clips {
    dir: PathBuf,
    options: DecodeOptions,
    waiting: VecDeque<String>,
    captions: BTreeMap<String, String>,
    skipped: Vec<Skipped>,
    read: usize,
    is_over: bool,
}

/// Lists a folder; its clips are decoded as they are taken.
pub fn read_folder(dir: &Path, options: DecodeOptions) -> Result<Clips, ClipsError> {
    let mut names = BTreeSet::new();
    let read = |source| ClipsError::Read { path: dir.to_owned(), source };
    for entry in fs::read_dir(dir).map_err(read)? {
        let name = entry.map_err(read)?.file_name();
        // A name that is not text cannot be captioned either.
        let name = name.to_string_lossy();
        if is_clip(&name) {
            names.insert(name.into_owned());
        }
    }
    let mut skipped = Vec::new();
    let captions = read_captions(&dir.join(CAPTIONS), &mut skipped)?;
    names.extend(captions.keys().cloned());
    if names.is_empty() && skipped.is_empty() {
        return Err(ClipsError::Empty { path: dir.to_owned() });
    }
    let waiting = names.into_iter().collect();
    Ok(Clips { dir: dir.to_owned(), options, waiting, captions, skipped, read: 0, is_over: false })
}

fn is_clip(name: &str) -> bool {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    !name.starts_with('.')
        && extension
            .is_some_and(|extension| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

impl Clips {
    /// What was left out so far.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// How many clips are still to be looked at.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// The names of all clips that are still to be looked at; whoever asks reads them one by one.
    pub(crate) fn take_names(&mut self) -> Vec<String> {
        std::mem::take(&mut self.waiting).into()
    }

    /// Reads one clip by its name, or says why not.
    pub(crate) fn read(&self, name: &str) -> Result<CaptionedClip, String> {
        let path = self.dir.join(name);
        let caption = match read_text(&path.with_extension("txt"))? {
            Some(text) => Some(text),
            None => self.captions.get(name).cloned(),
        };
        let caption = caption.ok_or_else(|| {
            format!(
                "no caption: write one into {} or {CAPTIONS}",
                Path::new(name).with_extension("txt").display()
            )
        })?;
        let caption = caption.split_whitespace().collect::<Vec<_>>().join(" ");
        if caption.is_empty() {
            return Err("an empty caption".to_owned());
        }
        let clip = decode::decode(path.as_path(), self.options).map_err(|error| chain(&error))?;
        Ok(CaptionedClip { name: name.to_owned(), caption, clip })
    }

    fn end(&mut self) -> Option<ClipsError> {
        let is_first_end = !std::mem::replace(&mut self.is_over, true);
        let first = self.skipped.first().filter(|_| is_first_end && self.read == 0)?;
        Some(ClipsError::NothingReadable {
            path: self.dir.clone(),
            count: self.skipped.len(),
            first: first.name.clone(),
            reason: first.reason.clone(),
        })
    }
}

impl Iterator for Clips {
    type Item = Result<CaptionedClip, ClipsError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(name) = self.waiting.pop_front() {
            match self.read(&name) {
                Ok(clip) => {
                    self.read += 1;
                    return Some(Ok(clip));
                }
                Err(reason) => self.skipped.push(Skipped { name, reason }),
            }
        }
        self.end().map(Err)
    }
}

/// A line of `captions.jsonl`; what else it says is for others.
#[derive(Deserialize)]
struct CaptionRow {
    file: String,
    caption: String,
}

fn read_captions(path: &Path, skipped: &mut Vec<Skipped>) -> Result<BTreeMap<String, String>, ClipsError> {
    let read = |source| ClipsError::Read { path: path.to_owned(), source };
    let mut lines = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        file => BufReader::new(file.map_err(read)?),
    };
    let mut captions = BTreeMap::new();
    for number in 1.. {
        let mut line = Vec::new();
        (&mut lines).take(MAX_CAPTION_BYTES).read_until(b'\n', &mut line).map_err(read)?;
        if line.is_empty() {
            break;
        }
        let mut skip =
            |reason: String| skipped.push(Skipped { name: format!("{CAPTIONS}:{number}"), reason });
        if line.len() as u64 == MAX_CAPTION_BYTES && !line.ends_with(b"\n") {
            skip(format!("a line longer than {MAX_CAPTION_BYTES} bytes"));
            lines.skip_until(b'\n').map_err(read)?;
        } else if !line.trim_ascii().is_empty() {
            match serde_json::from_slice::<CaptionRow>(&line) {
                Ok(row) if !is_inside(&row.file) => skip(format!("`{}` is not inside the folder", row.file)),
                Ok(row) => {
                    captions.insert(row.file, row.caption);
                }
                Err(error) => skip(format!("not a caption: {error}")),
            }
        }
    }
    Ok(captions)
}

/// Whether a path stays inside the folder that it is relative to.
fn is_inside(name: &str) -> bool {
    let mut parts = Path::new(name).components().peekable();
    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn read_text(path: &Path) -> Result<Option<String>, String> {
    let said = |error: io::Error| format!("its caption cannot be read: {error}");
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(said)?,
    };
    let mut text = String::new();
    file.take(MAX_CAPTION_BYTES + 1).read_to_string(&mut text).map_err(said)?;
    if text.len() as u64 > MAX_CAPTION_BYTES {
        return Err(format!("its caption is longer than {MAX_CAPTION_BYTES} bytes"));
    }
    Ok(Some(text))
}

/// An error with its causes, in one line.
/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{EncodeOptions, encode_mp4};
    use crate::world::Corpus;

    const OPTIONS: DecodeOptions =
        DecodeOptions { width: 16, height: 16, fps: 24, sample_rate: 12_000, max_seconds: 0.1 };

    fn mp4() -> Vec<u8> {
        let mut clip = Corpus::new(5, 16).sample(0).clip;
        clip.frames.truncate(clip.frame_len() * 3);
        clip.samples.truncate(1500);
        encode_mp4(&clip, EncodeOptions { size: (16, 16), threads: 1, ..EncodeOptions::default() }).unwrap()
    }

    fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        dir
    }

    fn skips(clips: &Clips) -> Vec<(&str, &str)> {
        clips.skipped().iter().map(|skip| (skip.name.as_str(), skip.reason.as_str())).collect()
    }

    #[test]
    fn good_clips_are_read_and_bad_ones_counted() {
        let mp4 = mp4();
        let dir = folder(&[
            ("b.mp4", &mp4),
            ("b.txt", b" a ball\n bounces\n"),
            ("a.MP4", &mp4),
            ("inner/c.mp4", &mp4),
            ("cut.mp4", &mp4[..mp4.len() - 9]),
            ("empty.mp4", b""),
            ("mute.mp4", &mp4),
            ("silent.mp4", &mp4),
            ("silent.txt", b" \n"),
            ("picture.webm", b"\x89PNG\r\n\x1a\n and so on"),
            ("picture.txt", b"a picture"),
            ("latin.mp4", &mp4),
            ("latin.txt", b"caf\xe9"),
            ("README.md", b"not a clip"),
            (".hidden.mp4", b""),
            (
                CAPTIONS,
                concat!(
                    r#"{"file": "a.MP4", "caption": "first", "family": "drop"}"#,
                    "\n\n",
                    r#"{"file": "b.mp4", "caption": "the text file wins"}"#,
                    "\n",
                    r#"{"file": "inner/c.mp4", "caption": "last"}"#,
                    "\nnot json\n",
                    r#"{"file": "../outside.mp4", "caption": "no"}"#,
                    "\n",
                    r#"{"file": "gone.mp4", "caption": "no"}"#,
                    "\n",
                    r#"{"file": "cut.mp4", "caption": "no"}"#,
                    "\n",
                    r#"{"file": "empty.mp4", "caption": "no"}"#,
                )
                .as_bytes(),
            ),
        ]);
        let mut clips = read_folder(dir.path(), OPTIONS).unwrap();
        assert_eq!(clips.waiting(), 10);
        let read: Vec<CaptionedClip> = clips.by_ref().map(Result::unwrap).collect();
        let said: Vec<_> = read.iter().map(|clip| (clip.name.as_str(), clip.caption.as_str())).collect();
        assert_eq!(said, [("a.MP4", "first"), ("b.mp4", "a ball bounces"), ("inner/c.mp4", "last")]);
        assert!(read.iter().all(|read| read.clip.frame_count() == 2));
        let skips = skips(&clips);
        let names: Vec<_> = skips.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "captions.jsonl:5",
                "captions.jsonl:6",
                "cut.mp4",
                "empty.mp4",
                "gone.mp4",
                "latin.mp4",
                "mute.mp4",
                "picture.webm",
                "silent.mp4"
            ]
        );
        let reason = |name: &str| skips.iter().find(|(skip, _)| *skip == name).unwrap().1;
        assert!(reason("captions.jsonl:6").contains("../outside.mp4"));
        assert!(reason("mute.mp4").contains("mute.txt"));
        assert!(reason("picture.webm").contains("neither an MP4 nor a WebM"));
        assert!(reason("gone.mp4").contains("cannot read"));
        assert!(skips.iter().all(|(_, reason)| !reason.contains('\n')));
        assert!(clips.next().is_none());
    }

    #[test]
    fn a_folder_without_a_readable_clip_is_an_error() {
        let empty = folder(&[("README.md", b"no clips")]);
        let error = read_folder(empty.path(), OPTIONS).unwrap_err();
        assert!(matches!(error, ClipsError::Empty { .. }));
        assert!(matches!(read_folder(Path::new("nowhere"), OPTIONS), Err(ClipsError::Read { .. })));
        let bad = folder(&[("a.mp4", b"no"), ("a.txt", b"no"), ("b.mp4", b"no")]);
        let mut clips = read_folder(bad.path(), OPTIONS).unwrap();
        let message = clips.next().unwrap().unwrap_err().to_string();
        assert!(message.contains("none of the 2") && message.contains("a.mp4"), "{message}");
        assert!(clips.next().is_none());
    }

    #[test]
    fn an_endless_line_of_captions_is_one_skip() {
        let endless = vec![b'x'; 100_000];
        let lines = [&endless[..], b"\n{\"file\": \"a.mp4\", \"caption\": \"a\"}\n"].concat();
        let dir = folder(&[(CAPTIONS, &lines), ("a.mp4", &mp4())]);
        let mut clips = read_folder(dir.path(), OPTIONS).unwrap();
        assert_eq!(clips.by_ref().map(Result::unwrap).count(), 1);
        assert_eq!(skips(&clips), [("captions.jsonl:1", "a line longer than 16384 bytes")]);
    }
}
