//! Fits all arcs at once, such that each ends where the next begins.
//!
//! With the instants of the joints fixed, everything that is asked is linear in the arcs' coefficients: least
//! squares. With the arcs fixed, each instant is a search along one line. The two take turns, while the joints
//! are drawn closer and closer.

use super::{Ball, CROWDED_FLOOR_M, FLOOR_M, LYING_M, SHORTEST, Surroundings, tremble_m};
use crate::cholesky::solve;
use crate::world::FPS;

/// Turns that coefficients and instants take.
const TURNS: usize = 8;
/// How far arcs may lie apart where they meet, in the first turn and in the last.
const OPEN_M: f64 = 0.1;
const CLOSED_M: f64 = 1e-3;
/// How well pictures and sound tell an instant, in frames.
const SEEN: f64 = 0.2;
const HEARD: f64 = 0.08;
/// What is heard within so many frames of a joint is its impact.
const TOGETHER: f64 = 1.5;
/// A change of velocity smaller than this, in metres a frame, tells no instant.
const SLIGHT_M: f64 = 0.01;
/// Things fall with between so many metres a second squared.
const FALLS_M_S2: std::ops::RangeInclusive<f64> = 4.0..=20.0;
/// A simpler curve is taken where it leaves at most so many times the deviation.
const AS_GOOD: f64 = 1.5;
/// A flight rises at least this high.
const HIGH_M: f64 = 0.15;

/// One coordinate of an arc: `given` as it is, and coefficients of powers of `(t - middle) / half`.
#[derive(Clone, Debug)]
struct Curve {
    middle: f64,
    half: f64,
    /// Level, and bend in metres a squared frame.
    given: [f64; 2],
    coefficients: Vec<f64>,
}

impl Curve {
    fn new([first, last]: [usize; 2], degree: Option<usize>, given: [f64; 2]) -> Self {
        let half = (last - first) as f64 / 2.0;
        let coefficients = vec![0.0; degree.map_or(0, |degree| degree + 1)];
        Self { middle: first as f64 + half, half: half.max(1.0), given, coefficients }
    }

    fn given(&self, t: f64) -> f64 {
        self.given[0] + self.given[1] * (t - self.middle).powi(2)
    }

    fn powers(&self, t: f64) -> Vec<f64> {
        let u = (t - self.middle) / self.half;
        (0..self.coefficients.len()).map(|power| u.powi(power as i32)).collect()
    }

    fn at(&self, t: f64) -> f64 {
        self.given(t) + self.powers(t).iter().zip(&self.coefficients).map(|(power, c)| power * c).sum::<f64>()
    }

    /// Metres a frame.
    fn speed(&self, t: f64) -> f64 {
        (self.at(t + 0.5) - self.at(t - 0.5)).clamp(-1e6, 1e6)
    }

    /// Metres a squared frame, halved.
    fn bend(&self) -> f64 {
        self.given[1] + self.coefficients.get(2).map_or(0.0, |c| c / (self.half * self.half))
    }

    /// The least-squares curve of this form alone, with the deviation that it leaves.
    fn alone(mut self, places_m: &[[f64; 2]], axis: usize, [first, last]: [usize; 2]) -> (Self, f64) {
        let mut system = System::new(self.coefficients.len());
        for frame in first..=last {
            let t = frame as f64;
            system.ask(&[(0, self.powers(t))], places_m[frame][axis] - self.given(t), 1.0);
        }
        if let Some(solution) = system.solve() {
            self.coefficients = solution;
        }
        let squares: f64 = (first..=last).map(|f| (places_m[f][axis] - self.at(f as f64)).powi(2)).sum();
        let deviation = (squares / (last - first + 1) as f64).sqrt();
        (self, deviation)
    }
}

#[derive(Clone, Debug)]
struct Arc {
    span: [usize; 2],
    axes: [Curve; 2],
}

/// Where one arc ends and the next begins.
#[derive(Clone, Copy, Debug)]
struct Joint {
    /// In frames; lies within `within`.
    time: f64,
    within: [f64; 2],
    heard: Option<f64>,
    /// Height of the ball's centre where it strikes the floor.
    floor_m: Option<f64>,
}

/// Places of the balls on their arcs, one a frame.
pub(super) fn fit(balls: &[Ball], splits: &[Vec<[usize; 2]>], around: &Surroundings) -> Vec<Vec<[f64; 2]>> {
    let free: Vec<Vec<Arc>> = balls
        .iter()
        .zip(splits)
        .map(|(ball, spans)| spans.iter().map(|&span| free_arc(ball, span)).collect())
        .collect();
    let fall = if around.floor { common_bend(balls, &free) } else { None };
    balls
        .iter()
        .zip(free)
        .map(|(ball, arcs)| {
            if arcs.is_empty() {
                return ball.places_m.clone();
            }
            let arcs = arcs.into_iter().map(|arc| simplest(ball, arc, fall, around)).collect();
            let (arcs, joints) = joined(ball, arcs, around);
            (0..ball.places_m.len()).map(|frame| place(ball, &arcs, &joints, frame as f64, around)).collect()
        })
        .collect()
}

