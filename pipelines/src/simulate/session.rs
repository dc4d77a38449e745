//! How a simulated person spends a day: sessions, clips shown, what they do with each.
//!
//! The feed shown is drawn uniformly from what is published, and says so in `policy` and
//! `propensity`, so that learning from it needs no correction and estimators can be checked. [`Visits`] are
//! the same people in front of a feed that somebody else makes.

use kinora_schema::event::SCHEMA_VERSION;
use kinora_schema::{Event, EventId, EventKind, UserId, VideoId};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::truth::{Taste, Traits, Truth, normal};
use super::{DAY_MS, SimulationConfig};
use crate::catalog::VideoRecord;

/// Chance that a clip at each further place still gets attention.
const ATTENTION_DECAY: f64 = 0.97;
pub(super) const GAP_MS: i64 = 700;

#[derive(Debug)]
pub(super) struct Viewer<'a> {
    id: &'a UserId,
    taste: &'a Taste,
    /// Multiplies the mean number of sessions: few are very active.
    activity: f64,
    /// Hour of the day, UTC, that sessions centre on.
    favourite_hour: f64,
    /// Multiplies the chances of everything that is more than watching.
    expressiveness: f64,
}

impl<'a> Viewer<'a> {
    pub(super) fn new(id: &'a UserId, taste: &'a Taste, rng: &mut ChaCha8Rng) -> Self {
        Self {
            id,
            taste,
            activity: (0.5 * normal(rng) - 0.125).exp(),
            favourite_hour: 12.0 + 6.0 * rng.random::<f64>(),
            expressiveness: 0.5 + rng.random::<f64>(),
        }
    }

    /// When the sessions of a day begin, in order.
    pub(super) fn starts(
        &self,
        config: &SimulationConfig,
        day_start_ms: i64,
        rng: &mut ChaCha8Rng,
    ) -> Vec<i64> {
        let mut starts: Vec<i64> = (0..poisson(config.sessions_per_day * self.activity, rng))
            .map(|_| {
                let hour = (self.favourite_hour + 3.0 * normal(rng)).rem_euclid(24.0);
                day_start_ms + (hour * 3_600_000.0) as i64
            })
            .collect();
        starts.sort_unstable();
        starts
    }
}

/// How many clips a session goes through.
pub(super) fn clips_of_session(config: &SimulationConfig, rng: &mut ChaCha8Rng) -> usize {
    poisson(config.clips_per_session, rng).clamp(1, 200)
}

/// Chance that a clip at a place gets attention at all.
pub(super) fn attention(position: i32) -> f64 {
    ATTENTION_DECAY.powi(position)
}

/// Chance that a person who pays attention clicks a clip that they like so much.
pub(super) fn click_probability(affinity: f64) -> f64 {
    0.05 + 0.9 * affinity
}

pub(super) struct Platform<'a> {
    config: &'a SimulationConfig,
    source: String,
    /// By time of publication.
    clips: Vec<Clip<'a>>,
}

struct Clip<'a> {
    record: &'a VideoRecord,
    traits: &'a Traits,
    created_time_ms: i64,
    duration_ms: i64,
}

/// One clip in front of one person.
pub(super) struct Showing<'a> {
    pub(super) viewer: &'a Viewer<'a>,
    pub(super) record: &'a VideoRecord,
    pub(super) traits: &'a Traits,
    pub(super) duration_ms: i64,
    pub(super) time_ms: i64,
    pub(super) position: i32,
    pub(super) policy: &'a str,
    pub(super) propensity: f32,
    /// Names the simulation in event ids.
    pub(super) source: &'a str,
}

impl<'a> Platform<'a> {
    pub(super) fn new(config: &'a SimulationConfig, videos: &'a [VideoRecord], truth: &'a Truth) -> Self {
        let mut clips: Vec<Clip<'a>> = videos
            .iter()
            .filter_map(|record| {
                let traits = truth.videos.get(&record.video_id)?;
                let (created_time_ms, duration_ms) = (record.created_time_ms?, record.duration_ms?);
                Some(Clip { record, traits, created_time_ms, duration_ms })
            })
            .collect();
        clips.sort_by_key(|clip| clip.created_time_ms);
        Self { config, source: config.source(), clips }
    }

    /// All of a person's days.
    pub(super) fn live(&self, viewer: &Viewer<'_>, rng: &mut ChaCha8Rng, events: &mut Vec<Event>) {
        for day in 0..i64::from(self.config.days) {
            let day_start_ms = self.config.start_ms + day * DAY_MS;
            // One session is over before the next begins.
            let mut free_ms = day_start_ms;
            for start_ms in viewer.starts(self.config, day_start_ms, rng) {
                let start_ms = start_ms.max(free_ms);
                if start_ms < day_start_ms + DAY_MS {
                    free_ms = self.session(viewer, start_ms, rng, events) + 60_000;
                }
            }
        }
    }

