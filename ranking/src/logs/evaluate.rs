//! Evaluation of the log ranker: a model and later impressions enter, measures with intervals leave.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use kinora_schema::ranking::Task;
use serde::Serialize;

use super::catalogue::NONE;
use super::impression::{Log, TASKS_HERE};
use super::ranker::LogRanker;
use crate::error::Result;
use crate::interval::{Draws, Interval};
use crate::metrics;

/// Draws of the bootstrap.
const DRAWS: usize = 200;
/// Buckets of equal counts by duration and by a creator's past exposure.
const BUCKETS: usize = 10;
const CREATOR_GROUPS: usize = 4;

/// A figure, and where it lies if other people of the same kind had come. Null is what the rows
/// cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    pub auc: Option<f64>,
    /// Mean over people with both outcomes, weighted by their impressions.
    pub grouped_auc: Option<f64>,
    pub log_loss: Option<f64>,
    /// Expected calibration error over ten bins of equal counts.
    pub calibration_error: Option<f64>,
}

/// Intervals beside [`Figures`], at 95%.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct FigureIntervals {
    pub auc: Option<Interval>,
    pub grouped_auc: Option<Interval>,
    pub log_loss: Option<Interval>,
    pub calibration_error: Option<Interval>,
}

/// Measures of one binary head.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HeadFigures {
    pub positives: usize,
    #[serde(flatten)]
    pub figures: Figures,
    pub intervals: FigureIntervals,
}

/// Measures of the watch time, over all rows or some.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WatchFigures {
    pub rows: usize,
    /// Share of pairs of unequal watches that are told apart rightly.
    pub xauc: Option<f64>,
    pub mae_s: Option<f64>,
    pub mean_watch_s: Option<f64>,
    pub mean_predicted_s: Option<f64>,
    pub intervals: WatchIntervals,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct WatchIntervals {
    pub xauc: Option<Interval>,
    pub mae_s: Option<Interval>,
}

/// The watch time of clips of like duration.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DurationBucket {
    pub from_s: f32,
    pub until_s: f32,
    #[serde(flatten)]
    pub watch: WatchFigures,
}

/// Clips whose creators were shown about as often in training: exposure that a ranker would take
/// from small creators shows as a prediction below what happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CreatorGroup {
    /// Impressions of the creator in training, at least and at most.
    pub impressions_from: f32,
    pub impressions_until: f32,
    pub rows: usize,
    pub click_rate: Option<f64>,
    pub predicted_click_rate: Option<f64>,
    pub click_auc: Option<f64>,
    /// Share of the group among each person's better half of scores; its share of all is `rows`.
    pub share_of_top_half: Option<f64>,
    pub share_of_rows: f64,
}

/// Measures of a ranker on a log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogReport {
    pub rows: usize,
    pub skipped_rows: usize,
    pub users: usize,
    pub unknown_users: usize,
    pub unknown_videos: usize,
    pub tasks: BTreeMap<&'static str, HeadFigures>,
    pub watch: WatchFigures,
    pub watch_by_duration: Vec<DurationBucket>,
    pub creator_groups: Vec<CreatorGroup>,
    pub bootstrap_draws: usize,
    pub seed: u64,
}

/// Evaluates the ranker in `model` on the impressions of `paths`.
pub fn evaluate_log(model: &Path, paths: &[PathBuf], seed: u64) -> Result<LogReport> {
    let ranker = LogRanker::load(model)?;
    let log = Log::read(paths)?;
    let predictions = ranker.score(&log.impressions)?;
    let mut users: HashMap<i64, u32> = HashMap::new();
    let mut people = Vec::with_capacity(log.len());
    for shown in &log.impressions {
        let next = users.len() as u32;
        people.push(*users.entry(shown.user_id).or_insert(next));
    }
    let draws = Draws::new(&people, DRAWS, seed);

    let mut tasks = BTreeMap::new();
    for task in TASKS_HERE {
        let scores: Vec<f32> = predictions.iter().map(|prediction| prediction.probability(task)).collect();
        let outcomes: Vec<bool> = log.outcomes.iter().map(|outcome| outcome.has(task)).collect();
        tasks.insert(task.as_str(), head(&scores, &outcomes, &people, &draws));
    }
    let predicted: Vec<f32> = predictions.iter().map(|prediction| prediction.watch_ms / 1000.0).collect();
    let watched: Vec<f32> = log.outcomes.iter().map(|outcome| outcome.watch_ms / 1000.0).collect();
    let clicks: Vec<f32> = predictions.iter().map(|prediction| prediction.probability(Task::Click)).collect();
    let unknown = |is_unknown: &dyn Fn(usize) -> bool| (0..log.len()).filter(|&row| is_unknown(row)).count();
    let catalogue = &ranker.state.catalogue;
    Ok(LogReport {
        rows: log.len(),
        skipped_rows: log.skipped,
        users: users.len(),
        unknown_users: unknown(&|row| catalogue.user(log.impressions[row].user_id) == NONE),
        unknown_videos: unknown(&|row| catalogue.video(log.impressions[row].video_id) == NONE),
        tasks,
        watch: watch(&predicted, &watched, Some(&draws)),
        watch_by_duration: by_duration(&log, &people, &predicted, &watched, seed),
        creator_groups: by_creator(&ranker, &log, &people, &clicks),
        bootstrap_draws: DRAWS,
        seed,
    })
}

