//! Training of the retrieval model, top to bottom: histories enter, a model directory leaves.
//!
//! Every position of a window predicts the item after it. The weights that are judged and kept are an
//! average over the latest steps; the epoch that is best on the validation items wins.
//! INVARIANT: a step follows from the weights, the seed and the step's number alone, so that a training
//! which goes on from a checkpoint reaches the weights of one that never stopped.

use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor};
use kinora_harness::checkpoint::{self, Checkpoints};
use kinora_harness::device::{DeviceChoice, resolve_workers};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::run::{Run, Status};
use kinora_harness::seed::{derive, seeded};
use kinora_harness::weights;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::artifact::{self, Card};
use super::batches::{Window, batches};
use super::evaluate::ranks;
use super::loss::{self, Negatives};
use super::metrics;
use super::model::{Dropout, Histories, Retriever, RetrieverConfig};
use super::sequences::{Sequences, Split};
use crate::error::{RankingError, Result};

/// Parts of a batch, worked on side by side. Their number decides how sums are rounded, so it belongs to
/// the training, not to the machine.
const SHARDS: usize = 2;
/// Steps over which the learning rate rises.
const WARM_UP: f64 = 100.0;

/// What is compared with the wanted item.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// All items.
    #[default]
    Full,
    /// Items drawn anew for each step.
    Sampled,
}

impl std::str::FromStr for LossKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "sampled" => Ok(Self::Sampled),
            _ => Err(format!("`{text}` is no loss: it must be `full` or `sampled`")),
        }
    }
}

/// How a retrieval model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hyperparameters {
    pub model: RetrieverConfig,
    pub loss: LossKind,
    /// Items drawn for a step of the sampled loss.
    pub negatives: usize,
    /// Passes over the histories, at most.
    pub epochs: u64,
    /// Epochs without a better validation after which training ends.
    pub patience: u64,
    /// Positions a step, about.
    pub positions: usize,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Share of the numbers that are forgotten, in [0, 1).
    pub dropout: f64,
    /// Decay of the averaged weights a step.
    pub averaging: f64,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            model: RetrieverConfig::default(),
            loss: LossKind::Full,
            negatives: 2048,
            epochs: 200,
            patience: 15,
            positions: 16_384,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            dropout: 0.2,
            averaging: 0.995,
        }
    }
}

impl Hyperparameters {
    /// Refuses what no training can be made of.
    pub fn check(&self) -> Result<()> {
        let bad = |name, value: String, accepted| Err(RankingError::Option { name, value, accepted });
        let model = &self.model;
        let counts = [
            ("width", model.width),
            ("blocks", model.blocks),
            ("heads", model.heads),
            ("hidden", model.hidden),
            ("length", model.length),
            ("positions", self.positions),
            ("negatives", self.negatives),
            ("epochs", self.epochs as usize),
            ("patience", self.patience as usize),
        ];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            return bad(name, "0".to_owned(), "at least 1");
        }
        if model.width % model.heads != 0 {
            return bad("width", model.width.to_string(), "a multiple of the heads");
        }
        for (name, value) in [("dropout", self.dropout), ("averaging", self.averaging)] {
            if !(0.0..1.0).contains(&value) {
                return bad(name, value.to_string(), "at least 0 and below 1");
            }
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return bad("learning rate", self.learning_rate.to_string(), "above 0");
        }
        Ok(())
    }
}

/// What to train, from what, and where to.
#[derive(Clone, Debug)]
pub struct TrainOptions {
    /// File of `user item` lines.
    pub sequences: PathBuf,
    /// Directory that the model is put into, whole or not at all. Checkpoints lie beside it.
    pub out: PathBuf,
    /// Directory of run records.
    pub runs: PathBuf,
    pub hyperparameters: Hyperparameters,
    pub seed: u64,
    pub device: DeviceChoice,
    /// Ends the training with the best weights so far. A training that ran longer before goes on for this long.
    pub time_limit: Option<Duration>,
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
        run_id: String,
    },
}

/// What a finished training did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrainReport {
    pub run_id: String,
    pub model: PathBuf,
    pub users: usize,
    pub items: usize,
    pub parameters: usize,
    pub epochs: u64,
    /// The epoch whose weights were kept.
    pub best_epoch: u64,
    /// NDCG@10 of the validation items, all items ranked, those of the history left out.
    pub validation_ndcg: f64,
    pub seconds: f64,
}

