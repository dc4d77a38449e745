//! What can go wrong between an interaction and a training set, one line each.
//!
//! A bad row is data: it is counted and quarantined, and never becomes an error here. What becomes
//! an error is a file, a disk, a lake or a query that cannot be used, named by its path.

use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};

use datafusion::error::DataFusionError;
use deltalake::DeltaTableError;
use kinora_schema::Rejection;
use kinora_schema::ranking::CodecError;
use thiserror::Error;

/// Result of this crate's functions.
pub type Result<T, E = PipelineError> = std::result::Result<T, E>;

/// Why a pipeline stopped. Messages do not repeat the source: print the chain, or
/// [`PipelineError::one_line`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PipelineError {
    #[error("cannot {action} `{}`", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {action} the lake table at `{}`", path.display())]
    Delta { action: &'static str, path: PathBuf, source: Box<DeltaTableError> },
    #[error("the lake path `{}` is not valid UTF-8", path.display())]
    LakePath { path: PathBuf },
    #[error("`{}` is not a readable Parquet file; it may be truncated: nothing was taken from it", path.display())]
    Parquet { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("cannot read `{}` as CSV: nothing was taken from it", path.display())]
    Csv { path: PathBuf, source: arrow::error::ArrowError },
    #[error("`{}` has no column `{column}`; it is required", path.display())]
    MissingColumn { path: PathBuf, column: String },
    #[error("column `{column}` of `{}` is {found}, expected {expected}", path.display())]
    ColumnType { path: PathBuf, column: String, found: String, expected: String },
    #[error("column `{column}` of `{}` has a value that does not fit {expected}", path.display())]
    ColumnValue { path: PathBuf, column: String, expected: String, source: arrow::error::ArrowError },
    #[error("`{}` has none of {expected}", path.display())]
    NothingToImport { path: PathBuf, expected: &'static str },
    #[error("cannot lay out rows for the lake")]
    Arrow(#[source] arrow::error::ArrowError),
    #[error("cannot read the lake")]
    Read(#[source] DataFusionError),
    #[error("the lake holds an event that is not valid")]
    StoredEvent(#[source] Rejection),
    #[error("the ranking dataset at `{}` cannot be built", path.display())]
    Dataset { path: PathBuf, source: CodecError },
    #[error("cannot write `{}`", path.display())]
    WriteParquet { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("version {version} of the table `{table}` is not in the lake, or no longer")]
    Version { table: &'static str, version: u64, source: Box<deltalake::DeltaTableError> },
    #[error("there is no model `{}` in the lake: there are {}", name.escape_debug(), model_names())]
    NoModel { name: String },
    #[error("no Ballista: {reason}")]
    Engine { reason: String },
    #[error("the splits are wrong: {reason}")]
    Splits { reason: String },
    #[error("the simulation is wrong: {reason}")]
    Simulation { reason: String },
    #[error("background work stopped unexpectedly")]
    Stopped(#[source] tokio::task::JoinError),
}

impl PipelineError {
    /// The whole chain on one line, without repetition.
    pub fn one_line(&self) -> String {
        let mut line = self.to_string();
        let mut source = self.source();
        while let Some(cause) = source {
            let text = first_line(&cause.to_string());
            if !line.contains(&text) {
                line.push_str(": ");
                line.push_str(&text);
            }
            source = cause.source();
        }
        line
    }

    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// A lake error. Where the cause is the disk (full, read-only, denied), the disk is what is
    /// reported, with the path.
    pub(crate) fn delta(
        action: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(DeltaTableError) -> Self {
        let path = path.as_ref().to_owned();
        move |source| match disk_cause(&source) {
            Some(source) => Self::Io { action, path, source },
            None => Self::Delta { action, path, source: Box::new(source) },
        }
    }

    /// A Parquet reading error, or the disk's where that is the cause.
    pub(crate) fn parquet(path: impl AsRef<Path>) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.as_ref().to_owned();
        move |source| match disk_cause(&source) {
            Some(source) => Self::Io { action: "read", path, source },
            None => Self::Parquet { path, source },
        }
    }

    pub(crate) fn write_parquet(
        path: impl AsRef<Path>,
    ) -> impl FnOnce(parquet::errors::ParquetError) -> Self {
        let path = path.as_ref().to_owned();
        move |source| match disk_cause(&source) {
            Some(source) => Self::Io { action: "write", path, source },
            None => Self::WriteParquet { path, source },
        }
    }
}

/// The operating system's error at the bottom of a chain, if that is what it is.
fn disk_cause(error: &(dyn StdError + 'static)) -> Option<io::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            return Some(io::Error::from_raw_os_error(code));
        }
        // An io::Error may wrap another error that its `source` skips.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim_end().to_owned()
}

fn model_names() -> String {
    crate::models::MODELS.iter().map(|model| model.name).collect::<Vec<_>>().join(", ")
}
