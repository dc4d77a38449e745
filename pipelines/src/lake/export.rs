//! Everything that the lake holds of a person, as files that they can take away.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use datafusion::functions::unicode::expr_fn::strpos;
use datafusion::prelude::{Expr, cast, col, lit};
use futures::StreamExt as _;
use kinora_schema::UserId;
use kinora_schema::table::Table;
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};

use super::trace::mentions;
use super::{Lake, writer_properties};
use crate::durable::{create_directory, sync};
use crate::error::{PipelineError, Result};

/// What was written, and the versions of the tables that it was read from. Written last, as `manifest.json`: an
/// export without it was interrupted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    pub user_id: String,
    pub rows: BTreeMap<String, u64>,
    pub versions: BTreeMap<String, u64>,
}

impl Lake {
    /// Writes what the lake holds of a person into a new directory: for each table a Parquet file and a file of JSON
    /// lines of the same rows. What others did with the person's clips is about those others, and is not in it.
    ///
    /// # Errors
    ///
    /// A directory with something in it.
    pub async fn export(&self, user: &UserId, directory: &Path) -> Result<Exported> {
        create_directory(directory).map_err(PipelineError::io("create", directory))?;
        let mut entries = fs::read_dir(directory).map_err(PipelineError::io("read", directory))?;
        if entries.next().is_some() {
            let problem = std::io::Error::other("there is something in it: give a new directory");
            return Err(PipelineError::io("export to", directory)(problem));
        }
        let (session, versions) = self.session_as_of(&super::AsOf::default()).await?;
        let mut rows = BTreeMap::new();
        for table in Table::ALL {
            let frame =
                session.table(table.name()).await.and_then(|frame| frame.filter(of_person(table, user)));
            let stream = match frame {
                Ok(frame) => frame.execute_stream().await,
                Err(error) => Err(error),
            };
            let mut batches = stream.map_err(PipelineError::Read)?;
            let mut files = Files::create(directory, table)?;
            while let Some(batch) = batches.next().await {
                let batch = batch.map_err(PipelineError::Read)?;
                files.write(&exactly(batch, table, user)?)?;
            }
            rows.insert(table.name().to_owned(), files.finish()?);
        }
        let exported = Exported { user_id: user.as_str().to_owned(), rows, versions };
        let path = directory.join("manifest.json");
        let mut text = serde_json::to_vec_pretty(&exported).unwrap_or_default();
        text.push(b'\n');
        fs::write(&path, text).map_err(PipelineError::io("write", &path))?;
        for path in [&path, directory] {
            sync(path).map_err(PipelineError::io("sync", path))?;
        }
        Ok(exported)
    }
}

fn of_person(table: Table, user: &UserId) -> Expr {
    let id = || lit(user.as_str());
    match table {
        Table::Events | Table::Users | Table::Histories => col("user_id").eq(id()),
        Table::Videos => col("creator_id").eq(id()),
        Table::Quarantine => {
            let within =
                |column: &str| strpos(cast(col(column), arrow::datatypes::DataType::Utf8), id()).gt(lit(0));
            within("raw").or(within("reason"))
        }
    }
}

/// Leaves out refused rows in which the id is part of a longer word.
fn exactly(batch: RecordBatch, table: Table, user: &UserId) -> Result<RecordBatch> {
    if table != Table::Quarantine {
        return Ok(batch);
    }
    let mut named = vec![false; batch.num_rows()];
    for name in ["raw", "reason"] {
        let Some(column) = batch.column_by_name(name) else { continue };
        let texts =
            arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).map_err(PipelineError::Arrow)?;
        for (row, text) in texts.as_string::<i32>().iter().enumerate() {
            named[row] |= mentions(text.unwrap_or_default(), user.as_str());
        }
    }
    filter_record_batch(&batch, &BooleanArray::from(named)).map_err(PipelineError::Arrow)
}

/// The two files of a table.
struct Files {
    parquet: ArrowWriter<File>,
    parquet_path: std::path::PathBuf,
    json: arrow::json::LineDelimitedWriter<BufWriter<File>>,
    json_path: std::path::PathBuf,
    schema: arrow::datatypes::SchemaRef,
    rows: u64,
}

impl Files {
    fn create(directory: &Path, table: Table) -> Result<Self> {
        let parquet_path = directory.join(format!("{}.parquet", table.name()));
        let json_path = directory.join(format!("{}.jsonl", table.name()));
        let file = |path: &Path| File::create(path).map_err(PipelineError::io("create", path));
        let parquet = ArrowWriter::try_new(file(&parquet_path)?, table.schema(), Some(writer_properties()))
            .map_err(|source| PipelineError::WriteParquet { path: parquet_path.clone(), source })?;
        let json = arrow::json::LineDelimitedWriter::new(BufWriter::new(file(&json_path)?));
        Ok(Self { parquet, parquet_path, json, json_path, schema: table.schema(), rows: 0 })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        // The lake is read with other kinds of text than it declares.
        let columns = batch.columns().iter().zip(self.schema.fields());
        let columns = columns.map(|(column, field)| arrow::compute::cast(column, field.data_type()));
        let columns = columns.collect::<std::result::Result<_, _>>().map_err(PipelineError::Arrow)?;
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(PipelineError::Arrow)?;
        self.parquet
            .write(&batch)
            .map_err(|source| PipelineError::WriteParquet { path: self.parquet_path.clone(), source })?;
        self.json.write(&batch).map_err(PipelineError::Arrow)?;
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn finish(mut self) -> Result<u64> {
        let unwritten = |source| PipelineError::WriteParquet { path: self.parquet_path.clone(), source };
        let parquet = self.parquet.into_inner().map_err(unwritten)?;
        self.json.finish().map_err(PipelineError::Arrow)?;
        let mut json = self.json.into_inner();
        json.flush().map_err(PipelineError::io("write", &self.json_path))?;
        parquet.sync_all().map_err(PipelineError::io("sync", &self.parquet_path))?;
        json.get_ref().sync_all().map_err(PipelineError::io("sync", &self.json_path))?;
        Ok(self.rows)
    }
}
