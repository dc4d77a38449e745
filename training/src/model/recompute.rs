//! A stack of blocks that keeps none of its activations: what enters each block is all that is remembered, and
//! the rest is computed again in the backward pass, one block at a time (Chen et al., 2016). Scores of attention
//! are never held for more than a few hundred queries.
//!
//! The slopes are those of the plain stack up to rounding; a step takes about a third longer.

use burn::tensor::{Gradients, Tensor};

use super::attention::Attention;
use super::block::{Attending, Rotations, Streams};

/// A stack that was passed through.
pub(crate) struct Passed<B> {
    blocks: Vec<B>,
    rotations: Rotations,
    /// What entered each block.
    inputs: Vec<Streams>,
    /// What left the last one: what comes after begins its gradients here.
    pub(crate) output: Streams,
}

/// Passes through `blocks`.
pub(crate) fn pass<B: Attending>(blocks: &[B], streams: &Streams, rotations: &Rotations) -> Passed<B> {
    let still = rotations.inner();
    let mut streams = streams.clone().map(Tensor::inner);
    let mut inputs = Vec::with_capacity(blocks.len());
    for block in blocks {
        inputs.push(streams.clone());
        let block = block.valid();
        let attended =
            block.look(&streams, &still).iter().map(Attention::attended_in_chunks).collect::<Vec<_>>();
        streams = block.take_in(streams, attended);
    }
    let output = leaves(&streams);
    Passed { blocks: blocks.to_vec(), rotations: rotations.clone(), inputs, output }
}

impl<B: Attending> Passed<B> {
    /// From the gradients of what came after: the slopes of what entered the stack, and the gradients of its
    /// blocks.
    pub(crate) fn backward(self, after: &Gradients) -> (Streams, Vec<Gradients>) {
        let mut slopes = slopes(&self.output, after);
        let mut gradients = Vec::with_capacity(2 * self.blocks.len());
        for (block, inputs) in self.blocks.iter().zip(self.inputs).rev() {
            let pieces;
            (slopes, pieces) = back_through(block, &inputs, &self.rotations, &slopes);
            gradients.extend(pieces);
        }
        (slopes, gradients)
    }
}

/// Back through one block: from the slopes of what leaves it to those of what enters it.
fn back_through<B: Attending>(
    block: &B,
    inputs: &Streams,
    rotations: &Rotations,
    slopes_out: &Streams,
) -> (Streams, [Gradients; 2]) {
    let before = leaves(inputs);
    let attentions = block.look(&before, rotations);
    let still: Vec<Attention> = attentions.iter().map(Attention::inner).collect();
    // Behind the attention.
    let attended: Vec<Tensor<4>> = still
        .iter()
        .map(|attention| Tensor::from_inner(attention.attended_in_chunks()).require_grad())
        .collect();
    let after = leaves(inputs);
    let left = block.take_in(after.clone(), attended.clone());
    let behind = along(left.tensors(), slopes_out.tensors()).backward();
    // Through it, and before it.
    let mut sums = Vec::new();
    for ((attention, still), attended) in attentions.into_iter().zip(still).zip(attended) {
        let Some(slope) = attended.grad(&behind) else { continue };
        let slopes = still.slopes(&slope);
        let Attention { queries, keys, values } = attention;
        sums.push(along(vec![queries, keys, values], vec![slopes.queries, slopes.keys, slopes.values]));
    }
    let ahead = Tensor::cat(sums, 0).sum().backward();
    let mut both = slopes(&before, &ahead).tensors().into_iter();
    let entered = slopes(&after, &behind).map(|slope| match both.next() {
        Some(other) => slope.add(other),
        None => slope,
    });
    (entered, [behind, ahead])
}

/// Tensors whose gradients are asked for, with the values of `streams`.
fn leaves(streams: &Streams) -> Streams {
    streams.clone().map(|values| Tensor::from_inner(values).require_grad())
}

/// The slopes of leaves; zero where nothing depends on one.
fn slopes(leaves: &Streams, gradients: &Gradients) -> Streams {
    leaves.clone().map(|leaf| leaf.grad(gradients).unwrap_or_else(|| leaf.inner().zeros_like()))
}

/// A number whose gradients are `slopes` where it depends on `tensors`.
pub(crate) fn along<const D: usize>(tensors: Vec<Tensor<D>>, slopes: Vec<Tensor<D>>) -> Tensor<1> {
    let products = tensors
        .into_iter()
        .zip(slopes)
        .map(|(tensor, slope)| tensor.mul(Tensor::from_inner(slope)).sum())
        .collect();
    Tensor::cat(products, 0).sum()
}
