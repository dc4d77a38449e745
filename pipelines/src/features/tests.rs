use kinora_schema::ranking::DENSE_FEATURES;

use super::counts::INITIAL_RATES;
use super::*;
use crate::fixtures::{START_MS, event, outcome};

fn named(input: &RankingInput, name: &str) -> f32 {
    input.dense[DENSE_FEATURES.iter().position(|feature| *feature == name).unwrap()]
}

fn input_at(state: &FeatureState, time_ms: i64) -> RankingInput {
    state.input(&UserId::new("u1"), &VideoId::new("v1"), time_ms, "feed")
}

fn video(id: &str, topic: &str) -> VideoRecord {
    VideoRecord {
        video_id: VideoId::new(id),
        creator_id: Some(CreatorId::new("c1")),
        duration_ms: Some(9_000),
        created_time_ms: Some(START_MS - 2 * 86_400_000),
        topic: Some(topic.to_owned()),
        caption: None,
        attributes: vec!["colour=red".to_owned()],
    }
}

#[test]
fn each_name_holds_its_own_value() {
    let mut state = FeatureState::default();
    state.set_user(UserRecord { user_id: UserId::new("u1"), attributes: vec!["age=25".to_owned()] });
    state.set_video(video("v1", "bounce"));
    state.set_video(video("v2", "throw"));
    // u1 saw v1 (clicked, watched to the end, liked) and v2 (nothing).
    let first = event(1, EventKind::Impression, START_MS, "u1", "v1");
    let mut watch = outcome(2, EventKind::Watch, 10, &first);
    watch.watch_ms = Some(10_000);
    let second = event(5, EventKind::Impression, START_MS + 100, "u1", "v2");
    for event in [
        &first,
        &outcome(3, EventKind::Click, 5, &first),
        &watch,
        &outcome(4, EventKind::Like, 12, &first),
        &second,
    ] {
        state.observe(event);
    }
    let input = input_at(&state, START_MS + 6 * 3_600_000);

    let platform = |sum: f64, initial: f64| (sum + 20.0 * initial) / 22.0;
    let near = |name: &str, value: f64| {
        let found = f64::from(named(&input, name));
        assert!((found - value).abs() < 1e-6, "{name} is {found}, expected {value}");
    };
    near("user_impressions", 2f64.ln_1p());
    near("user_click_rate", (1.0 + 20.0 * platform(1.0, 0.3)) / 22.0);
    near("user_like_rate", (1.0 + 20.0 * platform(1.0, 0.02)) / 22.0);
    near("user_long_view_rate", (1.0 + 20.0 * platform(1.0, 0.3)) / 22.0);
    near("user_watch_ratio", (1.0 + 20.0 * platform(1.0, 0.3)) / 22.0);
    near("video_impressions", 1f64.ln_1p());
    near("video_click_rate", (1.0 + 20.0 * platform(1.0, 0.3)) / 21.0);
    near("video_like_rate", (1.0 + 20.0 * platform(1.0, 0.02)) / 21.0);
    near("creator_impressions", 2f64.ln_1p());
    near("user_creator_impressions", 2f64.ln_1p());
    near("user_creator_click_rate", (1.0 + 5.0 * platform(1.0, 0.3)) / 7.0);
    near("user_topic_impressions", 1f64.ln_1p());
    near("user_topic_long_view_rate", (1.0 + 5.0 * platform(1.0, 0.3)) / 6.0);
    near("video_age_days", 2.25);
    near("duration_log_s", 9f64.ln_1p());
    near("hour_sin", 1.0);
    near("hour_cos", 0.0);
    // v2 was shown and left no trace: it is no interaction.
    near("history_length", 1f64.ln_1p());
    near("history_creator_share", 1.0);
    near("history_topic_share", 1.0);
    near("user_watches", 1f64.ln_1p());
    near("user_long_view_per_watch", (1.0 + 10.0 * (1.0 + 10.0 * 0.4) / 11.0) / 11.0);
    near("video_watches", 1f64.ln_1p());
    near("video_like_per_watch", (1.0 + 10.0 * (1.0 + 10.0 * 0.03) / 11.0) / 11.0);
    assert_eq!(input.person.tokens, ["age=25"]);
    assert_eq!(*input.video_tokens, ["creator=c1", "topic=bounce", "colour=red"]);
    assert_eq!(*input.context_tokens, ["surface=feed", "hour=6"]);
    let outcomes = bit(Task::Click) | bit(Task::LongView) | bit(Task::Like);
    assert_eq!(input.person.history, [HistoryItem { video_id: VideoId::new("v1"), outcomes }]);
}

