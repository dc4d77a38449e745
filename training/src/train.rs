//! Training, from nothing to weights: options enter; a model directory, a run record and checkpoints leave.
//!
//! Seven stages, each resumable: the look encoder, the voice encoder, the ear, the sound autoencoder, the
//! latents of a corpus, and on these the eye and the transformer. INVARIANT: the same options and seed give the same weights
//! on the same kind of device, however often the training was stopped.

pub(crate) mod descent;
mod distill;
mod ear;
mod eye;
pub(crate) mod flow;
pub(crate) mod latents;
mod looks;
#[cfg(all(test, feature = "cuda"))]
mod parity;
pub(crate) mod rehearsal;
mod sound;
mod voice;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn::module::Module;
use burn::tensor::Device;
use kinora_harness::checkpoint::{CheckpointError, Checkpoints, read_state, write_state};
use kinora_harness::device::{DeviceChoice, DeviceError, resolve};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::Mode;
use kinora_harness::publish::{FileError, write_file};
use kinora_harness::run::{Run, RunError, Status};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::descent::{Descent, Effort, workers};
use self::latents::{Encoders, LatentSet};
use crate::generate::{GenerateError, GenerationRequest, Generator};
use crate::media::{MediaError, contact_sheet_png};
use crate::model::flow::Sampling;
use crate::model::sound::SoundAutoencoder;
use crate::model::{Model, flops};
use crate::size::{ModelConfig, ModelSize};
use crate::weights::{ModelCard, WeightsError, load_model, save_model};
use crate::words::Vocabulary;

pub use self::distill::{DistillOptions, DistillPlan, distill};
pub(crate) use self::flow::{LAB_FRAMES, normal};
pub(crate) use self::sound::normalised;

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
    #[error("what the model draws so far cannot be shown")]
    Sample(#[from] GenerateError),
    #[error("what the model draws so far cannot be written")]
    Sheet(#[from] MediaError),
    #[error("training stopped at step {step} of stage `{stage}`; the same command goes on from there")]
    Interrupted { stage: &'static str, step: u64 },
    #[error("the loss of stage `{stage}` is no number any more at step {step}: lower the learning rate")]
    Diverged { stage: &'static str, step: u64 },
    #[error("a model cannot be distilled to {steps} steps: use 1 to 4")]
    SamplerSteps { steps: usize },
    #[error("`{}` is a distilled model, which cannot teach: distil the model that taught it", path.display())]
    DistilledTeacher { path: PathBuf },
    #[error("`{}` is a distilled model, which cannot learn on: train the model that taught it", path.display())]
    DistilledPupil { path: PathBuf },
    #[error("`{}` knows other words than this version's corpus: train it anew", path.display())]
    OtherWords { path: PathBuf },
    #[error("`{}` holds the checkpoints of a training with other options: remove it or choose another", path.display())]
    OtherRun { path: PathBuf },
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
    /// Portraits drawn for the look encoder.
    pub portraits: u64,
    pub portrait_steps: u64,
    /// Recordings made for the voice encoder.
    pub recordings: u64,
    pub voice_steps: u64,
    /// Impacts drawn for the sound autoencoder.
    pub sound_impacts: u64,
    pub sound_steps: u64,
    /// Clips of the corpus that the transformer learns from.
    pub clips: u64,
    pub flow_steps: u64,
    /// Clips in a step of the transformer.
    pub batch: usize,
    /// Parts of a step, whose gradients add up: on a CPU and on several GPUs they are worked on at the same time,
    /// on one GPU one after another, in as much less memory.
    pub shards: usize,
    pub checkpoint_every: u64,
    /// Steps of the eye, which reads frames.
    #[serde(default = "recognise_steps")]
    pub recognise_steps: u64,
    /// Steps of the ear, which reads speech.
    #[serde(default = "listen_steps")]
    pub listen_steps: u64,
    /// What is left out, to measure what it is worth.
    #[serde(default)]
    pub without: Vec<Choice>,
}

fn recognise_steps() -> u64 {
    8_000
}

fn listen_steps() -> u64 {
    6_000
}

/// A choice of the transformer's training that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// Picture and sound at timesteps of their own; without it always at the same.
    IndependentNoise,
    /// Attention between picture and sound.
    CrossAttention,
    /// Velocities beside the places.
    Motion,
    /// Muon on the blocks' matrices; without it `AdamW`.
    Muon,
}

impl FromStr for Choice {
    type Err = UnknownChoice;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "independent-noise" => Ok(Self::IndependentNoise),
            "cross-attention" => Ok(Self::CrossAttention),
            "motion" => Ok(Self::Motion),
            "muon" => Ok(Self::Muon),
            _ => Err(UnknownChoice { name: name.to_owned() }),
        }
    }
}

