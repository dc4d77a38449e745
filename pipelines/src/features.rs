//! The features of a (person, clip, moment), one implementation for training sets and for the feed.
//!
//! Events enter in time order through [`FeatureState::observe`]; a [`RankingInput`] leaves, made only
//! of what was observed before. INVARIANT: computing an input never changes the state, so that what
//! is observed after it cannot reach into it.

mod counts;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::f64::consts::TAU;
use std::hash::BuildHasher;

use kinora_schema::ranking::{DENSE, Engagement, HistoryItem, MAX_HISTORY, RankingInput, Task, is_long_view};
use kinora_schema::{CreatorId, Event, EventId, EventKind, UserId, VideoId};

use crate::catalog::{HistoryRecord, UserRecord, VideoRecord};
use counts::{Change, Counts, INITIAL_PER_WATCH, INITIAL_RATES};

/// Impressions' worth of the platform's mean that a person's or a clip's rate starts from.
const PRIOR_IMPRESSIONS: f64 = 20.0;
/// The same for a (person, creator) or (person, topic) pair, which sees fewer impressions.
const PAIR_PRIOR_IMPRESSIONS: f64 = 5.0;
const HOUR_MS: i64 = 3_600_000;
const DAY_MS: f64 = 86_400_000.0;
/// Older clips are all equally old.
const MAX_AGE_DAYS: f64 = 365.0;

/// All that features are computed from: attributes, counters and recent histories.
#[derive(Debug, Default)]
pub struct FeatureState {
    user_ids: Interner,
    video_ids: Interner,
    creator_ids: Interner,
    topics: Interner,
    users: Vec<User>,
    videos: Vec<Video>,
    creators: Vec<Counts>,
    user_creators: HashMap<(u32, u32), Counts>,
    user_topics: HashMap<(u32, u32), Counts>,
    platform: Counts,
    /// Imported histories by the time from which they may be known.
    pending: BTreeMap<i64, Vec<Pending>>,
}

/// A history that is not known yet.
#[derive(Debug)]
struct Pending {
    /// Whose it is; `None` counts towards the clips alone.
    user: Option<u32>,
    interactions: VecDeque<Interaction>,
}

#[derive(Debug, Default)]
struct User {
    tokens: Vec<String>,
    counts: Counts,
    /// Oldest first.
    history: VecDeque<Interaction>,
}

#[derive(Clone, Copy, Debug)]
struct Interaction {
    video: u32,
    outcomes: u16,
    /// Outcomes of one impression are one interaction.
    impression: Option<EventId>,
}

#[derive(Debug, Default)]
struct Video {
    creator: Option<u32>,
    topic: Option<u32>,
    /// By its record.
    recorded_ms: Option<i64>,
    /// By the first event that names it.
    observed_ms: Option<i64>,
    created_time_ms: Option<i64>,
    tokens: Vec<String>,
    counts: Counts,
}

impl Video {
    fn duration_ms(&self) -> Option<i64> {
        self.recorded_ms.or(self.observed_ms)
    }
}

impl FeatureState {
    /// What is known of a person.
    pub fn set_user(&mut self, user: UserRecord) {
        let index = self.user(&user.user_id);
        self.users[index as usize].tokens = user.attributes;
    }

    /// What is known of a clip.
    pub fn set_video(&mut self, video: VideoRecord) {
        let index = self.video(&video.video_id);
        let creator = video.creator_id.as_ref().map(|id| self.creator(id));
        let topic = video.topic.as_deref().map(|topic| self.topics.intern(topic));
        let state = &mut self.videos[index as usize];
        state.creator = creator.or(state.creator);
        state.topic = topic;
        state.recorded_ms = video.duration_ms.filter(|&duration_ms| duration_ms > 0);
        state.created_time_ms = video.created_time_ms;
        state.tokens = video.attributes;
        // What a new clip says of itself is all that is known of it before anybody has seen it.
        state.tokens.extend(video.caption.as_deref().into_iter().flat_map(caption_words));
    }

