//! The latent cache: clips of the corpus enter as scenes, motions and captions, and leave as rows of latents.
//!
//! The autoencoders are frozen here and each clip is encoded once. Tracks and onsets come from the corpus's
//! own record of the motion; looks, places and timbres are the encoders' codes. INVARIANT: the cache on disk
//! belongs to the autoencoders beside it: it is written whole, once.

use std::fs;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::publish::{FileError, write_directory, write_file};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::TrainError;
use super::picture::{place_picture, portrait};
use super::sound::{impact_wave, normalised};
use crate::corpus::{Family, Motion, Scene, caption};
use crate::model::latents::{BALLS, Normalisation};
use crate::model::picture::PictureAutoencoder;
use crate::model::sound::{SoundAutoencoder, spectra};
use crate::model::text::PROMPT_WORDS;
use crate::performance::{BallLooks, Impact, Performance, Pose, hoop_place};
use crate::size::ModelConfig;
use crate::words::Vocabulary;

/// Clips that are encoded at once.
const CHUNK: u64 = 128;
/// Wordings kept of each clip's caption.
const WORDINGS: usize = 4;
/// An impact quieter than this is not heard.
const FAINTEST_LOUDNESS: f32 = -5.5;

/// Clips in latent space, normalised, with their captions.
#[derive(Debug)]
pub(super) struct LatentCache {
    /// One clip after another.
    pub(super) rows: Vec<f32>,
    pub(super) captions: Vec<Captions>,
    pub(super) normalisation: Normalisation,
}

/// What is said of one clip.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Captions {
    pub(super) wordings: [[i32; PROMPT_WORDS]; WORDINGS],
    /// Whether the first ball is known by its reference picture alone.
    pub(super) cameo: bool,
}

/// One clip of the corpus, not drawn: its scene, what happens, and sentences that say so.
pub(crate) struct Told {
    pub(crate) scene: Scene,
    pub(crate) motion: Motion,
    pub(crate) sentences: Vec<String>,
}

/// The clip at an index of the corpus of `seed`.
pub(crate) fn tell(seed: u64, index: u64) -> Told {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    let scene_seed = rng.random();
    tell_family(Scene::family_of(scene_seed), scene_seed)
}

/// A clip of one family.
pub(crate) fn tell_family(family: Family, scene_seed: u64) -> Told {
    let (scene, motion) = Scene::sample_with_motion(family, scene_seed);
    let mut rng = ChaCha8Rng::seed_from_u64(scene_seed ^ 0x7e11);
    let sentences = (0..WORDINGS).map(|_| caption(&scene, &mut rng)).collect();
    Told { scene, motion, sentences }
}

/// The two frozen autoencoders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoders<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) picture: &'a PictureAutoencoder,
    pub(crate) sound: &'a SoundAutoencoder,
    pub(crate) device: &'a Device,
}

impl Encoders<'_> {
    /// What happens in some clips, with the codes of how it looks and sounds.
    pub(crate) fn perform(&self, told: &[Told]) -> Vec<Performance> {
        let portraits: Vec<Vec<f32>> = told
            .par_iter()
            .flat_map_iter(|told| told.scene.balls.iter().map(|ball| portrait(ball.skin)))
            .collect();
        let places: Vec<Vec<f32>> = told.par_iter().map(|told| place_picture(&told.scene)).collect();
        let waves: Vec<(Vec<f32>, f32)> = told
            .par_iter()
            .flat_map_iter(|told| {
                told.motion.contacts.iter().map(|contact| normalised(&impact_wave(&told.scene, contact)))
            })
            .collect();

        let mut skins = rows(self.picture.encode_skins(self.matrix(&portraits))).into_iter();
        let mut scenes = rows(self.picture.encode_scenes(self.matrix(&places))).into_iter();
        let mut timbres = waves.chunks(256).flat_map(|chunk| {
            let chunk: Vec<&[f32]> = chunk.iter().map(|(wave, _)| wave.as_slice()).collect();
            rows(self.sound.encode(spectra(&chunk, self.device).magnitudes()))
        });
        let mut levels = waves.iter().map(|(_, loudness)| *loudness);
        told.iter()
            .map(|told| {
                let mut balls: [Option<BallLooks>; BALLS] = Default::default();
                for (looks, ball) in balls.iter_mut().zip(&told.scene.balls) {
                    *looks = skins.next().map(|skin| BallLooks { radius_m: ball.radius_m, skin });
                }
                let impacts = told.motion.contacts.iter().zip(levels.by_ref().zip(timbres.by_ref()));
                let impacts = impacts
                    .map(|(contact, (loudness, timbre))| Impact { time_s: contact.time_s, loudness, timbre })
                    .filter(|impact| impact.loudness > FAINTEST_LOUDNESS);
                Performance {
                    poses: poses(&told.motion),
                    balls,
                    hoop: told.scene.hoop.as_ref().map(hoop_place),
                    scene: scenes.next().unwrap_or_default(),
                    impacts: impacts.collect(),
                }
            })
            .collect()
    }

    fn matrix(&self, rows: &[Vec<f32>]) -> Tensor<2> {
        let width = rows.first().map_or(1, Vec::len);
        Tensor::from_data(TensorData::new(rows.concat(), [rows.len(), width]), self.device)
    }
}

