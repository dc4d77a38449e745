//! The corpus as files: `WebDataset` shards of MP4 clips, each with its caption and its scene.
//!
//! A directory, a count and a seed go in; `shard-000000.tar`.. and `manifest.json` come out. In a shard lie
//! `KEY.mp4` and `KEY.json`, which holds the caption and, as facts, the whole scene: bodies, tracks, contacts
//! and speech. INVARIANT: the directory appears complete or not at all, and the same seed gives the same bytes.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Corpus, Sample};
use crate::media::{self, EncodeOptions, MediaError};
use crate::shards::{ShardError, ShardManifest, ShardOptions, write_shards};

/// What to render.
#[derive(Clone, Copy, Debug)]
pub struct ExportOptions {
    pub count: u64,
    pub seed: u64,
    /// Width and height of the pictures.
    pub size: usize,
    /// The most clips in a shard.
    pub shard_clips: usize,
}

/// Bytes of a shard at most.
const SHARD_BYTES: u64 = 512 << 20;

/// Why a corpus could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{} exists already: choose a new directory", path.display())]
    Exists { path: PathBuf },
    #[error("cannot draw clips of {size}x{size} pixels: choose an even size from 16 to 1024")]
    Size { size: usize },
    #[error("cannot encode clip {clip}")]
    Encode { clip: u64, source: MediaError },
    #[error(transparent)]
    Shard(#[from] ShardError),
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
) -> Result<ShardManifest, ExportError> {
    if std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) || dir.is_file() {
        return Err(ExportError::Exists { path: dir.to_owned() });
    }
    if !options.size.is_multiple_of(2) || !(16..=1024).contains(&options.size) {
        return Err(ExportError::Size { size: options.size });
    }
    let corpus = Corpus::new(options.seed, options.size);
    // A batch is as much as is held in memory, and the grain of progress.
    let batch = rayon::current_num_threads().max(1) as u64 * 2;
    let shards = ShardOptions { max_clips: options.shard_clips, max_bytes: SHARD_BYTES, seed: options.seed };
    write_shards(dir, shards, |shards| {
        let mut done = 0;
        while done < options.count {
            if progress(done, options.count).is_break() {
                return Err(ExportError::Interrupted { done });
            }
            let end = (done + batch).min(options.count);
            let rendered: Vec<(Sample, Vec<u8>)> =
                (done..end).into_par_iter().map(|clip| render(clip, &corpus)).collect::<Result<_, _>>()?;
            for (clip, (sample, mp4)) in (done..end).zip(&rendered) {
                shards.add(&format!("{clip:08}"), mp4, &sample.caption, &sample.scene)?;
            }
            done = end;
        }
        // Nothing is left to do; a break here would come too late.
        let _ = progress(done, options.count);
        Ok(())
    })
}

fn render(clip: u64, corpus: &Corpus) -> Result<(Sample, Vec<u8>), ExportError> {
    let sample = corpus.sample(clip);
    let size = (sample.clip.width as u32, sample.clip.height as u32);
    // Clips are encoded side by side, so one thread each.
    let options = EncodeOptions { size, threads: 1, ..EncodeOptions::default() };
    let mp4 =
        media::encode_mp4(&sample.clip, options).map_err(|source| ExportError::Encode { clip, source })?;
    Ok((sample, mp4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::ShardReader;
    use crate::world::Scene;

    fn options() -> ExportOptions {
        ExportOptions { count: 3, seed: 4, size: 16, shard_clips: 2 }
    }

    fn go_on(_: u64, _: u64) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn shards_hold_the_clips_with_their_scenes() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("corpus");
        let manifest = render_to(&dir, options(), &mut go_on).unwrap();
        assert_eq!((manifest.clips, manifest.shards.len()), (3, 2));
        let mut seen = 0;
        for clip in ShardReader::open(&dir, 0).unwrap() {
            let clip = clip.unwrap();
            let index: u64 = clip.key.parse().unwrap();
            let sample = Corpus::new(4, 16).sample(index);
            assert_eq!(clip.caption, sample.caption);
            let scene: Scene = serde_json::from_value(clip.facts).unwrap();
            assert_eq!(scene.event, sample.scene.event);
            assert_eq!(scene.contacts.len(), sample.scene.contacts.len());
            assert_eq!(media::probe(&clip.mp4).unwrap().width, 16);
            seen += 1;
        }
        assert_eq!(seen, 3);
        assert!(matches!(render_to(&dir, options(), &mut go_on), Err(ExportError::Exists { .. })));
    }

    #[test]
    fn an_interrupted_rendering_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("corpus");
        let stopped = render_to(&dir, options(), &mut |_, _| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(ExportError::Interrupted { done: 0 })));
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
    }
}
