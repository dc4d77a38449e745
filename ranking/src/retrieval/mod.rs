//! Retrieval: people's histories enter, the items that each is likely to want next leave.
//!
//! The journey: [`sequences`] reads the histories and splits them, [`model`] turns a history into a
//! query vector, [`loss`] says how far the queries are from the items that came next, [`train`] makes
//! a model directory, [`evaluate`] judges it beside simple baselines.

pub mod artifact;
mod batches;
pub mod evaluate;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod sequences;
pub mod train;
