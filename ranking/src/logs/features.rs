//! One impression through a state: a list of numbers leaves, always the same ones in the same order.
//!
//! INVARIANT: training, evaluation and serving call [`State::features`], and nothing else makes
//! features. What the state cannot tell is NaN, which the trees take as missing.

use super::catalogue::{AUTHOR, MUSIC, MUSIC_TYPE, NONE, TAG, UPLOAD_TYPE, USER_NUMBERS, VIDEO_TYPE, Video};
use super::impression::Impression;
use super::state::{GROUPS, Person, SIGNALS, State, Surprise, Watches};

/// Surfaces, clip types and the like enter as numbers of their own order.
fn code(number: u32) -> f32 {
    if number == NONE { f32::NAN } else { number as f32 }
}

/// Collects features, and their names where they are asked for.
struct Writer<'a> {
    values: &'a mut Vec<f32>,
    names: Option<&'a mut Vec<String>>,
}

impl Writer<'_> {
    fn put(&mut self, name: &str, value: f32) {
        self.values.push(value);
        if let Some(names) = &mut self.names {
            names.push(name.to_owned());
        }
    }

    fn put_as(&mut self, prefix: &str, name: &str, value: f32) {
        self.values.push(value);
        if let Some(names) = &mut self.names {
            names.push(format!("{prefix}_{name}"));
        }
    }
}

impl State {
    /// The features of an impression.
    pub fn features(&self, shown: &Impression) -> Vec<f32> {
        let mut values = Vec::with_capacity(192);
        self.write(shown, &mut Writer { values: &mut values, names: None });
        values
    }

    /// The names of the features, in their order.
    pub fn feature_names(&self) -> Vec<String> {
        let (mut values, mut names) = (Vec::new(), Vec::new());
        let nothing = Impression { user_id: -1, video_id: -1, time_ms: 0, duration_ms: f32::NAN, tab: 0 };
        self.write(&nothing, &mut Writer { values: &mut values, names: Some(&mut names) });
        names
    }

    fn write(&self, shown: &Impression, writer: &mut Writer<'_>) {
        let user = self.catalogue.user(shown.user_id);
        let video = self.catalogue.video(shown.video_id);
        let record = self.catalogue.videos.get(video as usize);
        Self::moment(shown, record, writer);
        self.attributes(user, record, writer);
        self.watches(shown, user, video, record, writer);
        self.past(user, video, record, shown, writer);
        self.earlier_days(shown, writer);
    }

    fn moment(shown: &Impression, record: Option<&Video>, writer: &mut Writer<'_>) {
        writer.put("tab", shown.tab as f32);
        writer.put("hour", shown.hour() as f32);
        writer.put("duration_ms", shown.duration_ms);
        let usual = record.and_then(|record| record.numbers[0]).unwrap_or(f32::NAN);
        writer.put("duration_beyond_record_ms", shown.duration_ms - usual);
    }

    fn attributes(&self, user: u32, record: Option<&Video>, writer: &mut Writer<'_>) {
        let name = |at: usize| record.map_or(f32::NAN, |record| code(record.names[at]));
        writer.put("video_type", name(VIDEO_TYPE));
        writer.put("upload_type", name(UPLOAD_TYPE));
        writer.put("music_type", name(MUSIC_TYPE));
        writer.put("tag", name(TAG));
        let number = |at: usize| record.and_then(|record| record.numbers[at]).unwrap_or(f32::NAN);
        writer.put("width", number(1));
        writer.put("height", number(2));
        writer.put("visible_status", number(3));
        let uploaded = record.and_then(|record| record.uploaded_day);
        writer.put("uploaded_day", uploaded.map_or(f32::NAN, |day| day as f32));
        let numbers = self.catalogue.users.get(user as usize).map_or(&[][..], Vec::as_slice);
        for (at, name) in USER_NUMBERS.iter().chain(&["active_degree"]).enumerate() {
            writer.put_as("user", name, numbers.get(at).copied().flatten().unwrap_or(f32::NAN));
        }
    }

