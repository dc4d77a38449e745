//! The ranking example: what a training set holds, and what the feed hands the ranker.
//!
//! Pipelines write examples to Parquet and the ranker reads them back; serving builds the same
//! [`RankingInput`] online. Both sides get it from here, so that training and serving cannot
//! drift apart.

mod codec;

pub use codec::{CodecError, example_schema, examples_from_batch, examples_to_batch};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::VideoId;

/// Names of the dense features, in the order of [`RankingInput::dense`]. Counts are `ln(1 + n)`,
/// rates are smoothed towards the platform's mean, all computed strictly before the impression.
/// A `rate` is per impression; `per_watch` is per watch, of which imported histories are part though
/// their impressions are unknown.
pub const DENSE_FEATURES: [&str; 32] = [
    "user_impressions",
    "user_click_rate",
    "user_long_view_rate",
    "user_like_rate",
    "user_watch_ratio",
    "video_impressions",
    "video_click_rate",
    "video_long_view_rate",
    "video_like_rate",
    "video_watch_ratio",
    "creator_impressions",
    "creator_click_rate",
    "creator_long_view_rate",
    "creator_like_rate",
    "user_creator_impressions",
    "user_creator_click_rate",
    "user_topic_impressions",
    "user_topic_click_rate",
    "user_topic_long_view_rate",
    "video_age_days",
    "duration_log_s",
    "hour_sin",
    "hour_cos",
    "history_length",
    "history_creator_share",
    "history_topic_share",
    "user_watches",
    "user_long_view_per_watch",
    "user_like_per_watch",
    "video_watches",
    "video_long_view_per_watch",
    "video_like_per_watch",
];

/// Number of dense features.
pub const DENSE: usize = DENSE_FEATURES.len();

/// Longest history kept with an example, most recent last.
pub const MAX_HISTORY: usize = 200;

/// A watch counts as long when it reaches the clip's end or this many milliseconds,
/// whichever comes first (`KuaiRand`'s definition of `long_view`).
pub const LONG_VIEW_MS: i64 = 18_000;

/// Whether a watch of `watch_ms` of a clip of `duration_ms` is a long view.
pub fn is_long_view(watch_ms: i64, duration_ms: i64) -> bool {
    watch_ms > 0 && watch_ms >= duration_ms.min(LONG_VIEW_MS)
}

/// The binary outcomes that the ranker predicts, positive first, negative last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    Click,
    LongView,
    Like,
    Follow,
    Comment,
    Share,
    ProfileEnter,
    NotInterested,
    Report,
}

impl Task {
    pub const ALL: [Self; 9] = [
        Self::Click,
        Self::LongView,
        Self::Like,
        Self::Follow,
        Self::Comment,
        Self::Share,
        Self::ProfileEnter,
        Self::NotInterested,
        Self::Report,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Click => "click",
            Self::LongView => "long_view",
            Self::Like => "like",
            Self::Follow => "follow",
            Self::Comment => "comment",
            Self::Share => "share",
            Self::ProfileEnter => "profile_enter",
            Self::NotInterested => "not_interested",
            Self::Report => "report",
        }
    }

    /// Position in [`Task::ALL`], and of its column in a label or score array.
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Number of tasks.
pub const TASKS: usize = Task::ALL.len();

/// One clip in a person's history and what they did with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryItem {
    pub video_id: VideoId,
    /// Bit `i` is set when the outcome `Task::ALL[i]` happened.
    pub outcomes: u16,
}

/// What the ranker sees of a person at a moment, whatever the clip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// `name=value` attributes of the person.
    pub tokens: Vec<String>,
    /// At most [`MAX_HISTORY`] items, oldest first, strictly before the moment.
    pub history: Vec<HistoryItem>,
}

/// All that the ranker sees of one (person, clip, moment). What the clips of one page have in common
/// is shared between their inputs, and computed once where they are scored together.
#[derive(Clone, Debug, PartialEq)]
pub struct RankingInput {
    pub video_id: VideoId,
    /// In the order of [`DENSE_FEATURES`].
    pub dense: [f32; DENSE],
    pub person: Arc<Person>,
    /// `name=value` attributes of the clip, its creator among them.
    pub video_tokens: Arc<[String]>,
    /// `name=value` attributes of the moment: surface, hour.
    pub context_tokens: Arc<[String]>,
}

/// What people did with a clip, all of them together: plain counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Engagement {
    pub impressions: f32,
    pub clicks: f32,
    pub long_views: f32,
    pub likes: f32,
}

/// A [`RankingInput`] with what happened.
#[derive(Clone, Debug, PartialEq)]
pub struct RankingExample {
    pub impression_id: String,
    pub user_id: String,
    pub event_time_ms: i64,
    /// Zero-based place at which it was shown, where that is known. What happened depends on it, and the
    /// feed does not know it before it has ranked: it is learnt from, and no input.
    pub position: Option<u16>,
    pub input: RankingInput,
    /// In the order of [`Task::ALL`].
    pub labels: [bool; TASKS],
    pub watch_ms: i64,
    /// 0 where it is not known.
    pub duration_ms: i64,
}

/// `manifest.json` beside the Parquet files of a training set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatasetManifest {
    /// Format version, 2.
    pub format: u32,
    /// Delta version of each lake table that was read.
    pub table_versions: std::collections::BTreeMap<String, u64>,
    /// What was ingested later was left out, UTC milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingested_until_ms: Option<i64>,
    pub code_version: String,
    pub dense_features: Vec<String>,
    pub tasks: Vec<Task>,
    pub splits: Vec<SplitManifest>,
}

/// One split: rows with `from_ms <= event_time_ms < until_ms`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitManifest {
    pub name: String,
    pub file: String,
    pub from_ms: i64,
    pub until_ms: i64,
    pub rows: u64,
    /// Rows whose features are those that were logged when the clip was shown.
    #[serde(default)]
    pub logged_rows: u64,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}
