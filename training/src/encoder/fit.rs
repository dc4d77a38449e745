//! Fits a sketch to a picture by drawing it: knobs enter, and are turned until what is drawn looks like what is
//! seen.
//!
//! Slopes are measured by drawing each knob a little to either side; the turn is Levenberg's and Marquardt's.
//! Differences beyond what the fit can explain count linearly (Huber), so that what hides a body does not drag
//! it. INVARIANT: a fit never ends worse than it began.

use super::sketch::{Knob, Sketch, window};
use crate::cholesky::solve;
use crate::world::draw::{Easel, Window};

/// Levels by which a channel may be off and still count by its square.
const HUBER: f32 = 20.0;
/// Levels by which a channel is usually off.
const LEVEL: f32 = 3.0;
/// Pixels around what moves that are looked at.
pub(super) const MARGIN: f32 = 3.0;
/// Steps of a knob below which a fit is done.
const DONE: f32 = 0.04;
/// Steps of a knob that one turn may take.
const LARGEST: f32 = 8.0;

/// A picture to be like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) pixels: &'a [u8],
    pub(super) width: usize,
}

/// Draws and compares.
#[derive(Debug, Default)]
pub(super) struct Fitter {
    drawn: Vec<u8>,
}

impl Fitter {
    /// Drawn minus seen within a window, channel by channel.
    pub(super) fn differences(
        &mut self,
        sketch: &Sketch,
        easel: &Easel,
        target: Target<'_>,
        window: &Window,
    ) -> Vec<f32> {
        self.drawn.resize(target.pixels.len(), 0);
        easel.draw(&sketch.actors, 0, window, &mut self.drawn);
        let line = window.columns.start * 3..window.columns.end * 3;
        let mut differences = Vec::with_capacity(line.len() * window.rows.len());
        let stride = target.width * 3;
        let rows = self.drawn.chunks_exact(stride).zip(target.pixels.chunks_exact(stride));
        for (drawn, seen) in rows.take(window.rows.end).skip(window.rows.start) {
            let pairs = drawn[line.clone()].iter().zip(&seen[line.clone()]);
            differences.extend(pairs.map(|(&a, &b)| f32::from(a) - f32::from(b)));
        }
        differences
    }

    /// How unlike what is seen a sketch is within a window.
    pub(super) fn cost(
        &mut self,
        sketch: &Sketch,
        easel: &Easel,
        target: Target<'_>,
        window: &Window,
    ) -> f32 {
        loss(&self.differences(sketch, easel, target, window))
    }

    /// Mean difference of a channel within a window, in levels.
    pub(super) fn mean_difference(
        &mut self,
        sketch: &Sketch,
        easel: &Easel,
        target: Target<'_>,
        window: &Window,
    ) -> f32 {
        let differences = self.differences(sketch, easel, target, window);
        differences.iter().map(|difference| difference.abs()).sum::<f32>() / differences.len().max(1) as f32
    }

