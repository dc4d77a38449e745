//! The feed's ranking: a training set enters and a multi-task ranker leaves; a person's
//! candidates enter and a page of the feed leaves.
//!
//! Training, evaluation and serving read inputs through the same rows, so that a score means
//! the same in all three. Nothing here reads a lake, a database or a clock.

pub mod artifact;
pub mod benchmark;
pub mod calibrate;
pub mod dataset;
pub mod dropout;
pub mod error;
pub mod evaluate;
pub mod feed;
pub mod gbdt;
pub mod interval;
pub mod logs;
pub mod metrics;
pub mod model;
pub mod normalise;
pub mod off_policy;
pub mod retrieval;
pub mod rollout;
pub mod rows;
pub mod scorer;
pub mod train;
pub mod vocabulary;
pub mod watch;

#[cfg(test)]
mod fixture;

pub use error::{RankingError, Result};
pub use evaluate::{EvalReport, RankerFigures, evaluate};
pub use scorer::{Prediction, Ranker};
pub use train::{
    Hyperparameters, SearchOptions, SearchReport, TrainOptions, TrainOutcome, TrainReport,
    read_hyperparameters, search, train,
};