/// What ties a checkpoint to its run, and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    seed: u64,
    hyperparameters: Hyperparameters,
    sequences_sha256: String,
    step: u64,
    epoch: u64,
    /// Batches of the epoch that are done.
    batch: usize,
    best_epoch: u64,
    best_ndcg: f64,
}

/// Everything that a training changes.
struct Trained {
    model: Retriever,
    /// Average of the latest weights.
    average: Retriever,
    /// The average after the best epoch.
    best: Retriever,
    optimizer: ModuleOptimizer,
    state: State,
}

/// Trains a retrieval model.
pub fn train(options: &TrainOptions) -> Result<TrainOutcome> {
    let started = Instant::now();
    let hyper = &options.hyperparameters;
    hyper.check()?;
    let workers: Vec<Device> =
        resolve_workers(options.device, SHARDS)?.into_iter().map(Device::autodiff).collect();
    let home = &workers[0];

    // --- Data: the last two items of everyone are kept back.
    let sequences = Sequences::read(&options.sequences)?;
    let splits: Vec<Split<'_>> = sequences.splits().collect();
    let histories: Vec<&[u32]> = splits.iter().map(|split| split.train).collect();
    let validation: Vec<u32> = splits.iter().map(|split| split.validation).collect();
    if histories.iter().all(|history| history.len() < 2) {
        return Err(RankingError::Sequences {
            path: options.sequences.clone(),
            line: 1,
            reason: "no user has the 4 items that training needs".to_owned(),
        });
    }
    let items = sequences.items.len();
    let mut run = Run::start(
        &options.runs,
        "retrieval",
        &json!({ "sequences": options.sequences, "seed": options.seed, "hyperparameters": hyper }),
    )?;

    // --- Weights: new, or as the latest checkpoint left them.
    let model = seeded(home, derive(options.seed, "weights"), || hyper.model.init(items, home));
    let checkpoints = Checkpoints::open(checkpoint_directory(&options.out))?;
    let new = Trained {
        average: model.valid(),
        best: model.valid(),
        model,
        optimizer: AdamWConfig::new().with_weight_decay(hyper.weight_decay as f32).with_beta_2(0.98).init(),
        state: State {
            seed: options.seed,
            hyperparameters: hyper.clone(),
            sequences_sha256: sequences.sha256(),
            step: 0,
            epoch: 0,
            batch: 0,
            best_epoch: 0,
            best_ndcg: -1.0,
        },
    };
    let mut trained = match checkpoints.latest()? {
        Some((_, path)) if options.resume => new.restore(&path)?,
        _ => {
            checkpoints.clear()?;
            new
        }
    };

    // --- The loop: an epoch, then a look at the validation items.
    let mut progress = Progress::new("training", hyper.epochs, options.progress);
    let out_of_time = || options.time_limit.is_some_and(|limit| started.elapsed() >= limit);
    let mut ended = false;
    while !ended && trained.state.epoch < hyper.epochs {
        let epoch = trained.state.epoch;
        if epoch >= trained.state.best_epoch + hyper.patience {
            break;
        }
        let batches = batches(&histories, hyper.model.length, hyper.positions, options.seed, epoch);
        let (mut nats, mut positions) = (0.0, 0);
        for batch in &batches[trained.state.batch.min(batches.len())..] {
            if options.interrupt.is_set() {
                let step = trained.state.step;
                trained.save(&checkpoints)?;
                progress.finish(format_args!("interrupted in epoch {epoch}, step {step}"));
                let run_id = run.finish(Status::Interrupted)?.id;
                return Ok(TrainOutcome::Interrupted { step, run_id });
            }
            let loss;
            (trained, loss) = trained.step(batch, items, &workers);
            if !loss.is_finite() {
                return Err(RankingError::Diverged { step: trained.state.step });
            }
            nats += loss;
            positions += batch.iter().map(|window| window.inputs.len()).sum::<usize>();
            progress.set(
                epoch,
                format_args!(
                    "step {}, loss {:.4}, best NDCG@10 {:.4}",
                    trained.state.step,
                    nats / positions as f64,
                    trained.state.best_ndcg.max(0.0)
                ),
            );
            if out_of_time() {
                ended = true;
                break;
            }
        }
        let found = ranks(&trained.average, &histories, &histories, &validation)?;
        let ndcg = metrics::mean(&found, |rank| metrics::ndcg(rank, 10));
        let hits = metrics::mean(&found, |rank| metrics::hit(rank, 10));
        let state = &mut trained.state;
        (state.epoch, state.batch) = (epoch + 1, 0);
        if ndcg > state.best_ndcg {
            (state.best_ndcg, state.best_epoch) = (ndcg, epoch + 1);
            trained.best = trained.average.clone();
        }
        let step = trained.state.step;
        run.metric(step, "loss", nats / f64::from(positions.max(1) as u32))?;
        run.metric(step, "validation_ndcg_10", ndcg)?;
        run.metric(step, "validation_hit_rate_10", hits)?;
        run.metric(step, "seconds", started.elapsed().as_secs_f64())?;
        trained.save(&checkpoints)?;
    }

    // --- The model of the best epoch.
    let state = &trained.state;
    let card = Card::new(hyper, options.seed, state.best_epoch, state.best_ndcg, &state.sequences_sha256);
    artifact::save(&options.out, &trained.best, &card, &sequences.items)?;
    checkpoints.clear()?;
    let run_id = run.finish(Status::Finished)?.id;
    progress.finish(format_args!("{} epochs, best NDCG@10 {:.4}", state.epoch, state.best_ndcg));
    Ok(TrainOutcome::Finished(TrainReport {
        run_id,
        model: options.out.clone(),
        users: histories.len(),
        items,
        parameters: trained.best.num_params(),
        epochs: state.epoch,
        best_epoch: state.best_epoch,
        validation_ndcg: state.best_ndcg,
        seconds: started.elapsed().as_secs_f64(),
    }))
}