    /// One session; returns when it ended.
    fn session(
        &self,
        viewer: &Viewer<'_>,
        start_ms: i64,
        rng: &mut ChaCha8Rng,
        events: &mut Vec<Event>,
    ) -> i64 {
        let mut time_ms = start_ms;
        let mut shown: Vec<&VideoId> = Vec::new();
        let published = self.clips.partition_point(|clip| clip.created_time_ms <= start_ms);
        for position in 0..clips_of_session(self.config, rng) {
            // Uniform among what this session has not shown yet.
            let left = published - shown.len().min(published);
            if left == 0 {
                break;
            }
            let clip = loop {
                let clip = &self.clips[rng.random_range(0..published)];
                if !shown.contains(&&clip.record.video_id) {
                    break clip;
                }
            };
            shown.push(&clip.record.video_id);
            let showing = Showing {
                viewer,
                record: clip.record,
                traits: clip.traits,
                duration_ms: clip.duration_ms,
                time_ms,
                position: position as i32,
                policy: "uniform",
                propensity: 1.0 / left as f32,
                source: &self.source,
            };
            time_ms = showing.react(rng, events) + GAP_MS;
        }
        time_ms
    }
}

impl Showing<'_> {
    /// What a person does with a clip; returns when they leave it.
    pub(super) fn react(&self, rng: &mut ChaCha8Rng, events: &mut Vec<Event>) -> i64 {
        let Self { viewer, time_ms, position, duration_ms, .. } = *self;
        let affinity = viewer.taste.affinity(self.traits);
        let impression = self.event(EventKind::Impression, time_ms, None, events.len());
        let impression_id = impression.event_id;
        events.push(impression);
        let emit = |kind, time_ms, watch_ms: Option<i64>, events: &mut Vec<Event>| {
            let mut event = self.event(kind, time_ms, Some(impression_id), events.len());
            event.watch_ms = watch_ms;
            events.push(event);
        };

        let attentive = rng.random_bool(attention(position));
        let clicked = attentive && rng.random_bool(click_probability(affinity));
        let share = if clicked {
            (0.35 + 0.9 * affinity + 0.2 * normal(rng)).clamp(0.05, 1.3)
        } else {
            (0.05 + 0.1 * rng.random::<f64>()).min(1.0)
        };
        let watch_ms = ((duration_ms as f64 * share) as i64).max(200);
        if clicked {
            emit(EventKind::Click, time_ms + 150, None, events);
        }
        let chance = |base: f64, power: i32| {
            if clicked { (base * viewer.expressiveness * affinity.powi(power)).min(1.0) } else { 0.0 }
        };
        let half_ms = time_ms + (watch_ms / 2).max(160);
        for (kind, probability) in [
            (EventKind::Like, chance(0.45, 2)),
            (EventKind::Share, chance(0.06, 2)),
            (EventKind::Comment, chance(0.05, 1)),
            (EventKind::ProfileEnter, chance(0.08, 1)),
            (EventKind::Follow, chance(0.05, 3)),
        ] {
            if rng.random_bool(probability) {
                emit(kind, half_ms, None, events);
            }
        }
        if attentive && rng.random_bool(0.04 * (1.0 - affinity).powi(3)) {
            emit(EventKind::NotInterested, half_ms, None, events);
        }
        emit(EventKind::Watch, time_ms + watch_ms, Some(watch_ms), events);
        time_ms + watch_ms
    }

    fn event(
        &self,
        kind: EventKind,
        event_time_ms: i64,
        impression_id: Option<EventId>,
        number: usize,
    ) -> Event {
        let is_impression = kind == EventKind::Impression;
        Event {
            event_id: EventId::derived(self.source, number as u64, kind.as_str()),
            schema_version: SCHEMA_VERSION,
            kind,
            event_time_ms,
            user_id: self.viewer.id.clone(),
            video_id: self.record.video_id.clone(),
            creator_id: self.record.creator_id.clone(),
            impression_id,
            watch_ms: None,
            duration_ms: Some(self.duration_ms),
            position: is_impression.then_some(self.position),
            surface: Some("feed".to_owned()),
            policy: is_impression.then(|| self.policy.to_owned()),
            propensity: is_impression.then_some(self.propensity),
            features: std::collections::BTreeMap::new(),
        }
    }
}

/// A Poisson draw (Knuth), for small means.
fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> usize {
    let limit = (-mean.min(500.0)).exp();
    let mut product = rng.random::<f64>();
    let mut count = 0;
    while product > limit {
        product *= rng.random::<f64>();
        count += 1;
    }
    count
}
