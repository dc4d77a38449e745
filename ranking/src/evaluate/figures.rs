//! What any ranker is judged by: predictions beside what happened enter, figures with intervals leave.
//!
//! One code for every kind of ranker, so that figures of one can stand beside those of another.

use std::collections::{BTreeMap, HashMap};

use kinora_schema::ranking::Task;
use serde::Serialize;

use crate::interval::{Draws, Interval};
use crate::metrics::{self, CalibrationBin};

/// Draws of the bootstrap.
const DRAWS: usize = 200;
/// Buckets of equal counts by duration and by a creator's past exposure.
const BUCKETS: usize = 10;
const CREATOR_GROUPS: usize = 4;

/// Rows of what was shown, as it was predicted and as it came out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// The person of each row, numbered from zero.
    pub(crate) people: Vec<u32>,
    pub(crate) heads: Vec<JudgedHead>,
    pub(crate) predicted_s: Vec<f32>,
    pub(crate) watched_s: Vec<f32>,
    /// Of the clip; not finite where it is not known.
    pub(crate) duration_s: Vec<f32>,
    /// Impressions of the clip's creator before.
    pub(crate) creator_impressions: Vec<f32>,
}

/// One binary outcome of each row.
#[derive(Clone, Debug)]
pub(crate) struct JudgedHead {
    pub(crate) task: Task,
    pub(crate) probabilities: Vec<f32>,
    pub(crate) outcomes: Vec<bool>,
}

/// A ranker's figures on a set of rows.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankerFigures {
    pub rows: usize,
    pub users: usize,
    pub tasks: BTreeMap<&'static str, HeadFigures>,
    pub watch: WatchFigures,
    pub watch_by_duration: Vec<DurationBucket>,
    pub creator_groups: Vec<CreatorGroup>,
    pub bootstrap_draws: usize,
    pub seed: u64,
}

/// What the rows tell of one binary head; null is what they cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    pub auc: Option<f64>,
    /// Mean over people with both outcomes, weighted by their impressions.
    pub grouped_auc: Option<f64>,
    pub log_loss: Option<f64>,
    /// Expected calibration error over ten bins of equal counts.
    pub calibration_error: Option<f64>,
}

/// Intervals beside [`Figures`], at 95%: where they would lie if other people of the same kind had come.
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
    /// Rows by what was said of them, lowest first.
    pub calibration: Vec<CalibrationBin>,
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

/// Clips whose creators had been shown about as often: exposure that a ranker would take from small
/// creators shows as a prediction below what happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CreatorGroup {
    /// Impressions of the creator before, at least and at most.
    pub impressions_from: f32,
    pub impressions_until: f32,
    pub rows: usize,
    pub click_rate: Option<f64>,
    pub predicted_click_rate: Option<f64>,
    pub click_auc: Option<f64>,
    /// Share of the group among each person's better half of scores; its share of all is `share_of_rows`.
    pub share_of_top_half: Option<f64>,
    pub share_of_rows: f64,
}

impl Judged {
    /// All figures; the intervals' draws follow from `seed`.
    pub(crate) fn figures(&self, seed: u64) -> RankerFigures {
        let draws = Draws::new(&self.people, DRAWS, seed);
        RankerFigures {
            rows: self.people.len(),
            users: self.people.iter().max().map_or(0, |&last| last as usize + 1),
            tasks: self
                .heads
                .iter()
                .map(|head| (head.task.as_str(), head.figures(&self.people, &draws)))
                .collect(),
            watch: watch(&self.predicted_s, &self.watched_s, &draws),
            watch_by_duration: self.by_duration(seed),
            creator_groups: self.by_creator(),
            bootstrap_draws: DRAWS,
            seed,
        }
    }

    fn by_duration(&self, seed: u64) -> Vec<DurationBucket> {
        let duration = |row: u32| self.duration_s[row as usize];
        let mut order: Vec<u32> =
            (0..self.duration_s.len() as u32).filter(|&row| duration(row).is_finite()).collect();
        order.sort_by(|&a, &b| duration(a).total_cmp(&duration(b)));
        let bucket = |rows: &[u32]| {
            let draws = Draws::new(&renumbered(&pick(&self.people, rows)), DRAWS, seed);
            DurationBucket {
                from_s: duration(rows[0]),
                until_s: duration(rows[rows.len() - 1]),
                watch: watch(&pick(&self.predicted_s, rows), &pick(&self.watched_s, rows), &draws),
            }
        };
        parts(&order, BUCKETS).map(bucket).collect()
    }

