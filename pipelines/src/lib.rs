//! Interactions in; lake, training sets and analytics out.
//!
//! Everything enters through [`ingest`] and is kept in the [`lake`]. Training sets ([`dataset`]) and
//! the feed see a person and a clip through the same [`features`]. Analysts ask in SQL ([`query`]).

pub mod catalog;
pub mod error;
pub mod event_batch;
#[cfg(test)]
mod fixtures;
pub mod ingest;
pub mod lake;
pub mod progress;
pub mod query;
pub mod views;

pub use error::{PipelineError, Result};
pub use ingest::{IngestReport, file::ingest_file, ingest_events};
pub use lake::Lake;
pub use progress::{OnProgress, Progress};
