//! What a track says of motion: places enter; contacts, the arcs between them and the flights among these
//! leave.
//!
//! A contact is where a velocity changes at once while the place does not, and where there is something to
//! touch. Its instant is where the arcs before and after it meet, which lies between frames. What changes
//! a place at once is no contact: it stays in the arc and counts as a teleport.
//! INVARIANT: gravity is only ever fitted, so that a clip with another gravity is measured with its own.

use super::track::{Ball, Point, Track, distance, median, solve};
use crate::world::GRAVITY_M_S2;

/// A smaller change of velocity than this is no contact.
const SOFTEST_M_S: f64 = 0.4;
/// A greater one is a contact however few frames lie beside it.
const HARD_M_S: f64 = 2.0;
/// So many standard deviations of the track make a change of velocity.
const CLEAR: f64 = 6.0;
/// Frames on either side from which the acceleration in the middle is read.
const AROUND: usize = 8;
/// Frames next to a contact that say how fast it was.
const LOCAL: usize = 7;
/// Fewer of them say it badly.
const CLEAR_FRAMES: usize = 4;
/// Frames of the shortest flight.
const FEWEST: usize = 5;
/// A ball whose lowest point stays within this of the floor lies or rolls on it.
const RESTING_M: f64 = 0.06;
/// A flight rises at least this high.
const HIGH_M: f64 = 0.15;
/// How far a ball's lowest point may be off the floor in the frames around a bounce: it is seen before it and
/// after it.
const FLOOR_M: f64 = 0.35;
/// Two balls touch when their centres are at most this much farther apart than both radii.
const TOUCHING: f64 = 1.15;

/// Cosine of the angle within which a push comes from where another ball is.
const ALONG: f64 = 0.7;

const GRAVITY: f64 = GRAVITY_M_S2 as f64;

/// What a ball can touch, and what pulls at it besides gravity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Setting {
    /// A rim, a board or a hand, which the picture does not say where to find.
    pub(super) fixtures: bool,
    /// A net that brakes a ball on its way to the floor.
    pub(super) net: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Floor,
    /// The other ball.
    Ball,
    Fixture,
}

/// One contact as the picture shows it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Contact {
    pub(super) time_s: f64,
    pub(super) touch: Touch,
    /// Index of the ball, and of the other where two touch.
    pub(super) balls: Vec<usize>,
    /// Velocities of these balls just before and after.
    pub(super) before_m_s: Vec<Point>,
    pub(super) after_m_s: Vec<Point>,
    /// Whether enough frames on both sides say how fast the balls were.
    pub(super) clear: bool,
    /// Frame before the contact, of which the arcs end here.
    gap: usize,
}

impl Contact {
    /// Whether the frames around it say that it is one: enough of them, or a great change of velocity.
    pub(super) fn is_told(&self) -> bool {
        let pairs = self.before_m_s.iter().zip(&self.after_m_s);
        let change_m_s = pairs.map(|(&before, &after)| distance(before, after)).fold(0.0, f64::max);
        change_m_s > if self.clear { SOFTEST_M_S } else { HARD_M_S }
    }
}

/// A flight of at least five frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Flight {
    pub(super) gravity_m_s2: f64,
    /// Share of the height's variance that the parabola explains.
    pub(super) r_squared: f64,
}

/// The motion in a clip.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Motion {
    /// In order of time.
    pub(super) contacts: Vec<Contact>,
    pub(super) flights: Vec<Flight>,
    /// Bend of a height in a frame that the clip's flights agree on.
    bend: f64,
    /// First and last frame of the arcs of each ball, both included.
    arcs: Vec<Vec<[usize; 2]>>,
}

/// `level + speed t + bend t^2`, with its residual sum of squares.
#[derive(Clone, Copy, Debug)]
struct Parabola {
    level: f64,
    speed: f64,
    bend: f64,
    residual: f64,
    /// Sum of squares about the mean.
    spread: f64,
}

