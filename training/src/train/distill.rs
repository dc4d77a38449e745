//! Distillation: a model that draws in many guided steps enters, one that draws alike in one to four leaves.
//!
//! The student stands at the start of one of its few steps, on a noised clip of the corpus; the teacher goes
//! from there to the end of that step in several small ones, guided; the student learns to be there at once
//! (progressive distillation, Salimans and Ho 2022, of a guided teacher, Meng et al. 2023). What was given to
//! the teacher as guidance is in the student's weights.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use kinora_harness::checkpoint::Checkpoints;
use kinora_harness::device::{DeviceChoice, resolve};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::Mode;
use kinora_harness::run::{Run, Status};
use kinora_harness::seed::derive;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::descent::{Descent, Shard, workers};
use super::flow::{Batch, groups};
use super::latents::{Encoders, encode};
use super::{TrainError, TrainReport, claim};
use crate::model::Model;
use crate::model::flow::{Guide, Sampling, direction_to, stride, timesteps};
use crate::model::latents::Latents;
use crate::model::text::PROMPT_WORDS;
use crate::model::transformer::{FlowTransformer, Known, Mask, Prompts};
use crate::weights::{ModelCard, load_model, save_model};
use crate::words::Vocabulary;

/// The teacher's peak learning rates are for weights that know nothing yet.
const RATE: f64 = 0.15;

/// What is distilled, into how few steps, and for how long.
#[derive(Clone, Debug)]
pub struct DistillOptions {
    /// A model made by `train`.
    pub teacher_dir: PathBuf,
    /// Where the student goes; checkpoints lie in `checkpoints` under it.
    pub out_dir: PathBuf,
    pub runs_dir: PathBuf,
    pub plan: DistillPlan,
    pub seed: u64,
    pub device: DeviceChoice,
    pub progress: Mode,
    pub interrupt: Interrupt,
}

/// How a student is taught.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DistillPlan {
    /// Steps in which the student draws: 1 to 4.
    pub sampler_steps: usize,
    /// The teacher's steps in each of the student's.
    pub teacher_steps: usize,
    /// Clips of the corpus that are drawn from.
    pub clips: u64,
    /// Training steps.
    pub steps: u64,
    pub batch: usize,
    /// Parts of a step, as a training's.
    pub shards: usize,
    pub checkpoint_every: u64,
}

impl Default for DistillPlan {
    fn default() -> Self {
        Self {
            sampler_steps: 4,
            teacher_steps: 4,
            clips: 20_000,
            steps: 2_000,
            batch: 48,
            shards: 2,
            checkpoint_every: 100,
        }
    }
}

/// Options that decide the weights: checkpoints belong to these.
#[derive(PartialEq, Serialize, Deserialize)]
struct Identity {
    teacher: ModelCard,
    plan: DistillPlan,
    seed: u64,
}

/// Teaches a student. Stopped and called again with the same options, it goes on where it was.
pub fn distill(options: &DistillOptions) -> Result<TrainReport, TrainError> {
    if !(1..=4).contains(&options.plan.sampler_steps) {
        return Err(TrainError::SamplerSteps { steps: options.plan.sampler_steps });
    }
    let device = resolve(options.device)?;
    let (teacher, card) = load_model(&options.teacher_dir, &device)?;
    if card.distilled {
        return Err(TrainError::DistilledTeacher { path: options.teacher_dir.clone() });
    }
    let checkpoints = options.out_dir.join("checkpoints");
    let identity = Identity { teacher: card.clone(), plan: options.plan.clone(), seed: options.seed };
    claim(&checkpoints, &identity)?;
    let params = serde_json::json!({
        "model": &card.model, "plan": &options.plan, "seed": options.seed,
        "device": options.device.to_string(),
    });
    let mut run = Run::start(&options.runs_dir, "distillation", &params)?;
    let taught = teach(options, &teacher, &card, &checkpoints, &mut run);
    let status = match &taught {
        Ok(_) => Status::Finished,
        Err(error) if error.is_interruption() => Status::Interrupted,
        Err(_) => Status::Failed,
    };
    let record = run.finish(status)?;
    let parameters = taught?.num_params();
    Ok(TrainReport { model_dir: options.out_dir.clone(), run_id: record.id, parameters })
}

