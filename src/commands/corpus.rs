//! `kinora corpus render`: clips of the physics world, with the truth beside them.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Subcommand;
use kinora_harness::progress::Progress;
use kinora_training::world::export::{ExportError, ExportOptions, render_to};

use crate::{Context, interrupt};

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// Render clips with sound, captions and everything that is known of them, as WebDataset shards in a new
    /// directory.
    Render(Render),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Render {
    #[arg(long)]
    out: PathBuf,
    #[arg(long, default_value_t = 16)]
    count: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Width and height of the pictures, in pixels.
    #[arg(long, default_value_t = 256)]
    size: usize,
    /// The most clips in a shard.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    shard_clips: u64,
}

pub(crate) fn run(action: Action, context: &Context) -> anyhow::Result<()> {
    let Action::Render(render) = action;
    let interrupt = interrupt::flag();
    let mut bar = Progress::new("rendering", render.count, context.output.progress());
    let rendered = tokio::task::block_in_place(|| {
        let options = ExportOptions {
            count: render.count,
            seed: render.seed,
            size: render.size,
            shard_clips: render.shard_clips as usize,
        };
        render_to(&render.out, options, &mut |done, _| {
            bar.set(done, "clips");
            if interrupt.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    });
    let manifest = match rendered {
        Err(ExportError::Interrupted { .. }) => return Err(interrupt::Interrupted::Abandoned.into()),
        rendered => rendered?,
    };
    context.output.result(&manifest, || {
        format!(
            "{} clips of {size}x{size} in {} shards in {}",
            manifest.clips,
            manifest.shards.len(),
            render.out.display(),
            size = render.size
        )
    })?;
    Ok(())
}
