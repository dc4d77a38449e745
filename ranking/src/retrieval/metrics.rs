//! Ranking metrics of one wanted item a person: its rank enters, figures in [0, 1] leave.

/// How many items score at least as high as `target` among those not `seen`: 0 where it is the first.
/// Ties count against it, so that a model that scores everything alike earns nothing;
/// what is no number comes last.
pub fn rank(scores: &[f32], target: u32, seen: &[u32]) -> usize {
    let wanted = scores[target as usize];
    if wanted.is_nan() {
        return scores.len();
    }
    let above = |score: f32| score >= wanted || score.is_nan();
    let all = scores.iter().filter(|&&score| above(score)).count();
    let mut seen: Vec<u32> = seen.iter().copied().filter(|&item| item != target).collect();
    seen.sort_unstable();
    seen.dedup();
    let filtered = seen.iter().filter(|&&item| above(scores[item as usize])).count();
    // The target is at least as high as itself.
    all - filtered - 1
}

/// The `count` items with the highest scores among those not `seen`, best first; the smaller number first among
/// equals.
pub fn first(scores: &[f32], seen: &[u32], count: usize) -> Vec<u32> {
    if count == 0 {
        return Vec::new();
    }
    let mut hidden = vec![false; scores.len()];
    for &item in seen {
        hidden[item as usize] = true;
    }
    let mut items: Vec<u32> = (0..scores.len() as u32).filter(|&item| !hidden[item as usize]).collect();
    let score = |item: u32| match scores[item as usize] {
        score if score.is_nan() => f32::NEG_INFINITY,
        score => score,
    };
    let order = |a: &u32, b: &u32| score(*b).total_cmp(&score(*a)).then(a.cmp(b));
    if items.len() > count {
        items.select_nth_unstable_by(count - 1, order);
        items.truncate(count);
    }
    items.sort_unstable_by(order);
    items
}

/// Hit rate.
pub fn hit(rank: usize, cutoff: usize) -> f64 {
    f64::from(u8::from(rank < cutoff))
}

/// Normalised discounted cumulative gain with one relevant item.
pub fn ndcg(rank: usize, cutoff: usize) -> f64 {
    if rank < cutoff { 1.0 / ((rank + 2) as f64).log2() } else { 0.0 }
}

/// Reciprocal rank.
pub fn reciprocal(rank: usize, cutoff: usize) -> f64 {
    if rank < cutoff { 1.0 / (rank + 1) as f64 } else { 0.0 }
}

/// The mean of one figure over everyone's ranks.
pub fn mean(ranks: &[usize], figure: impl Fn(usize) -> f64) -> f64 {
    ranks.iter().map(|&rank| figure(rank)).sum::<f64>() / ranks.len().max(1) as f64
}

/// Gini coefficient of counts: 0 where all are alike, near 1 where one has everything.
pub fn gini(counts: &[u64]) -> f64 {
    let mut counts = counts.to_vec();
    counts.sort_unstable();
    let (n, total) = (counts.len() as f64, counts.iter().sum::<u64>() as f64);
    if total == 0.0 {
        return 0.0;
    }
    let weighed: f64 = counts.iter().enumerate().map(|(i, &count)| (i + 1) as f64 * count as f64).sum();
    (2.0 * weighed / (n * total) - (n + 1.0) / n).max(0.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn figures_of_a_hand_computed_case() {
        assert_eq!(rank(&[0.9, 0.5, 0.7, 0.5], 1, &[0]), 2);
        assert_eq!(rank(&[0.9, 0.5, 0.7, 0.1], 1, &[0, 2, 2]), 0);
        assert_eq!(rank(&[f32::NAN; 4], 1, &[]), 4);
        assert!((ndcg(2, 10) - 0.5).abs() < 1e-12 && ndcg(10, 10) == 0.0);
        assert!((reciprocal(3, 10) - 0.25).abs() < 1e-12);
        assert!((hit(9, 10) - 1.0).abs() < 1e-12 && hit(10, 10) == 0.0);
        assert!(gini(&[3, 3, 3]).abs() < 1e-12);
        assert!((gini(&[0, 0, 0, 8]) - 0.75).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn a_rank_is_the_place_in_the_sorted_list_and_ignores_the_items_numbers(
            scores in prop::collection::hash_set(-10_000_i32..10_000, 3..40), seed: prop::sample::Index,
            hidden in prop::collection::vec(any::<prop::sample::Index>(), 0..10), turn: prop::sample::Index,
        ) {
            let scores: Vec<f32> = scores.into_iter().map(|score| score as f32).collect();
            let n = scores.len();
            let target = seed.index(n);
            let seen: Vec<u32> = hidden.iter().map(|i| i.index(n) as u32).collect();
            let mut order: Vec<usize> =
                (0..n).filter(|&i| i == target || !seen.contains(&(i as u32))).collect();
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let naive = order.iter().position(|&i| i == target);
            let found = rank(&scores, target as u32, &seen);
            let listed = first(&scores, &seen, 7);
            let unseen: Vec<u32> =
                order.iter().map(|&i| i as u32).filter(|item| !seen.contains(item)).take(7).collect();
            prop_assert_eq!(listed, unseen);
            prop_assert_eq!(Some(found), naive);

            let by = turn.index(n);
            let mut turned = scores;
            turned.rotate_right(by);
            let moved: Vec<u32> = seen.iter().map(|&i| ((i as usize + by) % n) as u32).collect();
            prop_assert_eq!(rank(&turned, ((target + by) % n) as u32, &moved), found);
        }
    }
}
