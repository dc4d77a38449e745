//! A person out of the lake.
//!
//! INVARIANT: what others did stays and no longer says whose clip it was; what the person did, had or was is gone
//! from every table's latest version in one commit each, and nothing written for that names them. Earlier versions
//! go with [`Lake::retain`], after which [`Lake::traces`] finds nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::kernels::boolean::{not, or};
use arrow::compute::{filter_record_batch, nullif};
use arrow::datatypes::DataType;
use kinora_schema::UserId;
use kinora_schema::table::Table;
use serde::{Deserialize, Serialize};

use super::Lake;
use super::files::{Change, Rewritten};
use super::trace::mentions;
use crate::error::{PipelineError, Result};

/// What an erasure did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Rows removed, by table.
    pub removed_rows: BTreeMap<String, u64>,
    /// Rows of others that no longer name the person as a clip's creator.
    pub anonymised_rows: u64,
    /// Files that were written anew.
    pub rewritten_files: u64,
}

impl Lake {
    /// Takes a person out of every table. Twice is as good as once.
    ///
    /// Earlier versions of the tables still hold them until [`Lake::retain`] lets go of those versions. Events that
    /// wait in a log are not in the lake: move them first.
    pub async fn erase(&self, user: &UserId) -> Result<Erased> {
        let mut erased = Erased::default();
        for table in Table::ALL {
            let change = Arc::new(Erasure { table, user: user.clone() });
            let Rewritten { files, removed_rows, changed_rows } = self.rewrite(table, change).await?;
            erased.removed_rows.insert(table.name().to_owned(), removed_rows);
            erased.anonymised_rows += changed_rows;
            erased.rewritten_files += files;
        }
        Ok(erased)
    }
}

struct Erasure {
    table: Table,
    user: UserId,
}

impl Erasure {
    /// Rows that are the person's own.
    fn own(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        match self.table {
            Table::Events | Table::Users | Table::Histories => self.named(batch, "user_id"),
            Table::Videos => self.named(batch, "creator_id"),
            // A refused row may hold anything: one that mentions them is theirs.
            Table::Quarantine => {
                let raw = text(batch, "raw")?;
                let reason = text(batch, "reason")?;
                let mentioned = |column: &ArrayRef| -> BooleanArray {
                    column
                        .as_string::<i32>()
                        .iter()
                        .map(|text| Some(mentions(text.unwrap_or_default(), self.user.as_str())))
                        .collect()
                };
                or(&mentioned(&raw), &mentioned(&reason)).map_err(PipelineError::Arrow)
            }
        }
    }

    /// Where a column is the person's id; never null.
    fn named(&self, batch: &RecordBatch, column: &str) -> Result<BooleanArray> {
        let column = text(batch, column)?;
        Ok(column.as_string::<i32>().iter().map(|value| Some(value == Some(self.user.as_str()))).collect())
    }
}

impl Change for Erasure {
    fn columns(&self) -> &'static [&'static str] {
        match self.table {
            Table::Events => &["user_id", "creator_id"],
            Table::Users | Table::Histories => &["user_id"],
            Table::Videos => &["creator_id"],
            Table::Quarantine => &["raw", "reason"],
        }
    }

    fn concerns(&self, batch: &RecordBatch) -> Result<BooleanArray> {
        let own = self.own(batch)?;
        match self.table {
            Table::Events => or(&own, &self.named(batch, "creator_id")?).map_err(PipelineError::Arrow),
            _ => Ok(own),
        }
    }

    fn apply(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let others = not(&self.own(&batch)?).map_err(PipelineError::Arrow)?;
        let batch = filter_record_batch(&batch, &others).map_err(PipelineError::Arrow)?;
        if self.table != Table::Events {
            return Ok(batch);
        }
        let theirs = self.named(&batch, "creator_id")?;
        let schema = batch.schema();
        let (at, _) = schema.column_with_name("creator_id").ok_or_else(|| missing("creator_id"))?;
        let mut columns = batch.columns().to_vec();
        columns[at] = nullif(&columns[at], &theirs).map_err(PipelineError::Arrow)?;
        RecordBatch::try_new(schema, columns).map_err(PipelineError::Arrow)
    }
}

fn text(batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let column = batch.column_by_name(name).ok_or_else(|| missing(name))?;
    if column.data_type() == &DataType::Utf8 {
        return Ok(Arc::clone(column));
    }
    arrow::compute::cast(column, &DataType::Utf8).map_err(PipelineError::Arrow)
}

fn missing(name: &str) -> PipelineError {
    PipelineError::Arrow(arrow::error::ArrowError::SchemaError(format!("there is no column `{name}`")))
}