    fn by_creator(&self) -> Vec<CreatorGroup> {
        let Some(clicks) = self.heads.iter().find(|head| head.task == Task::Click) else { return Vec::new() };
        let exposure = &self.creator_impressions;
        let mut order: Vec<u32> = (0..exposure.len() as u32).collect();
        order.sort_by(|&a, &b| exposure[a as usize].total_cmp(&exposure[b as usize]));
        let top = top_halves(&self.people, &clicks.probabilities);
        let tops = top.iter().filter(|&&is_top| is_top).count() as f64;
        let group = |rows: &[u32]| {
            let (said, clicked) = (pick(&clicks.probabilities, rows), pick(&clicks.outcomes, rows));
            let in_top = pick(&top, rows).into_iter().filter(|&is_top| is_top).count() as f64;
            CreatorGroup {
                impressions_from: exposure[rows[0] as usize],
                impressions_until: exposure[rows[rows.len() - 1] as usize],
                rows: rows.len(),
                click_rate: metrics::mean(clicked.iter().map(|&is| f64::from(u8::from(is)))),
                predicted_click_rate: metrics::mean(said.iter().copied().map(f64::from)),
                click_auc: metrics::auc(&said, &clicked),
                share_of_top_half: (tops > 0.0).then(|| in_top / tops),
                share_of_rows: rows.len() as f64 / exposure.len() as f64,
            }
        };
        parts(&order, CREATOR_GROUPS).map(group).collect()
    }
}

impl JudgedHead {
    fn figures(&self, people: &[u32], draws: &Draws) -> HeadFigures {
        type Measure = fn(&[f32], &[bool]) -> Option<f64>;
        let Self { probabilities: said, outcomes: happened, .. } = self;
        let interval =
            |measure: Measure| draws.interval(|rows, _| measure(&pick(said, rows), &pick(happened, rows)));
        let grouped = |rows: &[u32], drawn: &[u32]| {
            metrics::grouped_auc(drawn, &pick(said, rows), &pick(happened, rows))
        };
        HeadFigures {
            positives: happened.iter().filter(|&&outcome| outcome).count(),
            figures: Figures {
                auc: metrics::auc(said, happened),
                grouped_auc: metrics::grouped_auc(people, said, happened),
                log_loss: metrics::log_loss(said, happened),
                calibration_error: metrics::calibration_error(said, happened),
            },
            intervals: FigureIntervals {
                auc: interval(metrics::auc),
                grouped_auc: draws.interval(grouped),
                log_loss: interval(metrics::log_loss),
                calibration_error: interval(metrics::calibration_error),
            },
            calibration: metrics::calibration(said, happened),
        }
    }
}

fn watch(predicted_s: &[f32], watched_s: &[f32], draws: &Draws) -> WatchFigures {
    type Measure = fn(&[f32], &[f32]) -> Option<f64>;
    let interval = |measure: Measure| {
        draws.interval(|rows, _| measure(&pick(predicted_s, rows), &pick(watched_s, rows)))
    };
    let mean = |values: &[f32]| metrics::mean(values.iter().copied().map(f64::from));
    WatchFigures {
        rows: watched_s.len(),
        xauc: metrics::xauc(predicted_s, watched_s),
        mae_s: metrics::mean_absolute_error(predicted_s, watched_s),
        mean_watch_s: mean(watched_s),
        mean_predicted_s: mean(predicted_s),
        intervals: WatchIntervals {
            xauc: interval(metrics::xauc),
            mae_s: interval(metrics::mean_absolute_error),
        },
    }
}

/// Parts of about as many rows; of few rows, fewer parts.
fn parts(order: &[u32], count: usize) -> impl Iterator<Item = &[u32]> {
    (0..count)
        .map(move |part| &order[part * order.len() / count..(part + 1) * order.len() / count])
        .filter(|rows| !rows.is_empty())
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
