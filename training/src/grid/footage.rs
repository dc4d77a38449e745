//! Where clips come from: footage enters, takes of the model's size, rate and length leave, with captions.
//!
//! A long clip gives several takes, a short one holds its last picture. INVARIANT: the same footage gives the
//! same items in the same order; every item is either read or told as skipped with a reason.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kinora_harness::seed::derive;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::GridError;
use super::config::{ClipShape, GridConfig, SAMPLES_PER_LATENT};
use super::phyworld::shown;
use crate::clip::Clip;
use crate::clips::{CaptionedClip, Clips, Skipped, chain, read_folder};
use crate::media::decode::{DecodeOptions, decode};
use crate::media::portrait;
use crate::phyworld::{Domain, Task, draw};
use crate::shards::{ShardClip, ShardReader};
use crate::train::latents::phyworld_caption;
use crate::world::{Corpus, Name, SAMPLE_RATE, draw as world_draw};

/// Takes that one clip gives at most.
const MOST_TAKES: usize = 4;
/// Endings of a portrait beside a clip.
const PORTRAITS: [&str; 3] = ["png", "jpg", "jpeg"];
/// The largest portrait that is read, in bytes.
const MAX_PORTRAIT_BYTES: u64 = 16 << 20;

/// What is learned from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Footage {
    /// The first clips of the physics world of a seed.
    World { seed: u64, clips: u64 },
    /// A folder of MP4 and WebM files with captions. A picture `NAME.png` or `NAME.jpg` beside `NAME.mp4` is
    /// a portrait of whom it shows.
    Folder(PathBuf),
    /// Shards in the `WebDataset` layout.
    Shards(PathBuf),
    /// The first episodes of `PhyWorld` in distribution, of all its tasks in turn.
    PhyWorld { seed: u64, clips: u64, gravity: f64 },
}

impl Footage {
    /// What tells this footage from any other, as far as it can be told without decoding.
    pub(crate) fn fingerprint(&self) -> Result<String, GridError> {
        let mut hash = Sha256::new();
        hash.update(format!("{self:?}"));
        match self {
            Self::World { .. } | Self::PhyWorld { .. } => {}
            Self::Folder(dir) => {
                let read = |source| GridError::Footage { path: dir.clone(), source };
                let mut files = Vec::new();
                for entry in fs::read_dir(dir).map_err(read)? {
                    let entry = entry.map_err(read)?;
                    files.push((entry.file_name(), entry.metadata().map_err(read)?.len()));
                }
                files.sort();
                hash.update(format!("{files:?}"));
            }
            Self::Shards(dir) => {
                let manifest = dir.join("manifest.json");
                let read = |source| GridError::Footage { path: manifest.clone(), source };
                io::copy(&mut File::open(&manifest).map_err(read)?, &mut hash).map_err(read)?;
            }
        }
        Ok(format!("{:x}", hash.finalize()))
    }
}

/// Pictures and sound of one clip, as long as the model's.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Take {
    /// RGB8, `[time, height, width, 3]`.
    pub(crate) frames: Vec<u8>,
    /// As many as the sound latents cover.
    pub(crate) samples: Vec<f32>,
    /// Whether the clip has a sound track.
    pub(crate) is_heard: bool,
    pub(crate) caption: String,
    /// Portraits of whom it shows, RGB8.
    pub(crate) references: Vec<Vec<u8>>,
}

/// Footage, item by item.
#[derive(Debug)]
pub(crate) struct Reel {
    config: GridConfig,
    source: Source,
    /// Items in the footage.
    items: u64,
    next: u64,
    /// What was left out before any clip was looked at.
    skipped_first: Vec<Skipped>,
}

#[derive(Debug)]
enum Source {
    World { corpus: Corpus },
    Folder { dir: PathBuf, clips: Clips, names: Vec<String> },
    Shards { reader: Box<ShardReader> },
    PhyWorld { seed: u64, gravity: f64 },
}

/// An item that was looked at: its takes, or why there are none.
pub(crate) type Looked = Result<Vec<Take>, Skipped>;

