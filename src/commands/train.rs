//! `kinora train`: the ranker, retrieval and the video+audio model. Interrupted, the same command goes on.

use std::path::PathBuf;

use clap::Subcommand;
use kinora_harness::device::DeviceChoice;
use kinora_ranking::logs::{LogTrainOptions, train_log};
use kinora_ranking::{Hyperparameters, TrainOptions, TrainOutcome, read_hyperparameters, train};

use crate::{Context, interrupt};

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Train the multi-task ranker on a training set, or on files of impressions.
    Ranker(Ranker),
    /// Train the model that retrieves what a person may want next, on histories.
    Retrieval(super::train_retrieval::Retrieval),
    /// Train the video+audio model on the physics world.
    Video(super::train_video::Video),
    /// Train a pixel model on clips of your own.
    Clips(super::train_clips::Clips),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ranker {
    /// A training set made by `kinora dataset ranking`.
    #[arg(long, value_name = "DIR", required_unless_present = "impressions")]
    dataset: Option<PathBuf>,
    /// Impressions with `KuaiRand`'s columns (.parquet, .csv or .csv.gz), in place of a training set.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["dataset", "epochs", "batch", "learning_rate", "device", "restart", "checkpoint_every"])]
    impressions: Vec<PathBuf>,
    /// What each person watched before the impressions: `user_id`, `watch_seq`, `long_watch_seq`, `like_seq`.
    #[arg(long, value_name = "FILE", requires = "impressions")]
    history: Option<PathBuf>,
    /// Attributes of people, with `KuaiRand`'s columns.
    #[arg(long, value_name = "FILE", requires = "impressions")]
    users: Option<PathBuf>,
    /// Attributes of clips, with `KuaiRand`'s columns.
    #[arg(long, value_name = "FILE", requires = "impressions")]
    videos: Option<PathBuf>,
    /// A ranker to go on from with newer examples: the daily refit.
    #[arg(long, value_name = "DIR", requires = "dataset")]
    from: Option<PathBuf>,
    /// Where the model goes [default: in the data directory, a new version in `models/rankers`, or
    /// `models/log-ranker` of impressions].
    #[arg(long)]
    out: Option<PathBuf>,
    /// Make the new version the champion that the feed ranks by. The first version is it in any case.
    #[arg(long, conflicts_with_all = ["out", "impressions"])]
    promote: bool,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Hyperparameters that `kinora tune ranker` found [default: those of this version].
    #[arg(long, value_name = "FILE.json", conflicts_with = "impressions")]
    hyperparameters: Option<PathBuf>,
    /// Times that each example is seen; more than one overfits quickly.
    #[arg(long)]
    epochs: Option<u32>,
    /// Examples a step.
    #[arg(long)]
    batch: Option<usize>,
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Steps between two checkpoints.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    checkpoint_every: u64,
    /// Begin anew even where a checkpoint of the same training is there.
    #[arg(long)]
    restart: bool,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(model: Model, context: &Context) -> anyhow::Result<()> {
    match model {
        Model::Ranker(args) => ranker(args, context),
        Model::Retrieval(args) => super::train_retrieval::run(args, context),
        Model::Video(args) => super::train_video::run(args, context),
        Model::Clips(args) => super::train_clips::run(args, context),
    }
}

/// A ranker of files of impressions.
fn log_ranker(args: Ranker, context: &Context) -> anyhow::Result<()> {
    let options = LogTrainOptions {
        impressions: args.impressions,
        history: args.history,
        users: args.users,
        videos: args.videos,
        out: args.out.unwrap_or_else(|| context.models_dir().join("log-ranker")),
        runs: context.runs_dir(),
        seed: args.seed,
        interrupt: interrupt::flag(),
        progress: context.output.progress(),
    };
    let Some(report) = tokio::task::block_in_place(|| train_log(&options))? else {
        return Err(interrupt::Interrupted::Abandoned.into());
    };
    context.output.result(&report, || {
        let mut text = format!(
            "ranker in {}: {} impressions of {} days ({} rows skipped), {} features, {:.0} s; run {}",
            report.model.display(),
            report.rows,
            report.days,
            report.skipped_rows,
            report.features,
            report.seconds,
            report.run_id
        );
        for head in &report.heads {
            text += &format!("\n{:<16}{:>5} trees, network {:.1}", head.head, head.trees, head.network_share);
        }
        text
    })?;
    Ok(())
}

fn ranker(args: Ranker, context: &Context) -> anyhow::Result<()> {
    let Some(dataset) = args.dataset else { return log_ranker(args, context) };
    let rankers = context.rankers();
    let version = if args.out.is_none() { Some(rankers.next()?) } else { None };
    let defaults = match &args.hyperparameters {
        Some(path) => read_hyperparameters(path)?,
        None => Hyperparameters::default(),
    };
    let options = TrainOptions {
        dataset,
        out: version.as_deref().map(|version| rankers.path(version)).or(args.out).unwrap_or_default(),
        runs: context.runs_dir(),
        hyperparameters: Hyperparameters {
            epochs: args.epochs.unwrap_or(defaults.epochs),
            batch: args.batch.unwrap_or(defaults.batch),
            learning_rate: args.learning_rate.unwrap_or(defaults.learning_rate),
            ..defaults
        },
        from: args.from,
        seed: args.seed,
        device: args.device,
        checkpoint_every: args.checkpoint_every,
        resume: !args.restart,
        interrupt: interrupt::flag(),
        progress: context.output.progress(),
    };
    match tokio::task::block_in_place(|| train(&options))? {
        TrainOutcome::Interrupted { .. } => Err(interrupt::Interrupted::Resumable.into()),
        TrainOutcome::Finished(report) => {
            let is_promoted = match &version {
                Some(version) if args.promote || rankers.aliases()?.champion.is_none() => {
                    rankers.promote(version)?;
                    true
                }
                _ => false,
            };
            context.output.result(&report, || {
                let next = match &version {
                    Some(version) if is_promoted => format!("; {version} is the champion"),
                    Some(version) => {
                        format!("; try it with `kinora ranker shadow {version}`, or `promote` it")
                    }
                    None => String::new(),
                };
                format!(
                    "ranker in {}: {} examples, {} steps, loss {:.4}, {:.0} s; run {}{next}",
                    report.model.display(),
                    report.rows,
                    report.steps,
                    report.loss,
                    report.seconds,
                    report.run_id
                )
            })?;
            Ok(())
        }
    }
}