fn teach(
    options: &DistillOptions,
    teacher: &Model,
    card: &ModelCard,
    checkpoints: &Path,
    run: &mut Run,
) -> Result<Model, TrainError> {
    let DistillOptions { plan, seed, progress, interrupt, .. } = options;
    let device = resolve(options.device)?;
    let learning = device.clone().autodiff();
    let config = &card.model;
    let seed = derive(*seed, "distillation");
    let encoders = Encoders { config, sound: &teacher.sound, device: &device };
    let mut set = encode(seed, plan.clips, encoders, *progress, interrupt)?;
    // The student reads and draws the teacher's numbers.
    set.normalisation = card.normalisation.clone();

    let times = timesteps(plan.sampler_steps, card.sampling.shift);
    let size = plan.batch.div_ceil(plan.shards.max(1));
    let loss = |student: &FlowTransformer, Shard { step, index, device }: Shard<'_>| {
        let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "batch") ^ index as u64);
        rng.set_stream(step + 1);
        let at = rng.random_range(0..plan.sampler_steps);
        let batch = Batch::new(&set, config, &[], size, &mut rng, device);
        let road = Road { from: times[at], to: times[at + 1], steps: plan.teacher_steps.max(1) };
        road.loss(student, &teacher.flow, card.sampling, batch)
    };
    let descent = Descent {
        name: "distillation",
        steps: plan.steps,
        checkpoint_every: plan.checkpoint_every,
        averaging: 0.995,
        shards: plan.shards.max(1),
        workers: workers(options.device, plan.shards)?,
        effort: None,
        device: &learning,
        checkpoints: Checkpoints::open(checkpoints.join("distillation"))?,
        run,
        interrupt,
        progress: *progress,
    };
    let gentle = |model: &FlowTransformer| {
        let mut groups = groups(model, &[]);
        for group in &mut groups {
            group.peak_rate *= RATE;
        }
        groups
    };
    let student = descent.run(teacher.flow.clone().train(), gentle, loss)?;
    let student = Model { flow: student, ..teacher.clone() };
    let card = ModelCard {
        sampling: Sampling { steps: plan.sampler_steps, guidance: 1.0, likeness: 1.0, ..card.sampling },
        distilled: true,
        ..card.clone()
    };
    save_model(&options.out_dir, &student, &card)?;
    Ok(student)
}

/// One of the student's steps, and how many the teacher takes on it.
#[derive(Clone, Copy, Debug)]
struct Road {
    from: f32,
    to: f32,
    steps: usize,
}

impl Road {
    fn loss(
        self,
        student: &FlowTransformer,
        teacher: &FlowTransformer,
        sampling: Sampling,
        batch: Batch,
    ) -> Tensor<1> {
        let Self { from, to, steps } = self;
        let start = batch.noisy_at(from);
        let guide = guide(teacher, &batch, sampling);
        let mut state = start.clone().map(Tensor::inner);
        for step in 0..steps {
            let at = |step: usize| from + (to - from) * step as f32 / steps as f32;
            state = stride(teacher, state, &guide, (at(step), at(step + 1)));
        }
        // The data that the student must see from the start, to be there in one step.
        let share = (to - from) / (1.0 - from);
        let begun = start.clone().map(Tensor::inner);
        let clean = begun.zip(state, |begun, state| state.sub(begun.clone()).div_scalar(share).add(begun));
        let direction = direction_to(start.clone(), clean.map(Tensor::from_inner), from);
        let [size, _, _] = start.tracks.dims();
        let times = Tensor::<1>::full([size], from, &start.tracks.device());
        let context = student.context(batch.prompts.clone());
        let predicted = student.forward(start, &batch.known, times.clone(), times, context);
        batch.square_error(predicted, direction)
    }
}

/// What leads the teacher: the batch's prompts, with their references and without, and none.
fn guide(teacher: &FlowTransformer, batch: &Batch, sampling: Sampling) -> Guide {
    let Prompts { words, looks, has_look, voice, has_voice } = batch.prompts.clone();
    let whole = Prompts {
        words: words.inner(),
        looks: looks.inner(),
        has_look: has_look.inner(),
        voice: voice.inner(),
        has_voice: has_voice.inner(),
    };
    let [size, _] = whole.words.dims();
    let device = whole.words.device();
    let text = Prompts {
        has_look: whole.has_look.zeros_like(),
        has_voice: whole.has_voice.zeros_like(),
        ..whole.clone()
    };
    let silence: Vec<i32> = Vocabulary::silence().repeat(size);
    let silence = TensorData::new(silence, [size, PROMPT_WORDS]);
    let Known { values, mask } = batch.known.clone();
    let Mask { frames, actors, stage, sound, voice } = mask;
    Guide {
        whole: teacher.context(whole),
        text: Some(teacher.context(text)),
        nothing: teacher.context(Prompts::of_words(Tensor::<2, Int>::from_data(silence, &device))),
        known: Known {
            values: Latents::map(values, Tensor::inner),
            mask: Mask {
                frames: frames.inner(),
                actors: actors.inner(),
                stage: stage.inner(),
                sound: sound.inner(),
                voice: voice.inner(),
            },
        },
        likeness: None,
        sampling,
    }
}
