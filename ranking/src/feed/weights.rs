//! What the platform values, in one place: the worth of each outcome of showing a clip.
//!
//! The unit is a like and a half; only ratios matter. A weight says how many of one outcome the
//! platform would give up for one of another, when the feed cannot have both. Creation and
//! connection stand above watching: a follow is worth 25 minutes of watch time, so that a clip
//! which starts a conversation beats one that merely holds the eye. Outcomes that harm weigh
//! more than any good one, because the person who reports a clip was failed by the feed.

use kinora_schema::ranking::Task;
use serde::{Deserialize, Serialize};

use crate::scorer::Prediction;

/// Signed weights of the ranker's outcomes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// A tie to a person that lasts beyond the clip.
    pub follow: f32,
    /// A word to a person: the start of a conversation.
    pub comment: f32,
    /// The clip brought two people together outside the feed.
    pub share: f32,
    pub like: f32,
    /// Curiosity about the person behind the clip.
    pub profile_enter: f32,
    /// Watched to the end: the clip kept its promise.
    pub long_view: f32,
    /// Opened: says more of the first picture than of the clip.
    pub click: f32,
    /// A second watched. Small: time spent is not the goal.
    pub watch_second: f32,
    /// "See less like this".
    pub not_interested: f32,
    pub report: f32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            follow: 6.0,
            comment: 5.0,
            share: 4.0,
            like: 1.5,
            profile_enter: 1.0,
            long_view: 0.2,
            click: 0.1,
            watch_second: 0.004,
            not_interested: -20.0,
            report: -200.0,
        }
    }
}

impl Weights {
    pub fn task(&self, task: Task) -> f32 {
        match task {
            Task::Click => self.click,
            Task::LongView => self.long_view,
            Task::Like => self.like,
            Task::Follow => self.follow,
            Task::Comment => self.comment,
            Task::Share => self.share,
            Task::ProfileEnter => self.profile_enter,
            Task::NotInterested => self.not_interested,
            Task::Report => self.report,
        }
    }

    /// What each outcome adds to the worth of showing a clip with these predictions.
    pub fn contributions(&self, prediction: &Prediction) -> impl Iterator<Item = (&'static str, f32)> {
        let watch = self.watch_second * prediction.watch_ms / 1000.0;
        let outcomes = Task::ALL.map(|task| (task.as_str(), self.task(task) * prediction.probability(task)));
        outcomes.into_iter().chain([("watch_time", watch)])
    }

    /// Expected value of showing a clip with these predictions.
    pub fn value(&self, prediction: &Prediction) -> f32 {
        self.contributions(prediction).map(|(_, value)| value).sum()
    }
}

#[cfg(test)]
mod tests {
    use kinora_schema::ranking::TASKS;

    use super::*;

    fn certain(task: Task) -> f32 {
        let mut probabilities = [0.0; TASKS];
        probabilities[task.index()] = 1.0;
        Weights::default().value(&Prediction { probabilities, watch_ms: 0.0 })
    }

    #[test]
    fn creation_and_connection_are_worth_more_than_watching_and_harm_less_than_nothing() {
        let long_watch = Prediction { probabilities: [0.0; TASKS], watch_ms: 600_000.0 };
        let ten_minutes = Weights::default().value(&long_watch);
        for task in [Task::Follow, Task::Comment, Task::Share] {
            assert!(certain(task) > ten_minutes && certain(task) > certain(Task::LongView));
        }
        let best: f32 = Task::ALL.into_iter().map(certain).fold(0.0, f32::max);
        for task in [Task::NotInterested, Task::Report] {
            assert!(-certain(task) > best);
        }
    }
}