    /// An imported history, oldest first, which becomes known at its `before_ms`: clips that a person
    /// watched, each with what they did. Without the person it counts towards the clips alone.
    pub fn set_history(&mut self, user: Option<&UserId>, before_ms: i64, items: &[HistoryRecord]) {
        let recent = &items[items.len().saturating_sub(MAX_HISTORY)..];
        let interactions = recent
            .iter()
            .map(|item| Interaction {
                video: self.video(&item.video_id),
                outcomes: item.outcomes,
                impression: None,
            })
            .collect();
        let user = user.map(|user| self.user(user));
        self.pending.entry(before_ms).or_default().push(Pending { user, interactions });
    }

    /// Lets in the imported histories that are known at `now_ms`.
    pub fn advance(&mut self, now_ms: i64) {
        while let Some(entry) = self.pending.first_entry()
            && *entry.key() <= now_ms
        {
            for Pending { user, mut interactions } in entry.remove() {
                for item in &interactions {
                    let has = |task| item.outcomes & bit(task) != 0;
                    let change = Change::ImportedWatch { long: has(Task::LongView), liked: has(Task::Like) };
                    self.platform.add(change);
                    self.videos[item.video as usize].counts.add(change);
                    if let Some(user) = user {
                        self.users[user as usize].counts.add(change);
                    }
                }
                let Some(user) = user else { continue };
                // What was observed meanwhile is more recent.
                let history = &mut self.users[user as usize].history;
                interactions.extend(history.drain(..));
                interactions.drain(..interactions.len().saturating_sub(MAX_HISTORY));
                *history = interactions;
            }
        }
    }

    /// Learns a clip's creator and length from an event that names them, where the clip's own
    /// record does not. These are attributes, known before anybody sees the clip.
    pub fn note_video(&mut self, event: &Event) {
        let video = self.video(&event.video_id) as usize;
        if self.videos[video].creator.is_none()
            && let Some(creator) = &event.creator_id
        {
            self.videos[video].creator = Some(self.creator(creator));
        }
        self.videos[video].observed_ms = self.videos[video].observed_ms.or(event.duration_ms);
    }

    /// Counts one event. Events come in the order of their times.
    pub fn observe(&mut self, event: &Event) {
        let user = self.user(&event.user_id);
        self.observe_of(Some(user), event);
    }

    /// Counts one event of somebody of whom nothing may be kept: towards the clip, its creator and the
    /// platform, where one person's part cannot be told.
    pub fn observe_unpersonalised(&mut self, event: &Event) {
        self.observe_of(None, event);
    }

    fn observe_of(&mut self, user: Option<u32>, event: &Event) {
        self.advance(event.event_time_ms);
        self.note_video(event);
        let video = self.video(&event.video_id);
        let duration_ms = event.duration_ms.or(self.videos[video as usize].duration_ms());
        let watch_ms = event.watch_ms.unwrap_or_default();
        let (change, task) = match event.kind {
            EventKind::Impression => (Some(Change::Impression), None),
            EventKind::Click => (Some(Change::Click), Some(Task::Click)),
            EventKind::Like => (Some(Change::Like), Some(Task::Like)),
            // Passed over without a moment of watching: the impression says it all.
            EventKind::Watch if watch_ms <= 0 => (None, None),
            EventKind::Watch => {
                let long = long_view(watch_ms, duration_ms);
                let outcomes = if long { bit(Task::LongView) } else { 0 };
                self.remember(user, video, event.impression_id, outcomes);
                (Some(Change::Watch { ratio: watch_ratio(watch_ms, duration_ms), long }), None)
            }
            EventKind::Share => (None, Some(Task::Share)),
            EventKind::Follow => (None, Some(Task::Follow)),
            EventKind::Comment => (None, Some(Task::Comment)),
            EventKind::ProfileEnter => (None, Some(Task::ProfileEnter)),
            EventKind::NotInterested => (None, Some(Task::NotInterested)),
            EventKind::Report => (None, Some(Task::Report)),
            EventKind::Create | EventKind::Remix => (None, None),
        };
        if let Some(task) = task {
            self.remember(user, video, event.impression_id, bit(task));
        }
        if let Some(change) = change {
            self.count(user, video, change);
        }
    }

    fn count(&mut self, user: Option<u32>, video: u32, change: Change) {
        self.platform.add(change);
        let video = &mut self.videos[video as usize];
        video.counts.add(change);
        if let Some(creator) = video.creator {
            self.creators[creator as usize].add(change);
        }
        let Some(user) = user else { return };
        self.users[user as usize].counts.add(change);
        if let Some(creator) = video.creator {
            self.user_creators.entry((user, creator)).or_default().add(change);
        }
        if let Some(topic) = video.topic {
            self.user_topics.entry((user, topic)).or_default().add(change);
        }
    }

