//! `kinora compact`: acknowledged events from the event log into the lake.

use anyhow::Context as _;
use kinora_pipelines::log::CompactReport;
use kinora_pipelines::{EventLog, Lake, compact};
use kinora_serving::clock::Clock;

use super::lake::{open_lake, refused};
use crate::Context;

/// Move acknowledged events from the event log into the lake. A running `kinora serve` does this
/// by itself; this is for an installation that is stopped.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let report = move_log(&open_lake(context).await?, context).await?;
    context.output.result(&report, || {
        format!(
            "{} segments moved, {} events accepted{}; {} bytes freed",
            report.segments,
            report.ingest.accepted,
            refused(&report.ingest),
            report.freed_bytes
        )
    })?;
    Ok(())
}

/// Moves what the event log holds into the lake.
///
/// # Errors
///
/// A log that a running server holds open.
pub(crate) async fn move_log(lake: &Lake, context: &Context) -> anyhow::Result<CompactReport> {
    let dir = context.config.storage.log();
    let log = EventLog::open(&dir, context.config.limits.event_log_bytes)
        .with_context(|| format!("cannot open the event log in {}", dir.display()))?;
    Ok(compact(&log, lake, Clock::system().now_ms()).await?)
}
