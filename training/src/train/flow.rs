//! Trains the transformer by rectified flow: encoded clips and captions enter, a model that draws clips leaves.
//!
//! Matrices inside the blocks are moved by Muon, everything else by `AdamW`; the weights that are kept are an
//! average over time. Some clips are shown with a part of them given (first frames, actors, sound), so that
//! the model also learns to complete.

use burn::module::Module;
use burn::optim::{AdjustLrFn, MuonConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_harness::run::Run;
use kinora_harness::seed::{derive, seeded};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::descent::{Descent, Group, Shard, parameters};
use super::latents::LatentSet;
use super::{Choice, Lesson, TrainError};
use crate::model::flow::add_noise;
use crate::model::latents::{FRAMES_PER_TOKEN, LOOK, Latents, Layout, TOKENS, VOICE_CODE};
use crate::model::text::PROMPT_WORDS;
use crate::model::transformer::{FlowTransformer, Known, Mask, Prompts};
use crate::performance::{Performance, Row, look_numbers};
use crate::size::ModelConfig;
use crate::words::{UNKNOWN, Vocabulary};
use crate::world::{ACTORS, FRAMES, Shot};

/// Share of the clips that are shown without any prompt, for guidance.
const DROP_ALL: f64 = 0.1;
/// Share of the looks and voices that are shown as references, beside those that no word describes.
const SHOW_REFERENCE: f64 = 0.4;
/// Share of the words that are shown as unknown.
const DROP_WORD: f64 = 0.02;
/// Noise that references are trained to bear, in their unit variance.
const REFERENCE_NOISE: f32 = 0.03;
/// Frames in the time of the three that `PhyWorld` shows.
pub(crate) const LAB_FRAMES: usize = 5;
/// Weights of the parts of the loss. Tracks weigh most: they are what a clip is judged by.
const ACTORS_WEIGHT: f32 = 0.25;
const STAGE_WEIGHT: f32 = 0.15;
const SOUND_WEIGHT: f32 = 0.7;
const VOICE_WEIGHT: f32 = 0.1;

/// The transformer before its first step.
pub(super) fn begin(lesson: &Lesson<'_>, device: &Device) -> FlowTransformer {
    let words = Vocabulary::of_corpus().len();
    seeded(device, derive(lesson.seed, "flow"), || FlowTransformer::new(lesson.config, words, device))
}

pub(super) fn train(
    lesson: &Lesson<'_>,
    set: &LatentSet,
    begun: FlowTransformer,
    descent: Descent<'_>,
    watch: impl FnMut(u64, &FlowTransformer, &mut Run) -> Result<(), TrainError>,
) -> Result<FlowTransformer, TrainError> {
    let Lesson { config, plan, seed, .. } = *lesson;
    let seed = derive(seed, "flow");
    let size = plan.batch.div_ceil(plan.shards.max(1));
    let loss = |model: &FlowTransformer, Shard { step, index, device }: Shard<'_>| {
        let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "batch") ^ index as u64);
        rng.set_stream(step + 1);
        Batch::new(set, config, &plan.without, size, &mut rng, device).loss(model)
    };
    descent.run_watched(begun.train(), |model| groups(model, &plan.without), loss, watch)
}

/// Muon on the matrices inside the blocks, `AdamW` on everything else.
pub(crate) fn groups<M: Module>(model: &M, without: &[Choice]) -> Vec<Group> {
    let (inner, outer): (Vec<_>, Vec<_>) = parameters(model)
        .into_iter()
        .partition(|(_, path)| path.starts_with("blocks.") && path.ends_with(".weight"));
    let ids = |params: Vec<(_, String)>| params.into_iter().map(|(id, _)| id).collect();
    if without.contains(&Choice::Muon) {
        return vec![Group::adamw(ids(outer), 2e-3), Group::adamw(ids(inner), 2e-3)];
    }
    vec![
        Group::adamw(ids(outer), 2e-3),
        Group {
            // Three of Newton and Schulz's steps instead of five: on a CPU they are a third of the work.
            optimizer: MuonConfig::new().with_adjust_lr_fn(AdjustLrFn::Original).with_ns_steps(3).init(),
            params: ids(inner),
            peak_rate: 0.02,
        },
    ]
}

/// Clips at random, how noisy each is, what is said and what is given of it.
pub(super) struct Batch {
    clean: Latents,
    weights: Latents,
    noise: Latents,
    pub(super) known: Known,
    picture_timesteps: Tensor<1>,
    sound_timesteps: Tensor<1>,
    pub(super) prompts: Prompts,
}

/// One clip of a batch.
struct Lot {
    row: Row,
    noise: Vec<f32>,
    given: Given,
    timesteps: [f32; 2],
    words: [i32; PROMPT_WORDS],
    /// One look an actor, then whether each is shown.
    looks: (Vec<f32>, [bool; ACTORS]),
    voice: (Vec<f32>, bool),
}

