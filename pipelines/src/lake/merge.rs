//! Many small files into few: what keeps a table that grows by a file every few seconds quick to
//! read.
//!
//! INVARIANT: no row is added, lost or changed. The old files stay for readers of earlier versions
//! until [`Lake::retain`] lets go of those.

use std::collections::BTreeMap;
use std::fs::File;

use deltalake::DeltaTableError;
use deltalake::protocol::DeltaOperation;
use deltalake::writer::{DeltaWriter, RecordBatchWriter};
use kinora_schema::table::Table;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::files::{DataFile, commit, files_of, in_schema};
use super::{Lake, writer_properties};
use crate::error::{PipelineError, Result};

/// Files below this size are small, in bytes.
const SMALL_BYTES: i64 = 8 << 20;
/// So many small files of one partition are merged.
const FILES_TO_MERGE: usize = 32;

impl Lake {
    /// Merges the small files of each partition that has many; returns how many files it replaced.
    pub async fn merge_small_files(&self, table: Table) -> Result<u64> {
        let mut lock = self.lock_for_ingest().await?;
        let path = self.table_path(table);
        let failed = |error| PipelineError::delta("merge the small files of", &path)(error);
        let opened = {
            let tables = self.current(table).await?;
            tables.get(&table).cloned().ok_or(DeltaTableError::NotInitialized).map_err(failed)?
        };
        let mut due: BTreeMap<String, Vec<DataFile>> = BTreeMap::new();
        for file in files_of(&opened, table, false).await.map_err(failed)? {
            if file.bytes < SMALL_BYTES {
                due.entry(file.partition.clone()).or_default().push(file);
            }
        }
        due.retain(|_, files| files.len() >= FILES_TO_MERGE);
        if due.is_empty() {
            return Ok(0);
        }

        let mut writer = RecordBatchWriter::for_table(&opened)
            .map_err(failed)?
            .with_writer_properties(writer_properties());
        for (partition, files) in &due {
            for file in files {
                self.copy(table, partition, &file.path, &mut writer).await?;
            }
        }
        let mut adds = writer.flush().await.map_err(failed)?;
        for add in &mut adds {
            // Streaming readers need not read these rows again.
            add.data_change = false;
        }

        let removes: Vec<_> = due.into_values().flatten().map(|file| file.remove).collect();
        let replaced = removes.len() as u64;
        let operation = DeltaOperation::Optimize { predicate: None, target_size: SMALL_BYTES };
        let before = opened.version().unwrap_or_default();
        commit(&opened, removes, adds, operation).await.map_err(failed)?;
        if table == Table::Events {
            lock.stored.follow(before, self.version(table).await?);
        }
        Ok(replaced)
    }

    /// Copies a file's rows, in their order, putting back the column that its directory stands for.
    async fn copy(
        &self,
        table: Table,
        partition: &str,
        file: &str,
        writer: &mut RecordBatchWriter,
    ) -> Result<()> {
        let path = self.table_path(table).join(file);
        let opened = File::open(&path).map_err(PipelineError::io("open", &path))?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(opened)
            .and_then(ParquetRecordBatchReaderBuilder::build)
            .map_err(PipelineError::parquet(&path))?;
        for batch in reader {
            let batch = batch.map_err(|error| PipelineError::parquet(&path)(error.into()))?;
            let batch = in_schema(&batch, table, partition)?;
            writer.write(batch).await.map_err(PipelineError::delta("write", self.table_path(table)))?;
        }
        Ok(())
    }
}
