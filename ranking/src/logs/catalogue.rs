//! What is known of people and clips apart from impressions: attribute tables and histories enter,
//! numbered records leave.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::files::{Columns, read};
use crate::error::Result;

/// Marks what a record does not say.
pub const NONE: u32 = u32::MAX;

/// Attributes of a person that are numbers.
pub const USER_NUMBERS: [&str; 25] = [
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    "follow_user_num",
    "fans_user_num",
    "friend_user_num",
    "register_days",
    "onehot_feat0",
    "onehot_feat1",
    "onehot_feat2",
    "onehot_feat3",
    "onehot_feat4",
    "onehot_feat5",
    "onehot_feat6",
    "onehot_feat7",
    "onehot_feat8",
    "onehot_feat9",
    "onehot_feat10",
    "onehot_feat11",
    "onehot_feat12",
    "onehot_feat13",
    "onehot_feat14",
    "onehot_feat15",
    "onehot_feat16",
    "onehot_feat17",
];
/// Attributes of a clip that are names.
pub const VIDEO_NAMES: [&str; 6] =
    ["author_id", "music_id", "tag", "video_type", "upload_type", "music_type"];
pub const AUTHOR: usize = 0;
pub const MUSIC: usize = 1;
pub const TAG: usize = 2;
pub const VIDEO_TYPE: usize = 3;
pub const UPLOAD_TYPE: usize = 4;
pub const MUSIC_TYPE: usize = 5;
/// Attributes of a clip that are numbers.
const VIDEO_NUMBERS: [&str; 4] = ["video_duration", "server_width", "server_height", "visible_status"];

/// A clip's attributes. Names are numbers of their own order, [`NONE`] where they are missing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Video {
    pub names: [u32; VIDEO_NAMES.len()],
    pub numbers: [Option<f32>; VIDEO_NUMBERS.len()],
    /// Days from the epoch.
    pub uploaded_day: Option<i32>,
}

/// The most recent clips of a person before the log begins; most recent last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Watched clips, all in all, of which `watched` are the last.
    pub length: f32,
    /// Days before the latest moment of any history.
    pub last_days_ago: f32,
    /// Numbers of clips, and for each whether it was watched long (1) and liked (2).
    pub watched: Vec<(u32, u8)>,
    pub long_watched: Vec<u32>,
    pub liked: Vec<u32>,
}

/// People and clips by number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    pub user_numbers: HashMap<i64, u32>,
    pub users: Vec<Vec<Option<f32>>>,
    pub histories: Vec<History>,
    pub video_numbers: HashMap<i64, u32>,
    pub videos: Vec<Video>,
    /// How many names each of [`VIDEO_NAMES`] has.
    pub name_counts: [u32; VIDEO_NAMES.len()],
    pub skipped: usize,
}

impl Catalogue {
    /// Reads the tables; each may be left out.
    pub fn read(users: Option<&Path>, videos: Option<&Path>, history: Option<&Path>) -> Result<Self> {
        let mut catalogue = Self::default();
        if let Some(path) = users {
            catalogue.read_users(path)?;
        }
        if let Some(path) = videos {
            catalogue.read_videos(path)?;
        }
        if let Some(path) = history {
            catalogue.read_histories(path)?;
        }
        Ok(catalogue)
    }

    /// The person's number, or [`NONE`].
    pub fn user(&self, id: i64) -> u32 {
        self.user_numbers.get(&id).copied().unwrap_or(NONE)
    }

    /// The clip's number, or [`NONE`].
    pub fn video(&self, id: i64) -> u32 {
        self.video_numbers.get(&id).copied().unwrap_or(NONE)
    }

    /// The person's number, a new one where there was none.
    pub fn number_user(&mut self, id: i64) -> u32 {
        let next = self.users.len() as u32;
        let number = *self.user_numbers.entry(id).or_insert(next);
        if number == next {
            self.users.push(Vec::new());
            self.histories.push(History::default());
        }
        number
    }

    /// The clip's number, a new one where there was none.
    pub fn number_video(&mut self, id: i64) -> u32 {
        let next = self.videos.len() as u32;
        let number = *self.video_numbers.entry(id).or_insert(next);
        if number == next {
            self.videos.push(Video { names: [NONE; 6], numbers: [None; 4], uploaded_day: None });
        }
        number
    }

    /// Numbers what the log names and no table does.
    pub fn number_all(&mut self, ids: impl Iterator<Item = (i64, i64)>) {
        for (user, video) in ids {
            self.number_user(user);
            self.number_video(video);
        }
    }

    fn read_users(&mut self, path: &Path) -> Result<()> {
        let optional: Vec<&str> = std::iter::once("user_active_degree").chain(USER_NUMBERS).collect();
        let mut degrees = BTreeSet::new();
        let mut read_degrees: Vec<(usize, Option<String>)> = Vec::new();
        let torn = read(path, Columns { required: &["user_id"], optional: &optional }, |cells| {
            for row in 0..cells.rows() {
                let Ok(Some(id)) = cells.whole(0, row) else {
                    self.skipped += 1;
                    continue;
                };
                let user = self.number_user(id) as usize;
                let degree = cells.text(1, row).map(str::to_owned);
                degrees.extend(degree.clone());
                read_degrees.push((user, degree));
                self.users[user] = (0..USER_NUMBERS.len())
                    .map(|at| cells.number(at + 2, row).map(|number| number as f32))
                    .collect();
            }
        })?;
        self.skipped += torn;
        // Names become numbers in alphabetic order, which no order of the rows can change.
        for (user, degree) in read_degrees {
            let number = degree.and_then(|degree| degrees.iter().position(|name| *name == degree));
            self.users[user].push(number.map(|number| number as f32));
        }
        Ok(())
    }

