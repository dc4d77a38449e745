//! SQL over the lake, read only.
//!
//! A statement enters as text; rows leave as Arrow batches, bounded in number, bytes, time and
//! memory. INVARIANT: only plans that read are run: DDL, DML (COPY among it) and statements such as
//! SET are refused by the planner, whatever the caller's role.

mod bounded;
mod policy;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::common::utils::memory::RecordBatchMemoryCounter;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion::sql::parser::Statement;
use futures::StreamExt;
use futures::stream::BoxStream;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};

pub use self::policy::Policy;
use crate::error::PipelineError;

/// What tools that ask for a database are told.
pub const CATALOG: &str = "kinora";

/// Memory that all queries of one lake may use together before they spill to disk, in bytes.
const MEMORY_BYTES: usize = 1 << 30;

/// What all sessions of a lake share: the memory budget and the spill files.
#[derive(Clone, Debug)]
pub(crate) struct LakeRuntime(Arc<RuntimeEnv>);

impl LakeRuntime {
    #[cfg(feature = "ballista")]
    pub(crate) fn env(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.0)
    }

    pub(crate) fn new() -> Result<Self, PipelineError> {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(MEMORY_BYTES)))
            .build_arc()
            .map_err(PipelineError::Read)?;
        Ok(Self(runtime))
    }
}

pub(crate) fn new_session(runtime: &LakeRuntime) -> Result<SessionContext, PipelineError> {
    let config = configured(SessionConfig::new());
    let context = SessionContext::new_with_config_rt(config, Arc::clone(&runtime.0));
    bounded::register(&context).map_err(PipelineError::Read)?;
    Ok(context)
}

/// What all sessions have in common, wherever they are worked on.
pub(crate) fn configured(config: SessionConfig) -> SessionConfig {
    config.with_information_schema(true).with_default_catalog_and_schema(CATALOG, "public")
}

/// Bounds of one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Rows returned at most; [`QueryResult::truncated`] says whether there were more.
    pub max_rows: usize,
    /// Bytes that the rows may take, as Arrow and as JSON; an answer that is larger is refused.
    pub max_bytes: usize,
    /// Time that planning and running may take together.
    pub deadline: Duration,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { max_rows: 10_000, max_bytes: 256 << 20, deadline: Duration::from_secs(30) }
    }
}

/// Rows of an answered query.
#[derive(Clone, Debug)]
pub struct QueryResult {
    pub schema: SchemaRef,
    pub batches: Vec<RecordBatch>,
    /// There were more rows than the limit.
    pub truncated: bool,
    max_bytes: usize,
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
    #[error("the answer has more than {max_rows} rows: limit, filter or aggregate more")]
    TooMany { max_rows: usize },
    #[error("the answer is larger than {max_bytes} bytes: select fewer columns, filter or aggregate more")]
    TooLarge { max_bytes: usize },
    #[error("the rows cannot be shown: {0}")]
    Render(String),
}

/// Runs one read-only statement.
pub async fn query(
    context: &SessionContext,
    sql: &str,
    limits: QueryLimits,
) -> Result<QueryResult, QueryError> {
    tokio::time::timeout(limits.deadline, run(context, sql, limits))
        .await
        .map_err(|_| QueryError::Deadline { seconds: limits.deadline.as_secs() })?
}

fn reading() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

async fn run(context: &SessionContext, sql: &str, limits: QueryLimits) -> Result<QueryResult, QueryError> {
    let QueryLimits { max_rows, max_bytes, .. } = limits;
    let frame = context.sql_with_options(sql, reading()).await.map_err(refused)?;
    let mut stream = frame.execute_stream().await.map_err(failed)?;
    let schema = stream.schema();
    let (mut batches, mut rows, mut truncated) = (Vec::new(), 0, false);
    let mut memory = RecordBatchMemoryCounter::new();
    while !truncated && let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        let room = max_rows - rows;
        truncated = batch.num_rows() > room;
        let batch = if truncated { batch.slice(0, room) } else { batch };
        memory.count_batch(&batch);
        if memory.memory_usage() > max_bytes {
            return Err(QueryError::TooLarge { max_bytes });
        }
        rows += batch.num_rows();
        batches.push(batch);
    }
    Ok(QueryResult { schema, batches, truncated, max_bytes })
}

/// The plan of one statement that only reads.
///
/// # Errors
///
/// Anything that is no question: DDL, DML (COPY among it), SET and the like.
pub async fn plan(context: &SessionContext, statement: Statement) -> Result<LogicalPlan, QueryError> {
    let plan = context.state().statement_to_plan(statement).await.map_err(refused)?;
    read_only(&plan)?;
    Ok(plan)
}

/// The plan of one statement in text that only reads.
///
/// # Errors
///
/// As [`plan`], and text that is no single statement.
pub async fn plan_text(context: &SessionContext, text: &str) -> Result<LogicalPlan, QueryError> {
    let state = context.state();
    let statement =
        state.sql_to_statement(text, &state.config_options().sql_parser.dialect).map_err(refused)?;
    plan(context, statement).await
}

/// Types of a plan's `$1`, `$2`, ..., as far as the plan tells.
///
/// # Errors
///
/// Parameters that are used as two types at once.
pub fn parameter_types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>, QueryError> {
    let types = plan.get_parameter_types().map_err(refused)?;
    let number = |name: &String| name.trim_start_matches('$').parse::<usize>().unwrap_or(usize::MAX);
    let mut types: Vec<(usize, Option<DataType>)> =
        types.into_iter().map(|(name, data_type)| (number(&name), data_type)).collect();
    types.sort_by_key(|(number, _)| *number);
    Ok(types.into_iter().map(|(_, data_type)| data_type).collect())
}

