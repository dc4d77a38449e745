//! The sampler's noise levels: a number of steps enters, falling noise levels leave.
//!
//! INVARIANT: the levels are those of diffusers' `FlowMatchEulerDiscreteScheduler`, from 1, which is noise, to
//! 0, which is data.

/// Timesteps that the model was trained with.
const TRAINED_TIMESTEPS: f64 = 1000.0;
/// More steps are spent near the noise, and more of them in larger pictures.
const SHIFT_480P: f64 = 3.0;
const SHIFT_720P: f64 = 5.0;
/// Pictures of as many pixels are equally far, in width times height, from 832 x 480 and 1280 x 720.
const PIXELS_BETWEEN: usize = usize::midpoint(832 * 480, 1280 * 720);

/// The shift that suits a picture: 3 at 480p, 5 at 720p.
pub(super) fn shift_for(width: usize, height: usize) -> f64 {
    if width * height > PIXELS_BETWEEN { SHIFT_720P } else { SHIFT_480P }
}

/// One noise level more than there are steps, which must be at least one.
pub(super) fn noise_levels(steps: usize, shift: f64) -> Vec<f32> {
    let shifted = |level: f64| shift * level / (1.0 + (shift - 1.0) * level);
    // The lowest level is shifted twice, as it is by diffusers: before the levels are spread, and with them.
    let lowest = shifted(1.0 / TRAINED_TIMESTEPS);
    let gaps = steps.saturating_sub(1).max(1) as f64;
    let level = |step: usize| shifted(1.0 + (lowest - 1.0) * step as f64 / gaps) as f32;
    (0..steps).map(level).chain([0.0]).collect()
}

/// A noise level as the transformer is told it.
pub(super) fn timestep(level: f32) -> f32 {
    level * TRAINED_TIMESTEPS as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_fall_from_noise_to_data() {
        for (steps, shift) in [(1, 3.0), (2, 5.0), (50, 3.0)] {
            let levels = noise_levels(steps, shift);
            assert_eq!(levels.len(), steps + 1);
            assert!((levels[0] - 1.0).abs() < 1e-6 && levels[steps] == 0.0);
            assert!(levels.windows(2).all(|pair| pair[0] > pair[1]), "{levels:?}");
        }
    }

    #[test]
    fn larger_pictures_linger_longer_near_the_noise() {
        assert!(shift_for(832, 480) < shift_for(1280, 720));
        assert!(shift_for(480, 832) < shift_for(720, 1280));
        let middle = |shift| noise_levels(9, shift)[4];
        assert!(middle(SHIFT_720P) > middle(SHIFT_480P));
    }
}