    /// Long views and likes a watch of the histories, by whom and of what.
    fn watches(
        &self,
        shown: &Impression,
        user: u32,
        video: u32,
        record: Option<&Video>,
        writer: &mut Writer<'_>,
    ) {
        let (long_mean, like_mean) = self.means();
        let name = |at: usize| record.map_or(NONE, |record| record.names[at]);
        let person = self.people.get(user as usize);
        let bucket = self.duration_bucket(shown.duration_ms);
        let groups: [(&str, Option<&Watches>, f32); 6] = [
            ("video", self.video_watches.get(video as usize), 20.0),
            ("author", self.author_watches.get(name(AUTHOR) as usize), 20.0),
            ("music", self.music_watches.get(name(MUSIC) as usize), 20.0),
            ("tag", self.tag_watches.get(name(TAG) as usize), 50.0),
            ("duration", self.duration_watches.get(bucket as usize), 50.0),
            ("user", person.map(|person| &person.watches), 5.0),
        ];
        for (name, watches, prior) in groups {
            let nothing = Watches::default();
            let watches = watches.unwrap_or(&nothing);
            writer.put_as("history", &format!("{name}_watches"), watches.count);
            writer.put_as("history", &format!("{name}_long_rate"), watches.long_rate(long_mean, prior));
            writer.put_as("history", &format!("{name}_like_rate"), watches.like_rate(like_mean, prior));
        }
        writer.put("history_user_long_lift", person.map_or(0.0, |person| person.long_lift));
        writer.put("history_user_like_lift", person.map_or(0.0, |person| person.like_lift));
        writer.put("history_video_long_lift", self.video_lift.get(video as usize).copied().unwrap_or(0.0));
        let history = self.catalogue.histories.get(user as usize);
        writer.put("history_length", history.map_or(0.0, |history| history.length));
        writer.put("history_last_days_ago", history.map_or(f32::NAN, |history| history.last_days_ago));
    }

    /// The clip against those that the person has watched.
    fn past(
        &self,
        user: u32,
        video: u32,
        record: Option<&Video>,
        shown: &Impression,
        writer: &mut Writer<'_>,
    ) {
        const MATCHES: [(&str, usize); 5] = [
            ("tag", TAG),
            ("video_type", VIDEO_TYPE),
            ("upload_type", UPLOAD_TYPE),
            ("author", AUTHOR),
            ("music", MUSIC),
        ];
        let empty = Person::default();
        let person = self.people.get(user as usize).unwrap_or(&empty);
        let history = self.catalogue.histories.get(user as usize);
        let watched = history.map_or(&[][..], |history| &history.watched);
        let bucket = self.duration_bucket(shown.duration_ms);

        let mut matches = [Match::default(); MATCHES.len() + 1];
        let (mut seen, mut seen_long) = (0.0, 0.0);
        let mut near = Near::default();
        for (at, (&(clip, marks), surprise)) in watched.iter().zip(&person.surprises).enumerate() {
            if clip == video {
                seen += 1.0;
                seen_long += f32::from(marks & 1);
            }
            let other = &self.catalogue.videos[clip as usize];
            if let Some(record) = record {
                for (found, (_, name)) in matches.iter_mut().zip(MATCHES) {
                    found.add_if(
                        record.names[name] != NONE && record.names[name] == other.names[name],
                        *surprise,
                    );
                }
            }
            let duration = other.numbers[0].unwrap_or(f32::NAN);
            matches[MATCHES.len()]
                .add_if(bucket != NONE && self.duration_bucket(duration) == bucket, *surprise);
            near.add(self.directions.cosine(video, clip), watched.len() - 1 - at, *surprise);
        }
        for ((name, _), found) in MATCHES.iter().chain(&[("duration", 0)]).zip(matches) {
            writer.put_as("past", &format!("{name}_watches"), found.count);
            writer.put_as("past", &format!("{name}_share"), found.count / (watched.len() as f32 + 1.0));
            writer.put_as("past", &format!("{name}_long"), found.long / (found.count + 3.0));
            writer.put_as("past", &format!("{name}_like"), found.like / (found.count + 3.0));
        }
        writer.put("past_same_clip", seen);
        writer.put("past_same_clip_long", seen_long);
        near.write(writer);
        let mean = |clips: &[u32]| {
            let sum: f32 = clips.iter().map(|&clip| self.directions.cosine(video, clip)).sum();
            sum / (clips.len() as f32 + 1.0)
        };
        let same_author = |clips: &[u32]| {
            let author = record.map_or(NONE, |record| record.names[AUTHOR]);
            let is_same = |clip: &&u32| self.catalogue.videos[**clip as usize].names[AUTHOR] == author;
            if author == NONE { 0.0 } else { clips.iter().filter(is_same).count() as f32 }
        };
        let long_watched = history.map_or(&[][..], |history| &history.long_watched);
        let liked = history.map_or(&[][..], |history| &history.liked);
        writer.put("past_cosine_to_long_watched", mean(long_watched));
        writer.put("past_cosine_to_liked", mean(liked));
        writer.put("past_long_watched_of_author", same_author(long_watched));
        writer.put("past_liked_of_author", same_author(liked));
        writer.put("past_liked", liked.len() as f32);
    }