    fn remember(&mut self, user: Option<u32>, video: u32, impression: Option<EventId>, outcomes: u16) {
        let Some(user) = user else { return };
        let history = &mut self.users[user as usize].history;
        // Outcomes of an impression follow it closely: only recent entries can be theirs.
        let same = history
            .iter_mut()
            .rev()
            .take(8)
            .find(|item| item.video == video && item.impression == impression);
        if let Some(item) = same {
            item.outcomes |= outcomes;
            return;
        }
        if history.len() == MAX_HISTORY {
            history.pop_front();
        }
        history.push_back(Interaction { video, outcomes, impression });
    }

    /// The features of showing `video` to `user` at `now_ms`.
    pub fn input(&self, user: &UserId, video: &VideoId, now_ms: i64, surface: &str) -> RankingInput {
        self.input_for(self.user_ids.get(user.as_str()), video, now_ms, surface)
    }

    /// The features of showing `video` to somebody of whom nothing may be used: personalisation is
    /// off, or they are not signed in. The same for everybody.
    pub fn input_unpersonalised(&self, video: &VideoId, now_ms: i64, surface: &str) -> RankingInput {
        self.input_for(None, video, now_ms, surface)
    }

    fn input_for(&self, user: Option<u32>, video_id: &VideoId, now_ms: i64, surface: &str) -> RankingInput {
        let nobody = User::default();
        let unknown = Video::default();
        let person = user.map_or(&nobody, |user| &self.users[user as usize]);
        let video =
            self.video_ids.get(video_id.as_str()).map_or(&unknown, |video| &self.videos[video as usize]);

        let platform = self.platform.rates(INITIAL_RATES, PRIOR_IMPRESSIONS);
        let person_rates = person.counts.rates(platform, PRIOR_IMPRESSIONS);
        let video_rates = video.counts.rates(platform, PRIOR_IMPRESSIONS);
        let creator = video.creator.map(|creator| self.creators[creator as usize]).unwrap_or_default();
        let creator_rates = creator.rates(platform, PRIOR_IMPRESSIONS);
        let with_creator = pair(&self.user_creators, user, video.creator);
        let with_creator_rates = with_creator.rates(platform, PAIR_PRIOR_IMPRESSIONS);
        let with_topic = pair(&self.user_topics, user, video.topic);
        let with_topic_rates = with_topic.rates(platform, PAIR_PRIOR_IMPRESSIONS);

        let platform_per_watch = self.platform.per_watch(INITIAL_PER_WATCH);
        let person_per_watch = person.counts.per_watch(platform_per_watch);
        let video_per_watch = video.counts.per_watch(platform_per_watch);

        let hour = now_ms.div_euclid(HOUR_MS).rem_euclid(24);
        let day_angle = TAU * hour as f64 / 24.0;
        let age_days = video.created_time_ms.map_or(0.0, |created_ms| {
            (now_ms.saturating_sub(created_ms) as f64 / DAY_MS).clamp(0.0, MAX_AGE_DAYS)
        });
        let duration_s = video.duration_ms().unwrap_or_default() as f64 / 1000.0;

        // INVARIANT: in the order of `DENSE_FEATURES`; the test below holds names to values.
        let dense: [f32; DENSE] = [
            person.counts.log_impressions(),
            person_rates.click as f32,
            person_rates.long_view as f32,
            person_rates.like as f32,
            person_rates.watch_ratio as f32,
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
            day_angle.sin() as f32,
            day_angle.cos() as f32,
            (person.history.len() as f64).ln_1p() as f32,
            self.history_share(person, |item| item.creator, video.creator),
            self.history_share(person, |item| item.topic, video.topic),
            person.counts.log_watches(),
            person_per_watch.long_view as f32,
            person_per_watch.like as f32,
            video.counts.log_watches(),
            video_per_watch.long_view as f32,
            video_per_watch.like as f32,
        ];
        RankingInput {
            video_id: video_id.clone(),
            dense,
            user_tokens: person.tokens.clone(),
            video_tokens: self.video_tokens(video),
            context_tokens: vec![format!("surface={surface}"), format!("hour={hour}")],
            history: person.history.iter().map(|item| self.history_item(item)).collect(),
        }
    }

