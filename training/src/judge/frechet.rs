//! The Frechet distance of two sets of features: how far the Gaussians that fit them are from each other.
//!
//! It is `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2)` of means and covariances (Dowson and Landau,
//! 1982; Heusel et al., 2017). Two sets of one distribution are zero apart only in the limit of many samples:
//! figures are compared at the same number of clips, and beside the distance of two sets of ground truth.

/// A square, symmetric matrix, row by row.
#[derive(Clone, Debug, PartialEq)]
struct Matrix {
    side: usize,
    values: Vec<f64>,
}

impl Matrix {
    fn zero(side: usize) -> Self {
        Self { side, values: vec![0.0; side * side] }
    }

    fn at(&self, row: usize, column: usize) -> f64 {
        self.values[row * self.side + column]
    }

    fn set(&mut self, row: usize, column: usize, value: f64) {
        self.values[row * self.side + column] = value;
    }

    fn trace(&self) -> f64 {
        (0..self.side).map(|index| self.at(index, index)).sum()
    }

    fn times(&self, other: &Self) -> Self {
        let mut product = Self::zero(self.side);
        for row in 0..self.side {
            for inner in 0..self.side {
                let factor = self.at(row, inner);
                for column in 0..self.side {
                    product.values[row * self.side + column] += factor * other.at(inner, column);
                }
            }
        }
        product
    }

    /// Eigenvalues and, in columns, eigenvectors: Jacobi's rotations until nothing is left off the diagonal.
    fn eigen(mut self) -> (Vec<f64>, Self) {
        let side = self.side;
        let mut vectors = Self::zero(side);
        (0..side).for_each(|index| vectors.set(index, index, 1.0));
        let scale = self.values.iter().map(|value| value * value).sum::<f64>();
        // Each sweep squares what is left: a dozen reach the last bit.
        for _ in 0..40 {
            let off: f64 = (0..side)
                .flat_map(|row| (0..row).map(move |column| (row, column)))
                .map(|(row, column)| self.at(row, column).powi(2))
                .sum();
            if off <= 1e-26 * scale {
                break;
            }
            for row in 1..side {
                for column in 0..row {
                    self.rotate(column, row, &mut vectors);
                }
            }
        }
        ((0..side).map(|index| self.at(index, index)).collect(), vectors)
    }

    /// Turns the plane of `p` and `q` so that their product vanishes.
    fn rotate(&mut self, p: usize, q: usize, vectors: &mut Self) {
        let off = self.at(p, q);
        if off == 0.0 {
            return;
        }
        let theta = (self.at(q, q) - self.at(p, p)) / (2.0 * off);
        let tan = if theta == 0.0 { 1.0 } else { theta.signum() / (theta.abs() + theta.hypot(1.0)) };
        let cos = 1.0 / tan.hypot(1.0);
        let sin = tan * cos;
        for k in 0..self.side {
            let (a, b) = (self.at(k, p), self.at(k, q));
            self.set(k, p, cos * a - sin * b);
            self.set(k, q, sin * a + cos * b);
        }
        for k in 0..self.side {
            let (a, b) = (self.at(p, k), self.at(q, k));
            self.set(p, k, cos * a - sin * b);
            self.set(q, k, sin * a + cos * b);
            let (a, b) = (vectors.at(k, p), vectors.at(k, q));
            vectors.set(k, p, cos * a - sin * b);
            vectors.set(k, q, sin * a + cos * b);
        }
    }

    /// The positive square root of a covariance.
    fn root(self) -> Self {
        let (values, vectors) = self.eigen();
        let mut root = Self::zero(vectors.side);
        for (index, value) in values.iter().enumerate() {
            let length = value.max(0.0).sqrt();
            for row in 0..root.side {
                let factor = length * vectors.at(row, index);
                for column in 0..root.side {
                    root.values[row * root.side + column] += factor * vectors.at(column, index);
                }
            }
        }
        root
    }
}

/// Mean and covariance of features of one length; `None` for fewer than two or for lengths that differ.
fn fit(features: &[Vec<f32>]) -> Option<(Vec<f64>, Matrix)> {
    let side = features.first()?.len();
    if features.len() < 2 || features.iter().any(|row| row.len() != side) {
        return None;
    }
    let count = features.len() as f64;
    let mut mean = vec![0.0; side];
    for row in features {
        for (sum, &value) in mean.iter_mut().zip(row) {
            *sum += f64::from(value) / count;
        }
    }
    let mut covariance = Matrix::zero(side);
    for row in features {
        let away: Vec<f64> = row.iter().zip(&mean).map(|(&value, mean)| f64::from(value) - mean).collect();
        for (line, a) in covariance.values.chunks_exact_mut(side).zip(&away) {
            for (sum, b) in line.iter_mut().zip(&away) {
                *sum += a * b / (count - 1.0);
            }
        }
    }
    Some((mean, covariance))
}