impl Motion {
    pub(super) fn of(track: &Track, setting: Setting) -> Self {
        let mut gaps: Vec<Vec<(usize, Touch)>> =
            (0..track.balls.len()).map(|ball| breaks(track, ball, setting)).collect();
        // What strikes is struck, even if it hardly moves.
        let struck: Vec<(usize, usize)> = gaps
            .iter()
            .enumerate()
            .flat_map(|(ball, gaps)| {
                gaps.iter().filter(|gap| gap.1 == Touch::Ball).map(move |&(gap, _)| (1 - ball.min(1), gap))
            })
            .collect();
        for (ball, gap) in struck {
            let Some(gaps) = gaps.get_mut(ball) else { continue };
            match gaps.iter_mut().find(|(other, _)| other.abs_diff(gap) <= 1) {
                Some(known) => known.1 = Touch::Ball,
                None => gaps.push((gap, Touch::Ball)),
            }
            gaps.sort_by_key(|gap| gap.0);
        }
        let arcs: Vec<Vec<[usize; 2]>> =
            gaps.iter().zip(&track.balls).map(|(gaps, ball)| arcs(gaps, ball.places_m.len())).collect();
        let bend = -0.5 * GRAVITY / (track.fps * track.fps);
        let mut motion = Self { contacts: Vec::new(), flights: Vec::new(), bend, arcs };
        motion.measure_gravity(track, &gaps, setting);
        for (ball, gaps) in gaps.iter().enumerate() {
            for &(gap, touch) in gaps {
                let twin = motion.contacts.iter().any(|contact| {
                    touch == Touch::Ball && contact.touch == Touch::Ball && contact.gap.abs_diff(gap) <= 1
                });
                if !twin {
                    motion.contacts.extend(motion.contact(track, ball, gap, touch));
                }
            }
        }
        motion.contacts.sort_by(|a, b| a.time_s.total_cmp(&b.time_s));
        motion
    }

    /// Fits each flight, and one gravity to all of them.
    fn measure_gravity(&mut self, track: &Track, gaps: &[Vec<(usize, Touch)>], setting: Setting) {
        let dt_s = 1.0 / track.fps;
        let (mut bends, mut weights) = (0.0, 0.0);
        for ((ball, arcs), gaps) in track.balls.iter().zip(&self.arcs).zip(gaps) {
            for &[first, last] in arcs {
                let heights = seen(ball, first, last, 1);
                let highest = heights.iter().map(|place| place.1 - ball.radius_m).fold(0.0, f64::max);
                let ends_at = touch_at(gaps, last);
                // Free of a net is what comes before a rim or board, or from the floor.
                let from = first.checked_sub(1).and_then(|gap| touch_at(gaps, gap));
                let thrown = first == 0 && ends_at == Some(Touch::Fixture);
                let braked = setting.net && !thrown && from != Some(Touch::Floor);
                if heights.len() < FEWEST || highest < HIGH_M || braked {
                    continue;
                }
                let Some(fit) = Parabola::free(&heights) else { continue };
                self.flights.push(Flight {
                    gravity_m_s2: -2.0 * fit.bend / (dt_s * dt_s),
                    r_squared: 1.0 - fit.residual / fit.spread.max(1e-12),
                });
                // What a parabola says of its bend grows with the fifth power of its length.
                let weight = (heights.len() as f64).powi(5);
                bends += weight * fit.bend;
                weights += weight;
            }
        }
        if weights > 0.0 {
            self.bend = bends / weights;
        }
    }

    /// The contact of a ball in a gap between frames.
    fn contact(&self, track: &Track, ball: usize, gap: usize, touch: Touch) -> Option<Contact> {
        let balls = if touch == Touch::Ball { vec![ball, 1 - ball.min(1)] } else { vec![ball] };
        let mut sides = Vec::with_capacity(balls.len());
        let mut clear = true;
        for &ball in &balls {
            let spans = self.spans(ball, gap)?;
            clear &= spans.iter().all(|[first, last]| last - first + 1 >= CLEAR_FRAMES);
            sides.push(self.sides(track.balls.get(ball)?, spans)?);
        }
        let dt_s = 1.0 / track.fps;
        let time = meeting(&sides, gap as f64);
        let velocity = |side: usize| {
            sides
                .iter()
                .map(|sides| sides[side].map(|axis| axis.speed_at(time) / dt_s))
                .collect::<Vec<Point>>()
        };
        Some(Contact {
            time_s: time * dt_s,
            touch,
            balls,
            before_m_s: velocity(0),
            after_m_s: velocity(1),
            clear,
            gap,
        })
    }

