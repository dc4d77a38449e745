//! Training of the ranker, top to bottom: a dataset enters, a model directory leaves.
//!
//! INVARIANT: the weights depend on the dataset, the hyperparameters and the seed alone. Batches
//! and forgotten ids follow from the seed and the step, so a run that stops at any checkpoint
//! and goes on reaches the weights of a run that never stopped.

use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use kinora_harness::checkpoint::{self, Checkpoints};
use kinora_harness::device::{self, DeviceChoice};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::run::{Run, Status};
use kinora_harness::seed::{derive, seeded};
use kinora_harness::weights;
use kinora_schema::ranking::{DENSE_FEATURES, TASKS};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::artifact::{self, CardParts, ModelCard, Trained};
use crate::calibrate::Platt;
use crate::dataset::Dataset;
use crate::error::{RankingError, Result};
use crate::model::{self, HEADS, RankerConfig, RankerModel, WATCH_HEAD};
use crate::normalise::Normaliser;
use crate::rows::{Counters, Forget, Outcomes, Rows, Vocabularies};
use crate::watch::WatchQuantiles;

/// The split that a ranker learns from.
pub const TRAIN_SPLIT: &str = "train";
/// Fewest examples worth a model.
const FEWEST_ROWS: usize = 64;
/// Steps between two readings of the loss: each one waits for the device.
const READ_EVERY: u64 = 20;
/// Rows scored at once outside training.
const SCORE_ROWS: usize = 1024;

/// The feature whose value tells clips of like duration for the watch head.
pub(crate) const DURATION_FEATURE: &str = "duration_log_s";

/// How the ranker learns. The defaults are for one pass over some ten thousand impressions or
/// more: embeddings of ids learn by heart in a second pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hyperparameters {
    pub model: RankerConfig,
    pub epochs: u32,
    /// Steps taken at least, in further passes where the data set is small.
    pub minimum_steps: u64,
    pub batch: usize,
    pub learning_rate: f64,
    pub weight_decay: f32,
    /// Probability that a clip's id is made unknown for a step.
    pub forget_videos: f64,
    /// Probability that a token is made unknown for a step.
    pub forget_tokens: f64,
    /// Rarer tokens have no embedding of their own.
    pub token_minimum: u32,
    /// Rarer clips have no embedding of their own.
    pub video_minimum: u32,
    /// Share of the training split, its latest part, that calibrates instead of training.
    pub calibration_share: f64,
    /// Duration buckets of the watch head.
    pub watch_buckets: usize,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            model: RankerConfig::default(),
            epochs: 1,
            minimum_steps: 200,
            batch: 256,
            learning_rate: 2e-3,
            weight_decay: 1e-3,
            forget_videos: 0.1,
            forget_tokens: 0.05,
            token_minimum: 5,
            video_minimum: 5,
            calibration_share: 0.1,
            watch_buckets: 20,
        }
    }
}

impl Hyperparameters {
    fn check(&self) -> Result<()> {
        let refuse = |name, value: &dyn ToString, accepted| {
            Err(RankingError::Option { name, value: value.to_string(), accepted })
        };
        if let Some((name, width)) =
            self.model.widths().into_iter().find(|(_, width)| !(1..=4096).contains(width))
        {
            return refuse(name, &width, "1 to 4096");
        }
        if !(1..=1000).contains(&self.epochs) {
            return refuse("epochs", &self.epochs, "1 to 1000");
        }
        if !(2..=65_536).contains(&self.batch) {
            return refuse("batch", &self.batch, "2 to 65536");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate <= 1.0) {
            return refuse("learning_rate", &self.learning_rate, "above 0, at most 1");
        }
        if !(0.0..=1.0).contains(&self.weight_decay) {
            return refuse("weight_decay", &self.weight_decay, "0 to 1");
        }
        for (name, share) in [("forget_videos", self.forget_videos), ("forget_tokens", self.forget_tokens)] {
            if !(0.0..=1.0).contains(&share) {
                return refuse(name, &share, "0 to 1");
            }
        }
        if !(0.0..=0.5).contains(&self.calibration_share) {
            return refuse("calibration_share", &self.calibration_share, "0 to 0.5");
        }
        if !(1..=1000).contains(&self.watch_buckets) {
            return refuse("watch_buckets", &self.watch_buckets, "1 to 1000");
        }
        Ok(())
    }
}

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
}

