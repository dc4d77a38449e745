//! The latents that the transformer learns from: scenes of the corpus enter and leave as performances, with
//! what is said of them.
//!
//! The sound autoencoder is frozen here and each scene is encoded once. What is seen comes from the corpus's own
//! record; timbres are the encoder's codes.

use burn::tensor::{Device, Tensor};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::seed::derive;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::TrainError;
use super::sound::{impact_wave, normalised};
use crate::model::latents::{Measure, Normalisation};
use crate::model::sound::{SoundAutoencoder, spectra};
use crate::model::text::PROMPT_WORDS;
use crate::performance::{Figure, Impact, Performance, Utterance};
use crate::phyworld::{Domain, GRAVITY, RELEASED_GRAVITY, Task};
use crate::size::ModelConfig;
use crate::words::Vocabulary;
use crate::world::{FRAMES, Family, Scene, caption};

/// After how many scenes a `PhyWorld` episode follows.
const PHYWORLD_EVERY: u64 = 6;
/// Scenes that are encoded at once.
const CHUNK: u64 = 256;
/// Wordings kept of each scene's caption.
const WORDINGS: usize = 4;
/// Clips that the normalisation is measured on.
const MEASURED: usize = 4096;
/// An impact quieter than this is not heard.
const FAINTEST_LOUDNESS: f32 = -5.5;

/// Clips in latent space with their captions.
#[derive(Debug)]
pub(crate) struct LatentSet {
    pub(super) clips: Vec<Clip>,
    pub(crate) normalisation: Normalisation,
}

/// One clip, and what is said of it.
#[derive(Debug)]
pub(super) struct Clip {
    pub(super) performance: Performance,
    pub(super) wordings: [[i32; PROMPT_WORDS]; WORDINGS],
}

/// One scene of the corpus, not drawn, and sentences that say what happens.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) scene: Scene,
    pub(crate) sentences: Vec<String>,
}

/// The scene at an index of the corpus of `seed`.
pub(crate) fn tell(seed: u64, index: u64) -> Told {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(index);
    let scene_seed = rng.random();
    tell_family(Family::of(scene_seed), scene_seed)
}

/// A scene of one family.
pub(crate) fn tell_family(family: Family, scene_seed: u64) -> Told {
    let scene = family.sample(scene_seed);
    let mut rng = ChaCha8Rng::seed_from_u64(scene_seed ^ 0x7e11);
    let sentences = (0..WORDINGS).map(|_| caption::caption(&scene, &mut rng)).collect();
    Told { scene, sentences }
}

/// What the model is told of a `PhyWorld` task.
pub(crate) fn phyworld_caption(task: Task) -> &'static str {
    match task {
        Task::UniformMotion => "phyworld uniform",
        Task::Collision => "phyworld collide",
        Task::Parabola => "phyworld parabola",
    }
}

/// The frozen autoencoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoders<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) sound: &'a SoundAutoencoder,
    pub(crate) device: &'a Device,
}

impl Encoders<'_> {
    /// What happens in some scenes, with the codes of how they look and sound.
    pub(crate) fn perform(&self, scenes: &[&Scene]) -> Vec<Performance> {
        let waves: Vec<(Vec<f32>, f32)> = scenes
            .par_iter()
            .flat_map_iter(|scene| {
                scene.contacts.iter().map(|contact| normalised(&impact_wave(contact, scene.seed)))
            })
            .collect();

        let mut timbres = waves.chunks(256).flat_map(|chunk| {
            let chunk: Vec<&[f32]> = chunk.iter().map(|(wave, _)| wave.as_slice()).collect();
            rows(self.sound.encode(spectra(&chunk, self.device).magnitudes()))
        });
        let mut levels = waves.iter().map(|(_, loudness)| *loudness);
        scenes
            .iter()
            .map(|scene| {
                let mut actors: [Option<Figure>; crate::world::ACTORS] = Default::default();
                for (figure, actor) in actors.iter_mut().zip(&scene.actors) {
                    *figure = Some(Figure { body: actor.body, look: actor.look, track: actor.track.clone() });
                }
                let impacts = scene.contacts.iter().zip(levels.by_ref().zip(timbres.by_ref()));
                let impacts = impacts
                    .map(|(contact, (loudness, timbre))| Impact { time_s: contact.time_s, loudness, timbre })
                    .filter(|impact| impact.loudness > FAINTEST_LOUDNESS);
                Performance {
                    shot: scene.shot,
                    stage: scene.stage,
                    frames: FRAMES,
                    actors,
                    impacts: impacts.collect(),
                    utterance: scene.speech.as_ref().map(|speech| Utterance {
                        speaker: speech.speaker,
                        voice: speech.voice,
                        frames: speech.frames(),
                    }),
                }
            })
            .collect()
    }
}

fn rows(matrix: Tensor<2>) -> Vec<Vec<f32>> {
    let width = matrix.dims()[1];
    let values: Vec<f32> = matrix.try_into_vec_as::<f32>().unwrap_or_default();
    values.chunks_exact(width).map(<[f32]>::to_vec).collect()
}

/// Encodes the first `clips` scenes of the corpus of `seed`.
pub(crate) fn encode(
    seed: u64,
    clips: u64,
    encoders: Encoders<'_>,
    mode: Mode,
    interrupt: &Interrupt,
) -> Result<LatentSet, TrainError> {
    let vocabulary = Vocabulary::of_corpus();
    let mut progress = Progress::new("latents", clips, mode);
    let mut encoded: Vec<Clip> = Vec::with_capacity(clips as usize);
    for start in (0..clips).step_by(CHUNK as usize) {
        if interrupt.is_set() {
            return Err(TrainError::Interrupted { stage: "latents", step: start });
        }
        let end = (start + CHUNK).min(clips);
        let told: Vec<Told> = (start..end).into_par_iter().map(|index| tell(seed, index)).collect();
        let scenes: Vec<&Scene> = told.iter().map(|told| &told.scene).collect();
        encoded.extend(encoders.perform(&scenes).into_iter().zip(&told).map(|(performance, told)| {
            let mut wordings = told.sentences.iter().map(|sentence| vocabulary.numbers(sentence));
            Clip { performance, wordings: std::array::from_fn(|_| wordings.next().unwrap_or_default()) }
        }));
        encoded.extend((start..end).filter(|index| index.is_multiple_of(PHYWORLD_EVERY)).map(|index| {
            let task = Task::ALL[(index / PHYWORLD_EVERY / 2) as usize % Task::ALL.len()];
            let gravity = if index.is_multiple_of(2 * PHYWORLD_EVERY) { GRAVITY } else { RELEASED_GRAVITY };
            let episode =
                task.sample_under(gravity, Domain::InDistribution, derive(seed, "phyworld") ^ index);
            Clip {
                performance: Performance::of_episode(&episode),
                wordings: [vocabulary.numbers(phyworld_caption(task)); WORDINGS],
            }
        }));
        progress.set(end, "clips");
    }
    progress.finish(format!("{clips} clips encoded"));
    let mut measure = Measure::new(encoders.config.layout());
    for clip in encoded.iter().take(MEASURED) {
        let row = clip.performance.to_row(encoders.config);
        measure.add(&row.values, &row.weights);
    }
    Ok(LatentSet { clips: encoded, normalisation: measure.finish() })
}
