//! Published data sets into the lake, each row through the same ingest as an app's events.
//!
//! Event ids are derived from the rows, so that importing a file twice adds nothing.

pub mod kuairand;
pub mod movielens;

pub use kuairand::{KuaiRandReport, import_kuairand};
pub use movielens::{MovieLensReport, import_movielens};
