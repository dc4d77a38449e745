//! One thing a person did or was shown. What enters is untrusted; [`Event::validate`] says why a
//! row is refused, in words fit for the quarantine table and the client.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{CreatorId, EventId, MAX_ID_BYTES, UserId, VideoId};

/// Version of the event schema written by this build. Fields are only ever added, and an older
/// client's events stay valid.
pub const SCHEMA_VERSION: u16 = 1;

/// Longest watch time accepted, in milliseconds (a day).
pub const MAX_WATCH_MS: i64 = 86_400_000;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The clip was shown. Its `event_id` is the impression id that outcomes refer to.
    Impression,
    /// The clip was opened or played on purpose.
    Click,
    /// The clip was left; `watch_ms` says how long it was watched.
    Watch,
    Like,
    Share,
    Follow,
    Comment,
    ProfileEnter,
    NotInterested,
    Report,
    /// The person published a clip.
    Create,
    /// The person remixed the clip.
    Remix,
}

impl EventKind {
    pub const ALL: [Self; 12] = [
        Self::Impression,
        Self::Click,
        Self::Watch,
        Self::Like,
        Self::Share,
        Self::Follow,
        Self::Comment,
        Self::ProfileEnter,
        Self::NotInterested,
        Self::Report,
        Self::Create,
        Self::Remix,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Impression => "impression",
            Self::Click => "click",
            Self::Watch => "watch",
            Self::Like => "like",
            Self::Share => "share",
            Self::Follow => "follow",
            Self::Comment => "comment",
            Self::ProfileEnter => "profile_enter",
            Self::NotInterested => "not_interested",
            Self::Report => "report",
            Self::Create => "create",
            Self::Remix => "remix",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// An interaction, as a client sends it and the lake keeps it. Times are UTC milliseconds since
/// the epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub event_id: EventId,
    #[serde(default = "current_schema_version")]
    pub schema_version: u16,
    pub kind: EventKind,
    pub event_time_ms: i64,
    pub user_id: UserId,
    pub video_id: VideoId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator_id: Option<CreatorId>,
    /// The impression that this outcome follows from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impression_id: Option<EventId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watch_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<i64>,
    /// Zero-based place in the feed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<i32>,
    /// Where it was shown: `feed`, `profile`, a tab of the source platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// The recipe and model that chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Probability with which the policy showed it here, in (0, 1].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub propensity: Option<f32>,
    /// The features it was scored on, logged when served.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub features: BTreeMap<String, f32>,
}

fn current_schema_version() -> u16 {
    SCHEMA_VERSION
}

/// Why a row was quarantined. The message names the field and what would be accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejection {
    #[error("not a valid event: {0}")]
    Malformed(String),
    #[error("`{field}` is empty")]
    Empty { field: &'static str },
    #[error("`{field}` is longer than {MAX_ID_BYTES} bytes")]
    TooLong { field: &'static str },
    #[error("`{field}` is {value}, outside {low}..={high}")]
    OutOfRange { field: &'static str, value: String, low: i64, high: i64 },
    #[error("`watch_ms` is required for kind `watch`")]
    MissingWatch,
    #[error("`propensity` must be in (0, 1]")]
    Propensity,
    #[error("feature `{0}` is not finite")]
    NonFiniteFeature(String),
    #[error("`schema_version` {0} is newer than this server's {SCHEMA_VERSION}")]
    FutureSchema(u16),
}

/// 2001-09-09: any earlier time is seconds mistaken for milliseconds.
const EARLIEST_MS: i64 = 1_000_000_000_000;
/// How far a client's clock may run ahead.
const MAX_AHEAD_MS: i64 = 86_400_000;

impl Event {
    /// Checks every field. `now_ms` bounds how far in the future an event may lie.
    pub fn validate(&self, now_ms: i64) -> Result<(), Rejection> {
        if self.schema_version > SCHEMA_VERSION {
            return Err(Rejection::FutureSchema(self.schema_version));
        }
        check_id("user_id", self.user_id.as_str())?;
        check_id("video_id", self.video_id.as_str())?;
        if let Some(creator) = &self.creator_id {
            check_id("creator_id", creator.as_str())?;
        }
        if let Some(surface) = &self.surface {
            check_id("surface", surface)?;
        }
        check_range("event_time_ms", self.event_time_ms, EARLIEST_MS, now_ms.saturating_add(MAX_AHEAD_MS))?;
        match self.watch_ms {
            Some(watch_ms) => check_range("watch_ms", watch_ms, 0, MAX_WATCH_MS)?,
            None if self.kind == EventKind::Watch => return Err(Rejection::MissingWatch),
            None => {}
        }
        if let Some(duration_ms) = self.duration_ms {
            check_range("duration_ms", duration_ms, 0, MAX_WATCH_MS)?;
        }
        if let Some(position) = self.position {
            check_range("position", i64::from(position), 0, 1_000_000)?;
        }
        if let Some(propensity) = self.propensity
            && !(propensity > 0.0 && propensity <= 1.0)
        {
            return Err(Rejection::Propensity);
        }
        match self.features.iter().find(|(_, value)| !value.is_finite()) {
            Some((name, _)) => Err(Rejection::NonFiniteFeature(name.clone())),
            None => Ok(()),
        }
    }
}

fn check_id(field: &'static str, value: &str) -> Result<(), Rejection> {
    if value.is_empty() {
        Err(Rejection::Empty { field })
    } else if value.len() > MAX_ID_BYTES {
        Err(Rejection::TooLong { field })
    } else {
        Ok(())
    }
}

fn check_range(field: &'static str, value: i64, low: i64, high: i64) -> Result<(), Rejection> {
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err(Rejection::OutOfRange { field, value: value.to_string(), low, high })
    }
}
