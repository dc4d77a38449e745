//! The ranker of impression logs: files with `KuaiRand`'s columns enter, a self-contained ranker and
//! its measures leave.
//!
//! The journey: [`files`] reads cells, [`catalogue`] and [`impression`] give them meaning,
//! [`state`] counts what happened before a day, [`features`] looks at one impression through that
//! state, and [`train`] fits trees to what it sees. The ranker carries its state, frozen when
//! training ended, so that an impression is all that scoring needs.

pub mod catalogue;
pub mod evaluate;
pub mod features;
pub mod files;
pub mod impression;
pub mod network;
pub mod ranker;
pub mod similarity;
pub mod state;
pub mod train;

pub use evaluate::{LogReport, evaluate_log};
pub use ranker::LogRanker;
pub use train::{LogTrainOptions, LogTrainReport, train_log};

#[cfg(test)]
mod tests;
