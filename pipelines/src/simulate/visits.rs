//! Simulated people in front of a feed that somebody else makes: when they come, and what they do with
//! each clip they are shown.

use std::collections::BTreeMap;

use kinora_schema::{Event, UserId};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::session::{GAP_MS, Showing, Viewer, attention, click_probability, clips_of_session};
use super::{DAY_MS, SimulationConfig, Truth};
use crate::catalog::VideoRecord;

/// The people of a platform, with habits that follow from a seed.
#[derive(Debug)]
pub struct Visits<'a> {
    config: &'a SimulationConfig,
    truth: &'a Truth,
    people: BTreeMap<&'a UserId, Viewer<'a>>,
    source: String,
    seed: u64,
}

/// One session to be.
#[derive(Clone, Debug)]
pub struct Visit {
    pub user_id: UserId,
    pub start_ms: i64,
    /// Clips that they go through.
    pub clips: usize,
    /// Decides what they do with them.
    pub rng: ChaCha8Rng,
}

/// One clip in front of a person.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    pub user_id: &'a UserId,
    pub video: &'a VideoRecord,
    pub time_ms: i64,
    pub position: i32,
    pub policy: &'a str,
    pub propensity: f32,
}

impl<'a> Visits<'a> {
    pub fn new(config: &'a SimulationConfig, truth: &'a Truth, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let people = truth.users.iter().map(|(id, taste)| (id, Viewer::new(id, taste, &mut rng))).collect();
        Self { config, truth, people, source: format!("{}:visits:{seed}", config.source()), seed }
    }

    /// The sessions of a day, in the order of their times; the first of the simulation is day 0.
    pub fn day(&self, day: i64) -> Vec<Visit> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(1 + day.unsigned_abs());
        let day_start_ms = self.config.start_ms + day * DAY_MS;
        let mut visits = Vec::new();
        for (user_id, viewer) in &self.people {
            for start_ms in viewer.starts(self.config, day_start_ms, &mut rng) {
                let clips = clips_of_session(self.config, &mut rng);
                let rng = ChaCha8Rng::seed_from_u64(rng.random());
                visits.push(Visit { user_id: (*user_id).clone(), start_ms, clips, rng });
            }
        }
        visits.sort_by(|a, b| (a.start_ms, &a.user_id).cmp(&(b.start_ms, &b.user_id)));
        visits
    }

    /// What the person does with the clip is added to `events`; when they are ready for the next is
    /// returned. Nothing happens with people and clips that are not of this simulation.
    pub fn react(&self, shown: Shown<'_>, rng: &mut ChaCha8Rng, events: &mut Vec<Event>) -> i64 {
        let Shown { user_id, video, time_ms, position, policy, propensity } = shown;
        let known = self.people.get(user_id).zip(self.truth.videos.get(&video.video_id));
        let Some((viewer, traits)) = known else { return time_ms };
        let showing = Showing {
            viewer,
            record: video,
            traits,
            duration_ms: video.duration_ms.unwrap_or_default(),
            time_ms,
            position,
            policy,
            propensity,
            source: &self.source,
        };
        showing.react(rng, events) + GAP_MS
    }
}

/// The true chance that a person clicks a clip that is shown at a place.
pub fn true_click_probability(affinity: f64, position: i32) -> f64 {
    attention(position) * click_probability(affinity)
}
