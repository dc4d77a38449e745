//! What both trainers share: the device they run on, seeded weights, atomic checkpoints, local
//! run records, progress and interruption.
//!
//! Nothing here knows a model or a data set. A trainer built on these pieces that stops at any
//! moment leaves a whole checkpoint behind, and goes on from it to the same weights.

pub mod checkpoint;
pub mod device;
pub mod interrupt;
pub mod page;
pub mod progress;
pub mod publish;
pub mod run;
pub mod seed;
pub mod weights;

/// Version of this code, as run records and manifests name it.
pub const CODE_VERSION: &str = env!("CARGO_PKG_VERSION");
