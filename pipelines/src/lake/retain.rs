//! How long the lake keeps what: old events, refused rows, and the earlier versions of every table.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::boolean::not;
use arrow::datatypes::Int64Type;
use deltalake::operations::vacuum::VacuumMode;
use deltalake::protocol::DeltaOperation;
use deltalake::protocol::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake::{DeltaTable, DeltaTableError};
use futures::StreamExt as _;
use kinora_schema::table::Table;
use serde::{Deserialize, Serialize};

use super::Lake;
use super::files::{Change, commit, files_of};
use crate::error::{PipelineError, Result};
use crate::event_batch::event_date;

const DAY_MS: i64 = 86_400_000;
/// A file that no version names may be of an append that is under way; one this old is of none.
const UNDER_WAY: Duration = Duration::from_hours(24);

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long the lake can be read as it was. What was erased or dropped is gone from the disk after this time, and
    /// a training set that names older versions cannot be built again.
    pub history: Duration,
    /// Days of events, by the day they happened on; all of them where nothing is said.
    pub events_days: Option<u32>,
    /// Days that refused rows are kept.
    pub quarantine_days: Option<u32>,
}

/// What was let go of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retained {
    /// UTC days whose events were dropped.
    pub dropped_days: Vec<String>,
    pub dropped_quarantine_rows: u64,
    /// Data files deleted that only earlier versions held, or none.
    pub deleted_files: u64,
    /// Entries deleted from the tables' histories.
    pub deleted_log_entries: u64,
}

/// A version of a table, as its history tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    pub version: u64,
    pub time_ms: i64,
    /// What made it, for example `WRITE`, `DELETE` or `OPTIMIZE`.
    pub operation: String,
}

impl Lake {
    /// Lets go of what has been kept for long enough. Readers of versions that are older than `history` fail from
    /// then on, also those that are reading.
    pub async fn retain(&self, retention: &Retention, now_ms: i64) -> Result<Retained> {
        let mut retained = Retained::default();
        if let Some(days) = retention.events_days {
            retained.dropped_days = self.drop_events_before(now_ms - i64::from(days) * DAY_MS).await?;
        }
        if let Some(days) = retention.quarantine_days {
            let change = Arc::new(Older { than_ms: now_ms - i64::from(days) * DAY_MS });
            retained.dropped_quarantine_rows = self.rewrite(Table::Quarantine, change).await?.removed_rows;
        }
        for table in Table::ALL {
            let (files, entries) = self.forget(table, retention.history).await?;
            retained.deleted_files += files;
            retained.deleted_log_entries += entries;
        }
        Ok(retained)
    }

    /// The versions of a table that can still be read, the latest first.
    pub async fn history(&self, table: Table) -> Result<Vec<Version>> {
        let failed = PipelineError::delta("read the history of", self.table_path(table));
        let opened = self.current(table).await?.get(&table).cloned();
        let read = async {
            let opened = opened.ok_or(DeltaTableError::NotInitialized)?;
            let mut version = opened.version();
            let mut commits = opened.history(None);
            let mut versions = Vec::new();
            while let (Some(commit), Some(number)) = (commits.next().await, version) {
                let commit = commit?;
                versions.push(Version {
                    version: number,
                    time_ms: commit.timestamp.unwrap_or_default(),
                    operation: commit.operation.unwrap_or_default(),
                });
                version = number.checked_sub(1);
            }
            Ok(versions)
        };
        read.await.map_err(failed)
    }

    /// Whole days at a time: nothing is rewritten.
    async fn drop_events_before(&self, time_ms: i64) -> Result<Vec<String>> {
        let table = Table::Events;
        let _lock = self.lock_for_ingest().await?;
        let failed = |error| PipelineError::delta("drop old events of", self.table_path(table))(error);
        let opened = self.current(table).await?.get(&table).cloned();
        let opened = opened.ok_or(DeltaTableError::NotInitialized).map_err(failed)?;
        let first_kept = event_date(time_ms);
        let mut old = files_of(&opened, table, true).await.map_err(failed)?;
        old.retain(|file| file.partition < first_kept);
        let mut days: Vec<String> = old.iter().map(|file| file.partition.clone()).collect();
        days.dedup();
        if !old.is_empty() {
            let removes = old.into_iter().map(|file| file.remove).collect();
            let operation =
                DeltaOperation::Delete { predicate: Some(format!("event_date < '{first_kept}'")) };
            commit(&opened, removes, Vec::new(), operation).await.map_err(failed)?;
        }
        Ok(days)
    }

    /// Deletes the files and the history that only versions before `history` need.
    async fn forget(&self, table: Table, history: Duration) -> Result<(u64, u64)> {
        let _lock = self.lock_for_ingest().await?;
        let failed = PipelineError::delta("delete earlier versions of", self.table_path(table));
        let opened = self.current(table).await?.get(&table).cloned();
        let forget = async {
            let mut opened = opened.ok_or(DeltaTableError::NotInitialized)?;
            let mut files = 0;
            for (mode, age) in [(VacuumMode::Lite, history), (VacuumMode::Full, history.max(UNDER_WAY))] {
                files += self.vacuum(table, &mut opened, mode, age).await?;
            }
            let version = opened.version().unwrap_or_default();
            let checkpoint = format!("_delta_log/{version:020}.checkpoint.parquet");
            if !self.table_path(table).join(checkpoint).exists() {
                create_checkpoint(&opened, None).await?;
            }
            // An entry of this very moment is before the next.
            let now =
                SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_secs(1);
            let until_ms = now.saturating_sub(history).as_millis() as i64;
            let entries =
                cleanup_expired_logs_for(version, opened.log_store().as_ref(), until_ms, None).await?;
            Ok((files, entries as u64))
        };
        let forgotten = forget.await.map_err(failed)?;
        // What this handle has read of the history may be gone.
        self.inner.tables.lock().await.remove(&table);
        Ok(forgotten)
    }

    async fn vacuum(
        &self,
        table: Table,
        opened: &mut DeltaTable,
        mode: VacuumMode,
        age: Duration,
    ) -> Result<u64, DeltaTableError> {
        let age = chrono::Duration::from_std(age).unwrap_or(chrono::Duration::MAX);
        let builder = || {
            let vacuum = opened.clone().vacuum().with_mode(mode.clone());
            vacuum.with_retention_period(age).with_enforce_retention_duration(false)
        };
        // The table remembers files for a week after they were removed, also those that are deleted by now; and two
        // commits say that files were deleted.
        let (_, due) = builder().with_dry_run(true).await?;
        let there =
            due.files_deleted.iter().filter(|file| self.table_path(table).join(file).exists()).count();
        if there > 0 {
            (*opened, _) = builder().await?;
            opened.update_state().await?;
        }
        Ok(there as u64)
    }
}

/// Rows that were refused before a time.
struct Older {
    than_ms: i64,
}

impl Change for Older {
    fn columns(&self) -> &'static [&'static str] {
        &["ingested_time_ms"]
    }

    fn concerns(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let times = batch
            .column_by_name("ingested_time_ms")
            .and_then(|column| column.as_primitive_opt::<Int64Type>());
        let times = times.into_iter().flatten();
        Ok(times.map(|time| Some(time.is_some_and(|time| time < self.than_ms))).collect())
    }

    fn apply(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let kept = not(&self.concerns(&batch)?).map_err(PipelineError::Arrow)?;
        filter_record_batch(&batch, &kept).map_err(PipelineError::Arrow)
    }
}