#[test]
fn all_features_are_finite_for_people_and_clips_never_seen() {
    let input = input_at(&FeatureState::default(), START_MS);
    assert!(input.dense.iter().all(|value| value.is_finite()));
    assert!((named(&input, "video_click_rate") - INITIAL_RATES.click as f32).abs() < 1e-6);
}

#[test]
fn without_personalisation_everybody_is_alike() {
    let mut state = FeatureState::default();
    for number in 0..40 {
        let user = if number % 2 == 0 { "u1" } else { "u2" };
        let shown = event(
            2 * number,
            EventKind::Impression,
            START_MS + number as i64 * 100,
            user,
            &format!("v{number}"),
        );
        state.observe(&shown);
        if user == "u1" {
            state.observe(&outcome(2 * number + 1, EventKind::Click, 1, &shown));
        }
    }
    let time_ms = START_MS + 10_000;
    let video = VideoId::new("v1");
    assert_ne!(
        state.input(&UserId::new("u1"), &video, time_ms, "feed"),
        state.input(&UserId::new("u2"), &video, time_ms, "feed")
    );
    assert_eq!(
        state.viewing(None, time_ms, "feed").input(&video),
        state.input(&UserId::new("a stranger"), &video, time_ms, "feed")
    );
}

#[test]
fn engagement_is_what_was_counted_not_what_is_expected() {
    let mut state = FeatureState::default();
    let shown = event(1, EventKind::Impression, START_MS, "u1", "v1");
    let second = event(2, EventKind::Impression, START_MS + 1, "u2", "v1");
    for event in [&shown, &second, &outcome(3, EventKind::Like, 5, &shown)] {
        state.observe(event);
    }
    // Three clicks of two impressions: one came by a link.
    for number in 4..7 {
        state.observe(&event(number, EventKind::Click, START_MS + 9, "u3", "v1"));
    }
    let counted = Engagement { impressions: 2.0, clicks: 2.0, long_views: 0.0, likes: 1.0 };
    assert_eq!(state.engagement(&VideoId::new("v1")), counted);
    assert_eq!(state.engagement(&VideoId::new("never seen")), Engagement::default());
}

#[test]
fn histories_keep_the_last_items_in_order_and_wait_for_their_time() {
    let mut state = FeatureState::default();
    let user = UserId::new("u1");
    let count = MAX_HISTORY as i32 + 10;
    let items: Vec<HistoryRecord> = (0..count)
        .map(|ordinal| HistoryRecord {
            user_id: user.clone(),
            ordinal,
            video_id: VideoId::new(format!("old{ordinal}")),
            outcomes: 2,
            before_ms: START_MS,
        })
        .collect();
    state.set_history(Some(&user), START_MS, &items);
    state.observe(&event(1, EventKind::Click, START_MS - 5, "u1", "early"));
    assert_eq!(input_at(&state, START_MS - 4).person.history.len(), 1);
    state.advance(START_MS);
    let history = &input_at(&state, START_MS).person.history;
    assert_eq!(history.len(), MAX_HISTORY);
    assert_eq!(history[0].video_id.as_str(), "old11");
    assert_eq!(history[MAX_HISTORY - 2].video_id.as_str(), "old209");
    assert_eq!(history[MAX_HISTORY - 1].video_id.as_str(), "early");

    // Watches without impressions count as watches, and in no rate.
    let input = state.input(&user, &VideoId::new("old59"), START_MS, "feed");
    assert!((named(&input, "user_watches") - 201f32.ln()).abs() < 1e-6);
    assert!((named(&input, "video_watches") - 2f32.ln()).abs() < 1e-6);
    assert!(named(&input, "user_long_view_per_watch") > 0.9);
    assert!(named(&input, "user_impressions").abs() < 1e-6);
}
