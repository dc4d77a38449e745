//! One file a verb: its arguments, and what it does with them.

pub(crate) mod bench;
#[cfg(feature = "ballista")]
pub(crate) mod cluster;
pub(crate) mod compact;
pub(crate) mod config;
pub(crate) mod corpus;
pub(crate) mod dataset;
pub(crate) mod demo;
pub(crate) mod distill;
pub(crate) mod doctor;
mod engine;
pub(crate) mod eval;
mod eval_feed;
mod eval_retrieval;
pub(crate) mod generate;
pub(crate) mod import;
pub(crate) mod ingest;
pub(crate) mod lake;
pub(crate) mod ranker;
pub(crate) mod serve;
pub(crate) mod simulate;
pub(crate) mod sql;
pub(crate) mod token;
pub(crate) mod train;
mod train_clips;
mod train_retrieval;
mod train_video;
pub(crate) mod tune;
