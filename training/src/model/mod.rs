//! The video+audio model: what it is made of. No data sets and no training loop live here.
//!
//! [`PictureAutoencoder`] and [`SoundAutoencoder`] turn looks and impacts into codes and back;
//! [`FlowTransformer`] draws [`Latents`](latents::Latents) from a prompt. [`Model`] is all three.

pub(crate) mod attention;
pub(crate) mod block;
pub(crate) mod flow;
pub(crate) mod latents;
pub(crate) mod mlp;
pub(crate) mod picture;
pub(crate) mod sound;
pub(crate) mod text;
pub(crate) mod transformer;

use burn::module::Module;
use burn::tensor::Device;

use self::picture::PictureAutoencoder;
use self::sound::SoundAutoencoder;
use self::transformer::FlowTransformer;
use crate::size::ModelConfig;

/// Everything that is trained.
#[derive(Module, Debug)]
pub(crate) struct Model {
    pub(crate) picture: PictureAutoencoder,
    pub(crate) sound: SoundAutoencoder,
    pub(crate) flow: FlowTransformer,
}

impl Model {
    pub(crate) fn new(config: &ModelConfig, vocabulary: usize, device: &Device) -> Self {
        Self {
            picture: PictureAutoencoder::new(config, device),
            sound: SoundAutoencoder::new(config, device),
            flow: FlowTransformer::new(config, vocabulary, device),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::ModelSize;

    #[test]
    fn every_size_can_be_built_and_has_the_parameters_it_says() {
        let millions =
            [(ModelSize::Nano, 3), (ModelSize::Small, 51), (ModelSize::Base, 273), (ModelSize::Large, 719)];
        for (size, expected) in millions {
            // Weights are drawn at first use: counting them costs nothing.
            let model = Model::new(&size.config(), 64, &Device::flex());
            let found = model.num_params() as f64 / 1e6;
            assert_eq!(found.round() as i64, expected, "{size} has {found:.2}M parameters");
        }
    }
}
