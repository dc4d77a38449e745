use burn::tensor::activation::log_softmax;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

const ITEMS: usize = 9;
const WIDTH: usize = 4;

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|_| rng.random_range(-2.0..2.0_f32)).collect()
}

/// A loss and its gradients by queries and items.
fn judged(
    positions: usize,
    seed: u64,
    loss: impl Fn(Tensor<2>, Tensor<2>) -> (Tensor<1>, Tensor<1>),
) -> [Vec<f32>; 3] {
    let device = Device::flex().autodiff();
    let leaf = |rows: usize, seed| {
        Tensor::<2>::from_data(TensorData::new(numbers(rows * WIDTH, seed), [rows, WIDTH]), &device)
            .require_grad()
    };
    let (queries, items) = (leaf(positions, seed), leaf(ITEMS, seed + 1));
    let (nats, surrogate) = loss(queries.clone(), items.clone());
    let gradients = surrogate.backward();
    let floats = |tensor: Option<Tensor<2>>| tensor.unwrap().try_into_vec_as::<f32>().unwrap();
    [nats.try_into_vec_as::<f32>().unwrap(), floats(queries.grad(&gradients)), floats(items.grad(&gradients))]
}

/// The cross-entropy as it is written down, its gradients by automatic differentiation.
fn naive(queries: Tensor<2>, items: Tensor<2>, targets: &[i32]) -> (Tensor<1>, Tensor<1>) {
    let device = queries.device();
    let likely = log_softmax(queries.matmul(items.transpose()), 1);
    let nats = likely.gather(1, column(targets, &device)).sum().neg();
    (nats.clone().inner(), nats)
}

fn near(a: &[Vec<f32>; 3], b: &[Vec<f32>; 3]) -> bool {
    a.iter().zip(b).all(|(a, b)| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3 * (1.0 + b.abs()))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn the_full_loss_and_its_gradients_are_those_of_the_definition(
        targets in prop::collection::vec(0..ITEMS as i32, 1..7), seed in 0_u64..1000,
    ) {
        let closed = judged(targets.len(), seed, |queries, items| {
            let loss = full(queries, items, &targets);
            (loss.nats, loss.surrogate)
        });
        let defined = judged(targets.len(), seed, |queries, items| naive(queries, items, &targets));
        prop_assert!(near(&closed, &defined), "{closed:?} {defined:?}");
    }

    /// All items drawn once, each expected once: nothing is left to chance.
    #[test]
    fn the_sampled_loss_of_all_items_is_the_full_one(
        targets in prop::collection::vec(0..ITEMS as i32, 1..7), seed in 0_u64..1000,
    ) {
        let everything =
            Negatives { items: (0..ITEMS as i32).collect(), log_expected: vec![0.0; ITEMS] };
        let drawn = judged(targets.len(), seed, |queries, items| {
            let loss = sampled(queries, items, &targets, &everything);
            (loss.nats, loss.surrogate)
        });
        let defined = judged(targets.len(), seed, |queries, items| naive(queries, items, &targets));
        prop_assert!(near(&drawn, &defined), "{drawn:?} {defined:?}");
    }
}

/// More positions than are held at once: the parts add up.
#[test]
fn parts_add_up() {
    let targets: Vec<i32> = (0..(2 * ROWS + 5) as i32).map(|place| place % ITEMS as i32).collect();
    let closed = judged(targets.len(), 3, |queries, items| {
        let loss = full(queries, items, &targets);
        (loss.nats, loss.surrogate)
    });
    let defined = judged(targets.len(), 3, |queries, items| naive(queries, items, &targets));
    assert!(near(&closed, &defined));
}