fn free_arc(ball: &Ball, span: [usize; 2]) -> Arc {
    Arc {
        span,
        axes: [0, 1].map(|axis| Curve::new(span, Some(2), [0.0; 2]).alone(&ball.places_m, axis, span).0),
    }
}

/// Heights of a ball's lowest point.
fn lowest_m<'a>(ball: &'a Ball, [first, last]: [usize; 2]) -> impl Iterator<Item = f64> + 'a {
    ball.places_m[first..=last].iter().map(|place| place[1] - ball.radius_m)
}

/// The bend that all flights agree on, if there are any.
fn common_bend(balls: &[Ball], free: &[Vec<Arc>]) -> Option<f64> {
    let per_frame = -0.5 / f64::from(FPS * FPS);
    let (mut bends, mut weights) = (0.0, 0.0);
    for (ball, arcs) in balls.iter().zip(free) {
        for arc in arcs {
            let flies = lowest_m(ball, arc.span).fold(0.0, f64::max) > HIGH_M;
            let bend = arc.axes[1].bend();
            if flies && FALLS_M_S2.contains(&(bend / per_frame)) {
                // What a parabola says of its bend grows with the fifth power of its length.
                let weight = ((arc.span[1] - arc.span[0] + 1) as f64).powi(5);
                bends += weight * bend;
                weights += weight;
            }
        }
    }
    (weights > 0.0).then(|| bends / weights)
}

/// The arc as the simplest curves that leave about as little: what lies is level, what flies falls as all does
/// and keeps its speed across.
fn simplest(ball: &Ball, arc: Arc, fall: Option<f64>, around: &Surroundings) -> Arc {
    let Arc { span, axes: [across, up] } = arc;
    let noise_m = tremble_m(&ball.places_m);
    let short = span[1] - span[0] + 1 <= SHORTEST + 2;
    let (across, left_m) = across.alone(&ball.places_m, 0, span);
    let (straight, straight_m) = Curve::new(span, Some(1), [0.0; 2]).alone(&ball.places_m, 0, span);
    let across = if short || straight_m < AS_GOOD * left_m.max(noise_m) { straight } else { across };
    if around.floor && lowest_m(ball, span).all(|height_m| height_m < LYING_M) {
        let lying = Curve::new(span, None, [ball.radius_m, 0.0]);
        return Arc { span, axes: [across, lying] };
    }
    let (up, left_m) = up.alone(&ball.places_m, 1, span);
    let (level, level_m) = Curve::new(span, Some(1), [0.0; 2]).alone(&ball.places_m, 1, span);
    let falling = fall.map(|bend| Curve::new(span, Some(1), [0.0, bend]).alone(&ball.places_m, 1, span));
    let up = match falling {
        Some((falling, falling_m)) if short || falling_m < AS_GOOD * left_m.max(noise_m) => {
            return Arc { span, axes: [straight_across(ball, span), falling] };
        }
        _ if level_m < AS_GOOD * left_m.max(noise_m) => level,
        _ => up,
    };
    Arc { span, axes: [across, up] }
}

fn straight_across(ball: &Ball, span: [usize; 2]) -> Curve {
    Curve::new(span, Some(1), [0.0; 2]).alone(&ball.places_m, 0, span).0
}

/// The arcs brought together, and the joints between them.
fn joined(ball: &Ball, mut arcs: Vec<Arc>, around: &Surroundings) -> (Vec<Arc>, Vec<Joint>) {
    let mut joints: Vec<Joint> =
        arcs.windows(2).map(|pair| Joint::between(&pair[0], &pair[1], ball, around)).collect();
    let noise_m = tremble_m(&ball.places_m);
    for turn in 0..TURNS {
        let share = turn as f64 / (TURNS - 1) as f64;
        let open_m = OPEN_M * (CLOSED_M / OPEN_M).powf(share);
        for joint in joints.iter_mut().zip(arcs.windows(2)) {
            let (joint, pair) = joint;
            joint.time = joint.instant(&pair[0], &pair[1]);
        }
        for axis in 0..2 {
            solve_axis(&mut arcs, &joints, ball, axis, noise_m, open_m);
        }
    }
    (arcs, joints)
}

