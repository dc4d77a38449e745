//! Training of the log ranker, top to bottom: files enter, a model directory leaves.
//!
//! INVARIANT: an impression is seen through a state of strictly earlier days, in training as in
//! evaluation. The last days are first held out to choose the number of trees, the shares of the
//! blend and the calibration; then everything is fitted once more to all days.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Instant;

use burn::tensor::Device;
use kinora_harness::device::{self, DeviceChoice};
use kinora_harness::interrupt::Interrupt;
use kinora_harness::progress::{Mode, Progress};
use kinora_harness::run::{Run, Status};
use kinora_harness::seed::derive;
use kinora_schema::ranking::Task;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::catalogue::Catalogue;
use super::impression::{Log, Outcome, TASKS_HERE};
use super::network::{HEADS, Network, NetworkSettings, Quantiles, WATCH_HEAD};
use super::ranker::{Blend, Card, LogRanker, TrainedOn, blend, network_score, table};
use super::state::State;
use crate::calibrate::Platt;
use crate::error::{RankingError, Result};
use crate::gbdt::{Gbdt, Objective, Settings, Table};

/// Fewest impressions worth a model.
const FEWEST_ROWS: usize = 200;
/// Share of the impressions that is held out at least, to choose on.
const HELD_OUT: f64 = 0.12;
/// Trees without a gain before a head's training ends.
const PATIENCE: usize = 60;
/// Shares of the network that are tried.
const SHARES: [f32; 8] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7];

/// What to train, from what, and where to.
#[derive(Clone, Debug)]
pub struct LogTrainOptions {
    pub impressions: Vec<PathBuf>,
    pub history: Option<PathBuf>,
    pub users: Option<PathBuf>,
    pub videos: Option<PathBuf>,
    /// Directory that the model is put into, whole or not at all.
    pub out: PathBuf,
    /// Directory of run records.
    pub runs: PathBuf,
    pub seed: u64,
    pub interrupt: Interrupt,
    pub progress: Mode,
}

/// What a finished training did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogTrainReport {
    pub run_id: String,
    pub model: PathBuf,
    pub rows: usize,
    pub skipped_rows: usize,
    pub days: usize,
    pub held_out_rows: usize,
    pub features: usize,
    pub heads: Vec<HeadReport>,
    pub seconds: f64,
}

/// How one head was put together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadReport {
    pub head: &'static str,
    pub trees: usize,
    pub network_share: f32,
}

/// How the trees of all heads are grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    trees: Settings,
    /// Ensembles of a head, each with its own seed.
    bag: usize,
    network: NetworkSettings,
}

impl Default for Plan {
    fn default() -> Self {
        let trees = Settings {
            trees: 800,
            leaves: 15,
            learning_rate: 0.03,
            leaf_rows: 150,
            l2: 20.0,
            feature_share: 0.25,
            ..Settings::default()
        };
        Self { trees, bag: 3, network: NetworkSettings::default() }
    }
}

