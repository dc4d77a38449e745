//! `kinora bench`: how fast a model is on this machine.

use clap::Subcommand;
use kinora_harness::device::{DeviceChoice, resolve};
use kinora_training::benchmark::{BenchmarkOptions, benchmark};
use kinora_training::size::ModelSize;

use crate::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Time a training step and a sampling step of the video+audio transformer.
    Video(Video),
}

/// Time the transformer on random latents, so that nothing but the network is timed.
///
/// `tests/peers/video/bench.py` times the same network in `PyTorch` and prints the ratios.
#[derive(Debug, clap::Args)]
pub(crate) struct Video {
    /// nano, small, base or large.
    #[arg(long, default_value = "nano")]
    size: ModelSize,
    /// Clips in a training step.
    #[arg(long, default_value_t = 48)]
    batch: usize,
    /// Parts of a training step that are worked on at the same time.
    #[arg(long, default_value_t = 2)]
    shards: usize,
    /// Steps of each kind that are timed.
    #[arg(long, default_value_t = 15)]
    steps: usize,
    /// auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(model: Model, context: &Context) -> anyhow::Result<()> {
    let Model::Video(args) = model;
    let device = resolve(args.device)?;
    let options = BenchmarkOptions {
        batch: args.batch.max(1),
        shards: args.shards.clamp(1, args.batch.max(1)),
        steps: args.steps.max(1),
    };
    let report = tokio::task::block_in_place(|| benchmark(&args.size.config(), options, &device));
    context.output.result(&report, || {
        format!(
            "{}: {:.2} million parameters\ntraining step of {} clips: {:.1} ms, {:.0} clips/s, {:.0} GFLOP/s\n\
             sampling step of one clip: {:.2} ms",
            args.size,
            report.parameters as f64 / 1e6,
            report.batch,
            report.train_step_ms,
            report.train_clips_per_s,
            report.train_gflop_per_s,
            report.sample_step_ms
        )
    })?;
    Ok(())
}
