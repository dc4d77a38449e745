//! One tree: gradients of the rows enter, the tree and the rows of its leaves leave.
//!
//! The leaf whose best split gains most is split next; the larger child's histogram is its parent's
//! less its sibling's.

use rayon::prelude::*;

use super::bins::{Binned, Column};
use super::{Settings, Tree};

/// Sums over the rows of one bin.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    gradient: f64,
    curvature: f64,
    rows: f64,
}

impl Sums {
    fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.curvature += other.curvature;
        self.rows += other.rows;
    }

    fn less(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            curvature: self.curvature - other.curvature,
            rows: self.rows - other.rows,
        }
    }
}

/// For each of the chosen features, the sums of each bin.
type Histogram = Vec<Vec<Sums>>;

#[derive(Clone, Copy, Debug)]
struct Split {
    gain: f64,
    feature: usize,
    /// The last bin that goes left.
    bin: usize,
    missing_left: bool,
}

struct Leaf {
    rows: Vec<u32>,
    histogram: Histogram,
    total: Sums,
    split: Option<Split>,
    /// Where the tree points at this leaf: a node, and whether by its left.
    parent: Option<(usize, bool)>,
}

pub(super) struct Grower<'a> {
    pub(super) binned: &'a Binned,
    /// First and second derivative of each row.
    pub(super) gradients: &'a [[f32; 2]],
    /// The features that this tree may split by.
    pub(super) features: &'a [usize],
    pub(super) settings: &'a Settings,
}

impl Grower<'_> {
    /// The tree over `rows`, and the rows of each leaf; one leaf where nothing is gained by a split.
    pub(super) fn grow(&self, rows: Vec<u32>) -> (Tree, Vec<Vec<u32>>) {
        let histogram = self.histogram(&rows);
        let mut leaves = vec![self.leaf(rows, histogram, None)];
        let mut tree = Tree::default();
        while leaves.len() < self.settings.leaves {
            let gain = |leaf: &Leaf| leaf.split.map_or(f64::NEG_INFINITY, |split| split.gain);
            let better =
                |best: usize, at: usize| if gain(&leaves[at]) > gain(&leaves[best]) { at } else { best };
            let best = (0..leaves.len()).reduce(better).unwrap_or(0);
            let Some(split) = leaves[best].split else { break };
            let leaf = leaves.swap_remove(best);
            let node = tree.feature.len();
            let column = &self.binned.columns[split.feature];
            tree.feature.push(split.feature as u32);
            tree.threshold.push(column.edges.get(split.bin).copied().unwrap_or(f32::MAX));
            tree.missing_left.push(split.missing_left);
            tree.left.push(0);
            tree.right.push(0);
            link(&mut tree, leaf.parent, node as i32);
            let (left, right) = self.divide(leaf, column, split, node);
            leaves.extend([left, right]);
        }
        for (number, leaf) in leaves.iter().enumerate() {
            link(&mut tree, leaf.parent, !(number as i32));
            let value = -leaf.total.gradient / (leaf.total.curvature + self.settings.l2);
            tree.value.push((value * self.settings.learning_rate) as f32);
        }
        (tree, leaves.into_iter().map(|leaf| leaf.rows).collect())
    }

    fn divide(&self, leaf: Leaf, column: &Column, split: Split, node: usize) -> (Leaf, Leaf) {
        let missing = column.bins() - 1;
        let goes_left = |&row: &u32| {
            let code = usize::from(column.codes[row as usize]);
            if code == missing { split.missing_left } else { code <= split.bin }
        };
        let (left, right): (Vec<u32>, Vec<u32>) = leaf.rows.into_iter().partition(goes_left);
        let smaller = self.histogram(if left.len() <= right.len() { &left } else { &right });
        let mut larger = leaf.histogram;
        for (larger, smaller) in larger.iter_mut().flatten().zip(smaller.iter().flatten()) {
            *larger = larger.less(*smaller);
        }
        let (of_left, of_right) =
            if left.len() <= right.len() { (smaller, larger) } else { (larger, smaller) };
        (self.leaf(left, of_left, Some((node, true))), self.leaf(right, of_right, Some((node, false))))
    }

    fn leaf(&self, rows: Vec<u32>, histogram: Histogram, parent: Option<(usize, bool)>) -> Leaf {
        let mut total = Sums::default();
        for &row in &rows {
            let [gradient, curvature] = self.gradients[row as usize];
            total.add(Sums { gradient: f64::from(gradient), curvature: f64::from(curvature), rows: 1.0 });
        }
        let mut leaf = Leaf { rows, histogram, total, split: None, parent };
        if leaf.rows.len() >= 2 * self.settings.leaf_rows {
            leaf.split = self.best_split(&leaf);
        }
        leaf
    }

    fn histogram(&self, rows: &[u32]) -> Histogram {
        let gradients: Vec<[f32; 2]> = rows.iter().map(|&row| self.gradients[row as usize]).collect();
        let one = |&feature: &usize| {
            let column = &self.binned.columns[feature];
            let mut bins = vec![Sums::default(); column.bins()];
            for (&row, &[gradient, curvature]) in rows.iter().zip(&gradients) {
                let sums = &mut bins[usize::from(column.codes[row as usize])];
                sums.gradient += f64::from(gradient);
                sums.curvature += f64::from(curvature);
                sums.rows += 1.0;
            }
            bins
        };
        self.features.par_iter().map(one).collect()
    }

    /// The split that gains most; the first of equals.
    fn best_split(&self, leaf: &Leaf) -> Option<Split> {
        let best: Vec<Option<Split>> = self
            .features
            .iter()
            .zip(&leaf.histogram)
            .map(|(&feature, bins)| self.best_of_feature(feature, bins, leaf.total))
            .collect();
        best.into_iter().flatten().reduce(|best, split| if split.gain > best.gain { split } else { best })
    }

    fn best_of_feature(&self, feature: usize, bins: &[Sums], total: Sums) -> Option<Split> {
        let (&missing, values) = bins.split_last()?;
        let worth = |sums: Sums| sums.gradient * sums.gradient / (sums.curvature + self.settings.l2);
        let fewest = self.settings.leaf_rows.max(1) as f64;
        let whole = worth(total);
        let mut best: Option<Split> = None;
        for missing_left in [false, true] {
            if missing_left && missing.rows < 0.5 {
                break;
            }
            let mut left = if missing_left { missing } else { Sums::default() };
            for (bin, &sums) in values.iter().enumerate() {
                left.add(sums);
                // Beyond the last value only the missing ones are left to tell apart.
                if bin + 1 == values.len() && (missing_left || missing.rows < 0.5) {
                    break;
                }
                let right = total.less(left);
                if left.rows < fewest || right.rows < fewest {
                    continue;
                }
                let gain = worth(left) + worth(right) - whole;
                if gain > best.map_or(1e-9, |best| best.gain) {
                    best = Some(Split { gain, feature, bin, missing_left });
                }
            }
        }
        best
    }
}

fn link(tree: &mut Tree, parent: Option<(usize, bool)>, child: i32) {
    match parent {
        Some((node, true)) => tree.left[node] = child,
        Some((node, false)) => tree.right[node] = child,
        None => {}
    }
}
