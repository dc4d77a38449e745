//! The network for all clips of one person's page: what does not depend on the clip is multiplied out once.
//!
//! The same numbers as [`RankerModel::answer`], in fewer operations. The person and the moment are the same in
//! every row, so that what they add is a bias, and a product with the person is a scale of the weights: of the
//! input's ten parts five are left. Tensors only multiply matrices; what lies between is too small for them.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};
use kinora_schema::ranking::DENSE;

use super::{HEADS, Lookup, RankerModel};
use crate::error::Result;
use crate::normalise::Normaliser;
use crate::rows::{PeopleBatch, Rows};
use crate::train::read_floats;

/// Rows at once: what they become stays in the cache.
const ROWS: usize = 256;

/// The network of one person at one moment.
pub struct PageModel<'a> {
    lookup: &'a Lookup,
    device: Device,
    /// `[d, history]`: a target to the scores of the history's items; none without a history.
    scores: Option<Tensor<2>>,
    /// `[history, d]`.
    items: Tensor<2>,
    /// `[input, hidden of the experts, gates, wide]`, all columns side by side.
    weights: Tensor<2>,
    bias: Vec<f32>,
    /// `[experts, hidden, expert]`, `[HEADS, expert, tower]` and `[HEADS, tower]`.
    experts: Tensor<3>,
    towers: Tensor<3>,
    heads: Vec<f32>,
}

impl<'a> PageModel<'a> {
    /// Of the only one of `people`, and of the moment that `rows` share.
    pub fn of(
        model: &RankerModel,
        lookup: &'a Lookup,
        people: &PeopleBatch,
        moment: &[u32],
        device: &Device,
    ) -> Result<Self> {
        let d = lookup.tokens.width;
        let mut pooled = vec![0.0; d];
        lookup.pool(moment, &mut pooled);
        let row = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [1, d]), device);
        let moment = row(pooled);
        let length = people.first_length;
        let user = model.pool(people.tokens.clone());
        let items = model.items(people).squeeze_dim::<2>(0).narrow(0, 0, length.max(1));
        let (scores, average) = if length == 0 {
            (None, row(vec![0.0; d]))
        } else {
            let keys = model.key.forward(items.clone());
            let query = model.query.weight.val() / (d as f64).sqrt();
            (Some(query.matmul(keys.transpose())), items.clone().mean_dim(0))
        };

        // Rows of the weights, in the order of the input that `RankerModel::answer` lays out.
        let both = Tensor::cat(vec![model.experts_in.weight.val(), model.gates.weight.val()], 1);
        let [_, columns] = both.dims();
        let wide = DENSE + lookup.bins.width;
        let part = |number: usize| both.clone().narrow(0, wide + number * d, d);
        let by_user = user.clone().transpose();
        let clip = part(1) + part(8) * by_user.clone();
        let target = part(3) + part(7) * by_user;
        let input = Tensor::cat(vec![both.clone().narrow(0, 0, wide), clip, target, part(4), part(6)], 0);
        let straight = Tensor::<2>::zeros([4 * d, HEADS], device);
        let straight = Tensor::cat(vec![model.wide.weight.val(), straight], 0);
        let weights = Tensor::cat(vec![input, straight], 1);
        let bias = |linear: &Linear| linear.bias.as_ref().map(Param::val);
        let biases = [bias(&model.experts_in), bias(&model.gates)].into_iter().flatten().collect();
        let constant = Tensor::<1>::cat(biases, 0).reshape([1, columns])
            + user.matmul(part(0))
            + moment.matmul(part(2))
            + average.matmul(part(5));
        let mut bias = read_floats(constant)?;
        bias.extend(read_floats(model.bias.val())?);
        Ok(Self {
            lookup,
            device: device.clone(),
            scores,
            items,
            weights,
            bias,
            experts: model.experts_out.val(),
            towers: model.towers.val(),
            heads: read_floats(model.heads.val())?,
        })
    }

    /// The logits of each row, `HEADS` after `HEADS`.
    pub fn answer(&self, rows: &Rows, at: &[usize], normaliser: &Normaliser) -> Result<Vec<f32>> {
        let mut logits = Vec::with_capacity(at.len() * HEADS);
        for at in at.chunks(ROWS) {
            self.answer_chunk(rows, at, normaliser, &mut logits)?;
        }
        Ok(logits)
    }

    fn answer_chunk(
        &self,
        rows: &Rows,
        at: &[usize],
        normaliser: &Normaliser,
        logits: &mut Vec<f32>,
    ) -> Result<()> {
        let count = at.len();
        let d = self.lookup.tokens.width;
        let wide = DENSE + self.lookup.bins.width;
        let found = self.lookup.find(rows, at, normaliser);
        let interests = self.interests(&found.targets, count)?;

        // --- The input without what all rows share, through the experts' first layer and the gates.
        let width = wide + 4 * d;
        let mut input = Vec::with_capacity(count * width);
        for row in 0..count {
            let own = row * d..(row + 1) * d;
            let (target, interest) = (&found.targets[own.clone()], &interests[own.clone()]);
            input.extend_from_slice(&found.dense[row * wide..(row + 1) * wide]);
            input.extend_from_slice(&found.clips[own]);
            input.extend_from_slice(target);
            input.extend_from_slice(interest);
            input.extend(target.iter().zip(interest).map(|(target, interest)| target * interest));
        }
        let mixed_in = self.product(input, [count, width], &self.weights)?;
        let [experts, hidden, expert] = self.experts.dims();
        let columns = self.bias.len();
        let gates_at = experts * hidden;
        let mut active = vec![0.0; experts * count * hidden];
        let mut gates = vec![0.0; count * HEADS * experts];
        for (row, values) in mixed_in.chunks_exact(columns).enumerate() {
            for number in 0..experts {
                let to = &mut active[(number * count + row) * hidden..][..hidden];
                let from = values[number * hidden..].iter().zip(&self.bias[number * hidden..]);
                for (to, (value, bias)) in to.iter_mut().zip(from) {
                    *to = (value + bias).max(0.0);
                }
            }
            let from = values[gates_at..].iter().zip(&self.bias[gates_at..]);
            let gates = &mut gates[row * HEADS * experts..][..HEADS * experts];
            for (gate, (value, bias)) in gates.iter_mut().zip(from) {
                *gate = value + bias;
            }
            gates.chunks_exact_mut(experts).for_each(softmax);
        }

        // --- The experts' answers, mixed for each head, through its tower.
        let active = Tensor::<3>::from_data(TensorData::new(active, [experts, count, hidden]), &self.device);
        let answers = read_floats(active.matmul(self.experts.clone()))?;
        let mut mixed = vec![0.0; HEADS * count * expert];
        for (row, gates) in gates.chunks_exact(HEADS * experts).enumerate() {
            for (head, gates) in gates.chunks_exact(experts).enumerate() {
                let mixed = &mut mixed[(head * count + row) * expert..][..expert];
                for (number, gate) in gates.iter().enumerate() {
                    let answer = &answers[(number * count + row) * expert..][..expert];
                    for (mixed, answer) in mixed.iter_mut().zip(answer) {
                        *mixed += gate * answer.max(0.0);
                    }
                }
            }
        }
        let mixed = Tensor::<3>::from_data(TensorData::new(mixed, [HEADS, count, expert]), &self.device);
        let towers = read_floats(mixed.matmul(self.towers.clone()))?;
        let [_, _, tower] = self.towers.dims();
        let straight_at = columns - HEADS;
        for row in 0..count {
            for head in 0..HEADS {
                let values = &towers[(head * count + row) * tower..][..tower];
                let weights = &self.heads[head * tower..][..tower];
                let sum: f32 =
                    values.iter().zip(weights).map(|(value, weight)| value.max(0.0) * weight).sum();
                let straight = mixed_in[row * columns + straight_at + head];
                logits.push(sum + straight + self.bias[straight_at + head]);
            }
        }
        Ok(())
    }

    /// What of the history speaks for each target, `[rows, d]`.
    fn interests(&self, targets: &[f32], count: usize) -> Result<Vec<f32>> {
        let d = self.lookup.tokens.width;
        let Some(scores) = &self.scores else { return Ok(vec![0.0; count * d]) };
        let [_, length] = scores.dims();
        let mut weights = self.product(targets.to_vec(), [count, d], scores)?;
        weights.chunks_exact_mut(length).for_each(softmax);
        self.product(weights, [count, length], &self.items)
    }

    fn product(&self, left: Vec<f32>, shape: [usize; 2], right: &Tensor<2>) -> Result<Vec<f32>> {
        let left = Tensor::<2>::from_data(TensorData::new(left, shape), &self.device);
        read_floats(left.matmul(right.clone()))
    }
}

