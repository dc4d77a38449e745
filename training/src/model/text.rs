//! The text encoder, trained with the model: word numbers enter, context tokens leave.
//!
//! Prompts are short and their grammar is small, so words are tokens and one or two blocks suffice. Padding
//! is a word of its own that the model learns to read as nothing.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};

use super::attention::{attend, join_heads, rms_norm, split_heads};
use crate::size::ModelConfig;

/// Words of a prompt that are read; further ones are cut.
pub(crate) const PROMPT_WORDS: usize = 16;

#[derive(Module, Debug)]
struct TextBlock {
    attention_in: Linear,
    attention_out: Linear,
    feed_forward_in: Linear,
    feed_forward_out: Linear,
    #[module(skip)]
    heads: usize,
}

impl TextBlock {
    fn new(config: &ModelConfig, device: &Device) -> Self {
        let width = config.width;
        let linear = |d_in, d_out| LinearConfig::new(d_in, d_out).with_bias(false).init(device);
        Self {
            attention_in: linear(width, 3 * width),
            attention_out: linear(width, width),
            feed_forward_in: linear(width, 2 * width),
            feed_forward_out: linear(2 * width, width),
            heads: config.heads,
        }
    }

    fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        let width = tokens.dims()[2];
        let projected = self.attention_in.forward(rms_norm(tokens.clone()));
        let part = |index: usize| split_heads(projected.clone().narrow(2, index * width, width), self.heads);
        let attended = attend(rms_norm(part(0)), rms_norm(part(1)), part(2));
        let tokens = tokens.add(self.attention_out.forward(join_heads(attended)));
        let hidden = relu(self.feed_forward_in.forward(rms_norm(tokens.clone()))).square();
        tokens.add(self.feed_forward_out.forward(hidden))
    }
}

#[derive(Module, Debug)]
pub(super) struct TextEncoder {
    words: Embedding,
    positions: Param<Tensor<2>>,
    blocks: Vec<TextBlock>,
}

impl TextEncoder {
    pub(super) fn new(config: &ModelConfig, vocabulary: usize, device: &Device) -> Self {
        let initializer = Initializer::Normal { mean: 0.0, std: 0.5 };
        Self {
            words: EmbeddingConfig::new(vocabulary, config.width)
                .with_initializer(initializer.clone())
                .init(device),
            positions: initializer.init([PROMPT_WORDS, config.width], device),
            blocks: (0..config.text_layers).map(|_| TextBlock::new(config, device)).collect(),
        }
    }

    /// # Shapes
    /// - words: `[batch, 16]`; output: `[batch, 16, width]`.
    pub(super) fn forward(&self, words: Tensor<2, Int>) -> Tensor<3> {
        let tokens = self.words.forward(words).add(self.positions.val().unsqueeze::<3>());
        rms_norm(self.blocks.iter().fold(tokens, |tokens, block| block.forward(tokens)))
    }
}
