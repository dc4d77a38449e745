//! Training of the ranker, top to bottom: a dataset enters, a model directory leaves.
//!
//! INVARIANT: the weights depend on the dataset, the hyperparameters and the seed alone. Batches
//! and forgotten ids follow from the seed and the step, so a run that stops at any checkpoint
//! and goes on reaches the weights of a run that never stopped.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use kinora_harness::checkpoint::{self, Checkpoints};
use kinora_harness::device::{self, DeviceChoice};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::run::{Run, Status};
use kinora_harness::seed::{derive, seeded};
use kinora_harness::weights;
use kinora_schema::ranking::Task;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;

pub(crate) use self::data::duration;
use self::data::{Data, Order};
pub use self::hyperparameters::Hyperparameters;
pub use self::search::{SearchOptions, SearchReport, Trial, read_hyperparameters, search};
use crate::artifact;
use crate::dataset::Dataset;
use crate::error::{RankingError, Result};
use crate::model::{self, RankerModel};
use crate::rows::{Forget, Vocabularies};

mod data;
mod hyperparameters;
mod search;

/// The split that a ranker learns from.
pub const TRAIN_SPLIT: &str = "train";
/// Steps between two readings of the loss: each one waits for the device.
const READ_EVERY: u64 = 20;

/// What to train, from what, and where to.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// Directory of the ranking dataset.
    pub dataset: PathBuf,
    /// Directory that the model is put into, whole or not at all. Checkpoints lie beside it.
    pub out: PathBuf,
    /// Directory of run records.
    pub runs: PathBuf,
    pub hyperparameters: Hyperparameters,
    /// Directory of a ranker to go on from with newer examples, in place of drawn weights.
    pub from: Option<PathBuf>,
    pub seed: u64,
    pub device: DeviceChoice,
    /// Steps between two checkpoints.
    pub checkpoint_every: u64,
    /// Goes on from the latest checkpoint of the same run; without it, that is discarded.
    pub resume: bool,
    pub interrupt: Interrupt,
    pub progress: Mode,
}

/// How training ended.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "status")]
pub enum TrainOutcome {
    Finished(TrainReport),
    /// Stopped on request; the checkpoint holds everything up to `step`.
    Interrupted {
        step: u64,
        steps: u64,
        run_id: String,
    },
}

/// What a finished training did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainReport {
    pub run_id: String,
    pub model: PathBuf,
    pub rows: usize,
    pub calibration_rows: usize,
    pub parameters: usize,
    pub steps: u64,
    /// Mean of the last steps' losses, in nats a row, all heads together.
    pub loss: f64,
    pub seconds: f64,
}

/// What ties a checkpoint to its run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    step: u64,
    seed: u64,
    hyperparameters: Hyperparameters,
    dataset_sha256: String,
    /// The run of the ranker that it goes on from.
    from: Option<String>,
}

