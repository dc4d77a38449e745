//! Estimates of a policy from the log of another, held against the truth that only a simulation knows.
//!
//! The log is the simulation's: clips shown at random, with their probabilities. The policy that is judged shows
//! what the ranker values, the more often the higher its value; what it would have earned in clicks is estimated
//! from the log, and computed from people's tastes.

use std::collections::{HashMap, HashSet};

use kinora_pipelines::catalog::VideoRecord;
use kinora_pipelines::features::FeatureState;
use kinora_pipelines::simulate::{Simulation, SimulationConfig, true_click_probability};
use kinora_ranking::feed::Weights;
use kinora_ranking::off_policy::{self, Estimates, Logged};
use kinora_ranking::{Ranker, RankingError};
use kinora_schema::ranking::{RankingInput, Task};
use kinora_schema::{Event, EventId, EventKind, UserId, VideoId};
use serde::Serialize;

use crate::clock::DAY_MS;

/// Impressions that are judged, at most.
const ROWS: usize = 3_000;
/// How much likelier a clip is shown that is worth a standard deviation more.
const SHARPNESS: f64 = 1.0;

/// Estimates beside the truth, in clicks an impression.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct OffPolicyReport {
    /// What the policy would truly have earned.
    pub truth: f64,
    /// What the policy that was logged would have, by chance alone aside.
    pub logged_truth: f64,
    pub estimates: Estimates,
}

/// Judges a policy of `ranker` by the log of the simulation's last day.
pub(super) fn estimate(
    config: &SimulationConfig,
    simulation: &Simulation,
    ranker: &Ranker,
) -> Result<OffPolicyReport, RankingError> {
    let from_ms = config.start_ms + i64::from(config.days - 1) * DAY_MS;
    let clicked: HashSet<EventId> = simulation
        .events
        .iter()
        .filter(|event| event.kind == EventKind::Click)
        .filter_map(|event| event.impression_id)
        .collect();
    let late = |event: &&Event| event.kind == EventKind::Impression && event.event_time_ms >= from_ms;
    let every = simulation.events.iter().filter(late).count().div_ceil(ROWS).max(1);

    let mut features = FeatureState::default();
    for user in &simulation.users {
        features.set_user(user.clone());
    }
    for video in &simulation.videos {
        features.set_video(video.clone());
    }
    let mut people: HashMap<&UserId, u32> = HashMap::new();
    // What each person's session has shown: it is not shown again.
    let mut sessions: HashMap<&UserId, HashSet<&VideoId>> = HashMap::new();
    let mut rows = Vec::new();
    let (mut truth, mut logged_truth) = (0.0, 0.0);
    let mut number = 0;
    for event in &simulation.events {
        if event.kind == EventKind::Impression {
            let shown = sessions.entry(&event.user_id).or_default();
            let position = event.position.unwrap_or_default();
            if position == 0 {
                shown.clear();
            }
            if event.event_time_ms >= from_ms {
                number += 1;
                if number % every == 0 {
                    let next = people.len() as u32;
                    let person = *people.entry(&event.user_id).or_insert(next);
                    let choice = Choice::of(simulation, &features, ranker, event, shown)?;
                    let chances = choice.clips.iter().map(|clip| {
                        let affinity = simulation.truth.affinity(&event.user_id, &clip.video_id);
                        true_click_probability(affinity, position)
                    });
                    let chances: Vec<f64> = chances.collect();
                    truth += dot(&choice.target, &chances);
                    logged_truth += chances.iter().sum::<f64>() / chances.len().max(1) as f64;
                    rows.extend(choice.logged(event, person, clicked.contains(&event.event_id)));
                }
            }
            shown.insert(&event.video_id);
        }
        features.observe(event);
    }
    let count = rows.len().max(1) as f64;
    let estimates = off_policy::estimate(&rows, config.seed)?;
    Ok(OffPolicyReport { truth: truth / count, logged_truth: logged_truth / count, estimates })
}

/// What could be shown at one moment, and what the policy that is judged makes of it.
struct Choice<'a> {
    clips: Vec<&'a VideoRecord>,
    /// Probability of each under the policy that is judged.
    target: Vec<f64>,
    /// Predicted chance of a click of each.
    predicted: Vec<f64>,
}

impl<'a> Choice<'a> {
    fn of(
        simulation: &'a Simulation,
        features: &FeatureState,
        ranker: &Ranker,
        event: &Event,
        shown: &HashSet<&VideoId>,
    ) -> Result<Self, RankingError> {
        let clips: Vec<&VideoRecord> = simulation
            .videos
            .iter()
            .filter(|video| video.created_time_ms.is_some_and(|created_ms| created_ms <= event.event_time_ms))
            .filter(|video| !shown.contains(&video.video_id))
            .collect();
        let viewing = features.viewing(Some(&event.user_id), event.event_time_ms, "feed");
        let inputs: Vec<RankingInput> = clips.iter().map(|clip| viewing.input(&clip.video_id)).collect();
        let predictions = ranker.score(&inputs)?;
        let weights = Weights::default();
        let values: Vec<f64> = predictions.iter().map(|it| f64::from(weights.value(it))).collect();
        let predicted = predictions.iter().map(|it| f64::from(it.probability(Task::Click))).collect();
        Ok(Self { clips, target: preference(&values), predicted })
    }

    fn logged(&self, event: &Event, person: u32, is_clicked: bool) -> Option<Logged> {
        let at = self.clips.iter().position(|clip| clip.video_id == event.video_id)?;
        Some(Logged {
            person,
            reward: f64::from(u8::from(is_clicked)),
            propensity: event.propensity.map(f64::from)?,
            target: self.target[at],
            predicted: self.predicted[at],
            expected: dot(&self.target, &self.predicted),
        })
    }
}

/// The softmax of standardised values.
fn preference(values: &[f64]) -> Vec<f64> {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
    let exponent = |value: &f64| (SHARPNESS * (value - mean) / deviation.max(1e-9)).exp();
    let sum: f64 = values.iter().map(exponent).sum();
    values.iter().map(|value| exponent(value) / sum).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
