//! Calibration of one head (Platt): held-out logits and outcomes enter, a slope and an offset
//! leave.
//!
//! A head is ranked by its logit and weighed by its probability, so the probability has to mean
//! what it says. The fit is pulled towards "no change" as if by a few rows of evidence, so that
//! a head with three positives keeps its shape.

use serde::{Deserialize, Serialize};

/// Strength of the pull towards the identity, in rows of evidence.
const PRIOR: f64 = 4.0;
const ITERATIONS: usize = 50;

/// `probability = sigmoid(slope * logit + offset)`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Platt {
    pub slope: f32,
    pub offset: f32,
}

impl Default for Platt {
    fn default() -> Self {
        Self { slope: 1.0, offset: 0.0 }
    }
}

impl Platt {
    pub fn probability(self, logit: f32) -> f32 {
        sigmoid(f64::from(self.slope) * f64::from(logit) + f64::from(self.offset)) as f32
    }

    /// Fits to held-out rows by Newton's method. The slope stays positive: calibration never
    /// reorders what a head ranks.
    pub fn fit(logits: &[f32], outcomes: &[bool]) -> Self {
        let (mut slope, mut offset) = (1.0_f64, 0.0_f64);
        for _ in 0..ITERATIONS {
            // Gradient and Hessian of the negative log likelihood and the pull.
            let mut gradient = [PRIOR * (slope - 1.0), PRIOR * 0.25 * offset];
            let mut hessian = [PRIOR, 0.0, PRIOR * 0.25];
            for (&logit, &outcome) in logits.iter().zip(outcomes) {
                let logit = f64::from(logit);
                let probability = sigmoid(slope * logit + offset);
                let error = probability - f64::from(u8::from(outcome));
                let weight = probability * (1.0 - probability);
                gradient[0] += error * logit;
                gradient[1] += error;
                hessian[0] += weight * logit * logit;
                hessian[1] += weight * logit;
                hessian[2] += weight;
            }
            let determinant = hessian[0] * hessian[2] - hessian[1] * hessian[1];
            let step_slope = (hessian[2] * gradient[0] - hessian[1] * gradient[1]) / determinant;
            let step_offset = (hessian[0] * gradient[1] - hessian[1] * gradient[0]) / determinant;
            if !(step_slope.is_finite() && step_offset.is_finite()) {
                return Self::default();
            }
            // Newton overshoots where the curve is flat: no step longer than one.
            slope = (slope - step_slope.clamp(-1.0, 1.0)).max(0.05);
            offset -= step_offset.clamp(-1.0, 1.0);
            if step_slope.abs() < 1e-7 && step_offset.abs() < 1e-7 {
                break;
            }
        }
        Self { slope: slope as f32, offset: offset as f32 }
    }
}

fn sigmoid(logit: f64) -> f64 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Outcomes drawn from `sigmoid(slope * logit + offset)`.
    fn drawn(rows: usize, slope: f64, offset: f64) -> (Vec<f32>, Vec<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        (0..rows)
            .map(|_| {
                let logit: f64 = rng.random_range(-4.0..3.0);
                (logit as f32, rng.random_bool(sigmoid(slope * logit + offset)))
            })
            .unzip()
    }

    #[test]
    fn a_distortion_is_undone() {
        let (logits, outcomes) = drawn(20_000, 0.6, -0.8);
        let platt = Platt::fit(&logits, &outcomes);
        assert!((platt.slope - 0.6).abs() < 0.05 && (platt.offset + 0.8).abs() < 0.08, "{platt:?}");
    }

    #[test]
    fn without_evidence_nothing_changes() {
        assert_eq!(Platt::fit(&[], &[]), Platt::default());
    }

    #[test]
    fn a_head_without_positives_stays_finite() {
        let platt = Platt::fit(&[-3.0; 500], &[false; 500]);
        let probability = platt.probability(-3.0);
        assert!(platt.slope > 0.0 && (0.0..0.05).contains(&probability), "{platt:?}");
    }

    proptest! {
        #[test]
        fn calibration_never_reorders(
            rows in prop::collection::vec((-20.0_f32..20.0, any::<bool>()), 0..100),
            [a, b] in [-20.0_f32..20.0, -20.0_f32..20.0],
        ) {
            let (logits, outcomes): (Vec<f32>, Vec<bool>) = rows.into_iter().unzip();
            let platt = Platt::fit(&logits, &outcomes);
            prop_assert!(platt.slope > 0.0 && platt.offset.is_finite());
            prop_assert!(platt.probability(a.min(b)) <= platt.probability(a.max(b)));
        }
    }
}
