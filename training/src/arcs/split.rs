//! Splits a track into arcs: the fewest that explain it.

use super::{Ball, FALL_M, FALLS, SHORTEST, Span};
use crate::cholesky::solve;

/// What an arc costs, in squared deviations of a place, where there is something to strike.
const ARC: f64 = 50.0;
/// What it costs in mid-air, where nothing ends an arc but a slip of the model.
const MIDAIR: f64 = 250.0;
/// What a frame costs that belongs to no arc.
const OMISSION: f64 = 10.0;
/// A ball that is held is drawn about this far from the hand.
const GRIP_M: f64 = 0.12;
/// Frames between two arcs that may be omitted.
const SKIPPED: usize = 3;

/// The arcs and holds in order. `may_end` says whether something can be struck, taken or let go between two
/// frames. Empty where the track is shorter than an arc.
pub(super) fn split(
    ball: &Ball,
    noise_m: f64,
    hands_m: &[Vec<[f64; 2]>],
    may_end: impl Fn(usize, usize) -> bool,
) -> Vec<Span> {
    let places_m = &ball.places_m;
    let count = places_m.len();
    if count < SHORTEST {
        return Vec::new();
    }
    let grip_m = noise_m.max(GRIP_M);
    // The least cost of the frames up to and with a span's last, that span, and the last frame of the one before.
    let mut best: Vec<Option<(f64, Span, Option<usize>)>> = vec![None; count];
    for first in 0..=count - SHORTEST {
        let Some((cost, before)) = opening(&best, first, &may_end) else { continue };
        let mut sums = Sums::default();
        let mut holds = vec![0.0; hands_m.len()];
        for (last, place) in places_m.iter().enumerate().skip(first) {
            sums.add((last - first) as f64, *place);
            for (hold, hand_m) in holds.iter_mut().zip(hands_m) {
                // Where there is no hand, nothing is held.
                *hold += hand_m.get(last).map_or(f64::INFINITY, |hand| {
                    ((place[0] - hand[0]).powi(2) + (place[1] - hand[1]).powi(2)) / grip_m.powi(2)
                });
            }
            if last + 1 < first + SHORTEST {
                continue;
            }
            // Between people, what does not fall is in a hand.
            let left = if hands_m.is_empty() { sums.residual() } else { sums.falling(ball.radius_m) };
            let arc = (left / noise_m.powi(2), None);
            let holds = holds.iter().enumerate().map(|(hand, &hold)| (hold, Some(hand)));
            let least = holds.fold(arc, |least, hold| if hold.0 < least.0 { hold } else { least });
            let (total, span) = (cost + least.0, Span { first, last, hand: least.1 });
            if best[last].is_none_or(|(least, ..)| total < least) {
                best[last] = Some((total, span, before));
            }
        }
    }
    let closing = |last: usize| best[last].map(|(cost, ..)| cost + OMISSION * (count - 1 - last) as f64);
    let mut last = (count.saturating_sub(1 + SKIPPED)..count)
        .filter(|&last| closing(last).is_some())
        .min_by(|&a, &b| closing(a).unwrap_or(f64::MAX).total_cmp(&closing(b).unwrap_or(f64::MAX)));
    let mut spans = Vec::new();
    while let Some((_, span, before)) = last.and_then(|last| best[last]) {
        spans.push(span);
        last = before;
    }
    spans.reverse();
    spans
}

/// The least cost of all before an arc that begins at `first`, with the last frame of the arc before it.
fn opening(
    best: &[Option<(f64, Span, Option<usize>)>],
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
        self.left(0, 3, 0.0).0 + self.left(1, 3, 0.0).0
    }

    /// The same of a fall, or of a way along the floor.
    fn falling(&self, radius_m: f64) -> f64 {
        let (up, bend) = self.left(1, 3, 0.0);
        let flies = if FALLS.contains(&(bend / FALL_M)) { up } else { self.left(1, 2, FALL_M).0 };
        let floor_m = radius_m - self.origin.unwrap_or_default()[1];
        let [sum, ..] = self.products[1];
        let lies = self.squares[1] + floor_m * (self.powers[0] * floor_m - 2.0 * sum);
        self.left(0, 3, 0.0).0 + flies.min(lies.max(0.0))
    }

    /// Squared distances of a coordinate from the best polynomial of `terms` terms and a given bend, and the
    /// bend in all.
    fn left(&self, axis: usize, terms: usize, bend: f64) -> (f64, f64) {
        let (p, [level, slope, square]) = (&self.powers, self.products[axis]);
        let products = [level - bend * p[2], slope - bend * p[3], square - bend * p[4]];
        let squares = self.squares[axis] - 2.0 * bend * square + bend * bend * p[4];
        let matrix = (0..terms).map(|row| p[row..row + terms].to_vec()).collect();
        let Some(fit) = solve(matrix, products[..terms].to_vec()) else { return (squares.max(0.0), bend) };
        let explained: f64 = fit.iter().zip(products).map(|(a, b)| a * b).sum();
        ((squares - explained).max(0.0), bend + fit.get(2).copied().unwrap_or_default())
    }
}
