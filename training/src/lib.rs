//! The video+audio model, its corpus, trainer, evaluation and generation engine.

mod arcs;
mod articulate;
pub mod benchmark;
mod cholesky;
pub mod clip;
pub mod clips;
pub mod encoder;
pub mod evaluate;
mod footing;
pub mod generate;
pub mod grid;
pub mod judge;
pub mod media;
mod model;
mod onset;
mod painter;
mod performance;
pub mod phyworld;
pub mod shards;
pub mod size;
mod steady;
mod takes;
pub mod train;
pub mod wan;
pub mod weights;
pub mod words;
pub mod world;
