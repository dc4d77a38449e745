//! What happened before a day: histories and the impressions of earlier days enter, smoothed rates
//! leave.
//!
//! INVARIANT: the state that an impression is seen through holds nothing of its own day or later.
//! Training takes in a day at a time, after all of the day's impressions have been seen; when it
//! ends, the state is frozen and saved with the model.

use std::collections::HashMap;

use kinora_schema::ranking::Task;
use serde::{Deserialize, Serialize};

use super::catalogue::{AUTHOR, Catalogue, MUSIC, NONE, TAG, UPLOAD_TYPE};
use super::impression::{Impression, Outcome};
use super::similarity::Directions;

/// What is counted of an impression: click, long view, like, watch time (log), engagement.
pub const SIGNALS: [&str; 5] = ["click", "long_view", "like", "watch", "engage"];
/// Buckets of clips by duration.
pub const DURATION_BUCKETS: usize = 10;
/// Surfaces told apart; the rest are one.
pub const TABS: u32 = 15;

/// Sums of the signals over some impressions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    pub rows: f32,
    pub sums: [f32; SIGNALS.len()],
}

impl Tally {
    fn add(&mut self, values: &[f32; SIGNALS.len()]) {
        self.rows += 1.0;
        self.sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    }

    /// The mean of a signal, pulled towards `towards` by `prior` rows.
    pub fn rate(&self, signal: usize, towards: f32, prior: f32) -> f32 {
        (self.sums[signal] + prior * towards) / (self.rows + prior)
    }
}

/// What impressions are grouped by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Group {
    pub name: &'static str,
    /// Rows of the prior that its means are pulled to zero by.
    pub prior: f32,
}

const fn group(name: &'static str, prior: f32) -> Group {
    Group { name, prior }
}

/// The groups whose deviation from what is expected of their surface and duration is a feature.
pub const GROUPS: [Group; 14] = [
    group("user", 4.0),
    group("video", 15.0),
    group("author", 15.0),
    group("music", 15.0),
    group("tag", 40.0),
    group("upload_type", 40.0),
    group("user_tab", 4.0),
    group("video_tab", 10.0),
    group("user_tag", 3.0),
    group("user_duration", 3.0),
    group("user_author", 2.0),
    group("user_hours", 3.0),
    group("tab_hour", 40.0),
    group("user_video", 1.0),
];

/// Watches of histories: their number, how many were long, how many were liked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watches {
    pub count: f32,
    pub long: f32,
    pub liked: f32,
}

impl Watches {
    pub fn long_rate(&self, mean: f32, prior: f32) -> f32 {
        (self.long + prior * mean) / (self.count + prior)
    }

    pub fn like_rate(&self, mean: f32, prior: f32) -> f32 {
        (self.liked + prior * mean) / (self.count + prior)
    }
}

/// Beside each watched clip of a person: how far the watch was from what was to be expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Surprise {
    pub long: f32,
    pub like: f32,
}

/// A person as their history shows them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Person {
    pub watches: Watches,
    /// Long views and likes beyond those expected of the clips, a watch.
    pub long_lift: f32,
    pub like_lift: f32,
    /// Beside the watched clips of the history.
    pub surprises: Vec<Surprise>,
}

/// Everything that features are looked up in.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    pub catalogue: Catalogue,
    pub directions: Directions,
    /// Upper ends of the duration buckets but the last, in milliseconds.
    pub duration_edges: Vec<f32>,

    // --- Of the histories.
    pub all_watches: Watches,
    pub video_watches: Vec<Watches>,
    pub author_watches: Vec<Watches>,
    pub music_watches: Vec<Watches>,
    pub tag_watches: Vec<Watches>,
    pub duration_watches: Vec<Watches>,
    /// Long views of a clip beyond those expected of the people who watched it, a watch.
    pub video_lift: Vec<f32>,
    pub people: Vec<Person>,

    // --- Of the impressions of earlier days.
    pub days: u32,
    /// All impressions, those of each surface, and those of each surface and duration.
    pub everywhere: Tally,
    pub tabs: HashMap<u32, Tally>,
    pub tab_durations: HashMap<u64, Tally>,
    /// In the order of [`GROUPS`], deviations from what was expected.
    pub groups: Vec<HashMap<u64, Tally>>,
}

