//! The dual-stream transformer: noisy latents, timesteps and conditions enter, the predicted direction leaves.
//!
//! The picture's stream holds the tracks, then the balls' looks, then the place; the sound's stream holds the
//! impacts. Text and a cameo's reference are clean context tokens. The output layers start at zero.

use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig};
use burn::tensor::activation::silu;
use burn::tensor::{Device, Int, Tensor};

use super::attention::Rotation;
use super::block::{Conditions, DualStreamBlock, MODULATIONS, modulate};
use super::latents::{BALLS, Latents, TOKENS, token_seconds};
use super::text::TextEncoder;
use crate::size::ModelConfig;

/// Where tokens that hold for the whole clip stand on the time axis: before it.
const TIMELESS_S: f32 = -1.0;
/// Sines and cosines that describe a timestep.
const TIMESTEP_FEATURES: usize = 64;

#[derive(Module, Debug)]
struct TimestepEmbedding {
    first: Linear,
    second: Linear,
}

impl TimestepEmbedding {
    fn new(config: &ModelConfig, device: &Device) -> Self {
        let zeros = Initializer::Zeros;
        Self {
            first: LinearConfig::new(TIMESTEP_FEATURES, config.width).init(device),
            second: LinearConfig::new(config.width, MODULATIONS * config.width)
                .with_initializer(zeros)
                .init(device),
        }
    }

    /// `[batch]` in [0, 1] to modulations, `[batch, 6, width]`.
    fn forward(&self, timesteps: Tensor<1>) -> Tensor<3> {
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

/// The transformer.
#[derive(Module, Debug)]
pub(crate) struct FlowTransformer {
    tracks_in: Linear,
    balls_in: Linear,
    scene_in: Linear,
    sound_in: Linear,
    picture_positions: Param<Tensor<2>>,
    sound_positions: Param<Tensor<2>>,
    text: TextEncoder,
    /// A cameo's skin code to a context token.
    reference_in: Linear,
    /// Stands in the reference's place where there is none.
    no_reference: Param<Tensor<2>>,
    picture_timestep: TimestepEmbedding,
    sound_timestep: TimestepEmbedding,
    blocks: Vec<DualStreamBlock>,
    tracks_out: Linear,
    balls_out: Linear,
    scene_out: Linear,
    sound_out: Linear,
    #[module(skip)]
    head_width: usize,
}

/// What a clip is made from.
#[derive(Clone, Debug)]
pub(crate) struct Prompts {
    /// Word numbers, `[batch, 16]`.
    pub(crate) words: Tensor<2, Int>,
    /// Normalised skin codes of the cameo, `[batch, skin code]`; any values where there is none.
    pub(crate) references: Tensor<2>,
    /// 1 where the reference is to be read, else 0, `[batch, 1]`.
    pub(crate) has_reference: Tensor<2>,
}

impl FlowTransformer {
    pub(crate) fn new(config: &ModelConfig, vocabulary: usize, device: &Device) -> Self {
        let widths = config.latent_widths();
        let width = config.width;
        let into = |d_in| LinearConfig::new(d_in, width).init(device);
        let out = |d_out| LinearConfig::new(width, d_out).with_initializer(Initializer::Zeros).init(device);
        let normal = Initializer::Normal { mean: 0.0, std: 0.3 };
        Self {
            tracks_in: into(widths.tracks),
            balls_in: into(widths.ball),
            scene_in: into(widths.scene),
            sound_in: into(widths.sound),
            picture_positions: normal.init([TOKENS + BALLS + 1, width], device),
            sound_positions: normal.init([TOKENS, width], device),
            text: TextEncoder::new(config, vocabulary, device),
            reference_in: into(config.skin_code),
            no_reference: normal.init([1, width], device),
            picture_timestep: TimestepEmbedding::new(config, device),
            sound_timestep: TimestepEmbedding::new(config, device),
            blocks: (0..config.layers).map(|_| DualStreamBlock::new(config, device)).collect(),
            tracks_out: out(widths.tracks),
            balls_out: out(widths.ball),
            scene_out: out(widths.scene),
            sound_out: out(widths.sound),
            head_width: width / config.heads,
        }
    }

    /// Context tokens of a batch of prompts, `[batch, 17, width]`. They do not change while sampling.
    pub(crate) fn context(&self, prompts: Prompts) -> Tensor<3> {
        let text = self.text.forward(prompts.words);
        let reference = self.reference_in.forward(prompts.references).mul(prompts.has_reference.clone());
        let absent = prompts.has_reference.neg().add_scalar(1.0).mul(self.no_reference.val());
        Tensor::cat(vec![text, reference.add(absent).unsqueeze_dim::<3>(1)], 1)
    }

    /// The direction in which to move `noisy`, whose picture and sound stand at timesteps of their own.
    ///
    /// # Shapes
    /// - timesteps: `[batch]`, 0 for noise, 1 for data; context: `[batch, 17, width]`.
    pub(crate) fn forward(
        &self,
        noisy: Latents,
        picture_timesteps: Tensor<1>,
        sound_timesteps: Tensor<1>,
        context: Tensor<3>,
    ) -> Latents {
        let device = context.device();
        let mut seconds = token_seconds();
        let sound_rotation = Rotation::new(&seconds, self.head_width, &device);
        seconds.extend([TIMELESS_S; BALLS + 1]);
        let conditions = Conditions {
            picture_timestep: self.picture_timestep.forward(picture_timesteps),
            sound_timestep: self.sound_timestep.forward(sound_timesteps),
            picture_rotation: Rotation::new(&seconds, self.head_width, &device),
            sound_rotation,
            context,
        };
        let embedded = vec![
            self.tracks_in.forward(noisy.tracks),
            self.balls_in.forward(noisy.balls),
            self.scene_in.forward(noisy.scene),
        ];
        let mut picture = Tensor::cat(embedded, 1).add(self.picture_positions.val().unsqueeze::<3>());
        let mut sound = self.sound_in.forward(noisy.sound).add(self.sound_positions.val().unsqueeze::<3>());
        for block in &self.blocks {
            (picture, sound) = block.forward(picture, sound, &conditions);
        }
        let picture = modulate(&picture, &conditions.picture_timestep, 0);
        let sound = modulate(&sound, &conditions.sound_timestep, 0);
        Latents {
            tracks: self.tracks_out.forward(picture.clone().narrow(1, 0, TOKENS)),
            balls: self.balls_out.forward(picture.clone().narrow(1, TOKENS, BALLS)),
            scene: self.scene_out.forward(picture.narrow(1, TOKENS + BALLS, 1)),
            sound: self.sound_out.forward(sound),
        }
    }
}