    fn read_videos(&mut self, path: &Path) -> Result<()> {
        let optional: Vec<&str> = VIDEO_NAMES.into_iter().chain(VIDEO_NUMBERS).chain(["upload_dt"]).collect();
        let mut numbers: [HashMap<String, u32>; VIDEO_NAMES.len()] = Default::default();
        let torn = read(path, Columns { required: &["video_id"], optional: &optional }, |cells| {
            for row in 0..cells.rows() {
                let Ok(Some(id)) = cells.whole(0, row) else {
                    self.skipped += 1;
                    continue;
                };
                let video = self.number_video(id) as usize;
                let mut name = |at: usize| {
                    let Some(text) = cells.text(1 + at, row) else { return NONE };
                    let next = numbers[at].len() as u32;
                    *numbers[at].entry(text.to_owned()).or_insert(next)
                };
                let mut names = [NONE; VIDEO_NAMES.len()];
                for (at, number) in names.iter_mut().enumerate() {
                    *number = name(at);
                }
                let number =
                    |at: usize| cells.number(1 + VIDEO_NAMES.len() + at, row).map(|number| number as f32);
                let uploaded = cells.text(1 + VIDEO_NAMES.len() + VIDEO_NUMBERS.len(), row);
                self.videos[video] = Video {
                    names,
                    numbers: std::array::from_fn(number),
                    uploaded_day: uploaded.and_then(days_from_epoch),
                };
            }
        })?;
        self.skipped += torn;
        for (count, numbers) in self.name_counts.iter_mut().zip(&numbers) {
            *count = numbers.len() as u32;
        }
        Ok(())
    }

    fn read_histories(&mut self, path: &Path) -> Result<()> {
        let columns = Columns {
            required: &["user_id", "watch_seq"],
            optional: &["long_watch_seq", "like_seq", "history_len", "last_time_ms"],
        };
        let mut last_times: Vec<(usize, Option<f64>)> = Vec::new();
        let torn = read(path, columns, |cells| {
            for row in 0..cells.rows() {
                let Ok(Some(id)) = cells.whole(0, row) else {
                    self.skipped += 1;
                    continue;
                };
                let user = self.number_user(id) as usize;
                let mut list = |column: usize| -> Vec<u32> {
                    cells.list(column, row).into_iter().map(|id| self.number_video(id)).collect()
                };
                let (watched, long_watched, liked) = (list(1), list(2), list(3));
                let (mut long, mut like) = (counts(&long_watched), counts(&liked));
                // Matched from the most recent back: each list is cut to its own most recent.
                let mut marked: Vec<(u32, u8)> = watched
                    .into_iter()
                    .rev()
                    .map(|video| (video, take(&mut long, video) | (take(&mut like, video) << 1)))
                    .collect();
                marked.reverse();
                let length = cells.number(4, row).unwrap_or(marked.len() as f64) as f32;
                last_times.push((user, cells.number(5, row)));
                self.histories[user] =
                    History { length, last_days_ago: 0.0, watched: marked, long_watched, liked };
            }
        })?;
        self.skipped += torn;
        let latest = last_times.iter().filter_map(|(_, last)| *last).fold(f64::NEG_INFINITY, f64::max);
        for (user, last) in last_times {
            self.histories[user].last_days_ago =
                last.map_or(-1.0, |last| ((latest - last) / 86_400_000.0) as f32);
        }
        Ok(())
    }
}

fn counts(videos: &[u32]) -> HashMap<u32, u32> {
    let mut counts = HashMap::new();
    for &video in videos {
        *counts.entry(video).or_insert(0) += 1;
    }
    counts
}

/// One, if another of these was left; none otherwise.
fn take(counts: &mut HashMap<u32, u32>, video: u32) -> u8 {
    match counts.get_mut(&video) {
        Some(left) if *left > 0 => {
            *left -= 1;
            1
        }
        _ => 0,
    }
}

/// `2022-04-10` as days from the epoch, by the civil calendar.
fn days_from_epoch(date: &str) -> Option<i32> {
    let mut parts = date.get(..10)?.split('-').map(str::parse::<i32>);
    let (year, month, day) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1900..=9999).contains(&year) {
        return None;
    }
    // Years begin in March here, so that a leap day is a year's last (Hinnant, `days_from_civil`).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days() {
        assert_eq!(days_from_epoch("1970-01-01"), Some(0));
        assert_eq!(days_from_epoch("2000-03-01"), Some(11_017));
        assert_eq!(days_from_epoch("2022-04-25"), Some(19_107));
        assert_eq!(days_from_epoch("2022-13-25"), None);
        assert_eq!(days_from_epoch("yesterday"), None);
    }
}
