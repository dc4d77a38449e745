//! A platform's worth of events from people whose tastes are known.
//!
//! A configuration and a seed enter; people, clips, events and the truth leave, and the events go
//! through the same ingest as everybody's. INVARIANT: the same configuration gives the same bytes,
//! and no event or attribute carries a taste: only the truth does, for evaluation.

pub mod prompts;
mod session;
mod truth;
mod visits;

use kinora_schema::{CreatorId, Event, UserId, VideoId};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::catalog::{UserRecord, VideoRecord, upsert_users, upsert_videos};
use crate::error::{PipelineError, Result};
use crate::ingest::{IngestReport, ingest_events};
use crate::lake::Lake;
pub use prompts::Prompt;
use session::{Platform, Viewer};
pub use truth::{Taste, Traits, Truth};
pub use visits::{Shown, Visit, Visits, true_click_probability};

pub(crate) const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
const AGE_BANDS: [&str; 5] = ["13-17", "18-24", "25-34", "35-49", "50+"];
const REGIONS: [&str; 4] = ["north", "east", "south", "west"];

/// A platform to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct SimulationConfig {
    pub users: usize,
    pub videos: usize,
    pub creators: usize,
    pub days: u32,
    pub seed: u64,
    /// Start of the first day, UTC milliseconds.
    pub start_ms: i64,
    /// Mean sessions of a person a day.
    pub sessions_per_day: f64,
    /// Mean clips shown a session.
    pub clips_per_session: f64,
    /// What the clips show; each clip takes one.
    pub prompts: Vec<Prompt>,
}

impl SimulationConfig {
    /// A small platform: about 40,000 impressions over a week.
    pub fn new(seed: u64, start_ms: i64) -> Self {
        Self {
            users: 300,
            videos: 240,
            creators: 24,
            days: 7,
            seed,
            start_ms,
            sessions_per_day: 1.6,
            clips_per_session: 12.0,
            prompts: prompts::default_prompts(),
        }
    }

    fn check(&self) -> Result<()> {
        let wrong = |reason: &str| Err(PipelineError::Simulation { reason: reason.to_owned() });
        if self.users == 0 || self.videos == 0 || self.creators == 0 || self.days == 0 {
            return wrong("users, videos, creators and days must be at least 1");
        }
        if self.prompts.is_empty() {
            return wrong("there are no prompts for the clips");
        }
        let positive = |value: f64| value.is_finite() && value > 0.0 && value <= 1000.0;
        if !positive(self.sessions_per_day) || !positive(self.clips_per_session) {
            return wrong("sessions per day and clips per session must be above 0 and at most 1000");
        }
        Ok(())
    }

    /// Names this simulation in event ids, so that another configuration's events are others.
    fn source(&self) -> String {
        let Self { users, videos, creators, days, seed, start_ms, .. } = self;
        format!("simulation:{seed}:{users}:{videos}:{creators}:{days}:{start_ms}")
    }
}

/// What a simulation made.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    pub users: Vec<UserRecord>,
    pub videos: Vec<VideoRecord>,
    /// In time order.
    pub events: Vec<Event>,
    pub truth: Truth,
}

/// Simulates a platform.
pub fn simulate(config: &SimulationConfig) -> Result<Simulation> {
    config.check()?;
    let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
    let mut truth = Truth::default();
    let users = (1..=config.users).map(|number| user(number, config, &mut truth, &mut rng)).collect();
    let videos: Vec<VideoRecord> =
        (1..=config.videos).map(|number| video(number, config, &mut truth, &mut rng)).collect();

    let platform = Platform::new(config, &videos, &truth);
    let mut events = Vec::new();
    for (user, taste) in &truth.users {
        let viewer = Viewer::new(user, taste, &mut rng);
        platform.live(&viewer, &mut rng, &mut events);
    }
    events.sort_by_key(|event| (event.event_time_ms, event.event_id));
    Ok(Simulation { users, videos, events, truth })
}

/// Puts a simulation into the lake, through the path that everything takes.
pub async fn load_simulation(lake: &Lake, simulation: &Simulation, now_ms: i64) -> Result<IngestReport> {
    upsert_users(lake, &simulation.users, now_ms).await?;
    upsert_videos(lake, &simulation.videos, now_ms).await?;
    ingest_events(lake, "simulation", simulation.events.clone(), now_ms).await
}

fn user(number: usize, config: &SimulationConfig, truth: &mut Truth, rng: &mut ChaCha8Rng) -> UserRecord {
    let user_id = UserId::new(format!("u{number:04}"));
    truth.users.insert(user_id.clone(), Taste::draw(&config.prompts, rng));
    let age_band = pick(&AGE_BANDS, rng);
    let region = pick(&REGIONS, rng);
    UserRecord { user_id, attributes: vec![format!("age_band={age_band}"), format!("region={region}")] }
}

fn video(number: usize, config: &SimulationConfig, truth: &mut Truth, rng: &mut ChaCha8Rng) -> VideoRecord {
    let video_id = VideoId::new(format!("v{number:04}"));
    // Every prompt is used once before any is used again.
    let prompt = &config.prompts[(number - 1) % config.prompts.len()];
    let creator = rng.random_range(1..=config.creators);
    let traits = Traits {
        topic: prompt.topic.clone(),
        colours: prompt.colours.clone(),
        quality: truth::normal(rng),
        creator: format!("c{creator:03}"),
    };
    // Two thirds are there on the first day; the rest is published as the days pass.
    let created_time_ms = config.start_ms
        + if rng.random_bool(2.0 / 3.0) {
            -rng.random_range(0..14 * DAY_MS)
        } else {
            rng.random_range(0..i64::from(config.days) * DAY_MS)
        };
    let record = VideoRecord {
        video_id: video_id.clone(),
        creator_id: Some(CreatorId::new(traits.creator.clone())),
        duration_ms: Some(1000 * rng.random_range(4..=12)),
        created_time_ms: Some(created_time_ms),
        topic: Some(prompt.topic.clone()),
        caption: Some(prompt.caption.clone()),
        attributes: prompt.colours.iter().map(|colour| format!("colour={colour}")).collect(),
    };
    truth.videos.insert(video_id, traits);
    record
}

impl Simulation {
    /// Adds clips of creators who are new: each publishes `clips` within a day of `from_ms`, an hour or more
    /// apart. Their records are returned.
    pub fn add_newcomers(
        &mut self,
        config: &SimulationConfig,
        creators: usize,
        clips: usize,
        from_ms: i64,
    ) -> Vec<VideoRecord> {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(1);
        let known = self.videos.len();
        let mut added = Vec::with_capacity(creators * clips);
        for creator in 1..=creators {
            let mut created_ms = from_ms + rng.random_range(0..DAY_MS / 2);
            for _ in 0..clips {
                let mut record = video(known + added.len() + 1, config, &mut self.truth, &mut rng);
                record.creator_id = Some(CreatorId::new(format!("n{creator:03}")));
                record.created_time_ms = Some(created_ms);
                created_ms += rng.random_range(HOUR_MS..3 * HOUR_MS);
                if let Some(traits) = self.truth.videos.get_mut(&record.video_id) {
                    traits.creator = format!("n{creator:03}");
                }
                added.push(record);
            }
        }
        self.videos.extend(added.iter().cloned());
        added
    }
}

fn pick<'a>(names: &[&'a str], rng: &mut ChaCha8Rng) -> &'a str {
    names.choose(rng).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