impl Reel {
    pub(crate) fn open(footage: &Footage, config: &GridConfig, seed: u64) -> Result<Self, GridError> {
        let seed = derive(seed, "footage");
        let mut skipped_first = Vec::new();
        let (source, items) = match footage {
            Footage::World { seed, clips } => {
                let side = config.clip.width.max(config.clip.height);
                (Source::World { corpus: Corpus::new(*seed, side) }, *clips)
            }
            Footage::PhyWorld { seed, clips, gravity } => {
                (Source::PhyWorld { seed: *seed, gravity: *gravity }, *clips)
            }
            Footage::Folder(dir) => {
                let mut clips = read_folder(dir, options(&config.clip))?;
                skipped_first.extend_from_slice(clips.skipped());
                let mut names = clips.take_names();
                names.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
                let items = names.len() as u64;
                (Source::Folder { dir: dir.clone(), clips, names }, items)
            }
            Footage::Shards(dir) => {
                let reader = Box::new(ShardReader::open(dir, seed)?);
                let items = reader.manifest().clips;
                (Source::Shards { reader }, items)
            }
        };
        Ok(Self { config: *config, source, items, next: 0, skipped_first })
    }

    /// Items in the footage, as far as it says.
    pub(crate) fn items(&self) -> u64 {
        self.items
    }

    /// What was left out that is no item (lines of captions, damaged shards), and how many clips each cost.
    pub(crate) fn skipped_beside(&self) -> Vec<(u64, Skipped)> {
        let mut skipped: Vec<_> = self.skipped_first.iter().map(|skip| (1, skip.clone())).collect();
        if let Source::Shards { reader } = &self.source {
            skipped.extend(reader.skipped().iter().map(|skip| {
                let (name, reason) = (skip.name.clone(), skip.reason.clone());
                (skip.clips, Skipped { name, reason })
            }));
        }
        skipped
    }

    /// Passes over items that were looked at before.
    pub(crate) fn pass(&mut self, items: u64) {
        if let Source::Shards { reader } = &mut self.source {
            reader.by_ref().take(items as usize).for_each(drop);
        }
        self.next += items;
    }

    /// Looks at the next `count` items; none are left where fewer come back.
    pub(crate) fn look(&mut self, count: u64) -> Vec<Looked> {
        let (from, to) = (self.next.min(self.items), (self.next + count).min(self.items));
        self.next += count;
        let config = &self.config;
        match &mut self.source {
            Source::World { corpus } => {
                (from..to).into_par_iter().map(|index| world(corpus, index, config)).collect()
            }
            Source::PhyWorld { seed, gravity } => (from..to)
                .into_par_iter()
                .map(|index| Ok(vec![phyworld(*seed, *gravity, index, &config.clip)]))
                .collect(),
            Source::Folder { dir, clips, names } => (from..to)
                .into_par_iter()
                .filter_map(|index| names.get(index as usize))
                .map(|name| {
                    folder(dir, clips, name, config).map_err(|reason| Skipped { name: name.clone(), reason })
                })
                .collect(),
            Source::Shards { reader } => {
                // After the last clip the reader may give an error where there was none: so do we.
                let clips: Vec<ShardClip> = reader.take(count as usize).filter_map(Result::ok).collect();
                clips.into_par_iter().map(|clip| shard(clip, config)).collect()
            }
        }
    }
}

fn options(clip: &ClipShape) -> DecodeOptions {
    DecodeOptions {
        width: clip.width as u32,
        height: clip.height as u32,
        fps: clip.fps,
        sample_rate: SAMPLE_RATE,
        max_seconds: MOST_TAKES as f64 * clip.seconds(),
    }
}

fn world(corpus: &Corpus, index: u64, config: &GridConfig) -> Looked {
    let mut sample = corpus.sample(index);
    let ClipShape { width, height, .. } = config.clip;
    if width != height {
        sample.clip.frames = world_draw::render(&sample.scene, width, height);
        (sample.clip.width, sample.clip.height) = (width, height);
    }
    let cameos = sample.scene.actors.iter().filter(|actor| actor.name == Name::Cameo);
    let references: Vec<Vec<u8>> = cameos
        .take(config.flow.references)
        .map(|actor| world_draw::portrait(&actor.look, config.flow.reference_side))
        .collect();
    takes(&sample.clip, &sample.caption, &references, &config.clip)
        .map_err(|reason| Skipped { name: index.to_string(), reason })
}

