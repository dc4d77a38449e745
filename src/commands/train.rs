//! `kinora train`: the ranker and the video+audio model. Interrupted, the same command goes on.

use std::path::PathBuf;

use clap::Subcommand;
use kinora_harness::device::DeviceChoice;
use kinora_ranking::{Hyperparameters, TrainOptions, TrainOutcome, train};

use crate::{Context, interrupt};

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Train the multi-task ranker on a training set.
    Ranker(Ranker),
    /// Train the video+audio model on the physics world.
    Video(super::train_video::Video),
    /// Train a pixel model on clips of your own.
    Clips(super::train_clips::Clips),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Ranker {
    /// A training set made by `kinora dataset ranking`.
    #[arg(long)]
    dataset: PathBuf,
    /// Where the model goes [default: `models/ranker` in the data directory, which `serve` loads].
    #[arg(long)]
    out: Option<PathBuf>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
        Model::Video(args) => super::train_video::run(args, context),
        Model::Clips(args) => super::train_clips::run(args, context),
    }
}

fn ranker(args: Ranker, context: &Context) -> anyhow::Result<()> {
    let defaults = Hyperparameters::default();
    let options = TrainOptions {
        dataset: args.dataset,
        out: args.out.unwrap_or_else(|| context.models_dir().join("ranker")),
        runs: context.runs_dir(),
        hyperparameters: Hyperparameters {
            epochs: args.epochs.unwrap_or(defaults.epochs),
            batch: args.batch.unwrap_or(defaults.batch),
            learning_rate: args.learning_rate.unwrap_or(defaults.learning_rate),
            ..defaults
        },
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
            context.output.result(&report, || {
                format!(
                    "ranker in {}: {} examples, {} steps, loss {:.4}, {:.0} s; run {}",
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
