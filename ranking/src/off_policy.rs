//! What another policy would have earned, from what one policy showed and with which probability.
//!
//! Inverse propensity scoring weighs each reward by how much likelier the other policy would have shown it
//! (Horvitz and Thompson 1952); self-normalisation divides by the weights' sum instead of their number, less
//! noisy and slightly biased (Swaminathan and Joachims, NIPS 2015); the doubly robust estimate weighs only what a
//! model of the reward did not foresee (Dudik, Langford and Li, ICML 2011).

use serde::Serialize;

use crate::error::{RankingError, Result};
use crate::interval::{Draws, Interval};

/// Draws of people that the intervals come from.
const DRAWS: usize = 400;

/// One thing that was shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logged {
    /// Who saw it, numbered from zero: rows of one person resemble each other.
    pub person: u32,
    pub reward: f64,
    /// Probability with which it was shown, above 0.
    pub propensity: f64,
    /// Probability with which the other policy would have shown it then.
    pub target: f64,
    /// The reward that a model predicts for it; 0 where there is none.
    pub predicted: f64,
    /// The reward that the model predicts for the other policy then: the mean of its predictions for all that
    /// could have been shown, weighed by the other policy's probabilities.
    pub expected: f64,
}

impl Logged {
    fn weight(&self) -> f64 {
        self.target / self.propensity
    }
}

/// The mean reward that the other policy would have earned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    pub value: f64,
    /// 95%, people drawn with replacement.
    pub interval: Option<Interval>,
}

/// All estimates, and how much they rest on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimates {
    pub rows: usize,
    /// Rows of the other policy that would be as informative (Kish 1965): few where it would have shown quite other
    /// things.
    pub effective_rows: f64,
    /// What the policy that was logged earned.
    pub logged: Estimate,
    pub ips: Estimate,
    pub snips: Estimate,
    pub dr: Estimate,
}

/// Estimates what another policy would have earned.
///
/// # Errors
///
/// No rows, and values that cannot be probabilities or rewards.
pub fn estimate(rows: &[Logged], seed: u64) -> Result<Estimates> {
    for (row, logged) in rows.iter().enumerate() {
        let Logged { reward, propensity, target, predicted, expected, .. } = *logged;
        let is_sound = propensity > 0.0
            && propensity <= 1.0
            && (0.0..=1.0).contains(&target)
            && [reward, predicted, expected].iter().all(|value| value.is_finite());
        if !is_sound {
            return Err(RankingError::Logged { row });
        }
    }
    if rows.is_empty() {
        return Err(RankingError::TooFew { split: "log".to_owned(), rows: 0, needed: 1 });
    }
    let people: Vec<u32> = rows.iter().map(|row| row.person).collect();
    let draws = Draws::new(&people, DRAWS, seed);
    let of = |figure: fn(&mut dyn Iterator<Item = &Logged>) -> Option<f64>| Estimate {
        value: figure(&mut rows.iter()).unwrap_or_default(),
        interval: draws.interval(|drawn, _| figure(&mut drawn.iter().map(|&row| &rows[row as usize]))),
    };
    let (sum, squares) = rows.iter().fold((0.0, 0.0), |(sum, squares), row| {
        let weight = row.weight();
        (sum + weight, squares + weight * weight)
    });
    Ok(Estimates {
        rows: rows.len(),
        effective_rows: if squares > 0.0 { sum * sum / squares } else { 0.0 },
        logged: of(|rows| mean(rows, |row| row.reward)),
        ips: of(|rows| mean(rows, |row| row.weight() * row.reward)),
        snips: of(|rows| {
            let (rewards, weights) = rows.fold((0.0, 0.0), |(rewards, weights), row| {
                (rewards + row.weight() * row.reward, weights + row.weight())
            });
            (weights > 0.0).then(|| rewards / weights)
        }),
        dr: of(|rows| mean(rows, |row| row.expected + row.weight() * (row.reward - row.predicted))),
    })
}

