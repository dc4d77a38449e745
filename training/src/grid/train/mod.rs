//! Training of a pixel model, from footage to weights: options enter; a model directory, a run record and
//! checkpoints leave.
//!
//! Four stages, each resumable: the video autoencoder, the sound autoencoder, the latents of all footage, and
//! the transformer on these. INVARIANT: the same options and footage give the same weights on the same kind of
//! device, however often the training was stopped; footage that cannot be read is told, never silently left out.

mod autoencoders;
mod flow;
mod latents;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use kinora_harness::checkpoint::Checkpoints;
use kinora_harness::device::{DeviceChoice, resolve};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::Mode;
use kinora_harness::publish::write_file;
use kinora_harness::run::{Run, Status};
use serde::{Deserialize, Serialize};

use self::autoencoders::Pool;
pub(super) use self::flow::{grids, sound_beside};
use super::GridError;
use super::cache::Cache;
use super::config::{GridConfig, GridSize};
use super::footage::Footage;
use super::model::{GridCard, GridModel, save};
use super::phyworld::SHOWN_FRAMES;
use crate::train::claim;
use crate::train::descent::{Descent, workers};
use crate::words::Vocabulary;

/// Words of a vocabulary at most.
const MOST_WORDS: usize = 4096;

/// How long each stage runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GridPlan {
    /// Clips that the autoencoders learn from; they are held in memory.
    pub pool: u64,
    pub picture_steps: u64,
    /// Clips in a step of the video autoencoder.
    pub picture_batch: usize,
    /// Width, height and frames of what the video autoencoder sees of a clip.
    pub picture_crop: [usize; 3],
    pub sound_steps: u64,
    /// Seconds of sound in a step of the sound autoencoder.
    pub sound_batch: usize,
    /// Peak learning rate of the autoencoders.
    pub autoencoder_rate: f64,
    pub flow_steps: u64,
    /// Clips in a step of the transformer.
    pub flow_batch: usize,
    /// Parts of a step of the transformer that are worked on at the same time.
    pub shards: usize,
    /// Whether the transformer's activations are computed again in the backward pass instead of kept: far less
    /// memory for a third more time.
    #[serde(default)]
    pub recompute: bool,
    pub checkpoint_every: u64,
}

impl GridPlan {
    /// A few steps of every stage: whether the machinery works, not a model.
    pub fn smoke() -> Self {
        Self {
            pool: 4,
            picture_steps: 4,
            picture_batch: 2,
            picture_crop: [32, 32, 5],
            sound_steps: 4,
            sound_batch: 2,
            autoencoder_rate: 2e-3,
            flow_steps: 4,
            flow_batch: 2,
            shards: 1,
            recompute: false,
            checkpoint_every: 2,
        }
    }

    /// What a size needs.
    pub fn of(size: GridSize) -> Self {
        let micro = Self {
            pool: 300,
            picture_steps: 3_000,
            picture_batch: 4,
            picture_crop: [64, 64, 9],
            sound_steps: 2_000,
            sound_batch: 8,
            autoencoder_rate: 2e-3,
            flow_steps: 6_000,
            flow_batch: 16,
            shards: 2,
            recompute: false,
            checkpoint_every: 250,
        };
        let large = |picture_batch, flow_steps, flow_batch| Self {
            pool: 2_000,
            picture_steps: 60_000,
            picture_batch,
            picture_crop: [128, 128, 17],
            sound_steps: 30_000,
            sound_batch: 32,
            autoencoder_rate: 5e-4,
            flow_steps,
            flow_batch,
            shards: 1,
            recompute: true,
            checkpoint_every: 500,
        };
        match size {
            GridSize::Micro => micro,
            GridSize::Small => large(16, 60_000, 128),
            GridSize::Base => large(16, 120_000, 256),
            GridSize::Large => large(16, 200_000, 512),
            // The paper's: 100K steps of 256 clips.
            GridSize::PhyWorldS | GridSize::PhyWorldB | GridSize::PhyWorldL | GridSize::PhyWorldXl => {
                large(16, 100_000, 256)
            }
        }
    }
}

