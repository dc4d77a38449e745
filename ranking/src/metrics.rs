//! Measures of a ranking: scores and what happened enter, a number leaves.
//!
//! Scores need not be finite: one that is not sorts below all others. A measure that the rows
//! cannot give (one class only, no rows) is `None`, never a made-up value.

use std::collections::BTreeMap;

use serde::Serialize;

/// Probability that a positive is scored above a negative; ties count half.
pub fn auc(scores: &[f32], positives: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| finite(scores[a]).total_cmp(&finite(scores[b])));
    let count = positives.iter().filter(|&&positive| positive).count();
    let (positive, negative) = (count as f64, (positives.len() - count) as f64);
    if positive == 0.0 || negative == 0.0 {
        return None;
    }
    // The sum of the positives' ranks, where tied rows share the middle of theirs.
    let mut ranks = 0.0;
    let mut from = 0;
    while from < order.len() {
        let mut until = from + 1;
        while until < order.len() && equal(finite(scores[order[until]]), finite(scores[order[from]])) {
            until += 1;
        }
        let tied = order[from..until].iter().filter(|&&row| positives[row]).count();
        ranks += tied as f64 * (from + until + 1) as f64 / 2.0;
        from = until;
    }
    Some((ranks - positive * (positive + 1.0) / 2.0) / (positive * negative))
}

/// Mean of each group's [`auc`], weighted by its rows; groups of one class have none.
pub fn grouped_auc(groups: &[u32], scores: &[f32], positives: &[bool]) -> Option<f64> {
    let mut members: BTreeMap<u32, (Vec<f32>, Vec<bool>)> = BTreeMap::new();
    for ((&group, &score), &positive) in groups.iter().zip(scores).zip(positives) {
        let (scores, positives) = members.entry(group).or_default();
        scores.push(score);
        positives.push(positive);
    }
    let (sum, weight) = members
        .values()
        .filter_map(|(scores, positives)| Some((auc(scores, positives)?, scores.len() as f64)))
        .fold((0.0, 0.0), |(sum, weight), (auc, rows)| (sum + auc * rows, weight + rows));
    (weight > 0.0).then_some(sum / weight)
}

/// Mean negative log likelihood of the outcomes, in nats.
pub fn log_loss(probabilities: &[f32], outcomes: &[bool]) -> Option<f64> {
    mean(probabilities.iter().zip(outcomes).map(|(&probability, &outcome)| {
        let probability = f64::from(probability).clamp(1e-7, 1.0 - 1e-7);
        -(if outcome { probability } else { 1.0 - probability }).ln()
    }))
}

/// Rows that were said to be about as likely.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CalibrationBin {
    pub rows: usize,
    /// Mean probability that was said, and the share that happened.
    pub predicted: f64,
    pub happened: f64,
}

/// Expected calibration error over the bins of [`calibration`].
pub fn calibration_error(probabilities: &[f32], outcomes: &[bool]) -> Option<f64> {
    let bins = calibration(probabilities, outcomes);
    let gap = |bin: &CalibrationBin| bin.rows as f64 * (bin.predicted - bin.happened).abs();
    (!bins.is_empty()).then(|| bins.iter().map(gap).sum::<f64>() / probabilities.len() as f64)
}

/// What was said beside what happened, in at most ten bins of equal counts, lowest first; rows of one
/// probability share a bin.
pub fn calibration(probabilities: &[f32], outcomes: &[bool]) -> Vec<CalibrationBin> {
    const BINS: usize = 10;
    let rows = probabilities.len();
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let (mut bins, mut from) = (Vec::new(), 0);
    for bin in 1..=BINS {
        let mut until = from.max(bin * rows / BINS);
        while (1..rows).contains(&until)
            && equal(probabilities[order[until]], probabilities[order[until - 1]])
        {
            until += 1;
        }
        let members = &order[from..until];
        let share = |sum: f64| sum / members.len() as f64;
        if !members.is_empty() {
            bins.push(CalibrationBin {
                rows: members.len(),
                predicted: share(members.iter().map(|&row| f64::from(probabilities[row])).sum()),
                happened: share(members.iter().filter(|&&row| outcomes[row]).count() as f64),
            });
        }
        from = until;
    }
    bins
}

/// XAUC: how often of two rows the one predicted longer was watched longer, over all pairs of
/// unequal watches. Ties of the prediction count half.
pub fn xauc(predicted: &[f32], watched: &[f32]) -> Option<f64> {
    let mut order: Vec<usize> = (0..watched.len()).collect();
    order.sort_by(|&a, &b| watched[a].total_cmp(&watched[b]));
    // Predictions as ranks, so that a tree of counts can answer "how many below".
    let mut levels: Vec<f32> = predicted.iter().map(|&value| finite(value)).collect();
    levels.sort_by(f32::total_cmp);
    levels.dedup();
    let level = |row: usize| levels.partition_point(|&value| value < finite(predicted[row]));
    let mut counts = Counts::new(levels.len());
    let (mut concordant, mut pairs, mut inserted) = (0.0, 0.0, 0.0);
    let mut from = 0;
    while from < order.len() {
        let mut until = from;
        while until < order.len() && equal(watched[order[until]], watched[order[from]]) {
            let row = level(order[until]);
            let (below, through) = (counts.below(row), counts.below(row + 1));
            concordant += f64::midpoint(below, through);
            pairs += inserted;
            until += 1;
        }
        // Rows of an equal watch are not pairs: they enter the counts together.
        for &row in &order[from..until] {
            counts.add(level(row));
        }
        inserted += (until - from) as f64;
        from = until;
    }
    (pairs > 0.0).then_some(concordant / pairs)
}

