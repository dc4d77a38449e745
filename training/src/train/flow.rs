//! Trains the transformer by rectified flow: cached latents and captions enter, a model that draws clips
//! leaves.
//!
//! Matrices inside the blocks are moved by Muon, everything else by `AdamW`; the weights that are kept are an
//! average over time.

use burn::optim::{AdjustLrFn, MuonConfig};
use burn::tensor::{Device, Int, Tensor, TensorData};
use kinora_harness::seed::{derive, seeded};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::descent::{Descent, Group, parameters};
use super::latents::LatentCache;
use super::{Lesson, TrainError};
use crate::model::flow::add_noise;
use crate::model::latents::{BALLS, FRAMES_PER_TOKEN, LatentWidths, Latents, TOKENS, TRACK};
use crate::model::text::PROMPT_WORDS;
use crate::model::transformer::{FlowTransformer, Prompts};
use crate::size::ModelConfig;
use crate::words::{UNKNOWN, Vocabulary};

/// Share of the clips that are shown without any prompt, for guidance.
const DROP_ALL: f64 = 0.1;
/// Share of the remaining cameos whose reference is not shown.
const DROP_REFERENCE: f64 = 0.1;
/// Share of the words that are shown as unknown.
const DROP_WORD: f64 = 0.02;
/// Noise that references are trained to bear, in their unit variance.
const REFERENCE_NOISE: f32 = 0.1;
/// Weights of the parts of the loss. Tracks weigh most: they are what a clip is judged by.
const ANGLE_WEIGHT: f32 = 0.15;
const STEADINESS_WEIGHT: f32 = 0.5;
const LOOKS_WEIGHT: f32 = 0.25;
const SOUND_WEIGHT: f32 = 0.7;

pub(super) fn train(
    lesson: &Lesson<'_>,
    cache: &LatentCache,
    descent: Descent<'_>,
) -> Result<FlowTransformer, TrainError> {
    let Lesson { config, plan, seed, device } = *lesson;
    let seed = derive(seed, "flow");
    let vocabulary = Vocabulary::of_corpus();
    let model = seeded(device, seed, || FlowTransformer::new(config, vocabulary.len(), device));
    let groups = |model: &FlowTransformer| {
        let (inner, outer): (Vec<_>, Vec<_>) = parameters(model)
            .into_iter()
            .partition(|(_, path)| path.starts_with("blocks.") && path.ends_with(".weight"));
        let ids = |params: Vec<(_, String)>| params.into_iter().map(|(id, _)| id).collect();
        vec![
            Group::adamw(ids(outer), 2e-3),
            Group {
                // Three of Newton and Schulz's steps instead of five: on a CPU they are a third of the work.
                optimizer: MuonConfig::new().with_adjust_lr_fn(AdjustLrFn::Original).with_ns_steps(3).init(),
                params: ids(inner),
                peak_rate: 0.02,
            },
        ]
    };
    let weights = track_weights(device);
    descent.run(model, groups, |model, step| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(step + 1);
        let batch = Batch::new(cache, config, plan.batch, &mut rng, device);
        batch.loss(model, &weights)
    })
}

/// How much each number of a track token counts, `[1, 1, tracks]`.
fn track_weights(device: &Device) -> Tensor<3> {
    let ball = [1.0, 1.0, ANGLE_WEIGHT, ANGLE_WEIGHT];
    let weights: Vec<f32> = ball.repeat(FRAMES_PER_TOKEN * BALLS);
    let width = weights.len();
    Tensor::from_data(TensorData::new(weights, [1, 1, width]), device)
}

/// Clips at random, how noisy each is, and what is said of it.
struct Batch {
    clean: Latents,
    noise: Latents,
    picture_timesteps: Tensor<1>,
    sound_timesteps: Tensor<1>,
    prompts: Prompts,
}