impl State {
    /// The state before the first day: of the histories alone.
    pub fn of_histories(catalogue: Catalogue, seed: u64) -> Self {
        let mut durations: Vec<f32> =
            catalogue.videos.iter().filter_map(|video| video.numbers[0]).filter(|&ms| ms > 0.0).collect();
        durations.sort_unstable_by(f32::total_cmp);
        let edge = |bucket: usize| durations.get(bucket * durations.len() / DURATION_BUCKETS).copied();
        let watched: Vec<Vec<u32>> = catalogue
            .histories
            .iter()
            .map(|history| history.watched.iter().map(|(video, _)| *video).collect())
            .collect();
        let mut state = Self {
            directions: Directions::fit(&watched, catalogue.videos.len(), seed),
            duration_edges: (1..DURATION_BUCKETS).filter_map(edge).collect(),
            groups: vec![HashMap::new(); GROUPS.len()],
            catalogue,
            ..Self::default()
        };
        state.count_histories();
        state.weigh_people();
        state
    }

    fn count_histories(&mut self) {
        let Catalogue { videos, histories, name_counts, .. } = &self.catalogue;
        let none = |count: usize| vec![Watches::default(); count];
        let mut by_video = none(videos.len());
        let [mut by_author, mut by_music, mut by_tag] =
            [AUTHOR, MUSIC, TAG].map(|name| none(name_counts[name] as usize));
        let mut by_duration = none(DURATION_BUCKETS);
        let mut all = Watches::default();
        for &(video, marks) in histories.iter().flat_map(|history| &history.watched) {
            let record = &videos[video as usize];
            let bucket = bucket_of(&self.duration_edges, record.numbers[0].unwrap_or(f32::NAN));
            let at = |counts: &mut Vec<Watches>, at: u32| count(counts.get_mut(at as usize), marks);
            count(Some(&mut all), marks);
            at(&mut by_video, video);
            at(&mut by_author, record.names[AUTHOR]);
            at(&mut by_music, record.names[MUSIC]);
            at(&mut by_tag, record.names[TAG]);
            at(&mut by_duration, bucket);
        }
        self.all_watches = all;
        self.video_watches = by_video;
        self.author_watches = by_author;
        self.music_watches = by_music;
        self.tag_watches = by_tag;
        self.duration_watches = by_duration;
    }

    /// How much longer than others a person watches what they watch, and how much longer a clip is
    /// watched than its people watch others.
    fn weigh_people(&mut self) {
        let (long_mean, like_mean) = self.means();
        let videos = self.catalogue.videos.len();
        let mut beyond = vec![(0.0_f32, 0.0_f32); videos];
        self.people = Vec::with_capacity(self.catalogue.histories.len());
        for history in &self.catalogue.histories {
            let mut person = Person::default();
            let (mut long_sum, mut like_sum) = (0.0, 0.0);
            for &(video, marks) in &history.watched {
                count(Some(&mut person.watches), marks);
                let of_video = &self.video_watches[video as usize];
                let (long, like) = flags(marks);
                long_sum += long - of_video.long_rate(long_mean, 20.0);
                like_sum += like - of_video.like_rate(like_mean, 20.0);
            }
            person.long_lift = long_sum / (person.watches.count + 5.0);
            person.like_lift = like_sum / (person.watches.count + 10.0);
            for &(video, marks) in &history.watched {
                let of_video = &mut beyond[video as usize];
                of_video.0 += flags(marks).0 - long_mean - person.long_lift;
                of_video.1 += 1.0;
            }
            self.people.push(person);
        }
        self.video_lift = beyond.into_iter().map(|(sum, count)| sum / (count + 20.0)).collect();
        for (person, history) in self.people.iter_mut().zip(&self.catalogue.histories) {
            let surprise = |&(video, marks): &(u32, u8)| {
                let (long, like) = flags(marks);
                let expected = long_mean + person.long_lift + self.video_lift[video as usize];
                let like_expected = self.video_watches[video as usize].like_rate(like_mean, 20.0);
                Surprise { long: long - expected, like: like - like_expected }
            };
            person.surprises = history.watched.iter().map(surprise).collect();
        }
    }

    /// Long views and likes a watch, over all histories.
    pub fn means(&self) -> (f32, f32) {
        (self.all_watches.long_rate(0.3, 10.0), self.all_watches.like_rate(0.02, 10.0))
    }

    /// The bucket of an impression's duration; [`NONE`] where it has none.
    pub fn duration_bucket(&self, duration_ms: f32) -> u32 {
        bucket_of(&self.duration_edges, duration_ms)
    }

