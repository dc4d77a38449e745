//! How sure a figure is: what each clip says and how to sum that up go in; the figure and its 95% interval come
//! out.
//!
//! Most intervals are bootstrapped. Clips are drawn again with replacement, not single bounces: those of one clip
//! are not independent. Shares of clips have Wilson's interval, which is right for few clips and near one too, and
//! what a clip that is drawn twice would distort has the jackknife's. INVARIANT: the same clips and seed give
//! the same interval.

use kinora_harness::seed::derive;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use serde::Serialize;

use crate::judge::Share;

/// Draws with replacement.
const RESAMPLES: u64 = 1000;
/// Groups of which the jackknife leaves out one after the other.
const GROUPS: usize = 16;

/// A figure of many clips.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    pub value: f64,
    /// 95% interval.
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// `statistic` of `clips`; `None` where they do not say.
    pub(super) fn of<T: Sync>(
        clips: &[T],
        seed: u64,
        statistic: impl Fn(&[&T]) -> Option<f64> + Sync,
    ) -> Option<Self> {
        let value = statistic(&clips.iter().collect::<Vec<_>>())?;
        let seed = derive(seed, "bootstrap");
        let mut resampled: Vec<f64> = (0..RESAMPLES)
            .into_par_iter()
            .filter_map(|draw| {
                let mut rng = ChaCha8Rng::seed_from_u64(seed);
                rng.set_stream(draw);
                let drawn: Vec<&T> = clips.iter().map(|_| &clips[rng.random_range(0..clips.len())]).collect();
                statistic(&drawn)
            })
            .collect();
        resampled.sort_by(f64::total_cmp);
        let at = |share: usize| resampled.get(share * resampled.len() / 1000).copied().unwrap_or(value);
        Some(Self { value, low: at(25), high: at(975) })
    }

    /// Wilson's interval of a share; `None` without a trial.
    pub(super) fn of_share(share: Share) -> Option<Self> {
        let [low, high] = share.interval()?;
        Some(Self { value: share.value()?, low, high })
    }

    /// `statistic` of the first `count` of something, by leaving out a group of them after the other; it is told
    /// which indices stay, and cannot be negative.
    pub(super) fn jackknife(
        count: usize,
        statistic: impl Fn(&dyn Fn(usize) -> bool) -> Option<f64> + Sync,
    ) -> Option<Self> {
        let value = statistic(&|_| true)?;
        let groups = GROUPS.min(count);
        let without: Vec<f64> = (0..groups)
            .into_par_iter()
            .filter_map(|group| statistic(&|index| index % groups != group))
            .collect();
        let mean = without.iter().sum::<f64>() / without.len().max(1) as f64;
        let squares: f64 = without.iter().map(|value| (value - mean).powi(2)).sum();
        let reach = 1.96 * (squares * (groups as f64 - 1.0).max(0.0) / groups.max(1) as f64).sqrt();
        Some(Self { value, low: (value - reach).max(0.0), high: value + reach })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(values: &[&f64]) -> Option<f64> {
        (!values.is_empty()).then(|| values.iter().copied().sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn the_interval_holds_the_value_narrows_with_more_clips_and_follows_the_seed() {
        let clips = |count: u32| (0..count).map(|clip| f64::from(clip * 37 % 11)).collect::<Vec<_>>();
        let few = Interval::of(&clips(22), 1, mean).unwrap();
        let many = Interval::of(&clips(2200), 1, mean).unwrap();
        assert!(few.low < few.value && few.value < few.high);
        assert!(many.high - many.low < 0.3 * (few.high - few.low));
        // Five is the mean of 0 to 10, whose standard error is known.
        let expected = 2.0 * 1.96 * (10.0_f64 / 2200.0).sqrt();
        assert!(((many.high - many.low) / expected - 1.0).abs() < 0.15);
        assert_eq!(few, Interval::of(&clips(22), 1, mean).unwrap());
        assert_ne!(few, Interval::of(&clips(22), 2, mean).unwrap());
        assert_eq!(Interval::of(&[], 1, mean), None);
    }

    #[test]
    fn the_jackknife_of_a_mean_is_its_standard_error() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let values: Vec<f64> = (0..160).map(|_| rng.random_range(0.0..12.0)).collect();
        let interval = Interval::jackknife(values.len(), |stays| {
            let kept: Vec<f64> = values
                .iter()
                .enumerate()
                .filter(|(index, _)| stays(*index))
                .map(|(_, value)| *value)
                .collect();
            (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
        })
        .unwrap();
        // A uniform distribution of this width has a variance of twelve.
        let expected = 1.96 * (12.0_f64 / 160.0).sqrt();
        assert!((interval.value - 6.0).abs() < expected, "{interval:?}");
        assert!(((interval.high - interval.value) / expected - 1.0).abs() < 0.5, "{interval:?}");
        assert_eq!(Interval::jackknife(0, |_| None), None);
    }
}
