//! Softmax cross-entropy over the catalogue: queries and the items that came next enter, the loss and
//! a scalar with its gradients leave.
//!
//! Logits of a step are far larger than everything else. Their gradient has a closed form, softmax
//! minus one-hot, so no graph is kept for them: queries and items are multiplied by their gradients,
//! held constant, and the sum has exactly the gradients of the loss.

use burn::tensor::activation::softmax;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

/// Positions whose logits are held at once, a few MB for a few thousand items.
const ROWS: usize = 128;

/// A loss whose gradients are those of `surrogate`.
#[derive(Debug)]
pub struct Loss {
    /// Cross-entropy in nats, summed over positions, without gradients.
    pub nats: Tensor<1>,
    /// Its value means nothing; its gradients are those of the summed cross-entropy.
    pub surrogate: Tensor<1>,
}

/// Against all items.
///
/// # Shapes
///
/// - `queries`: `[positions, width]`
/// - `items`: `[items, width]`
pub fn full(queries: Tensor<2>, items: Tensor<2>, targets: &[i32]) -> Loss {
    let [positions, _] = queries.dims();
    let device = queries.device();
    let table = items.clone().inner();
    let home = table.device();
    let (mut nats, mut item_slopes, mut query_slopes) =
        (Tensor::zeros([1], &home), table.zeros_like(), Vec::new());
    for from in (0..positions).step_by(ROWS) {
        let until = (from + ROWS).min(positions);
        let part = queries.clone().inner().narrow(0, from, until - from);
        let target = column(&targets[from..until], &home);
        let share = softmax(part.clone().matmul(table.clone().transpose()), 1);
        nats = nats - share.clone().gather(1, target.clone()).clamp_min(1e-30).log().sum();
        let minus = Tensor::<2>::ones([until - from, 1], &home).neg();
        let slope = share.scatter(1, target, minus, IndexingUpdateOp::Add);
        query_slopes.push(slope.clone().matmul(table.clone()));
        item_slopes = item_slopes + slope.transpose().matmul(part);
    }
    let query_slopes = Tensor::cat(query_slopes, 0);
    Loss {
        nats,
        surrogate: with_slope(queries, query_slopes, &device) + with_slope(items, item_slopes, &device),
    }
}

/// Items drawn for a step, with the natural logarithms of how often each was to be expected.
#[derive(Clone, Debug)]
pub struct Negatives {
    pub items: Vec<i32>,
    pub log_expected: Vec<f32>,
}

/// Against the target and shared negatives, with the logQ correction (Yi et al. 2019): a negative
/// counts for as many as it stands for. A negative that is the target does not count.
///
/// # Shapes
///
/// - `queries`: `[positions, width]`
/// - `items`: `[items, width]`
pub fn sampled(queries: Tensor<2>, items: Tensor<2>, targets: &[i32], negatives: &Negatives) -> Loss {
    let [positions, _] = queries.dims();
    let device = queries.device();
    let home = queries.clone().inner().device();
    let count = negatives.items.len();
    let drawn = items.clone().select(0, flat(&negatives.items, &device));
    let next = items.select(0, flat(targets, &device));
    let table = drawn.clone().inner();
    let correction =
        Tensor::<2>::from_data(TensorData::new(negatives.log_expected.clone(), [1, count]), &home);
    let negative = flat(&negatives.items, &home).unsqueeze_dim::<2>(0);
    let (mut nats, mut drawn_slopes) = (Tensor::zeros([1], &home), table.zeros_like());
    let (mut query_slopes, mut next_slopes) = (Vec::new(), Vec::new());
    for from in (0..positions).step_by(ROWS) {
        let until = (from + ROWS).min(positions);
        let part = queries.clone().inner().narrow(0, from, until - from);
        let wanted = next.clone().inner().narrow(0, from, until - from);
        let same = column(&targets[from..until], &home)
            .expand([until - from, count])
            .equal(negative.clone().expand([until - from, count]));
        let others =
            (part.clone().matmul(table.clone().transpose()) - correction.clone()).mask_fill(same, -1e9);
        let own = (part.clone() * wanted.clone()).sum_dim(1);
        let share = softmax(Tensor::cat(vec![own, others], 1), 1);
        let own = share.clone().slice([0..until - from, 0..1]);
        let others = share.slice([0..until - from, 1..count + 1]);
        nats = nats - own.clone().clamp_min(1e-30).log().sum();
        let own = own - 1.0;
        query_slopes.push(others.clone().matmul(table.clone()) + own.clone() * wanted);
        drawn_slopes = drawn_slopes + others.transpose().matmul(part.clone());
        next_slopes.push(own * part);
    }
    let surrogate = with_slope(queries, Tensor::cat(query_slopes, 0), &device)
        + with_slope(drawn, drawn_slopes, &device)
        + with_slope(next, Tensor::cat(next_slopes, 0), &device);
    Loss { nats, surrogate }
}

/// A scalar whose gradient with respect to `x` is `slope`.
fn with_slope(x: Tensor<2>, slope: Tensor<2>, device: &Device) -> Tensor<1> {
    let slope = if device.is_autodiff() { Tensor::from_inner(slope) } else { slope };
    (x * slope).sum()
}

fn flat(numbers: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), [numbers.len()]), device)
}

fn column(numbers: &[i32], device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(numbers.to_vec(), [numbers.len(), 1]), device)
}

#[cfg(test)]
#[path = "loss_tests.rs"]
mod tests;
