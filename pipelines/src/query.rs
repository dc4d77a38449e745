//! SQL over the lake, read only.
//!
//! A statement enters as text; rows leave as Arrow batches, bounded in number, time and memory.
//! INVARIANT: only plans that read are run: DDL, DML (COPY among it) and statements such as SET are
//! refused by the planner, whatever the caller's role.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use thiserror::Error;

use crate::error::PipelineError;

/// Memory that all queries of one lake may use together before they spill to disk, in bytes.
const MEMORY_BYTES: usize = 1 << 30;

/// What all sessions of a lake share: the memory budget and the spill files.
#[derive(Clone, Debug)]
pub(crate) struct LakeRuntime(Arc<RuntimeEnv>);

impl LakeRuntime {
    pub(crate) fn new() -> Result<Self, PipelineError> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .build_arc()
            .map_err(PipelineError::Read)?;
        Ok(Self(runtime))
    }
}

pub(crate) fn new_session(runtime: &LakeRuntime) -> SessionContext {
    let config = SessionConfig::new().with_information_schema(true);
    SessionContext::new_with_config_rt(config, Arc::clone(&runtime.0))
}

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Rows returned at most; [`QueryResult::truncated`] says whether there were more.
    pub max_rows: usize,
    /// Time that planning and running may take together.
    pub deadline: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { max_rows: 10_000, deadline: Duration::from_secs(30) }
    }
}

/// Rows of an answered query.
#[derive(Clone, Debug)]
pub struct QueryResult {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    /// There were more rows than the limit.
    pub truncated: bool,
}

/// Why a query was not answered; one line, fit for the person who wrote it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum QueryError {
    #[error("the query is refused: {0}")]
    Refused(String),
    #[error("the query failed: {0}")]
    Failed(String),
    #[error("the query took longer than {seconds} s and was stopped")]
    Deadline { seconds: u64 },
    #[error("the query needs more memory than it may use: aggregate or filter more")]
    Memory,
    #[error("the rows cannot be shown: {0}")]
    Render(String),
}

/// Runs one read-only statement.
pub async fn query(
    context: &SessionContext,
    sql: &str,
    limits: QueryLimits,
) -> Result<QueryResult, QueryError> {
    tokio::time::timeout(limits.deadline, run(context, sql, limits.max_rows))
        .await
        .map_err(|_| QueryError::Deadline { seconds: limits.deadline.as_secs() })?
}

async fn run(context: &SessionContext, sql: &str, max_rows: usize) -> Result<QueryResult, QueryError> {
    let read_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    let frame = context.sql_with_options(sql, read_only).await.map_err(refused)?;
    let mut stream = frame.execute_stream().await.map_err(failed)?;
    let schema = stream.schema();
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        let room = max_rows - rows;
        if batch.num_rows() > room {
            batches.push(batch.slice(0, room));
            return Ok(QueryResult { schema, batches, truncated: true });
        }
        rows += batch.num_rows();
        batches.push(batch);
    }
    Ok(QueryResult { schema, batches, truncated: false })
}

impl QueryResult {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows as JSON objects, one a row, nulls included.
    pub fn to_json_rows(&self) -> Result<Vec<serde_json::Value>, QueryError> {
        let mut writer = arrow::json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow::json::writer::JsonArray>(Vec::new());
        for batch in &self.batches {
            writer.write(batch).map_err(|error| QueryError::Render(one_line(&error.to_string())))?;
        }
        writer.finish().map_err(|error| QueryError::Render(one_line(&error.to_string())))?;
        let json = writer.into_inner();
        if json.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_slice(&json).map_err(|error| QueryError::Render(one_line(&error.to_string())))
    }

    /// The rows as a table of text.
    pub fn to_table(&self) -> Result<String, QueryError> {
        let empty = [RecordBatch::new_empty(Arc::clone(&self.schema))];
        let batches = if self.batches.is_empty() { &empty[..] } else { &self.batches };
        pretty_format_batches(batches)
            .map(|table| format!("{table}"))
            .map_err(|error| QueryError::Render(one_line(&error.to_string())))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn refused(error: DataFusionError) -> QueryError {
    QueryError::Refused(message(&error))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn failed(error: DataFusionError) -> QueryError {
    match error.find_root() {
        DataFusionError::ResourcesExhausted(_) => QueryError::Memory,
        _ => QueryError::Failed(message(&error)),
    }
}

fn message(error: &DataFusionError) -> String {
    one_line(&error.strip_backtrace())
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