    /// The frames right before and after a gap.
    fn spans(&self, ball: usize, gap: usize) -> Option<[[usize; 2]; 2]> {
        let arcs = self.arcs.get(ball)?;
        let before = arcs.iter().find(|arc| arc[0] <= gap && gap <= arc[1])?;
        let after = arcs.iter().find(|arc| arc[0] <= gap + 1 && gap < arc[1])?;
        Some([
            [before[0].max((gap + 1).saturating_sub(LOCAL)), gap.min(before[1])],
            [(gap + 1).max(after[0]), after[1].min(gap + LOCAL)],
        ])
    }

    /// The arcs of a ball right before and after a contact: `[side][axis]`, in frames.
    fn sides(&self, ball: &Ball, spans: [[usize; 2]; 2]) -> Option<[[Parabola; 2]; 2]> {
        let side = |[first, last]: [usize; 2]| {
            let (across, up) = (seen(ball, first, last, 0), seen(ball, first, last, 1));
            let rests = up.iter().all(|place| (place.1 - ball.radius_m).abs() < RESTING_M);
            let bend = if rests { 0.0 } else { self.bend };
            Some([Parabola::bent(&across, 0.0)?, Parabola::bent(&up, bend)?])
        };
        Some([side(spans[0])?, side(spans[1])?])
    }

    /// Greatest height above rest of the arcs before and after a contact with the floor, where both show it.
    pub(super) fn heights_m(&self, track: &Track, contact: &Contact) -> Option<[f64; 2]> {
        let &index = contact.balls.first()?;
        let ball = track.balls.get(index)?;
        let arcs = self.arcs.get(index)?;
        let after = arcs.iter().position(|arc| arc[0] > contact.gap)?;
        let apex = |[first, last]: [usize; 2]| {
            let fit = Parabola::bent(&seen(ball, first, last, 1), self.bend)?;
            let top = -fit.speed / (2.0 * fit.bend);
            let shown = first as f64 - 0.5..=last as f64 + 0.5;
            (last > first + 2 && shown.contains(&top)).then(|| fit.at(top) - ball.radius_m)
        };
        let heights = [apex(*arcs.get(after.checked_sub(1)?)?)?, apex(*arcs.get(after)?)?];
        heights.iter().all(|&height| height > 0.0).then_some(heights)
    }

    /// Whether a contact lies between a frame and the next.
    pub(super) fn breaks_after(&self, frame: usize) -> bool {
        self.contacts.iter().any(|contact| contact.gap == frame)
    }
}

fn touch_at(gaps: &[(usize, Touch)], gap: usize) -> Option<Touch> {
    gaps.iter().find(|other| other.0 == gap).map(|other| other.1)
}

/// How far a ball at `frame` is from where the frames around it lead it, less what gravity does.
pub(super) fn jump_m(ball: &Ball, frame: usize, fps: f64) -> Option<f64> {
    let place = |frame: usize| ball.places_m.get(frame).copied().flatten();
    let (before, here, after) = (place(frame.checked_sub(1)?)?, place(frame)?, place(frame + 1)?);
    let rests = (here[1] - ball.radius_m).abs() < RESTING_M;
    let fall_m = if rests { 0.0 } else { GRAVITY / (fps * fps) };
    let [across, up] = [0, 1].map(|axis| after[axis] - 2.0 * here[axis] + before[axis]);
    Some(across.hypot(up + fall_m))
}

/// Gaps after which a ball has another velocity, and what it touched there.
fn breaks(track: &Track, index: usize, setting: Setting) -> Vec<(usize, Touch)> {
    let Some(ball) = track.balls.get(index) else { return Vec::new() };
    let dt_s = 1.0 / track.fps;
    let bends = bends(ball);
    let changes: Vec<Option<Change>> =
        (0..ball.places_m.len()).map(|gap| Change::at(ball, gap, &bends, dt_s)).collect();
    let least = SOFTEST_M_S.max(CLEAR * 2.0 * tremble_m(ball, &bends) / dt_s);
    let size = |gap: Option<usize>| {
        gap.and_then(|gap| changes.get(gap).copied().flatten()).map_or(0.0, |change| change.size_m_s)
    };
    let mut found: Vec<(usize, Touch)> = Vec::new();
    for (gap, change) in changes.iter().enumerate() {
        let Some(change) = change else { continue };
        let sharpest = change.size_m_s > size(gap.checked_sub(1)) && change.size_m_s >= size(Some(gap + 1));
        if change.size_m_s < least || !sharpest || !change.keeps_place {
            continue;
        }
        let other = track.balls.iter().enumerate().find(|(other, _)| *other != index).map(|(_, other)| other);
        if let Some(touch) = touched(ball, other, gap, change, setting) {
            // What jumps there and back turns twice as well, but keeps neither velocity.
            let small = change.size_m_s * dt_s < 0.5 * ball.radius_m;
            if touch != Touch::Fixture || small || change.lasts {
                found.push((gap, touch));
            }
        }
    }
    found
}

