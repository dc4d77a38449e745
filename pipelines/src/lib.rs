//! Interactions in; lake, training sets and analytics out.
//!
//! Everything enters through [`ingest`] and is kept in the [`lake`]. Training sets ([`dataset`]) and
//! the feed see a person and a clip through the same [`features`]. Analysts ask in SQL ([`query`]).

pub mod catalog;
#[cfg(feature = "ballista")]
pub mod cluster;
pub mod dataset;
mod durable;
pub mod engine;
pub mod error;
pub mod event_batch;
pub mod features;
#[cfg(test)]
mod fixtures;
pub mod import;
pub mod ingest;
pub mod lake;
pub mod log;
pub mod models;
pub mod progress;
pub mod query;
pub mod replay;
pub mod sequences;
pub mod simulate;

pub use dataset::{DatasetOptions, Split, build_ranking};
pub use engine::Engine;
pub use error::{PipelineError, Result};
pub use features::FeatureState;
pub use ingest::{IngestReport, QuarantinedRow, file::ingest_file, ingest_events, quarantine};
pub use lake::{AsOf, Lake, Retention};
pub use log::{EventLog, compact};
pub use progress::{OnProgress, Progress};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn spawnable<F: Future + Send>(_: F) {}

    /// A server runs these as tasks of a multi-threaded runtime: that they are `Send` is part of
    /// the interface.
    #[tokio::test]
    async fn long_operations_can_be_spawned() {
        let directory = tempfile::TempDir::new().unwrap();
        let lake = Lake::open(directory.path().join("lake")).await.unwrap();
        let log = EventLog::open(directory.path().join("log"), 1 << 20).unwrap();
        let path = Path::new("nowhere");
        let mut progress = progress::silent();
        spawnable(compact(&log, &lake, 0));
        spawnable(FeatureState::from_lake(&lake));
        spawnable(ingest_events(&lake, "test", Vec::new(), 0));
        spawnable(ingest_file(&lake, path, 0, &mut progress));
        spawnable(quarantine(&lake, "test", 1, Vec::new(), 0));
        spawnable(build_ranking(&lake, path, &DatasetOptions::default(), &mut progress));
        spawnable(import::import_kuairand(&lake, path, 0, &mut progress));
        spawnable(import::import_movielens(&lake, path, 0, &mut progress));
    }
}
