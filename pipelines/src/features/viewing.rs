//! One person at one moment in one place: computed once, asked for the input of each clip of a page.

use std::collections::HashMap;
use std::f64::consts::TAU;
use std::sync::Arc;

use kinora_schema::VideoId;
use kinora_schema::ranking::{DENSE, Person, RankingInput};

use super::counts::{Counts, INITIAL_PER_WATCH, INITIAL_RATES, PerWatch, Rates};
use super::{FeatureState, User, Video};

/// Impressions' worth of the platform's mean that a person's or a clip's rate starts from.
const PRIOR_IMPRESSIONS: f64 = 20.0;
/// The same for a (person, creator) or (person, topic) pair, which sees fewer impressions.
const PAIR_PRIOR_IMPRESSIONS: f64 = 5.0;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: f64 = 86_400_000.0;
/// Older clips are all equally old.
const MAX_AGE_DAYS: f64 = 365.0;

/// See [`FeatureState::viewing`].
#[derive(Debug)]
pub struct Viewing<'a> {
    state: &'a FeatureState,
    user: Option<u32>,
    now_ms: i64,
    person: Arc<Person>,
    context_tokens: Arc<[String]>,
    /// Sine and cosine of the hour.
    hour: [f32; 2],
    counts: Counts,
    platform: Rates,
    rates: Rates,
    platform_per_watch: PerWatch,
    per_watch: PerWatch,
    /// How often each creator and each topic is in the history.
    creators: HashMap<u32, u32>,
    topics: HashMap<u32, u32>,
}

impl<'a> Viewing<'a> {
    pub(super) fn of(state: &'a FeatureState, user: Option<u32>, now_ms: i64, surface: &str) -> Self {
        let nobody = User::default();
        let person = user.map_or(&nobody, |user| &state.users[user as usize]);
        let platform = state.platform.rates(INITIAL_RATES, PRIOR_IMPRESSIONS);
        let platform_per_watch = state.platform.per_watch(INITIAL_PER_WATCH);
        let (mut creators, mut topics) = (HashMap::new(), HashMap::new());
        for item in &person.history {
            let video = &state.videos[item.video as usize];
            for (counts, of) in [(&mut creators, video.creator), (&mut topics, video.topic)] {
                if let Some(of) = of {
                    *counts.entry(of).or_default() += 1;
                }
            }
        }
        let hour = now_ms.div_euclid(HOUR_MS).rem_euclid(24);
        let angle = TAU * hour as f64 / 24.0;
        Self {
            state,
            user,
            now_ms,
            context_tokens: [format!("surface={surface}"), format!("hour={hour}")].into(),
            hour: [angle.sin() as f32, angle.cos() as f32],
            counts: person.counts,
            platform,
            rates: person.counts.rates(platform, PRIOR_IMPRESSIONS),
            platform_per_watch,
            per_watch: person.counts.per_watch(platform_per_watch),
            creators,
            topics,
            person: Arc::new(Person {
                tokens: person.tokens.clone(),
                history: person.history.iter().map(|item| state.history_item(item)).collect(),
            }),
        }
    }

    /// Who looks.
    pub fn person(&self) -> Arc<Person> {
        Arc::clone(&self.person)
    }

    /// The features of showing `video` now.
    pub fn input(&self, video_id: &VideoId) -> RankingInput {
        let state = self.state;
        let unknown = Video::default();
        let known = state.video_ids.get(video_id.as_str());
        let video = known.map_or(&unknown, |video| &state.videos[video as usize]);

        let video_rates = video.counts.rates(self.platform, PRIOR_IMPRESSIONS);
        let creator = video.creator.map(|creator| state.creators[creator as usize]).unwrap_or_default();
        let creator_rates = creator.rates(self.platform, PRIOR_IMPRESSIONS);
        let with_creator = self.pair(&state.user_creators, video.creator);
        let with_creator_rates = with_creator.rates(self.platform, PAIR_PRIOR_IMPRESSIONS);
        let with_topic = self.pair(&state.user_topics, video.topic);
        let with_topic_rates = with_topic.rates(self.platform, PAIR_PRIOR_IMPRESSIONS);
        let video_per_watch = video.counts.per_watch(self.platform_per_watch);
        let age_days = video.created_time_ms.map_or(0.0, |created_ms| {
            (self.now_ms.saturating_sub(created_ms) as f64 / DAY_MS).clamp(0.0, MAX_AGE_DAYS)
        });
        let duration_s = video.duration_ms().unwrap_or_default() as f64 / 1000.0;

        // INVARIANT: in the order of `DENSE_FEATURES`; a test holds names to values.
        let dense: [f32; DENSE] = [
            self.counts.log_impressions(),
            self.rates.click as f32,
            self.rates.long_view as f32,
            self.rates.like as f32,
            self.rates.watch_ratio as f32,
            video.counts.log_impressions(),
            video_rates.click as f32,
            video_rates.long_view as f32,
            video_rates.like as f32,
            video_rates.watch_ratio as f32,
            creator.log_impressions(),
            creator_rates.click as f32,
            creator_rates.long_view as f32,
            creator_rates.like as f32,
            with_creator.log_impressions(),
            with_creator_rates.click as f32,
            with_topic.log_impressions(),
            with_topic_rates.click as f32,
            with_topic_rates.long_view as f32,
            age_days as f32,
            duration_s.ln_1p() as f32,
            self.hour[0],
            self.hour[1],
            (self.person.history.len() as f64).ln_1p() as f32,
            self.history_share(&self.creators, video.creator),
            self.history_share(&self.topics, video.topic),
            self.counts.log_watches(),
            self.per_watch.long_view as f32,
            self.per_watch.like as f32,
            video.counts.log_watches(),
            video_per_watch.long_view as f32,
            video_per_watch.like as f32,
        ];
        RankingInput {
            video_id: video_id.clone(),
            dense,
            person: Arc::clone(&self.person),
            video_tokens: Arc::clone(&video.tokens),
            context_tokens: Arc::clone(&self.context_tokens),
        }
    }

    /// Share of the history that has the same creator or topic.
    fn history_share(&self, counts: &HashMap<u32, u32>, wanted: Option<u32>) -> f32 {
        let same = wanted.and_then(|wanted| counts.get(&wanted)).copied().unwrap_or_default();
        same as f32 / self.person.history.len().max(1) as f32
    }

    fn pair(&self, pairs: &HashMap<(u32, u32), Counts>, other: Option<u32>) -> Counts {
        self.user.zip(other).and_then(|key| pairs.get(&key).copied()).unwrap_or_default()
    }
}