/// Trains a ranker.
pub fn train(options: &TrainOptions) -> Result<TrainOutcome> {
    let started = Instant::now();
    let hyper = &options.hyperparameters;
    hyper.check()?;
    let device = device::resolve(options.device)?;
    let training_device = device.clone().autodiff();

    // --- Data: the latest part of the split is kept back to calibrate on.
    let dataset = Dataset::open(&options.dataset)?;
    let data = Data::read(&dataset, hyper)?;
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
    let model = model.with_rates(data.rates(), &training_device);
    let optimizer = AdamWConfig::new().with_weight_decay(hyper.weight_decay).init();
    let checkpoints = Checkpoints::open(checkpoint_directory(&options.out))?;
    let start = State {
        step: 0,
        seed: options.seed,
        hyperparameters: hyper.clone(),
        dataset_sha256: dataset.split(TRAIN_SPLIT)?.sha256.clone(),
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
    let mut order = Order::new(&data.train, options.seed);
    let mut losses = Losses::default();
    let mut loss_mean = f64::NAN;
    while state.step < steps {
        let step = state.step;
        let rows = order.batch(step / batches, (step % batches) as usize, hyper.batch);
        let mut rng = ChaCha8Rng::seed_from_u64(derive(options.seed, &format!("forget {step}")));
        let forget = Forget { rng: &mut rng, videos: hyper.forget_videos, tokens: hyper.forget_tokens };
        let batch = data.rows.batch(rows, &data.normaliser, Some(forget), &training_device);
        let loss = model::loss(model.forward(batch), data.targets(rows, &training_device));
        losses.add(loss.clone().detach());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(learning_rate(hyper, step, steps), model, gradients);
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
    for (task, platt) in kinora_schema::ranking::Task::ALL.iter().zip(calibration) {
        run.metric(steps, &format!("calibration_slope/{}", task.as_str()), f64::from(platt.slope))?;
        run.metric(steps, &format!("calibration_offset/{}", task.as_str()), f64::from(platt.offset))?;
    }
    let parameters = model.num_params();
    let (train_rows, calibration_rows) = (data.train.len(), data.held_out.len());
    let card = ModelCard::new(CardParts {
        config: hyper.model.clone(),
        trained: Trained {
            hyperparameters: hyper.clone(),
            seed: options.seed,
            steps,
            rows: train_rows,
            calibration_rows,
            from_ms: data.outcomes.event_time_ms.iter().copied().min().unwrap_or(0),
            until_ms: data.outcomes.event_time_ms.iter().copied().max().unwrap_or(0),
            dataset_sha256: state.dataset_sha256,
            run_id: run.id().to_owned(),
        },
        normaliser: data.normaliser,
        watch: data.watch,
        calibration,
        vocabularies: data.vocabularies,
    });
    artifact::save(&options.out, &model, &card)?;
    checkpoints.clear()?;
    let run_id = run.finish(Status::Finished)?.id;
    progress.finish(format_args!("{train_rows} examples, {steps} steps, loss {loss_mean:.4}"));
    Ok(TrainOutcome::Finished(TrainReport {
        run_id,
        model: options.out.clone(),
        rows: train_rows,
        calibration_rows,
        parameters,
        steps,
        loss: loss_mean,
        seconds: started.elapsed().as_secs_f64(),
    }))
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

/// The training split in memory.
struct Data {
    rows: Rows,
    outcomes: Outcomes,
    normaliser: Normaliser,
    watch: WatchQuantiles,
    /// The watch head's target of each row.
    watch_quantiles: Vec<f32>,
    vocabularies: Vocabularies,
    /// Rows to learn from.
    train: Vec<usize>,
    /// Later rows, to calibrate on.
    held_out: Vec<usize>,
}

impl Data {
    fn read(dataset: &Dataset, hyper: &Hyperparameters) -> Result<Self> {
        let (mut rows, mut outcomes) = (Rows::default(), Outcomes::default());
        let mut counters = Counters::default();
        for examples in dataset.examples(TRAIN_SPLIT)? {
            for example in examples? {
                rows.push(&example.input, &mut counters);
                outcomes.push(&example);
            }
        }
        if rows.len() < FEWEST_ROWS {
            let split = TRAIN_SPLIT.to_owned();
            return Err(RankingError::TooFew { split, rows: rows.len(), needed: FEWEST_ROWS });
        }
        let (tokens, token_rows) = counters.tokens.into_vocabulary(hyper.token_minimum);
        let (videos, video_rows) = counters.videos.into_vocabulary(hyper.video_minimum);
        rows.renumber(&token_rows, &video_rows);

        let mut train: Vec<usize> = (0..rows.len()).collect();
        train.sort_by_key(|&row| outcomes.event_time_ms[row]);
        let kept = rows.len() - (rows.len() as f64 * hyper.calibration_share) as usize;
        let held_out = train.split_off(kept);

        let normaliser = Normaliser::fit(rows.dense());
        let durations = rows.dense().iter().map(|dense| duration(dense));
        let watches: Vec<(f32, f32)> = durations.zip(outcomes.watch_ms.iter().copied()).collect();
        let watch = WatchQuantiles::fit(&watches, hyper.watch_buckets);
        let watch_quantiles =
            watches.iter().map(|&(duration, watch_ms)| watch.quantile(duration, watch_ms)).collect();
        Ok(Self {
            rows,
            outcomes,
            normaliser,
            watch,
            watch_quantiles,
            vocabularies: Vocabularies { tokens, videos },
            train,
            held_out,
        })
    }

    /// Mean target of each head over the rows to learn from.
    fn rates(&self) -> [f64; HEADS] {
        let mut sums = [0.0; HEADS];
        for &row in &self.train {
            for (sum, target) in sums.iter_mut().zip(self.target(row)) {
                *sum += f64::from(target);
            }
        }
        sums.map(|sum| sum / self.train.len() as f64)
    }

    fn target(&self, row: usize) -> [f32; HEADS] {
        let labels = &self.outcomes.labels[row];
        std::array::from_fn(|head| match head {
            WATCH_HEAD => self.watch_quantiles[row],
            task => f32::from(u8::from(labels[task])),
        })
    }

    fn targets(&self, rows: &[usize], device: &Device) -> Tensor<2> {
        let values: Vec<f32> = rows.iter().flat_map(|&row| self.target(row)).collect();
        Tensor::from_data(TensorData::new(values, [rows.len(), HEADS]), device)
    }

    fn calibrate(&self, model: &RankerModel, device: &Device) -> Result<[Platt; TASKS]> {
        let mut logits: [Vec<f32>; TASKS] = Default::default();
        for rows in self.held_out.chunks(SCORE_ROWS) {
            let batch = self.rows.batch(rows, &self.normaliser, None, device);
            let values = read_floats(model.forward(batch))?;
            for row in values.chunks_exact(HEADS) {
                for (logits, &logit) in logits.iter_mut().zip(row) {
                    logits.push(logit);
                }
            }
        }
        Ok(std::array::from_fn(|task| {
            let outcomes: Vec<bool> =
                self.held_out.iter().map(|&row| self.outcomes.labels[row][task]).collect();
            Platt::fit(&logits[task], &outcomes)
        }))
    }
}

/// The value that tells clips of like duration, of a row's dense features.
pub(crate) fn duration(dense: &[f32]) -> f32 {
    let at = DENSE_FEATURES.iter().position(|name| *name == DURATION_FEATURE);
    at.map_or(0.0, |at| dense[at])
}

/// The numbers of a tensor, which a model that went wrong may not give.
pub(crate) fn read_floats<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.into_data().try_to_vec().map_err(|_| RankingError::Scores)
}

/// The rows of each epoch, shuffled by the seed and the epoch's number.
struct Order {
    seed: u64,
    epoch: Option<u64>,
    sorted: Vec<usize>,
    shuffled: Vec<usize>,
}

impl Order {
    fn new(rows: &[usize], seed: u64) -> Self {
        Self { seed, epoch: None, sorted: rows.to_vec(), shuffled: Vec::new() }
    }

    fn batch(&mut self, epoch: u64, number: usize, size: usize) -> &[usize] {
        if self.epoch != Some(epoch) {
            self.shuffled.clone_from(&self.sorted);
            let mut rng = ChaCha8Rng::seed_from_u64(derive(self.seed, &format!("epoch {epoch}")));
            self.shuffled.shuffle(&mut rng);
            self.epoch = Some(epoch);
        }
        let start = number * size;
        &self.shuffled[start..(start + size).min(self.shuffled.len())]
    }
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
