//! Training, from nothing to weights: options enter; a model directory, a run record and checkpoints leave.
//!
//! Four stages, each resumable: the picture autoencoder, the sound autoencoder, the latents of a corpus
//! encoded by both, and the transformer on these. INVARIANT: the same options and seed give the same weights
//! on the same kind of device, however often the training was stopped.

mod descent;
mod flow;
pub(crate) mod latents;
mod picture;
mod sound;

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use kinora_harness::checkpoint::{CheckpointError, Checkpoints, read_state, write_state};
use kinora_harness::device::{DeviceChoice, DeviceError, resolve};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::Mode;
use kinora_harness::publish::FileError;
use kinora_harness::run::{Run, RunError, Status};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::descent::Descent;
use self::latents::{Encoders, Extent};
use crate::model::Model;
use crate::size::{ModelConfig, ModelSize};
use crate::weights::{ModelCard, WeightsError, save_model};
use crate::words::Vocabulary;

pub(crate) use self::flow::normal;

/// Why a training ended without weights.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Tensors(#[from] kinora_harness::weights::WeightsError),
    #[error("training stopped at step {step} of stage `{stage}`; the same command goes on from there")]
    Interrupted { stage: &'static str, step: u64 },
    #[error("the loss of stage `{stage}` is no number any more at step {step}: lower the learning rate")]
    Diverged { stage: &'static str, step: u64 },
    #[error("`{}` holds the checkpoints of a training with other options: remove it or choose another", path.display())]
    OtherRun { path: PathBuf },
    #[error("`{}` holds latents of another training: remove it", path.display())]
    ForeignCache { path: PathBuf },
}

impl TrainError {
    /// Whether this is a stop on request, at a checkpoint.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }
}

/// How long each stage runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainPlan {
    /// Frames drawn for the picture autoencoder.
    pub picture_frames: u64,
    pub picture_steps: u64,
    /// Impacts drawn for the sound autoencoder.
    pub sound_impacts: u64,
    pub sound_steps: u64,
    /// Clips of the corpus that the transformer learns from.
    pub clips: u64,
    pub flow_steps: u64,
    /// Clips in a step of the transformer.
    pub batch: usize,
    pub checkpoint_every: u64,
}

impl TrainPlan {
    /// A few steps of every stage: whether the machinery works, not a model.
    pub fn smoke() -> Self {
        Self {
            picture_frames: 16,
            picture_steps: 8,
            sound_impacts: 16,
            sound_steps: 8,
            clips: 16,
            flow_steps: 8,
            batch: 8,
            checkpoint_every: 2,
        }
    }

    /// What a size needs.
    pub fn of(size: ModelSize) -> Self {
        let (clips, flow_steps, batch) = match size {
            ModelSize::Nano => (24_000, 2_400, 48),
            ModelSize::Small => (300_000, 60_000, 256),
            ModelSize::Base => (1_000_000, 120_000, 512),
            ModelSize::Large => (3_000_000, 200_000, 1024),
        };
        Self {
            picture_frames: 2_000,
            picture_steps: 3_000,
            sound_impacts: 3_000,
            sound_steps: 1_200,
            clips,
            flow_steps,
            batch,
            checkpoint_every: 250,
        }
    }
}

/// What is to be trained, and where.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    pub model: ModelConfig,
    pub plan: TrainPlan,
    pub seed: u64,
    /// Where the finished model goes; checkpoints lie in `checkpoints` under it.
    pub out_dir: PathBuf,
    pub runs_dir: PathBuf,
    pub device: DeviceChoice,
    pub progress: Mode,
    pub interrupt: Interrupt,
}

