//! The search for hyperparameters: a dataset enters, the set with the lowest held-out loss leaves.
//!
//! Successive halving (Jamieson and Talwalkar, AISTATS 2016): drawn sets are tried on the latest part of the
//! training rows, the better half on twice as many, until all rows are used. The defaults are the first set and
//! stay to the end, so what is found is never worse than they are on the rows it was chosen by. Those are the
//! rows that calibrate, the latest of the training split: no other split is read.
//! INVARIANT: what is found follows from the dataset, the number of trials and the seed. Every training that
//! ended is recorded at once, and a search that stopped goes on from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::module::Module;
use burn::optim::AdamWConfig;
use burn::tensor::Device;
use kinora_harness::device::{self, DeviceChoice};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::publish::{FileError, write_file};
use kinora_harness::seed::{derive, seeded};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::data::{Data, Order};
use super::{Descent, Hyperparameters, TRAIN_SPLIT};
use crate::dataset::Dataset;
use crate::error::{RankingError, Result};
use crate::model::RankerConfig;
use crate::rows::Vocabularies;

/// Shares of the training rows, the latest, that sets are tried on.
const SHARES: [f64; 3] = [0.25, 0.5, 1.0];
/// Steps between two looks at the loss and at the interrupt.
const READ_EVERY: u64 = 20;

/// What to search with.
#[derive(Clone, Debug)]
pub struct SearchOptions {
    /// Directory of the ranking dataset.
    pub dataset: PathBuf,
    /// File for what was found; what was tried lies beside it.
    pub out: PathBuf,
    /// Sets that are tried, the defaults among them.
    pub trials: usize,
    pub seed: u64,
    pub device: DeviceChoice,
    pub interrupt: Interrupt,
    pub progress: Mode,
}

/// A set, and its losses on held-out rows after training on each share of the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    pub hyperparameters: Hyperparameters,
    /// Nats a row, all heads together; null where training went wrong.
    pub losses: Vec<Option<f64>>,
}

/// What was tried so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    seed: u64,
    dataset_sha256: String,
    trials: Vec<Trial>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchReport {
    pub hyperparameters: PathBuf,
    pub trials: PathBuf,
    pub rows: usize,
    pub held_out_rows: usize,
    pub tried: usize,
    /// Held-out loss of what was found and of the defaults, trained on all rows, in nats a row.
    pub loss: f64,
    pub default_loss: Option<f64>,
    pub found: Hyperparameters,
    pub seconds: f64,
}

/// Searches hyperparameters; nothing where it was interrupted.
///
/// # Errors
///
/// A dataset that cannot be read or is too small, a record of another search, and trainings that all diverge.
pub fn search(options: &SearchOptions) -> Result<Option<SearchReport>> {
    let started = Instant::now();
    if !(1..=1000).contains(&options.trials) {
        let value = options.trials.to_string();
        return Err(RankingError::Option { name: "trials", value, accepted: "1 to 1000" });
    }
    let device = device::resolve(options.device)?;
    let dataset = Dataset::open(&options.dataset)?;
    let defaults = Hyperparameters::default();
    let data = Data::read(&dataset, &defaults, None)?;
    let record = record_path(&options.out);
    let mut search = begin(options, &record, dataset.split(TRAIN_SPLIT)?.sha256.clone())?;

    let mut alive: Vec<usize> = (0..options.trials).collect();
    let trainings: usize = SHARES
        .iter()
        .scan(options.trials, |left, _| {
            let now = *left;
            *left = now.div_ceil(2);
            Some(now)
        })
        .sum();
    let mut progress = Progress::new("tune ranker", trainings as u64, options.progress);
    let mut done = 0;
    for (rung, share) in SHARES.into_iter().enumerate() {
        let rows = data.train.len();
        let rows = &data.train[rows - ((rows as f64 * share) as usize).max(2).min(rows)..];
        for &trial in &alive {
            if search.trials[trial].losses.len() <= rung {
                let hyper = for_share(&search.trials[trial].hyperparameters, share);
                let Some(loss) = fit(&data, rows, &hyper, options, &device)? else {
                    progress.finish(format_args!("interrupted after {done} of {trainings} trainings"));
                    return Ok(None);
                };
                search.trials[trial].losses.push(loss.is_finite().then_some(loss));
                save(&record, &search)?;
            }
            done += 1;
            let loss = search.trials[trial].losses[rung].unwrap_or(f64::NAN);
            progress
                .set(done, format_args!("set {trial} on {:.0}% of the rows: loss {loss:.4}", 100.0 * share));
        }
        if rung + 1 < SHARES.len() {
            alive = better_half(&search, &alive, rung);
        }
    }

    let last = SHARES.len() - 1;
    let loss_of = |&trial: &usize| search.trials[trial].losses[last].unwrap_or(f64::INFINITY);
    let best = alive.iter().copied().min_by(|a, b| loss_of(a).total_cmp(&loss_of(b))).unwrap_or_default();
    let loss = search.trials[best].losses[last].ok_or(RankingError::Diverged { step: 0 })?;
    let found = search.trials[best].hyperparameters.clone();
    let json = serde_json::to_vec_pretty(&found).map_err(|error| table(&options.out, &error))?;
    write_file(&options.out, &json)?;
    progress.finish(format_args!("{} sets tried, loss {loss:.4}", options.trials));
    Ok(Some(SearchReport {
        hyperparameters: options.out.clone(),
        trials: record,
        rows: data.train.len(),
        held_out_rows: data.held_out.len(),
        tried: options.trials,
        loss,
        default_loss: search.trials[0].losses[last],
        found,
        seconds: started.elapsed().as_secs_f64(),
    }))
}

