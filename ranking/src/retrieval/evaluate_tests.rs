use burn::tensor::Device;
use kinora_harness::seed::seeded;
use proptest::prelude::*;

use super::super::artifact::Card;
use super::super::hyperparameters::Hyperparameters;
use super::super::model::RetrieverConfig;
use super::*;

/// The same scores for everyone.
struct Fixed(Vec<f32>);

impl Scorer for Fixed {
    fn scores(&self, histories: &[&[u32]]) -> Result<Vec<f32>> {
        Ok(self.0.repeat(histories.len()))
    }
}

#[test]
fn figures_of_a_hand_computed_case() {
    let histories: [&[u32]; 3] = [&[0], &[1, 2], &[3, 0]];
    let placed = place(&Fixed(vec![4.0, 3.0, 2.0, 1.0]), &histories, &[Some(2), Some(0), None], 2).unwrap();
    let ranks: Vec<usize> = placed.iter().map(|placed| placed.rank).collect();
    assert_eq!(ranks, [1, 0, usize::MAX]);
    let tops: Vec<&[u32]> = placed.iter().map(|placed| placed.top.as_slice()).collect();
    assert_eq!(tops, [[1, 2], [0, 3], [1, 2]]);

    let counts = [2, 1, 1, 0];
    let judge = Judge {
        activity: vec![1, 2, 2],
        wanted: vec![1, 2, 0],
        novelty: vec![1.0, 2.0, 2.0, 3.0],
        counts: &counts,
        draws: Draws::new(&[0, 1, 2], DRAWS, 1),
        seed: 1,
    };
    let ranking = judge.ranking(&placed);
    let near = |estimate: Estimate, value: f64| {
        let Interval { low, high } = estimate.interval.unwrap();
        (estimate.value - value).abs() < 1e-12 && low <= value && value <= high
    };
    let (one, five) = (&ranking.at[&1], &ranking.at[&5]);
    assert!(near(one.hit_rate, 1.0 / 3.0) && near(five.hit_rate, 2.0 / 3.0));
    assert!(near(five.ndcg, (1.0 + 1.0 / 3.0_f64.log2()) / 3.0));
    assert!(near(five.mrr, 1.5 / 3.0));
    // Lists of one: item 1 twice, item 0 once.
    assert!((one.coverage - 0.5).abs() < 1e-12 && (five.coverage - 1.0).abs() < 1e-12);
    assert!(near(one.novelty_bits, 5.0 / 3.0) && near(one.popularity, 4.0 / 3.0));
    assert!((one.gini.value - metrics::gini(&[1, 2, 0, 0])).abs() < 1e-12);
    let activity: Vec<(u64, u64, usize)> =
        ranking.by_activity.iter().map(|group| (group.from, group.until, group.people)).collect();
    assert_eq!(activity, [(1, 1, 1), (2, 2, 2)]);
    assert!((ranking.by_activity[1].hit_rate_10.value - 0.5).abs() < 1e-12);
}

/// A model of random weights on disk, of items `i0`, `i1`, ...
fn model_at(path: &Path, items: usize) {
    let config = RetrieverConfig { width: 8, blocks: 1, heads: 1, hidden: 8, length: 4 };
    let device = Device::flex();
    let model = seeded(&device, 5, || config.init(items, &device));
    let hyper = Hyperparameters { model: config, ..Hyperparameters::default() };
    let names: Vec<String> = (0..items).map(|item| format!("i{item}")).collect();
    artifact::save(path, &model, &Card::new(&hyper, 1, 1, 0.0, "none"), &names).unwrap();
}

#[test]
fn unknown_items_are_counted_and_another_vocabulary_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let (model, log) = (root.path().join("model"), root.path().join("log.txt"));
    model_at(&model, 6);
    let text = "a i0\na i1\na i2\nb i3\nb new\nb i4\nb other\nc new\nc new\nc i1\nd i1\n";
    std::fs::write(&log, text).unwrap();
    let report = evaluate(&model, &log, 1, DeviceChoice::Cpu).unwrap();
    assert_eq!((report.people, report.people_left_out, report.unknown_wanted), (2, 2, 1));
    assert_eq!((report.items, report.unknown_items, report.unknown_lines), (6, 2, 4));
    assert!(!report.training_histories);
    assert_eq!(serde_json::to_string(&report).unwrap(), {
        let again = evaluate(&model, &log, 1, DeviceChoice::Cpu).unwrap();
        serde_json::to_string(&again).unwrap()
    });
    std::fs::write(&log, "a x\na y\na z\n").unwrap();
    let error = evaluate(&model, &log, 1, DeviceChoice::Cpu).unwrap_err().to_string();
    assert!(error.contains("log.txt") && error.contains("vocabulary"), "{error}");
}

proptest! {
    #[test]
    fn groups_hold_everyone_once_in_order_and_keep_equals_together(by in prop::collection::vec(0_u64..12, 1..80)) {
        let groups = grouped(&by);
        prop_assert!(groups.len() <= GROUPS && groups.iter().all(|group| !group.is_empty()));
        let mut everyone: Vec<usize> = groups.concat();
        prop_assert!(everyone.is_sorted_by_key(|&person| by[person]));
        everyone.sort_unstable();
        prop_assert_eq!(everyone, (0..by.len()).collect::<Vec<_>>());
        for pair in groups.windows(2) {
            let last = pair[0].iter().map(|&person| by[person]).max();
            prop_assert!(last < pair[1].iter().map(|&person| by[person]).min());
        }
    }
}
