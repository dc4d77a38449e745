//! `kinora train video`: the video+audio model, from the physics world to weights.

use std::path::PathBuf;

use kinora_harness::device::DeviceChoice;
use kinora_training::size::ModelSize;
use kinora_training::train::{Choice, TrainOptions, TrainPlan, train};

use crate::{Context, interrupt};

/// Train the video+audio model on the physics world, which is drawn as it goes.
///
/// The stages are the look encoder, the voice encoder, what hears speech, the sound autoencoder, the latents of
/// the corpus, what reads a frame, and the transformer. Interrupted, the same command goes on where it was and
/// ends in the same weights.
#[derive(Debug, clap::Args)]
pub(crate) struct Video {
    /// nano, small, base or large. `nano` takes two CPU cores some hours. With `--from`, the size whose clips,
    /// steps and batch are usual; the model keeps its own.
    #[arg(long, default_value = "nano")]
    size: ModelSize,
    /// Where the model goes [default: `models/video` in the data directory, which `serve` loads].
    #[arg(long)]
    out: Option<PathBuf>,
    /// A model that learns on: its encoders stay, its transformer goes on from its weights. Take another seed
    /// than its training's, which draws other scenes.
    #[arg(long, value_name = "DIR", conflicts_with = "without")]
    from: Option<PathBuf>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Clips of the corpus that the transformer learns from.
    #[arg(long)]
    clips: Option<u64>,
    /// Steps of the transformer.
    #[arg(long)]
    steps: Option<u64>,
    /// Clips in a step of the transformer.
    #[arg(long)]
    batch: Option<usize>,
    /// Parts of a step, whose gradients add up: more of them need less memory on a GPU.
    #[arg(long, value_name = "PARTS")]
    parts: Option<usize>,
    /// Steps between two checkpoints.
    #[arg(long)]
    checkpoint_every: Option<u64>,
    /// Every stage for a few steps only: does the machinery work? The weights are of no use.
    #[arg(long, conflicts_with_all = ["clips", "steps", "batch"])]
    smoke: bool,
    /// Leave out independent-noise, cross-attention, motion or muon, to measure what it is worth.
    #[arg(long, value_name = "CHOICE")]
    without: Vec<Choice>,
    /// auto, cpu, cuda:N or cuda:all.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(args: Video, context: &Context) -> anyhow::Result<()> {
    let plan = if args.smoke { TrainPlan::smoke() } else { TrainPlan::of(args.size) };
    let out = args.out.unwrap_or_else(|| context.models_dir().join("video"));
    let options = TrainOptions {
        plan: TrainPlan {
            clips: args.clips.unwrap_or(plan.clips),
            flow_steps: args.steps.unwrap_or(plan.flow_steps),
            batch: args.batch.unwrap_or(plan.batch),
            shards: args.parts.unwrap_or(plan.shards),
            checkpoint_every: args.checkpoint_every.unwrap_or(plan.checkpoint_every),
            without: args.without,
            ..plan
        },
        seed: args.seed,
        from: args.from,
        device: args.device,
        progress: context.output.progress(),
        interrupt: interrupt::flag(),
        ..TrainOptions::new(args.size, out, context.runs_dir())
    };
    let report = match tokio::task::block_in_place(|| train(&options)) {
        Err(error) if error.is_interruption() => return Err(interrupt::Interrupted::Resumable.into()),
        report => report?,
    };
    context.output.result(&report, || format!("weights in {}", options.out_dir.display()))?;
    Ok(())
}