    /// What earlier days showed of the person, the clip, the moment, and of them together.
    fn earlier_days(&self, shown: &Impression, writer: &mut Writer<'_>) {
        let expected = self.expected(shown);
        for (name, expected) in SIGNALS.iter().zip(expected) {
            writer.put_as("expected", name, if self.days == 0 { f32::NAN } else { expected });
        }
        for ((group, key), tallies) in GROUPS.iter().zip(self.keys(shown)).zip(&self.groups) {
            let tally = key.and_then(|key| tallies.get(&key)).copied().unwrap_or_default();
            writer.put_as(group.name, "impressions", tally.rows);
            for (signal, name) in SIGNALS.iter().enumerate() {
                writer.put_as(group.name, name, tally.rate(signal, 0.0, group.prior));
            }
        }
    }
}

/// Watched clips that share a name with the candidate.
#[derive(Clone, Copy, Debug, Default)]
struct Match {
    count: f32,
    long: f32,
    like: f32,
}

impl Match {
    fn add_if(&mut self, is_match: bool, surprise: Surprise) {
        if is_match {
            self.count += 1.0;
            self.long += surprise.long;
            self.like += surprise.like;
        }
    }
}

/// Watched clips by how alike their audience is to the candidate's.
#[derive(Clone, Copy, Debug, Default)]
struct Near {
    count: f32,
    cosine: f32,
    recent: f32,
    recent_cosine: f32,
    long: f32,
    like: f32,
    weight: f32,
    weighted_long: f32,
    weighted_like: f32,
    nearest: f32,
}

impl Near {
    /// A watch, `since` watches ago.
    fn add(&mut self, cosine: f32, since: usize, surprise: Surprise) {
        let recent = 1.0 / (1.0 + since as f32 / 20.0);
        let weight = cosine.max(0.0).powi(2);
        self.count += 1.0;
        self.cosine += cosine;
        self.recent += recent;
        self.recent_cosine += recent * cosine;
        self.long += cosine * surprise.long;
        self.like += cosine * surprise.like;
        self.weight += weight;
        self.weighted_long += weight * surprise.long;
        self.weighted_like += weight * surprise.like;
        self.nearest = self.nearest.max(cosine);
    }

    fn write(self, writer: &mut Writer<'_>) {
        writer.put("past_cosine", self.cosine / (self.count + 1.0));
        writer.put("past_recent_cosine", self.recent_cosine / (self.recent + 1.0));
        writer.put("past_near_long_sum", self.long);
        writer.put("past_near_like_sum", self.like);
        writer.put("past_near_weight", self.weight);
        writer.put("past_near_long", self.weighted_long / (self.weight + 0.3));
        writer.put("past_near_like", self.weighted_like / (self.weight + 0.3));
        writer.put("past_nearest", self.nearest);
    }
}