fn phyworld(seed: u64, gravity: f64, index: u64, shape: &ClipShape) -> Take {
    let task = Task::ALL[(index % Task::ALL.len() as u64) as usize];
    let episode = task.sample_under(gravity, Domain::InDistribution, derive(seed, "train") ^ index);
    let side = shape.width;
    Take {
        frames: shown(&draw(&episode, side), side, shape.frames),
        samples: vec![0.0; shape.sound_latents() * SAMPLES_PER_LATENT],
        is_heard: false,
        caption: phyworld_caption(task).to_owned(),
        references: Vec::new(),
    }
}

fn folder(dir: &Path, clips: &Clips, name: &str, config: &GridConfig) -> Result<Vec<Take>, String> {
    let CaptionedClip { caption, clip, .. } = clips.read(name)?;
    let mut references = Vec::new();
    if config.flow.references > 0 {
        let beside = PORTRAITS.map(|ending| dir.join(name).with_extension(ending));
        if let Some(path) = beside.iter().find(|path| path.is_file()) {
            references.push(read_portrait(path, config.flow.reference_side)?);
        }
    }
    takes(&clip, &caption, &references, &config.clip)
}

fn read_portrait(path: &Path, side: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PORTRAIT_BYTES).read_to_end(&mut bytes))
        .map_err(|error| format!("its portrait cannot be read: {error}"))?;
    portrait(&bytes, side).map_err(|error| format!("its portrait: {}", chain(&error)))
}

fn shard(clip: ShardClip, config: &GridConfig) -> Looked {
    let decoded = decode(clip.mp4.as_slice(), options(&config.clip)).map_err(|error| chain(&error));
    decoded
        .and_then(|decoded| takes(&decoded, &clip.caption, &[], &config.clip))
        .map_err(|reason| Skipped { name: clip.key, reason })
}

