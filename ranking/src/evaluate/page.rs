//! The page of a ranker's evaluation: its figures enter, the [`Page`] leaves.
//!
//! INVARIANT: every number of the page is one of the report's.

use kinora_harness::page::{Axis, Bar, Better, Figure, Line, Measure, Page, Plot, Section};

use super::{DurationBucket, HeadFigures, RankerFigures};
use crate::interval::Interval;

/// Places of the series.
const HAPPENED: usize = 0;
const PREDICTED: usize = 1;

/// A page of figures. `facts` are names and values of what was judged: the model, the data.
pub fn page(lead: &str, facts: Vec<(String, String)>, figures: &RankerFigures) -> Page {
    let fact = |name: &str, value: usize| (name.to_owned(), value.to_string());
    let own = [
        fact("Impressions", figures.rows),
        fact("People", figures.users),
        fact("Bootstrap draws", figures.bootstrap_draws),
        ("Seed".to_owned(), figures.seed.to_string()),
    ];
    Page {
        title: "Ranker evaluation".to_owned(),
        lead: lead.to_owned(),
        facts: facts.into_iter().chain(own).collect(),
        series: ["what happened", "the ranker"].map(str::to_owned).into(),
        sections: vec![order(figures), calibration(figures), watch(figures), creators(figures)],
    }
}

/// The heads of what happened at least once.
fn heads(figures: &RankerFigures) -> impl Iterator<Item = (String, &HeadFigures)> {
    figures.tasks.iter().filter(|(_, head)| head.positives > 0).map(|(name, head)| (title(name), head))
}