/// Where the checkpoints of the model at `out` lie.
fn checkpoint_directory(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".checkpoints");
    out.with_file_name(name)
}

impl Trained {
    /// After one more batch, and the sum of its positions' losses in nats.
    fn step(mut self, batch: &[Window<'_>], items: usize, workers: &[Device]) -> (Self, f64) {
        let hyper = self.state.hyperparameters.clone();
        let (seed, step) = (self.state.seed, self.state.step);
        let positions: usize = batch.iter().map(|window| window.inputs.len()).sum();
        let negatives = (hyper.loss == LossKind::Sampled)
            .then(|| draw(items, hyper.negatives, derive(seed, &format!("negatives {step}"))));
        let negatives = negatives.as_ref();
        let work = |replica: Retriever, shard: usize| {
            let windows: Vec<Window<'_>> = batch.iter().skip(shard).step_by(SHARDS).copied().collect();
            let rng = ChaCha8Rng::seed_from_u64(derive(seed, &format!("dropout {step} {shard}")));
            let mut dropout = Dropout { rate: hyper.dropout, rng };
            let loss = window_loss(&replica, &windows, negatives, Some(&mut dropout));
            let gradients = (loss.surrogate / positions as f64).backward();
            (loss.nats.into_scalar::<f32>(), GradientsParams::from_grads(gradients, &replica))
        };
        let mut sum = GradientsAccumulator::new();
        let mut nats = 0.0;
        let shards: Vec<usize> = (0..SHARDS.min(batch.len())).collect();
        for wave in shards.chunks(workers.len()) {
            let worked: Vec<_> = thread::scope(|scope| {
                let started: Vec<_> = wave
                    .iter()
                    .zip(workers)
                    .map(|(&shard, device)| {
                        // A replica has leaves of its own: graphs that share none do not wait for each other.
                        let replica = self.model.clone().fork(device);
                        let work = &work;
                        scope.spawn(move || work(replica, shard))
                    })
                    .collect();
                started
                    .into_iter()
                    .map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
                    .collect()
            });
            for (part, gradients) in worked {
                nats += f64::from(part);
                sum.accumulate(&self.model, gradients.to_device(&workers[0], &self.model));
            }
        }
        let rate = hyper.learning_rate * ((step + 1) as f64 / WARM_UP).min(1.0);
        self.model = self.optimizer.step(rate, self.model, sum.grads());
        // Early weights are poor: the average forgets them faster.
        let decay = hyper.averaging.min(step as f64 / (step as f64 + 10.0));
        self.average = toward(self.average, &self.model, decay);
        self.state.step += 1;
        self.state.batch += 1;
        (self, nats)
    }

    fn save(&self, checkpoints: &Checkpoints) -> Result<()> {
        checkpoints.save(self.state.step, |directory| {
            for (name, module) in [("average.bpk", &self.average), ("best.bpk", &self.best)] {
                weights::save_module(module, &directory.join(name))?;
            }
            weights::save_module(&self.model, &directory.join("model.bpk"))?;
            weights::save_optimizer(&self.optimizer, &directory.join("optimizer.bpk"))?;
            checkpoint::write_state(&directory.join("state.json"), &self.state)
        })?;
        Ok(())
    }

    fn restore(self, path: &Path) -> Result<Self> {
        let state: State = checkpoint::read_state(&path.join("state.json"))?;
        let start = &self.state;
        // How long to go on may be asked anew; it changes no step.
        let endless = |hyper: &Hyperparameters| Hyperparameters { epochs: 0, patience: 0, ..hyper.clone() };
        let differing: Vec<&str> = [
            ("the seed", state.seed != start.seed),
            ("the hyperparameters", endless(&state.hyperparameters) != endless(&start.hyperparameters)),
            ("the data", state.sequences_sha256 != start.sequences_sha256),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect();
        if !differing.is_empty() {
            return Err(RankingError::OtherRun { path: path.to_owned(), differs: differing.join(", ") });
        }
        let hyperparameters = start.hyperparameters.clone();
        Ok(Self {
            model: weights::load_module(self.model, &path.join("model.bpk"))?,
            average: weights::load_module(self.average, &path.join("average.bpk"))?,
            best: weights::load_module(self.best, &path.join("best.bpk"))?,
            optimizer: weights::load_optimizer(self.optimizer, &path.join("optimizer.bpk"))?,
            state: State { hyperparameters, ..state },
        })
    }
}

/// The loss of every position of `windows`, summed.
pub(crate) fn window_loss(
    model: &Retriever,
    windows: &[Window<'_>],
    negatives: Option<&Negatives>,
    dropout: Option<&mut Dropout>,
) -> loss::Loss {
    let columns = windows.iter().map(|window| window.inputs.len()).max().unwrap_or(0);
    let places: Vec<i32> = windows
        .iter()
        .enumerate()
        .flat_map(|(row, window)| {
            (row * columns..row * columns + window.inputs.len()).map(|place| place as i32)
        })
        .collect();
    let targets: Vec<i32> =
        windows.iter().flat_map(|window| window.targets.iter().map(|&item| item as i32)).collect();
    let queries = model.queries(&Histories::new(windows), &places, dropout);
    match negatives {
        Some(negatives) => loss::sampled(queries, model.items(), &targets, negatives),
        None => loss::full(queries, model.items(), &targets),
    }
}

/// `count` items drawn uniformly, with replacement.
fn draw(items: usize, count: usize, seed: u64) -> Negatives {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let log_expected = (count as f32 / items as f32).ln();
    Negatives {
        items: (0..count).map(|_| rng.random_range(0..items as i32)).collect(),
        log_expected: vec![log_expected; count],
    }
}

/// `average` moved towards the weights of `module`, keeping `decay` of itself.
fn toward(average: Retriever, module: &Retriever, decay: f64) -> Retriever {
    struct Collect(GradientsParams);
    impl ModuleVisitor for Collect {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.register(param.id, param.val().inner());
        }
    }
    struct Mix {
        weights: GradientsParams,
        decay: f64,
    }
    impl ModuleMapper for Mix {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(weights) = self.weights.remove::<D>(param.id) else { return param };
            let decay = self.decay;
            param.map(|average| average.mul_scalar(decay).add(weights.mul_scalar(1.0 - decay)))
        }
    }
    let mut collect = Collect(GradientsParams::new());
    module.visit(&mut collect);
    average.map(&mut Mix { weights: collect.0, decay })
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
