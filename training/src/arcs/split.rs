//! Splits a track into arcs: the fewest that explain it.

use super::SHORTEST;
use crate::cholesky::solve;

/// What an arc costs, in squared deviations of a place, where there is something to strike.
const ARC: f64 = 50.0;
/// What it costs in mid-air, where nothing ends an arc but a slip of the model.
const MIDAIR: f64 = 250.0;
/// What a frame costs that belongs to no arc.
const OMISSION: f64 = 10.0;
/// Frames between two arcs that may be omitted.
const SKIPPED: usize = 3;

/// First and last frames of the arcs, both included, in order. `may_end` says whether something can be struck
/// between two frames. Empty where the track is shorter than an arc.
pub(super) fn split(
    places_m: &[[f64; 2]],
    noise_m: f64,
    may_end: impl Fn(usize, usize) -> bool,
) -> Vec<[usize; 2]> {
    let count = places_m.len();
    if count < SHORTEST {
        return Vec::new();
    }
    // The least cost of the frames up to and with an arc's last, that arc's first frame, and the arc before it.
    let mut best: Vec<Option<(f64, usize, Option<usize>)>> = vec![None; count];
    for first in 0..=count - SHORTEST {
        let Some((cost, before)) = opening(&best, first, &may_end) else { continue };
        let mut sums = Sums::default();
        for (last, place) in places_m.iter().enumerate().skip(first) {
            sums.add((last - first) as f64, *place);
            if last + 1 < first + SHORTEST {
                continue;
            }
            let total = cost + sums.residual() / (noise_m * noise_m);
            if best[last].is_none_or(|(least, ..)| total < least) {
                best[last] = Some((total, first, before));
            }
        }
    }
    let closing = |last: usize| best[last].map(|(cost, ..)| cost + OMISSION * (count - 1 - last) as f64);
    let mut last = (count.saturating_sub(1 + SKIPPED)..count)
        .filter(|&last| closing(last).is_some())
        .min_by(|&a, &b| closing(a).unwrap_or(f64::MAX).total_cmp(&closing(b).unwrap_or(f64::MAX)));
    let mut arcs = Vec::new();
    while let Some((end, (_, first, before))) = last.and_then(|end| Some((end, best[end]?))) {
        arcs.push([first, end]);
        last = before;
    }
    arcs.reverse();
    arcs
}

/// The least cost of all before an arc that begins at `first`, with the last frame of the arc before it.
fn opening(
    best: &[Option<(f64, usize, Option<usize>)>],
    first: usize,
    may_end: impl Fn(usize, usize) -> bool,
) -> Option<(f64, Option<usize>)> {
    let begun = (first <= SKIPPED).then_some((OMISSION * first as f64, None));
    let joined = (first.saturating_sub(1 + SKIPPED)..first).filter_map(|end| {
        let (cost, ..) = best[end]?;
        let joint = if may_end(end, first) { ARC } else { MIDAIR };
        Some((cost + joint + OMISSION * (first - 1 - end) as f64, Some(end)))
    });
    begun.into_iter().chain(joined).min_by(|a, b| a.0.total_cmp(&b.0))
}

/// Sums that tell how well a parabola fits, one place after another.
#[derive(Default)]
struct Sums {
    /// Of t to the powers 0 to 4.
    powers: [f64; 5],
    /// Of each coordinate times t to the powers 0 to 2, and of its square.
    products: [[f64; 3]; 2],
    squares: [f64; 2],
    /// The first place, from which all are counted: it keeps the sums small.
    origin: Option<[f64; 2]>,
}

impl Sums {
    fn add(&mut self, t: f64, place: [f64; 2]) {
        let origin = *self.origin.get_or_insert(place);
        let mut power = 1.0;
        for (index, sum) in self.powers.iter_mut().enumerate() {
            *sum += power;
            if index < 3 {
                for axis in 0..2 {
                    self.products[axis][index] += power * (place[axis] - origin[axis]);
                }
            }
            power *= t;
        }
        for axis in 0..2 {
            self.squares[axis] += (place[axis] - origin[axis]).powi(2);
        }
    }

    /// Squared distances, in all, from the parabola that fits best.
    fn residual(&self) -> f64 {
        let p = &self.powers;
        let matrix = [[p[0], p[1], p[2]], [p[1], p[2], p[3]], [p[2], p[3], p[4]]];
        (0..2)
            .map(|axis| {
                let products = self.products[axis];
                let explained = solve(matrix.iter().map(|row| row.to_vec()).collect(), products.to_vec())
                    .map_or(0.0, |fit| fit.iter().zip(products).map(|(a, b)| a * b).sum());
                (self.squares[axis] - explained).max(0.0)
            })
            .sum()
    }
}