/// What is given of one clip.
#[derive(Clone, Copy, Default)]
struct Given {
    /// Frames whose tracks are given, from the first on.
    frames: usize,
    /// Tokens of sound that are given, from the first on.
    sound: usize,
    actors: bool,
    stage: bool,
    voice: bool,
}

impl Given {
    /// Mostly nothing; else a beginning, the looks of another take, or one of the two streams.
    fn sample(performance: &Performance, rng: &mut ChaCha8Rng) -> Self {
        let looks = Self { actors: true, stage: true, ..Self::default() };
        if performance.shot == Shot::Lab && rng.random_bool(0.75) {
            return Self { frames: LAB_FRAMES, ..looks };
        }
        match rng.random_range(0..20) {
            // An image, or a few frames.
            0 | 1 => Self { frames: rng.random_range(1..=4), ..looks },
            // A clip to go on from.
            2 | 3 => {
                let tokens = rng.random_range(1..=TOKENS / 2);
                Self { frames: tokens * FRAMES_PER_TOKEN, sound: tokens, voice: true, ..looks }
            }
            4 => looks,
            // Sound for a picture, and a picture for a sound.
            5 => Self { frames: FRAMES, ..looks },
            6 => Self { sound: TOKENS, voice: true, ..Self::default() },
            _ => Self::default(),
        }
    }
}

impl Lot {
    fn draw(set: &LatentSet, config: &ModelConfig, without: &[Choice], mut rng: ChaCha8Rng) -> Self {
        let layout = config.layout();
        let clip = &set.clips[rng.random_range(0..set.clips.len())];
        let mut row = clip.performance.to_row(config);
        set.normalisation.apply(&mut row.values, &row.weights, layout);
        // As a portrait is read: numbers that mean nothing for a look are zero before they are normalised.
        let looks: Vec<f32> = clip
            .performance
            .actors
            .iter()
            .flat_map(|figure| {
                let mut look = figure.as_ref().map_or([0.0; LOOK], |figure| look_numbers(&figure.look).0);
                set.normalisation.apply_to_look(&mut look);
                look
            })
            .collect();
        let voice = row.values[layout.total() - VOICE_CODE..].to_vec();
        balance(&mut row.weights, layout);

        let told = !rng.random_bool(DROP_ALL);
        let wording = if told {
            clip.wordings[rng.random_range(0..clip.wordings.len())]
        } else {
            Vocabulary::silence()
        };
        let words =
            wording.map(|word| if word > UNKNOWN && rng.random_bool(DROP_WORD) { UNKNOWN } else { word });
        let shown = std::array::from_fn(|actor| {
            let present = clip.performance.actors[actor].is_some();
            told && present && rng.random_bool(SHOW_REFERENCE)
        });
        let heard = told && clip.performance.utterance.is_some() && rng.random_bool(SHOW_REFERENCE);
        let mut blur = |values: Vec<f32>| -> Vec<f32> {
            values.into_iter().map(|value| value + REFERENCE_NOISE * normal(&mut rng)).collect()
        };
        let (looks, voice) = (blur(looks), blur(voice));

        // Broad: what happens is decided near the noise, and by which law it moves near the data.
        let timestep = |rng: &mut ChaCha8Rng| 1.0 / (1.0 + (-0.2 - 1.4 * normal(rng)).exp());
        let picture = timestep(&mut rng);
        // As often together, as the sampler goes, as apart, which teaches each to lead the other.
        let together = rng.random_bool(0.5) || without.contains(&Choice::IndependentNoise);
        let sound = if together { picture } else { timestep(&mut rng) };
        Self {
            noise: (0..layout.total()).map(|_| normal(&mut rng)).collect(),
            given: Given::sample(&clip.performance, &mut rng),
            row,
            timesteps: [picture, sound],
            words,
            looks: (looks, shown),
            voice: (voice, heard),
        }
    }
}

/// Gives each clip the same weight in each part, however much of it means something.
fn balance(weights: &mut [f32], layout: Layout) {
    let mut rest = weights;
    for [tokens, width] in layout.shapes() {
        let (part, after) = rest.split_at_mut(tokens * width);
        let mean = part.iter().sum::<f32>() / part.len() as f32;
        for weight in part {
            *weight /= mean;
        }
        rest = after;
    }
}

impl Batch {
    /// Random latents under an empty prompt, for timing.
    pub(super) fn made_up(config: &ModelConfig, size: usize, seed: u64, device: &Device) -> Self {
        let layout = config.layout();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut random = || {
            let rows: Vec<f32> = (0..size * layout.total()).map(|_| rng.random_range(-1.7..1.7)).collect();
            Latents::from_rows(&rows, layout, device)
        };
        let (clean, noise) = (random(), random());
        let words = TensorData::new(vec![2_i32; size * PROMPT_WORDS], [size, PROMPT_WORDS]);
        Self {
            weights: clean.clone().map(|part| part.ones_like()),
            known: Known::nothing(&clean),
            clean,
            noise,
            picture_timesteps: Tensor::full([size], 0.4, device),
            sound_timesteps: Tensor::full([size], 0.6, device),
            prompts: Prompts::of_words(Tensor::<2, Int>::from_data(words, device)),
        }
    }

