//! The dual-stream block: picture and sound tokens enter with what conditions them, and leave attended.
//!
//! Each stream has weights of its own; one attention spans both streams and the context (text and reference),
//! so picture and sound see each other from the same pre-norm states. Gates start at zero: a new block is the
//! identity.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::attention::{Rotation, attend, join_heads, rms_norm, split_heads};
use crate::size::ModelConfig;

/// The numbers that a block is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockShape {
    pub(crate) width: usize,
    pub(crate) heads: usize,
    /// Hidden width of a feed-forward layer, in multiples of `width`.
    pub(crate) feed_forward: usize,
    /// Whether picture and sound see each other.
    pub(crate) linked: bool,
}

impl From<&ModelConfig> for BlockShape {
    fn from(config: &ModelConfig) -> Self {
        let ModelConfig { width, heads, feed_forward, linked, .. } = *config;
        Self { width, heads, feed_forward, linked }
    }
}

/// Shift, scale and gate of the attention, then of the feed-forward layer.
pub(crate) const MODULATIONS: usize = 6;

/// One stream's half of a block.
#[derive(Module, Debug)]
pub(crate) struct StreamBlock {
    attention_in: Linear,
    attention_out: Linear,
    feed_forward_in: Linear,
    feed_forward_out: Linear,
    /// Gain of the normalised queries, `[head width]`.
    query_gain: Param<Tensor<1>>,
    /// This block's own part of the modulation, `[6, width]`.
    modulation: Param<Tensor<2>>,
    #[module(skip)]
    heads: usize,
}

/// Queries, keys and values of one stream, `[batch, heads, tokens, head width]`.
struct Projected {
    queries: Tensor<4>,
    keys: Tensor<4>,
    values: Tensor<4>,
}

impl StreamBlock {
    pub(crate) fn new(shape: BlockShape, device: &Device) -> Self {
        let BlockShape { width, heads, feed_forward, .. } = shape;
        let linear = |d_in, d_out| LinearConfig::new(d_in, d_out).with_bias(false).init(device);
        Self {
            attention_in: linear(width, 3 * width),
            attention_out: linear(width, width),
            feed_forward_in: linear(width, feed_forward * width),
            feed_forward_out: linear(feed_forward * width, width),
            query_gain: Param::from_tensor(Tensor::full([width / heads], 2.0, device)),
            modulation: Param::from_tensor(Tensor::zeros([MODULATIONS, width], device)),
            heads,
        }
    }

    /// `[batch, 6, width]` of the timestep plus this block's own part.
    fn modulations(&self, timestep: &Tensor<3>) -> Tensor<3> {
        timestep.clone().add(self.modulation.val().unsqueeze::<3>())
    }

    fn project(&self, tokens: &Tensor<3>, modulations: &Tensor<3>, rotation: &Rotation) -> Projected {
        let width = tokens.dims()[2];
        let projected = self.attention_in.forward(modulate(tokens, modulations, 0));
        let part = |index: usize| split_heads(projected.clone().narrow(2, index * width, width), self.heads);
        let queries = rms_norm(part(0)).mul(self.query_gain.val().unsqueeze::<4>());
        Projected { queries: rotation.turn(queries), keys: rotation.turn(rms_norm(part(1))), values: part(2) }
    }

    /// The whole block of a stream that stands alone.
    ///
    /// # Shapes
    /// - tokens: `[batch, tokens, width]`, likewise the output; timestep: `[batch, 6, width]`.
    pub(crate) fn forward(&self, tokens: Tensor<3>, timestep: &Tensor<3>, rotation: &Rotation) -> Tensor<3> {
        let modulations = self.modulations(timestep);
        let Projected { queries, keys, values } = self.project(&tokens, &modulations, rotation);
        self.finish(tokens, attend(queries, keys, values), &modulations)
    }

