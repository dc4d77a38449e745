//! `kinora eval`: how good a model is, on data it has not seen.

use std::path::PathBuf;

use clap::Subcommand;
use kinora_ranking::{EvalReport, evaluate};

use crate::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// AUC per task, calibration and watch-time errors of a ranker on one split of a training set.
    Ranker(Ranker),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ranker {
    #[arg(long)]
    model: PathBuf,
    /// A training set made by `kinora dataset ranking`.
    #[arg(long)]
    dataset: PathBuf,
    #[arg(long, default_value = "eval")]
    split: String,
}

pub(crate) fn run(model: Model, context: &Context) -> anyhow::Result<()> {
    match model {
        Model::Ranker(args) => {
            let report = tokio::task::block_in_place(|| evaluate(&args.model, &args.dataset, &args.split))?;
            context.output.result(&report, || table(&report))?;
            Ok(())
        }
    }
}

fn table(report: &EvalReport) -> String {
    let cell = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
    let mut text = format!("split {}: {} rows of {} people\n", report.split, report.rows, report.users);
    text += &format!(
        "{:<16}{:>10}{:>9}{:>9}{:>10}{:>9}\n",
        "task", "positives", "AUC", "gAUC", "log loss", "ECE"
    );
    for (name, task) in &report.tasks {
        text += &format!(
            "{name:<16}{:>10}{:>9}{:>9}{:>10}{:>9}\n",
            task.positives,
            cell(task.auc),
            cell(task.grouped_auc),
            cell(task.log_loss),
            cell(task.calibration_error)
        );
    }
    let mae_s = report.watch.mae_ms.map(|ms| ms / 1000.0);
    text += &format!("watch time: XAUC {}, mean absolute error {} s", cell(report.watch.xauc), cell(mae_s));
    text
}
