//! Fits all arcs at once, such that each ends where the next begins.
//!
//! With the instants of the joints fixed, everything that is asked is linear in the arcs' coefficients: least
//! squares. With the arcs fixed, each instant is a search along one line. The two take turns, while the joints
//! are drawn closer and closer.

use super::bounces::agree;
use super::{
    Ball, CROWDED_FLOOR_M, FALL_M, FALLS, FLOOR_M, LYING_M, Reading, SHORTEST, Span, Strike, Surroundings,
    tremble_m,
};
use crate::cholesky::solve;

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
/// A simpler curve is taken where it leaves at most so many times the deviation.
const AS_GOOD: f64 = 1.5;
/// Of its speed that a ball keeps in a bounce where no two bounces tell.
const USUAL_SHARE: f64 = 0.65;
/// The same of a free fall for what bends about as much.
const NEARLY: f64 = 4.0;

/// One coordinate of an arc: what is `given`, and coefficients of powers of `(t - middle) / half`.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    middle: f64,
    half: f64,
    given: Given,
    coefficients: Vec<f64>,
}

#[derive(Clone, Debug)]
enum Given {
    Level(f64),
    /// In metres a squared frame.
    Bend(f64),
    /// Places, one a frame.
    Path(Vec<f64>),
}

impl Curve {
    fn new(span: Span, terms: usize, given: Given) -> Self {
        let half = (span.last - span.first) as f64 / 2.0;
        Self { middle: span.first as f64 + half, half: half.max(1.0), given, coefficients: vec![0.0; terms] }
    }

    fn given(&self, t: f64) -> f64 {
        match &self.given {
            Given::Level(level) => *level,
            Given::Bend(bend) => bend * (t - self.middle).powi(2),
            Given::Path(places) => {
                let last = places.len().saturating_sub(1);
                let t = t.clamp(0.0, last as f64);
                let (before, share) = (t as usize, t.fract());
                let place = |frame: usize| places.get(frame.min(last)).copied().unwrap_or_default();
                place(before) + share * (place(before + 1) - place(before))
            }
        }
    }

    fn powers(&self, t: f64) -> Vec<f64> {
        let u = (t - self.middle) / self.half;
        (0..self.coefficients.len()).map(|power| u.powi(power as i32)).collect()
    }

    fn at(&self, t: f64) -> f64 {
        self.given(t) + self.powers(t).iter().zip(&self.coefficients).map(|(power, c)| power * c).sum::<f64>()
    }

    /// What each coefficient adds to the speed, and what is given of it, in metres a frame.
    fn slopes(&self, t: f64) -> (Vec<f64>, f64) {
        let u = (t - self.middle) / self.half;
        let slopes = (0..self.coefficients.len())
            .map(|power| power as f64 * u.powi(power.saturating_sub(1) as i32) / self.half)
            .collect();
        let given = match self.given {
            Given::Bend(bend) => 2.0 * bend * (t - self.middle),
            Given::Level(_) | Given::Path(_) => 0.0,
        };
        (slopes, given)
    }

    /// Metres a frame at an instant.
    pub(super) fn slope(&self, t: f64) -> f64 {
        let (slopes, given) = self.slopes(t);
        given + slopes.iter().zip(&self.coefficients).map(|(slope, c)| slope * c).sum::<f64>()
    }

    /// Metres a frame, over a frame.
    fn speed(&self, t: f64) -> f64 {
        (self.at(t + 0.5) - self.at(t - 0.5)).clamp(-1e6, 1e6)
    }

