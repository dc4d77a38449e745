//! What the data commands share: opening the lake, showing progress, saying what was refused.

use anyhow::Context as _;
use kinora_harness::progress::{Mode, Progress as Bar};
use kinora_pipelines::{IngestReport, Lake, OnProgress};

use crate::Context;

pub(crate) async fn open_lake(context: &Context) -> anyhow::Result<Lake> {
    let storage = &context.config.storage;
    let dir = storage.lake();
    storage.create_data_dir().with_context(|| format!("cannot create {}", storage.data_dir.display()))?;
    Lake::open(&dir).await.with_context(|| format!("cannot open the lake in {}", dir.display()))
}

/// Runs `work` with its progress shown, one bar a stage.
pub(crate) async fn shown<T, E>(
    label: &str,
    mode: Mode,
    work: impl AsyncFnOnce(OnProgress<'_>) -> Result<T, E>,
) -> Result<T, E> {
    let mut bar: Option<(&'static str, Bar)> = None;
    let mut report = |progress: kinora_pipelines::Progress| {
        if bar.as_ref().is_none_or(|(stage, _)| *stage != progress.stage) {
            let total = progress.total.unwrap_or(0);
            bar = Some((progress.stage, Bar::new(format!("{label}: {}", progress.stage), total, mode)));
        }
        if let Some((_, bar)) = &mut bar {
            bar.set(progress.done, "");
        }
    };
    work(&mut report).await
}

/// What did not enter, and the first example of why, for the end of a sentence.
pub(crate) fn refused(report: &IngestReport) -> String {
    let mut text = String::new();
    if report.duplicates > 0 {
        text += &format!("; {} were there already", report.duplicates);
    }
    if report.quarantined > 0 {
        text += &format!("; {} rows quarantined", report.quarantined);
        if let Some(first) = &report.first_refused {
            text += &format!(" (row {}: {})", first.row, first.reason);
        }
    }
    text
}