/// What is to be trained, on what, and where.
#[derive(Clone, Debug)]
pub struct GridTrainOptions {
    pub model: GridConfig,
    pub plan: GridPlan,
    pub footage: Footage,
    pub seed: u64,
    /// Where the finished model goes; checkpoints lie in `checkpoints` under it.
    pub out_dir: PathBuf,
    pub runs_dir: PathBuf,
    pub device: DeviceChoice,
    pub progress: Mode,
    pub interrupt: Interrupt,
}

impl GridTrainOptions {
    /// The defaults of a size.
    pub fn new(
        size: GridSize,
        footage: Footage,
        out_dir: impl Into<PathBuf>,
        runs_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            model: size.config(),
            plan: GridPlan::of(size),
            footage,
            seed: 0,
            out_dir: out_dir.into(),
            runs_dir: runs_dir.into(),
            device: DeviceChoice::Auto,
            progress: Mode::Silent,
            interrupt: Interrupt::new(),
        }
    }
}

/// What a finished training made.
#[derive(Clone, Debug, Serialize)]
pub struct GridTrainReport {
    pub model_dir: PathBuf,
    pub run_id: String,
    pub parameters: usize,
    /// Takes that the transformer learned from.
    pub takes: usize,
    /// Clips that could not be read.
    pub skipped: u64,
    /// Why, of the first few, as `NAME: REASON`.
    pub reasons: Vec<String>,
    /// Words of the captions that are too rare for the vocabulary.
    pub unknown_words: u64,
}

/// Options that decide the weights: checkpoints belong to these.
#[derive(PartialEq, Serialize, Deserialize)]
struct Identity {
    model: GridConfig,
    plan: GridPlan,
    footage: Footage,
    fingerprint: String,
    seed: u64,
}

/// What the stages share.
struct Ground<'a> {
    options: &'a GridTrainOptions,
    checkpoints: &'a Path,
    run: &'a mut Run,
    /// Where nothing is learned.
    device: &'a Device,
    /// Where gradients are kept.
    learning: &'a Device,
}

impl Ground<'_> {
    fn descent(&mut self, name: &'static str, steps: u64, shards: usize) -> Result<Descent<'_>, GridError> {
        Ok(Descent {
            name,
            steps,
            shards: shards.max(1),
            workers: workers(self.options.device, shards)?,
            effort: None,
            device: self.learning,
            checkpoint_every: self.options.plan.checkpoint_every,
            averaging: 0.998,
            checkpoints: Checkpoints::open(self.checkpoints.join(name))?,
            run: self.run,
            interrupt: &self.options.interrupt,
            progress: self.options.progress,
        })
    }

    /// Whether a stage has all its steps behind it.
    fn is_done(&self, name: &str, steps: u64) -> Result<bool, GridError> {
        let latest = Checkpoints::open(self.checkpoints.join(name))?.latest()?;
        Ok(latest.is_some_and(|(step, _)| step >= steps))
    }
}

/// Trains a model. Stopped and called again with the same options, it goes on where it was.
pub fn train(options: &GridTrainOptions) -> Result<GridTrainReport, GridError> {
    check(options)?;
    let device = resolve(options.device)?;
    let checkpoints = options.out_dir.join("checkpoints");
    let identity = Identity {
        model: options.model,
        plan: options.plan.clone(),
        footage: options.footage.clone(),
        fingerprint: options.footage.fingerprint()?,
        seed: options.seed,
    };
    claim(&checkpoints, &identity)?;
    let params = serde_json::json!({
        "model": &identity.model, "plan": &identity.plan, "footage": &identity.footage,
        "seed": identity.seed, "device": options.device.to_string(),
    });
    let mut run = Run::start(&options.runs_dir, "video", &params)?;
    let learning = device.clone().autodiff();
    let ground =
        Ground { options, checkpoints: &checkpoints, run: &mut run, device: &device, learning: &learning };
    let trained = stages(ground);
    let status = match &trained {
        Ok(_) => Status::Finished,
        Err(error) if error.is_interruption() => Status::Interrupted,
        Err(_) => Status::Failed,
    };
    let record = run.finish(status)?;
    trained.map(|report| GridTrainReport { run_id: record.id, ..report })
}

