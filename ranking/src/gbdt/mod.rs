//! Gradient-boosted trees on dense features: a table and a target enter, an ensemble leaves.
//!
//! Histogram trees grown leaf by leaf (Ke et al., `LightGBM`, `NeurIPS` 2017). A value that is missing
//! goes to the side that training found better. INVARIANT: an ensemble depends on the table, the
//! target, the settings and the seed alone, never on the number of threads.

mod bins;
mod grow;

use rand::seq::index;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use self::bins::Binned;
pub use self::bins::Table;
use self::grow::Grower;

/// What the trees minimise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Objective {
    /// Log loss of a target of 0 or 1; scores are logits.
    Logistic,
    /// Absolute error, whose least is at the median.
    Absolute,
    /// Squared error, whose least is at the mean.
    Squared,
}

/// How trees are grown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub objective: Objective,
    pub trees: usize,
    pub leaves: usize,
    pub learning_rate: f64,
    /// Fewest rows of a leaf.
    pub leaf_rows: usize,
    /// Pull of a leaf's value towards zero, in units of the loss's curvature.
    pub l2: f64,
    /// Share of the features that a tree sees.
    pub feature_share: f64,
    /// Share of the rows that a tree sees.
    pub row_share: f64,
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            objective: Objective::Logistic,
            trees: 300,
            leaves: 31,
            learning_rate: 0.04,
            leaf_rows: 60,
            l2: 5.0,
            feature_share: 0.4,
            row_share: 0.8,
            seed: 1,
        }
    }
}

/// One tree, its nodes as parallel lists. A child below zero is a leaf: `!child` is its number.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    feature: Vec<u32>,
    /// Values up to and with the threshold go left.
    threshold: Vec<f32>,
    missing_left: Vec<bool>,
    left: Vec<i32>,
    right: Vec<i32>,
    value: Vec<f32>,
}

impl Tree {
    fn score(&self, row: &[f32]) -> f32 {
        let mut node = if self.feature.is_empty() { -1 } else { 0 };
        while node >= 0 {
            let at = node as usize;
            let value = row[self.feature[at] as usize];
            let left = if value.is_nan() { self.missing_left[at] } else { value <= self.threshold[at] };
            node = if left { self.left[at] } else { self.right[at] };
        }
        self.value[!node as usize]
    }

    /// Whether every row of `features` values ends in a leaf: children come after their parents.
    fn is_sound(&self, features: usize) -> bool {
        let nodes = self.feature.len();
        let child_is_sound = |(at, &child): (usize, &i32)| {
            if child < 0 {
                (!child as usize) < self.value.len()
            } else {
                child as usize > at && (child as usize) < nodes
            }
        };
        [self.threshold.len(), self.missing_left.len(), self.left.len(), self.right.len()] == [nodes; 4]
            && self.value.len() == nodes + 1
            && self.feature.iter().all(|&feature| (feature as usize) < features)
            && self.left.iter().enumerate().all(child_is_sound)
            && self.right.iter().enumerate().all(child_is_sound)
            && self.value.iter().all(|value| value.is_finite())
    }
}

/// An additive ensemble of trees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gbdt {
    base: f32,
    features: usize,
    trees: Vec<Tree>,
}

impl Gbdt {
    /// Fits an ensemble to `target`, a value for each row of the table.
    pub fn fit(table: &Table, target: &[f32], settings: &Settings) -> Self {
        Self::fit_while(table, target, settings, |_| true)
    }

    /// Fits an ensemble for as long as it gets better on rows that it does not learn from: it ends
    /// `patience` trees after the best one, and keeps those up to the best.
    pub fn fit_until(
        table: &Table,
        target: &[f32],
        settings: &Settings,
        (held_out, held_target): (&Table, &[f32]),
        patience: usize,
    ) -> Self {
        let mut scores: Vec<f32> = Vec::new();
        let (mut best, mut best_loss) = (0, f64::INFINITY);
        let mut ensemble = Self::fit_while(table, target, settings, |ensemble| {
            match ensemble.trees.last() {
                None => scores = vec![ensemble.base; held_out.rows()],
                Some(tree) => scores.par_iter_mut().enumerate().for_each(|(row, score)| {
                    *score += tree.score(held_out.row(row));
                }),
            }
            let loss = settings.objective.loss(&scores, held_target);
            if loss < best_loss {
                (best, best_loss) = (ensemble.trees.len(), loss);
            }
            ensemble.trees.len() < best + patience
        });
        ensemble.trees.truncate(best);
        ensemble
    }