/// Cuts a clip of the right size and rates into takes.
fn takes(clip: &Clip, caption: &str, references: &[Vec<u8>], shape: &ClipShape) -> Result<Vec<Take>, String> {
    let (count, frame) = (clip.frame_count(), clip.frame_len());
    if count * 2 < shape.frames {
        return Err(format!("shorter than half of {:.1} s", shape.seconds()));
    }
    let samples_of = |frames: usize| frames * SAMPLE_RATE as usize / shape.fps.max(1) as usize;
    let whole = (count / shape.frames).clamp(1, MOST_TAKES);
    Ok((0..whole)
        .map(|index| {
            let first = index * shape.frames;
            let mut frames: Vec<u8> =
                clip.frames.iter().skip(first * frame).take(shape.frames * frame).copied().collect();
            let last = frames.len().saturating_sub(frame);
            while frames.len() < shape.bytes() {
                frames.extend_from_within(last..last + frame);
            }
            let length = shape.sound_latents() * SAMPLES_PER_LATENT;
            let mut samples: Vec<f32> =
                clip.samples.iter().skip(samples_of(first)).take(length).copied().collect();
            samples.resize(length, 0.0);
            Take {
                frames,
                samples,
                is_heard: !clip.samples.is_empty(),
                caption: caption.to_owned(),
                references: references.to_vec(),
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::config::tests::tiny;
    use crate::grid::phyworld::SHOWN_FRAMES;
    use crate::media::{EncodeOptions, encode_mp4, picture_png};
    use crate::shards::{ShardError, ShardOptions, write_shards};

    fn reel(footage: &Footage) -> Reel {
        Reel::open(footage, &tiny(), 1).unwrap()
    }

    fn mp4(frames: usize, side: usize) -> Vec<u8> {
        let mut clip = Corpus::new(5, side).sample(0).clip;
        clip.frames.truncate(frames * side * side * 3);
        clip.samples.truncate(frames * 500);
        let options = EncodeOptions { size: (side as u32, side as u32), ..EncodeOptions::default() };
        encode_mp4(&clip, options).unwrap()
    }

    #[test]
    fn every_source_gives_takes_of_the_models_size() {
        let root = tempfile::tempdir().unwrap();
        let (folder, shards) = (root.path().join("clips"), root.path().join("shards"));
        fs::create_dir(&folder).unwrap();
        for (name, frames) in [("a", 12), ("b", 20), ("c", 3)] {
            fs::write(folder.join(name).with_extension("mp4"), mp4(frames, 48)).unwrap();
            fs::write(folder.join(name).with_extension("txt"), "a ball").unwrap();
        }
        fs::write(folder.join("a.png"), picture_png(&[200; 20 * 10 * 3], 20, 10).unwrap()).unwrap();
        fs::write(folder.join("d.mp4"), b"no film").unwrap();
        fs::write(folder.join("d.txt"), "a ball").unwrap();
        let shard_options = ShardOptions { max_clips: 1, max_bytes: 1 << 20, seed: 0 };
        write_shards::<ShardError>(&shards, shard_options, |writer| {
            writer.add("one", &mp4(12, 48), "a ball", ())?;
            writer.add("two", b"no film", "a ball", ())
        })
        .unwrap();
        let sources = [
            (Footage::World { seed: 3, clips: 2 }, 2 * MOST_TAKES, 0, true),
            (Footage::PhyWorld { seed: 3, clips: 3, gravity: 9.8 }, 3, 0, false),
            // One take of `a`, two of `b`; `c` is too short, `d` no film.
            (Footage::Folder(folder), 3, 2, true),
            (Footage::Shards(shards), 1, 1, true),
        ];
        for (footage, expected, skips, is_heard) in sources {
            let mut config = tiny();
            if matches!(footage, Footage::PhyWorld { .. }) {
                config.clip.frames = SHOWN_FRAMES;
            }
            let mut reel = Reel::open(&footage, &config, 1).unwrap();
            let items = reel.items();
            let looked = reel.look(items + 3);
            assert_eq!(looked.len() as u64, items);
            assert!(reel.look(1).is_empty());
            let skipped: Vec<&Skipped> = looked.iter().filter_map(|looked| looked.as_ref().err()).collect();
            assert_eq!(skipped.len(), skips, "{skipped:?}");
            assert!(skipped.iter().all(|skip| !skip.reason.contains('\n')));
            let takes: Vec<&Take> =
                looked.iter().filter_map(|looked| looked.as_ref().ok()).flatten().collect();
            assert_eq!(takes.len(), expected, "{footage:?}");
            for take in takes {
                assert_eq!(take.frames.len(), config.clip.bytes());
                assert_eq!(take.samples.len(), config.clip.sound_latents() * SAMPLES_PER_LATENT);
                assert_eq!(take.is_heard, is_heard);
                assert!(!take.caption.is_empty());
                assert!(take.references.iter().all(|pixels| pixels.len() == 16 * 16 * 3));
            }
        }
    }

    #[test]
    fn passing_over_items_gives_the_rest() {
        let footage = Footage::World { seed: 3, clips: 5 };
        let all = reel(&footage).look(5);
        let mut later = reel(&footage);
        later.pass(3);
        assert_eq!(later.look(5), all[3..]);
    }

    #[test]
    fn other_footage_has_another_fingerprint() {
        let root = tempfile::tempdir().unwrap();
        let footage = Footage::Folder(root.path().to_owned());
        let empty = footage.fingerprint().unwrap();
        fs::write(root.path().join("a.mp4"), b"x").unwrap();
        assert_ne!(footage.fingerprint().unwrap(), empty);
        assert_eq!(footage.fingerprint().unwrap(), footage.fingerprint().unwrap());
        let missing = Footage::Shards(root.path().join("nowhere")).fingerprint().unwrap_err();
        assert!(missing.to_string().contains("nowhere"), "{missing}");
    }
}