/// The Frechet distance of two sets of features; `None` where a set has fewer than two, or where their
/// lengths differ. It falls with the number of clips: compare sets of one size, and read it beside the distance
/// of two sets of ground truth.
pub fn distance(one: &[Vec<f32>], other: &[Vec<f32>]) -> Option<f64> {
    let ((one_mean, one), (other_mean, other)) = (fit(one)?, fit(other)?);
    if one.side != other.side {
        return None;
    }
    let means: f64 = one_mean.iter().zip(&other_mean).map(|(a, b)| (a - b).powi(2)).sum();
    let traces = one.trace() + other.trace();
    let root = one.root();
    let (values, _) = root.times(&other).times(&root).eigen();
    let shared: f64 = values.iter().map(|value| value.max(0.0).sqrt()).sum();
    Some((means + traces - 2.0 * shared).max(0.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Points whose sample mean and covariance are exactly `mean` and diagonal `variances`.
    fn exact(mean: &[f64], variances: &[f64]) -> Vec<Vec<f32>> {
        let side = mean.len();
        (0..side)
            .flat_map(|axis| {
                // Two points an axis, all the others at the mean: 2 r^2 / (2 side - 1) is the variance.
                let reach = (variances[axis] * (2 * side - 1) as f64 / 2.0).sqrt();
                [-reach, reach].map(|away| {
                    let mut point: Vec<f32> = mean.iter().map(|&value| value as f32).collect();
                    point[axis] += away as f32;
                    point
                })
            })
            .collect()
    }

    #[test]
    fn gaussians_along_the_axes_have_the_closed_form() {
        let (one_mean, one) = ([0.0, 1.0, -2.0], [1.0, 4.0, 0.25]);
        let (other_mean, other) = ([0.5, 1.0, 1.0], [9.0, 1.0, 0.25]);
        let expected: f64 =
            one_mean.iter().zip(other_mean).map(|(a, b): (&f64, f64)| (a - b).powi(2)).sum::<f64>()
                + one.iter().zip(other).map(|(a, b): (&f64, f64)| (a.sqrt() - b.sqrt()).powi(2)).sum::<f64>();
        let found = distance(&exact(&one_mean, &one), &exact(&other_mean, &other)).unwrap();
        assert!((found - expected).abs() < 1e-4, "{found} for {expected}");
    }

    #[test]
    fn a_turn_of_the_axes_changes_nothing() {
        let turn = |points: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
            let (sin, cos) = 0.7_f32.sin_cos();
            points.iter().map(|p| vec![cos * p[0] - sin * p[1], sin * p[0] + cos * p[1]]).collect()
        };
        let (one, other) = (exact(&[0.0, 0.0], &[1.0, 9.0]), exact(&[1.0, 0.0], &[4.0, 4.0]));
        let straight = distance(&one, &other).unwrap();
        let turned = distance(&turn(one), &turn(other)).unwrap();
        assert!((straight - 3.0).abs() < 1e-4 && (turned - straight).abs() < 1e-4, "{straight} {turned}");
    }

    #[test]
    fn too_few_or_unlike_features_have_no_distance() {
        let points = exact(&[0.0, 0.0], &[1.0, 1.0]);
        assert_eq!(distance(&points[..1], &points), None);
        assert_eq!(distance(&points, &exact(&[0.0], &[1.0])), None);
        assert_eq!(distance(&[], &points), None);
    }

    proptest! {
        #[test]
        fn eigenvectors_make_the_matrix_again(seed in 0_u64..200, side in 1_usize..9) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut matrix = Matrix::zero(side);
            for row in 0..side {
                for column in 0..=row {
                    let value = rng.random_range(-2.0..2.0);
                    matrix.set(row, column, value);
                    matrix.set(column, row, value);
                }
            }
            let (values, vectors) = matrix.clone().eigen();
            for row in 0..side {
                for column in 0..side {
                    let sum: f64 =
                        (0..side).map(|k| values[k] * vectors.at(row, k) * vectors.at(column, k)).sum();
                    prop_assert!((sum - matrix.at(row, column)).abs() < 1e-9);
                }
            }
        }

        #[test]
        fn a_set_is_as_far_from_another_as_the_other_from_it(seed in 0_u64..50) {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut set = |spread: f32| -> Vec<Vec<f32>> {
                (0..12).map(|_| (0..4).map(|_| spread * rng.random_range(-1.0..1.0_f32)).collect()).collect()
            };
            let (one, other) = (set(1.0), set(3.0));
            let (there, back) = (distance(&one, &other).unwrap(), distance(&other, &one).unwrap());
            prop_assert!((there - back).abs() < 1e-6 && there > 0.0);
            prop_assert!(distance(&one, &one).unwrap() < 1e-6);
        }
    }
}
