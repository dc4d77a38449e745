//! `kinora import`: public data sets into the lake.

use std::path::PathBuf;

use clap::Subcommand;
use kinora_pipelines::import::kuairand::import_kuairand;
use kinora_pipelines::import::movielens::import_movielens;
use kinora_serving::clock::Clock;

use super::lake::{open_lake, refused, shown};
use crate::Context;

#[derive(Debug, Subcommand)]
pub(crate) enum Source {
    /// A directory of KuaiRand files: impressions, people, clips and histories.
    Kuairand {
        /// Holds the log (`*.parquet` or `log_*.csv`) and, where present, the features and sequences.
        dir: PathBuf,
    },
    /// MovieLens as the sequential-recommendation papers use it: a "user item" line each, plain or gzip.
    Movielens { file: PathBuf },
}

pub(crate) async fn run(source: Source, context: &Context) -> anyhow::Result<()> {
    let lake = open_lake(context).await?;
    let now_ms = Clock::system().now_ms();
    let mode = context.output.progress();
    match source {
        Source::Kuairand { dir } => {
            let report =
                shown("import", mode, async |progress| import_kuairand(&lake, &dir, now_ms, progress).await)
                    .await?;
            let text = format!(
                "{} rows became {} events; {} people, {} clips and {} history items known{}",
                report.rows,
                report.events.accepted,
                report.users,
                report.videos,
                report.history_items,
                refused(&report.events)
            );
            context.output.result(&report, || text)?;
        }
        Source::Movielens { file } => {
            let report = shown("import", mode, async |progress| {
                import_movielens(&lake, &file, now_ms, progress).await
            })
            .await?;
            let text = format!(
                "{} interactions of {} users with {} items{}{}",
                report.events.accepted,
                report.users,
                report.items,
                if report.is_published_ml_1m {
                    "; this is the ml-1m file of the published tables"
                } else {
                    ""
                },
                refused(&report.events)
            );
            context.output.result(&report, || text)?;
        }
    }
    Ok(())
}