impl std::fmt::Debug for PageModel<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageModel").field("history", &self.items.dims()).finish_non_exhaustive()
    }
}

fn softmax(values: &mut [f32]) {
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for value in values.iter_mut() {
        *value = exp(*value - most);
    }
    let scale = 1.0 / values.iter().sum::<f32>();
    for value in values {
        *value *= scale;
    }
}

/// The exponential of a number that is not positive, to seven digits: the compiler can do several at once,
/// which it cannot of the standard library's.
fn exp(x: f32) -> f32 {
    /// Adding it rounds to a whole number, which the lowest bits then hold.
    const ROUND: f32 = 12_582_912.0;
    let x = x.max(-87.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // The rest after whole powers of two, by ln 2 in two parts, of which the first is exact.
    let rest = x - whole * (355.0 / 512.0) + whole * 2.121_944_4e-4;
    let series = [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];
    let tail = series.iter().fold(0.0, |sum, term| sum * rest + term);
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    (tail * rest * rest + rest + 1.0) * power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::exp;

    proptest! {
        #[test]
        fn the_exponential_is_the_standard_library_s(x in -86.0_f32..=0.0) {
            prop_assert!((exp(x) / x.exp() - 1.0).abs() < 1e-6, "{x}: {} and {}", exp(x), x.exp());
        }
    }

    #[test]
    fn the_ends_of_the_exponential() {
        assert!((exp(0.0) - 1.0).abs() < f32::EPSILON);
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(-1e9) >= 0.0);
    }
}