fn head(scores: &[f32], outcomes: &[bool], people: &[u32], draws: &Draws) -> HeadFigures {
    type Measure = fn(&[f32], &[bool]) -> Option<f64>;
    let interval =
        |measure: Measure| draws.interval(|rows, _| measure(&pick(scores, rows), &pick(outcomes, rows)));
    HeadFigures {
        positives: outcomes.iter().filter(|&&outcome| outcome).count(),
        figures: Figures {
            auc: metrics::auc(scores, outcomes),
            grouped_auc: metrics::grouped_auc(people, scores, outcomes),
            log_loss: metrics::log_loss(scores, outcomes),
            calibration_error: metrics::calibration_error(scores, outcomes),
        },
        intervals: FigureIntervals {
            auc: interval(metrics::auc),
            grouped_auc: draws.interval(|rows, drawn| {
                metrics::grouped_auc(drawn, &pick(scores, rows), &pick(outcomes, rows))
            }),
            log_loss: interval(metrics::log_loss),
            calibration_error: interval(metrics::calibration_error),
        },
    }
}

fn watch(predicted: &[f32], watched: &[f32], draws: Option<&Draws>) -> WatchFigures {
    type Measure = fn(&[f32], &[f32]) -> Option<f64>;
    let interval =
        |measure: Measure| draws?.interval(|rows, _| measure(&pick(predicted, rows), &pick(watched, rows)));
    WatchFigures {
        rows: watched.len(),
        xauc: metrics::xauc(predicted, watched),
        mae_s: metrics::mean_absolute_error(predicted, watched),
        mean_watch_s: mean(watched),
        mean_predicted_s: mean(predicted),
        intervals: WatchIntervals {
            xauc: interval(metrics::xauc),
            mae_s: interval(metrics::mean_absolute_error),
        },
    }
}

fn by_duration(
    log: &Log,
    people: &[u32],
    predicted: &[f32],
    watched: &[f32],
    seed: u64,
) -> Vec<DurationBucket> {
    let duration = |row: u32| log.impressions[row as usize].duration_ms;
    let mut order: Vec<u32> = (0..log.len() as u32).filter(|&row| duration(row).is_finite()).collect();
    order.sort_by(|&a, &b| duration(a).total_cmp(&duration(b)));
    let buckets = (0..BUCKETS)
        .map(|bucket| &order[bucket * order.len() / BUCKETS..(bucket + 1) * order.len() / BUCKETS]);
    buckets
        .filter(|rows| !rows.is_empty())
        .map(|rows| {
            let draws = Draws::new(&renumbered(&pick(people, rows)), DRAWS, seed);
            DurationBucket {
                from_s: duration(rows[0]) / 1000.0,
                until_s: duration(rows[rows.len() - 1]) / 1000.0,
                watch: watch(&pick(predicted, rows), &pick(watched, rows), Some(&draws)),
            }
        })
        .collect()
}

fn by_creator(ranker: &LogRanker, log: &Log, people: &[u32], clicks: &[f32]) -> Vec<CreatorGroup> {
    /// Where the creators lie among the groups of the state.
    const CREATOR_GROUP: usize = 2;
    let exposure: Vec<f32> = log
        .impressions
        .iter()
        .map(|shown| {
            let key = ranker.state.keys(shown)[CREATOR_GROUP];
            key.and_then(|key| ranker.state.groups[CREATOR_GROUP].get(&key)).map_or(0.0, |tally| tally.rows)
        })
        .collect();
    let mut order: Vec<u32> = (0..log.len() as u32).collect();
    order.sort_by(|&a, &b| exposure[a as usize].total_cmp(&exposure[b as usize]));
    let top = top_halves(people, clicks);
    let tops = top.iter().filter(|&&is_top| is_top).count() as f64;
    let groups = (0..CREATOR_GROUPS).map(|group| {
        &order[group * order.len() / CREATOR_GROUPS..(group + 1) * order.len() / CREATOR_GROUPS]
    });
    groups
        .filter(|rows| !rows.is_empty())
        .map(|rows| {
            let clicked: Vec<bool> =
                rows.iter().map(|&row| log.outcomes[row as usize].has(Task::Click)).collect();
            let scores = pick(clicks, rows);
            let happened: Vec<f32> = clicked.iter().map(|&is| f32::from(u8::from(is))).collect();
            let in_top = pick(&top, rows).into_iter().filter(|&is_top| is_top).count() as f64;
            CreatorGroup {
                impressions_from: exposure[rows[0] as usize],
                impressions_until: exposure[rows[rows.len() - 1] as usize],
                rows: rows.len(),
                click_rate: mean(&happened),
                predicted_click_rate: mean(&scores),
                click_auc: metrics::auc(&scores, &clicked),
                share_of_top_half: (tops > 0.0).then(|| in_top / tops),
                share_of_rows: rows.len() as f64 / log.len() as f64,
            }
        })
        .collect()
}

/// Whether each row is in the better half of its person's rows; one row alone is in none.
fn top_halves(people: &[u32], scores: &[f32]) -> Vec<bool> {
    let mut rows_of: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (row, &person) in people.iter().enumerate() {
        rows_of.entry(person).or_default().push(row);
    }
    let mut top = vec![false; scores.len()];
    for rows in rows_of.values_mut() {
        rows.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        rows[..rows.len() / 2].iter().for_each(|&row| top[row] = true);
    }
    top
}

/// Numbers people from zero, in order of first sight.
fn renumbered(people: &[u32]) -> Vec<u32> {
    let mut numbers: HashMap<u32, u32> = HashMap::new();
    people
        .iter()
        .map(|&person| {
            let next = numbers.len() as u32;
            *numbers.entry(person).or_insert(next)
        })
        .collect()
}

fn pick<T: Copy>(values: &[T], rows: &[u32]) -> Vec<T> {
    rows.iter().map(|&row| values[row as usize]).collect()
}

fn mean(values: &[f32]) -> Option<f64> {
    let count = values.len() as f64;
    (count > 0.0).then(|| values.iter().copied().map(f64::from).sum::<f64>() / count)
}
