//! Models as files: what is asked again and again is worked out once.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionContext, col};
use futures::StreamExt as _;
use parquet::arrow::ArrowWriter;
use serde::{Deserialize, Serialize};

use super::{Check, Model, Source, named};
use crate::durable::{create_directory, sync};
use crate::error::{PipelineError, Result};
use crate::lake::{AsOf, Lake, writer_properties};

/// What was built, of which versions of the tables. Written last, as `manifest.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    pub code_version: String,
    pub versions: BTreeMap<String, u64>,
    /// Rows by model.
    pub rows: BTreeMap<String, u64>,
}

/// Writes models, all views where none is named, as `MODEL.parquet` into a directory, each in the order of what tells
/// its rows apart: the same versions give the same rows in the same order on every engine.
pub async fn build(lake: &Lake, names: &[String], directory: &Path, as_of: &AsOf) -> Result<Built> {
    let models = named(names)?;
    create_directory(directory).map_err(PipelineError::io("create", directory))?;
    let (context, versions) = lake.session_as_of(as_of).await?;
    let code_version = env!("CARGO_PKG_VERSION").to_owned();
    let mut built = Built { code_version, versions, rows: BTreeMap::new() };
    let wanted = |model: &&&Model| !names.is_empty() || matches!(model.source, Source::View(_));
    for model in models.iter().filter(wanted) {
        let rows = write(&context, model, &directory.join(format!("{}.parquet", model.name))).await?;
        built.rows.insert(model.name.to_owned(), rows);
    }
    let path = directory.join("manifest.json");
    let mut text = serde_json::to_vec_pretty(&built).unwrap_or_default();
    text.push(b'\n');
    fs::write(&path, text).map_err(PipelineError::io("write", &path))?;
    for path in [&path, directory] {
        sync(path).map_err(PipelineError::io("sync", path))?;
    }
    Ok(built)
}

/// The file has its name only once it is whole.
async fn write(context: &SessionContext, model: &Model, path: &Path) -> Result<u64> {
    let partial = path.with_extension("partial");
    let unwritten = |source| PipelineError::WriteParquet { path: path.to_owned(), source };
    let mut batches = in_order(context, model).await.map_err(PipelineError::Read)?;
    let file = File::create(&partial).map_err(PipelineError::io("create", &partial))?;
    let properties = Some(writer_properties());
    let mut writer = ArrowWriter::try_new(file, batches.schema(), properties).map_err(unwritten)?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch: RecordBatch = batch.map_err(PipelineError::Read)?;
        writer.write(&batch).map_err(unwritten)?;
        rows += batch.num_rows() as u64;
    }
    let file = writer.into_inner().map_err(unwritten)?;
    file.sync_all().map_err(PipelineError::io("sync", &partial))?;
    fs::rename(&partial, path).map_err(PipelineError::io("name", path))?;
    Ok(rows)
}

async fn in_order(
    context: &SessionContext,
    model: &Model,
) -> Result<datafusion::execution::SendableRecordBatchStream, DataFusionError> {
    let rows = context.table(model.name).await?;
    let key = model.checks.iter().find_map(|check| match check {
        Check::Unique(columns) => Some(columns.iter().map(|&column| column.to_owned()).collect::<Vec<_>>()),
        _ => None,
    });
    let key =
        key.unwrap_or_else(|| rows.schema().fields().iter().map(|field| field.name().clone()).collect());
    rows.sort(key.iter().map(|column| col(column.as_str()).sort(true, true)).collect())?
        .execute_stream()
        .await
}