    /// Adds the attended values, then the feed-forward layer.
    fn finish(&self, tokens: Tensor<3>, attended: Tensor<4>, modulations: &Tensor<3>) -> Tensor<3> {
        let attended = self.attention_out.forward(join_heads(attended));
        let tokens = tokens.add(attended.mul(modulations.clone().narrow(1, 2, 1)));
        let hidden = relu(self.feed_forward_in.forward(modulate(&tokens, modulations, 3))).square();
        let moved = self.feed_forward_out.forward(hidden);
        tokens.add(moved.mul(modulations.clone().narrow(1, 5, 1)))
    }
}

/// Normalised tokens, scaled and shifted by the modulations that start at `first`.
pub(crate) fn modulate(tokens: &Tensor<3>, modulations: &Tensor<3>, first: usize) -> Tensor<3> {
    let shift = modulations.clone().narrow(1, first, 1);
    let scale = modulations.clone().narrow(1, first + 1, 1).add_scalar(1.0);
    rms_norm(tokens.clone()).mul(scale).add(shift)
}

/// One block of the transformer.
#[derive(Module, Debug)]
pub(crate) struct DualStreamBlock {
    picture: StreamBlock,
    sound: StreamBlock,
    /// Keys and values of the context.
    context_in: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    linked: bool,
}

/// What a block reads beside the tokens, the same for all blocks.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    /// Modulations by the picture's timestep, `[batch, 6, width]`.
    pub(crate) picture_timestep: Tensor<3>,
    pub(crate) sound_timestep: Tensor<3>,
    pub(crate) picture_rotation: Rotation,
    pub(crate) sound_rotation: Rotation,
    /// Text and reference tokens, `[batch, context, width]`.
    pub(crate) context: Tensor<3>,
}

impl DualStreamBlock {
    pub(crate) fn new(shape: BlockShape, device: &Device) -> Self {
        Self {
            picture: StreamBlock::new(shape, device),
            sound: StreamBlock::new(shape, device),
            context_in: LinearConfig::new(shape.width, 2 * shape.width).with_bias(false).init(device),
            heads: shape.heads,
            linked: shape.linked,
        }
    }

    /// # Shapes
    /// - picture: `[batch, picture tokens, width]`; sound: `[batch, sound tokens, width]`; likewise the output.
    pub(crate) fn forward(
        &self,
        picture: Tensor<3>,
        sound: Tensor<3>,
        conditions: &Conditions,
    ) -> (Tensor<3>, Tensor<3>) {
        let [_, picture_tokens, width] = picture.dims();
        let sound_tokens = sound.dims()[1];
        let picture_modulations = self.picture.modulations(&conditions.picture_timestep);
        let sound_modulations = self.sound.modulations(&conditions.sound_timestep);

        let from_picture = self.picture.project(&picture, &picture_modulations, &conditions.picture_rotation);
        let from_sound = self.sound.project(&sound, &sound_modulations, &conditions.sound_rotation);
        let context = self.context_in.forward(conditions.context.clone());
        let context_keys = rms_norm(split_heads(context.clone().narrow(2, 0, width), self.heads));
        let context_values = split_heads(context.narrow(2, width, width), self.heads);

        let (to_picture, to_sound) = if self.linked {
            let attended = attend(
                Tensor::cat(vec![from_picture.queries, from_sound.queries], 2),
                Tensor::cat(vec![from_picture.keys, from_sound.keys, context_keys], 2),
                Tensor::cat(vec![from_picture.values, from_sound.values, context_values], 2),
            );
            (attended.clone().narrow(2, 0, picture_tokens), attended.narrow(2, picture_tokens, sound_tokens))
        } else {
            let alone = |stream: Projected| {
                attend(
                    stream.queries,
                    Tensor::cat(vec![stream.keys, context_keys.clone()], 2),
                    Tensor::cat(vec![stream.values, context_values.clone()], 2),
                )
            };
            (alone(from_picture), alone(from_sound))
        };
        (
            self.picture.finish(picture, to_picture, &picture_modulations),
            self.sound.finish(sound, to_sound, &sound_modulations),
        )
    }
}