/// What changed a ball's velocity between a frame and the next.
fn touched(
    ball: &Ball,
    other: Option<&Ball>,
    gap: usize,
    change: &Change,
    setting: Setting,
) -> Option<Touch> {
    let frames = [gap, gap + 1];
    let places = frames.map(|frame| ball.places_m.get(frame).copied().flatten());
    if let Some(other) = other {
        let pushes = frames.into_iter().zip(places).any(|(frame, place)| {
            let there = other.places_m.get(frame).copied().flatten();
            place.zip(there).is_some_and(|(place, there)| {
                let away = [0, 1].map(|axis| place[axis] - there[axis]);
                let along = (away[0] * change.step[0] + away[1] * change.step[1])
                    / (away[0].hypot(away[1]) * change.step[0].hypot(change.step[1])).max(1e-12);
                distance(place, there) < TOUCHING * (ball.radius_m + other.radius_m) && along > ALONG
            })
        });
        if pushes {
            return Some(Touch::Ball);
        }
    }
    let low = places.iter().flatten().any(|place| place[1] - ball.radius_m < FLOOR_M);
    if low && change.step[1] > ALONG * change.step[0].abs() {
        return Some(Touch::Floor);
    }
    setting.fixtures.then_some(Touch::Fixture)
}

/// The change of velocity in one gap.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Metres a frame.
    step: Point,
    size_m_s: f64,
    /// Whether both velocities together explain the way through the gap.
    keeps_place: bool,
    /// Whether the velocities before and after it last for another frame.
    lasts: bool,
}

impl Change {
    fn at(ball: &Ball, gap: usize, bends: &[f64], dt_s: f64) -> Option<Self> {
        let place = |frame: Option<usize>| ball.places_m.get(frame?).copied().flatten();
        let [a, b, c, d] = [gap.checked_sub(1), Some(gap), Some(gap + 1), Some(gap + 2)].map(place);
        let (a, b, c, d) = (a?, b?, c?, d?);
        let fall = [0.0, *bends.get(gap)?];
        // Steps of one frame before and after, as they would be in the gap.
        let before = [0, 1].map(|axis| b[axis] - a[axis] + fall[axis]);
        let after = [0, 1].map(|axis| d[axis] - c[axis] - fall[axis]);
        let step = [0, 1].map(|axis| c[axis] - b[axis]);
        let change = [0, 1].map(|axis| after[axis] - before[axis]);
        let square = change[0] * change[0] + change[1] * change[1];
        if square <= 0.0 {
            return None;
        }
        let share = (0..2).map(|axis| (after[axis] - step[axis]) * change[axis]).sum::<f64>() / square;
        let held = share.clamp(-0.25, 1.25);
        let explained = [0, 1].map(|axis| held * before[axis] + (1.0 - held) * after[axis]);
        let missed = distance(explained, step);
        let size = square.sqrt();
        let earlier =
            place(gap.checked_sub(2)).map(|z| [0, 1].map(|axis| a[axis] - z[axis] + 2.0 * fall[axis]));
        let later = place(Some(gap + 3)).map(|e| [0, 1].map(|axis| e[axis] - d[axis] - 2.0 * fall[axis]));
        let same =
            |one: Option<Point>, other: Point| one.is_none_or(|one| distance(one, other) < 0.35 * size);
        Some(Self {
            step: change,
            size_m_s: size / dt_s,
            keeps_place: missed < 0.01 + 0.15 * size,
            lasts: same(earlier, before) && same(later, after),
        })
    }
}

/// Second differences of the height.
fn second_differences(ball: &Ball) -> Vec<Option<f64>> {
    let up = |frame: usize| ball.places_m.get(frame).copied().flatten().map(|place| place[1]);
    (0..ball.places_m.len())
        .map(|frame| Some(up(frame + 1)? - 2.0 * up(frame)? + up(frame.checked_sub(1)?)?))
        .collect()
}