    pub(super) fn new(
        set: &LatentSet,
        config: &ModelConfig,
        without: &[Choice],
        size: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let layout = config.layout();
        let seeds: Vec<u64> = (0..size).map(|_| rng.random()).collect();
        let lots: Vec<Lot> = seeds
            .into_par_iter()
            .map(|seed| Lot::draw(set, config, without, ChaCha8Rng::seed_from_u64(seed)))
            .collect();
        let rows = |read: fn(&Lot) -> &[f32]| {
            let rows: Vec<f32> = lots.iter().flat_map(|lot| read(lot).iter().copied()).collect();
            Latents::from_rows(&rows, layout, device)
        };
        let cube = |values: Vec<f32>, tokens: usize| {
            let width = values.len() / (size * tokens);
            Tensor::<3>::from_data(TensorData::new(values, [size, tokens, width]), device)
        };
        let flags = |flags: Vec<bool>, tokens: usize| {
            cube(flags.into_iter().map(|flag| if flag { 1.0 } else { 0.0 }).collect(), tokens)
        };
        let times = |stream: usize| {
            let times: Vec<f32> = lots.iter().map(|lot| lot.timesteps[stream]).collect();
            Tensor::<1>::from_data(TensorData::new(times, [size]), device)
        };
        let clean = rows(|lot| &lot.row.values);
        let mask = Mask {
            frames: flags(
                lots.iter().flat_map(|lot| (0..FRAMES).map(|frame| frame < lot.given.frames)).collect(),
                TOKENS,
            ),
            actors: flags(lots.iter().flat_map(|lot| [lot.given.actors; ACTORS]).collect(), ACTORS),
            stage: flags(lots.iter().map(|lot| lot.given.stage).collect(), 1),
            sound: flags(
                lots.iter().flat_map(|lot| (0..TOKENS).map(|token| token < lot.given.sound)).collect(),
                TOKENS,
            ),
            voice: flags(lots.iter().map(|lot| lot.given.voice).collect(), 1),
        };
        let words: Vec<i32> = lots.iter().flat_map(|lot| lot.words).collect();
        Self {
            weights: rows(|lot| &lot.row.weights),
            noise: rows(|lot| &lot.noise),
            known: Known { values: clean.clone(), mask },
            clean,
            picture_timesteps: times(0),
            sound_timesteps: times(1),
            prompts: Prompts {
                words: Tensor::<2, Int>::from_data(TensorData::new(words, [size, PROMPT_WORDS]), device),
                looks: cube(lots.iter().flat_map(|lot| lot.looks.0.iter().copied()).collect(), ACTORS),
                has_look: flags(lots.iter().flat_map(|lot| lot.looks.1).collect(), ACTORS),
                voice: cube(lots.iter().flat_map(|lot| lot.voice.0.iter().copied()).collect(), 1),
                has_voice: flags(lots.iter().map(|lot| lot.voice.1).collect(), 1),
            },
        }
    }

    pub(super) fn loss(self, model: &FlowTransformer) -> Tensor<1> {
        let (picture, sound) = (&self.picture_timesteps, &self.sound_timesteps);
        let noised = add_noise(self.clean.clone(), self.noise.clone(), picture, sound);
        let context = model.context(self.prompts.clone());
        let predicted = model.forward(noised.noisy, &self.known, picture.clone(), sound.clone(), context);
        self.square_error(predicted, noised.direction)
    }

    /// The clips with noise, picture and sound both at t.
    pub(super) fn noisy_at(&self, t: f32) -> Latents {
        let times = self.picture_timesteps.full_like(t);
        add_noise(self.clean.clone(), self.noise.clone(), &times, &times).noisy
    }

    /// The weighted error of a direction, of what is not given.
    pub(super) fn square_error(self, predicted: Latents, direction: Latents) -> Tensor<1> {
        let asked = self.known.mask.spread(&self.weights).map(|given| given.neg().add_scalar(1.0));
        let weights = self.weights.zip(asked, |weights, asked| weights.mul(asked).sqrt());
        let error = predicted.zip(direction, Tensor::sub).zip(weights, Tensor::mul);
        let square = |part: Tensor<3>, weight: f32| part.square().mean().mul_scalar(weight);
        square(error.tracks, 1.0)
            .add(square(error.actors, ACTORS_WEIGHT))
            .add(square(error.stage, STAGE_WEIGHT))
            .add(square(error.sound, SOUND_WEIGHT))
            .add(square(error.voice, VOICE_WEIGHT))
    }
}

/// A draw from the normal distribution (Box and Muller).
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (radius, turn): (f32, f32) = (1.0 - rng.random::<f32>(), rng.random());
    (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * turn).cos()
}
