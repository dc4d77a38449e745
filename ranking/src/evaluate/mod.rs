//! Evaluation: a trained ranker and a split enter, measures of every head leave.
//!
//! Scores come from the very code that serves, row by row as stored: what is measured here is
//! what people would have been shown.

mod figures;
mod page;

use std::collections::HashMap;
use std::path::Path;

use kinora_schema::ranking::{DENSE_FEATURES, Task};
use serde::Serialize;

pub use self::figures::{
    CreatorGroup, DurationBucket, FigureIntervals, Figures, HeadFigures, RankerFigures, WatchFigures,
    WatchIntervals,
};
pub(crate) use self::figures::{Judged, JudgedHead};
pub use self::page::page;
use crate::dataset::Dataset;
use crate::error::{RankingError, Result};
use crate::scorer::Ranker;

/// Measures over one split. What the rows cannot tell is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvalReport {
    pub split: String,
    #[serde(flatten)]
    pub figures: RankerFigures,
}

/// Evaluates the ranker in `model` on a split of `dataset`.
pub fn evaluate(model: &Path, dataset: &Path, split: &str, seed: u64) -> Result<EvalReport> {
    let ranker = Ranker::load(model)?;
    let judged = judge(&ranker, &Dataset::open(dataset)?, split)?;
    Ok(EvalReport { split: split.to_owned(), figures: judged.figures(seed) })
}

/// What the ranker says of the rows of a split, beside what happened.
pub(crate) fn judge(ranker: &Ranker, dataset: &Dataset, split: &str) -> Result<Judged> {
    let creator_impressions = DENSE_FEATURES.iter().position(|name| *name == "creator_impressions");
    let head = |task| JudgedHead { task, probabilities: Vec::new(), outcomes: Vec::new() };
    let mut judged = Judged { heads: Task::ALL.map(head).into(), ..Judged::default() };
    let mut users: HashMap<String, u32> = HashMap::new();
    for examples in dataset.examples(split)? {
        let mut inputs = Vec::new();
        for example in examples? {
            let next = users.len() as u32;
            judged.people.push(*users.entry(example.user_id).or_insert(next));
            for (head, label) in judged.heads.iter_mut().zip(example.labels) {
                head.outcomes.push(label);
            }
            judged.watched_s.push(example.watch_ms as f32 / 1000.0);
            let is_known = example.duration_ms > 0;
            judged.duration_s.push(if is_known { example.duration_ms as f32 / 1000.0 } else { f32::NAN });
            // The feature is the logarithm of one more than the count.
            let before = creator_impressions.map_or(0.0, |place| example.input.dense[place].exp_m1().round());
            judged.creator_impressions.push(before);
            inputs.push(example.input);
        }
        for prediction in ranker.score(&inputs)? {
            for (head, probability) in judged.heads.iter_mut().zip(prediction.probabilities) {
                head.probabilities.push(probability);
            }
            judged.predicted_s.push(prediction.watch_ms / 1000.0);
        }
    }
    if judged.people.is_empty() {
        return Err(RankingError::TooFew { split: split.to_owned(), rows: 0, needed: 1 });
    }
    Ok(judged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn a_trained_ranker_beats_chance_on_rows_it_never_saw() {
        let (root, _) = fixture::trained();
        let model = root.path().join("ranker");
        let report = evaluate(&model, &root.path().join("dataset"), "test", 1).unwrap();
        let RankerFigures { tasks, watch, .. } = &report.figures;
        let click = &tasks["click"];
        let auc = click.figures.auc.unwrap();
        assert!(auc > 0.8, "{report:?}");
        assert!(click.intervals.auc.is_some_and(|interval| interval.low < auc && auc < interval.high));
        assert!(click.figures.calibration_error.unwrap() < 0.1, "{report:?}");
        assert!(watch.xauc.unwrap() > 0.6, "{report:?}");
        assert_eq!(tasks["report"].positives, 0);
        assert_eq!(tasks["report"].figures.auc, None);
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["tasks"]["click"]["auc"].is_number() && json["tasks"]["report"]["auc"].is_null());
        let rows = |groups: &mut dyn Iterator<Item = usize>| groups.sum::<usize>();
        assert_eq!(rows(&mut report.figures.creator_groups.iter().map(|it| it.rows)), report.figures.rows);
        assert_eq!(report, evaluate(&model, &root.path().join("dataset"), "test", 1).unwrap());

        // Every head that something happened to is on the page, and none that nothing did.
        let html = kinora_harness::page::html(&page("A ranker", Vec::new(), &report.figures));
        assert!(html.contains("Click") && !html.contains("Report: AUC") && !html.contains("NaN"));
    }
}
