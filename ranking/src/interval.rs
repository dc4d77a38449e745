//! Confidence intervals by the bootstrap: rows of people enter, a figure with its interval leaves.
//!
//! People are drawn with replacement and keep all of their rows, since the rows of one person
//! resemble each other (Field and Welsh, JRSS B 2007). Draws follow from the seed.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

/// The range that the middle 95% of the draws fall into.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
}

/// Draws of people, as the rows of each draw; a person drawn twice is two people.
#[derive(Clone, Debug)]
pub struct Draws {
    rows_of: Vec<Vec<u32>>,
    /// The people of each draw: their rows would take many times the memory.
    people: Vec<Vec<u32>>,
}

impl Draws {
    /// `people` holds the person of each row, numbered from zero.
    pub fn new(people: &[u32], count: usize, seed: u64) -> Self {
        let persons = people.iter().max().map_or(0, |&last| last as usize + 1);
        let mut rows_of: Vec<Vec<u32>> = vec![Vec::new(); persons];
        for (row, &person) in people.iter().enumerate() {
            rows_of[person as usize].push(row as u32);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || (0..persons).map(|_| rng.random_range(0..persons) as u32).collect();
        let people = (0..count).map(|_| draw()).collect();
        Self { rows_of, people }
    }

    /// The interval of a figure of rows and the people that they were drawn as; none where no draw
    /// gives it.
    pub fn interval(&self, figure: impl Fn(&[u32], &[u32]) -> Option<f64> + Sync) -> Option<Interval> {
        let mut values: Vec<f64> = self
            .people
            .par_iter()
            .filter_map(|drawn| {
                let rows_of = |(person, place): (&u32, u32)| {
                    self.rows_of[*person as usize].iter().map(move |&row| (row, place))
                };
                let (rows, people): (Vec<u32>, Vec<u32>) = drawn.iter().zip(0..).flat_map(rows_of).unzip();
                figure(&rows, &people)
            })
            .collect();
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |share: f64| values[(share * last as f64).round() as usize];
        Some(Interval { low: at(0.025), high: at(0.975) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_of_a_mean_is_as_wide_as_theory_says() {
        let people: Vec<u32> = (0..400).collect();
        let values: Vec<f64> = (0..400).map(|row| f64::from(row % 2)).collect();
        let mean = |rows: &[u32], _: &[u32]| {
            Some(rows.iter().map(|&row| values[row as usize]).sum::<f64>() / rows.len() as f64)
        };
        let interval = Draws::new(&people, 400, 7).interval(mean).unwrap();
        // Two standard errors of 0.5 / 20 to either side.
        assert!((interval.low - 0.451).abs() < 0.01 && (interval.high - 0.549).abs() < 0.01, "{interval:?}");
        assert_eq!(Draws::new(&people, 400, 7).interval(mean), Some(interval));
        assert_eq!(Draws::new(&[], 10, 7).interval(mean).map(|interval| interval.low.is_nan()), Some(true));
        assert_eq!(Draws::new(&people, 10, 7).interval(|_, _| None), None);
    }
}
