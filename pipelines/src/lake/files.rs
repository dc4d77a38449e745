//! A table's files as they are, and the rewriting of some of them.
//!
//! INVARIANT: a rewrite is one commit: whoever reads sees all of it or nothing. The files that it replaced stay
//! for readers of earlier versions until [`Lake::retain`](super::Lake::retain) lets go of those.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, new_null_array};
use deltalake::kernel::transaction::{CommitBuilder, CommitProperties};
use deltalake::kernel::{Action, Add};
use deltalake::protocol::DeltaOperation;
use deltalake::writer::{DeltaWriter, RecordBatchWriter};
use deltalake::{DeltaTable, DeltaTableError};
use futures::TryStreamExt;
use kinora_schema::table::Table;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Lake, writer_properties};
use crate::error::{PipelineError, Result};

/// A file of a table's latest version.
#[derive(Clone, Debug)]
pub(super) struct DataFile {
    /// Below the table's directory.
    pub(super) path: String,
    pub(super) bytes: i64,
    /// The value of the column that its directory stands for, where the table has one.
    pub(super) partition: String,
    pub(super) remove: Action,
}

/// The files of a table's latest version. `is_change` tells whether leaving them out changes what the table holds.
pub(super) async fn files_of(
    opened: &DeltaTable,
    table: Table,
    is_change: bool,
) -> Result<Vec<DataFile>, DeltaTableError> {
    let log_store = opened.log_store();
    let mut views = opened.snapshot()?.snapshot().file_views(log_store.as_ref(), None);
    let mut files = Vec::new();
    while let Some(view) = views.try_next().await? {
        let values = view.partition_values_map();
        let partition = table.partitions().first().and_then(|column| values.get(*column).cloned().flatten());
        files.push(DataFile {
            path: view.path().into_owned(),
            bytes: view.size(),
            partition: partition.unwrap_or_default(),
            remove: Action::Remove(view.remove_action(is_change)),
        });
    }
    files.sort_by(|a, b| (&a.partition, &a.path).cmp(&(&b.partition, &b.path)));
    Ok(files)
}

/// Makes one version of a table out of removed and added files.
pub(super) async fn commit(
    opened: &DeltaTable,
    removes: Vec<Action>,
    adds: Vec<Add>,
    operation: DeltaOperation,
) -> Result<u64, DeltaTableError> {
    let actions = adds.into_iter().map(Action::Add).chain(removes).collect();
    let committed = CommitBuilder::from(CommitProperties::default())
        .with_actions(actions)
        .build(Some(opened.snapshot()?), opened.log_store(), operation)
        .await?;
    Ok(committed.version())
}

/// The batch in the table's schema: with the column that its directory stands for, and nulls for columns that the
/// table did not have when the file was written.
pub(super) fn in_schema(batch: &RecordBatch, table: Table, partition: &str) -> Result<RecordBatch> {
    let schema = table.schema();
    let rows = batch.num_rows();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None if table.partitions().contains(&field.name().as_str()) => {
                Arc::new(StringArray::from_iter_values((0..rows).map(|_| partition))) as ArrayRef
            }
            None => new_null_array(field.data_type(), rows),
        })
        .collect();
    RecordBatch::try_new(schema, columns).map_err(PipelineError::Arrow)
}

/// What is to become of some rows of a table.
pub(super) trait Change: Send + Sync + 'static {
    /// The columns that tell which rows are concerned.
    fn columns(&self) -> &'static [&'static str];
    /// Which rows are concerned, from a batch of at least those columns.
    fn concerns(&self, batch: &RecordBatch) -> Result<BooleanArray>;
    /// What becomes of a batch of all columns.
    fn apply(&self, batch: RecordBatch) -> Result<RecordBatch>;
}

/// What a rewrite did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rewritten {
    pub(super) files: u64,
    pub(super) removed_rows: u64,
    pub(super) changed_rows: u64,
}

impl Lake {
    /// Applies a change to a table's rows: files without any row that is concerned stay as they are.
    pub(super) async fn rewrite(&self, table: Table, change: Arc<dyn Change>) -> Result<Rewritten> {
        let _lock = self.lock_for_ingest().await?;
        let directory = self.table_path(table);
        let failed = |error| PipelineError::delta("rewrite files of", &directory)(error);
        let opened = self.current(table).await?.get(&table).cloned();
        let opened = opened.ok_or(DeltaTableError::NotInitialized).map_err(failed)?;
        let mut writer = RecordBatchWriter::for_table(&opened)
            .map_err(failed)?
            .with_writer_properties(writer_properties());
        let (mut done, mut removes, mut adds) = (Rewritten::default(), Vec::new(), Vec::new());
        for file in files_of(&opened, table, true).await.map_err(failed)? {
            let (path, change) = (directory.join(&file.path), Arc::clone(&change));
            let partition = file.partition.clone();
            let changed = move || changed(&path, table, &partition, change.as_ref());
            let changed = tokio::task::spawn_blocking(changed).await.map_err(PipelineError::Stopped)??;
            let Some(Changed { batches, concerned, removed }) = changed else { continue };
            for batch in batches {
                writer.write(batch).await.map_err(failed)?;
            }
            // File by file, which bounds the memory.
            adds.extend(writer.flush().await.map_err(failed)?);
            removes.push(file.remove);
            done.files += 1;
            done.removed_rows += removed;
            done.changed_rows += concerned - removed;
        }
        if done.files > 0 {
            // Without a predicate: it would write into the history what is being taken out of it.
            let operation = DeltaOperation::Delete { predicate: None };
            commit(&opened, removes, adds, operation).await.map_err(failed)?;
        }
        Ok(done)
    }
}

/// What a file becomes.
struct Changed {
    batches: Vec<RecordBatch>,
    concerned: u64,
    removed: u64,
}

/// What a file becomes; nothing where no row of it is concerned.
fn changed(path: &PathBuf, table: Table, partition: &str, change: &dyn Change) -> Result<Option<Changed>> {
    let unreadable = |error: parquet::errors::ParquetError| PipelineError::parquet(path)(error);
    let open = || {
        let file = File::open(path).map_err(PipelineError::io("open", path))?;
        ParquetRecordBatchReaderBuilder::try_new(file).map_err(unreadable)
    };
    let builder = open()?;
    let mask = ProjectionMask::columns(builder.parquet_schema(), change.columns().iter().copied());
    let mut concerned = 0;
    for batch in builder.with_projection(mask).build().map_err(unreadable)? {
        let batch = batch.map_err(|error| unreadable(error.into()))?;
        concerned += change.concerns(&batch)?.true_count() as u64;
    }
    if concerned == 0 {
        return Ok(None);
    }
    let (mut batches, mut removed) = (Vec::new(), 0);
    for batch in open()?.build().map_err(unreadable)? {
        let batch = batch.map_err(|error| unreadable(error.into()))?;
        let before = batch.num_rows();
        let batch = change.apply(in_schema(&batch, table, partition)?)?;
        removed += (before - batch.num_rows()) as u64;
        batches.push(batch);
    }
    Ok(Some(Changed { batches, concerned, removed }))
}
