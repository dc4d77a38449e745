//! `kinora eval`: how good a model is, on data it has not seen.

use std::path::PathBuf;

use clap::Subcommand;
use kinora_harness::device::DeviceChoice;
use kinora_ranking::EvalReport;
use kinora_training::evaluate::{EvaluateError, EvaluateOptions, EvaluateReport, Figures};
use kinora_training::generate::Generator;

use crate::{Context, interrupt};

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// AUC per task, calibration and watch-time errors of a ranker on one split of a training set.
    Ranker(Ranker),
    /// How well clips show, move and sound what was asked for, beside the corpus itself.
    Video(Video),
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

/// Judge a video+audio model on captions of bouncing balls that its training has not seen.
///
/// Every figure is measured from pixels and samples, by the same code, on the corpus itself, on the
/// corpus through the autoencoders and on the model's clips: the first two bound the third.
#[derive(Debug, clap::Args)]
pub(crate) struct Video {
    /// A model made by `kinora train video` [default: the shipped nano weights].
    #[arg(long)]
    model: Option<PathBuf>,
    /// Clips of each kind.
    #[arg(long, default_value_t = 64)]
    clips: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps of the sampler [default: the model's].
    #[arg(long)]
    steps: Option<usize>,
    /// How strongly the prompt is followed [default: the model's].
    #[arg(long)]
    guidance: Option<f32>,
    /// Write a contact sheet of each kind of clip into this directory.
    #[arg(long, value_name = "DIR")]
    sheets: Option<PathBuf>,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(model: Model, context: &Context) -> anyhow::Result<()> {
    match model {
        Model::Ranker(args) => ranker(&args, context),
        Model::Video(args) => video(args, context),
    }
}

fn ranker(args: &Ranker, context: &Context) -> anyhow::Result<()> {
    let report =
        tokio::task::block_in_place(|| kinora_ranking::evaluate(&args.model, &args.dataset, &args.split))?;
    context.output.result(&report, || ranker_table(&report))?;
    Ok(())
}

fn video(args: Video, context: &Context) -> anyhow::Result<()> {
    let generator = match &args.model {
        Some(directory) => Generator::load(directory, args.device)?,
        None => Generator::shipped(args.device)?,
    };
    let defaults = EvaluateOptions::default();
    let options = EvaluateOptions {
        clips: args.clips,
        seed: args.seed,
        steps: args.steps.unwrap_or(defaults.steps),
        guidance: args.guidance.unwrap_or(defaults.guidance),
        sheets_dir: args.sheets,
        progress: context.output.progress(),
        interrupt: interrupt::flag(),
    };
    let report =
        match tokio::task::block_in_place(|| kinora_training::evaluate::evaluate(&generator, &options)) {
            Err(EvaluateError::Interrupted) => return Err(interrupt::Interrupted::Abandoned.into()),
            report => report?,
        };
    context.output.result(&report, || video_table(&report))?;
    Ok(())
}

fn ranker_table(report: &EvalReport) -> String {
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

fn video_table(report: &EvaluateReport) -> String {
    type Figure = (&'static str, fn(&Figures) -> Option<f32>, fn(f32) -> String);
    let percent: fn(f32) -> String = |share| format!("{:.1}%", 100.0 * share);
    let plain: fn(f32) -> String = |value| format!("{value:.2}");
    let rows: [Figure; 9] = [
        ("ball of the colour asked for", |figures| figures.colour, percent),
        ("as many bounces as asked for", |figures| figures.bounce_count, percent),
        ("frames without a ball", |figures| figures.vanished, percent),
        ("jumps in free flight", |figures| figures.teleports, percent),
        ("trembling, cm of an 8 m view", |figures| figures.trembling_cm, plain),
        ("error of gravity", |figures| figures.gravity_error, percent),
        ("speed kept in a bounce", |figures| figures.restitution, plain),
        ("sound from its bounce, ms", |figures| figures.onset_offset_ms, plain),
        ("sounds within a frame, F1", |figures| figures.onset_f1, plain),
    ];
    let mut text = format!(
        "{} captions, seed {}, {} steps, guidance {}, {:.2} million parameters\n{:<30}{:>10}{:>16}{:>11}",
        report.clips,
        report.seed,
        report.steps,
        report.guidance,
        report.parameters as f64 / 1e6,
        "",
        "corpus",
        "reconstruction",
        "generated"
    );
    for (name, read, write) in rows {
        let cell = |figures: &Figures| read(figures).map_or_else(|| "-".to_owned(), write);
        text += &format!(
            "\n{name:<30}{:>10}{:>16}{:>11}",
            cell(&report.ground_truth),
            cell(&report.reconstruction),
            cell(&report.generated)
        );
    }
    text
}
