//! The transformer of Wan2.1: noisy latents, timesteps and text embeddings enter, predicted velocities leave.
//!
//! Latents become tokens by patches, attend to each other with rotary positions in time, height and width, and
//! to the text; a timestep shifts, scales and gates each block. INVARIANT: layout and numerics are those of
//! diffusers' `WanTransformer3DModel` in f32, without the image branch, which text-to-video models do not have.

use burn::module::{Module, Param};
use burn::nn::conv::{Conv3d, Conv3dConfig};
use burn::nn::{Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::tensor::activation::{gelu_approximate, silu};
use burn::tensor::module::{attention, layer_norm, linear};
use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{Device, Tensor, TensorData};

use super::WanError;
use super::config::TransformerConfig;

/// Shift, scale and gate of the self-attention, then of the feed-forward layers.
const MODULATIONS: usize = 6;
/// Longest period of timesteps and of positions.
const LONGEST: f64 = 10_000.0;

/// Cosines and sines that turn tokens by their place in the grid, `[1, 1, tokens, head width / 2]`.
#[derive(Clone, Debug)]
struct Rotation {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rotation {
    /// For a grid of tokens: time, height, width.
    ///
    /// Height and width get a third of a head each, rounded down to pairs; time gets what is left.
    fn new([times, rows, columns]: [usize; 3], head_width: usize, device: &Device) -> Self {
        let space = 2 * (head_width / 6);
        let axis = |width: usize| {
            move |position: usize| {
                let rate = move |pair: usize| LONGEST.powf(-((2 * pair) as f64) / width as f64);
                (0..width / 2).map(move |pair| position as f64 * rate(pair))
            }
        };
        let (along_time, along_space) = (axis(head_width - 2 * space), axis(space));
        let (tokens, pairs) = (times * rows * columns, head_width / 2);
        let mut angles = Vec::with_capacity(tokens * pairs);
        for time in 0..times {
            for row in 0..rows {
                for column in 0..columns {
                    angles.extend(along_time(time).chain(along_space(row)).chain(along_space(column)));
                }
            }
        }
        let tensor = |of: fn(f64) -> f64| {
            let values: Vec<f32> = angles.iter().map(|&angle| of(angle) as f32).collect();
            Tensor::from_data(TensorData::new(values, [1, 1, tokens, pairs]), device)
        };
        Self { cos: tensor(f64::cos), sin: tensor(f64::sin) }
    }

    /// Turns neighbouring pairs. `[batch, heads, tokens, head width]`, likewise the output.
    fn turn(&self, tokens: Tensor<4>) -> Tensor<4> {
        let dims = tokens.dims();
        let [batch, heads, length, width] = dims;
        let pairs = tokens.reshape([batch, heads, length, width / 2, 2]);
        let first = pairs.clone().narrow(4, 0, 1).squeeze_dim::<4>(4);
        let second = pairs.narrow(4, 1, 1).squeeze_dim::<4>(4);
        let turned_first = first.clone().mul(self.cos.clone()).sub(second.clone().mul(self.sin.clone()));
        let turned_second = first.mul(self.sin.clone()).add(second.mul(self.cos.clone()));
        Tensor::stack::<5>(vec![turned_first, turned_second], 4).reshape(dims)
    }
}

/// Attention whose queries and keys are normalised over all heads at once.
#[derive(Module, Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    norm_q: RmsNorm,
    norm_k: RmsNorm,
    #[module(skip)]
    heads: usize,
}

impl Attention {
    fn new(config: &TransformerConfig, device: &Device) -> Self {
        let dim = config.dim();
        let layer = || LinearConfig::new(dim, dim).init(device);
        let norm = || RmsNormConfig::new(dim).with_epsilon(config.eps).init(device);
        Self {
            to_q: layer(),
            to_k: layer(),
            to_v: layer(),
            to_out: layer(),
            norm_q: norm(),
            norm_k: norm(),
            heads: config.num_attention_heads,
        }
    }

    /// # Shapes
    /// - tokens: `[batch, tokens, dim]`; context, which is attended to: `[batch, context, dim]`; output as the
    ///   tokens.
    fn forward(&self, tokens: Tensor<3>, context: Tensor<3>, rotation: Option<&Rotation>) -> Tensor<3> {
        let split = |tokens: Tensor<3>| {
            let [batch, length, dim] = tokens.dims();
            tokens.reshape([batch, length, self.heads, dim / self.heads]).swap_dims(1, 2)
        };
        let turn = |tokens: Tensor<4>| match rotation {
            Some(rotation) => rotation.turn(tokens),
            None => tokens,
        };
        let dims = tokens.dims();
        let queries = turn(split(self.norm_q.forward(self.to_q.forward(tokens))));
        let keys = turn(split(self.norm_k.forward(self.to_k.forward(context.clone()))));
        let values = split(self.to_v.forward(context));
        let attended = attention(queries, keys, values, None, None, AttentionModuleOptions::default());
        self.to_out.forward(attended.swap_dims(1, 2).reshape(dims))
    }
}

/// Layer normalisation without a gain.
fn standardise(tokens: Tensor<3>, eps: f64) -> Tensor<3> {
    let [_, _, dim] = tokens.dims();
    let ones = Tensor::ones([dim], &tokens.device());
    layer_norm(tokens, ones, None, eps)
}

#[derive(Module, Debug)]
struct Block {
    attn1: Attention,
    attn2: Attention,
    text_norm: Option<LayerNorm>,
    ffn_in: Linear,
    ffn_out: Linear,
    scale_shift_table: Param<Tensor<3>>,
    #[module(skip)]
    eps: f64,
}

impl Block {
    fn new(config: &TransformerConfig, device: &Device) -> Self {
        let dim = config.dim();
        let norm = || LayerNormConfig::new(dim).with_epsilon(config.eps).init(device);
        Self {
            attn1: Attention::new(config, device),
            attn2: Attention::new(config, device),
            text_norm: config.cross_attn_norm.then(norm),
            ffn_in: LinearConfig::new(dim, config.ffn_dim).init(device),
            ffn_out: LinearConfig::new(config.ffn_dim, dim).init(device),
            scale_shift_table: Initializer::Zeros.init([1, MODULATIONS, dim], device),
            eps: config.eps,
        }
    }

    /// # Shapes
    /// - tokens: `[batch, tokens, dim]`, likewise the output; text: `[batch, text tokens, dim]`; time:
    ///   `[batch, 6, dim]`.
    fn forward(&self, tokens: Tensor<3>, text: Tensor<3>, time: Tensor<3>, rotation: &Rotation) -> Tensor<3> {
        let modulations = self.scale_shift_table.val().add(time);
        let modulation = |index| modulations.clone().narrow(1, index, 1);
        let modulated = |tokens: Tensor<3>, first| {
            let scale = modulation(first + 1).add_scalar(1.0);
            standardise(tokens, self.eps).mul(scale).add(modulation(first))
        };

        let among = modulated(tokens.clone(), 0);
        let attended = self.attn1.forward(among.clone(), among, Some(rotation));
        let tokens = tokens.add(attended.mul(modulation(2)));

        let asking = match &self.text_norm {
            Some(norm) => norm.forward(tokens.clone()),
            None => tokens.clone(),
        };
        let tokens = tokens.add(self.attn2.forward(asking, text, None));

        let hidden = gelu_approximate(self.ffn_in.forward(modulated(tokens.clone(), 3)));
        tokens.add(self.ffn_out.forward(hidden).mul(modulation(5)))
    }
}

/// Two linear layers; what is between them is the caller's.
#[derive(Module, Debug)]
struct Pair {
    linear_1: Linear,
    linear_2: Linear,
}

impl Pair {
    fn new(inputs: usize, dim: usize, device: &Device) -> Self {
        Self {
            linear_1: LinearConfig::new(inputs, dim).init(device),
            linear_2: LinearConfig::new(dim, dim).init(device),
        }
    }
}

/// What the tokens are conditioned on.
#[derive(Module, Debug)]
struct ConditionEmbedder {
    time_embedder: Pair,
    time_proj: Linear,
    text_embedder: Pair,
    #[module(skip)]
    freq_dim: usize,
}

impl ConditionEmbedder {
    fn new(config: &TransformerConfig, device: &Device) -> Self {
        let dim = config.dim();
        Self {
            time_embedder: Pair::new(config.freq_dim, dim, device),
            time_proj: LinearConfig::new(dim, MODULATIONS * dim).init(device),
            text_embedder: Pair::new(config.text_dim, dim, device),
            freq_dim: config.freq_dim,
        }
    }

    /// `[batch]` to an embedding, `[batch, dim]`.
    fn time(&self, timesteps: Tensor<1>) -> Tensor<2> {
        let half = self.freq_dim / 2;
        let rate = |index: usize| LONGEST.powf(-(index as f64) / half as f64) as f32;
        let rates: Vec<f32> = (0..half).map(rate).collect();
        let rates = Tensor::<2>::from_data(TensorData::new(rates, [1, half]), &timesteps.device());
        let angles = timesteps.unsqueeze_dim::<2>(1).mul(rates);
        let features = Tensor::cat(vec![angles.clone().cos(), angles.sin()], 1);
        self.time_embedder.linear_2.forward(silu(self.time_embedder.linear_1.forward(features)))
    }

    /// `[batch, text tokens, text dim]` to `[batch, text tokens, dim]`.
    fn text(&self, text: Tensor<3>) -> Tensor<3> {
        self.text_embedder.linear_2.forward(gelu_approximate(self.text_embedder.linear_1.forward(text)))
    }
}

/// The transformer.
#[derive(Module, Debug)]
pub struct WanTransformer {
    patch_embedding: Conv3d,
    condition_embedder: ConditionEmbedder,
    blocks: Vec<Block>,
    scale_shift_table: Param<Tensor<3>>,
    proj_out: Linear,
    #[module(skip)]
    config: TransformerConfig,
}

impl WanTransformer {
    pub(super) fn new(config: &TransformerConfig, device: &Device) -> Self {
        let (dim, patch) = (config.dim(), config.patch_size);
        let latents: usize = patch.iter().product();
        Self {
            patch_embedding: Conv3dConfig::new([config.in_channels, dim], patch)
                .with_stride(patch)
                .init(device),
            condition_embedder: ConditionEmbedder::new(config, device),
            blocks: (0..config.num_layers).map(|_| Block::new(config, device)).collect(),
            scale_shift_table: Initializer::Zeros.init([1, 2, dim], device),
            proj_out: LinearConfig::new(dim, config.out_channels * latents).init(device),
            config: config.clone(),
        }
    }

    /// Sizes of the transformer.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// The velocity, noise minus data, at `latents`.
    ///
    /// # Shapes
    /// - latents: `[batch, in_channels, time, height, width]`, each side a multiple of its patch;
    /// - timesteps: `[batch]`, 0 for data, 1000 for noise;
    /// - text: `[batch, text tokens, text_dim]`;
    /// - output: `[batch, out_channels, time, height, width]`.
    pub fn forward(
        &self,
        latents: Tensor<5>,
        timesteps: Tensor<1>,
        text: Tensor<3>,
    ) -> Result<Tensor<5>, WanError> {
        let grid = self.grid(latents.dims())?;
        let [batch, ..] = latents.dims();
        let fits = |[texts, tokens, width]: [usize; 3]| {
            texts == batch && tokens > 0 && width == self.config.text_dim
        };
        if !fits(text.dims()) || timesteps.dims() != [batch] {
            return Err(WanError::Shape {
                what: "text and timesteps",
                expected: format!("[{batch}, 1 or more, {}] and [{batch}]", self.config.text_dim),
                found: format!("{:?} and {:?}", text.dims(), timesteps.dims()),
            });
        }

        let rotation = Rotation::new(grid, self.config.attention_head_dim, &latents.device());
        let embedding = self.condition_embedder.time(timesteps);
        let dim = self.config.dim();
        let time = self.condition_embedder.time_proj.forward(silu(embedding.clone()));
        let time = time.reshape([batch, MODULATIONS, dim]);
        let text = self.condition_embedder.text(text);
        let tokens = self.blocks.iter().fold(self.embed(latents, grid), |tokens, block| {
            block.forward(tokens, text.clone(), time.clone(), &rotation)
        });

        let modulations = self.scale_shift_table.val().add(embedding.unsqueeze_dim::<3>(1));
        let (shift, scale) = (modulations.clone().narrow(1, 0, 1), modulations.narrow(1, 1, 1));
        let tokens = standardise(tokens, self.config.eps).mul(scale.add_scalar(1.0)).add(shift);
        Ok(self.assemble(self.proj_out.forward(tokens), grid))
    }

    /// Tokens along time, height and width of latents of these dimensions.
    pub(super) fn grid(&self, dims: [usize; 5]) -> Result<[usize; 3], WanError> {
        let [_, channels, times, rows, columns] = dims;
        let [patch_t, patch_h, patch_w] = self.config.patch_size;
        let grid = [times / patch_t, rows / patch_h, columns / patch_w];
        let whole = [grid[0] * patch_t, grid[1] * patch_h, grid[2] * patch_w] == [times, rows, columns];
        let most = self.config.rope_max_seq_len;
        if whole && channels == self.config.in_channels && grid.iter().all(|side| (1..=most).contains(side)) {
            return Ok(grid);
        }
        Err(WanError::Shape {
            what: "latents",
            expected: format!(
                "[batch, {}, time, height, width] in 1 to {most} patches of {:?}",
                self.config.in_channels, self.config.patch_size
            ),
            found: format!("{dims:?}"),
        })
    }

    /// Patches to tokens: a convolution that strides by its own size is a linear layer.
    fn embed(&self, latents: Tensor<5>, [times, rows, columns]: [usize; 3]) -> Tensor<3> {
        let [batch, channels, ..] = latents.dims();
        let [patch_t, patch_h, patch_w] = self.config.patch_size;
        let width = channels * patch_t * patch_h * patch_w;
        let patches = latents
            .reshape([batch, channels, times, patch_t, rows, patch_h, columns, patch_w])
            .permute([0, 2, 4, 6, 1, 3, 5, 7])
            .reshape([batch, times * rows * columns, width]);
        let weight = self.patch_embedding.weight.val().reshape([self.config.dim(), width]).transpose();
        linear(patches, weight, self.patch_embedding.bias.as_ref().map(Param::val))
    }

    /// Tokens back to the places of their patches; here the channels come last within a token.
    fn assemble(&self, tokens: Tensor<3>, [times, rows, columns]: [usize; 3]) -> Tensor<5> {
        let [batch, ..] = tokens.dims();
        let [patch_t, patch_h, patch_w] = self.config.patch_size;
        let channels = self.config.out_channels;
        tokens
            .reshape([batch, times, rows, columns, patch_t, patch_h, patch_w, channels])
            .permute([0, 7, 1, 4, 2, 5, 3, 6])
            .reshape([batch, channels, times * patch_t, rows * patch_h, columns * patch_w])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn only_the_way_between_two_tokens_matters() {
        let device = Device::flex();
        let grid = [3, 3, 3];
        let tokens = |seed: f32| {
            let angles = Tensor::<4>::from_floats([[[[0.3; 12]; 1]; 1]; 1], &device).mul_scalar(seed);
            angles.add(Tensor::<1>::from_floats([0.1; 12], &device).cumsum(0).reshape([1, 1, 1, 12])).sin()
        };
        let rotation = Rotation::new(grid, 12, &device);
        let place = |[time, row, column]: [usize; 3]| (time * 3 + row) * 3 + column;
        let turned = |seed| values(rotation.turn(tokens(seed).repeat_dim(2, 27)));
        let (one, two) = (turned(1.0), turned(2.0));
        let product = |from: [usize; 3], to: [usize; 3]| -> f32 {
            let at = |values: &[f32], index: usize| values[index * 12..][..12].to_vec();
            at(&one, place(from)).iter().zip(at(&two, place(to))).map(|(a, b)| a * b).sum()
        };
        assert!((product([0, 0, 0], [1, 1, 1]) - product([1, 1, 1], [2, 2, 2])).abs() < 1e-5);
        for other in [[2, 1, 1], [1, 2, 1], [1, 1, 2]] {
            assert!((product([0, 0, 0], [1, 1, 1]) - product([0, 0, 0], other)).abs() > 1e-4, "{other:?}");
        }
    }
}