/// What the height's second difference is around each frame, whatever happens at single ones.
fn bends(ball: &Ball) -> Vec<f64> {
    let differences = second_differences(ball);
    (0..differences.len())
        .map(|frame| {
            let window = frame.saturating_sub(AROUND)..(frame + AROUND + 2).min(differences.len());
            let mut near: Vec<f64> = differences[window].iter().flatten().copied().collect();
            median(&mut near).unwrap_or(0.0)
        })
        .collect()
}

/// How much places tremble, in metres: standard deviation, robustly.
fn tremble_m(ball: &Ball, bends: &[f64]) -> f64 {
    let differences = second_differences(ball);
    let mut off: Vec<f64> =
        differences.iter().zip(bends).filter_map(|(d, bend)| d.map(|d| (d - bend).abs())).collect();
    // 1.4826 for the normal distribution; a second difference has six times the variance.
    median(&mut off).map_or(0.0, |middle| 1.4826 * middle / 6.0_f64.sqrt())
}

/// Frames between breaks.
fn arcs(gaps: &[(usize, Touch)], frames: usize) -> Vec<[usize; 2]> {
    let mut first = 0;
    let mut found = Vec::with_capacity(gaps.len() + 1);
    for last in gaps.iter().map(|gap| gap.0).chain(frames.checked_sub(1)) {
        found.push([first, last]);
        first = last + 1;
    }
    found
}

/// Frames and coordinates of a ball where it is seen.
fn seen(ball: &Ball, first: usize, last: usize, axis: usize) -> Vec<(f64, f64)> {
    (first..=last)
        .filter_map(|frame| Some((frame as f64, ball.places_m.get(frame).copied().flatten()?[axis])))
        .collect()
}

/// When, in frames, the arcs before a gap come nearest to those after it.
fn meeting(sides: &[[[Parabola; 2]; 2]], gap: f64) -> f64 {
    let mut time = gap + 0.5;
    for _ in 0..6 {
        let (mut product, mut square) = (0.0, 0.0);
        for [before, after] in sides {
            for (one, other) in before.iter().zip(after) {
                let change = other.speed_at(time) - one.speed_at(time);
                product += change * (other.at(time) - one.at(time));
                square += change * change;
            }
        }
        if square <= 0.0 {
            break;
        }
        time = (time - product / square).clamp(gap - 0.5, gap + 1.5);
    }
    time
}

impl Parabola {
    fn at(&self, time: f64) -> f64 {
        self.level + self.speed * time + self.bend * time * time
    }

    fn speed_at(&self, time: f64) -> f64 {
        self.speed + 2.0 * self.bend * time
    }

    /// The best parabola of a given bend.
    fn bent(points: &[(f64, f64)], bend: f64) -> Option<Self> {
        let count = points.len() as f64;
        let middle = points.iter().map(|point| point.0).sum::<f64>() / count;
        let straight = |&(t, y): &(f64, f64)| (t - middle, y - bend * t * t);
        let level = points.iter().map(|point| straight(point).1).sum::<f64>() / count;
        let square: f64 = points.iter().map(|point| straight(point).0.powi(2)).sum();
        let product: f64 = points.iter().map(straight).map(|(t, y)| t * y).sum();
        (square > 0.0).then(|| {
            let speed = product / square;
            Self { level: level - speed * middle, speed, bend, residual: 0.0, spread: 0.0 }.judged(points)
        })
    }

    /// The best parabola of any bend.
    fn free(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        let middle = points.iter().map(|point| point.0).sum::<f64>() / count;
        let moment = |power: i32| points.iter().map(|point| (point.0 - middle).powi(power)).sum::<f64>();
        let product = |power: i32| points.iter().map(|point| (point.0 - middle).powi(power) * point.1).sum();
        let (s1, s2, s3) = (moment(1), moment(2), moment(3));
        let matrix = [[count, s1, s2], [s1, s2, s3], [s2, s3, moment(4)]];
        let [level, speed, bend] = solve(matrix, [product(0), product(1), product(2)])?;
        let fit = Self {
            level: level - speed * middle + bend * middle * middle,
            speed: speed - 2.0 * bend * middle,
            bend,
            residual: 0.0,
            spread: 0.0,
        };
        Some(fit.judged(points))
    }

    fn judged(mut self, points: &[(f64, f64)]) -> Self {
        let mean = points.iter().map(|point| point.1).sum::<f64>() / points.len() as f64;
        self.residual = points.iter().map(|&(t, y)| (y - self.at(t)).powi(2)).sum();
        self.spread = points.iter().map(|&(_, y)| (y - mean).powi(2)).sum();
        self
    }
}
