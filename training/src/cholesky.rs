//! Linear equations of least squares.

use std::iter::Sum;

use num_traits::Float;

/// Solves a symmetric positive definite system by Cholesky's decomposition; `None` where it is not one.
pub(crate) fn solve<T: Float + Sum>(mut matrix: Vec<Vec<T>>, mut right: Vec<T>) -> Option<Vec<T>> {
    let count = right.len();
    for row in 0..count {
        for column in 0..=row {
            let known: T = (0..column).map(|k| matrix[row][k] * matrix[column][k]).sum();
            let rest = matrix[row][column] - known;
            if row == column {
                if rest.is_nan() || rest <= T::zero() {
                    return None;
                }
                matrix[row][row] = rest.sqrt();
            } else {
                matrix[row][column] = rest / matrix[column][column];
            }
        }
    }
    for row in 0..count {
        let known: T = (0..row).map(|k| matrix[row][k] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    for row in (0..count).rev() {
        let known: T = (row + 1..count).map(|k| matrix[k][row] * right[k]).sum();
        right[row] = (right[row] - known) / matrix[row][row];
    }
    right.iter().all(|value| value.is_finite()).then_some(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved() {
        let matrix = vec![vec![4.0, 1.0, 0.5], vec![1.0, 3.0, 0.2], vec![0.5, 0.2, 2.0]];
        let expected = [1.0, -2.0, 0.5];
        let right = matrix.iter().map(|row| row.iter().zip(expected).map(|(a, b)| a * b).sum()).collect();
        let found: Vec<f64> = solve(matrix, right).unwrap();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert!(solve(vec![vec![0.0]], vec![1.0]).is_none());
        assert!(solve(vec![vec![f32::NAN]], vec![1.0]).is_none());
    }
}