/// Fits one coordinate of all arcs to the places and to each other.
fn solve_axis(arcs: &mut [Arc], joints: &[Joint], ball: &Ball, axis: usize, noise_m: f64, open_m: f64) {
    let mut offsets = Vec::with_capacity(arcs.len());
    let mut unknowns = 0;
    for arc in arcs.iter() {
        offsets.push(unknowns);
        unknowns += arc.axes[axis].coefficients.len();
    }
    let mut system = System::new(unknowns);
    for (arc, &offset) in arcs.iter().zip(&offsets) {
        let curve = &arc.axes[axis];
        for frame in arc.span[0]..=arc.span[1] {
            let t = frame as f64;
            system.ask(
                &[(offset, curve.powers(t))],
                ball.places_m[frame][axis] - curve.given(t),
                1.0 / noise_m,
            );
        }
    }
    for ((pair, offsets), joint) in arcs.windows(2).zip(offsets.windows(2)).zip(joints) {
        let [before, after] = [&pair[0].axes[axis], &pair[1].axes[axis]];
        let t = joint.time;
        let minus = after.powers(t).into_iter().map(|power| -power).collect();
        let terms = [(offsets[0], before.powers(t)), (offsets[1], minus)];
        system.ask(&terms, after.given(t) - before.given(t), 1.0 / open_m);
        if let (1, Some(floor_m)) = (axis, joint.floor_m) {
            system.ask(&terms[..1], floor_m - before.given(t), 1.0 / open_m);
        }
    }
    let Some(solution) = system.solve() else { return };
    for (arc, offset) in arcs.iter_mut().zip(offsets) {
        let coefficients = &mut arc.axes[axis].coefficients;
        let count = coefficients.len();
        coefficients.copy_from_slice(&solution[offset..offset + count]);
    }
}

impl Joint {
    fn between(before: &Arc, after: &Arc, ball: &Ball, around: &Surroundings) -> Self {
        let within = [before.span[1] as f64 - 0.5, after.span[0] as f64 + 0.5];
        let middle = f64::midpoint(within[0], within[1]);
        let near =
            |heard: &&f64| **heard > within[0] - TOGETHER + 0.5 && **heard < within[1] + TOGETHER - 0.5;
        let heard = around
            .heard
            .iter()
            .filter(near)
            .min_by(|a, b| (*a - middle).abs().total_cmp(&(*b - middle).abs()));
        let mut joint = Self { time: middle, within, heard: heard.copied(), floor_m: None };
        let time = joint.instant(before, after);
        let felt_m = if around.obstacles { CROWDED_FLOOR_M } else { FLOOR_M };
        let height_m = before.axes[1].at(time).min(after.axes[1].at(time)) - ball.radius_m;
        let turn_m = after.axes[1].speed(time) - before.axes[1].speed(time);
        let lies = [before, after].iter().any(|arc| arc.axes[1].coefficients.is_empty());
        if around.floor && (lies || (height_m < felt_m && turn_m > SLIGHT_M)) {
            joint.floor_m = Some(ball.radius_m);
        }
        joint
    }

    /// When two arcs meet, as far as they and what is heard tell.
    fn instant(&self, before: &Arc, after: &Arc) -> f64 {
        const GRAIN: f64 = 0.02;
        let [mut from, mut to] = self.within;
        if let Some(heard) = self.heard {
            (from, to) = (from.min(heard), to.max(heard));
        }
        let middle = f64::midpoint(from, to);
        let turn_m = [0, 1]
            .map(|axis| after.axes[axis].speed(middle) - before.axes[axis].speed(middle))
            .into_iter()
            .fold(0.0_f64, |sum, turn| sum.hypot(turn))
            .max(SLIGHT_M);
        let cost = |t: f64| {
            let apart = [0, 1].map(|axis| before.axes[axis].at(t) - after.axes[axis].at(t));
            let seen = apart[0].hypot(apart[1]) / (turn_m * SEEN);
            let heard = self.heard.map_or(0.0, |heard| (t - heard) / HEARD);
            seen * seen + heard * heard + 1e-6 * (t - middle).powi(2)
        };
        let steps = ((to - from) / GRAIN).ceil() as usize;
        let candidates = (0..=steps).map(|step| from + GRAIN * step as f64);
        candidates.min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(middle)
    }
}

/// Where a ball is at a time.
fn place(ball: &Ball, arcs: &[Arc], joints: &[Joint], t: f64, around: &Surroundings) -> [f64; 2] {
    let arc = &arcs[joints.iter().take_while(|joint| joint.time <= t).count()];
    let [across, up] = [0, 1].map(|axis| arc.axes[axis].at(t));
    // Before the first and after the last frame of all arcs a parabola may leave the world.
    [across, if around.floor { up.max(ball.radius_m) } else { up }]
}

/// Normal equations of a weighted least-squares problem.
struct System {
    matrix: Vec<Vec<f64>>,
    right: Vec<f64>,
}

impl System {
    fn new(unknowns: usize) -> Self {
        Self { matrix: vec![vec![0.0; unknowns]; unknowns], right: vec![0.0; unknowns] }
    }

    /// Asks that terms, each coefficients from a first unknown on, add up to `value`.
    fn ask(&mut self, terms: &[(usize, Vec<f64>)], value: f64, weight: f64) {
        let row: Vec<(usize, f64)> = terms
            .iter()
            .flat_map(|(offset, factors)| {
                factors.iter().enumerate().map(move |(index, &factor)| (offset + index, factor))
            })
            .collect();
        let square = weight * weight;
        for &(i, a) in &row {
            self.right[i] += square * a * value;
            for &(j, b) in &row {
                self.matrix[i][j] += square * a * b;
            }
        }
    }

    fn solve(mut self) -> Option<Vec<f64>> {
        for (index, row) in self.matrix.iter_mut().enumerate() {
            row[index] += 1e-9;
        }
        solve(self.matrix, self.right)
    }
}
