//! The text encoder, trained with the model: word numbers enter, context tokens leave.
//!
//! Prompts are short and their grammar is small, so words are tokens and one or two blocks suffice. Padding
//! is a word of its own that the model learns to read as nothing.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor};

use super::attention::{Attention, join_heads, rms_norm, split_heads};
use super::block::BlockShape;

/// Words of a prompt that `nano` and its kin read; further ones are cut.
pub(crate) const PROMPT_WORDS: usize = 28;

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
    fn new(shape: BlockShape, device: &Device) -> Self {
        let BlockShape { width, heads, .. } = shape;
        let linear = |d_in, d_out| LinearConfig::new(d_in, d_out).with_bias(false).init(device);
        Self {
            attention_in: linear(width, 3 * width),
            attention_out: linear(width, width),
            feed_forward_in: linear(width, 2 * width),
            feed_forward_out: linear(2 * width, width),
            heads,
        }
    }

    fn forward(&self, tokens: Tensor<3>) -> Tensor<3> {
        let width = tokens.dims()[2];
        let projected = self.attention_in.forward(rms_norm(tokens.clone()));
        let part = |index: usize| split_heads(projected.clone().narrow(2, index * width, width), self.heads);
        let attention = Attention { queries: rms_norm(part(0)), keys: rms_norm(part(1)), values: part(2) };
        let attended = attention.attended();
        let tokens = tokens.add(self.attention_out.forward(join_heads(attended)));
        let hidden = relu(self.feed_forward_in.forward(rms_norm(tokens.clone()))).square();
        tokens.add(self.feed_forward_out.forward(hidden))
    }
}

#[derive(Module, Debug)]
pub(crate) struct TextEncoder {
    words: Embedding,
    positions: Param<Tensor<2>>,
    blocks: Vec<TextBlock>,
}

impl TextEncoder {
    /// Reads `prompt_words` words of a vocabulary of `vocabulary`, in `layers` blocks.
    pub(crate) fn new(
        shape: BlockShape,
        layers: usize,
        [vocabulary, prompt_words]: [usize; 2],
        device: &Device,
    ) -> Self {
        let initializer = Initializer::Normal { mean: 0.0, std: 0.5 };
        Self {
            words: EmbeddingConfig::new(vocabulary, shape.width)
                .with_initializer(initializer.clone())
                .init(device),
            positions: initializer.init([prompt_words, shape.width], device),
            blocks: (0..layers).map(|_| TextBlock::new(shape, device)).collect(),
        }
    }

    /// # Shapes
    /// - words: `[batch, prompt words]`; output: `[batch, prompt words, width]`.
    pub(crate) fn forward(&self, words: Tensor<2, Int>) -> Tensor<3> {
        let tokens = self.words.forward(words).add(self.positions.val().unsqueeze::<3>());
        rms_norm(self.blocks.iter().fold(tokens, |tokens, block| block.forward(tokens)))
    }
}