    /// Grows trees while `goes_on` says so, which is asked before each of them.
    fn fit_while(
        table: &Table,
        target: &[f32],
        settings: &Settings,
        mut goes_on: impl FnMut(&Self) -> bool,
    ) -> Self {
        let rows = table.rows();
        let base = settings.objective.start(target);
        let mut ensemble = Self { base, features: table.features(), trees: Vec::new() };
        if rows == 0 {
            return ensemble;
        }
        let binned = Binned::new(table);
        let mut scores = vec![base; rows];
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let features = table.features();
        let seen = ((features as f64 * settings.feature_share).ceil() as usize).clamp(1, features.max(1));
        while goes_on(&ensemble) && ensemble.trees.len() < settings.trees {
            let gradients: Vec<[f32; 2]> = scores
                .iter()
                .zip(target)
                .map(|(&score, &target)| settings.objective.gradient(score, target))
                .collect();
            let mut chosen = index::sample(&mut rng, features, seen).into_vec();
            chosen.sort_unstable();
            let sampled: Vec<u32> = (0..rows as u32)
                .filter(|_| settings.row_share >= 1.0 || rng.random_bool(settings.row_share))
                .collect();
            let grower = Grower { binned: &binned, gradients: &gradients, features: &chosen, settings };
            // A sample in which no split gains anything: the next one may.
            let (mut tree, leaves) = grower.grow(sampled);
            if settings.objective == Objective::Absolute {
                for (value, members) in tree.value.iter_mut().zip(&leaves) {
                    let mut errors: Vec<f32> =
                        members.iter().map(|&row| target[row as usize] - scores[row as usize]).collect();
                    *value = settings.learning_rate as f32 * median(&mut errors);
                }
            }
            scores.par_iter_mut().enumerate().with_min_len(4096).for_each(|(row, score)| {
                *score += tree.score(table.row(row));
            });
            ensemble.trees.push(tree);
        }
        ensemble
    }

    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// The score of one row of features: a logit, or a value in the target's unit.
    pub fn score(&self, row: &[f32]) -> f32 {
        self.base + self.trees.iter().map(|tree| tree.score(row)).sum::<f32>()
    }

    /// The score of every row.
    pub fn scores(&self, table: &Table) -> Vec<f32> {
        (0..table.rows()).into_par_iter().map(|row| self.score(table.row(row))).collect()
    }

    /// Whether an ensemble read from a file can score rows of `features` values.
    pub fn is_sound(&self, features: usize) -> bool {
        self.features == features
            && self.base.is_finite()
            && self.trees.iter().all(|tree| tree.is_sound(features))
    }
}

impl Objective {
    fn start(self, target: &[f32]) -> f32 {
        let rows = target.len().max(1) as f64;
        let mean = target.iter().copied().map(f64::from).sum::<f64>() / rows;
        match self {
            Self::Logistic => {
                let rate = mean.clamp(0.5 / rows.max(2.0), 1.0 - 0.5 / rows.max(2.0));
                (rate / (1.0 - rate)).ln() as f32
            }
            Self::Absolute => median(&mut target.to_vec()),
            Self::Squared => mean as f32,
        }
    }

    /// Mean loss of the scores.
    fn loss(self, scores: &[f32], target: &[f32]) -> f64 {
        let one = |(&score, &target): (&f32, &f32)| {
            let (score, target) = (f64::from(score), f64::from(target));
            match self {
                Self::Logistic => score.max(0.0) - score * target + (-score.abs()).exp().ln_1p(),
                Self::Absolute => (score - target).abs(),
                Self::Squared => (score - target).powi(2),
            }
        };
        scores.iter().zip(target).map(one).sum::<f64>() / scores.len().max(1) as f64
    }

    /// First and second derivative of the loss by the score.
    fn gradient(self, score: f32, target: f32) -> [f32; 2] {
        match self {
            Self::Logistic => {
                let probability = 1.0 / (1.0 + (-score).exp());
                [probability - target, (probability * (1.0 - probability)).max(1e-7)]
            }
            Self::Absolute if score > target => [1.0, 1.0],
            Self::Absolute if score < target => [-1.0, 1.0],
            Self::Absolute => [0.0, 1.0],
            Self::Squared => [score - target, 1.0],
        }
    }
}

/// The middle value; zero of none.
fn median(values: &mut [f32]) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() { 0.0 } else { *values.select_nth_unstable_by(middle, f32::total_cmp).1 }
}

#[cfg(test)]
mod tests;
