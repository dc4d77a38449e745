//! Evaluation: a trained ranker and a split enter, measures of every head leave.
//!
//! Scores come from the very code that serves, row by row as stored: what is measured here is
//! what people would have been shown.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use kinora_schema::ranking::{TASKS, Task};
use serde::Serialize;

use crate::dataset::Dataset;
use crate::error::{RankingError, Result};
use crate::metrics;
use crate::scorer::Ranker;

/// Tasks whose order within one person's feed is reported.
const GROUPED: [Task; 3] = [Task::Click, Task::LongView, Task::Like];

/// Measures over one split. What the rows cannot tell is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalReport {
    pub split: String,
    pub rows: usize,
    pub users: usize,
    pub tasks: BTreeMap<&'static str, TaskReport>,
    pub watch: WatchReport,
}

/// Measures of one binary head.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskReport {
    pub positives: usize,
    pub auc: Option<f64>,
    /// Within each person's rows, weighted by their number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grouped_auc: Option<f64>,
    pub log_loss: Option<f64>,
    /// Expected calibration error over ten bins of equal counts.
    pub calibration_error: Option<f64>,
}

/// Measures of the watch-time head.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WatchReport {
    pub xauc: Option<f64>,
    /// Mean absolute error, in milliseconds.
    pub mae_ms: Option<f64>,
    pub mean_watch_ms: Option<f64>,
}

/// Evaluates the ranker in `model` on a split of `dataset`.
pub fn evaluate(model: &Path, dataset: &Path, split: &str) -> Result<EvalReport> {
    let ranker = Ranker::load(model)?;
    let dataset = Dataset::open(dataset)?;
    let mut users = HashMap::new();
    let mut groups: Vec<u32> = Vec::new();
    let mut scores: [Vec<f32>; TASKS] = Default::default();
    let mut outcomes: [Vec<bool>; TASKS] = Default::default();
    let (mut predicted_ms, mut watched_ms) = (Vec::new(), Vec::new());
    for examples in dataset.examples(split)? {
        let mut inputs = Vec::new();
        for example in examples? {
            let next = users.len() as u32;
            groups.push(*users.entry(example.user_id).or_insert(next));
            for (outcomes, label) in outcomes.iter_mut().zip(example.labels) {
                outcomes.push(label);
            }
            watched_ms.push(example.watch_ms as f32);
            inputs.push(example.input);
        }
        for prediction in ranker.score(&inputs)? {
            for (scores, probability) in scores.iter_mut().zip(prediction.probabilities) {
                scores.push(probability);
            }
            predicted_ms.push(prediction.watch_ms);
        }
    }
    if groups.is_empty() {
        return Err(RankingError::TooFew { split: split.to_owned(), rows: 0, needed: 1 });
    }

    let tasks = Task::ALL.into_iter().map(|task| {
        let (scores, outcomes) = (&scores[task.index()], &outcomes[task.index()]);
        let report = TaskReport {
            positives: outcomes.iter().filter(|&&outcome| outcome).count(),
            auc: metrics::auc(scores, outcomes),
            grouped_auc: GROUPED
                .contains(&task)
                .then(|| metrics::grouped_auc(&groups, scores, outcomes))
                .flatten(),
            log_loss: metrics::log_loss(scores, outcomes),
            calibration_error: metrics::calibration_error(scores, outcomes),
        };
        (task.as_str(), report)
    });
    let watched: f64 = watched_ms.iter().copied().map(f64::from).sum();
    Ok(EvalReport {
        split: split.to_owned(),
        rows: groups.len(),
        users: users.len(),
        tasks: tasks.collect(),
        watch: WatchReport {
            xauc: metrics::xauc(&predicted_ms, &watched_ms),
            mae_ms: metrics::mean_absolute_error(&predicted_ms, &watched_ms),
            mean_watch_ms: Some(watched / watched_ms.len() as f64),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_trained_ranker_beats_chance_on_rows_it_never_saw() {
        let (root, _) = fixture::trained();
        let model = root.path().join("ranker");
        let report = evaluate(&model, &root.path().join("dataset"), "test").unwrap();
        let click = &report.tasks["click"];
        assert!(click.auc.unwrap() > 0.8, "{report:?}");
        assert!(click.calibration_error.unwrap() < 0.1, "{report:?}");
        assert!(report.watch.xauc.unwrap() > 0.6, "{report:?}");
        assert_eq!(report.tasks["report"].positives, 0);
        assert_eq!(report.tasks["report"].auc, None);
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["tasks"]["click"]["auc"].is_number() && json["tasks"]["report"]["auc"].is_null());
    }
}