    /// The least-squares curve of this form alone, with the deviation that it leaves.
    fn alone(mut self, ball: &Ball, axis: usize, span: Span) -> (Self, f64) {
        let places_m = &ball.places_m;
        let mut system = System::new(self.coefficients.len());
        for (frame, place) in places_m.iter().enumerate().take(span.last + 1).skip(span.first) {
            let t = frame as f64;
            system.ask(&[(0, self.powers(t))], place[axis] - self.given(t), 1.0);
        }
        if let Some(solution) = system.solve() {
            self.coefficients = solution;
        }
        let squares: f64 =
            (span.first..=span.last).map(|f| (places_m[f][axis] - self.at(f as f64)).powi(2)).sum();
        let deviation = (squares / span.frames() as f64).sqrt();
        (self, deviation)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Arc {
    span: Span,
    pub(super) axes: [Curve; 2],
}

impl Arc {
    /// Whether it is a free fall.
    pub(super) fn falls(&self) -> bool {
        matches!(self.axes[1].given, Given::Bend(bend) if bend < 0.0)
    }

    /// Whether it is a way along the floor.
    fn lies(&self) -> bool {
        matches!(self.axes[1].given, Given::Level(_))
    }
}

/// Where one arc ends and the next begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joint {
    /// In frames.
    pub(super) time: f64,
    /// Where it is searched for.
    within: [f64; 2],
    heard: Option<f64>,
    /// Height of the ball's centre where it strikes the floor.
    pub(super) floor_m: Option<f64>,
    /// Upwards before and after, in metres a frame, where they are known.
    pub(super) speeds_m: Option<[f64; 2]>,
}

/// All arcs of a ball, and where they meet.
struct Course {
    arcs: Vec<Arc>,
    joints: Vec<Joint>,
    /// Of its speed that the ball keeps in a bounce.
    share: f64,
}

/// A ball on its arcs.
pub(super) fn fit(ball: &Ball, spans: &[Span], around: &Surroundings) -> Reading {
    if spans.is_empty() {
        return Reading { places_m: ball.places_m.clone(), strikes: Vec::new() };
    }
    let arcs = spans.iter().map(|&span| simplest(ball, span, around)).collect();
    let course = joined(ball, arcs, around);
    let mut strikes: Vec<Strike> = course.joints.iter().zip(course.arcs.windows(2)).map(strike).collect();
    let places_m = (0..ball.places_m.len())
        .map(|frame| {
            let (place_m, bounce) = course.place(ball, frame as f64, around);
            if let Some(bounce) = bounce.filter(|bounce| !strikes.iter().any(|strike| strike.is_near(bounce)))
            {
                strikes.push(bounce);
            }
            place_m
        })
        .collect();
    strikes.sort_by(|a, b| a.time.total_cmp(&b.time));
    Reading { places_m, strikes }
}

fn strike((joint, pair): (&Joint, &[Arc])) -> Strike {
    let turn = [0, 1].map(|axis| pair[1].axes[axis].slope(joint.time) - pair[0].axes[axis].slope(joint.time));
    Strike { time: joint.time, turn_m: turn[0].hypot(turn[1]) }
}

/// Heights of a ball's lowest point.
fn lowest_m(ball: &Ball, span: Span) -> impl Iterator<Item = f64> + '_ {
    ball.places_m[span.first..=span.last].iter().map(|place| place[1] - ball.radius_m)
}

/// The span as the simplest curves that leave about as little: what is held is at the hand, what lies is level,
/// what flies falls as all does and keeps its speed across.
fn simplest(ball: &Ball, span: Span, around: &Surroundings) -> Arc {
    if let Some(hand) = span.hand.and_then(|hand| around.hands_m.get(hand)) {
        let path = |axis: usize| hand.iter().map(|place| place[axis]).collect();
        return Arc { span, axes: [0, 1].map(|axis| Curve::new(span, 0, Given::Path(path(axis)))) };
    }
    let noise_m = tremble_m(&ball.places_m);
    let short = span.frames() <= SHORTEST + 2;
    let free = |axis: usize, terms: usize| Curve::new(span, terms, Given::Bend(0.0)).alone(ball, axis, span);
    let (across, left_m) = free(0, 3);
    let (straight, straight_m) = free(0, 2);
    if around.floor && lowest_m(ball, span).all(|height_m| height_m < LYING_M) {
        let across = if short || straight_m < AS_GOOD * left_m.max(noise_m) { straight } else { across };
        return Arc { span, axes: [across, Curve::new(span, 0, Given::Level(ball.radius_m))] };
    }
    let (up, left_m) = free(1, 3);
    let (level, level_m) = free(1, 2);
    let (falling, falling_m) = Curve::new(span, 2, Given::Bend(FALL_M)).alone(ball, 1, span);
    let falls = FALLS.contains(&(up.coefficients[2] / (up.half * up.half * FALL_M)));
    let alike = if falls { NEARLY } else { AS_GOOD };
    if around.floor && (short || falling_m < alike * left_m.max(noise_m)) {
        return Arc { span, axes: [straight, falling] };
    }
    let across = if short || straight_m < AS_GOOD * left_m.max(noise_m) { straight } else { across };
    Arc { span, axes: [across, if level_m < AS_GOOD * left_m.max(noise_m) { level } else { up }] }
}

/// The arcs brought together, and the joints between them.
fn joined(ball: &Ball, mut arcs: Vec<Arc>, around: &Surroundings) -> Course {
    let mut joints: Vec<Joint> =
        arcs.windows(2).map(|pair| Joint::between(&pair[0], &pair[1], ball, around)).collect();
    let noise_m = tremble_m(&ball.places_m);
    let mut bounds = Vec::new();
    for turn in 0..TURNS {
        let share = turn as f64 / (TURNS - 1) as f64;
        let open_m = OPEN_M * (CLOSED_M / OPEN_M).powf(share);
        if turn == TURNS / 2 {
            bounds = out_of_view(&arcs, ball, around);
        }
        for joint in joints.iter_mut().zip(arcs.windows(2)) {
            let (joint, pair) = joint;
            joint.time = joint.instant(&pair[0], &pair[1]);
        }
        for axis in 0..2 {
            let bounds = if axis == 0 { &bounds[..] } else { &[] };
            solve_axis(&mut arcs, (&joints, bounds), ball, axis, [noise_m, open_m]);
        }
    }
    let share = agree(&arcs, &mut joints).unwrap_or(USUAL_SHARE);
    for axis in 0..2 {
        let bounds = if axis == 0 { &bounds[..] } else { &[] };
        solve_axis(&mut arcs, (&joints, bounds), ball, axis, [noise_m, CLOSED_M]);
    }
    Course { arcs, joints, share }
}