/// Reads what [`search`] found.
///
/// # Errors
///
/// A file that cannot be read or holds anything but hyperparameters.
pub fn read_hyperparameters(path: &Path) -> Result<Hyperparameters> {
    let json = fs::read(path).map_err(FileError::at("read", path))?;
    let hyper: Hyperparameters = serde_json::from_slice(&json).map_err(|error| table(path, &error))?;
    hyper.check()?;
    Ok(hyper)
}

/// Beside what is found: all that was tried.
fn record_path(out: &Path) -> PathBuf {
    out.with_extension("trials.json")
}

fn table(path: &Path, error: &serde_json::Error) -> RankingError {
    RankingError::table(path, error.to_string())
}

/// The record of the same search, or a new one with its sets drawn.
fn begin(options: &SearchOptions, record: &Path, dataset_sha256: String) -> Result<Search> {
    let mut rng = ChaCha8Rng::seed_from_u64(derive(options.seed, "hyperparameters"));
    let sets =
        (0..options.trials).map(|trial| if trial == 0 { Hyperparameters::default() } else { draw(&mut rng) });
    let trials = sets.map(|hyperparameters| Trial { hyperparameters, losses: Vec::new() }).collect();
    let new = Search { seed: options.seed, dataset_sha256, trials };
    if !record.exists() {
        return Ok(new);
    }
    let json = fs::read(record).map_err(FileError::at("read", record))?;
    let earlier: Search = serde_json::from_slice(&json).map_err(|error| table(record, &error))?;
    let sets = |search: &Search| -> Vec<Hyperparameters> {
        search.trials.iter().map(|trial| trial.hyperparameters.clone()).collect()
    };
    let differing: Vec<&str> = [
        ("the seed", earlier.seed != new.seed),
        ("the data", earlier.dataset_sha256 != new.dataset_sha256),
        ("the sets", sets(&earlier) != sets(&new)),
    ]
    .into_iter()
    .filter_map(|(name, differs)| differs.then_some(name))
    .collect();
    if differing.is_empty() {
        return Ok(earlier);
    }
    let reason = format!("it is of another search ({} differ): give another --out", differing.join(", "));
    Err(RankingError::table(record, reason))
}

fn save(record: &Path, search: &Search) -> Result<()> {
    let json = serde_json::to_vec_pretty(search).map_err(|error| table(record, &error))?;
    Ok(write_file(record, &json)?)
}

/// A set: rates and decays by their logarithm, widths by powers of two.
fn draw(rng: &mut ChaCha8Rng) -> Hyperparameters {
    let mut logarithmic = |low: f64, high: f64| rng.random_range(low.ln()..high.ln()).exp();
    let (learning_rate, weight_decay) = (logarithmic(1e-3, 1e-2), logarithmic(1e-4, 3e-2) as f32);
    let mut one_of = |values: &[usize]| values[rng.random_range(0..values.len())];
    let model = RankerConfig {
        embedding: one_of(&[8, 16, 32]),
        bins: one_of(&[16, 32, 64]),
        experts: one_of(&[2, 3, 4, 6]),
        hidden: one_of(&[32, 64, 128]),
        expert: one_of(&[16, 32, 64]),
        tower: one_of(&[8, 16, 32]),
    };
    let (batch, epochs) = (one_of(&[64, 128, 256]), one_of(&[1, 1, 2]) as u32);
    Hyperparameters {
        model,
        epochs,
        batch,
        learning_rate,
        weight_decay,
        forget_videos: rng.random_range(0.0..0.3),
        forget_tokens: rng.random_range(0.0..0.2),
        ..Hyperparameters::default()
    }
}

