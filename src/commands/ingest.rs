//! `kinora ingest`: a file of events into the lake.

use std::path::PathBuf;

use kinora_pipelines::ingest_file;
use kinora_serving::clock::Clock;

use super::lake::{open_lake, refused, shown};
use crate::Context;

/// Ingest a file of events: JSON lines (plain or gzip), or Parquet of the event schema.
///
/// Bad rows are kept in the `quarantine` table with their reasons; rows whose event id is known are
/// counted and left alone, so that the same file can be ingested again.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Each row has `event_id` (a UUID), `kind`, `event_time_ms` and `user_id`, and what its kind needs.
    file: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let lake = open_lake(context).await?;
    let now_ms = Clock::system().now_ms();
    let report = shown("ingest", context.output.progress(), async |progress| {
        ingest_file(&lake, &args.file, now_ms, progress).await
    })
    .await?;
    anyhow::ensure!(
        report.accepted + report.duplicates > 0 || report.quarantined == 0,
        "no row of {} is an event: all {} are in quarantine; \
         `kinora sql \"SELECT row, reason FROM quarantine\"` says why",
        args.file.display(),
        report.quarantined
    );
    context.output.result(&report, || format!("{} events accepted{}", report.accepted, refused(&report)))?;
    Ok(())
}
