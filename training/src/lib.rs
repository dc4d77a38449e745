//! The video+audio model, its corpus, trainer, evaluation and generation engine.

pub mod clip;
pub mod clips;
pub mod corpus;
pub mod evaluate;
pub mod generate;
pub mod media;
mod model;
mod painter;
mod performance;
pub mod phyworld;
pub mod shards;
pub mod size;
mod steady;
pub mod train;
pub mod wan;
pub mod weights;
pub mod words;
