//! `kinora train clips`: a pixel model, from anyone's clips to weights.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kinora_harness::device::DeviceChoice;
use kinora_training::grid::train::{GridPlan, GridTrainOptions, train};
use kinora_training::grid::{Footage, GridSize};

use crate::{Context, interrupt};

/// Train a pixel model: a video autoencoder, a sound autoencoder and a transformer that draws both.
///
/// Clips that cannot be read are counted and named. Interrupted, the same command goes on where it was and
/// ends in the same weights.
#[derive(Debug, clap::Args)]
pub(crate) struct Clips {
    /// A folder of MP4 and WebM files with captions (`NAME.txt` or `captions.jsonl`); a folder of `WebDataset`
    /// shards with their manifest; `world` for the physics world; or `phyworld` for that benchmark's videos.
    #[arg(long, value_name = "SOURCE")]
    footage: PathBuf,
    /// micro, small, base, large, or phyworld-s, -b, -l, -xl. `micro` is for demonstrations on a CPU.
    #[arg(long, default_value = "micro")]
    size: GridSize,
    /// Where the model goes.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Clips of `world` and `phyworld` that are learned from.
    #[arg(long, default_value_t = 10_000)]
    clips: u64,
    /// Steps of the transformer.
    #[arg(long)]
    steps: Option<u64>,
    /// Steps of the two autoencoders.
    #[arg(long)]
    autoencoder_steps: Option<u64>,
    /// Clips in a step of the transformer.
    #[arg(long)]
    batch: Option<usize>,
    /// Parts of a step, whose gradients add up: more of them need less memory on a GPU.
    #[arg(long, value_name = "PARTS")]
    parts: Option<usize>,
    /// Compute the transformer's activations again in the backward pass instead of keeping them: far less memory
    /// for a third more time. The larger sizes always do.
    #[arg(long)]
    recompute: bool,
    /// Every stage for a few steps only: does the machinery work? The weights are of no use.
    #[arg(long, conflicts_with_all = ["steps", "autoencoder_steps", "batch"])]
    smoke: bool,
    /// auto, cpu, cuda:N or cuda:all.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(crate) fn run(args: Clips, context: &Context) -> anyhow::Result<()> {
    let plan = if args.smoke { GridPlan::smoke() } else { GridPlan::of(args.size) };
    let footage = footage(&args)?;
    let options = GridTrainOptions {
        plan: GridPlan {
            picture_steps: args.autoencoder_steps.unwrap_or(plan.picture_steps),
            sound_steps: args.autoencoder_steps.unwrap_or(plan.sound_steps),
            flow_steps: args.steps.unwrap_or(plan.flow_steps),
            flow_batch: args.batch.unwrap_or(plan.flow_batch),
            shards: args.parts.unwrap_or(plan.shards),
            recompute: args.recompute || plan.recompute,
            ..plan
        },
        seed: args.seed,
        device: args.device,
        progress: context.output.progress(),
        interrupt: interrupt::flag(),
        ..GridTrainOptions::new(args.size, footage, args.out, context.runs_dir())
    };
    let report = match tokio::task::block_in_place(|| train(&options)) {
        Err(error) if error.is_interruption() => return Err(interrupt::Interrupted::Resumable.into()),
        report => report?,
    };
    context.output.result(&report, || format!("weights in {}", options.out_dir.display()))?;
    Ok(())
}

fn footage(args: &Clips) -> anyhow::Result<Footage> {
    let (seed, clips) = (args.seed, args.clips);
    if args.footage == Path::new("world") {
        return Ok(Footage::World { seed, clips });
    }
    if args.footage == Path::new("phyworld") {
        return Ok(Footage::PhyWorld { seed, clips, gravity: kinora_training::phyworld::GRAVITY });
    }
    let path = std::path::absolute(&args.footage)
        .with_context(|| format!("cannot use {}", args.footage.display()))?;
    Ok(if path.join("manifest.json").is_file() { Footage::Shards(path) } else { Footage::Folder(path) })
}
