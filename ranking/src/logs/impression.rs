//! Impressions of a log: files enter, what was shown and what came of it leaves.

use std::path::{Path, PathBuf};

use kinora_schema::ranking::{TASKS, Task};

use super::files::{BadCell, Cells, Columns, read};
use crate::error::{RankingError, Result};

const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;
/// Kuaishou's days are China's.
const OFFSET_MS: i64 = 8 * HOUR_MS;

const REQUIRED: [&str; 14] = [
    "user_id",
    "video_id",
    "time_ms",
    "duration_ms",
    "tab",
    "play_time_ms",
    "is_click",
    "long_view",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_profile_enter",
    "is_hate",
];
/// The first of the columns that say what came of an impression, in the order of [`TASKS_HERE`].
const FIRST_OUTCOME: usize = 6;
/// Where a log has it, the rank at which a clip was shown, from zero.
const OPTIONAL: [&str; 1] = ["position"];

/// The tasks whose outcomes a log holds.
pub const TASKS_HERE: [Task; 8] = [
    Task::Click,
    Task::LongView,
    Task::Like,
    Task::Follow,
    Task::Comment,
    Task::Share,
    Task::ProfileEnter,
    Task::NotInterested,
];

/// What is known before a clip is shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Impression {
    pub user_id: i64,
    pub video_id: i64,
    /// UTC milliseconds since the epoch.
    pub time_ms: i64,
    pub duration_ms: f32,
    /// The surface that it was shown on.
    pub tab: u32,
}

impl Impression {
    /// The day of China's calendar, counted from the epoch.
    pub fn day(&self) -> i64 {
        (self.time_ms + OFFSET_MS).div_euclid(DAY_MS)
    }

    /// The hour of China's day.
    pub fn hour(&self) -> u32 {
        ((self.time_ms + OFFSET_MS).rem_euclid(DAY_MS) / HOUR_MS) as u32
    }
}

/// What came of an impression.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Bit `i` is set when the outcome `Task::ALL[i]` happened.
    pub tasks: u16,
    pub watch_ms: f32,
}

impl Outcome {
    pub fn has(&self, task: Task) -> bool {
        self.tasks & (1 << task.index()) != 0
    }
}

/// A log in the order of its time.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub impressions: Vec<Impression>,
    pub outcomes: Vec<Outcome>,
    /// Rows left out because a cell was missing or no number.
    pub skipped: usize,
}

impl Log {
    /// Reads the files into one log.
    pub fn read(paths: &[PathBuf]) -> Result<Self> {
        let mut rows: Vec<(Impression, Outcome)> = Vec::new();
        let mut skipped = 0;
        for path in paths {
            let columns = Columns { required: &REQUIRED, optional: &OPTIONAL };
            skipped += read(path, columns, |cells| {
                for row in 0..cells.rows() {
                    match impression(cells, row) {
                        Ok(read) => rows.push(read),
                        Err(BadCell) => skipped += 1,
                    }
                }
            })?;
        }
        if rows.is_empty() {
            let named = paths.first().map_or(Path::new(""), PathBuf::as_path);
            let reason = format!("it has no impressions ({skipped} rows are unreadable)");
            return Err(RankingError::table(named, reason));
        }
        // Ties keep an order of their own, so that the order of the files does not matter.
        rows.sort_by_key(|(shown, _)| (shown.time_ms, shown.user_id, shown.video_id));
        let (impressions, outcomes) = rows.into_iter().unzip();
        Ok(Self { impressions, outcomes, skipped })
    }

    pub fn len(&self) -> usize {
        self.impressions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.impressions.is_empty()
    }

    /// The rows of each day, in order.
    pub fn days(&self) -> Vec<std::ops::Range<usize>> {
        let mut days = Vec::new();
        let mut from = 0;
        for row in 1..=self.len() {
            if row == self.len() || self.impressions[row].day() != self.impressions[from].day() {
                days.push(from..row);
                from = row;
            }
        }
        days
    }
}

fn impression(cells: &Cells, row: usize) -> Result<(Impression, Outcome), BadCell> {
    let whole = |column: usize| cells.whole(column, row)?.ok_or(BadCell);
    let mut outcome = Outcome { tasks: 0, watch_ms: whole(5)?.max(0) as f32 };
    for (at, task) in TASKS_HERE.into_iter().enumerate() {
        if whole(FIRST_OUTCOME + at)? > 0 {
            outcome.tasks |= 1 << task.index();
        }
    }
    let duration_ms = whole(3)?;
    let shown = Impression {
        user_id: whole(0)?,
        video_id: whole(1)?,
        time_ms: whole(2)?,
        duration_ms: if duration_ms > 0 { duration_ms as f32 } else { f32::NAN },
        tab: u32::try_from(whole(4)?).map_err(|_| BadCell)?,
    };
    Ok((shown, outcome))
}

const _: () = assert!(TASKS_HERE.len() < TASKS, "reports are not in the logs");
