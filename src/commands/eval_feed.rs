//! `kinora eval feed`: feeds tried on simulated people.

use std::path::PathBuf;

use kinora_pipelines::simulate::SimulationConfig;
use kinora_ranking::Ranker;
use kinora_ranking::off_policy::Estimate;
use kinora_serving::trial::{OffPolicyReport, TrialOptions, TrialReport, try_feeds};

use crate::Context;

/// First day of every trial, UTC milliseconds: a ranker of `kinora simulate` fits whatever the day was.
const START_MS: i64 = 1_767_225_600_000;

/// Try feeds on simulated people whose tastes are known: how much they like what they are shown, what a better
/// choice would have added, and how soon new creators are met.
///
/// With a ranker that was trained on `kinora simulate` with the same numbers and seed, the feed is tried with it
/// too, and off-policy estimates are held against the truth.
#[derive(Debug, clap::Args)]
pub(crate) struct Feed {
    /// A ranker trained on the same simulation.
    #[arg(long, value_name = "DIR")]
    ranker: Option<PathBuf>,
    #[arg(long, default_value_t = 300)]
    users: usize,
    #[arg(long, default_value_t = 240)]
    videos: usize,
    #[arg(long, default_value_t = 24)]
    creators: usize,
    /// Days before the trial, with clips shown at random.
    #[arg(long, default_value_t = 7)]
    days: u32,
    /// Days of the trial.
    #[arg(long, default_value_t = 4)]
    trial_days: u32,
    /// Creators who publish their first clips on the trial's first day.
    #[arg(long, default_value_t = 8)]
    newcomers: usize,
    /// Clips of each of them.
    #[arg(long, default_value_t = 3)]
    newcomer_clips: usize,
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Write a page with figures and plots, which needs nothing beside it.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

pub(crate) fn run(args: &Feed, context: &Context) -> anyhow::Result<()> {
    let ranker = args.ranker.as_deref().map(Ranker::load).transpose()?;
    let options = TrialOptions {
        simulation: SimulationConfig {
            users: args.users,
            videos: args.videos,
            creators: args.creators,
            days: args.days,
            ..SimulationConfig::new(args.seed, START_MS)
        },
        days: args.trial_days,
        newcomers: args.newcomers,
        clips: args.newcomer_clips,
    };
    let report = tokio::task::block_in_place(|| try_feeds(&options, ranker.as_ref()))?;
    if let Some(path) = &args.report {
        kinora_harness::page::write(&kinora_serving::trial::page(&report, args.seed), path)?;
    }
    context.output.result(&report, || table(&report))?;
    Ok(())
}

fn table(report: &TrialReport) -> String {
    let mut text = format!(
        "{} people, {} clips, {} days, {} new creators\n{:<24}{:>12}{:>12}{:>10}{:>10}{:>12}{:>12}{:>14}",
        report.people,
        report.clips,
        report.days,
        report.newcomers,
        "",
        "impressions",
        "click rate",
        "liking",
        "regret",
        "to new ones",
        "100 reached",
        "median hours"
    );
    for it in &report.feeds {
        let reached = format!("{} of {}", it.newcomers_reached, report.newcomers);
        let hours = it.newcomer_hours.map_or_else(|| "-".to_owned(), |hours| format!("{hours:.1}"));
        text += &format!(
            "\n{:<24}{:>12}{:>12.4}{:>10.4}{:>10.4}{:>11.1}%{reached:>12}{hours:>14}",
            it.feed,
            it.impressions,
            it.click_rate,
            it.affinity,
            it.regret,
            100.0 * it.newcomer_share,
        );
    }
    if let Some(report) = &report.off_policy {
        text += &estimates(report);
    }
    text
}

fn estimates(report: &OffPolicyReport) -> String {
    let OffPolicyReport { truth, logged_truth, estimates } = report;
    let mut text = format!(
        "\nanother policy from the log of the last day shown at random, in clicks an impression: {} rows, worth {:.0} of \
         its own\n{:<24}{truth:>12.4}  (the log's own: {logged_truth:.4})",
        estimates.rows, estimates.effective_rows, "truth"
    );
    for (name, estimate) in [
        ("the log's own", estimates.logged),
        ("IPS", estimates.ips),
        ("SNIPS", estimates.snips),
        ("doubly robust", estimates.dr),
    ] {
        let Estimate { value, interval } = estimate;
        let range = interval.map_or_else(String::new, |it| format!("{:.4} to {:.4}", it.low, it.high));
        text += &format!("\n{name:<24}{value:>12.4}  {range}");
    }
    text
}