/// Trains a ranker.
pub fn train(options: &TrainOptions) -> Result<TrainOutcome> {
    let started = Instant::now();
    let hyper = &options.hyperparameters;
    hyper.check()?;
    let device = device::resolve(options.device)?;
    let training_device = device.clone().autodiff();

    // --- Data: the latest part of the split is kept back to calibrate on.
    let earlier = options.from.as_deref().map(|from| artifact::load(from, &training_device)).transpose()?;
    if let Some((_, card)) = &earlier
        && card.config != hyper.model
    {
        let path = options.from.clone().unwrap_or_default();
        return Err(RankingError::ranker(&path, "its widths are not those asked for"));
    }
    let dataset = Dataset::open(&options.dataset)?;
    let data = Data::read(&dataset, hyper, earlier.as_ref().map(|(_, card)| card))?;
    let mut run = Run::start(
        &options.runs,
        "ranker",
        &json!({ "dataset": options.dataset, "seed": options.seed, "hyperparameters": hyper }),
    )?;

    // --- Model and optimizer: new, or as the latest checkpoint left them.
    let Vocabularies { tokens, videos } = &data.vocabularies;
    let model = seeded(&training_device, derive(options.seed, "weights"), || {
        hyper.model.init(tokens.rows(), videos.rows(), &training_device)
    });
    let from = earlier.as_ref().map(|(_, card)| card.trained.run_id.clone());
    let model = match earlier {
        Some((earlier, _)) => earlier.with_names_of(model)?,
        None => model.with_rates(data.rates(), &training_device),
    };
    let optimizer = AdamWConfig::new().with_weight_decay(hyper.weight_decay).init();
    let checkpoints = Checkpoints::open(checkpoint_directory(&options.out))?;
    let start = State {
        step: 0,
        seed: options.seed,
        hyperparameters: hyper.clone(),
        dataset_sha256: dataset.split(TRAIN_SPLIT)?.sha256.clone(),
        from,
    };
    let (mut model, mut optimizer, mut state) = match checkpoints.latest()? {
        Some((_, path)) if options.resume => restore(&path, model, optimizer, &start)?,
        _ => {
            checkpoints.clear()?;
            (model, optimizer, start)
        }
    };

    // --- The loop.
    let batches = data.train.len().div_ceil(hyper.batch) as u64;
    let steps = (u64::from(hyper.epochs) * batches).max(hyper.minimum_steps);
    let mut progress = Progress::new("train ranker", steps, options.progress);
    let descent = Descent { data: &data, hyper, seed: options.seed, steps, device: &training_device };
    let mut order = Order::new(&data.train, options.seed);
    let mut losses = Losses::default();
    let mut loss_mean = f64::NAN;
    while state.step < steps {
        let step = state.step;
        let rows = order.batch(step / batches, (step % batches) as usize, hyper.batch);
        let loss;
        (model, loss) = descent.step(model, &mut optimizer, rows, step);
        losses.add(loss);
        state.step += 1;

        if state.step % READ_EVERY == 0 || state.step == steps {
            loss_mean = losses.read().ok_or(RankingError::Diverged { step: state.step })?;
            run.metric(state.step, "loss", loss_mean)?;
            progress.set(state.step, format_args!("loss {loss_mean:.4}"));
        }
        let stopping = options.interrupt.is_set() && state.step < steps;
        if stopping || (state.step % options.checkpoint_every.max(1) == 0 && state.step < steps) {
            // A checkpoint of weights that have already gone wrong would be resumed for ever.
            losses.check().ok_or(RankingError::Diverged { step: state.step })?;
            save(&checkpoints, &model, &optimizer, &state)?;
        }
        if stopping {
            progress.finish(format_args!("interrupted at step {} of {steps}", state.step));
            let run_id = run.finish(Status::Interrupted)?.id;
            return Ok(TrainOutcome::Interrupted { step: state.step, steps, run_id });
        }
    }

    // --- Calibration on rows that no step has seen, and the finished model.
    let model = model.valid();
    let calibration = data.calibrate(&model, &device)?;
    for (task, platt) in Task::ALL.iter().zip(calibration) {
        run.metric(steps, &format!("calibration_slope/{}", task.as_str()), f64::from(platt.slope))?;
        run.metric(steps, &format!("calibration_offset/{}", task.as_str()), f64::from(platt.offset))?;
    }
    let (rows, calibration_rows) = (data.train.len(), data.held_out.len());
    let card = data.into_card(calibration, &state, run.id());
    artifact::save(&options.out, &model, &card)?;
    checkpoints.clear()?;
    let run_id = run.finish(Status::Finished)?.id;
    progress.finish(format_args!("{rows} examples, {steps} steps, loss {loss_mean:.4}"));
    Ok(TrainOutcome::Finished(TrainReport {
        run_id,
        model: options.out.clone(),
        rows,
        calibration_rows,
        parameters: model.num_params(),
        steps,
        loss: loss_mean,
        seconds: started.elapsed().as_secs_f64(),
    }))
}