/// Where an arc's ends would be out of view, and the bound that they keep to instead.
fn out_of_view(arcs: &[Arc], ball: &Ball, around: &Surroundings) -> Vec<Bound> {
    let Some(view_m) = around.view_m.filter(|view_m| *view_m > 2.0 * ball.radius_m) else {
        return Vec::new();
    };
    let ends = arcs.iter().enumerate().flat_map(|(arc, curve)| {
        [curve.span.first, curve.span.last].map(|frame| (arc, frame as f64, curve.axes[0].at(frame as f64)))
    });
    ends.map(|(arc, t, place_m)| Bound {
        arc,
        t,
        place_m: place_m.clamp(ball.radius_m, view_m - ball.radius_m),
    })
    .filter(|bound| (bound.place_m - arcs[bound.arc].axes[0].at(bound.t)).abs() > 0.0)
    .collect()
}

/// Where an arc has to be at a time.
#[derive(Clone, Copy, Debug)]
struct Bound {
    arc: usize,
    t: f64,
    place_m: f64,
}

/// Fits one coordinate of all arcs to the places, to each other and to what bounds them.
fn solve_axis(
    arcs: &mut [Arc],
    (joints, bounds): (&[Joint], &[Bound]),
    ball: &Ball,
    axis: usize,
    [noise_m, open_m]: [f64; 2],
) {
    let mut offsets = Vec::with_capacity(arcs.len());
    let mut unknowns = 0;
    for arc in arcs.iter() {
        offsets.push(unknowns);
        unknowns += arc.axes[axis].coefficients.len();
    }
    let mut system = System::new(unknowns);
    for (arc, &offset) in arcs.iter().zip(&offsets) {
        let curve = &arc.axes[axis];
        for frame in arc.span.first..=arc.span.last {
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
        if let (1, Some(speeds_m)) = (axis, joint.speeds_m) {
            for ((curve, &offset), speed_m) in [before, after].into_iter().zip(offsets).zip(speeds_m) {
                let (slopes, given) = curve.slopes(t);
                system.ask(&[(offset, slopes)], speed_m - given, 1.0 / CLOSED_M);
            }
        }
    }
    for bound in bounds {
        let curve = &arcs[bound.arc].axes[axis];
        let term = [(offsets[bound.arc], curve.powers(bound.t))];
        system.ask(&term, bound.place_m - curve.given(bound.t), 1.0 / open_m);
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
        let within = [before.span.last as f64 - 0.5, after.span.first as f64 + 0.5];
        let middle = f64::midpoint(within[0], within[1]);
        let near =
            |heard: &&f64| **heard > within[0] - TOGETHER + 0.5 && **heard < within[1] + TOGETHER - 0.5;
        let heard = around
            .heard
            .iter()
            .filter(near)
            .min_by(|a, b| (*a - middle).abs().total_cmp(&(*b - middle).abs()));
        let mut joint = Self { time: middle, within, heard: heard.copied(), floor_m: None, speeds_m: None };
        let time = joint.instant(before, after);
        let felt_m = if around.obstacles { CROWDED_FLOOR_M } else { FLOOR_M };
        let height_m = before.axes[1].at(time).min(after.axes[1].at(time)) - ball.radius_m;
        let turn_m = after.axes[1].speed(time) - before.axes[1].speed(time);
        let lies = before.lies() || after.lies();
        let held = before.span.hand.or(after.span.hand).is_some();
        if around.floor && !held && (lies || (height_m < felt_m && turn_m > SLIGHT_M)) {
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
            .fold(0.0_f64, f64::hypot)
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

impl Course {
    /// Where the ball is at a time, and the bounce that put it there where no arc does: one so near to an end
    /// of the clip that too little of it is seen.
    fn place(&self, ball: &Ball, t: f64, around: &Surroundings) -> ([f64; 2], Option<Strike>) {
        let arc = &self.arcs[self.joints.iter().take_while(|joint| joint.time <= t).count()];
        let [across, up] = [0, 1].map(|axis| arc.axes[axis].at(t));
        if !around.floor || up >= ball.radius_m {
            return ([across, up], None);
        }
        if !arc.falls() || (arc.span.first as f64..=arc.span.last as f64).contains(&t) {
            return ([across, ball.radius_m], None);
        }
        // From inside the span to the frame outside of it, the arc comes down to the floor somewhere.
        let (mut above, mut below) = (t.clamp(arc.span.first as f64, arc.span.last as f64), t);
        for _ in 0..40 {
            let middle = f64::midpoint(above, below);
            if arc.axes[1].at(middle) < ball.radius_m { below = middle } else { above = middle }
        }
        let speed_m = arc.axes[1].slope(below).abs();
        let since = (t - below).abs();
        let leaving_m = if t > below { self.share * speed_m } else { speed_m / self.share };
        let up = ball.radius_m + (leaving_m + FALL_M * since) * since;
        let strike = Strike { time: below, turn_m: speed_m + leaving_m };
        ([across, up.max(ball.radius_m)], Some(strike))
    }
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
