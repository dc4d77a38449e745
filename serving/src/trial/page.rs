//! The page of a trial: the report enters, the [`Page`] leaves.
//!
//! INVARIANT: every number of the page is one of the report's.

use kinora_harness::page::{Bar, Better, Figure, Measure, Page, Plot, Section};
use kinora_ranking::off_policy::Estimate;

use super::{FeedReport, OffPolicyReport, TrialReport};

/// The page of a report on feeds from `seed`.
pub fn page(report: &TrialReport, seed: u64) -> Page {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    // The last is what is judged: the recipe at its best.
    let judged = report.feeds.iter().rposition(|feed| feed.feed.starts_with("kinora")).unwrap_or_default();
    let mut feeds: Vec<&FeedReport> = report.feeds.iter().collect();
    let last = feeds.remove(judged);
    feeds.push(last);
    let mut sections = vec![people(&feeds), creators(report, &feeds)];
    sections.extend(report.off_policy.as_ref().map(|report| off_policy(report, feeds.len())));
    Page {
        title: "Feeds on simulated people".to_owned(),
        lead: "Feeds tried on people whose tastes are known, after days of clips shown at random, with creators \
               who publish their first clips while each feed is in force."
            .to_owned(),
        facts: vec![
            fact("People", report.people.to_string()),
            fact("Clips", report.clips.to_string()),
            fact("Days", report.days.to_string()),
            fact("New creators", report.newcomers.to_string()),
            fact("Seed", seed.to_string()),
        ],
        series: feeds.iter().map(|feed| feed.feed.to_owned()).collect(),
        sections,
    }
}

fn figure(
    name: &str,
    measure: Measure,
    better: Better,
    feeds: &[&FeedReport],
    of: fn(&FeedReport) -> Option<f64>,
) -> Figure {
    Figure {
        name: name.to_owned(),
        measure,
        better,
        values: feeds.iter().map(|feed| of(feed)).collect(),
        interval: None,
        target: None,
    }
}

fn bars(title: &str, measure: Measure, feeds: &[&FeedReport], of: fn(&FeedReport) -> Option<f64>) -> Plot {
    let bar = |(series, feed): (usize, &&FeedReport)| {
        Some(Bar { name: String::new(), series, value: of(feed)?, interval: None })
    };
    Plot::Bars { title: title.to_owned(), measure, bars: feeds.iter().enumerate().filter_map(bar).collect() }
}

fn people(feeds: &[&FeedReport]) -> Section {
    let number = || Measure::Of(String::new());
    Section {
        title: "What people get".to_owned(),
        note: "Liking is the true affinity of what is shown; regret is what the best clips that a person had not \
               seen within a day would have added to it."
            .to_owned(),
        figures: vec![
            figure("Liking", number(), Better::Higher, feeds, |feed| Some(feed.affinity)),
            figure("Regret", number(), Better::Lower, feeds, |feed| Some(feed.regret)),
            figure("Clicks an impression", Measure::Share, Better::Higher, feeds, |feed| Some(feed.click_rate)),
        ],
        plots: vec![
            bars("Liking", number(), feeds, |feed| Some(feed.affinity)),
            bars("Regret", number(), feeds, |feed| Some(feed.regret)),
        ],
        clips: Vec::new(),
    }
}

fn creators(report: &TrialReport, feeds: &[&FeedReport]) -> Section {
    let hours = || Measure::Of("h".to_owned());
    Section {
        title: "What new creators get".to_owned(),
        note: format!(
            "{} creators publish their first clips on the trial's first day. Hours are the median from a new \
             creator's first clip to their hundredth impression; none where fewer than half came so far.",
            report.newcomers
        ),
        figures: vec![
            figure("Share of impressions", Measure::Share, Better::Higher, feeds, |feed| {
                Some(feed.newcomer_share)
            }),
            figure(
                "Creators shown a hundred times",
                Measure::Of(String::new()),
                Better::Higher,
                feeds,
                |feed| Some(feed.newcomers_reached as f64),
            ),
            figure("Hours until then", hours(), Better::Lower, feeds, |feed| feed.newcomer_hours),
        ],
        plots: vec![
            bars("Share of impressions", Measure::Share, feeds, |feed| Some(feed.newcomer_share)),
            bars("Hours to a hundred impressions", hours(), feeds, |feed| feed.newcomer_hours),
        ],
        clips: Vec::new(),
    }
}

/// Estimates are of the last series; the first is what the log's own policy did.
fn off_policy(report: &OffPolicyReport, series: usize) -> Section {
    let estimates = &report.estimates;
    let rows = [("IPS", estimates.ips), ("SNIPS", estimates.snips), ("Doubly robust", estimates.dr)];
    let figure = |(name, Estimate { value, interval }): (&str, Estimate)| Figure {
        name: name.to_owned(),
        measure: Measure::Of(String::new()),
        better: Better::Higher,
        values: (0..series).map(|place| (place + 1 == series).then_some(value)).collect(),
        interval: interval.map(|interval| [interval.low, interval.high]),
        target: None,
    };
    let plain = |name: &str, value: f64| figure((name, Estimate { value, interval: None }));
    let mut figures = vec![
        plain("The truth", report.truth),
        plain("What the log's own policy reaches", report.logged_truth),
    ];
    figures.extend(rows.map(figure));
    Section {
        title: "Off-policy estimates".to_owned(),
        note: format!(
            "Clicks an impression of a policy that shows what the ranker values, estimated from {} rows of a log \
             of clips shown at random, worth {:.0} rows of its own, and held against the truth, which no estimator \
             was shown.",
            estimates.rows, estimates.effective_rows
        ),
        figures,
        ..Section::default()
    }
}
