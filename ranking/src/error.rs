//! What can go wrong between a dataset, a ranker and a file. One line each: what, where, what
//! to do.

use std::path::{Path, PathBuf};

use kinora_harness::checkpoint::CheckpointError;
use kinora_harness::device::DeviceError;
use kinora_harness::publish::FileError;
use kinora_harness::run::RunError;
use kinora_harness::weights::WeightsError;
use kinora_schema::ranking::CodecError;
use thiserror::Error;

pub type Result<T, E = RankingError> = std::result::Result<T, E>;

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RankingError {
    #[error("there is no ranking dataset at `{}`: build one with `kinora dataset ranking`", path.display())]
    NoDataset { path: PathBuf },
    #[error("`{}` is not a ranking dataset that this version reads: {reason}", path.display())]
    Dataset { path: PathBuf, reason: String },
    #[error("the dataset `{}` has no split `{split}`: it has {available}", path.display())]
    NoSplit { path: PathBuf, split: String, available: String },
    #[error("`{}` was changed or cut short since the dataset was built: build it again", path.display())]
    Changed { path: PathBuf },
    #[error("cannot read `{}`", path.display())]
    Parquet { path: PathBuf, source: parquet::errors::ParquetError },
    #[error("cannot read a batch of `{}`", path.display())]
    Arrow { path: PathBuf, source: arrow::error::ArrowError },
    #[error("`{}` does not hold ranking examples", path.display())]
    Examples { path: PathBuf, source: CodecError },
    #[error("split `{split}` has {rows} examples: training needs at least {needed}")]
    TooFew { split: String, rows: usize, needed: usize },

    #[error("cannot use `{}`: {reason}", path.display())]
    Table { path: PathBuf, reason: String },

    #[error("there is no ranker at `{}`: train one with `kinora train ranker`", path.display())]
    NoRanker { path: PathBuf },
    #[error("`{}` is not a ranker that this version reads: {reason}", path.display())]
    Ranker { path: PathBuf, reason: String },
    #[error("there is no ranker version `{version}`: {available}")]
    NoVersion { version: String, available: String },
    #[error("there is no ranker to roll back to: none was promoted before the one in force")]
    NothingBefore,
    #[error("`{}` does not name rankers as this version reads it: {reason}", path.display())]
    Aliases { path: PathBuf, reason: String },
    #[error("cannot use the histories of `{}`, line {line}: {reason}", path.display())]
    Sequences { path: PathBuf, line: usize, reason: String },
    #[error("there is no retrieval model at `{}`: train one with `kinora train retrieval`", path.display())]
    NoRetriever { path: PathBuf },
    #[error("`{}` is not a retrieval model that this version reads: {reason}", path.display())]
    Retriever { path: PathBuf, reason: String },
    #[error(
        "`{}` shares no item with the vocabulary of `{}`: give the histories that the model was trained for",
        sequences.display(),
        model.display()
    )]
    Vocabulary { model: PathBuf, sequences: PathBuf },
    #[error("the index of items cannot be used: {reason}")]
    Index { reason: String },
    #[error("option `{name}` is {value}: it must be {accepted}")]
    Option { name: &'static str, value: String, accepted: &'static str },
    #[error(
        "the checkpoint at `{}` belongs to another run ({differs} differ): start without resuming, or use another directory",
        path.display()
    )]
    OtherRun { path: PathBuf, differs: String },
    #[error("training diverged at step {step}: the loss is not finite; lower the learning rate")]
    Diverged { step: u64 },
    #[error("row {row} of the log has a probability or a reward that cannot be")]
    Logged { row: usize },
    #[error("cannot start threads: {reason}")]
    Threads { reason: String },
    #[error("the model gave no usable scores")]
    Scores,

    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Run(#[from] RunError),
}

impl RankingError {
    pub(crate) fn dataset(path: &Path, reason: impl Into<String>) -> Self {
        Self::Dataset { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn table(path: &Path, reason: impl Into<String>) -> Self {
        Self::Table { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn ranker(path: &Path, reason: impl Into<String>) -> Self {
        Self::Ranker { path: path.to_owned(), reason: reason.into() }
    }
}
