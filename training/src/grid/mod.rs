//! The pixel models: clips of anyone's enter, a model that draws clips with sound leaves.
//!
//! Where `nano` knows the actors of its own world, these know pictures: a video autoencoder and a sound
//! autoencoder turn clips into two grids of latents on one time axis, and a transformer draws these from noise.

pub mod config;
pub mod footage;
pub mod generate;
pub mod phyworld;
pub mod train;

mod cache;
mod causal;
mod flow;
mod model;
mod pixels;
mod sound_autoencoder;
mod stft;
mod transformer;
mod video_autoencoder;

use std::io;
use std::path::PathBuf;

use kinora_harness::checkpoint::CheckpointError;
use kinora_harness::device::DeviceError;
use kinora_harness::publish::FileError;
use kinora_harness::run::RunError;
use thiserror::Error;

use crate::clips::ClipsError;
use crate::shards::ShardError;
use crate::train::TrainError;
use crate::weights::WeightsError;

pub use config::{ClipShape, FlowConfig, GridConfig, GridSize, PictureConfig, SoundConfig, UnknownGridSize};
pub use footage::Footage;

/// Why a pixel model was not trained.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GridError {
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Clips(#[from] ClipsError),
    #[error(transparent)]
    Shards(#[from] ShardError),
    #[error("cannot read `{}`", path.display())]
    Footage { path: PathBuf, source: io::Error },
    #[error("the footage holds no clip that can be read: {count} were skipped; the first, {first}")]
    NothingReadable { count: usize, first: String },
    #[error("the footage is empty: give at least one clip")]
    Empty,
    #[error("`{}` is damaged, {reason}: remove it and what comes after it to encode again", path.display())]
    Cache { path: PathBuf, reason: &'static str },
    #[error("the model's sizes cannot be built: sides are multiples of 16, frames are 1 + 4 n")]
    Sizes,
    #[error(
        "PhyWorld's videos are square and of {expected} frames for a model: not {width}x{height} of {frames}"
    )]
    PhyWorldShape { expected: usize, width: usize, height: usize, frames: usize },
}

impl GridError {
    /// Whether this is a stop on request, at a checkpoint.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Train(error) if error.is_interruption())
    }
}
