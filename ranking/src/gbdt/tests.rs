use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn small() -> Settings {
    Settings {
        trees: 60,
        leaves: 8,
        learning_rate: 0.2,
        leaf_rows: 5,
        l2: 1.0,
        feature_share: 1.0,
        row_share: 1.0,
        ..Settings::default()
    }
}

/// Four features, one of them at times missing; the target is the exclusive or of the first two.
fn exclusive_or(rows: usize) -> (Table, Vec<f32>) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let mut table = Table::new(4);
    let mut target = Vec::new();
    for _ in 0..rows {
        let mut row: [f32; 4] = std::array::from_fn(|_| rng.random_range(-1.0..1.0));
        target.push(f32::from(u8::from((row[0] > 0.0) != (row[1] > 0.0))));
        if rng.random_bool(0.3) {
            row[2] = f32::NAN;
        }
        table.push(&row);
    }
    (table, target)
}

#[test]
fn learns_what_no_line_can_tell() {
    let (table, target) = exclusive_or(2_000);
    let scores = Gbdt::fit(&table, &target, &small()).scores(&table);
    let right =
        scores.iter().zip(&target).filter(|(score, target)| (**score > 0.0) == (**target > 0.5)).count();
    assert!(right > 1_950, "{right} of 2000");
}

#[test]
fn the_training_loss_falls_with_every_tree() {
    let (table, target) = exclusive_or(800);
    for objective in [Objective::Logistic, Objective::Squared] {
        let fitted = Gbdt::fit(&table, &target, &Settings { objective, ..small() });
        let first = |trees: usize| Gbdt { trees: fitted.trees[..trees].to_vec(), ..fitted.clone() };
        let losses: Vec<f64> =
            (0..=fitted.trees()).map(|trees| objective.loss(&first(trees).scores(&table), &target)).collect();
        assert!(losses.len() > 10);
        assert!(losses.windows(2).all(|pair| pair[1] <= pair[0] + 1e-6), "{losses:?}");
    }
}

#[test]
fn training_ends_at_the_tree_that_is_best_on_rows_held_out() {
    let (table, target) = exclusive_or(400);
    // The held-out rows contradict the training rows: no tree helps.
    let opposite: Vec<f32> = target.iter().map(|target| 1.0 - target).collect();
    let stopped = Gbdt::fit_until(&table, &target, &small(), (&table, &opposite), 5);
    assert_eq!(stopped.trees(), 0);
    let kept = Gbdt::fit_until(&table, &target, &small(), (&table, &target), 5);
    assert_eq!(kept, Gbdt::fit(&table, &target, &small()));
}

#[test]
fn the_absolute_error_finds_medians_and_the_squared_error_means() {
    let mut table = Table::new(1);
    let mut target = Vec::new();
    for row in 0..300 {
        table.push(&[f32::from(u8::from(row % 2 == 0))]);
        // Of every six of a kind: four zeros, two hundreds.
        target.push(if row % 6 < 4 { 0.0 } else { 100.0 });
    }
    for (objective, expected) in [(Objective::Absolute, 0.0), (Objective::Squared, 100.0 / 3.0)] {
        let fitted = Gbdt::fit(&table, &target, &Settings { objective, l2: 0.0, ..small() });
        for side in [0.0, 1.0] {
            assert!(
                (fitted.score(&[side]) - expected).abs() < 1.0,
                "{objective:?}: {}",
                fitted.score(&[side])
            );
        }
    }
}

#[test]
fn missing_values_go_to_the_side_that_they_resemble() {
    for missing in [0.0, 1.0] {
        let mut table = Table::new(1);
        let mut target = Vec::new();
        for row in 0..300 {
            let (value, outcome) = [(0.0, 0.0), (1.0, 1.0), (f32::NAN, missing)][row % 3];
            table.push(&[value]);
            target.push(outcome);
        }
        let fitted = Gbdt::fit(&table, &target, &small());
        assert_eq!(fitted.score(&[f32::NAN]) > 0.0, missing > 0.5);
        assert!(fitted.score(&[0.0]) < 0.0 && fitted.score(&[1.0]) > 0.0);
    }
}

#[test]
fn the_same_on_any_number_of_threads_and_after_a_file() {
    let (table, target) = exclusive_or(500);
    let settings = Settings { feature_share: 0.5, row_share: 0.7, ..small() };
    let on = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Gbdt::fit(&table, &target, &settings))
    };
    let fitted = on(1);
    assert_eq!(fitted, on(3));
    let json = serde_json::to_string(&fitted).unwrap();
    let read: Gbdt = serde_json::from_str(&json).unwrap();
    assert!(read.is_sound(4) && !read.is_sound(5));
    assert_eq!(read.scores(&table), fitted.scores(&table));
}

#[test]
fn an_ensemble_that_would_run_astray_is_not_sound() {
    let (table, target) = exclusive_or(300);
    let fitted = Gbdt::fit(&table, &target, &small());
    assert!(fitted.is_sound(4));
    let spoilt = |spoil: fn(&mut Tree)| {
        let mut ensemble = fitted.clone();
        spoil(&mut ensemble.trees[0]);
        !ensemble.is_sound(4)
    };
    assert!(spoilt(|tree| tree.left[0] = 0), "a node that leads to itself");
    assert!(spoilt(|tree| tree.right[0] = -99), "a leaf that is not there");
    assert!(spoilt(|tree| tree.feature[0] = 4), "a feature that is not there");
    assert!(spoilt(|tree| tree.value[0] = f32::NAN), "a value that is not a number");
}

proptest! {
    #[test]
    fn any_table_gives_finite_scores(
        rows in prop::collection::vec(
            (prop::array::uniform3(prop::num::f32::ANY), prop::bool::ANY), 0..60),
    ) {
        let mut table = Table::new(3);
        for (row, _) in &rows {
            table.push(row);
        }
        let target: Vec<f32> = rows.iter().map(|(_, outcome)| f32::from(u8::from(*outcome))).collect();
        let fitted = Gbdt::fit(&table, &target, &Settings { trees: 5, ..small() });
        prop_assert!(fitted.scores(&table).iter().all(|score| score.is_finite()));
    }
}
