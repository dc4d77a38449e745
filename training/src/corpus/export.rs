//! The corpus as files: MP4 clips, and beside them what is known about each, as JSON lines.
//!
//! A directory, a count and a seed go in; `clips/000000.mp4`..., `captions.jsonl`, `trajectories.jsonl`,
//! `contacts.jsonl` and `manifest.json` come out. INVARIANT: the directory appears complete or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::{Contact, Corpus, FPS, FRAMES, Family, Outcome, SAMPLE_RATE, Sample, State};
use crate::media::{self, EncodeOptions, MediaError};

/// What to render.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions {
    pub count: u64,
    pub seed: u64,
    /// Width and height of the pictures.
    pub size: usize,
}

/// What a rendered corpus is, written as `manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusManifest {
    /// Format version, 1.
    pub format: u32,
    pub code_version: String,
    pub seed: u64,
    pub clips: u64,
    pub size: usize,
    pub fps: u32,
    pub frames: usize,
    pub sample_rate: u32,
    /// Every file that holds a row a clip.
    pub tables: Vec<String>,
}

/// A line of `captions.jsonl`.
#[derive(Serialize)]
struct CaptionRow<'a> {
    clip: u64,
    file: String,
    caption: &'a str,
    family: Family,
    outcome: Outcome,
    /// Portrait beside the clip, when the caption names a cameo.
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

/// A line of `trajectories.jsonl`: states as `[frame][ball]`, in metres and seconds.
#[derive(Serialize)]
struct TrajectoryRow<'a> {
    clip: u64,
    radius_m: Vec<f32>,
    frames: &'a [Vec<State>],
}

/// A line of `contacts.jsonl`.
#[derive(Serialize)]
struct ContactRow<'a> {
    clip: u64,
    contacts: &'a [Contact],
}

/// Why a corpus could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{} exists already: choose a new directory", path.display())]
    Exists { path: PathBuf },
    #[error("cannot draw clips of {size}x{size} pixels: choose an even size from 16 to 1024")]
    Size { size: usize },
    #[error("cannot write {}", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot encode clip {clip}")]
    Encode { clip: u64, source: MediaError },
    #[error("cannot write {}", path.display())]
    Row { path: PathBuf, source: serde_json::Error },
    #[error("interrupted after {done} clips: nothing was kept")]
    Interrupted { done: u64 },
}

/// Renders `options.count` clips into a new directory.
///
/// `progress` is told how many clips are done and how many there are; a break stops the work.
pub fn render_to(
    dir: &Path,
    options: ExportOptions,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<CorpusManifest, ExportError> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        return Err(ExportError::Exists { path: dir.to_owned() });
    }
    if !options.size.is_multiple_of(2) || !(16..=1024).contains(&options.size) {
        return Err(ExportError::Size { size: options.size });
    }
    let staging = staging_path(dir);
    let written = write_all(&staging, options, progress).and_then(|manifest| {
        // An empty directory may stand in the way of the rename on some systems.
        if dir.is_dir() {
            fs::remove_dir(dir).map_err(write_error(dir))?;
        }
        fs::rename(&staging, dir).map_err(write_error(dir))?;
        Ok(manifest)
    });
    if written.is_err() {
        // Best effort: the first error is the one worth reporting.
        fs::remove_dir_all(&staging).ok();
    }
    written
}

fn staging_path(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    dir.with_file_name(name)
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> ExportError + use<'_> {
    move |source| ExportError::Write { path: path.to_owned(), source }
}

