//! Moves the log's sealed events into the lake, exactly once.
//!
//! Each segment is one commit of the `events` table that carries (log, last offset) as its
//! application transaction. Stopped anywhere, it goes on where it was: a segment whose commit is in
//! is only deleted; one whose commit is not is taken again, and its events' ids are checked too.

use std::fs;

use kinora_schema::table::Table;
use kinora_schema::{Event, Rejection};
use serde::{Deserialize, Serialize};

use super::{EventLog, LogError, Segment, frame};
use crate::error::PipelineError;
use crate::ingest::{CHUNK_ROWS, IngestReport, Intake, Row};
use crate::lake::Lake;

/// What a compaction moved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompactReport {
    pub ingest: IngestReport,
    /// Segments moved and deleted.
    pub segments: u64,
    /// Bytes of the log that are free again.
    pub freed_bytes: u64,
    /// Small files of the lake that were merged into larger ones on the way.
    pub merged_files: u64,
}

/// Why a compaction stopped. The log still holds what the lake does not.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompactError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Lake(#[from] PipelineError),
}

/// Moves what the log holds now into the lake. Reads and deletes segments with blocking calls.
pub async fn compact(log: &EventLog, lake: &Lake, now_ms: i64) -> Result<CompactReport, CompactError> {
    let mut report = CompactReport::default();
    for segment in log.seal()? {
        report.ingest.add(move_segment(log, &segment, lake, now_ms).await?);
        report.freed_bytes += log.delete(&segment)?;
        report.segments += 1;
    }
    // Each segment adds a file for each day that it touches.
    if report.segments > 0 {
        match lake.merge_small_files(Table::Events).await {
            Ok(files) => report.merged_files = files,
            // The events are in: a table that stays slow is no reason to say that they are not.
            Err(error) => tracing::warn!(error = error.one_line(), "cannot merge the lake's small files"),
        }
    }
    Ok(report)
}

async fn move_segment(
    log: &EventLog,
    segment: &Segment,
    lake: &Lake,
    now_ms: i64,
) -> Result<IngestReport, CompactError> {
    let app_id = format!("kinora-event-log-{}", log.id);
    let end = segment.end as i64;
    if lake.has_committed(Table::Events, &app_id, end).await? {
        return Ok(IngestReport::default());
    }
    let contents = fs::read(&segment.path).map_err(LogError::io("read", &segment.path))?;
    let (records, bytes) = frame::count(&contents);
    if bytes != contents.len() || records != segment.end - segment.start {
        // A sealed segment was whole and synced: this is not a torn write, and skipping the rest
        // would lose acknowledged events without a word.
        return Err(LogError::Damaged { path: segment.path.clone(), position: bytes as u64 }.into());
    }
    let mut intake = Intake::begin(lake, "event-log", now_ms).await?;
    let mut payloads = frame::payloads(&contents).zip(segment.start..);
    loop {
        let rows: Vec<Row> = payloads.by_ref().take(CHUNK_ROWS).map(row).collect();
        if rows.is_empty() {
            break;
        }
        intake.take(rows).await?;
    }
    Ok(intake.finish_once(&app_id, end).await?)
}

fn row((payload, offset): (&[u8], u64)) -> Row {
    let event =
        serde_json::from_slice::<Event>(payload).map_err(|error| Rejection::Malformed(error.to_string()));
    let raw = event.is_err().then(|| String::from_utf8_lossy(payload).into_owned());
    Row { number: offset, event, raw }
}
