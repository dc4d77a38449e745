//! The dual-stream block: picture and sound tokens enter with what conditions them, and leave attended.
//!
//! Each stream has weights of its own; one attention spans both streams and the context (text and reference),
//! so picture and sound see each other from the same pre-norm states. Gates start at zero: a new block is the
//! identity.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor};

use super::attention::{Attention, Rotation, join_heads, rms_norm, split_heads};
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

    /// What the stream's own tokens attend to among themselves.
    fn look(&self, tokens: &Tensor<3>, timestep: &Tensor<3>, rotation: &Rotation) -> Attention {
        let width = tokens.dims()[2];
        let modulations = self.modulations(timestep);
        let projected = self.attention_in.forward(modulate(tokens, &modulations, 0));
        let part = |index: usize| split_heads(projected.clone().narrow(2, index * width, width), self.heads);
        let queries = rms_norm(part(0)).mul(self.query_gain.val().unsqueeze::<4>());
        Attention { queries: rotation.turn(queries), keys: rotation.turn(rms_norm(part(1))), values: part(2) }
    }

    /// Adds the attended values, then the feed-forward layer.
    fn take_in(&self, tokens: Tensor<3>, attended: Tensor<4>, timestep: &Tensor<3>) -> Tensor<3> {
        let modulations = &self.modulations(timestep);
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

/// What flows through a stack of blocks: everything that a gradient must reach.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    /// `[batch, picture tokens, width]`
    pub(crate) picture: Tensor<3>,
    /// Modulations by the picture's timestep, `[batch, 6, width]`.
    pub(crate) picture_timestep: Tensor<3>,
    /// None in a model of pictures alone.
    pub(crate) heard: Option<Heard>,
}

/// The sound's stream, and what both streams read.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    /// `[batch, sound tokens, width]`
    pub(crate) sound: Tensor<3>,
    /// Modulations by the sound's timestep, `[batch, 6, width]`.
    pub(crate) timestep: Tensor<3>,
    /// Text tokens, `[batch, context, width]`.
    pub(crate) context: Tensor<3>,
}

impl Streams {
    /// Applies `f` to each tensor.
    pub(crate) fn map(self, mut f: impl FnMut(Tensor<3>) -> Tensor<3>) -> Self {
        Self {
            picture: f(self.picture),
            picture_timestep: f(self.picture_timestep),
            heard: self.heard.map(|Heard { sound, timestep, context }| Heard {
                sound: f(sound),
                timestep: f(timestep),
                context: f(context),
            }),
        }
    }

    /// The tensors, in the order in which [`Streams::map`] meets them.
    pub(crate) fn tensors(&self) -> Vec<Tensor<3>> {
        let heard =
            self.heard.iter().flat_map(|Heard { sound, timestep, context }| [sound, timestep, context]);
        [&self.picture, &self.picture_timestep].into_iter().chain(heard).cloned().collect()
    }
}

/// By how much the tokens of each stream are turned.
#[derive(Clone, Debug)]
pub(crate) struct Rotations {
    pub(crate) picture: Rotation,
    pub(crate) sound: Option<Rotation>,
}

impl Rotations {
    /// Without what gradients would be remembered for.
    pub(crate) fn inner(&self) -> Self {
        Self { picture: self.picture.inner(), sound: self.sound.as_ref().map(Rotation::inner) }
    }
}

/// A block, in the two parts that lie before and behind its attention.
pub(crate) trait Attending: Module {
    /// What attends to what.
    fn look(&self, streams: &Streams, rotations: &Rotations) -> Vec<Attention>;

    /// The streams with the attended values, one for each of what [`Attending::look`] gave.
    fn take_in(&self, streams: Streams, attended: Vec<Tensor<4>>) -> Streams;

    fn forward(&self, streams: Streams, rotations: &Rotations) -> Streams {
        let attended = self.look(&streams, rotations).into_iter().map(Attention::attended).collect();
        self.take_in(streams, attended)
    }
}

/// A stream that stands alone.
impl Attending for StreamBlock {
    fn look(&self, streams: &Streams, rotations: &Rotations) -> Vec<Attention> {
        vec![self.look(&streams.picture, &streams.picture_timestep, &rotations.picture)]
    }

    fn take_in(&self, streams: Streams, attended: Vec<Tensor<4>>) -> Streams {
        let Streams { picture, picture_timestep, heard } = streams;
        let picture = attended
            .into_iter()
            .fold(picture, |picture, attended| self.take_in(picture, attended, &picture_timestep));
        Streams { picture, picture_timestep, heard }
    }
}

impl Attending for DualStreamBlock {
    fn look(&self, streams: &Streams, rotations: &Rotations) -> Vec<Attention> {
        let picture = self.picture.look(&streams.picture, &streams.picture_timestep, &rotations.picture);
        let (Some(Heard { sound, timestep, context }), Some(rotation)) = (&streams.heard, &rotations.sound)
        else {
            return vec![picture];
        };
        let sound = self.sound.look(sound, timestep, rotation);
        let context = self.context_in.forward(context.clone());
        let width = context.dims()[2] / 2;
        let keys = rms_norm(split_heads(context.clone().narrow(2, 0, width), self.heads));
        let values = split_heads(context.narrow(2, width, width), self.heads);
        if self.linked {
            return vec![Attention {
                queries: Tensor::cat(vec![picture.queries, sound.queries], 2),
                keys: Tensor::cat(vec![picture.keys, sound.keys, keys], 2),
                values: Tensor::cat(vec![picture.values, sound.values, values], 2),
            }];
        }
        let alone = |stream: Attention| Attention {
            queries: stream.queries,
            keys: Tensor::cat(vec![stream.keys, keys.clone()], 2),
            values: Tensor::cat(vec![stream.values, values.clone()], 2),
        };
        vec![alone(picture), alone(sound)]
    }

    fn take_in(&self, streams: Streams, attended: Vec<Tensor<4>>) -> Streams {
        let Streams { picture, picture_timestep, heard } = streams;
        let attended = Tensor::cat(attended, 2);
        let [_, tokens, _] = picture.dims();
        let seen = attended.clone().narrow(2, 0, tokens);
        let heard = heard.map(|Heard { sound, timestep, context }| {
            let attended = attended.narrow(2, tokens, sound.dims()[1]);
            Heard { sound: self.sound.take_in(sound, attended, &timestep), timestep, context }
        });
        let picture = self.picture.take_in(picture, seen, &picture_timestep);
        Streams { picture, picture_timestep, heard }
    }
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
}
