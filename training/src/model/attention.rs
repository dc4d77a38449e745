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

    /// Without what gradients would be remembered for.
    pub(crate) fn inner(&self) -> Self {
        Self { cos: self.cos.clone().inner(), sin: self.sin.clone().inner() }
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

/// What attends to what: queries `[batch, heads, queries, head width]`, and keys and values
/// `[batch, heads, keys, head width]`. Queries and keys are normalised.
#[derive(Clone, Debug)]
pub(crate) struct Attention {
    pub(crate) queries: Tensor<4>,
    pub(crate) keys: Tensor<4>,
    pub(crate) values: Tensor<4>,
}

impl Attention {
    /// The attended values, as many as queries (softmax attention).
    pub(crate) fn attended(self) -> Tensor<4> {
        let Self { queries, keys, values } = self;
        softmax(scaled(queries).matmul(keys.swap_dims(2, 3)), 3).matmul(values)
    }

    /// The same, [`CHUNK`] queries at a time: scores of all queries with all keys are never held at once.
    /// Remembers no gradients.
    pub(crate) fn attended_in_chunks(&self) -> Tensor<4> {
        let keys = self.keys.clone().swap_dims(2, 3);
        let chunks = self.queries.clone().split(CHUNK, 2).into_iter();
        Tensor::cat(
            chunks
                .map(|queries| softmax(scaled(queries).matmul(keys.clone()), 3).matmul(self.values.clone()))
                .collect(),
            2,
        )
    }

    /// The slopes of queries, keys and values, from those of the attended values: scores are computed again,
    /// [`CHUNK`] queries at a time (Dao et al., 2022, section 3.1, without its tiles of keys).
    pub(crate) fn slopes(&self, attended: &Tensor<4>) -> Self {
        let Self { queries, keys, values } = self;
        let scale = scale(queries);
        let (mut of_queries, mut of_keys, mut of_values) =
            (Vec::new(), keys.zeros_like(), values.zeros_like());
        let slopes = attended.clone().split(CHUNK, 2);
        for (queries, slope) in queries.clone().split(CHUNK, 2).into_iter().zip(slopes) {
            let queries = queries.mul_scalar(scale);
            let weights = softmax(queries.clone().matmul(keys.clone().swap_dims(2, 3)), 3);
            of_values = of_values.add(weights.clone().swap_dims(2, 3).matmul(slope.clone()));
            let of_weights = slope.matmul(values.clone().swap_dims(2, 3));
            let mean = of_weights.clone().mul(weights.clone()).sum_dim(3);
            let of_scores = weights.mul(of_weights.sub(mean));
            of_queries.push(of_scores.clone().matmul(keys.clone()).mul_scalar(scale));
            of_keys = of_keys.add(of_scores.swap_dims(2, 3).matmul(queries));
        }
        Self { queries: Tensor::cat(of_queries, 2), keys: of_keys, values: of_values }
    }

    /// Without what gradients would be remembered for.
    pub(crate) fn inner(&self) -> Self {
        let inner = |part: &Tensor<4>| part.clone().inner();
        Self { queries: inner(&self.queries), keys: inner(&self.keys), values: inner(&self.values) }
    }
}

/// Queries whose scores are held at once where scores are computed in chunks.
const CHUNK: usize = 256;

fn scale(queries: &Tensor<4>) -> f32 {
    1.0 / (queries.dims()[3] as f32).sqrt()
}

fn scaled(queries: Tensor<4>) -> Tensor<4> {
    let scale = scale(&queries);
    queries.mul_scalar(scale)
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
    fn chunks_attend_and_slope_as_the_whole() {
        let device = Device::flex().autodiff();
        device.seed(3);
        let tensor = |tokens| {
            let shape = [2, 3, tokens, 8];
            Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device).require_grad()
        };
        // More than two chunks, the last one shorter.
        let whole = Attention { queries: tensor(2 * CHUNK + 40), keys: tensor(90), values: tensor(90) };
        let towards = tensor(2 * CHUNK + 40).inner();
        let attended = whole.clone().attended();
        let chunked = whole.inner().attended_in_chunks();
        let off = |one: Tensor<4>, two: Tensor<4>| one.sub(two).abs().max().into_scalar::<f32>();
        assert!(off(attended.clone().inner(), chunked) < 1e-5);
        let slopes = attended.mul(Tensor::from_inner(towards.clone())).sum().backward();
        let found = whole.inner().slopes(&towards);
        let expected = |part: &Tensor<4>| part.grad(&slopes).unwrap();
        assert!(off(found.queries, expected(&whole.queries)) < 1e-4);
        assert!(off(found.keys, expected(&whole.keys)) < 1e-4);
        assert!(off(found.values, expected(&whole.values)) < 1e-4);
    }

    #[test]
    fn heads_split_and_join() {
        let device = Device::flex();
        let tokens = Tensor::<3>::random([2, 5, 12], Distribution::Default, &device);
        let joined = join_heads(split_heads(tokens.clone(), 3));
        assert_eq!(tokens.into_data(), joined.into_data());
    }
}
