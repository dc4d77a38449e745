//! Many small files into few: what keeps a table that grows by a file every few seconds quick to
//! read.
//!
//! INVARIANT: no row is added, lost or changed. The old files stay for readers of earlier versions
//! until Delta's retention (a week) has passed.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use deltalake::kernel::Action;
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::protocol::DeltaOperation;
use deltalake::writer::{DeltaWriter, RecordBatchWriter};
use deltalake::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;
use kinora_schema::table::Table;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Lake, writer_properties};
use crate::error::{PipelineError, Result};

/// Files below this size are small, in bytes.
const SMALL_BYTES: i64 = 8 << 20;
/// So many small files of one partition are merged.
const FILES_TO_MERGE: usize = 32;

/// The small files of one partition: the actions that remove them, by path.
type SmallFiles = BTreeMap<String, Action>;

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
        let mut due = small_files(&opened, table).await.map_err(failed)?;
        due.retain(|_, files| files.len() >= FILES_TO_MERGE);
        if due.is_empty() {
            return Ok(0);
        }

        let mut writer = RecordBatchWriter::for_table(&opened)
            .map_err(failed)?
            .with_writer_properties(writer_properties());
        for (partition, files) in &due {
            for file in files.keys() {
                self.copy(table, partition, file, &mut writer).await?;
            }
        }
        let mut adds = writer.flush().await.map_err(failed)?;
        for add in &mut adds {
            // Streaming readers need not read these rows again.
            add.data_change = false;
        }

        let removes: Vec<Action> = due.into_values().flat_map(SmallFiles::into_values).collect();
        let replaced = removes.len() as u64;
        let actions = adds.into_iter().map(Action::Add).chain(removes).collect();
        let operation = DeltaOperation::Optimize { predicate: None, target_size: SMALL_BYTES };
        CommitBuilder::from(CommitProperties::default())
            .with_actions(actions)
            .build(Some(opened.snapshot().map_err(failed)?), opened.log_store(), operation)
            .await
            .map_err(failed)?;
        let before = opened.version().unwrap_or_default();
        opened.vacuum().await.map_err(failed)?;
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
            let batch = with_partition(&batch, table, partition)?;
            writer.write(batch).await.map_err(PipelineError::delta("write", self.table_path(table)))?;
        }
        Ok(())
    }
}

async fn small_files(
    opened: &DeltaTable,
    table: Table,
) -> Result<BTreeMap<String, SmallFiles>, DeltaTableError> {
    let log_store = opened.log_store();
    let mut files = opened.snapshot()?.snapshot().file_views(log_store.as_ref(), None);
    let mut small: BTreeMap<String, SmallFiles> = BTreeMap::new();
    while let Some(file) = files.try_next().await? {
        if file.size() < SMALL_BYTES {
            let values = file.partition_values_map();
            let partition =
                table.partitions().first().and_then(|column| values.get(*column).cloned().flatten());
            let remove = Action::Remove(file.remove_action(false));
            small.entry(partition.unwrap_or_default()).or_default().insert(file.path().into_owned(), remove);
        }
    }
    Ok(small)
}

fn with_partition(batch: &RecordBatch, table: Table, partition: &str) -> Result<RecordBatch> {
    let schema = table.schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None => {
                Arc::new(StringArray::from_iter_values((0..batch.num_rows()).map(|_| partition))) as ArrayRef
            }
        })
        .collect();
    RecordBatch::try_new(schema, columns).map_err(PipelineError::Arrow)
}
