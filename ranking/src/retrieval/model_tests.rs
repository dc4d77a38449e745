use burn::tensor::Device;
use kinora_harness::seed::seeded;
use proptest::prelude::*;

use super::*;

const ITEMS: u32 = 20;

fn model(seed: u64) -> Retriever {
    let device = Device::flex();
    let config = RetrieverConfig { width: 16, blocks: 2, heads: 2, hidden: 32, length: 12 };
    seeded(&device, seed, || config.init(ITEMS as usize, &device))
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().unwrap()
}

fn near(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4)
}

fn history() -> impl Strategy<Value = Vec<u32>> {
    prop::collection::vec(0..ITEMS, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What fills a batch up changes nothing.
    #[test]
    fn a_batch_gives_what_each_history_gives_alone(
        histories in prop::collection::vec(history(), 1..6), seed in 0_u64..100,
    ) {
        let model = model(seed);
        let together = floats(model.last_queries(&histories));
        for (history, query) in histories.iter().zip(together.chunks_exact(16)) {
            let alone = floats(model.last_queries(std::slice::from_ref(history)));
            prop_assert!(near(&alone, query));
        }
    }

    #[test]
    fn a_position_does_not_see_what_comes_later(
        past in history(), [one, other] in [0..ITEMS, 0..ITEMS], seed in 0_u64..100,
    ) {
        let model = model(seed);
        let queries = |last: u32| {
            let history: Vec<u32> = past.iter().copied().chain([last]).collect();
            let mut queries = floats(model.forward(&Histories::new(&[history]), None));
            queries.truncate(16 * past.len());
            queries
        };
        prop_assert!(near(&queries(one), &queries(other)));
    }

    /// Items that are named otherwise are ranked alike.
    #[test]
    fn scores_follow_the_items_and_not_their_numbers(history in history(), turn in 0..ITEMS, seed in 0_u64..100) {
        let model = model(seed);
        let scores = |model: &Retriever, history: &[u32]| {
            floats(model.last_queries(&[history]).matmul(model.items().transpose()))
        };
        let moved = |item: u32| (item + turn) % ITEMS;
        let mut table = floats(model.items());
        table.rotate_right(16 * turn as usize);
        let mut renamed = model.clone();
        renamed.items = renamed.items.map(|items| {
            Tensor::from_data(TensorData::new(table.clone(), [ITEMS as usize, 16]), &items.device())
        });
        let mut expected = scores(&model, &history);
        expected.rotate_right(turn as usize);
        let renamed_history: Vec<u32> = history.iter().copied().map(moved).collect();
        prop_assert!(near(&scores(&renamed, &renamed_history), &expected));
    }
}

#[test]
fn the_order_of_a_history_matters() {
    let model = model(1);
    let [one, other] = [[1, 2, 3], [2, 1, 3]].map(|history| floats(model.last_queries(&[history])));
    assert!(!near(&one, &other));
}
