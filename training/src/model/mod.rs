//! The video+audio model: what it is made of. No data sets and no training loop live here.
//!
//! [`Eye`] reads frames, [`Ear`] speech, [`LookEncoder`] portraits, [`VoiceEncoder`] voices; [`SoundAutoencoder`]
//! turns impacts into codes and back, and [`FlowTransformer`] draws [`Latents`](latents::Latents) from a prompt.
//! [`Model`] is all of them.

pub(crate) mod attention;
pub(crate) mod block;
pub(crate) mod ear;
pub(crate) mod eye;
pub(crate) mod flops;
pub(crate) mod flow;
pub(crate) mod latents;
pub(crate) mod looks;
pub(crate) mod memory;
pub(crate) mod mlp;
pub(crate) mod recompute;
pub(crate) mod sound;
pub(crate) mod text;
pub(crate) mod timestep;
pub(crate) mod transformer;
pub(crate) mod voice;

use burn::module::Module;
use burn::tensor::Device;

use self::ear::Ear;
use self::eye::Eye;
use self::looks::LookEncoder;
use self::sound::SoundAutoencoder;
use self::transformer::FlowTransformer;
use self::voice::VoiceEncoder;
use crate::size::ModelConfig;

/// Everything that is trained.
#[derive(Module, Debug)]
pub(crate) struct Model {
    pub(crate) eye: Eye,
    pub(crate) ear: Ear,
    pub(crate) looks: LookEncoder,
    pub(crate) voices: VoiceEncoder,
    pub(crate) sound: SoundAutoencoder,
    pub(crate) flow: FlowTransformer,
}

impl Model {
    pub(crate) fn new(config: &ModelConfig, vocabulary: usize, device: &Device) -> Self {
        Self {
            eye: Eye::new(device),
            ear: Ear::new(config, device),
            looks: LookEncoder::new(config, device),
            voices: VoiceEncoder::new(config, device),
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
        let millions = ModelSize::ALL.map(|size| {
            // Weights are drawn at first use: counting them costs nothing.
            let model = Model::new(&size.config(), 64, &Device::flex());
            format!("{size} {:.0}", model.num_params() as f64 / 1e6)
        });
        assert_eq!(millions, ["nano 5", "small 52", "base 275", "large 722"]);
    }
}