    /// Share of a history that has the same creator or topic.
    fn history_share(&self, person: &User, of: fn(&Video) -> Option<u32>, wanted: Option<u32>) -> f32 {
        if wanted.is_none() || person.history.is_empty() {
            return 0.0;
        }
        let same =
            person.history.iter().filter(|item| of(&self.videos[item.video as usize]) == wanted).count();
        same as f32 / person.history.len() as f32
    }

    fn video_tokens(&self, video: &Video) -> Vec<String> {
        let creator = video.creator.map(|creator| format!("creator={}", self.creator_ids.name(creator)));
        let topic = video.topic.map(|topic| format!("topic={}", self.topics.name(topic)));
        creator.into_iter().chain(topic).chain(video.tokens.iter().cloned()).collect()
    }

    fn history_item(&self, item: &Interaction) -> HistoryItem {
        HistoryItem { video_id: VideoId::new(self.video_ids.name(item.video)), outcomes: item.outcomes }
    }

    /// Length of a clip by its record, where that says.
    pub(crate) fn recorded_ms(&self, video: &VideoId) -> Option<i64> {
        self.video_ids.get(video.as_str()).and_then(|video| self.videos[video as usize].recorded_ms)
    }

    /// What all people together did with a clip.
    pub fn engagement(&self, video: &VideoId) -> Engagement {
        let video = self.video_ids.get(video.as_str());
        video.map(|video| self.videos[video as usize].counts.engagement()).unwrap_or_default()
    }

    fn user(&mut self, id: &UserId) -> u32 {
        let index = self.user_ids.intern(id.as_str());
        self.users.resize_with(self.user_ids.len(), User::default);
        index
    }

    fn video(&mut self, id: &VideoId) -> u32 {
        let index = self.video_ids.intern(id.as_str());
        self.videos.resize_with(self.video_ids.len(), Video::default);
        index
    }

    fn creator(&mut self, id: &CreatorId) -> u32 {
        let index = self.creator_ids.intern(id.as_str());
        self.creators.resize(self.creator_ids.len(), Counts::default());
        index
    }
}

fn pair<S: BuildHasher>(
    pairs: &HashMap<(u32, u32), Counts, S>,
    user: Option<u32>,
    other: Option<u32>,
) -> Counts {
    user.zip(other).and_then(|key| pairs.get(&key).copied()).unwrap_or_default()
}

fn bit(task: Task) -> u16 {
    1 << task.index()
}

/// Whether a watch is long; a clip of unknown length is judged by time alone.
pub(crate) fn long_view(watch_ms: i64, duration_ms: Option<i64>) -> bool {
    is_long_view(watch_ms, duration_ms.filter(|&duration_ms| duration_ms > 0).unwrap_or(i64::MAX))
}

/// Share of the clip that was watched, at most one.
fn watch_ratio(watch_ms: i64, duration_ms: Option<i64>) -> f64 {
    match duration_ms {
        Some(duration_ms) if duration_ms > 0 => (watch_ms as f64 / duration_ms as f64).clamp(0.0, 1.0),
        _ => f64::from(u8::from(long_view(watch_ms, None))),
    }
}

/// Names as dense numbers, in order of arrival.
#[derive(Debug, Default)]
struct Interner {
    index: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

impl Interner {
    fn intern(&mut self, name: &str) -> u32 {
        if let Some(&index) = self.index.get(name) {
            return index;
        }
        let index = self.names.len() as u32;
        self.index.insert(name.into(), index);
        self.names.push(name.into());
        index
    }

    fn get(&self, name: &str) -> Option<u32> {
        self.index.get(name).copied()
    }

    fn name(&self, index: u32) -> &str {
        &self.names[index as usize]
    }

    fn len(&self) -> usize {
        self.names.len()
    }
}

/// The first words of a caption, once each, as `word=` tokens.
fn caption_words(caption: &str) -> Vec<String> {
    const MAX_WORDS: usize = 16;
    let mut words = Vec::new();
    for word in caption.to_lowercase().split(|letter: char| !letter.is_alphanumeric()) {
        let token = format!("word={word}");
        if word.chars().count() > 2 && words.len() < MAX_WORDS && !words.contains(&token) {
            words.push(token);
        }
    }
    words
}

#[cfg(test)]
mod tests;
