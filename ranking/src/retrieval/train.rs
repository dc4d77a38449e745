//! Training of the retrieval model, top to bottom: histories enter, a model directory leaves.
//!
//! Every position of a window predicts the item after it. The weights that are judged and kept are an
//! average over the latest steps; the epoch that is best on the validation items wins.
//! Interrupted, a training goes on where it was and ends in the same weights.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::tensor::Device;
use kinora_harness::checkpoint::Checkpoints;
use kinora_harness::device::{DeviceChoice, resolve_workers};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::run::{Run, Status};
use kinora_harness::seed::{derive, seeded};
use serde::Serialize;
use serde_json::json;

use super::artifact::{self, Card};
use super::batches::batches;
use super::descent::{SHARDS, State, Trained};
use super::evaluate::place;
pub use super::hyperparameters::{Hyperparameters, LossKind};
use super::metrics;
use super::model::Retriever;
use super::sequences::{Sequences, Split};
use crate::error::{RankingError, Result};

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
    let validation: Vec<Option<u32>> = splits.iter().map(|split| Some(split.validation)).collect();
    if histories.iter().all(|history| history.len() < 2) {
        let (path, reason) =
            (options.sequences.clone(), "no user has the 4 items that training needs".to_owned());
        return Err(RankingError::Sequences { path, line: 1, reason });
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
    let mut trained = begin(model, options, sequences.sha256(), &checkpoints)?;

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
            if options.interrupt.is_set() {
                let step = trained.state.step;
                trained.save(&checkpoints)?;
                progress.finish(format_args!("interrupted in epoch {epoch}, step {step}"));
                let run_id = run.finish(Status::Interrupted)?.id;
                return Ok(TrainOutcome::Interrupted { step, run_id });
            }
            if out_of_time() {
                ended = true;
                break;
            }
        }
        let (ndcg, hits) = validate(&trained, &histories, &validation)?;
        let state = &mut trained.state;
        (state.epoch, state.batch) = (epoch + 1, 0);
        if ndcg > state.best_ndcg {
            (state.best_ndcg, state.best_epoch) = (ndcg, epoch + 1);
            trained.best = trained.average.clone();
        }
        let step = trained.state.step;
        let loss = (positions > 0).then_some(("loss", nats / positions as f64));
        let seconds = ("seconds", started.elapsed().as_secs_f64());
        let validated = [("validation_ndcg_10", ndcg), ("validation_hit_rate_10", hits), seconds];
        for (name, value) in loss.into_iter().chain(validated) {
            run.metric(step, name, value)?;
        }
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

/// What a training starts from: new weights, or where its latest checkpoint left it.
fn begin(
    model: Retriever,
    options: &TrainOptions,
    sequences_sha256: String,
    checkpoints: &Checkpoints,
) -> Result<Trained> {
    let hyper = &options.hyperparameters;
    let new = Trained {
        average: model.valid(),
        best: model.valid(),
        model,
        optimizer: AdamWConfig::new().with_weight_decay(hyper.weight_decay as f32).with_beta_2(0.98).init(),
        state: State {
            seed: options.seed,
            hyperparameters: hyper.clone(),
            sequences_sha256,
            step: 0,
            epoch: 0,
            batch: 0,
            best_epoch: 0,
            best_ndcg: -1.0,
        },
    };
    match checkpoints.latest()? {
        Some((_, path)) if options.resume => new.restore(&path),
        _ => {
            checkpoints.clear()?;
            Ok(new)
        }
    }
}

/// NDCG and hit rate at 10 of the validation items, by the averaged weights.
fn validate(trained: &Trained, histories: &[&[u32]], validation: &[Option<u32>]) -> Result<(f64, f64)> {
    let placed = match place(&trained.average, histories, validation, 0) {
        Err(RankingError::Scores) => return Err(RankingError::Diverged { step: trained.state.step }),
        placed => placed?,
    };
    let ranks: Vec<usize> = placed.into_iter().map(|placed| placed.rank).collect();
    let mean = |figure: fn(usize, usize) -> f64| metrics::mean(&ranks, |rank| figure(rank, 10));
    Ok((mean(metrics::ndcg), mean(metrics::hit)))
}

/// Where the checkpoints of the model at `out` lie.
fn checkpoint_directory(out: &Path) -> PathBuf {
    let mut name = out.file_name().unwrap_or_default().to_owned();
    name.push(".checkpoints");
    out.with_file_name(name)
}

#[cfg(test)]
#[path = "train_tests.rs"]
mod tests;
