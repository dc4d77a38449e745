//! How noisy the latents are, as the blocks read it: timesteps enter, shifts, scales and gates leave.
//!
//! The last layer starts at zero: a new model neither shifts nor gates.

use burn::module::Module;
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor};

use super::block::MODULATIONS;

/// Sines and cosines that describe a timestep.
const TIMESTEP_FEATURES: usize = 64;

#[derive(Module, Debug)]
pub(crate) struct TimestepEmbedding {
    first: Linear,
    second: Linear,
}

impl TimestepEmbedding {
    pub(crate) fn new(width: usize, device: &Device) -> Self {
        let zeros = Initializer::Zeros;
        Self {
            first: LinearConfig::new(TIMESTEP_FEATURES, width).init(device),
            second: LinearConfig::new(width, MODULATIONS * width).with_initializer(zeros).init(device),
        }
    }

    /// `[batch]` in [0, 1] to modulations, `[batch, 6, width]`.
    pub(crate) fn forward(&self, timesteps: Tensor<1>) -> Tensor<3> {
        let device = timesteps.device();
        let [batch] = timesteps.dims();
        let rates: Vec<f32> = (0..TIMESTEP_FEATURES / 2).map(|i| 1.5 * 1.18_f32.powi(i as i32)).collect();
        let rates = Tensor::<1>::from_floats(rates.as_slice(), &device).unsqueeze::<2>();
        let angles = timesteps.reshape([batch, 1]).mul(rates);
        let features = Tensor::cat(vec![angles.clone().cos(), angles.sin()], 1);
        let modulations = self.second.forward(silu(self.first.forward(features)));
        let width = modulations.dims()[1] / MODULATIONS;
        modulations.reshape([batch, MODULATIONS, width])
    }
}
