use super::*;
use crate::testing::NOW_MS;

fn options() -> TrialOptions {
    let simulation =
        SimulationConfig { users: 60, videos: 60, creators: 6, days: 3, ..SimulationConfig::new(7, NOW_MS) };
    TrialOptions { simulation, days: 2, newcomers: 2, clips: 2 }
}

#[test]
fn the_oracle_regrets_nothing_and_the_recipe_less_than_chance() {
    let report = try_feeds(&options(), None).unwrap();
    let feed = |name: &str| report.feeds.iter().find(|feed| feed.feed == name).unwrap();
    assert!(feed("oracle").regret.abs() < 1e-9, "{report:?}");
    assert!(feed("kinora without a ranker").regret < feed("random").regret, "{report:?}");
    for feed in &report.feeds {
        assert!(feed.impressions > 500 && feed.regret >= -1e-9, "{feed:?}");
        assert!((0.0..=1.0).contains(&feed.newcomer_share) && feed.newcomers_reached <= 2, "{feed:?}");
    }
    // Nobody meets a new creator by what was watched most.
    assert!(feed("most watched").newcomer_share < feed("kinora without a ranker").newcomer_share);
    let again = try_feeds(&options(), None).unwrap();
    assert_eq!(serde_json::to_value(&again.feeds).unwrap(), serde_json::to_value(&report.feeds).unwrap());
}

#[test]
fn what_cannot_be_tried_is_one_line() {
    for wrong in [
        TrialOptions { days: 0, ..options() },
        TrialOptions { newcomers: 0, ..options() },
        TrialOptions { clips: 0, ..options() },
        TrialOptions { simulation: SimulationConfig { users: 0, ..options().simulation }, ..options() },
    ] {
        assert!(!try_feeds(&wrong, None).unwrap_err().to_string().contains('\n'));
    }
}
