//! The look encoder: a portrait enters as pixels, the numbers of a look leave.
//!
//! It is how a cameo's picture becomes a reference: the numbers are those of
//! [`look_numbers`](crate::performance::look_numbers).

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::latents::LOOK;
use super::mlp::Mlp;
use crate::size::ModelConfig;

/// Side of the portraits that the encoder sees.
pub(crate) const PORTRAIT_SIDE: usize = 32;

#[derive(Module, Debug)]
pub(crate) struct LookEncoder {
    layers: Mlp,
}

impl LookEncoder {
    pub(crate) fn new(config: &ModelConfig, device: &Device) -> Self {
        let width = config.picture_width;
        Self { layers: Mlp::new(&[PORTRAIT_SIDE * PORTRAIT_SIDE * 3, width, width, LOOK], device) }
    }

    /// # Shapes
    /// - portraits: `[looks, 32 x 32 x 3]` in [0, 1]; output: `[looks, 23]`.
    pub(crate) fn forward(&self, portraits: Tensor<2>) -> Tensor<2> {
        self.layers.forward(portraits.sub_scalar(0.5))
    }
}

/// An RGB8 portrait as the encoder sees it.
pub(crate) fn seen(portrait: &[u8]) -> impl Iterator<Item = f32> + '_ {
    portrait.iter().map(|&channel| f32::from(channel) / 255.0)
}