/// Trains a ranker; none where it was interrupted.
pub fn train_log(options: &LogTrainOptions) -> Result<Option<LogTrainReport>> {
    let started = Instant::now();
    let device = device::resolve(DeviceChoice::Cpu)?;
    let plan = Plan::default();

    // --- Data.
    let log = Log::read(&options.impressions)?;
    if log.len() < FEWEST_ROWS {
        let split = "impressions".to_owned();
        return Err(RankingError::TooFew { split, rows: log.len(), needed: FEWEST_ROWS });
    }
    let mut catalogue =
        Catalogue::read(options.users.as_deref(), options.videos.as_deref(), options.history.as_deref())?;
    catalogue.number_all(log.impressions.iter().map(|shown| (shown.user_id, shown.video_id)));
    let skipped_rows = log.skipped + catalogue.skipped;
    let parameters = json!({ "impressions": options.impressions, "seed": options.seed, "plan": plan });
    let mut run = Run::start(&options.runs, "log-ranker", &parameters)?;
    let units = 2 * (HEADS + 1) as u64;
    let mut progress = Progress::new("train ranker", units + 1, options.progress);

    // --- Features: each day is seen through the days before it, then taken in.
    let mut state = State::of_histories(catalogue, derive(options.seed, "directions"));
    let days = log.days();
    let features = see(&mut state, &log, &days);
    let (fitted, held_out) = divide(&log, &days);
    progress.set(1, "features are ready");

    // --- The heads on all days but the last, to choose by the last; then the same on all days.
    let fitting = Fitting {
        quantiles: Quantiles::fit(&features),
        targets: log.outcomes.iter().copied().map(targets).collect(),
        features,
        log: &log,
        plan: &plan,
        seed: options.seed,
        device: &device,
    };
    let held = fitting.held_out(&fitted, &held_out)?;
    let mut chosen: Vec<(usize, Blend)> = Vec::new();
    for head in 0..HEADS {
        if options.interrupt.is_set() {
            return interrupted(run, progress);
        }
        let (trees, blend) = fitting.choose(head, &held);
        run.metric(head as u64, &format!("trees/{}", name(head)), trees as f64)?;
        run.metric(head as u64, &format!("network_share/{}", name(head)), f64::from(blend.network))?;
        progress.set(head as u64 + 2, format_args!("{}: {trees} trees", name(head)));
        chosen.push((trees, blend));
    }
    let network = fitting.network(&(0..log.len()).collect::<Vec<_>>(), "all")?;
    let mut trees = Vec::new();
    for (head, (best, _)) in chosen.iter().enumerate() {
        if options.interrupt.is_set() {
            return interrupted(run, progress);
        }
        // More rows bear more trees.
        let more = (log.len() as f64 / fitted.len() as f64).min(1.25);
        trees.push(fitting.bag(head, (*best as f64 * more) as usize));
        progress.set((HEADS + head) as u64 + 3, format_args!("{} on all days", name(head)));
    }

    // --- The finished ranker.
    let heads = chosen
        .iter()
        .enumerate()
        .map(|(head, (trees, blend))| HeadReport {
            head: name(head),
            trees: *trees,
            network_share: blend.network,
        })
        .collect();
    let trained = TrainedOn {
        seed: options.seed,
        rows: log.len(),
        from_ms: log.impressions[0].time_ms,
        until_ms: log.impressions[log.len() - 1].time_ms,
        run_id: run.id().to_owned(),
    };
    let blends = chosen.iter().map(|(_, blend)| *blend).collect();
    let Fitting { quantiles, features, .. } = fitting;
    let card = Card::new(state.feature_names(), blends, plan.network.clone(), quantiles, trained);
    LogRanker { card, state, trees, network, device: device.clone() }.save(&options.out)?;
    let run_id = run.finish(Status::Finished)?.id;
    progress.finish(format_args!("{} impressions of {} days", log.len(), days.len()));
    Ok(Some(LogTrainReport {
        run_id,
        model: options.out.clone(),
        rows: log.len(),
        skipped_rows,
        days: days.len(),
        held_out_rows: held_out.len(),
        features: features.features(),
        heads,
        seconds: started.elapsed().as_secs_f64(),
    }))
}

/// A log as it is fitted to.
struct Fitting<'a> {
    log: &'a Log,
    features: Table,
    targets: Vec<[f32; HEADS]>,
    quantiles: Quantiles,
    plan: &'a Plan,
    seed: u64,
    device: &'a Device,
}

/// Rows to fit to and later rows to choose by, with a network's scores of the latter.
struct HeldOut<'a> {
    fitted: &'a [usize],
    fit_table: Table,
    rows: &'a [usize],
    table: Table,
    network: Vec<[f32; HEADS]>,
}

impl Fitting<'_> {
    /// What the trees of a head are fitted to: outcomes, or watched seconds.
    fn target(&self, head: usize, rows: &[usize]) -> Vec<f32> {
        let seconds = |row: usize| self.log.outcomes[row].watch_ms / 1000.0;
        rows.iter()
            .map(|&row| if head == WATCH_HEAD { seconds(row) } else { self.targets[row][head] })
            .collect()
    }

    fn network(&self, rows: &[usize], purpose: &str) -> Result<Network> {
        let targets: Vec<[f32; HEADS]> = rows.iter().map(|&row| self.targets[row]).collect();
        let table = self.features.select(rows);
        let seed = derive(self.seed, purpose);
        Network::fit(&table, &self.quantiles, &targets, &self.plan.network, seed, self.device)
    }

    fn held_out<'a>(&self, fitted: &'a [usize], rows: &'a [usize]) -> Result<HeldOut<'a>> {
        let (fit_table, table) = (self.features.select(fitted), self.features.select(rows));
        let network = self.network(fitted, "held out")?.scores(&table, &self.quantiles, self.device)?;
        Ok(HeldOut { fitted, fit_table, rows, table, network })
    }

    /// How many trees are best on held-out rows, and how they are blended with the network there.
    fn choose(&self, head: usize, held: &HeldOut<'_>) -> (usize, Blend) {
        let settings = settings(self.plan, head, held.fitted.len(), self.seed, 0);
        let (target, held_target) = (self.target(head, held.fitted), self.target(head, held.rows));
        let trees =
            Gbdt::fit_until(&held.fit_table, &target, &settings, (&held.table, &held_target), PATIENCE);
        let network: Vec<f32> = held.network.iter().map(|outputs| network_score(head, outputs)).collect();
        (trees.trees(), choose(head, &trees.scores(&held.table), &network, &held_target))
    }

    /// The ensembles of a head on all rows.
    fn bag(&self, head: usize, trees: usize) -> Vec<Gbdt> {
        let target = self.target(head, &(0..self.log.len()).collect::<Vec<_>>());
        let grow = |number: usize| {
            let settings = settings(self.plan, head, self.log.len(), self.seed, number);
            Gbdt::fit(&self.features, &target, &Settings { trees, ..settings })
        };
        (0..self.plan.bag).map(grow).collect()
    }
}