impl TrainOptions {
    /// The defaults of a size.
    pub fn new(size: ModelSize, out_dir: impl Into<PathBuf>, runs_dir: impl Into<PathBuf>) -> Self {
        Self {
            model: size.config(),
            plan: TrainPlan::of(size),
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
pub struct TrainReport {
    pub model_dir: PathBuf,
    pub run_id: String,
    pub parameters: usize,
}

/// Options that decide the weights: checkpoints belong to these.
#[derive(PartialEq, Serialize, Deserialize)]
struct Identity {
    model: ModelConfig,
    plan: TrainPlan,
    seed: u64,
}

/// Trains a model. Stopped and called again with the same options, it goes on where it was.
pub fn train(options: &TrainOptions) -> Result<TrainReport, TrainError> {
    let device = resolve(options.device)?;
    let checkpoints = options.out_dir.join("checkpoints");
    let identity = Identity { model: options.model.clone(), plan: options.plan.clone(), seed: options.seed };
    claim(&checkpoints, &identity)?;

    let params = serde_json::json!({
        "model": &identity.model, "plan": &identity.plan, "seed": identity.seed,
        "device": options.device.to_string(),
    });
    let mut run = Run::start(&options.runs_dir, "video", &params)?;
    let ground = Ground { options, checkpoints: &checkpoints, run: &mut run };
    let trained = stages(options, ground, &device);
    let status = match &trained {
        Ok(_) => Status::Finished,
        Err(error) if error.is_interruption() => Status::Interrupted,
        Err(_) => Status::Failed,
    };
    let record = run.finish(status)?;
    Ok(TrainReport {
        model_dir: options.out_dir.clone(),
        run_id: record.id,
        parameters: trained?.num_params(),
    })
}

/// What the stages that learn are given.
#[derive(Clone, Copy)]
struct Lesson<'a> {
    config: &'a ModelConfig,
    plan: &'a TrainPlan,
    seed: u64,
    /// Where gradients are kept.
    device: &'a Device,
}

/// What the stages of one training share.
struct Ground<'a> {
    options: &'a TrainOptions,
    checkpoints: &'a Path,
    run: &'a mut Run,
}

impl Ground<'_> {
    fn descent(&mut self, name: &'static str, steps: u64, averaging: f64) -> Result<Descent<'_>, TrainError> {
        Ok(Descent {
            name,
            steps,
            checkpoint_every: self.options.plan.checkpoint_every,
            averaging,
            checkpoints: Checkpoints::open(self.checkpoints.join(name))?,
            run: self.run,
            interrupt: &self.options.interrupt,
            progress: self.options.progress,
        })
    }
}

fn stages(options: &TrainOptions, mut ground: Ground<'_>, device: &Device) -> Result<Model, TrainError> {
    let (config, plan, seed) = (&options.model, &options.plan, options.seed);
    let lesson = Lesson { config, plan, seed, device: &device.clone().autodiff() };
    // Stage 1: looks. What balls and places look like, as codes, and every pixel from them.
    let picture = picture::train(&lesson, ground.descent("picture", plan.picture_steps, 0.999)?)?;

    // Stage 2: impacts. What a contact sounds like, as a code, and its waveform from it.
    let sound = sound::train(&lesson, ground.descent("sound", plan.sound_steps, 0.995)?)?;

    // Stage 3: latents. The corpus as the transformer sees it, encoded once.
    let cache = latents::load_or_encode(
        &ground.checkpoints.join("latents"),
        Extent { seed, clips: plan.clips },
        Encoders { config, picture: &picture, sound: &sound, device },
        options.progress,
        &options.interrupt,
    )?;

    // Stage 4: flow. From noise and a sentence to latents.
    let flow = flow::train(&lesson, &cache, ground.descent("flow", plan.flow_steps, 0.998)?)?;

    let model = Model { picture, sound, flow };
    let card = ModelCard {
        format: ModelCard::FORMAT,
        model: config.clone(),
        vocabulary: Vocabulary::of_corpus(),
        normalisation: cache.normalisation.clone(),
        plan: plan.clone(),
        seed,
        code_version: kinora_harness::CODE_VERSION.to_owned(),
    };
    save_model(&options.out_dir, &model, &card)?;
    Ok(model)
}

/// Notes in the checkpoints' directory whose they are, or refuses another's.
fn claim(checkpoints: &Path, identity: &Identity) -> Result<(), TrainError> {
    std::fs::create_dir_all(checkpoints).map_err(FileError::at("create", checkpoints))?;
    let path = checkpoints.join("options.json");
    if path.exists() {
        let found: Identity = read_state(&path)?;
        if found != *identity {
            return Err(TrainError::OtherRun { path: checkpoints.to_owned() });
        }
        return Ok(());
    }
    Ok(write_state(&path, identity)?)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A training of a few steps.
    fn tiny(root: &Path, name: &str) -> TrainOptions {
        let mut options = TrainOptions::new(ModelSize::Nano, root.join(name), root.join("runs"));
        options.device = DeviceChoice::Cpu;
        options.model = ModelConfig { width: 16, heads: 2, layers: 1, sound_width: 8, ..options.model };
        options.plan = TrainPlan {
            picture_frames: 3,
            picture_steps: 3,
            sound_impacts: 3,
            sound_steps: 3,
            clips: 4,
            flow_steps: 6,
            batch: 2,
            checkpoint_every: 2,
        };
        options
    }

    fn weights(options: &TrainOptions) -> Vec<u8> {
        fs::read(options.out_dir.join("weights.safetensors")).unwrap()
    }

    /// Brings a finished training to where a kill would have left it: each stage lacks its last steps.
    fn kill(options: &TrainOptions, stages: &[&str]) {
        for stage in stages {
            let directory = options.out_dir.join("checkpoints").join(stage);
            let newest = Checkpoints::open(&directory).unwrap().latest().unwrap().unwrap().1;
            fs::remove_dir_all(newest).unwrap();
        }
        fs::remove_file(options.out_dir.join("weights.safetensors")).unwrap();
    }

    #[test]
    fn a_training_that_was_stopped_ends_with_the_same_weights() {
        let root = tempfile::tempdir().unwrap();
        let whole = tiny(root.path(), "whole");
        let report = train(&whole).unwrap();
        assert!(report.parameters > 10_000);

        let mut stopped = tiny(root.path(), "stopped");
        stopped.interrupt.set();
        let error = train(&stopped).unwrap_err();
        assert!(error.is_interruption(), "{error}");
        stopped.interrupt = Interrupt::new();
        train(&stopped).unwrap();
        assert!(weights(&whole) == weights(&stopped), "a stop before the first step changed the weights");

        kill(&stopped, &["flow"]);
        train(&stopped).unwrap();
        assert!(weights(&whole) == weights(&stopped), "a stop between steps changed the weights");

        kill(&stopped, &["picture", "sound", "flow"]);
        fs::remove_dir_all(stopped.out_dir.join("checkpoints/latents")).unwrap();
        train(&stopped).unwrap();
        assert!(weights(&whole) == weights(&stopped), "a stop in every stage changed the weights");

        let other = TrainOptions { seed: 1, ..tiny(root.path(), "other") };
        train(&other).unwrap();
        assert!(weights(&whole) != weights(&other), "the seed decides nothing");
        let error = train(&TrainOptions { seed: 2, ..other }).unwrap_err();
        assert!(matches!(error, TrainError::OtherRun { .. }), "{error}");
    }

    #[test]
    fn a_trained_model_generates_and_a_broken_one_is_one_clear_line() {
        use crate::generate::{GenerationRequest, Generator};
        let root = tempfile::tempdir().unwrap();
        let options = tiny(root.path(), "model");
        train(&options).unwrap();
        let load = || Generator::load(&options.out_dir, DeviceChoice::Cpu);
        let request = GenerationRequest { steps: 2, side: 16, ..GenerationRequest::new("a ball", 1) };
        let clip =
            load().unwrap().generate(&request, &mut |_, _| std::ops::ControlFlow::Continue(())).unwrap();
        assert_eq!(clip.frame_count(), 96);
        assert!(clip.samples.iter().all(|sample| sample.abs() <= 1.0));

        let whole = weights(&options);
        let path = options.out_dir.join("weights.safetensors");
        for broken in [&whole[..whole.len() / 2], b"no weights", b""] {
            fs::write(&path, broken).unwrap();
            let error = load().unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
        fs::write(&path, &whole).unwrap();
        let config = options.out_dir.join("config.json");
        let text = fs::read_to_string(&config).unwrap();
        for broken in [
            "{".to_owned(),
            text.replace("\"format\": 1", "\"format\": 9"),
            text.replace("\"width\": 16", "\"width\": 0"),
        ] {
            fs::write(&config, broken).unwrap();
            let error = load().unwrap_err().to_string();
            assert!(!error.contains('\n'), "{error}");
        }
        fs::remove_file(&path).unwrap();
        assert!(load().unwrap_err().to_string().contains("weights.safetensors"));
    }
}
