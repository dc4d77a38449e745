//! Trains the two autoencoders: clips held in memory enter, a video and a sound autoencoder leave.
//!
//! Each step sees crops of clips at random, in space and time.

use burn::tensor::{Tensor, TensorData};
use kinora_harness::progress::Progress;
use kinora_harness::seed::{derive, seeded};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::GridTrainOptions;
use crate::grid::GridError;
use crate::grid::config::{
    ClipShape, GridConfig, SAMPLES_PER_LATENT, SIDE_STEP, SOUND_RATE, SPACE_FACTOR, SoundConfig, TIME_FACTOR,
};
use crate::grid::footage::{Reel, Take};
use crate::grid::pixels::{self, Crop};
use crate::grid::sound_autoencoder::{Ear, SoundAutoencoder};
use crate::grid::video_autoencoder::VideoAutoencoder;
use crate::train::descent::{Descent, Group, Shard};
use crate::train::{TrainError, normal};

/// Bytes of pixels that are held in memory at most.
const MOST_BYTES: usize = 8 << 30;
/// Items that are read at once.
const CHUNK: u64 = 16;

/// Takes held in memory.
#[derive(Debug, Default)]
pub(super) struct Pool {
    takes: Vec<Take>,
}

impl Pool {
    /// Reads the first takes of the footage.
    pub(super) fn read(options: &GridTrainOptions) -> Result<Self, GridError> {
        let GridTrainOptions { model, plan, footage, seed, .. } = options;
        let mut reel = Reel::open(footage, model, *seed)?;
        let (mut takes, mut skipped) = (Vec::new(), Vec::new());
        let most = (plan.pool.max(1) as usize).min((MOST_BYTES / model.clip.bytes().max(1)).max(1));
        let mut progress = Progress::new("clips", most as u64, options.progress);
        while takes.len() < most {
            if options.interrupt.is_set() {
                return Err(TrainError::Interrupted { stage: "clips", step: takes.len() as u64 }.into());
            }
            let looked = reel.look(CHUNK);
            if looked.is_empty() {
                break;
            }
            for item in looked {
                match item {
                    Ok(found) => takes.extend(found),
                    Err(skip) => skipped.push(skip),
                }
            }
            progress.set(takes.len() as u64, "takes");
        }
        progress.finish(format!("{} takes for the autoencoders", takes.len()));
        if takes.is_empty() {
            skipped.extend(reel.skipped_beside().into_iter().map(|(_, skip)| skip));
            let first = skipped.first().ok_or(GridError::Empty)?;
            let first = format!("{}: {}", first.name, first.reason);
            return Err(GridError::NothingReadable { count: skipped.len(), first });
        }
        takes.truncate(most);
        Ok(Self { takes })
    }
}

/// What a step sees of a clip: at most what was asked for, in sizes that can be encoded.
fn crop_size([width, height, frames]: [usize; 3], clip: &ClipShape) -> [usize; 3] {
    let side = |asked: usize, most: usize| (asked.min(most) / SIDE_STEP).max(1) * SIDE_STEP;
    let frames = frames.clamp(1, clip.frames);
    [side(width, clip.width), side(height, clip.height), 1 + (frames - 1) / TIME_FACTOR * TIME_FACTOR]
}

fn noise<const D: usize>(
    rng: &mut ChaCha8Rng,
    shape: [usize; D],
    device: &burn::tensor::Device,
) -> Tensor<D> {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| normal(rng)).collect();
    Tensor::from_data(TensorData::new(numbers, shape), device)
}

fn rng_of(seed: u64, Shard { step, index, .. }: Shard<'_>) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ index as u64);
    rng.set_stream(step + 1);
    rng
}

/// Trains the video autoencoder.
pub(super) fn picture(
    options: &GridTrainOptions,
    pool: &Pool,
    descent: Descent<'_>,
) -> Result<VideoAutoencoder, GridError> {
    let GridTrainOptions { model: GridConfig { clip, picture: config, .. }, plan, .. } = options;
    let device = descent.device;
    let seed = derive(options.seed, "picture");
    let model = seeded(device, seed, || VideoAutoencoder::new(config, device));
    let [width, height, frames] = crop_size(plan.picture_crop, clip);
    let groups = |model: &VideoAutoencoder| vec![Group::adamw_all(model, plan.autoencoder_rate)];
    let batch = plan.picture_batch.max(1);
    Ok(descent.run(model, groups, |model, shard| {
        let mut rng = rng_of(seed, shard);
        let mut seen = Vec::with_capacity(batch * frames * width * height * 3);
        let size = Crop::whole(frames, width, height);
        for _ in 0..batch {
            let Some(take) = pool.takes.choose(&mut rng) else { break };
            let crop = Crop {
                first: rng.random_range(0..=clip.frames - frames),
                left: rng.random_range(0..=clip.width - width),
                top: rng.random_range(0..=clip.height - height),
                ..size
            };
            pixels::append(&mut seen, &take.frames, [clip.width, clip.height], crop);
        }
        let latents =
            [batch, 1 + frames / TIME_FACTOR, config.channels, height / SPACE_FACTOR, width / SPACE_FACTOR];
        model.loss(pixels::tensor(seen, size, device), noise(&mut rng, latents, device))
    })?)
}

/// Trains the sound autoencoder, on what has a sound track; where nothing has, on silence.
pub(super) fn sound(
    options: &GridTrainOptions,
    config: &SoundConfig,
    pool: &Pool,
    descent: Descent<'_>,
) -> Result<SoundAutoencoder, GridError> {
    let device = descent.device;
    let seed = derive(options.seed, "sound");
    let model = seeded(device, seed, || SoundAutoencoder::new(config, device));
    let heard: Vec<&Take> = pool.takes.iter().filter(|take| take.is_heard).collect();
    let ear = Ear::new(device);
    let latents = options.model.clip.sound_latents().min(SOUND_RATE);
    let length = latents * SAMPLES_PER_LATENT;
    let batch = options.plan.sound_batch.max(1);
    let groups = |model: &SoundAutoencoder| vec![Group::adamw_all(model, options.plan.autoencoder_rate)];
    Ok(descent.run(model, groups, |model, shard| {
        let mut rng = rng_of(seed, shard);
        let mut samples: Vec<f32> = Vec::with_capacity(batch * length);
        for _ in 0..batch {
            let Some(take) = heard.choose(&mut rng) else { break };
            let first = rng.random_range(0..=take.samples.len().saturating_sub(length));
            samples.extend(take.samples.iter().skip(first).take(length));
        }
        samples.resize(batch * length, 0.0);
        let samples = Tensor::<2>::from_data(TensorData::new(samples, [batch, length]), device);
        model.loss(&samples, noise(&mut rng, [batch, latents, config.channels], device), &ear)
    })?)
}