    /// The sketch among some that is most like what is seen; `bound` says which window shows all of them.
    pub(super) fn best(
        &mut self,
        sketches: impl IntoIterator<Item = Sketch>,
        easel: &Easel,
        target: Target<'_>,
        window: &Window,
    ) -> Option<Sketch> {
        let costs = sketches.into_iter().map(|sketch| (self.cost(&sketch, easel, target, window), sketch));
        costs.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, sketch)| sketch)
    }

    /// Turns knobs of what moves, within the window around the limbs that they belong to.
    pub(super) fn turn(
        &mut self,
        sketch: &mut Sketch,
        knobs: &[Knob],
        easel: &Easel,
        target: Target<'_>,
        within: &Window,
        rounds: usize,
    ) -> f32 {
        let start: Vec<f32> = knobs.iter().map(|knob| knob.value(sketch)).collect();
        let steps: Vec<f32> = knobs.iter().map(|knob| knob.step(sketch, easel)).collect();
        let stage = knobs.iter().any(|knob| knob.is_of_stage());
        // In steps of each knob.
        let spreads: Vec<f32> =
            knobs.iter().zip(&steps).map(|(knob, step)| knob.spread(sketch, easel) / step).collect();
        let size = easel.size();
        let draw = |fitter: &mut Self, sketch: &Sketch| {
            if stage {
                fitter.differences(sketch, &sketch.easel(size), target, within)
            } else {
                fitter.differences(sketch, easel, target, within)
            }
        };
        let strain = |sketch: &mut Sketch| -> f32 {
            let away = knobs.iter().zip(&start).zip(&steps).zip(&spreads);
            away.map(|(((knob, start), step), spread)| ((knob.value(sketch) - start) / step / spread).powi(2))
                .sum()
        };
        let mut differences = draw(self, sketch);
        let mut cost = loss(&differences);
        let mut damping = 0.03_f32;
        for _ in 0..rounds {
            let slopes: Vec<Vec<f32>> = knobs
                .iter()
                .zip(&steps)
                .map(|(knob, step)| {
                    let here = knob.value(sketch);
                    let mut beside = |value: f32| {
                        knob.set(sketch, value);
                        (knob.value(sketch), draw(self, sketch))
                    };
                    let ((low, before), (high, after)) = (beside(here - step), beside(here + step));
                    knob.set(sketch, here);
                    let apart = ((high - low) / step).max(1e-3);
                    after.iter().zip(&before).map(|(after, before)| (after - before) / apart).collect()
                })
                .collect();
            let weights: Vec<f32> =
                differences.iter().map(|d| (HUBER / d.abs().max(HUBER)) / (LEVEL * LEVEL)).collect();
            let mut normal = vec![vec![0.0_f32; knobs.len()]; knobs.len()];
            let mut pull = vec![0.0_f32; knobs.len()];
            for (row, slope) in slopes.iter().enumerate() {
                let weighted: Vec<f32> = slope.iter().zip(&weights).map(|(s, w)| s * w).collect();
                pull[row] = -dot(&weighted, &differences);
                for (column, other) in slopes.iter().enumerate().take(row + 1) {
                    let product = dot(&weighted, other);
                    normal[row][column] = product;
                    normal[column][row] = product;
                }
                let expected = (knobs[row].value(sketch) - start[row]) / steps[row];
                normal[row][row] += spreads[row].powi(-2);
                pull[row] -= expected / spreads[row].powi(2);
            }
            let before: Vec<f32> = knobs.iter().map(|knob| knob.value(sketch)).collect();
            let held = cost + strain(sketch);
            let mut largest = 0.0_f32;
            let mut better = false;
            for _ in 0..4 {
                let mut damped = normal.clone();
                for (place, row) in damped.iter_mut().enumerate() {
                    row[place] += damping * row[place] + 1e-3;
                }
                let Some(turns) = solve(damped, pull.clone()) else { break };
                largest = 0.0;
                for (((knob, before), step), turn) in knobs.iter().zip(&before).zip(&steps).zip(&turns) {
                    let turn = turn.clamp(-LARGEST, LARGEST);
                    largest = largest.max(turn.abs());
                    knob.set(sketch, before + turn * step);
                }
                let tried = draw(self, sketch);
                let found = loss(&tried);
                if found + strain(sketch) < held {
                    (differences, cost, better) = (tried, found, true);
                    damping = (damping * 0.3).max(1e-4);
                    break;
                }
                for (knob, before) in knobs.iter().zip(&before) {
                    knob.set(sketch, *before);
                }
                damping = (damping * 6.0).max(0.05);
            }
            if !better || largest < DONE {
                break;
            }
        }
        cost
    }

    /// The window around everything that knobs may move of some limbs.
    pub(super) fn around(sketch: &Sketch, limbs: &[super::sketch::Limb], easel: &Easel) -> Window {
        let bounds: Vec<[f32; 4]> = limbs.iter().filter_map(|&limb| sketch.bounds(limb, easel)).collect();
        window(&bounds, MARGIN, easel.size())
    }
}

/// The sum of Huber's measure, in squared usual levels.
fn loss(differences: &[f32]) -> f32 {
    let total: f32 = differences
        .iter()
        .map(|difference| {
            let away = difference.abs();
            if away < HUBER { away * away } else { HUBER * (2.0 * away - HUBER) }
        })
        .sum();
    total / (LEVEL * LEVEL)
}

fn dot(one: &[f32], other: &[f32]) -> f32 {
    // Eight sums side by side, which a compiler can keep in one register.
    let mut sums = [0.0_f32; 8];
    let (ones, others) = (one.chunks_exact(8), other.chunks_exact(8));
    let rest: f32 = ones.remainder().iter().zip(others.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in ones.zip(others) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_differences_count_linearly() {
        let small = loss(&[2.0]) * 4.0;
        assert!((loss(&[4.0]) - small).abs() < 1e-4);
        assert!(loss(&[200.0]) < 2.2 * loss(&[100.0]));
    }
}
