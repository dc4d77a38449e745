//! Steadies a track: places that tremble enter, places on arcs leave.
//!
//! What flies follows a parabola and what rolls a line, but only between impacts. So each place is read off
//! the best of three parabolas, fitted to the frames before it, around it and after it (as in Kuwahara's
//! filter of pictures). Before that, [`agree`] brings places and the steps between them together.
//! INVARIANT: arcs that meet in a bounce stay exactly as they are.

/// Frames in a fit.
const WINDOW: usize = 7;

/// The steadied track; one shorter than a fit is left alone.
pub(crate) fn steady(track: &[f32]) -> Vec<f32> {
    let Some(last) = track.len().checked_sub(WINDOW) else { return track.to_vec() };
    let fits: Vec<Fit> = track.windows(WINDOW).map(Fit::of).collect();
    (0..track.len())
        .map(|frame| {
            // Windows that end at the frame, have it in their middle, and begin at it.
            let starts = [frame.checked_sub(WINDOW - 1), frame.checked_sub(WINDOW / 2), Some(frame)];
            let best = starts
                .into_iter()
                .flatten()
                .map(|start| start.min(last))
                .min_by(|&a, &b| fits[a].residual.total_cmp(&fits[b].residual))
                .unwrap_or(0);
            fits[best].at(frame - best)
        })
        .collect()
}

/// The places that agree best with both `places` and `steps`, of which each leads to a place from the one
/// before it (the first leads nowhere): least squares, where a step's error counts one and a place's `trust`.
pub(crate) fn agree(places: &[f32], steps: &[f32], trust: f32) -> Vec<f32> {
    let count = places.len().min(steps.len());
    let (places, steps) = (&places[..count], &steps[..count]);
    // A tridiagonal system, solved from the front and then from the back (Thomas).
    let mut factors = vec![0.0_f32; count];
    let mut agreed = vec![0.0_f32; count];
    for at in 0..count {
        let (after, before) = (at + 1 < count, at > 0);
        let neighbours = if after { 1.0 } else { 0.0 } + if before { 1.0 } else { 0.0 };
        let mut right = trust * places[at];
        if before {
            right += steps[at] + agreed[at - 1];
        }
        if after {
            right -= steps[at + 1];
        }
        let pivot = trust + neighbours - if before { factors[at - 1] } else { 0.0 };
        factors[at] = 1.0 / pivot;
        agreed[at] = right / pivot;
    }
    for at in (1..count).rev() {
        agreed[at - 1] += factors[at - 1] * agreed[at];
    }
    agreed
}

/// The least-squares parabola through one window.
struct Fit {
    level: f32,
    slope: f32,
    bend: f32,
    residual: f32,
}

impl Fit {
    fn of(window: &[f32]) -> Self {
        // Orthogonal polynomials about the middle: 1, t, and t^2 less its mean.
        let middle = (WINDOW / 2) as f32;
        let mean_square = (0..WINDOW).map(|i| (i as f32 - middle).powi(2)).sum::<f32>() / WINDOW as f32;
        let [mut level, mut slope, mut bend] = [0.0_f32; 3];
        let [mut slope_norm, mut bend_norm] = [0.0_f32; 2];
        for (index, value) in window.iter().enumerate() {
            let t = index as f32 - middle;
            let square = t * t - mean_square;
            level += value / WINDOW as f32;
            slope += value * t;
            bend += value * square;
            slope_norm += t * t;
            bend_norm += square * square;
        }
        let (slope, bend) = (slope / slope_norm, bend / bend_norm);
        let mut fit = Self { level: level - bend * mean_square, slope, bend, residual: 0.0 };
        fit.residual = window.iter().enumerate().map(|(index, value)| (fit.at(index) - value).powi(2)).sum();
        fit
    }

    fn at(&self, index: usize) -> f32 {
        let t = index as f32 - (WINDOW / 2) as f32;
        self.level + self.slope * t + self.bend * t * t
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// A ball's height: it falls, bounces at `bounce` frames and rises.
    fn bouncing(bounce: f32) -> Vec<f32> {
        (0..60)
            .map(|frame| {
                let t = (frame as f32 - bounce) / 24.0;
                let speed = if t < 0.0 { -6.0 } else { 5.0 };
                0.5 + speed * t - 4.9 * t * t
            })
            .collect()
    }

    proptest! {
        #[test]
        fn arcs_and_bounces_stay(bounce in 12.0_f32..48.0) {
            let track = bouncing(bounce);
            for (before, after) in track.iter().zip(steady(&track)) {
                prop_assert!((before - after).abs() < 2e-3, "{before} became {after}");
            }
        }
    }

    #[test]
    fn trembling_shrinks() {
        let change = |track: &[f32]| track.windows(3).map(|w| (w[2] - 2.0 * w[1] + w[0]).abs()).sum::<f32>();
        let (mut before, mut after) = (0.0, 0.0);
        for seed in 0..64 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let track = bouncing(rng.random_range(12.0..48.0));
            let trembling: Vec<f32> = track.iter().map(|place| place + rng.random_range(-0.1..0.1)).collect();
            before += change(&trembling);
            after += change(&steady(&trembling));
        }
        assert!(after < 0.75 * before, "{before} became {after}");
    }

    proptest! {
        #[test]
        fn places_that_agree_with_their_steps_stay(bounce in 12.0_f32..48.0, trust in 0.001..1.0_f32) {
            let track = bouncing(bounce);
            let steps: Vec<f32> =
                std::iter::once(9.0).chain(track.windows(2).map(|pair| pair[1] - pair[0])).collect();
            for (before, after) in track.iter().zip(agree(&track, &steps, trust)) {
                prop_assert!((before - after).abs() < 1e-3, "{before} became {after}");
            }
        }
    }

    #[test]
    fn coarse_places_and_fine_steps_give_fine_motion() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let truth = bouncing(30.0);
        let coarse: Vec<f32> = truth.iter().map(|place| place + rng.random_range(-0.1..0.1)).collect();
        let steps: Vec<f32> = std::iter::once(0.0)
            .chain(truth.windows(2).map(|pair| pair[1] - pair[0] + rng.random_range(-0.005..0.005)))
            .collect();
        let agreed = agree(&coarse, &steps, 0.0025);
        let bend = |track: &[f32]| -> Vec<f32> {
            track.windows(3).map(|places| places[2] - 2.0 * places[1] + places[0]).collect()
        };
        let worst = bend(&agreed).iter().zip(bend(&truth)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.02, "{worst}");
        let off = agreed.iter().zip(&truth).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 0.06, "{off}");
    }

    #[test]
    fn a_short_track_is_left_alone() {
        assert_eq!(steady(&[1.0, 5.0, 2.0]), [1.0, 5.0, 2.0]);
    }
}
