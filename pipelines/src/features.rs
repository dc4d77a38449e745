//! The features of a (person, clip, moment), one implementation for training sets and for the feed.
//!
//! Events enter in time order through [`FeatureState::observe`]; a [`RankingInput`] leaves, made only
//! of what was observed before. INVARIANT: computing an input never changes the state, so that what
//! is observed after it cannot reach into it.

mod counts;
mod viewing;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use kinora_schema::ranking::{Engagement, HistoryItem, MAX_HISTORY, RankingInput, Task, is_long_view};
use kinora_schema::{CreatorId, Event, EventId, EventKind, UserId, VideoId};

use crate::catalog::{HistoryRecord, UserRecord, VideoRecord};
use counts::{Change, Counts};
pub use viewing::Viewing;

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
    /// Imported histories and changed attributes, by the time from which they may be known.
    pending: BTreeMap<i64, Vec<Pending>>,
}

/// What is not known yet.
#[derive(Debug)]
enum Pending {
    /// Without a user it counts towards the clips alone.
    History {
        user: Option<u32>,
        interactions: VecDeque<Interaction>,
    },
    User(UserRecord),
    Video(VideoRecord),
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
    attributes: Vec<String>,
    /// The attributes with the creator and the topic in front, as inputs share them.
    tokens: Arc<[String]>,
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
        state.attributes = video.attributes;
        // What a new clip says of itself is all that is known of it before anybody has seen it.
        state.attributes.extend(video.caption.as_deref().into_iter().flat_map(caption_words));
        self.name_video(index as usize);
    }

    /// What is known of a person from a time on.
    pub fn set_user_from(&mut self, from_ms: i64, user: UserRecord) {
        self.pending.entry(from_ms).or_default().push(Pending::User(user));
    }

    /// What is known of a clip from a time on.
    pub fn set_video_from(&mut self, from_ms: i64, video: VideoRecord) {
        self.pending.entry(from_ms).or_default().push(Pending::Video(video));
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
        self.pending.entry(before_ms).or_default().push(Pending::History { user, interactions });
    }

    /// Lets in the imported histories and the attributes that are known at `now_ms`.
    pub fn advance(&mut self, now_ms: i64) {
        while let Some(entry) = self.pending.first_entry()
            && *entry.key() <= now_ms
        {
            for pending in entry.remove() {
                let (user, mut interactions) = match pending {
                    Pending::History { user, interactions } => (user, interactions),
                    Pending::User(user) => {
                        self.set_user(user);
                        continue;
                    }
                    Pending::Video(video) => {
                        self.set_video(video);
                        continue;
                    }
                };
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
            self.name_video(video);
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
        self.viewing(Some(user), now_ms, surface).input(video)
    }

    /// What the clips of a page have in common: who looks, when and where. Without a user it is somebody
    /// of whom nothing may be used, because personalisation is off or they are not signed in: the same
    /// for everybody.
    pub fn viewing(&self, user: Option<&UserId>, now_ms: i64, surface: &str) -> Viewing<'_> {
        let user = user.and_then(|user| self.user_ids.get(user.as_str()));
        Viewing::of(self, user, now_ms, surface)
    }

    /// Spells out what is known of a clip before anybody has seen it.
    fn name_video(&mut self, video: usize) {
        let Video { creator, topic, attributes, .. } = &self.videos[video];
        let creator = creator.map(|creator| format!("creator={}", self.creator_ids.name(creator)));
        let topic = topic.map(|topic| format!("topic={}", self.topics.name(topic)));
        let tokens = creator.into_iter().chain(topic).chain(attributes.iter().cloned()).collect();
        self.videos[video].tokens = tokens;
    }

    fn history_item(&self, item: &Interaction) -> HistoryItem {
        HistoryItem { video_id: VideoId::new(self.video_ids.name(item.video)), outcomes: item.outcomes }
    }

    /// What is known of a clip before anybody has seen it, as `name=value` attributes.
    pub fn video_tokens(&self, video: &VideoId) -> Arc<[String]> {
        let video = self.video_ids.get(video.as_str());
        video.map(|video| Arc::clone(&self.videos[video as usize].tokens)).unwrap_or_default()
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
