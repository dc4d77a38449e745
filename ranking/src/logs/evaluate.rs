//! Evaluation of the log ranker: a model and later impressions enter, measures with intervals leave.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::catalogue::NONE;
use super::impression::{Impression, Log, TASKS_HERE};
use super::ranker::LogRanker;
use crate::error::Result;
use crate::evaluate::{Judged, JudgedHead, RankerFigures};

/// Measures of a ranker on a log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LogReport {
    pub skipped_rows: usize,
    pub unknown_users: usize,
    pub unknown_videos: usize,
    #[serde(flatten)]
    pub figures: RankerFigures,
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
    let head = |task| JudgedHead {
        task,
        probabilities: predictions.iter().map(|prediction| prediction.probability(task)).collect(),
        outcomes: log.outcomes.iter().map(|outcome| outcome.has(task)).collect(),
    };
    let judged = Judged {
        people,
        heads: TASKS_HERE.map(head).into(),
        predicted_s: predictions.iter().map(|prediction| prediction.watch_ms / 1000.0).collect(),
        watched_s: log.outcomes.iter().map(|outcome| outcome.watch_ms / 1000.0).collect(),
        duration_s: log.impressions.iter().map(|shown| shown.duration_ms / 1000.0).collect(),
        creator_impressions: log.impressions.iter().map(|shown| exposure(&ranker, shown)).collect(),
    };
    let unknown = |is_unknown: &dyn Fn(&Impression) -> bool| {
        log.impressions.iter().filter(|shown| is_unknown(shown)).count()
    };
    let catalogue = &ranker.state.catalogue;
    Ok(LogReport {
        skipped_rows: log.skipped,
        unknown_users: unknown(&|shown| catalogue.user(shown.user_id) == NONE),
        unknown_videos: unknown(&|shown| catalogue.video(shown.video_id) == NONE),
        figures: judged.figures(seed),
    })
}

/// How often the creator of what is shown was shown in training.
fn exposure(ranker: &LogRanker, shown: &Impression) -> f32 {
    /// Where the creators lie among the groups of the state.
    const CREATOR_GROUP: usize = 2;
    let key = ranker.state.keys(shown)[CREATOR_GROUP];
    key.and_then(|key| ranker.state.groups[CREATOR_GROUP].get(&key)).map_or(0.0, |tally| tally.rows)
}