fn rows(matrix: Tensor<2>) -> Vec<Vec<f32>> {
    let width = matrix.dims()[1];
    let values: Vec<f32> = matrix.try_into_vec_as::<f32>().unwrap_or_default();
    values.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

fn poses(motion: &Motion) -> Vec<[Pose; BALLS]> {
    let pose = |states: &[crate::corpus::State], ball: usize| {
        states.get(ball).map_or_else(Pose::default, |state| Pose {
            x_m: state.x_m,
            y_m: state.y_m,
            angle_rad: state.angle_rad,
        })
    };
    motion.frames.iter().map(|states| std::array::from_fn(|ball| pose(states, ball))).collect()
}

/// How many clips of which corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) seed: u64,
    pub(super) clips: u64,
}

/// Reads the cache in `directory`, or encodes the clips and writes it.
pub(super) fn load_or_encode(
    directory: &Path,
    extent: Extent,
    encoders: Encoders<'_>,
    progress: Mode,
    interrupt: &Interrupt,
) -> Result<LatentCache, TrainError> {
    if directory.is_dir() {
        return read(directory, extent, encoders.config);
    }
    let cache = encode(extent, encoders, progress, interrupt)?;
    write(directory, &cache)?;
    Ok(cache)
}

fn encode(
    extent: Extent,
    encoders: Encoders<'_>,
    mode: Mode,
    interrupt: &Interrupt,
) -> Result<LatentCache, TrainError> {
    let vocabulary = Vocabulary::of_corpus();
    let widths = encoders.config.latent_widths();
    let mut progress = Progress::new("latents", extent.clips, mode);
    let mut rows = Vec::with_capacity(extent.clips as usize * widths.total());
    let mut captions = Vec::with_capacity(extent.clips as usize);
    for start in (0..extent.clips).step_by(CHUNK as usize) {
        if interrupt.is_set() {
            return Err(TrainError::Interrupted { stage: "latents", step: start });
        }
        let end = (start + CHUNK).min(extent.clips);
        let told: Vec<Told> = (start..end).into_par_iter().map(|index| tell(extent.seed, index)).collect();
        for performance in encoders.perform(&told) {
            rows.extend(performance.to_row(encoders.config));
        }
        captions.extend(told.iter().map(|told| {
            let mut wordings = told.sentences.iter().map(|sentence| vocabulary.numbers(sentence));
            Captions {
                wordings: std::array::from_fn(|_| wordings.next().unwrap_or_default()),
                cameo: told.scene.balls.first().is_some_and(crate::corpus::Ball::is_cameo),
            }
        }));
        progress.set(end, "clips");
    }
    progress.finish(format!("{} clips encoded", extent.clips));
    let normalisation = Normalisation::measure(&rows, widths);
    normalisation.apply(&mut rows, widths);
    Ok(LatentCache { rows, captions, normalisation })
}

fn write(directory: &Path, cache: &LatentCache) -> Result<(), TrainError> {
    write_directory(directory, |scratch| {
        let bytes: Vec<u8> = cache.rows.iter().flat_map(|value| value.to_le_bytes()).collect();
        write_file(&scratch.join("rows.f32"), &bytes)?;
        kinora_harness::checkpoint::write_state(
            &scratch.join("clips.json"),
            &(&cache.captions, &cache.normalisation),
        )
        .map_err(TrainError::from)
    })
}

fn read(directory: &Path, extent: Extent, config: &ModelConfig) -> Result<LatentCache, TrainError> {
    let path = directory.join("rows.f32");
    let bytes = fs::read(&path).map_err(FileError::at("read", &path))?;
    let (captions, normalisation): (Vec<Captions>, Normalisation) =
        kinora_harness::checkpoint::read_state(&directory.join("clips.json"))?;
    let expected = extent.clips as usize * config.latent_widths().total() * size_of::<f32>();
    if bytes.len() != expected || captions.len() as u64 != extent.clips {
        return Err(TrainError::ForeignCache { path: directory.to_owned() });
    }
    let rows = bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
    Ok(LatentCache { rows, captions, normalisation })
}