/// Refuses a plan that does anything but read.
pub fn read_only(plan: &LogicalPlan) -> Result<(), QueryError> {
    reading().verify_plan(plan).map_err(refused)
}

/// The rows of a plan as they come. An answer that passes a limit ends with an error instead of the row that
/// would pass it; dropped, the stream stops the work.
///
/// # Errors
///
/// A plan that does anything but read, or cannot be run.
pub async fn stream(
    context: &SessionContext,
    plan: LogicalPlan,
    limits: QueryLimits,
) -> Result<(SchemaRef, BoxStream<'static, Result<RecordBatch, QueryError>>), QueryError> {
    read_only(&plan)?;
    let late = QueryError::Deadline { seconds: limits.deadline.as_secs() };
    let deadline = Instant::now() + limits.deadline;
    let start = async { context.execute_logical_plan(plan).await?.execute_stream().await };
    let batches = timeout_at(deadline, start).await.map_err(|_| late)?.map_err(failed)?;
    let schema = batches.schema();
    let bounded = Bounded { batches, limits, deadline, rows: 0, bytes: 0 };
    let batches = futures::stream::try_unfold(bounded, async |mut bounded| {
        Ok(bounded.next().await?.map(|batch| (batch, bounded)))
    });
    Ok((schema, batches.boxed()))
}

/// Batches, counted against the limits.
struct Bounded {
    batches: SendableRecordBatchStream,
    limits: QueryLimits,
    deadline: Instant,
    rows: usize,
    bytes: usize,
}

impl Bounded {
    async fn next(&mut self) -> Result<Option<RecordBatch>, QueryError> {
        let QueryLimits { max_rows, max_bytes, deadline } = self.limits;
        let late = |_| QueryError::Deadline { seconds: deadline.as_secs() };
        let Some(batch) = timeout_at(self.deadline, self.batches.next()).await.map_err(late)? else {
            return Ok(None);
        };
        let batch = batch.map_err(failed)?;
        self.rows += batch.num_rows();
        // Counted batch by batch: a buffer of an earlier one may have been freed, and its address be a new one's.
        let mut memory = RecordBatchMemoryCounter::new();
        memory.count_batch(&batch);
        self.bytes += memory.memory_usage();
        if self.rows > max_rows {
            return Err(QueryError::TooMany { max_rows });
        }
        if self.bytes > max_bytes {
            return Err(QueryError::TooLarge { max_bytes });
        }
        Ok(Some(batch))
    }
}

impl QueryResult {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows as JSON objects, one a row, nulls included.
    pub fn to_json_rows(&self) -> Result<Vec<serde_json::Value>, QueryError> {
        let mut json = CappedBuffer { bytes: Vec::new(), max_bytes: self.max_bytes };
        let mut writer = arrow::json::WriterBuilder::new()
            .with_explicit_nulls(true)
            .build::<_, arrow::json::writer::JsonArray>(&mut json);
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        writer.write_batches(&batches).and_then(|()| writer.finish()).map_err(|error| match error {
            ArrowError::IoError(_, _) => QueryError::TooLarge { max_bytes: self.max_bytes },
            other => QueryError::Render(one_line(&other.to_string())),
        })?;
        if json.bytes.is_empty() {
            return Ok(Vec::new());
        }
        serde_json::from_slice(&json.bytes).map_err(|error| QueryError::Render(one_line(&error.to_string())))
    }

    /// The rows as a table of text.
    pub fn to_table(&self) -> Result<String, QueryError> {
        let empty = [RecordBatch::new_empty(Arc::clone(&self.schema))];
        let batches = if self.batches.is_empty() { &empty[..] } else { &self.batches };
        let read: Result<Vec<RecordBatch>, ArrowError> = batches.iter().map(with_readable_floats).collect();
        read.and_then(|batches| pretty_format_batches(&batches).map(|table| table.to_string()))
            .map_err(|error| QueryError::Render(one_line(&error.to_string())))
    }
}

/// The batch with its fractions as text of a few digits: JSON keeps them whole, a person reads these.
fn with_readable_floats(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        if !field.data_type().is_floating() {
            return Ok((field.name().clone(), Arc::clone(column)));
        }
        let floats = arrow::compute::cast(column, &DataType::Float64)?;
        let text: StringArray =
            floats.as_primitive::<Float64Type>().iter().map(|value| value.map(readable)).collect();
        Ok((field.name().clone(), Arc::new(text) as ArrayRef))
    });
    let (names, columns): (Vec<String>, Vec<ArrayRef>) =
        columns.collect::<Result<Vec<_>, ArrowError>>()?.into_iter().unzip();
    let fields: Vec<Field> = names
        .into_iter()
        .zip(&columns)
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
        .collect();
    let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &rows)
}

/// Four digits after the point at most, or a power of ten where that would leave nothing.
fn readable(value: f64) -> String {
    if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e15) {
        return format!("{value:.3e}");
    }
    let text = format!("{value:.4}");
    let short = text.trim_end_matches('0');
    if short.ends_with('.') { format!("{short}0") } else { short.to_owned() }
}

/// What is written, up to a limit: values that batches share, and the names of columns, are written
/// once for each row.
struct CappedBuffer {
    bytes: Vec<u8>,
    max_bytes: usize,
}

impl io::Write for CappedBuffer {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + text.len() > self.max_bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
