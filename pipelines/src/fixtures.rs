//! Events for tests, small and all different.

use std::collections::BTreeMap;

use kinora_schema::event::SCHEMA_VERSION;
use kinora_schema::{CreatorId, Event, EventId, EventKind, UserId, VideoId};

/// 2026-01-05 00:00 UTC.
pub(crate) const START_MS: i64 = 1_767_571_200_000;
/// Some days later: nothing in a test is from the future.
pub(crate) const NOW_MS: i64 = START_MS + 30 * 86_400_000;

/// The `number`th event of a test.
pub(crate) fn event(number: u64, kind: EventKind, time_ms: i64, user: &str, video: &str) -> Event {
    Event {
        event_id: EventId::derived("test", number, "event"),
        schema_version: SCHEMA_VERSION,
        kind,
        event_time_ms: time_ms,
        user_id: UserId::new(user),
        video_id: VideoId::new(video),
        creator_id: Some(CreatorId::new(format!("creator-of-{video}"))),
        impression_id: None,
        watch_ms: (kind == EventKind::Watch).then_some(5_000),
        duration_ms: Some(10_000),
        position: None,
        surface: Some("feed".to_owned()),
        policy: None,
        propensity: None,
        features: BTreeMap::new(),
    }
}

/// An outcome of an impression.
pub(crate) fn outcome(number: u64, kind: EventKind, after_ms: i64, impression: &Event) -> Event {
    Event {
        impression_id: Some(impression.event_id),
        ..event(
            number,
            kind,
            impression.event_time_ms + after_ms,
            impression.user_id.as_str(),
            impression.video_id.as_str(),
        )
    }
}

/// `count` impressions a second apart.
pub(crate) fn impressions(count: u64) -> Vec<Event> {
    (0..count)
        .map(|number| {
            let (user, video) = (format!("u{}", number % 7), format!("v{}", number % 5));
            event(number, EventKind::Impression, START_MS + number as i64 * 1000, &user, &video)
        })
        .collect()
}