fn mean(rows: &mut dyn Iterator<Item = &Logged>, value: fn(&Logged) -> f64) -> Option<f64> {
    let (sum, count) = rows.fold((0.0, 0.0), |(sum, count), row| (sum + value(row), count + 1.0));
    (count > 0.0).then(|| sum / count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// Actions 0 to 3 with known chances of a reward, shown with `logging`, judged for `target`; the model of
    /// the reward is off by `bias`.
    fn log(rows: usize, target: [f64; 4], bias: f64, seed: u64) -> Vec<Logged> {
        const LOGGING: [f64; 4] = [0.4, 0.3, 0.2, 0.1];
        const CHANCES: [f64; 4] = [0.1, 0.3, 0.5, 0.8];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let model = CHANCES.map(|chance| chance + bias);
        let expected = model.iter().zip(target).map(|(reward, target)| reward * target).sum();
        (0..rows)
            .map(|row| {
                let mut place: f64 = rng.random();
                let action = LOGGING.iter().position(|chance| {
                    place -= chance;
                    place < 0.0
                });
                let action = action.unwrap_or(3);
                Logged {
                    person: (row % 50) as u32,
                    reward: f64::from(u8::from(rng.random_bool(CHANCES[action]))),
                    propensity: LOGGING[action],
                    target: target[action],
                    predicted: model[action],
                    expected,
                }
            })
            .collect()
    }

    #[test]
    fn estimates_hold_the_truth_in_their_intervals_about_as_often_as_they_say() {
        let target = [0.1, 0.1, 0.2, 0.6];
        let truth = 0.01 + 0.03 + 0.1 + 0.48;
        let mut held = [0; 3];
        for seed in 0..60 {
            let estimates = estimate(&log(600, target, 0.05, seed), seed).unwrap();
            for (held, estimate) in held.iter_mut().zip([estimates.ips, estimates.snips, estimates.dr]) {
                let Interval { low, high } = estimate.interval.unwrap();
                *held += usize::from(low <= truth && truth <= high);
            }
        }
        assert!(held.iter().all(|&held| held >= 51), "{held:?} of 60");
    }

    #[test]
    fn a_good_model_of_the_reward_makes_the_estimate_less_noisy() {
        let estimates = estimate(&log(2_000, [0.1, 0.1, 0.2, 0.6], 0.0, 3), 1).unwrap();
        let width = |estimate: Estimate| estimate.interval.map(|it| it.high - it.low).unwrap();
        assert!(width(estimates.dr) < 0.8 * width(estimates.ips), "{estimates:?}");
        assert!(estimates.effective_rows < 2_000.0 && estimates.effective_rows > 200.0);
    }

    #[test]
    fn what_cannot_be_a_log_is_refused() {
        let good = log(3, [0.25; 4], 0.0, 1);
        for wrong in [
            Logged { propensity: 0.0, ..good[0] },
            Logged { propensity: f64::NAN, ..good[0] },
            Logged { target: 1.5, ..good[0] },
            Logged { reward: f64::INFINITY, ..good[0] },
        ] {
            let error = estimate(&[good[1], wrong], 1).unwrap_err().to_string();
            assert!(error.contains("row 1") && !error.contains('\n'), "{error}");
        }
        assert!(estimate(&[], 1).is_err());
    }

    proptest! {
        #[test]
        fn a_policy_judged_by_its_own_log_earns_what_it_earned(seed in 0_u64..50) {
            let mut rows = log(200, [0.25; 4], 0.1, seed);
            for row in &mut rows {
                row.target = row.propensity;
            }
            let estimates = estimate(&rows, 1).unwrap();
            prop_assert!((estimates.ips.value - estimates.logged.value).abs() < 1e-12);
            prop_assert!((estimates.snips.value - estimates.logged.value).abs() < 1e-12);
            prop_assert!((estimates.effective_rows - 200.0).abs() < 1e-9);
        }
    }
}
