use std::collections::HashSet;

use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

/// Random vectors of unlike lengths.
fn vectors(count: usize, width: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut vectors = Vec::with_capacity(count * width);
    for _ in 0..count {
        let scale = rng.random_range(0.5..2.0_f32);
        vectors.extend((0..width).map(|_| scale * rng.random_range(-1.0..1.0_f32)));
    }
    vectors
}

fn exact(vectors: &[f32], width: usize) -> ExactIndex {
    let mut index = ExactIndex::new(width);
    for (item, vector) in (0..).zip(vectors.chunks_exact(width)) {
        index.insert(item, vector).unwrap();
    }
    index
}

fn items(found: &[Neighbour]) -> Vec<u32> {
    found.iter().map(|found| found.item).collect()
}

/// What every index must hold to.
fn conforms(build: impl Fn(&[f32], usize) -> Box<dyn VectorIndex>, least_recall: f64) {
    const WIDTH: usize = 24;
    let table = vectors(1200, WIDTH, 1);
    let (mut index, mut reference) = (build(&table, WIDTH), exact(&table, WIDTH));
    assert_eq!(index.len(), 1200);

    // Some are removed, one of them comes back elsewhere, one moves.
    for item in (0..1200).step_by(3) {
        index.remove(item).unwrap();
        reference.remove(item).unwrap();
    }
    index.remove(5000).unwrap();
    for item in [3, 4] {
        let moved = vectors(1, WIDTH, u64::from(item));
        index.insert(item, &moved).unwrap();
        reference.insert(item, &moved).unwrap();
    }
    assert_eq!((index.len(), reference.len()), (801, 801));

    let except: HashSet<u32> = (0..1200).filter(|item| item % 20 == 1).collect();
    let (mut both, mut all) = (0, 0);
    for query in vectors(100, WIDTH, 2).chunks_exact(WIDTH) {
        let found = index.search(query, 20, &except).unwrap();
        let wanted = reference.search(query, 20, &except).unwrap();
        assert_eq!(found.len(), 20);
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        for Neighbour { item, score } in &found {
            assert!(
                !except.contains(item) && (item % 3 != 0 || *item == 3),
                "{item} was removed or is excepted"
            );
            assert_eq!(reference.score(query, *item).unwrap().score.to_bits(), score.to_bits());
        }
        let distinct: HashSet<u32> = items(&found).into_iter().collect();
        assert_eq!(distinct.len(), 20);
        both += wanted.iter().filter(|wanted| distinct.contains(&wanted.item)).count();
        all += wanted.len();
    }
    let recall = both as f64 / all as f64;
    assert!(recall >= least_recall, "recall {recall}");

    // The edges: nothing asked for, nothing left, one left, nothing there, wrong vectors.
    let none = HashSet::new();
    let all: HashSet<u32> = (0..1200).collect();
    let all_but_one: HashSet<u32> = (0..1200).filter(|&item| item != 4).collect();
    let query = vec![1.0; WIDTH];
    assert_eq!(index.search(&query, 0, &none).unwrap(), []);
    assert_eq!(index.search(&query, 5, &all).unwrap(), []);
    assert_eq!(items(&index.search(&query, 5, &all_but_one).unwrap()), [4]);
    for item in 0..1200 {
        index.remove(item).unwrap();
    }
    assert!(index.is_empty());
    assert_eq!(index.search(&query, 5, &none).unwrap(), []);
    for wrong in [vec![1.0; WIDTH + 1], vec![f32::NAN; WIDTH]] {
        assert!(index.search(&wrong, 5, &none).is_err());
        assert!(index.insert(1, &wrong).is_err());
    }
}

#[test]
fn the_exact_index_conforms() {
    conforms(|table, width| Box::new(exact(table, width)), 1.0);
}

#[test]
fn the_graph_conforms() {
    conforms(|table, width| Box::new(GraphIndex::build(table, width).unwrap()), 0.95);
}

#[test]
fn a_graph_that_was_saved_finds_the_same() {
    let table = vectors(300, 16, 3);
    let index = GraphIndex::build(&table, 16).unwrap();
    let bytes = index.to_bytes().unwrap();
    let read = GraphIndex::load(&bytes, &table, 16).unwrap();
    for query in vectors(20, 16, 4).chunks_exact(16) {
        let except = HashSet::from([1, 2, 3]);
        let search = |index: &GraphIndex| index.search(query, 10, &except).unwrap();
        assert_eq!(search(&index), search(&read));
    }
    assert!(GraphIndex::load(&bytes, &table[16..], 16).is_err());
}

proptest! {
    #[test]
    fn the_best_are_those_of_the_sorted_list(
        scores in prop::collection::vec(-3_i8..3, 0..40), count in 0_usize..50,
    ) {
        let found: Vec<Neighbour> =
            (0..).zip(&scores).map(|(item, &score)| Neighbour { item, score: f32::from(score) }).collect();
        let mut sorted = found.clone();
        sorted.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.item.cmp(&b.item)));
        sorted.truncate(count);
        prop_assert_eq!(best(found, count), sorted);
    }
}