#[derive(Debug, Error, PartialEq, Eq)]
#[error("there is no choice `{name}`: use independent-noise, cross-attention, motion or muon")]
pub struct UnknownChoice {
    name: String,
}

impl TrainPlan {
    /// A few steps of every stage: whether the machinery works, not a model.
    pub fn smoke() -> Self {
        Self {
            portraits: 16,
            portrait_steps: 8,
            recordings: 16,
            voice_steps: 8,
            sound_impacts: 16,
            sound_steps: 8,
            clips: 16,
            flow_steps: 8,
            batch: 8,
            shards: 2,
            checkpoint_every: 2,
            recognise_steps: 8,
            listen_steps: 8,
            without: Vec::new(),
        }
    }

    /// What a size needs.
    pub fn of(size: ModelSize) -> Self {
        let (clips, flow_steps, batch) = match size {
            ModelSize::Nano => (60_000, 12_000, 48),
            ModelSize::Small => (300_000, 60_000, 256),
            ModelSize::Base => (1_000_000, 120_000, 512),
            ModelSize::Large => (3_000_000, 200_000, 1024),
        };
        Self {
            portraits: 20_000,
            portrait_steps: 4_000,
            recordings: 6_000,
            voice_steps: 6_000,
            sound_impacts: 3_000,
            sound_steps: 1_200,
            clips,
            flow_steps,
            batch,
            shards: 2,
            checkpoint_every: 250,
            recognise_steps: recognise_steps(),
            listen_steps: listen_steps(),
            without: Vec::new(),
        }
    }
}

/// What is to be trained, and where.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    pub model: ModelConfig,
    pub plan: TrainPlan,
    pub seed: u64,
    /// A trained model that learns on: its encoders stay, its transformer goes on from where it is, and what it
    /// left out it leaves out still.
    pub from: Option<PathBuf>,
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
            from: None,
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
    /// Of the model that learns on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<ModelCard>,
}

/// Trains a model. Stopped and called again with the same options, it goes on where it was.
pub fn train(options: &TrainOptions) -> Result<TrainReport, TrainError> {
    let mut options = options.clone();
    options.model.linked &= !options.plan.without.contains(&Choice::CrossAttention);
    options.model.motion &= !options.plan.without.contains(&Choice::Motion);
    let device = resolve(options.device)?;
    let taught = match &options.from {
        Some(directory) => {
            let (model, card) = load_model(directory, &device)?;
            if card.distilled {
                return Err(TrainError::DistilledPupil { path: directory.clone() });
            }
            if card.vocabulary != Vocabulary::of_corpus() {
                return Err(TrainError::OtherWords { path: directory.clone() });
            }
            options.model = card.model.clone();
            options.plan.without.clone_from(&card.plan.without);
            Some((model, card))
        }
        None => None,
    };
    let options = &options;
    let checkpoints = options.out_dir.join("checkpoints");
    let identity = Identity {
        model: options.model.clone(),
        plan: options.plan.clone(),
        seed: options.seed,
        from: taught.as_ref().map(|(_, card)| card.clone()),
    };
    claim(&checkpoints, &identity)?;

    let params = serde_json::json!({
        "model": &identity.model, "plan": &identity.plan, "seed": identity.seed, "from": &options.from,
        "device": options.device.to_string(),
    });
    let mut run = Run::start(&options.runs_dir, "video", &params)?;
    let learning = device.clone().autodiff();
    let ground = Ground { options, checkpoints: &checkpoints, run: &mut run, device: &learning };
    let trained = stages(options, ground, &device, taught);
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
    /// Where gradients are kept.
    device: &'a Device,
}