impl Batch {
    fn new(
        cache: &LatentCache,
        config: &ModelConfig,
        size: usize,
        rng: &mut ChaCha8Rng,
        device: &Device,
    ) -> Self {
        let widths = config.latent_widths();
        let total = widths.total();
        let mut clean = Vec::with_capacity(size * total);
        let mut words: Vec<i32> = Vec::with_capacity(size * PROMPT_WORDS);
        let mut references = Vec::with_capacity(size * config.skin_code);
        let mut has_reference = Vec::with_capacity(size);
        let (mut picture, mut sound) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for _ in 0..size {
            let index = rng.random_range(0..cache.captions.len());
            let row = &cache.rows[index * total..(index + 1) * total];
            let captions = &cache.captions[index];
            clean.extend_from_slice(row);

            let told = !rng.random_bool(DROP_ALL);
            let shown = told && captions.cameo && !rng.random_bool(DROP_REFERENCE);
            let wording = captions.wordings[rng.random_range(0..captions.wordings.len())];
            let wording = if told { wording } else { Vocabulary::silence() };
            words.extend(
                wording.map(|word| if word > UNKNOWN && rng.random_bool(DROP_WORD) { UNKNOWN } else { word }),
            );
            let skin = first_skin(row, widths, config);
            references.extend(skin.iter().map(|code| code + REFERENCE_NOISE * normal(rng)));
            has_reference.push(if shown { 1.0 } else { 0.0 });

            let timestep = |rng: &mut ChaCha8Rng| 1.0 / (1.0 + (0.4 - 1.2 * normal(rng)).exp());
            let first = timestep(rng);
            picture.push(first);
            // As often together, as the sampler goes, as apart, which teaches each to lead the other.
            sound.push(if rng.random_bool(0.5) { first } else { timestep(rng) });
        }
        let noise: Vec<f32> = (0..size * total).map(|_| normal(rng)).collect();
        Self {
            clean: Latents::from_rows(&clean, widths, device),
            noise: Latents::from_rows(&noise, widths, device),
            picture_timesteps: Tensor::from_data(TensorData::new(picture, [size]), device),
            sound_timesteps: Tensor::from_data(TensorData::new(sound, [size]), device),
            prompts: Prompts {
                words: Tensor::<2, Int>::from_data(TensorData::new(words, [size, PROMPT_WORDS]), device),
                references: Tensor::from_data(TensorData::new(references, [size, config.skin_code]), device),
                has_reference: Tensor::from_data(TensorData::new(has_reference, [size, 1]), device),
            },
        }
    }

    fn loss(self, model: &FlowTransformer, track_weights: &Tensor<3>) -> Tensor<1> {
        let noised = add_noise(self.clean, self.noise, &self.picture_timesteps, &self.sound_timesteps);
        let context = model.context(self.prompts);
        let predicted = model.forward(noised.noisy, self.picture_timesteps, self.sound_timesteps, context);
        let error = predicted.zip(noised.direction, Tensor::sub);
        let tracks = error.tracks.mul(track_weights.clone());
        let looks = error.balls.square().mean().add(error.scene.square().mean());
        tracks
            .clone()
            .square()
            .mean()
            .add(steadiness(tracks).mul_scalar(STEADINESS_WEIGHT))
            .add(looks.mul_scalar(LOOKS_WEIGHT))
            .add(error.sound.square().mean().mul_scalar(SOUND_WEIGHT))
    }
}

/// How much the error of the tracks changes from frame to frame: what is seen as trembling.
fn steadiness(error: Tensor<3>) -> Tensor<1> {
    let [batch, _, _] = error.dims();
    let frames = TOKENS * FRAMES_PER_TOKEN;
    let error = error.reshape([batch, frames, BALLS * TRACK]);
    let later = error.clone().narrow(1, 1, frames - 1);
    later.sub(error.narrow(1, 0, frames - 1)).square().mean()
}

/// The skin code of the first ball in a row of latents.
fn first_skin<'a>(row: &'a [f32], widths: LatentWidths, config: &ModelConfig) -> &'a [f32] {
    let start = TOKENS * widths.tracks + widths.ball - config.skin_code;
    &row[start..start + config.skin_code]
}

/// A draw from the normal distribution (Box and Muller).
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let (radius, turn): (f32, f32) = (1.0 - rng.random::<f32>(), rng.random());
    (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * turn).cos()
}
