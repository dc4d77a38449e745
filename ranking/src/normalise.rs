//! Dense features as the model takes them: raw values enter, standardised values and bin
//! numbers leave.
//!
//! Statistics come from the rows that train alone. Bins of equal counts let the model bend where
//! a line cannot; a value that is not finite becomes the training mean, and is never an error.

use kinora_schema::ranking::DENSE;
use serde::{Deserialize, Serialize};

/// Bins of each feature.
pub const BINS: usize = 16;
/// Standard deviations beyond which a value says no more.
const LIMIT: f32 = 4.0;

/// Statistics of each dense feature.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normaliser {
    mean: Vec<f32>,
    deviation: Vec<f32>,
    /// Upper ends of all bins but the last, ascending.
    edges: Vec<Vec<f32>>,
}

impl Normaliser {
    /// Learns the statistics of `dense`.
    pub fn fit<'a>(dense: &(impl Iterator<Item = &'a [f32; DENSE]> + Clone)) -> Self {
        let mut normaliser = Self { mean: Vec::new(), deviation: Vec::new(), edges: Vec::new() };
        for feature in 0..DENSE {
            let mut values: Vec<f32> =
                dense.clone().map(|row| row[feature]).filter(|value| value.is_finite()).collect();
            values.sort_by(f32::total_cmp);
            let count = values.len().max(1) as f64;
            let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / count;
            let variance = values.iter().map(|&value| (f64::from(value) - mean).powi(2)).sum::<f64>() / count;
            normaliser.mean.push(mean as f32);
            // Zero marks a constant feature: it says nothing, so it becomes zero, not noise.
            normaliser.deviation.push(if variance > 1e-12 { variance.sqrt() as f32 } else { 0.0 });
            let mut edges: Vec<f32> =
                (1..BINS).filter_map(|bin| values.get(bin * values.len() / BINS).copied()).collect();
            edges.dedup();
            normaliser.edges.push(edges);
        }
        normaliser
    }

    /// Appends a row's standardised values, and for each the row of its bin in an embedding of
    /// `DENSE * BINS` rows.
    pub fn apply(&self, raw: &[f32; DENSE], dense: &mut Vec<f32>, bins: &mut Vec<i32>) {
        for (feature, &value) in raw.iter().enumerate() {
            let mean = self.mean[feature];
            let value = if value.is_finite() { value } else { mean };
            let deviation = self.deviation[feature];
            let standard = if deviation > 0.0 { (value - mean) / deviation } else { 0.0 };
            dense.push(standard.clamp(-LIMIT, LIMIT));
            let bin = self.edges[feature].partition_point(|&edge| edge <= value);
            bins.push((feature * BINS + bin) as i32);
        }
    }

    /// Whether statistics read from a file are of a shape that can be used.
    pub fn is_sound(&self) -> bool {
        self.mean.len() == DENSE
            && self.deviation.len() == DENSE
            && self.edges.len() == DENSE
            && self.mean.iter().all(|mean| mean.is_finite())
            && self.deviation.iter().all(|&deviation| deviation >= 0.0 && deviation.is_finite())
            && self.edges.iter().all(|edges| edges.len() < BINS && edges.is_sorted())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: impl Iterator<Item = f32>) -> Vec<[f32; DENSE]> {
        values.map(|value| [value; DENSE]).collect()
    }

    #[test]
    fn training_values_come_out_standard_and_in_equal_bins() {
        let normaliser = Normaliser::fit(&rows((0..1600).map(|n| n as f32)).iter());
        let (mut dense, mut bins) = (Vec::new(), Vec::new());
        for row in rows((0..1600).map(|n| n as f32)) {
            normaliser.apply(&row, &mut dense, &mut bins);
        }
        let first: Vec<f32> = dense.iter().step_by(DENSE).copied().collect();
        let mean = first.iter().sum::<f32>() / 1600.0;
        let variance = first.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / 1600.0;
        assert!(mean.abs() < 1e-3 && (variance - 1.0).abs() < 1e-2, "{mean}, {variance}");
        for bin in 0..BINS {
            assert_eq!(bins.iter().step_by(DENSE).filter(|&&at| at as usize == bin).count(), 100);
        }
    }

    #[test]
    fn what_is_not_finite_or_never_varies_becomes_the_mean() {
        let normaliser = Normaliser::fit(&rows([2.0, 2.0, f32::NAN].into_iter()).iter());
        assert!(normaliser.is_sound());
        for value in [f32::NAN, f32::INFINITY, 2.0, 900.0] {
            let (mut dense, mut bins) = (Vec::new(), Vec::new());
            normaliser.apply(&[value; DENSE], &mut dense, &mut bins);
            assert!(dense.iter().all(|&value| value == 0.0), "{dense:?}");
            assert!(bins.iter().enumerate().all(|(feature, &bin)| bin as usize / BINS == feature));
        }
    }

    #[test]
    fn statistics_survive_json() {
        let normaliser = Normaliser::fit(&rows((0..100).map(|n| (n as f32).sqrt())).iter());
        let json = serde_json::to_string(&normaliser).unwrap();
        assert_eq!(serde_json::from_str::<Normaliser>(&json).unwrap(), normaliser);
    }
}