fn title(name: &str) -> String {
    let text = name.replace('_', " ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn order(figures: &RankerFigures) -> Section {
    let rows = heads(figures).flat_map(|(name, head)| {
        let (value, interval) = (&head.figures, &head.intervals);
        [
            judged(format!("{name}: AUC"), Better::Higher, value.auc, interval.auc),
            judged(
                format!("{name}: AUC within a person"),
                Better::Higher,
                value.grouped_auc,
                interval.grouped_auc,
            ),
        ]
    });
    let bars = heads(figures)
        .filter_map(|(name, head)| Some(bar(name, PREDICTED, head.figures.auc?, head.intervals.auc)));
    Section {
        title: "Order".to_owned(),
        note: "How often of two impressions the one with the outcome is scored above the one without: over all, \
               and within each person's own impressions. A coin has one half."
            .to_owned(),
        figures: rows.filter(|figure| figure.values[PREDICTED].is_some()).collect(),
        plots: vec![Plot::Bars {
            title: "AUC of each outcome".to_owned(),
            measure: Measure::Of(String::new()),
            bars: bars.collect(),
        }],
        clips: Vec::new(),
    }
}

fn calibration(figures: &RankerFigures) -> Section {
    let rows = heads(figures).flat_map(|(name, head)| {
        let (value, interval) = (&head.figures, &head.intervals);
        let rate = |of: fn(&crate::metrics::CalibrationBin) -> f64| {
            let rows: usize = head.calibration.iter().map(|bin| bin.rows).sum();
            let sum: f64 = head.calibration.iter().map(|bin| bin.rows as f64 * of(bin)).sum();
            (rows > 0).then(|| sum / rows as f64)
        };
        [
            Figure {
                name: format!("{name}: rate"),
                measure: Measure::Share,
                better: Better::Higher,
                values: vec![rate(|bin| bin.happened), rate(|bin| bin.predicted)],
                interval: None,
                target: None,
            },
            judged(
                format!("{name}: calibration error"),
                Better::Lower,
                value.calibration_error,
                interval.calibration_error,
            ),
            judged(format!("{name}: log loss"), Better::Lower, value.log_loss, interval.log_loss),
        ]
    });
    let curve = |(name, head): (String, &HeadFigures)| {
        let points: Vec<Option<[f64; 2]>> =
            head.calibration.iter().map(|bin| Some([bin.predicted, bin.happened])).collect();
        let most = points.iter().flatten().flatten().copied().fold(0.0, f64::max);
        let axis = |name: &str| Axis {
            name: name.to_owned(),
            measure: Measure::Share,
            bounds: [0.0, (1.05 * most).clamp(1e-6, 1.0)],
        };
        Plot::Curves {
            title: name,
            across: axis("predicted"),
            up: axis("happened"),
            diagonal: true,
            lines: vec![Line { series: PREDICTED, points }],
        }
    };
    Section {
        title: "Calibration".to_owned(),
        note: "Whether what is said to happen one time in five does: impressions in ten bins of equal counts by \
               what was predicted. On the dashed line both are equal."
            .to_owned(),
        figures: rows.filter(|figure| figure.values[PREDICTED].is_some()).collect(),
        plots: heads(figures).map(curve).collect(),
        clips: Vec::new(),
    }
}

fn watch(figures: &RankerFigures) -> Section {
    let watch = &figures.watch;
    let seconds = Measure::Of("s".to_owned());
    let range = |bucket: &DurationBucket| format!("{:.0}–{:.0}", bucket.from_s, bucket.until_s);
    let buckets = &figures.watch_by_duration;
    let means = buckets.iter().flat_map(|bucket| {
        [(HAPPENED, bucket.watch.mean_watch_s), (PREDICTED, bucket.watch.mean_predicted_s)]
            .into_iter()
            .filter_map(move |(series, mean)| Some(bar(range(bucket), series, mean?, None)))
    });
    let order = buckets.iter().filter_map(|bucket| {
        Some(bar(range(bucket), PREDICTED, bucket.watch.xauc?, bucket.watch.intervals.xauc))
    });
    Section {
        title: "Watch time".to_owned(),
        note: "How often of two watches of unequal length the longer one was predicted to be longer (XAUC), and how \
               far predictions are off; then by the length of the clip in seconds."
            .to_owned(),
        figures: vec![
            judged("XAUC".to_owned(), Better::Higher, watch.xauc, watch.intervals.xauc),
            Figure {
                measure: seconds.clone(),
                ..judged("Mean absolute error".to_owned(), Better::Lower, watch.mae_s, watch.intervals.mae_s)
            },
            Figure {
                name: "Mean watch".to_owned(),
                measure: seconds.clone(),
                better: Better::Higher,
                values: vec![watch.mean_watch_s, watch.mean_predicted_s],
                interval: None,
                target: None,
            },
        ],
        plots: vec![
            Plot::Bars {
                title: "Mean watch by length of the clip, s".to_owned(),
                measure: seconds,
                bars: means.collect(),
            },
            Plot::Bars {
                title: "XAUC by length of the clip, s".to_owned(),
                measure: Measure::Of(String::new()),
                bars: order.collect(),
            },
        ],
        clips: Vec::new(),
    }
}

fn creators(figures: &RankerFigures) -> Section {
    let groups = || {
        figures
            .creator_groups
            .iter()
            .map(|group| (group, format!("{:.0}–{:.0}", group.impressions_from, group.impressions_until)))
    };
    let clicks = groups().flat_map(|(group, range)| {
        [(HAPPENED, group.click_rate), (PREDICTED, group.predicted_click_rate)]
            .into_iter()
            .filter_map(move |(series, rate)| Some(bar(range.clone(), series, rate?, None)))
    });
    let shares = groups().flat_map(|(group, range)| {
        [(HAPPENED, Some(group.share_of_rows)), (PREDICTED, group.share_of_top_half)]
            .into_iter()
            .filter_map(move |(series, share)| Some(bar(range.clone(), series, share?, None)))
    });
    let rows = groups().map(|(group, range)| {
        judged(format!("Creators shown {range} times: AUC of clicks"), Better::Higher, group.click_auc, None)
    });
    Section {
        title: "Small and large creators".to_owned(),
        note: "Clips by how often their creators had been shown before. A ranker that takes exposure from small \
               creators predicts fewer clicks on them than happen, or gives them less of the better half of \
               everyone's scores than of all impressions."
            .to_owned(),
        figures: rows.filter(|figure| figure.values[PREDICTED].is_some()).collect(),
        plots: vec![
            Plot::Bars {
                title: "Click rate, by impressions of the creator".to_owned(),
                measure: Measure::Share,
                bars: clicks.collect(),
            },
            Plot::Bars {
                title: "Share of all impressions, and of the better half of scores".to_owned(),
                measure: Measure::Share,
                bars: shares.collect(),
            },
        ],
        clips: Vec::new(),
    }
}

/// A figure of the ranker alone.
fn judged(name: String, better: Better, value: Option<f64>, interval: Option<Interval>) -> Figure {
    Figure {
        name,
        measure: Measure::Of(String::new()),
        better,
        values: vec![None, value],
        interval: interval.map(|interval| [interval.low, interval.high]),
        target: None,
    }
}

fn bar(name: String, series: usize, value: f64, interval: Option<Interval>) -> Bar {
    Bar { name, series, value, interval: interval.map(|interval| [interval.low, interval.high]) }
}