    /// Takes in the impressions of a day, after all of them have been seen.
    pub fn learn(&mut self, impressions: &[Impression], outcomes: &[Outcome]) {
        for (shown, outcome) in impressions.iter().zip(outcomes) {
            let values = signals(*outcome);
            let tab = shown.tab.min(TABS);
            self.everywhere.add(&values);
            self.tabs.entry(tab).or_default().add(&values);
            let bucket = self.duration_bucket(shown.duration_ms);
            self.tab_durations.entry(key(tab, bucket)).or_default().add(&values);
        }
        for (shown, outcome) in impressions.iter().zip(outcomes) {
            let expected = self.expected(shown);
            let values = signals(*outcome);
            let beyond = std::array::from_fn(|signal| values[signal] - expected[signal]);
            for (group, key) in self.keys(shown).into_iter().enumerate() {
                if let Some(key) = key {
                    self.groups[group].entry(key).or_default().add(&beyond);
                }
            }
        }
        self.days += 1;
    }

    /// The signals expected on this surface of a clip of this duration, whoever sees it.
    pub fn expected(&self, shown: &Impression) -> [f32; SIGNALS.len()] {
        let tab = shown.tab.min(TABS);
        let of_tab = self.tabs.get(&tab).copied().unwrap_or_default();
        let bucket = self.duration_bucket(shown.duration_ms);
        let of_both = self.tab_durations.get(&key(tab, bucket)).copied().unwrap_or_default();
        std::array::from_fn(|signal| {
            let all = self.everywhere.rate(signal, 0.0, 1.0);
            of_both.rate(signal, of_tab.rate(signal, all, 30.0), 30.0)
        })
    }

    /// The impression's key in each of [`GROUPS`], where it has one.
    pub fn keys(&self, shown: &Impression) -> [Option<u64>; GROUPS.len()] {
        let user = self.catalogue.user(shown.user_id);
        let video = self.catalogue.video(shown.video_id);
        let names = self.catalogue.videos.get(video as usize).map(|record| record.names);
        let name = |at: usize| names.map_or(NONE, |names| names[at]);
        let (tab, hour) = (shown.tab.min(TABS), shown.hour());
        let bucket = self.duration_bucket(shown.duration_ms);
        [
            (user, 0),
            (video, 0),
            (name(AUTHOR), 0),
            (name(MUSIC), 0),
            (name(TAG), 0),
            (name(UPLOAD_TYPE), 0),
            (user, tab),
            (video, tab),
            (user, name(TAG)),
            (user, bucket),
            (user, name(AUTHOR)),
            (user, hour / 4),
            (tab, hour),
            (user, video),
        ]
        .map(|(one, other)| (one != NONE && other != NONE).then(|| key(one, other)))
    }

    /// Whether a state read from a file can be looked up in.
    pub fn is_sound(&self) -> bool {
        let Catalogue { users, histories, videos, user_numbers, video_numbers, .. } = &self.catalogue;
        let in_range = |video: u32| (video as usize) < videos.len();
        let tail = |count: usize, lengths: &[usize]| lengths.iter().all(|&length| length == count);
        tail(users.len(), &[histories.len(), self.people.len()])
            && tail(videos.len(), &[self.video_watches.len(), self.video_lift.len()])
            && user_numbers.values().all(|&user| (user as usize) < users.len())
            && video_numbers.values().all(|&video| in_range(video))
            && self.groups.len() == GROUPS.len()
            && self.duration_edges.len() < DURATION_BUCKETS
            && self.duration_watches.len() == DURATION_BUCKETS
            && self.directions.is_sound()
            && histories.iter().zip(&self.people).all(|(history, person)| {
                history.watched.len() == person.surprises.len()
                    && history.watched.iter().all(|&(video, _)| in_range(video))
            })
    }
}

/// The signals of an outcome, in the order of [`SIGNALS`].
fn signals(outcome: Outcome) -> [f32; SIGNALS.len()] {
    let flag = |is: bool| f32::from(u8::from(is));
    let engaged =
        [Task::Follow, Task::Comment, Task::Share, Task::ProfileEnter].map(|task| outcome.has(task));
    [
        flag(outcome.has(Task::Click)),
        flag(outcome.has(Task::LongView)),
        flag(outcome.has(Task::Like)),
        (outcome.watch_ms / 1000.0).ln_1p(),
        flag(engaged.contains(&true)),
    ]
}

fn count(watches: Option<&mut Watches>, marks: u8) {
    let Some(watches) = watches else { return };
    let (long, like) = flags(marks);
    watches.count += 1.0;
    watches.long += long;
    watches.liked += like;
}

fn flags(marks: u8) -> (f32, f32) {
    (f32::from(marks & 1), f32::from((marks >> 1) & 1))
}

fn bucket_of(edges: &[f32], duration_ms: f32) -> u32 {
    if duration_ms.is_nan() { NONE } else { edges.partition_point(|&edge| edge < duration_ms) as u32 }
}

/// Two numbers as one key.
pub fn key(one: u32, other: u32) -> u64 {
    (u64::from(one) << 32) | u64::from(other)
}
