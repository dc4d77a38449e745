//! Interactions in; lake, training sets and analytics out.
//!
//! Everything enters through [`ingest`] and is kept in the [`lake`]. Training sets ([`dataset`]) and
//! the feed see a person and a clip through the same [`features`]. Analysts ask in SQL ([`query`]).

pub mod catalog;
pub mod dataset;
pub mod error;
pub mod event_batch;
pub mod features;
#[cfg(test)]
mod fixtures;
pub mod import;
pub mod ingest;
pub mod lake;
pub mod log;
pub mod progress;
pub mod query;
pub mod replay;
pub mod simulate;
pub mod views;

pub use dataset::{DatasetOptions, Split, build_ranking};
pub use error::{PipelineError, Result};
pub use features::FeatureState;
pub use ingest::{IngestReport, file::ingest_file, ingest_events};
pub use lake::Lake;
pub use log::{EventLog, compact};
pub use progress::{OnProgress, Progress};
