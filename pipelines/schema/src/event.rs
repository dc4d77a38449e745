//! One thing a person did or was shown. What enters is untrusted; [`Event::validate`] says why a
//! row is refused, in words fit for the quarantine table and the client.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use crate::id::{CreatorId, EventId, MAX_ID_BYTES, UserId, VideoId};

/// Version of the event schema written by this build. Fields are only ever added, and an older
/// client's events stay valid.
pub const SCHEMA_VERSION: u16 = 1;

/// Longest watch time accepted, in milliseconds (a day).
pub const MAX_WATCH_MS: i64 = 86_400_000;

/// Furthest place in a feed accepted.
pub const MAX_POSITION: i64 = 1_000_000;

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
    /// Length of the clip. Where it is unknown, some clients send 0.
    #[serde(default, deserialize_with = "known_duration", skip_serializing_if = "Option::is_none")]
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

fn known_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    Ok(Option::<i64>::deserialize(deserializer)?.filter(|&duration_ms| duration_ms != 0))
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
            check_range("duration_ms", duration_ms, 1, MAX_WATCH_MS)?;
        }
        if let Some(position) = self.position {
            check_range("position", i64::from(position), 0, MAX_POSITION)?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_MS: i64 = 1_790_000_000_000;

    fn event(kind: EventKind) -> Event {
        let json = serde_json::json!({
            "event_id": "018f4e9c-0000-7000-8000-000000000001", "kind": kind, "event_time_ms": NOW_MS,
            "user_id": "u1", "video_id": "v1",
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn an_event_of_an_older_client_is_valid_and_travels_unchanged() {
        let event = event(EventKind::Impression);
        assert_eq!(event.schema_version, SCHEMA_VERSION);
        event.validate(NOW_MS).unwrap();
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn a_length_of_zero_is_one_that_is_not_known() {
        let mut json = serde_json::to_value(event(EventKind::Watch)).unwrap();
        for (sent, known) in [(0.into(), None), (serde_json::Value::Null, None), (7.into(), Some(7))] {
            json["duration_ms"] = sent;
            assert_eq!(serde_json::from_value::<Event>(json.clone()).unwrap().duration_ms, known);
        }
    }

    #[test]
    fn every_kind_has_one_name_everywhere() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        assert_eq!(EventKind::parse("Impression"), None);
    }

    #[test]
    fn each_rule_refuses_in_its_own_words() {
        let refused = |change: fn(&mut Event)| {
            let mut event = event(EventKind::Watch);
            event.watch_ms = Some(10);
            change(&mut event);
            event.validate(NOW_MS).unwrap_err().to_string()
        };
        assert_eq!(refused(|event| event.watch_ms = None), "`watch_ms` is required for kind `watch`");
        assert_eq!(refused(|event| event.watch_ms = Some(-1)), "`watch_ms` is -1, outside 0..=86400000");
        let endless = refused(|event| event.duration_ms = Some(0));
        assert_eq!(endless, "`duration_ms` is 0, outside 1..=86400000");
        assert_eq!(refused(|event| event.user_id = UserId::new("")), "`user_id` is empty");
        let long = |event: &mut Event| event.video_id = VideoId::new("v".repeat(MAX_ID_BYTES + 1));
        assert_eq!(refused(long), "`video_id` is longer than 128 bytes");
        assert_eq!(refused(|event| event.propensity = Some(0.0)), "`propensity` must be in (0, 1]");
        assert_eq!(refused(|event| event.propensity = Some(f32::NAN)), "`propensity` must be in (0, 1]");
        let infinite = |event: &mut Event| {
            event.features.insert("age".to_owned(), f32::INFINITY);
        };
        assert_eq!(refused(infinite), "feature `age` is not finite");
        let newer = refused(|event| event.schema_version = SCHEMA_VERSION + 1);
        assert_eq!(newer, "`schema_version` 2 is newer than this server's 1");
        // Seconds instead of milliseconds, and a clock a week ahead.
        for time_ms in [NOW_MS / 1000, NOW_MS + 7 * MAX_AHEAD_MS] {
            let mut event = event(EventKind::Click);
            event.event_time_ms = time_ms;
            assert!(matches!(
                event.validate(NOW_MS),
                Err(Rejection::OutOfRange { field: "event_time_ms", .. })
            ));
        }
    }

    proptest! {
        /// Whatever the numbers and the clock, validation answers.
        #[test]
        fn validation_never_panics(
            time_ms: i64, watch_ms: Option<i64>, position: Option<i32>, propensity: Option<f32>, now_ms: i64,
        ) {
            let mut event = event(EventKind::Watch);
            (event.event_time_ms, event.watch_ms) = (time_ms, watch_ms);
            (event.position, event.propensity) = (position, propensity);
            let valid = event.validate(now_ms).is_ok();
            prop_assert!(!valid || watch_ms.is_some_and(|watch_ms| (0..=MAX_WATCH_MS).contains(&watch_ms)));
        }
    }
}
