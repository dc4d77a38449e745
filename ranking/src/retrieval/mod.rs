//! Retrieval: people's histories enter, the items that each is likely to want next leave.
//!
//! The journey: [`sequences`] reads the histories and splits them, [`model`] turns a history into a
//! query vector, [`loss`] says how far the queries are from the items that came next, [`train`] makes
//! a model directory, [`evaluate`](mod@evaluate) judges it beside simple baselines, [`index`] finds the items nearest to a
//! query without looking at all of them, [`seeker`] asks for one person.

pub mod artifact;
mod baselines;
mod batches;
mod descent;
pub mod evaluate;
pub mod hyperparameters;
pub mod index;
pub mod loss;
pub mod metrics;
pub mod model;
mod page;
pub mod seeker;
pub mod sequences;
pub mod train;

pub use artifact::load;
pub use evaluate::{RetrievalReport, evaluate};
pub use page::page;
pub use seeker::Seeker;
