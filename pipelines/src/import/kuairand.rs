//! `KuaiRand` (Kuaishou's short-video impressions): a directory with the log and its attributes.
//!
//! Log files (`*.parquet` or `log_*.csv`, raw columns; derived ones are ignored) become impressions
//! and outcomes; `user_features*`, `video_features_basic*` become records; `user_sequences.parquet`
//! becomes histories. Source: Gao et al., `KuaiRand`, CIKM 2022, CC BY-SA 4.0.

mod attributes;
mod impressions;

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::catalog::{add_histories, upsert_users, upsert_videos};
use crate::error::{PipelineError, Result};
use crate::ingest::{IngestReport, Intake};
use crate::lake::Lake;
use crate::progress::{OnProgress, Progress};

/// What an import brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KuaiRandReport {
    pub users: u64,
    pub videos: u64,
    pub history_items: u64,
    /// Rows of the logs; each becomes an impression and its outcomes, or is quarantined.
    pub rows: u64,
    pub events: IngestReport,
}

/// The files of a directory, by what they hold.
#[derive(Debug, Default)]
struct Files {
    logs: Vec<PathBuf>,
    users: Vec<PathBuf>,
    videos: Vec<PathBuf>,
    histories: Vec<PathBuf>,
}

/// Imports a directory. Reads from the disk as it goes: run it where blocking is allowed.
pub async fn import_kuairand(
    lake: &Lake,
    directory: &Path,
    now_ms: i64,
    progress: OnProgress<'_>,
) -> Result<KuaiRandReport> {
    let files = Files::find(directory)?;
    let mut report = KuaiRandReport::default();
    let stage = |stage, done| Progress { stage, done, total: None };
    for path in &files.users {
        report.users += upsert_users(lake, &attributes::read_users(path)?, now_ms).await?;
        progress(stage("importing people", report.users));
    }
    for path in &files.videos {
        report.videos += upsert_videos(lake, &attributes::read_videos(path)?, now_ms).await?;
        progress(stage("importing clips", report.videos));
    }
    for path in &files.histories {
        report.history_items += add_histories(lake, &attributes::read_histories(path)?).await?;
        progress(stage("importing histories", report.history_items));
    }
    // One ingest for all logs: they enter together or not at all.
    let mut intake = Intake::begin(lake, "kuairand", now_ms).await?;
    let mut repeats = impressions::Repeats::default();
    for path in &files.logs {
        let mut log = impressions::Log::open(path)?;
        while let Some(taken) = log.next(report.rows, &mut repeats)? {
            report.rows += taken.log_rows;
            intake.take(taken.rows).await?;
            progress(stage("importing impressions", report.rows));
        }
    }
    report.events = intake.finish().await?;
    Ok(report)
}

impl Files {
    fn find(directory: &Path) -> Result<Self> {
        let mut files = Self::default();
        for entry in fs::read_dir(directory).map_err(PipelineError::io("read", directory))? {
            let path = entry.map_err(PipelineError::io("read", directory))?.path();
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let (is_csv, is_parquet) = (is_csv(&path), has_extension(&path, "parquet"));
            if is_csv && name.starts_with("user_features") {
                files.users.push(path);
            } else if is_csv && name.starts_with("video_features_basic") {
                files.videos.push(path);
            } else if is_parquet && name.starts_with("user_sequences") {
                files.histories.push(path);
            } else if is_parquet || (is_csv && name.starts_with("log_")) {
                files.logs.push(path);
            }
        }
        // A directory is listed in no order, and the order decides which of two equal rows is first.
        files.logs.sort();
        if files.logs.is_empty() {
            return Err(PipelineError::NothingToImport {
                path: directory.to_owned(),
                expected: "KuaiRand's logs (*.parquet or log_*.csv)",
            });
        }
        Ok(files)
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// A CSV file, plain or gzip.
fn is_csv(path: &Path) -> bool {
    has_extension(path, "csv")
        || (has_extension(path, "gz") && has_extension(&path.with_extension(""), "csv"))
}

#[cfg(test)]
mod tests;