fn check(options: &GridTrainOptions) -> Result<(), GridError> {
    let GridTrainOptions { model, footage, .. } = options;
    if !model.is_buildable() {
        return Err(GridError::Sizes);
    }
    let clip = model.clip;
    if matches!(footage, Footage::PhyWorld { .. })
        && (clip.width != clip.height || clip.frames != SHOWN_FRAMES)
    {
        let (width, height, frames) = (clip.width, clip.height, clip.frames);
        return Err(GridError::PhyWorldShape { expected: SHOWN_FRAMES, width, height, frames });
    }
    Ok(())
}

fn stages(mut ground: Ground<'_>) -> Result<GridTrainReport, GridError> {
    let options = ground.options;
    let (config, plan, seed) = (&options.model, &options.plan, options.seed);

    // Stages 1 and 2: the autoencoders. Their clips are only read where there is something left to learn.
    let has_sound = config.sound.is_some();
    let is_learned = ground.is_done("picture", plan.picture_steps)?
        && (!has_sound || ground.is_done("sound", plan.sound_steps)?);
    let pool = if is_learned { Pool::default() } else { Pool::read(options)? };
    let picture = autoencoders::picture(options, &pool, ground.descent("picture", plan.picture_steps, 1)?)?;
    let sound = match config.sound {
        Some(sound) => {
            let descent = ground.descent("sound", plan.sound_steps, 1)?;
            Some(autoencoders::sound(options, &sound, &pool, descent)?)
        }
        None => None,
    };
    drop(pool);

    // Stage 3: latents. All footage as the transformer sees it, encoded once.
    let encoders = latents::Encoders { picture: &picture, sound: sound.as_ref(), device: ground.device };
    let cache = latents::encode(options, encoders, &ground.checkpoints.join("latents"), ground.run)?;

    // Stage 4: flow. From noise and a caption to latents.
    let captions = || cache.entries().iter().map(|entry| entry.caption.as_str());
    let vocabulary = Vocabulary::of_captions(captions(), MOST_WORDS);
    let unknown_words: u64 = captions().map(|caption| vocabulary.unknown(caption).len() as u64).sum();
    let spreads = latents::spreads(&cache, config);
    let set = flow::Set { cache: &cache, vocabulary: &vocabulary, spreads: &spreads, options };
    let flow = flow::train(&set, ground.descent("flow", plan.flow_steps, plan.shards)?)?;

    let card = GridCard {
        space: GridCard::SPACE.to_owned(),
        format: GridCard::FORMAT,
        model: *config,
        vocabulary: vocabulary.clone(),
        spreads: spreads.clone(),
        plan: plan.clone(),
        footage: options.footage.clone(),
        seed,
        code_version: kinora_harness::CODE_VERSION.to_owned(),
    };
    let model = GridModel { picture, sound, flow };
    save(&options.out_dir, &model, &card)?;
    Ok(GridTrainReport {
        model_dir: options.out_dir.clone(),
        run_id: String::new(),
        parameters: model.num_params(),
        takes: cache.entries().len(),
        skipped: cache.skipped(),
        reasons: cache.reasons().to_vec(),
        unknown_words,
    })
}

/// Writes into the run's record what footage was left out.
fn record_skips(cache: &Cache, run: &mut Run) -> Result<(), GridError> {
    run.metric(cache.items(), "skipped_clips", cache.skipped() as f64)?;
    let mut lines = cache.reasons().join("\n");
    if !lines.is_empty() {
        lines.push('\n');
        write_file(&run.directory().join("skipped.txt"), lines.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
