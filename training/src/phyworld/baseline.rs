//! Predictors that learn nothing: the conditioned frames go in, all later frames come out.
//!
//! They bracket a model: whatever follows no law scores like [`copy_last`], and what knows inertia but
//! neither gravity nor contact scores like [`constant_velocity`].
//! INVARIANT: they see what a model sees, pixels and the task's name, never the truth.

use super::Conditioning;
use super::draw::{Disc, draw_discs};
use super::measure::find;
use super::task::{CONDITIONED, FRAMES};

/// Time stands still.
pub fn copy_last(conditioning: &Conditioning) -> Vec<u8> {
    conditioning.frame(CONDITIONED - 1).repeat(FRAMES - CONDITIONED)
}

/// Each ball goes on as it moved from the first to the last conditioned frame, through whatever is there.
pub fn constant_velocity(conditioning: &Conditioning) -> Vec<u8> {
    let side = conditioning.side;
    let seen = |frame: usize, ball: usize| find(conditioning.frame(frame), side, ball);
    let steps = (CONDITIONED - 1) as f64;
    let moving: Vec<_> = (0..conditioning.task.balls())
        .filter_map(|ball| {
            let (first, last) = (seen(0, ball)?, seen(CONDITIONED - 1, ball)?);
            let step = [0, 1].map(|axis| (last.centre[axis] - first.centre[axis]) / steps);
            Some((last, step))
        })
        .collect();
    let discs = |ahead: usize| -> Vec<Disc> {
        moving
            .iter()
            .map(|(last, step)| Disc {
                centre: [0, 1].map(|axis| last.centre[axis] + step[axis] * ahead as f64),
                radius: (last.area / std::f64::consts::PI).sqrt(),
            })
            .collect()
    };
    (1..=FRAMES - CONDITIONED).flat_map(|ahead| draw_discs(&discs(ahead), side)).collect()
}
