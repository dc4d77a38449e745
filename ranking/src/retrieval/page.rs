//! The page of a retrieval model's evaluation: the report enters, the [`Page`] leaves.
//!
//! INVARIANT: every number of the page is one of the report's.

use kinora_harness::page::{Axis, Bar, Better, Figure, Line, Measure, Page, Plot, Section};

use super::evaluate::{AtCutoff, Estimate, Group, Ranking, RetrievalReport};

/// Ways of ranking in the order of the series; the model is judged.
const WAYS: [(&str, &str); 4] = [
    ("popularity", "popularity"),
    ("last_item", "after the last item"),
    ("item_to_item", "near the latest items"),
    ("model", "the model"),
];
/// The list that tables are of.
const USUAL: usize = 10;

/// The page of a report.
pub fn page(report: &RetrievalReport) -> Page {
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![
        fact("Model", report.model.display().to_string()),
        fact("People", report.people.to_string()),
        fact("Items", report.items.to_string()),
        fact("Bootstrap draws", report.bootstrap_draws.to_string()),
        fact("Seed", report.seed.to_string()),
    ];
    if report.unknown_wanted > 0 {
        facts.push(fact("Wanted items that the model does not know", report.unknown_wanted.to_string()));
    }
    let protocol = "Everyone's last item is wanted, after the items before it; all items of the catalogue are \
                    ranked, those of the history left out.";
    let lead = if report.training_histories {
        protocol.to_owned()
    } else {
        format!(
            "{protocol} These are not the histories of the training: it may have seen some of what is wanted."
        )
    };
    Page {
        title: "Retrieval evaluation".to_owned(),
        lead,
        facts,
        series: WAYS.map(|(_, name)| name.to_owned()).into(),
        sections: vec![found(report), listed(report), groups(report)],
    }
}

fn rankings(report: &RetrievalReport) -> [Option<&Ranking>; 4] {
    WAYS.map(|(key, _)| report.rankings.get(key))
}

type Read = fn(&AtCutoff) -> Estimate;

fn figure(report: &RetrievalReport, name: &str, measure: Measure, better: Better, read: Read) -> Figure {
    let at = rankings(report).map(|ranking| Some(read(ranking?.at.get(&USUAL)?)));
    Figure {
        name: format!("{name}@{USUAL}"),
        measure,
        better,
        values: at.map(|estimate| estimate.map(|estimate| estimate.value)).into(),
        interval: at[WAYS.len() - 1].and_then(ends),
        target: None,
    }
}

fn ends(estimate: Estimate) -> Option<[f64; 2]> {
    estimate.interval.map(|interval| [interval.low, interval.high])
}

/// A figure over the length of the list.
fn curves(report: &RetrievalReport, title: &str, read: Read) -> Plot {
    let lines: Vec<Line> = rankings(report)
        .into_iter()
        .enumerate()
        .filter_map(|(series, ranking)| {
            let points = ranking?.at.iter().map(|(&cutoff, at)| Some([cutoff as f64, read(at).value]));
            Some(Line { series, points: points.collect() })
        })
        .collect();
    let points = || lines.iter().flat_map(|line| line.points.iter().flatten());
    let most = |axis: usize| points().map(|point| point[axis]).fold(0.0, f64::max);
    let number = Measure::Of(String::new());
    let (longest, highest) = (most(0), most(1));
    Plot::Curves {
        title: title.to_owned(),
        across: Axis {
            name: "length of the list".to_owned(),
            measure: number.clone(),
            bounds: [0.0, longest],
        },
        up: Axis { name: title.to_owned(), measure: number, bounds: [0.0, 1.05 * highest] },
        diagonal: false,
        lines,
    }
}

fn found(report: &RetrievalReport) -> Section {
    let number = || Measure::Of(String::new());
    Section {
        title: "What is found".to_owned(),
        note: "Whether the wanted item is in the list, and how far up: hit rate, NDCG and the mean reciprocal rank."
            .to_owned(),
        figures: vec![
            figure(report, "Hit rate", number(), Better::Higher, |at| at.hit_rate),
            figure(report, "NDCG", number(), Better::Higher, |at| at.ndcg),
            figure(report, "MRR", number(), Better::Higher, |at| at.mrr),
            Figure {
                name: "Index: the ten nearest that it finds".to_owned(),
                measure: Measure::Share,
                better: Better::Higher,
                values: vec![None, None, None, Some(report.index.recall_10.value)],
                interval: ends(report.index.recall_10),
                target: None,
            },
        ],
        plots: vec![
            curves(report, "Hit rate", |at| at.hit_rate),
            curves(report, "NDCG", |at| at.ndcg),
        ],
        clips: Vec::new(),
    }
}

fn listed(report: &RetrievalReport) -> Section {
    let number = |unit: &str| Measure::Of(unit.to_owned());
    let coverage: Read = |at| Estimate { value: at.coverage, interval: None };
    Section {
        title: "What is listed".to_owned(),
        note:
            "How much of the catalogue is listed for anybody, how surprising that is, how popular it was in \
               training, and how unequally items are listed (Gini: 0 where all are alike)."
                .to_owned(),
        figures: vec![
            figure(report, "Coverage of the catalogue", Measure::Share, Better::Higher, coverage),
            figure(report, "Novelty", number("bit"), Better::Higher, |at| at.novelty_bits),
            figure(report, "Times in the training's histories", number(""), Better::Lower, |at| {
                at.popularity
            }),
            figure(report, "Gini of the lists", number(""), Better::Lower, |at| at.gini),
        ],
        plots: vec![curves(report, "Coverage", coverage)],
        clips: Vec::new(),
    }
}

fn groups(report: &RetrievalReport) -> Section {
    let bars = |title: &str, of: fn(&Ranking) -> &Vec<Group>| Plot::Bars {
        title: title.to_owned(),
        measure: Measure::Of(String::new()),
        bars: rankings(report)
            .into_iter()
            .enumerate()
            .flat_map(|(series, ranking)| {
                ranking.into_iter().flat_map(of).map(move |group| Bar {
                    name: format!("{}–{}", group.from, group.until),
                    series,
                    value: group.ndcg_10.value,
                    interval: ends(group.ndcg_10),
                })
            })
            .collect(),
    };
    Section {
        title: "For whom, and of what".to_owned(),
        note: "NDCG@10 by how many items a person's history has, and by how often the wanted item is in the \
               training's histories."
            .to_owned(),
        plots: vec![
            bars("By items of the history", |ranking| &ranking.by_activity),
            bars("By popularity of the wanted item", |ranking| &ranking.by_popularity),
        ],
        ..Section::default()
    }
}
