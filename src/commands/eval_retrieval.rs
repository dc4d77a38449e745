//! `kinora eval retrieval`: how good a retrieval model is at the last item of each history.

use std::path::PathBuf;

use kinora_harness::device::DeviceChoice;
use kinora_ranking::retrieval::evaluate::{Estimate, Group};
use kinora_ranking::retrieval::{RetrievalReport, evaluate};

use crate::Context;

/// Judge a retrieval model on the last item of each history, which no training sees.
///
/// All items are ranked, those of the history left out. Popularity, what followed the last item and what was near
/// the latest items are judged by the same code. Intervals hold 95% and come from drawing people anew.
#[derive(Debug, clap::Args)]
pub(crate) struct Retrieval {
    /// A model made by `kinora train retrieval`.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Lines of `user item` (plain or .gz), each person's in the order in which they happened.
    #[arg(long, value_name = "FILE")]
    sequences: PathBuf,
    /// Of the draws that the intervals come from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Write a page with figures and plots, which needs nothing beside it.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

pub(crate) fn run(args: &Retrieval, context: &Context) -> anyhow::Result<()> {
    let report =
        tokio::task::block_in_place(|| evaluate(&args.model, &args.sequences, args.seed, args.device))?;
    if let Some(path) = &args.report {
        kinora_harness::page::write(&kinora_ranking::retrieval::page(&report), path)?;
    }
    context.output.result(&report, || table(&report))?;
    Ok(())
}

fn table(report: &RetrievalReport) -> String {
    let mut text = format!(
        "{} people ({} left out), {} items; {} items unknown to the model on {} lines, {} of them wanted\n",
        report.people,
        report.people_left_out,
        report.items,
        report.unknown_items,
        report.unknown_lines,
        report.unknown_wanted
    );
    if !report.training_histories {
        text += "these are not the histories of the training: it may have seen some of what is wanted here\n";
    }
    text += &format!(
        "{:<14}{:>4}{:>26}{:>26}{:>26}{:>10}{:>9}{:>8}\n",
        "", "at", "hit rate", "NDCG", "MRR", "coverage", "novelty", "Gini"
    );
    for (name, ranking) in &report.rankings {
        for (cutoff, at) in &ranking.at {
            text += &format!(
                "{name:<14}{cutoff:>4}{:>26}{:>26}{:>26}{:>10.4}{:>9.2}{:>8.3}\n",
                cell(&at.hit_rate),
                cell(&at.ndcg),
                cell(&at.mrr),
                at.coverage,
                at.novelty_bits.value,
                at.gini.value
            );
        }
    }
    if let Some(model) = report.rankings.get("model") {
        text += &groups("items of a history", &model.by_activity);
        text += &groups("wanted item had, times", &model.by_popularity);
    }
    text += &format!("index: recall@10 against exact search {}", cell(&report.index.recall_10));
    text
}

fn groups(title: &str, groups: &[Group]) -> String {
    let mut text = format!("{title:<24}{:>8}{:>26}{:>26}\n", "people", "hit rate@10", "NDCG@10");
    for group in groups {
        let range = format!("{} to {}", group.from, group.until);
        text += &format!(
            "{range:<24}{:>8}{:>26}{:>26}\n",
            group.people,
            cell(&group.hit_rate_10),
            cell(&group.ndcg_10)
        );
    }
    text
}

fn cell(estimate: &Estimate) -> String {
    match estimate.interval {
        Some(interval) => format!("{:.4} ({:.4} to {:.4})", estimate.value, interval.low, interval.high),
        None => format!("{:.4}", estimate.value),
    }
}