impl Ground<'_> {
    fn descent(&mut self, name: &'static str, steps: u64, averaging: f64) -> Result<Descent<'_>, TrainError> {
        Ok(Descent {
            shards: 1,
            workers: vec![self.device.clone()],
            effort: None,
            device: self.device,
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

fn stages(
    options: &TrainOptions,
    mut ground: Ground<'_>,
    device: &Device,
    taught: Option<(Model, ModelCard)>,
) -> Result<Model, TrainError> {
    let (config, plan, seed) = (&options.model, &options.plan, options.seed);
    let lesson = Lesson { config, plan, seed, device: ground.device };
    let encode = |sound: &SoundAutoencoder| {
        let encoders = Encoders { config, sound, device };
        latents::encode(seed, plan.clips, encoders, options.progress, &options.interrupt)
    };
    let (begun, set) = match taught {
        // What it learns on from reads and draws the numbers that it knows.
        Some((model, card)) => {
            let set = LatentSet { normalisation: card.normalisation, ..encode(&model.sound)? };
            (model, set)
        }
        None => begin(&lesson, &mut ground, encode, device)?,
    };

    // Stage 7: flow. From noise and a sentence to latents.
    let card = ModelCard {
        format: ModelCard::FORMAT,
        model: config.clone(),
        vocabulary: Vocabulary::of_corpus(),
        normalisation: set.normalisation.clone(),
        plan: plan.clone(),
        seed,
        sampling: Sampling::default(),
        distilled: false,
        code_version: kinora_harness::CODE_VERSION.to_owned(),
    };
    let descent = Descent {
        shards: plan.shards.max(1),
        workers: workers(options.device, plan.shards)?,
        effort: Some(Effort { clips: plan.batch, flop: flops::training(config) }),
        ..ground.descent("flow", plan.flow_steps, 0.998)?
    };
    let preview = options.out_dir.join("preview");
    let flow = flow::train(&lesson, &set, begun.flow.clone(), descent, |step, flow, run| {
        if !step.is_multiple_of(SAMPLE_EVERY) {
            return Ok(());
        }
        let model = Model { flow: flow.clone(), ..begun.clone() };
        save_model(&preview, &model, &card)?;
        show(&Generator::of(model, card.clone(), device.clone()), step, run)
    })?;

    let model = Model { flow, ..begun };
    save_model(&options.out_dir, &model, &card)?;
    Ok(model)
}

/// All stages before the transformer's, whose weights are still those it begins with.
fn begin(
    lesson: &Lesson<'_>,
    ground: &mut Ground<'_>,
    encode: impl Fn(&SoundAutoencoder) -> Result<LatentSet, TrainError>,
    device: &Device,
) -> Result<(Model, LatentSet), TrainError> {
    let plan = lesson.plan;
    // Stage 1: looks. What a portrait shows, as numbers.
    let looks = looks::train(lesson, ground.descent("looks", plan.portrait_steps, 0.999)?)?;

    // Stage 2: voices. Whose voice a recording holds, as numbers.
    let voices = voice::train(lesson, ground.descent("voices", plan.voice_steps, 0.999)?)?;

    // Stage 3: speech. What a voice does at each instant.
    let ear = ear::train(lesson, ground.descent("ear", plan.listen_steps, 0.999)?)?;

    // Stage 4: impacts. What a contact sounds like, as a code, and its waveform from it.
    let sound = sound::train(lesson, ground.descent("sound", plan.sound_steps, 0.995)?)?;

    // Stage 5: latents. The corpus as the transformer sees it, encoded once.
    let set = encode(&sound)?;

    // Stage 6: frames. Who and what one frame shows, and where.
    let eye = eye::train(lesson, &set, ground.descent("eye", plan.recognise_steps, 0.999)?)?;

    let flow = flow::begin(lesson, device);
    Ok((Model { eye, ear, looks, voices, sound, flow }, set))
}

/// Steps of the transformer between two looks at what it draws; the weights of the last are in `preview`.
const SAMPLE_EVERY: u64 = 500;
/// What it is asked for.
const SAMPLE_PROMPTS: [&str; 6] = [
    "a red ball bounces three times",
    "a blue ball is thrown into the hoop",
    "an orange ball knocks over five blue blocks",
    "a green ball swings four times on a rod",
    "a person in a red shirt and blue trousers walks to the right and says hello",
    "a person in a yellow shirt throws a purple ball then it bounces once",
];

/// Keeps a contact sheet of what a half-trained model draws beside the run's metrics.
fn show(generator: &Generator, step: u64, run: &Run) -> Result<(), TrainError> {
    let request = |prompt: &&str| GenerationRequest {
        steps: Some(8),
        // What it is by itself, not after a choice.
        takes: 1,
        width: 128,
        height: 128,
        ..GenerationRequest::new(*prompt, 7)
    };
    let clips = SAMPLE_PROMPTS
        .iter()
        .map(|prompt| generator.generate(&request(prompt), &mut |_, _| ControlFlow::Continue(())))
        .collect::<Result<Vec<_>, _>>()?;
    let directory = run.directory().join("samples");
    std::fs::create_dir_all(&directory).map_err(FileError::at("create", &directory))?;
    Ok(write_file(&directory.join(format!("{step:06}.png")), &contact_sheet_png(&clips, 8)?)?)
}

/// Notes in the checkpoints' directory whose they are, or refuses another's.
pub(crate) fn claim<T: Serialize + DeserializeOwned + PartialEq>(
    checkpoints: &Path,
    identity: &T,
) -> Result<(), TrainError> {
    std::fs::create_dir_all(checkpoints).map_err(FileError::at("create", checkpoints))?;
    let path = checkpoints.join("options.json");
    if path.exists() {
        let found: T = read_state(&path)?;
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

    use burn::tensor::Tensor;

    use super::*;

    /// A training of a few steps.
    fn tiny(root: &Path, name: &str) -> TrainOptions {
        let mut options = TrainOptions::new(ModelSize::Nano, root.join(name), root.join("runs"));
        options.device = DeviceChoice::Cpu;
        options.model = ModelConfig { width: 16, heads: 2, layers: 1, sound_width: 8, ..options.model };
        options.plan = TrainPlan {
            portraits: 3,
            portrait_steps: 3,
            recordings: 3,
            voice_steps: 3,
            sound_impacts: 3,
            sound_steps: 3,
            clips: 4,
            flow_steps: 6,
            batch: 2,
            shards: 2,
            checkpoint_every: 2,
            recognise_steps: 3,
            listen_steps: 3,
            without: Vec::new(),
        };
        options
    }

    #[test]
    fn a_plan_from_before_the_encoder_is_the_plan_of_its_size() {
        let mut plan = serde_json::to_value(TrainPlan::of(ModelSize::Nano)).unwrap();
        let fields = plan.as_object_mut().unwrap();
        assert!(fields.remove("recognise_steps").is_some() && fields.remove("listen_steps").is_some());
        let plan: TrainPlan = serde_json::from_value(plan).unwrap();
        assert_eq!(plan, TrainPlan::of(ModelSize::Nano));
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

        kill(&stopped, &["looks", "voices", "ear", "sound", "eye", "flow"]);
        train(&stopped).unwrap();
        assert!(weights(&whole) == weights(&stopped), "a stop in every stage changed the weights");

        let other = TrainOptions { seed: 1, ..tiny(root.path(), "other") };
        train(&other).unwrap();
        assert!(weights(&whole) != weights(&other), "the seed decides nothing");
        let error = train(&TrainOptions { seed: 2, ..other }).unwrap_err();
        assert!(matches!(error, TrainError::OtherRun { .. }), "{error}");
    }

    #[test]
    fn a_model_learns_on_from_its_weights_and_can_be_stopped() {
        let root = tempfile::tempdir().unwrap();
        let first = tiny(root.path(), "first");
        train(&first).unwrap();
        let on = |name: &str| TrainOptions {
            from: Some(first.out_dir.clone()),
            seed: 4,
            ..tiny(root.path(), name)
        };
        let whole = on("whole");
        train(&whole).unwrap();
        assert!(weights(&whole) != weights(&first), "it learned nothing");
        let stopped = on("stopped");
        train(&stopped).unwrap();
        kill(&stopped, &["flow"]);
        train(&stopped).unwrap();
        assert!(weights(&whole) == weights(&stopped), "a stop between steps changed the weights");
        let (old, card) = load_model(&first.out_dir, &Device::flex()).unwrap();
        let (new, learned) = load_model(&whole.out_dir, &Device::flex()).unwrap();
        assert_eq!(card.normalisation, learned.normalisation);
        let portrait = Tensor::<2>::full([1, 3072], 0.3, &Device::flex());
        let look = |model: &Model| model.looks.forward(portrait.clone()).into_data();
        assert_eq!(look(&old), look(&new), "the encoders stay");
    }

    #[test]
    fn a_student_draws_in_few_steps_and_can_be_stopped() {
        use crate::generate::{GenerateError, GenerationRequest, Generator};

        let root = tempfile::tempdir().unwrap();
        let teacher = tiny(root.path(), "teacher");
        train(&teacher).unwrap();
        let student = |name: &str| DistillOptions {
            teacher_dir: teacher.out_dir.clone(),
            out_dir: root.path().join(name),
            runs_dir: teacher.runs_dir.clone(),
            plan: DistillPlan {
                sampler_steps: 2,
                teacher_steps: 2,
                clips: 4,
                steps: 4,
                batch: 2,
                shards: 2,
                checkpoint_every: 2,
            },
            seed: 3,
            device: DeviceChoice::Cpu,
            progress: Mode::Silent,
            interrupt: Interrupt::new(),
        };
        let whole = student("whole");
        distill(&whole).unwrap();
        let stopped = student("stopped");
        distill(&stopped).unwrap();
        let read = |options: &DistillOptions| fs::read(options.out_dir.join("weights.safetensors")).unwrap();
        let newest = Checkpoints::open(stopped.out_dir.join("checkpoints/distillation")).unwrap();
        fs::remove_dir_all(newest.latest().unwrap().unwrap().1).unwrap();
        fs::remove_file(stopped.out_dir.join("weights.safetensors")).unwrap();
        distill(&stopped).unwrap();
        assert!(read(&whole) == read(&stopped), "a stop between steps changed the weights");
        assert!(read(&whole) != weights(&teacher), "the student learned nothing");

        let generator = Generator::load(&whole.out_dir, DeviceChoice::Cpu).unwrap();
        let request =
            GenerationRequest { width: 16, height: 16, takes: 1, ..GenerationRequest::new("a ball", 1) };
        let mut steps = 0;
        let mut count = |_, total| {
            steps = total;
            ControlFlow::Continue(())
        };
        generator.generate(&request, &mut count).unwrap();
        assert_eq!(steps, 2);
        let guided = GenerationRequest { guidance: Some(2.0), ..request };
        let refused = generator.generate(&guided, &mut |_, _| ControlFlow::Continue(()));
        assert!(matches!(refused, Err(GenerateError::Distilled)));

        let mut wrong = student("wrong");
        wrong.plan.sampler_steps = 5;
        assert!(matches!(distill(&wrong), Err(TrainError::SamplerSteps { steps: 5 })));
        let again = DistillOptions { teacher_dir: whole.out_dir, ..student("again") };
        assert!(matches!(distill(&again), Err(TrainError::DistilledTeacher { .. })));
    }

    #[test]
    fn a_trained_model_generates_and_a_broken_one_is_one_clear_line() {
        use crate::generate::{GenerationRequest, Generator};
        let root = tempfile::tempdir().unwrap();
        let options = tiny(root.path(), "model");
        train(&options).unwrap();
        let load = || Generator::load(&options.out_dir, DeviceChoice::Cpu);
        let request = GenerationRequest {
            steps: Some(2),
            width: 16,
            height: 16,
            ..GenerationRequest::new("a ball", 1)
        };
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
            text.replace("\"format\": 2", "\"format\": 9"),
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
