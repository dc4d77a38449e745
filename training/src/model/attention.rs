//! Attention whose positions are instants, and places in the picture where tokens have one: queries, keys and
//! values enter with where each token stands, attended values leave.
//!
//! Rotary embedding in real seconds puts picture and sound on one time axis whatever their token rates.
//! Queries and keys are normalised, so that no logit can run away in half precision.

use std::f32::consts::TAU;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor, TensorData};

/// Periods of the rotary embedding, in seconds: from a third of a second to two clips.
const SHORTEST_S: f32 = 0.33;
const LONGEST_S: f32 = 8.0;

/// Periods of the rotary embedding across the picture, in patches.
const SHORTEST_PATCHES: f32 = 2.5;
const LONGEST_PATCHES: f32 = 160.0;

/// Where a token stands: an instant, and a place in the picture about its centre.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Place {
    pub(crate) second: f32,
    /// Patches below the centre.
    pub(crate) row: f32,
    /// Patches to the right of the centre.
    pub(crate) column: f32,
}

/// Cosines and sines that turn tokens by their instants, `[1, 1, tokens, head width / 2]`.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl Rotation {
    /// The rotation of tokens that stand at `seconds`.
    pub(crate) fn new(seconds: &[f32], head_width: usize, device: &Device) -> Self {
        let pairs = head_width / 2;
        let rates = rates(SHORTEST_S, LONGEST_S, pairs);
        let angles = seconds.iter().flat_map(|&second| rates.iter().map(move |rate| second * rate));
        Self::by(angles.collect(), pairs, device)
    }

    /// The rotation of tokens at `places`: half of a head turns with time, a quarter each with row and column.
    pub(crate) fn in_space(places: &[Place], head_width: usize, device: &Device) -> Self {
        let pairs = head_width / 2;
        let across = pairs / 4;
        let in_time = rates(SHORTEST_S, LONGEST_S, pairs - 2 * across);
        let in_space = rates(SHORTEST_PATCHES, LONGEST_PATCHES, across);
        let angles = places.iter().flat_map(|place| {
            let turned = |by: f32| move |rate: &f32| by * rate;
            let rows = in_space.iter().map(turned(place.row));
            in_time
                .iter()
                .map(turned(place.second))
                .chain(rows)
                .chain(in_space.iter().map(turned(place.column)))
        });
        Self::by(angles.collect(), pairs, device)
    }

    fn by(angles: Vec<f32>, pairs: usize, device: &Device) -> Self {
        let tokens = angles.len() / pairs.max(1);
        let angles = Tensor::<4>::from_data(TensorData::new(angles, [1, 1, tokens, pairs]), device);
        Self { cos: angles.clone().cos(), sin: angles.sin() }
    }

    /// # Shapes
    /// - tokens: `[batch, heads, tokens, head width]`, likewise the output.
    pub(crate) fn turn(&self, tokens: Tensor<4>) -> Tensor<4> {
        let pairs = self.cos.dims()[3];
        let first = tokens.clone().narrow(3, 0, pairs);
        let second = tokens.narrow(3, pairs, pairs);
        let turned_first = first.clone().mul(self.cos.clone()).sub(second.clone().mul(self.sin.clone()));
        let turned_second = first.mul(self.sin.clone()).add(second.mul(self.cos.clone()));
        Tensor::cat(vec![turned_first, turned_second], 3)
    }
}

/// Angles a unit of length, for periods from the shortest to the longest.
fn rates(shortest: f32, longest: f32, pairs: usize) -> Vec<f32> {
    (0..pairs)
        .map(|pair| {
            let share = pair as f32 / (pairs.max(2) - 1) as f32;
            TAU / (shortest * (longest / shortest).powf(share))
        })
        .collect()
}

/// `[batch, tokens, width]` to `[batch, heads, tokens, width / heads]`.
pub(crate) fn split_heads(tokens: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, width] = tokens.dims();
    tokens.reshape([batch, length, heads, width / heads]).swap_dims(1, 2)
}

/// The inverse of [`split_heads`].
pub(crate) fn join_heads(tokens: Tensor<4>) -> Tensor<3> {
    let [batch, heads, length, head_width] = tokens.dims();
    tokens.swap_dims(1, 2).reshape([batch, length, heads * head_width])
}

/// Root-mean-square normalisation over the last axis, without a gain.
pub(crate) fn rms_norm<const D: usize>(tokens: Tensor<D>) -> Tensor<D> {
    let scale = tokens.clone().square().mean_dim(D - 1).add_scalar(1e-6).sqrt().recip();
    tokens.mul(scale)
}

/// Softmax attention over normalised queries and keys.
///
/// # Shapes
/// - queries: `[batch, heads, queries, head width]`; keys and values: `[batch, heads, keys, head width]`;
///   output as the queries.
pub(crate) fn attend(queries: Tensor<4>, keys: Tensor<4>, values: Tensor<4>) -> Tensor<4> {
    let head_width = queries.dims()[3];
    let queries = queries.mul_scalar(1.0 / (head_width as f32).sqrt());
    softmax(queries.matmul(keys.swap_dims(2, 3)), 3).matmul(values)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;

    fn values(tensor: Tensor<4>) -> Vec<f32> {
        tensor.try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn only_the_time_between_two_tokens_matters() {
        let device = Device::flex();
        let one = Tensor::<4>::random([1, 1, 1, 16], Distribution::Default, &device);
        let two = Tensor::<4>::random([1, 1, 1, 16], Distribution::Default, &device);
        let product = |first_s: f32, second_s: f32| {
            let first = Rotation::new(&[first_s], 16, &device).turn(one.clone());
            let second = Rotation::new(&[second_s], 16, &device).turn(two.clone());
            values(first.mul(second)).iter().sum::<f32>()
        };
        assert!((product(0.5, 0.75) - product(2.5, 2.75)).abs() < 1e-4);
        assert!((product(0.5, 0.75) - product(0.5, 1.5)).abs() > 1e-3);
    }

    #[test]
    fn in_space_only_the_way_between_two_tokens_matters_along_each_axis() {
        let device = Device::flex();
        let one = Tensor::<4>::random([1, 1, 1, 32], Distribution::Default, &device);
        let two = Tensor::<4>::random([1, 1, 1, 32], Distribution::Default, &device);
        let product = |from: [f32; 3], way: [f32; 3]| {
            let place = |at: [f32; 3]| Place { second: at[0], row: at[1], column: at[2] };
            let to = [0, 1, 2].map(|axis| from[axis] + way[axis]);
            let first = Rotation::in_space(&[place(from)], 32, &device).turn(one.clone());
            let second = Rotation::in_space(&[place(to)], 32, &device).turn(two.clone());
            values(first.mul(second)).iter().sum::<f32>()
        };
        let still = product([0.5, 1.0, 2.0], [0.0; 3]);
        for way in [[0.4, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]] {
            assert!((product([0.5, 1.0, 2.0], way) - product([1.5, -4.0, 0.0], way)).abs() < 1e-4);
            assert!((product([0.5, 1.0, 2.0], way) - still).abs() > 1e-3);
        }
    }

    #[test]
    fn heads_split_and_join() {
        let device = Device::flex();
        let tokens = Tensor::<3>::random([2, 5, 12], Distribution::Default, &device);
        let joined = join_heads(split_heads(tokens.clone(), 3));
        assert_eq!(tokens.into_data(), joined.into_data());
    }
}
