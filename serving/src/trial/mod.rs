//! Feeds tried on simulated people whose tastes are known: a platform and a ranker enter, what each feed did for
//! people and for creators who are new leaves.
//!
//! Every feed starts from the same week of events, meets the same people at the same times, and from then on
//! sees only what its own pages led to. Nothing here is served or stored.

mod off_policy;
mod page;
mod run;

use kinora_pipelines::PipelineError;
use kinora_pipelines::catalog::VideoRecord;
use kinora_pipelines::simulate::{Simulation, SimulationConfig, simulate};
use kinora_ranking::feed::recipe::Recipe;
use kinora_ranking::{Ranker, RankingError};
use serde::Serialize;
use thiserror::Error;

use crate::clock::DAY_MS;
pub use off_policy::OffPolicyReport;
pub use page::page;

/// Why feeds could not be tried.
#[derive(Debug, Error)]
pub enum TrialError {
    #[error(transparent)]
    Simulation(#[from] PipelineError),
    #[error(transparent)]
    Ranking(#[from] RankingError),
    #[error("`{option}` is {value}: it must be {accepted}")]
    Option { option: &'static str, value: u64, accepted: &'static str },
}

/// What is tried, and on whom.
#[derive(Clone, Debug)]
pub struct TrialOptions {
    /// The platform and the days that every feed starts from, its clips shown at random.
    pub simulation: SimulationConfig,
    /// Days that each feed is then in force.
    pub days: u32,
    /// Creators who publish their first clips on the first of these days.
    pub newcomers: usize,
    /// Clips of each of them.
    pub clips: usize,
}

/// What each feed did.
#[derive(Clone, Debug, Serialize)]
pub struct TrialReport {
    pub people: usize,
    pub clips: usize,
    pub days: u32,
    pub newcomers: usize,
    pub feeds: Vec<FeedReport>,
    /// Estimates of another policy from the log of the first days, where there is a ranker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_policy: Option<OffPolicyReport>,
}

/// What one feed did.
#[derive(Clone, Debug, Serialize)]
pub struct FeedReport {
    pub feed: &'static str,
    pub impressions: usize,
    /// Clicks an impression.
    pub click_rate: f64,
    /// How much the person likes what is shown, in [0, 1], on average.
    pub affinity: f64,
    /// What the clips that the person likes best of those not seen lately would have added to that.
    pub regret: f64,
    /// Share of impressions that went to clips of creators who are new.
    pub newcomer_share: f64,
    /// New creators whose clips were shown a hundred times.
    pub newcomers_reached: usize,
    /// Median hours from a new creator's first clip to their hundredth impression; none where fewer than half
    /// of them came so far.
    pub newcomer_hours: Option<f64>,
}

/// What makes the pages.
#[derive(Clone, Copy, Debug)]
enum Feed<'a> {
    Random,
    /// By long views so far: what has been watched most is shown most.
    MostWatched,
    /// By smoothed rates and freshness, the recipe's own popularity, and nothing else.
    Popular,
    /// The recipe, with a ranker or without.
    Recipe(Option<&'a Ranker>, &'a Recipe),
    /// By what people truly like.
    Oracle,
}

impl Feed<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::MostWatched => "most watched",
            Self::Popular => "popular",
            Self::Recipe(None, _) => "kinora without a ranker",
            Self::Recipe(Some(_), _) => "kinora",
            Self::Oracle => "oracle",
        }
    }
}

/// Tries feeds on simulated people.
///
/// # Errors
///
/// Options that make no platform, and a ranker that gives no scores.
pub fn try_feeds(options: &TrialOptions, ranker: Option<&Ranker>) -> Result<TrialReport, TrialError> {
    check(options)?;
    let config = &options.simulation;
    let mut simulation = simulate(config)?;
    let off_policy = ranker.map(|ranker| off_policy::estimate(config, &simulation, ranker)).transpose()?;
    let from_ms = config.start_ms + i64::from(config.days) * DAY_MS;
    let new: Vec<VideoRecord> = simulation.add_newcomers(config, options.newcomers, options.clips, from_ms);

    let recipe = Recipe::default();
    let mut feeds = vec![Feed::Random, Feed::MostWatched, Feed::Popular, Feed::Recipe(None, &recipe)];
    feeds.extend(ranker.map(|ranker| Feed::Recipe(Some(ranker), &recipe)));
    feeds.push(Feed::Oracle);
    let feeds = feeds.into_iter().map(|feed| run::run(feed, options, &simulation, &new)).collect();
    let Simulation { users, videos, .. } = &simulation;
    Ok(TrialReport {
        people: users.len(),
        clips: videos.len(),
        days: options.days,
        newcomers: options.newcomers,
        feeds,
        off_policy,
    })
}

fn check(options: &TrialOptions) -> Result<(), TrialError> {
    let within = |option, value: u64, most: u64, accepted| {
        if (1..=most).contains(&value) { Ok(()) } else { Err(TrialError::Option { option, value, accepted }) }
    };
    within("trial-days", u64::from(options.days), 365, "1 to 365")?;
    within("newcomers", options.newcomers as u64, 10_000, "1 to 10000")?;
    within("newcomer-clips", options.clips as u64, 100, "1 to 100")
}

#[cfg(test)]
mod tests;