fn write_all(
    dir: &Path,
    options: ExportOptions,
    progress: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<CorpusManifest, ExportError> {
    let clips = dir.join("clips");
    fs::create_dir_all(&clips).map_err(write_error(&clips))?;
    let mut captions = Table::create(dir, "captions.jsonl")?;
    let mut trajectories = Table::create(dir, "trajectories.jsonl")?;
    let mut contacts = Table::create(dir, "contacts.jsonl")?;
    let corpus = Corpus::new(options.seed, options.size);
    // A batch is as much as is held in memory, and the grain of progress.
    let batch = rayon::current_num_threads().max(1) as u64 * 2;
    let mut done = 0;
    while done < options.count {
        if progress(done, options.count).is_break() {
            return Err(ExportError::Interrupted { done });
        }
        let end = (done + batch).min(options.count);
        let rendered: Vec<_> = (done..end)
            .into_par_iter()
            .map(|clip| write_clip(&clips, clip, &corpus, options.size))
            .collect::<Result<_, _>>()?;
        for (clip, sample) in (done..end).zip(&rendered) {
            captions.push(&CaptionRow {
                clip,
                file: format!("clips/{clip:06}.mp4"),
                caption: &sample.caption,
                family: sample.scene.family,
                outcome: sample.scene.outcome,
                reference: sample.reference.is_some().then(|| format!("clips/{clip:06}.cameo.png")),
            })?;
            trajectories.push(&TrajectoryRow {
                clip,
                radius_m: sample.scene.balls.iter().map(|ball| ball.radius_m).collect(),
                frames: &sample.motion.frames,
            })?;
            contacts.push(&ContactRow { clip, contacts: &sample.motion.contacts })?;
        }
        done = end;
    }
    let tables = [captions, trajectories, contacts];
    let manifest = CorpusManifest {
        format: 1,
        code_version: env!("CARGO_PKG_VERSION").to_owned(),
        seed: options.seed,
        clips: options.count,
        size: options.size,
        fps: FPS,
        frames: FRAMES,
        sample_rate: SAMPLE_RATE,
        tables: tables.into_iter().map(Table::finish).collect::<Result<_, _>>()?,
    };
    let path = dir.join("manifest.json");
    let json = serde_json::to_vec_pretty(&manifest)
        .map_err(|source| ExportError::Row { path: path.clone(), source })?;
    fs::write(&path, json).map_err(write_error(&path))?;
    // Nothing is left to do; a break here would come too late.
    let _ = progress(done, options.count);
    Ok(manifest)
}

fn write_clip(clips: &Path, clip: u64, corpus: &Corpus, size: usize) -> Result<Sample, ExportError> {
    let sample = corpus.sample(clip);
    let side = size as u32;
    // Clips are encoded side by side, so one thread each.
    let options = EncodeOptions { size: (side, side), threads: 1, ..EncodeOptions::default() };
    let encode = |source| ExportError::Encode { clip, source };
    let path = clips.join(format!("{clip:06}.mp4"));
    fs::write(&path, media::encode_mp4(&sample.clip, options).map_err(encode)?)
        .map_err(write_error(&path))?;
    if let Some(reference) = &sample.reference {
        let path = clips.join(format!("{clip:06}.cameo.png"));
        let png =
            media::picture_png(reference, super::REFERENCE_SIDE, super::REFERENCE_SIDE).map_err(encode)?;
        fs::write(&path, png).map_err(write_error(&path))?;
    }
    Ok(sample)
}

/// A JSON lines file.
struct Table {
    name: String,
    path: PathBuf,
    out: BufWriter<File>,
}

impl Table {
    fn create(dir: &Path, name: &str) -> Result<Self, ExportError> {
        let path = dir.join(name);
        let out = BufWriter::new(File::create(&path).map_err(write_error(&path))?);
        Ok(Self { name: name.to_owned(), path, out })
    }

    fn push(&mut self, row: &impl Serialize) -> Result<(), ExportError> {
        serde_json::to_writer(&mut self.out, row)
            .map_err(|source| ExportError::Row { path: self.path.clone(), source })?;
        self.out.write_all(b"\n").map_err(write_error(&self.path))
    }

    fn finish(mut self) -> Result<String, ExportError> {
        self.out.flush().map_err(write_error(&self.path))?;
        Ok(self.name)
    }
}