/// The features of every impression of the log, each through the state of the days before its own.
pub fn see(state: &mut State, log: &Log, days: &[Range<usize>]) -> Table {
    let mut features = Table::new(state.feature_names().len());
    for day in days {
        let seen = table(state, &log.impressions[day.clone()]);
        (0..seen.rows()).for_each(|row| features.push(seen.row(row)));
        state.learn(&log.impressions[day.clone()], &log.outcomes[day.clone()]);
    }
    features
}

/// Rows to fit to, and later rows to choose by: whole days where there are several.
fn divide(log: &Log, days: &[Range<usize>]) -> (Vec<usize>, Vec<usize>) {
    let latest = ((1.0 - HELD_OUT) * log.len() as f64) as usize;
    let cut = match days.iter().rev().find(|day| day.start <= latest) {
        Some(day) if day.start >= log.len() / 2 => day.start,
        _ => latest,
    };
    ((0..cut).collect(), (cut..log.len()).collect())
}

fn targets(outcome: Outcome) -> [f32; HEADS] {
    std::array::from_fn(|head| match TASKS_HERE.get(head) {
        Some(&task) => f32::from(u8::from(outcome.has(task))),
        None => (outcome.watch_ms / 1000.0).ln_1p(),
    })
}

fn settings(plan: &Plan, head: usize, rows: usize, seed: u64, number: usize) -> Settings {
    Settings {
        objective: if head == WATCH_HEAD { Objective::Absolute } else { Objective::Logistic },
        leaves: if head == WATCH_HEAD { 31 } else { plan.trees.leaves },
        // A log that is small still bears a few splits.
        leaf_rows: plan.trees.leaf_rows.min(rows / 100).max(2),
        seed: derive(seed, &format!("trees {} {number}", name(head))),
        ..plan.trees.clone()
    }
}

/// The share of the network that is best on held-out rows, and the calibration of that blend.
fn choose(head: usize, trees: &[f32], network: &[f32], target: &[f32]) -> Blend {
    let blended = |share: f32| -> Vec<f32> {
        trees.iter().zip(network).map(|(&trees, &network)| blend(share, trees, network)).collect()
    };
    if head == WATCH_HEAD {
        let error = |share: f32| {
            blended(share)
                .iter()
                .zip(target)
                .map(|(score, target)| f64::from((score - target).abs()))
                .sum::<f64>()
        };
        return Blend { network: least(error), calibration: Platt::default() };
    }
    let outcomes: Vec<bool> = target.iter().map(|&target| target > 0.5).collect();
    let loss = |share: f32| {
        let scores = blended(share);
        let calibration = Platt::fit(&scores, &outcomes);
        let probabilities: Vec<f32> = scores.iter().map(|&score| calibration.probability(score)).collect();
        crate::metrics::log_loss(&probabilities, &outcomes).unwrap_or(f64::INFINITY)
    };
    let network = least(loss);
    Blend { network, calibration: Platt::fit(&blended(network), &outcomes) }
}

fn least(loss: impl Fn(f32) -> f64) -> f32 {
    let losses = SHARES.map(|share| (share, loss(share)));
    losses.into_iter().fold((0.0, f64::INFINITY), |best, one| if one.1 < best.1 { one } else { best }).0
}

/// The head's name in records.
fn name(head: usize) -> &'static str {
    TASKS_HERE.get(head).copied().map_or("watch", Task::as_str)
}

fn interrupted(run: Run, progress: Progress) -> Result<Option<LogTrainReport>> {
    progress.finish("interrupted");
    run.finish(Status::Interrupted)?;
    Ok(None)
}
