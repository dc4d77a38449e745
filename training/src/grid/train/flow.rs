//! Trains the transformer over grids of latents: cached takes and captions enter, a model that draws clips
//! leaves.
//!
//! Some clips are shown with a part of them given (the first picture, a beginning, all sound, all pictures), so
//! that the model also learns to complete; some with references, some without their caption.

use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_harness::seed::{derive, seeded};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::GridTrainOptions;
use crate::grid::GridError;
use crate::grid::cache::{Cache, Encoded};
use crate::grid::config::{GridConfig, SOUND_RATE, SPACE_FACTOR, TIME_FACTOR};
use crate::grid::flow::Lesson;
use crate::grid::footage::Footage;
use crate::grid::model::Spreads;
use crate::grid::phyworld::SHOWN_LATENTS;
use crate::grid::transformer::{GridTransformer, Grids, Known, References};
use crate::train::descent::{Descent, Shard};
use crate::train::flow::groups;
use crate::train::normal;
use crate::words::{UNKNOWN, Vocabulary};

/// Share of the clips that are shown without any prompt, for guidance.
const DROP_ALL: f64 = 0.1;
/// Share of the words that are shown as unknown.
const DROP_WORD: f64 = 0.02;
/// Share of the batches that are shown with references, and of the references in these that are left out.
const SHOW_REFERENCES: f64 = 0.35;
const DROP_REFERENCE: f64 = 0.15;
/// Noise that references are trained to bear, in their unit variance.
const REFERENCE_NOISE: f32 = 0.03;
/// Share of `PhyWorld`'s clips of which the beginning is given.
const SHOW_BEGINNING: f64 = 0.9;

/// What the transformer learns from.
#[derive(Debug)]
pub(super) struct Set<'a> {
    pub(super) cache: &'a Cache,
    pub(super) vocabulary: &'a Vocabulary,
    pub(super) spreads: &'a Spreads,
    pub(super) options: &'a GridTrainOptions,
}

/// What is given of one clip: latent frames and sound latents from the first on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Given {
    frames: usize,
    sound: usize,
}

impl Given {
    fn sample(options: &GridTrainOptions, is_heard: bool, rng: &mut ChaCha8Rng) -> Self {
        let GridTrainOptions { model, footage, .. } = options;
        let frames = model.clip.latent_frames();
        if matches!(footage, Footage::PhyWorld { .. }) {
            let shown = if rng.random_bool(SHOW_BEGINNING) { SHOWN_LATENTS } else { 0 };
            return Self { frames: shown, sound: 0 };
        }
        match rng.random_range(0..20) {
            // An image.
            0..=2 => Self { frames: 1, sound: 0 },
            // A clip to go on from, as far as its sound is known too.
            3..=5 => {
                let frames = rng.random_range(1..=frames.div_ceil(2));
                Self { frames, sound: if is_heard { sound_beside(frames, model) } else { 0 } }
            }
            // Sound for a picture, and a picture for a sound.
            6 if model.sound.is_some() && is_heard => Self { frames, sound: 0 },
            7 if is_heard => Self { frames: 0, sound: model.clip.sound_latents() },
            _ => Self::default(),
        }
    }
}

/// Whole sound latents in the time of the first latent frames.
pub(in crate::grid) fn sound_beside(latent_frames: usize, config: &GridConfig) -> usize {
    let frames = (latent_frames.max(1) - 1) * TIME_FACTOR + 1;
    frames * SOUND_RATE / config.clip.fps.max(1) as usize
}

/// One clip of a batch.
struct Lot {
    take: Encoded,
    noise: Vec<f32>,
    given: Given,
    timesteps: [f32; 2],
    words: Vec<i32>,
    has_reference: Vec<bool>,
}