/// What each step of a training has in common.
struct Descent<'a> {
    data: &'a Data,
    hyper: &'a Hyperparameters,
    seed: u64,
    steps: u64,
    device: &'a Device,
}

impl Descent<'_> {
    /// Learns from `rows` once; the loss is that before the step.
    fn step(
        &self,
        model: RankerModel,
        optimizer: &mut ModuleOptimizer,
        rows: &[usize],
        step: u64,
    ) -> (RankerModel, Tensor<1>) {
        let Self { data, hyper, seed, steps, device } = *self;
        let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, &format!("forget {step}")));
        let forget = Forget { rng: &mut rng, videos: hyper.forget_videos, tokens: hyper.forget_tokens };
        let batch = data.rows.batch(rows, &data.normaliser, Some(forget), device);
        let logits = model.forward(batch) + model.of_places(data.places(rows, device));
        let loss = model::loss(logits, data.targets(rows, device));
        let seen = loss.clone().detach();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        (optimizer.step(learning_rate(hyper, step, steps), model, gradients), seen)
    }
}

/// Where the checkpoints of the model at `out` lie.
fn checkpoint_directory(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".checkpoints");
    out.with_file_name(name)
}

/// Rises for the first steps, while the optimizer's averages settle, then falls in a line.
fn learning_rate(hyper: &Hyperparameters, step: u64, steps: u64) -> f64 {
    const WARM_UP: f64 = 20.0;
    let rise = ((step + 1) as f64 / WARM_UP).min(1.0);
    let fall = 1.0 - 0.9 * step as f64 / steps as f64;
    hyper.learning_rate * rise * fall
}

fn save(
    checkpoints: &Checkpoints,
    model: &RankerModel,
    optimizer: &ModuleOptimizer,
    state: &State,
) -> Result<()> {
    checkpoints.save(state.step, |directory| {
        weights::save_module(model, &directory.join("model.bpk"))?;
        weights::save_optimizer(optimizer, &directory.join("optimizer.bpk"))?;
        checkpoint::write_state(&directory.join("state.json"), state)
    })?;
    Ok(())
}

fn restore(
    path: &Path,
    model: RankerModel,
    optimizer: ModuleOptimizer,
    start: &State,
) -> Result<(RankerModel, ModuleOptimizer, State)> {
    let state: State = checkpoint::read_state(&path.join("state.json"))?;
    let differing: Vec<&str> = [
        ("the seed", state.seed != start.seed),
        ("the hyperparameters", state.hyperparameters != start.hyperparameters),
        ("the data", state.dataset_sha256 != start.dataset_sha256),
        ("the earlier ranker", state.from != start.from),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    if !differing.is_empty() {
        return Err(RankingError::OtherRun { path: path.to_owned(), differs: differing.join(", ") });
    }
    let model = weights::load_module(model, &path.join("model.bpk"))?;
    let optimizer = weights::load_optimizer(optimizer, &path.join("optimizer.bpk"))?;
    Ok((model, optimizer, state))
}

/// The numbers of a tensor, which a model that went wrong may not give.
pub(crate) fn read_floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.into_data().try_to_vec().map_err(|_| RankingError::Scores)
}

/// Losses since the last reading, summed on the device.
#[derive(Default)]
struct Losses {
    sum: Option<Tensor<1>>,
    count: u32,
}

impl Losses {
    fn add(&mut self, loss: Tensor<1>) {
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + loss,
            None => loss,
        });
        self.count += 1;
    }

    /// The mean since the last reading, or nothing where a loss was not finite.
    fn read(&mut self) -> Option<f64> {
        let mean = self.check();
        *self = Self::default();
        mean
    }

    fn check(&self) -> Option<f64> {
        let Some(sum) = &self.sum else { return Some(0.0) };
        let mean = f64::from(sum.clone().into_scalar::<f32>()) / f64::from(self.count);
        mean.is_finite().then_some(mean)
    }
}

#[cfg(test)]
mod tests;
