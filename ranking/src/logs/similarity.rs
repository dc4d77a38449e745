//! Which clips are watched by the same people: histories enter, a direction for each clip leaves.
//!
//! A truncated singular value decomposition of the (people, clips) matrix of watches, by subspace
//! iteration (Halko, Martinsson and Tropp, SIAM Review 2011). Clips that share an audience point the
//! same way.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Length of a direction.
pub const DIMENSIONS: usize = 64;
const ITERATIONS: usize = 8;
/// Watches that a person or a clip is given beside its own, which keeps the rare ones small.
const PRIOR: f32 = 5.0;

/// A unit vector for each clip, end to end; zeros where nobody has watched it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directions {
    values: Vec<f32>,
}

impl Directions {
    /// Learns the directions of `videos` clips from each person's watched clips.
    pub fn fit(watched: &[Vec<u32>], videos: usize, seed: u64) -> Self {
        let mut watched: Vec<Vec<u32>> = watched.to_vec();
        let mut counts = vec![0.0_f32; videos];
        for clips in &mut watched {
            clips.sort_unstable();
            clips.dedup();
            for &clip in clips.iter() {
                counts[clip as usize] += 1.0;
            }
        }
        let person_scale: Vec<f32> =
            watched.iter().map(|clips| 1.0 / (clips.len() as f32 + PRIOR).sqrt()).collect();
        let clip_scale: Vec<f32> = counts.iter().map(|count| 1.0 / (count + PRIOR).sqrt()).collect();
        let mut people_of: Vec<Vec<u32>> = vec![Vec::new(); videos];
        for (person, clips) in watched.iter().enumerate() {
            for &clip in clips {
                people_of[clip as usize].push(person as u32);
            }
        }
        // One step of the iteration: by the matrix to people, and back to clips.
        let gather = |lists: &[Vec<u32>], scale: &[f32], other: &[f32], from: &[Row]| -> Vec<Row> {
            lists
                .par_iter()
                .zip(scale)
                .map(|(list, &scale)| {
                    let mut sum = [0.0; DIMENSIONS];
                    for &at in list {
                        let weight = scale * other[at as usize];
                        sum.iter_mut()
                            .zip(&from[at as usize])
                            .for_each(|(sum, value)| *sum += weight * value);
                    }
                    sum
                })
                .collect()
        };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut basis: Vec<Row> =
            (0..videos).map(|_| std::array::from_fn(|_| rng.random_range(-1.0..1.0))).collect();
        orthonormalise(&mut basis);
        for iteration in 1..=ITERATIONS {
            let people = gather(&watched, &person_scale, &clip_scale, &basis);
            basis = gather(&people_of, &clip_scale, &person_scale, &people);
            // The last step keeps its lengths: they weigh the dimensions by what they explain.
            if iteration < ITERATIONS {
                orthonormalise(&mut basis);
            }
        }
        for row in &mut basis {
            let length = row.iter().map(|value| value * value).sum::<f32>().sqrt();
            for value in row {
                *value = if length > 1e-12 { *value / length } else { 0.0 };
            }
        }
        Self { values: basis.into_iter().flatten().collect() }
    }

    /// The direction of a clip; none where it had none to learn from.
    pub fn of(&self, video: u32) -> Option<&[f32]> {
        let from = (video as usize).checked_mul(DIMENSIONS)?;
        self.values.get(from..from.checked_add(DIMENSIONS)?)
    }

    /// The cosine between two clips; zero where one of them is unknown.
    pub fn cosine(&self, one: u32, other: u32) -> f32 {
        let (Some(one), Some(other)) = (self.of(one), self.of(other)) else { return 0.0 };
        one.iter().zip(other).map(|(a, b)| a * b).sum()
    }

    /// Whether directions read from a file are whole.
    pub fn is_sound(&self) -> bool {
        self.values.len().is_multiple_of(DIMENSIONS) && self.values.iter().all(|value| value.is_finite())
    }
}

type Row = [f32; DIMENSIONS];

/// Makes the columns orthogonal and of length one (modified Gram-Schmidt, in `f64`).
fn orthonormalise(rows: &mut [Row]) {
    for column in 0..DIMENSIONS {
        for before in 0..column {
            let along: f64 = rows.iter().map(|row| f64::from(row[column]) * f64::from(row[before])).sum();
            for row in rows.iter_mut() {
                row[column] -= (along * f64::from(row[before])) as f32;
            }
        }
        let length: f64 = rows.iter().map(|row| f64::from(row[column]).powi(2)).sum::<f64>().sqrt();
        let scale = if length > 1e-12 { 1.0 / length } else { 0.0 };
        for row in rows.iter_mut() {
            row[column] = (f64::from(row[column]) * scale) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clips_of_one_audience_point_the_same_way() {
        // Even clips are watched by even people, odd ones by odd people.
        let watched: Vec<Vec<u32>> =
            (0..60_u32).map(|person| (0..20).filter(|clip| clip % 2 == person % 2).collect()).collect();
        let directions = Directions::fit(&watched, 21, 1);
        assert!(directions.cosine(0, 2) > 0.9 && directions.cosine(1, 3) > 0.9);
        assert!(directions.cosine(0, 1).abs() < 0.1);
        // The last clip was never watched, and another is not there at all.
        assert!(directions.cosine(0, 20).abs() < 1e-6 && directions.cosine(0, u32::MAX).abs() < 1e-6);
        assert_eq!(directions, Directions::fit(&watched, 21, 1));
    }
}