/// Mean absolute error.
pub fn mean_absolute_error(predicted: &[f32], actual: &[f32]) -> Option<f64> {
    mean(predicted.iter().zip(actual).map(|(&p, &a)| (f64::from(p) - f64::from(a)).abs()))
}

/// Mean of the values, where there are any.
pub fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

fn finite(score: f32) -> f32 {
    // Adding zero makes the negative zero a zero: the two are tied.
    if score.is_finite() { score + 0.0 } else { f32::NEG_INFINITY }
}

/// Whether two numbers are one and the same in the order that rows are sorted by.
fn equal(a: f32, b: f32) -> bool {
    a.total_cmp(&b).is_eq()
}

/// Counts by level with sums below a level in logarithmic time (a Fenwick tree).
struct Counts(Vec<f64>);

impl Counts {
    fn new(levels: usize) -> Self {
        Self(vec![0.0; levels + 1])
    }

    fn add(&mut self, level: usize) {
        let mut node = level + 1;
        while node < self.0.len() {
            self.0[node] += 1.0;
            node += node & node.wrapping_neg();
        }
    }

    fn below(&self, level: usize) -> f64 {
        let mut node = level;
        let mut sum = 0.0;
        while node > 0 {
            sum += self.0[node];
            node &= node - 1;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, pair by pair.
    fn pairwise(scores: &[f32], values: &[f32]) -> Option<f64> {
        let (mut concordant, mut pairs) = (0.0, 0.0);
        for i in 0..scores.len() {
            for j in 0..scores.len() {
                if values[i] > values[j] {
                    pairs += 1.0;
                    concordant += match scores[i].partial_cmp(&scores[j]).unwrap() {
                        std::cmp::Ordering::Greater => 1.0,
                        std::cmp::Ordering::Equal => 0.5,
                        std::cmp::Ordering::Less => 0.0,
                    };
                }
            }
        }
        (pairs > 0.0).then_some(concordant / pairs)
    }

    fn close(a: Option<f64>, b: Option<f64>) -> bool {
        match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-9,
            (None, None) => true,
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn both_aucs_are_what_their_definition_says(
            rows in prop::collection::vec((0_u8..6, 0_u8..6, any::<bool>()), 0..40),
        ) {
            let scores: Vec<f32> = rows.iter().map(|row| f32::from(row.0)).collect();
            let watched: Vec<f32> = rows.iter().map(|row| f32::from(row.1)).collect();
            let positives: Vec<bool> = rows.iter().map(|row| row.2).collect();
            let classes: Vec<f32> = positives.iter().map(|&p| f32::from(u8::from(p))).collect();
            prop_assert!(close(auc(&scores, &positives), pairwise(&scores, &classes)));
            prop_assert!(close(xauc(&scores, &watched), pairwise(&scores, &watched)));
        }
    }

    #[test]
    fn scores_that_are_not_finite_sort_last() {
        assert_eq!(auc(&[f32::NAN, 0.1, 0.9], &[false, true, true]), Some(1.0));
        assert_eq!(auc(&[f32::INFINITY, 0.1, 0.9], &[true, false, false]), Some(0.0));
    }

    #[test]
    fn a_group_counts_by_its_rows_and_only_with_both_classes() {
        let groups = [1, 1, 2, 2, 2, 2, 3];
        let scores = [0.9, 0.1, 0.1, 0.2, 0.3, 0.9, 0.5];
        let positives = [true, false, true, false, false, false, true];
        let expected = (1.0 * 2.0 + 0.0 * 4.0) / 6.0;
        assert_eq!(grouped_auc(&groups, &scores, &positives), Some(expected));
        assert_eq!(grouped_auc(&[1], &[0.5], &[true]), None);
    }

    #[test]
    fn calibration_error_is_the_gap_between_said_and_happened() {
        let outcomes: Vec<bool> = (0..1000).map(|row| row % 5 == 0).collect();
        let honest = calibration_error(&[0.2; 1000], &outcomes).unwrap();
        let boastful = calibration_error(&[0.5; 1000], &outcomes).unwrap();
        assert!(honest < 1e-6 && (boastful - 0.3).abs() < 1e-6, "{honest} and {boastful}");
    }

    #[test]
    fn calibration_error_does_not_depend_on_the_order_of_equal_rows() {
        let mut outcomes: Vec<bool> = (0..1000).map(|row| row % 5 == 0).collect();
        outcomes.sort_unstable();
        assert!(calibration_error(&[0.2; 1000], &outcomes).unwrap() < 1e-6);
        let halves: Vec<f32> = (0..1000).map(|row| if row < 990 { 0.25 } else { 0.5 }).collect();
        let outcomes: Vec<bool> = (0..1000).map(|row| !(246..=995).contains(&row)).collect();
        let error = calibration_error(&halves, &outcomes).unwrap();
        assert!((error - 0.0025).abs() < 1e-6, "{error}");
        assert_eq!(calibration_error(&[0.5], &[true]), Some(0.5));
    }

    #[test]
    fn log_loss_of_a_coin_is_ln_two() {
        let loss = log_loss(&[0.5; 4], &[true, false, true, false]).unwrap();
        assert!((loss - std::f64::consts::LN_2).abs() < 1e-9);
        assert_eq!(log_loss(&[], &[]), None);
    }
}