/// As many passes over fewer rows.
fn for_share(hyper: &Hyperparameters, share: f64) -> Hyperparameters {
    Hyperparameters { minimum_steps: (hyper.minimum_steps as f64 * share) as u64, ..hyper.clone() }
}

/// The better half by the losses of a rung, and the defaults.
fn better_half(search: &Search, alive: &[usize], rung: usize) -> Vec<usize> {
    let loss_of = |trial: usize| search.trials[trial].losses[rung].unwrap_or(f64::INFINITY);
    let mut order = alive.to_vec();
    order.sort_by(|&a, &b| (a != 0).cmp(&(b != 0)).then(loss_of(a).total_cmp(&loss_of(b))).then(a.cmp(&b)));
    order.truncate(alive.len().div_ceil(2));
    order
}

/// Trains on `rows` and answers the loss on the rows held out: not finite where training went wrong, nothing
/// where it was interrupted.
fn fit(
    data: &Data,
    rows: &[usize],
    hyper: &Hyperparameters,
    options: &SearchOptions,
    device: &Device,
) -> Result<Option<f64>> {
    let training_device = device.clone().autodiff();
    let Vocabularies { tokens, videos } = &data.vocabularies;
    let model = seeded(&training_device, derive(options.seed, "weights"), || {
        hyper.model.init(tokens.rows(), videos.rows(), &training_device)
    });
    let mut model = model.with_rates(data.rates(), &training_device);
    let mut optimizer = AdamWConfig::new().with_weight_decay(hyper.weight_decay).init();
    let batches = rows.len().div_ceil(hyper.batch) as u64;
    let steps = (u64::from(hyper.epochs) * batches).max(hyper.minimum_steps);
    let descent = Descent { data, hyper, seed: options.seed, steps, device: &training_device };
    let mut order = Order::new(rows, options.seed);
    for step in 0..steps {
        let rows = order.batch(step / batches, (step % batches) as usize, hyper.batch);
        let loss;
        (model, loss) = descent.step(model, &mut optimizer, rows, step);
        if step % READ_EVERY == 0 {
            if options.interrupt.is_set() {
                return Ok(None);
            }
            if !loss.into_scalar::<f32>().is_finite() {
                return Ok(Some(f64::NAN));
            }
        }
    }
    data.held_out_loss(&model.valid(), device).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn options(root: &Path, interrupt: Interrupt) -> SearchOptions {
        SearchOptions {
            dataset: root.join("dataset"),
            out: root.join("found.json"),
            trials: 3,
            seed: 4,
            device: DeviceChoice::Cpu,
            interrupt,
            progress: Mode::Silent,
        }
    }

    #[test]
    fn a_search_is_no_worse_than_the_defaults_and_goes_on_where_it_stopped() {
        let (root, _) = fixture::trained();
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root.path().join("dataset"), directory.path().join("dataset")).unwrap();
        let whole = options(directory.path(), Interrupt::new());
        let report = search(&whole).unwrap().unwrap();
        assert!(report.loss <= report.default_loss.unwrap(), "{report:?}");
        assert_eq!(read_hyperparameters(&whole.out).unwrap(), report.found);

        // Stopped at once, nothing is lost and nothing is found; what is recorded is not trained again.
        let stopped = Interrupt::new();
        stopped.set();
        fs::remove_file(&whole.out).unwrap();
        let again = search(&options(directory.path(), stopped.clone())).unwrap().unwrap();
        assert_eq!((again.loss, &again.found), (report.loss, &report.found));
        fs::remove_file(&report.trials).unwrap();
        fs::remove_file(&whole.out).unwrap();
        assert_eq!(search(&options(directory.path(), stopped)).unwrap(), None);
        assert!(!whole.out.exists());

        let other = SearchOptions { seed: 5, ..whole.clone() };
        search(&SearchOptions { trials: 1, ..whole.clone() }).unwrap().unwrap();
        let error = search(&other).unwrap_err().to_string();
        assert!(error.contains("another search") && !error.contains('\n'), "{error}");
        fs::write(&whole.out, "{\"batch\": 0}").unwrap();
        assert!(read_hyperparameters(&whole.out).unwrap_err().to_string().contains("batch"));
    }

    #[test]
    fn the_better_half_keeps_the_defaults() {
        let trial = |loss| Trial { hyperparameters: Hyperparameters::default(), losses: vec![loss] };
        let trials = [Some(3.0), Some(1.0), None, Some(2.0), Some(0.5)].map(trial).into();
        let search = Search { seed: 0, dataset_sha256: String::new(), trials };
        assert_eq!(better_half(&search, &[0, 1, 2, 3, 4], 0), [0, 4, 1]);
        assert_eq!(better_half(&search, &[0, 2], 0), [0]);
    }
}