impl Set<'_> {
    fn draw(&self, index: usize, is_referred: bool, rng: &mut ChaCha8Rng) -> Option<Lot> {
        let config = &self.options.model;
        let take = self.cache.read(index)?;
        let told = !rng.random_bool(DROP_ALL);
        let caption = if told { take.caption.as_str() } else { "" };
        let mut words = self.vocabulary.numbers_of(caption, config.flow.prompt_words);
        for word in &mut words {
            if *word > UNKNOWN && rng.random_bool(DROP_WORD) {
                *word = UNKNOWN;
            }
        }
        let has_reference = (0..config.flow.references)
            .map(|place| {
                is_referred && told && place < take.references.len() && !rng.random_bool(DROP_REFERENCE)
            })
            .collect();
        let timestep = |rng: &mut ChaCha8Rng| 1.0 / (1.0 + (0.4 - 1.2 * normal(rng)).exp());
        let picture = timestep(rng);
        // As often together, as the sampler goes, as apart, which teaches each to lead the other.
        let sound = if rng.random_bool(0.5) { picture } else { timestep(rng) };
        let given = Given::sample(self.options, take.is_heard, rng);
        let numbers = config.picture_numbers() + config.sound_numbers();
        let noise = (0..numbers).map(|_| normal(rng)).collect();
        Some(Lot { take, noise, given, timesteps: [picture, sound], words, has_reference })
    }

    /// A batch of clips at random, as the model is shown them.
    fn lesson(&self, model: &GridTransformer, size: usize, mut rng: ChaCha8Rng, device: &Device) -> Lesson {
        let config = &self.options.model;
        let entries = self.cache.entries();
        let referred: Vec<usize> =
            (0..entries.len()).filter(|&index| entries[index].references > 0).collect();
        let is_referred =
            config.flow.references > 0 && !referred.is_empty() && rng.random_bool(SHOW_REFERENCES);
        let lots: Vec<Lot> = (0..size)
            .filter_map(|_| {
                let any = rng.random_range(0..entries.len());
                let index = if is_referred { *referred.choose(&mut rng)? } else { any };
                self.draw(index, is_referred, &mut rng)
            })
            .collect();
        let batch = lots.len();
        let picture = config.picture_numbers();
        let grids = |picture: Vec<f32>, sound: Vec<f32>| grids(picture, sound, batch, config, device);
        let all = |read: fn(&Lot) -> &[f32]| lots.iter().flat_map(|lot| read(lot).iter().copied()).collect();
        let clean = self.spreads.apply(grids(all(|lot| &lot.take.picture), all(|lot| &lot.take.sound)));
        let noise = grids(
            lots.iter().flat_map(|lot| lot.noise.iter().take(picture).copied()).collect(),
            lots.iter().flat_map(|lot| lot.noise.iter().skip(picture).copied()).collect(),
        );
        let begins = |count: usize, given: &dyn Fn(&Lot) -> usize| -> Vec<f32> {
            let flag = |given: bool| if given { 1.0 } else { 0.0 };
            lots.iter()
                .flat_map(|lot| (0..count).map(|at| flag(at < given(lot))).collect::<Vec<_>>())
                .collect()
        };
        let (times, latents) = (config.clip.latent_frames(), config.clip.sound_latents());
        let mask = Grids {
            picture: Tensor::from_data(
                TensorData::new(begins(times, &|lot| lot.given.frames), [batch, times, 1, 1, 1]),
                device,
            ),
            sound: config.sound.map(|_| {
                let flags = begins(latents, &|lot| lot.given.sound);
                Tensor::from_data(TensorData::new(flags, [batch, latents, 1]), device)
            }),
        };
        let timesteps = |stream: usize| {
            let times: Vec<f32> = lots.iter().map(|lot| lot.timesteps[stream]).collect();
            Tensor::<1>::from_floats(times.as_slice(), device)
        };
        let is_heard: Vec<f32> = lots.iter().map(|lot| if lot.take.is_heard { 1.0 } else { 0.0 }).collect();
        let words: Vec<i32> = lots.iter().flat_map(|lot| lot.words.iter().copied()).collect();
        let words =
            Tensor::<2, Int>::from_data(TensorData::new(words, [batch, config.flow.prompt_words]), device);
        let references = is_referred.then(|| self.references(&lots, &mut rng, device));
        Lesson {
            known: Known { values: clean.clone(), mask },
            clean,
            noise,
            picture_timesteps: timesteps(0),
            sound_timesteps: timesteps(1),
            is_heard: Tensor::from_data(TensorData::new(is_heard, [batch, 1, 1]), device),
            prompted: model.prompt(words, references),
        }
    }

    fn references(&self, lots: &[Lot], rng: &mut ChaCha8Rng, device: &Device) -> References {
        let config = &self.options.model;
        let (count, numbers) = (config.flow.references, config.reference_numbers());
        let latents: Vec<f32> = lots
            .iter()
            .flat_map(|lot| {
                let mut latents = lot.take.references.concat();
                latents.resize(count * numbers, 0.0);
                latents
            })
            .collect();
        let has: Vec<f32> =
            lots.iter().flat_map(|lot| &lot.has_reference).map(|&has| if has { 1.0 } else { 0.0 }).collect();
        let side = config.flow.reference_side / SPACE_FACTOR;
        let shape = [lots.len(), count, config.picture.channels, side, side];
        let latents =
            self.spreads.picture.apply(Tensor::<5>::from_data(TensorData::new(latents, shape), device));
        let blur: Vec<f32> = (0..shape.iter().product()).map(|_| REFERENCE_NOISE * normal(rng)).collect();
        References {
            latents: latents.add(Tensor::from_data(TensorData::new(blur, shape), device)),
            has: Tensor::from_data(TensorData::new(has, [lots.len(), count, 1, 1]), device),
        }
    }
}

/// Latents of `batch` clips that lie one after another.
pub(in crate::grid) fn grids(
    picture: Vec<f32>,
    sound: Vec<f32>,
    batch: usize,
    config: &GridConfig,
    device: &Device,
) -> Grids {
    let GridConfig { clip, picture: pictures, .. } = config;
    let shape = [
        batch,
        clip.latent_frames(),
        pictures.channels,
        clip.height / SPACE_FACTOR,
        clip.width / SPACE_FACTOR,
    ];
    Grids {
        picture: Tensor::from_data(TensorData::new(picture, shape), device),
        sound: config.sound.map(|sounds| {
            let shape = [batch, clip.sound_latents(), sounds.channels];
            Tensor::from_data(TensorData::new(sound, shape), device)
        }),
    }
}

pub(super) fn train(set: &Set<'_>, descent: Descent<'_>) -> Result<GridTransformer, GridError> {
    let GridTrainOptions { model: config, plan, seed, .. } = set.options;
    let device = descent.device;
    let seed = derive(*seed, "flow");
    let words = set.vocabulary.len();
    let model = seeded(device, seed, || GridTransformer::new(config, words, device));
    let size = plan.flow_batch.div_ceil(plan.shards.max(1)).max(1);
    Ok(descent.run(
        model,
        |model| groups(model, &[]),
        |model, Shard { step, index, device }| {
            let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "batch") ^ index as u64);
            rng.set_stream(step + 1);
            set.lesson(model, size, rng, device).slope(model, plan.recompute)
        },
    )?)
}
