use std::collections::HashMap;

use kinora_schema::{EventId, EventKind};
use tempfile::TempDir;

use super::*;
use crate::fixtures::{NOW_MS, START_MS};

fn small() -> SimulationConfig {
    SimulationConfig { users: 40, videos: 60, creators: 6, days: 3, ..SimulationConfig::new(7, START_MS) }
}

#[test]
fn the_same_seed_gives_the_same_platform_and_another_seed_another() {
    let bytes = |seed| {
        let simulation = simulate(&SimulationConfig { seed, ..small() }).unwrap();
        serde_json::to_vec(&simulation.events).unwrap()
    };
    assert!(bytes(7) == bytes(7));
    assert!(bytes(7) != bytes(8));
}

#[test]
fn every_event_is_valid_and_every_outcome_follows_its_impression() {
    let simulation = simulate(&small()).unwrap();
    let mut impressions: HashMap<EventId, &Event> = HashMap::new();
    for event in &simulation.events {
        event.validate(NOW_MS).unwrap();
        match event.impression_id {
            None => assert!(impressions.insert(event.event_id, event).is_none(), "an id came twice"),
            Some(id) => {
                let shown = impressions[&id];
                assert!(event.event_time_ms > shown.event_time_ms);
                assert_eq!((&event.user_id, &event.video_id), (&shown.user_id, &shown.video_id));
            }
        }
    }
    let created: HashMap<_, _> =
        simulation.videos.iter().map(|video| (&video.video_id, video.created_time_ms.unwrap())).collect();
    assert!(impressions.values().all(|shown| shown.event_time_ms >= created[&shown.video_id]));
    assert!(impressions.len() > 1000, "{} impressions", impressions.len());
}

#[test]
fn people_click_what_they_like() {
    let simulation = simulate(&small()).unwrap();
    let mean = |kind| {
        let affinities: Vec<f64> = simulation
            .events
            .iter()
            .filter(|event| event.kind == kind)
            .map(|event| simulation.truth.affinity(&event.user_id, &event.video_id))
            .collect();
        affinities.iter().sum::<f64>() / affinities.len() as f64
    };
    assert!(mean(EventKind::Click) > mean(EventKind::Impression) + 0.1);
    assert!(mean(EventKind::Like) > mean(EventKind::Click));
    assert!(mean(EventKind::NotInterested) < mean(EventKind::Impression));
}

#[test]
fn the_truth_survives_json_and_knows_nothing_of_strangers() {
    let truth = simulate(&small()).unwrap().truth;
    let json = serde_json::to_string(&truth).unwrap();
    let read: Truth = serde_json::from_str(&json).unwrap();
    let (user, video) = (UserId::new("u0001"), VideoId::new("v0001"));
    assert!((truth.affinity(&user, &video) - read.affinity(&user, &video)).abs() < 1e-12);
    assert!(read.affinity(&UserId::new("nobody"), &video).abs() < f64::EPSILON);
}

#[test]
fn captions_name_what_is_drawn() {
    let prompts = prompts::default_prompts();
    for caption in [
        "a red ball bounces twice",
        "a blue ball is thrown into the hoop",
        "an orange ball and a yellow ball collide",
    ] {
        assert!(prompts.iter().any(|prompt| prompt.caption == caption), "no `{caption}`");
    }
}

#[test]
fn a_platform_that_cannot_be_is_refused_in_one_line() {
    let error = simulate(&SimulationConfig { users: 0, ..small() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the simulation is wrong: users, videos, creators and days must be at least 1"
    );
    simulate(&SimulationConfig { clips_per_session: f64::NAN, ..small() }).unwrap_err();
    simulate(&SimulationConfig { prompts: Vec::new(), ..small() }).unwrap_err();
}

#[tokio::test]
async fn a_simulation_loads_once() {
    let directory = TempDir::new().unwrap();
    let lake = Lake::open(directory.path()).await.unwrap();
    let simulation = simulate(&SimulationConfig { users: 5, ..small() }).unwrap();
    let first = load_simulation(&lake, &simulation, NOW_MS).await.unwrap();
    assert_eq!((first.accepted, first.quarantined), (simulation.events.len() as u64, 0));
    let again = load_simulation(&lake, &simulation, NOW_MS).await.unwrap();
    assert_eq!((again.accepted, again.duplicates), (0, simulation.events.len() as u64));
    assert_eq!(crate::catalog::read_videos(&lake).await.unwrap(), simulation.videos);
    assert_eq!(crate::catalog::read_users(&lake).await.unwrap(), simulation.users);
}
