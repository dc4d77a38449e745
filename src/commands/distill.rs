//! `kinora distill`: a model that is quick to draw with, taught by one that is slow.

use std::path::PathBuf;

use clap::Subcommand;
use kinora_harness::device::DeviceChoice;
use kinora_training::train::{DistillOptions, DistillPlan, distill};

use crate::{Context, interrupt};

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// A video+audio model that draws in one to four steps.
    Video(Video),
}

/// Teach a copy of a video+audio model to draw in one to four steps what the model draws in many.
///
/// Guidance is learned with it and no more to be chosen. Interrupted, the same command goes on where it was.
#[derive(Debug, clap::Args)]
pub(crate) struct Video {
    /// The teacher: a model made by `kinora train video`.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Where the student goes.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Steps that the student draws in: 1 to 4.
    #[arg(long, default_value_t = 4)]
    sampler_steps: usize,
    /// Training steps.
    #[arg(long)]
    steps: Option<u64>,
    /// Clips in a training step.
    #[arg(long)]
    batch: Option<usize>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// auto, cpu, cuda:N or cuda:all.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(model: Model, context: &Context) -> anyhow::Result<()> {
    let Model::Video(args) = model;
    let plan = DistillPlan::default();
    let options = DistillOptions {
        teacher_dir: args.model,
        out_dir: args.out,
        runs_dir: context.runs_dir(),
        plan: DistillPlan {
            sampler_steps: args.sampler_steps,
            steps: args.steps.unwrap_or(plan.steps),
            batch: args.batch.unwrap_or(plan.batch),
            ..plan
        },
        seed: args.seed,
        device: args.device,
        progress: context.output.progress(),
        interrupt: interrupt::flag(),
    };
    let report = match tokio::task::block_in_place(|| distill(&options)) {
        Err(error) if error.is_interruption() => return Err(interrupt::Interrupted::Resumable.into()),
        report => report?,
    };
    context.output.result(&report, || format!("weights in {}", options.out_dir.display()))?;
    Ok(())
}
