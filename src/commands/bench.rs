//! `kinora bench`: how fast a model is on this machine.

use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use clap::Subcommand;
use kinora_harness::device::{DeviceChoice, resolve};
use kinora_ranking::benchmark::{Load, Times, Training};
use kinora_ranking::retrieval::index::benchmark::{MethodReport, Vectors};
use kinora_training::benchmark::{BenchmarkOptions, benchmark};
use kinora_training::size::ModelSize;

use crate::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Model {
    /// Time a training step and a sampling step of the video+audio transformer.
    Video(Video),
    /// Time a page of the feed and a training step of the ranker.
    Ranker(Ranker),
    /// Measure how well and how fast the index of items finds.
    Index(Index),
}

/// Time the ranker on drawn people and clips: its network, its scores, a whole page, pages under load.
///
/// `tests/peers/ranker/bench.py ranker` times the same network in `PyTorch` and `ONNX Runtime`.
#[derive(Debug, clap::Args)]
pub(crate) struct Ranker {
    /// Clips that a page is chosen from.
    #[arg(long, default_value_t = 1500)]
    candidates: usize,
    /// Clips in the person's history.
    #[arg(long, default_value_t = 200)]
    history: usize,
    /// Calls of each kind that are timed.
    #[arg(long, default_value_t = 200)]
    pages: usize,
    /// Pages made at the same time under load, a core each [default: all cores].
    #[arg(long)]
    threads: Option<usize>,
}

/// Measure the graph and the exact index on vectors from a file, or on drawn ones.
///
/// `tests/peers/ranker/bench.py index` measures other libraries on the same vectors.
#[derive(Debug, clap::Args)]
pub(crate) struct Index {
    /// Little-endian 32-bit floats, row after row [default: drawn].
    #[arg(long, value_name = "FILE", requires = "queries")]
    vectors: Option<PathBuf>,
    /// What to look for, in the same layout: a file, or how many to draw.
    #[arg(long, value_name = "FILE|N", default_value = "1000")]
    queries: String,
    /// Vectors to draw.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    items: u32,
    /// Numbers of a vector.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    width: u32,
    /// Neighbours to find.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    count: u32,
    #[arg(long, default_value_t = 1)]
    seed: u64,
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
    match model {
        Model::Video(args) => video(&args, context),
        Model::Ranker(args) => ranker(&args, context),
        Model::Index(args) => index(&args, context),
    }
}

fn ranker(args: &Ranker, context: &Context) -> anyhow::Result<()> {
    let options = kinora_ranking::benchmark::BenchmarkOptions {
        candidates: args.candidates,
        history: args.history,
        pages: args.pages,
        threads: args.threads.unwrap_or_else(|| available_parallelism().map_or(1, usize::from)),
    };
    let report = tokio::task::block_in_place(|| kinora_ranking::benchmark::benchmark(options))?;
    context.output.result(&report, || {
        let row = |what: &str, times: Times| {
            format!("{what:<34}{:>8.2} ms{:>10.2} ms\n", times.median_ms, times.p99_ms)
        };
        let Load { threads, pages_per_s, median_ms, p99_ms } = report.load;
        let Training { batch, history, step_ms, examples_per_s } = report.train;
        format!(
            "{:<34}{:>11}{:>13}\n{}{}{}{}{pages_per_s:.0} pages a second on {threads} threads; training {examples_per_s:.0} \
             examples a second ({step_ms:.1} ms a step of {batch}, histories of {history})",
            format!("{} clips, history {}", report.candidates, report.history),
            "median",
            "99 %",
            row("network, one core", report.network),
            row("scores, one core", report.score),
            row("page, one core", report.page),
            row(&format!("page, {threads} at once"), Times { median_ms, p99_ms }),
        )
    })?;
    Ok(())
}

fn index(args: &Index, context: &Context) -> anyhow::Result<()> {
    let width = args.width as usize;
    let (items, queries) = match (&args.vectors, args.queries.parse()) {
        (Some(vectors), _) => {
            (Vectors::read(vectors, width)?, Vectors::read(Path::new(&args.queries), width)?)
        }
        (None, Ok(queries @ 1..=1_000_000)) => Vectors::draw(args.items as usize, queries, width, args.seed),
        (None, _) => {
            anyhow::bail!("`--queries {}`: without `--vectors` it is a number of 1 to 1000000", args.queries)
        }
    };
    let count = args.count as usize;
    let report = tokio::task::block_in_place(|| {
        kinora_ranking::retrieval::index::benchmark::benchmark(&items, &queries, count)
    })?;
    context.output.result(&report, || {
        let mut text = format!(
            "{} vectors of {}: graph built in {:.1} s on {} threads\n{:<8}{:>12}{:>14}{:>12}{:>12}",
            report.items,
            report.width,
            report.build_s,
            report.build_threads,
            "",
            format!("recall@{}", report.count),
            "queries/s",
            "median",
            "99 %"
        );
        for MethodReport { method, recall, queries_per_s, median_ms, p99_ms } in &report.methods {
            text += &format!(
                "\n{method:<8}{recall:>12.4}{queries_per_s:>14.0}{median_ms:>9.2} ms{p99_ms:>9.2} ms"
            );
        }
        text
    })?;
    Ok(())
}

fn video(args: &Video, context: &Context) -> anyhow::Result<()> {
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
