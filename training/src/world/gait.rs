//! How people move: walking, standing, jumping, waving, throwing and catching, as poses of a doll.
//!
//! Parameters of a motion go in; the pose at any time and the moments when feet strike leave. Legs have no
//! knees, so a walk is a compass: the hip rides on the leg that stands, and legs follow from the distance
//! walked, not from time.
//! INVARIANT: every motion is a closed formula of time without jumps in position; a foot that stands does not
//! slide, and a hip in flight falls freely.

use std::f32::consts::{PI, TAU};

use super::doll::{HIP, Part};
use super::{Contact, ContactKind, DollPose, FPS, FRAMES, GRAVITY_M_S2};

/// From the hip to the middle of the round end of a leg, and that end's radius, as shares of the height.
const LEG: f32 = 0.368;
const SOLE: f32 = 0.055;
/// From the shoulder to the hand.
const ARM: f32 = 0.28;
/// Area of a person's silhouette as a share of the squared height; 1 kg per square metre.
const MASS: f32 = 0.3;

/// The sole of a leg (0 far, 1 near): the lowest point of its round end.
pub(crate) fn sole_m(pose: &DollPose, side: usize, height_m: f32) -> (f32, f32) {
    let (sin, cos) = pose.legs_rad[side].sin_cos();
    (pose.x_m + LEG * height_m * sin, pose.y_m - (LEG * cos + SOLE) * height_m)
}

pub(super) fn mass_kg(height_m: f32) -> f32 {
    MASS * height_m * height_m
}

/// Feet are as deep in pitch as a ball of this radius.
fn sound_size_m(height_m: f32) -> f32 {
    height_m / 4.0
}

/// Height of the hip over two legs that stand at this angle.
fn hip_m(height_m: f32, leg_rad: f32) -> f32 {
    height_m * (HIP - LEG * (1.0 - leg_rad.cos()))
}

/// The least and greatest x and y that the parts of a doll reach: left, right, bottom, top.
pub(super) fn extent_m(pose: &DollPose, height_m: f32) -> [f32; 4] {
    let mut extent = [f32::INFINITY, f32::NEG_INFINITY, f32::INFINITY, f32::NEG_INFINITY];
    for (part, at) in Part::ALL.into_iter().zip(pose.parts(height_m)) {
        let [half_width, half_height, radius] = part.shape().map(|share| share * height_m);
        let (sin, cos) = (at.angle_rad.sin().abs(), at.angle_rad.cos().abs());
        let (wide, tall) = (half_width - radius, half_height - radius);
        let (dx, dy) = (wide * cos + tall * sin + radius, wide * sin + tall * cos + radius);
        extent[0] = extent[0].min(at.x_m - dx);
        extent[1] = extent[1].max(at.x_m + dx);
        extent[2] = extent[2].min(at.y_m - dy);
        extent[3] = extent[3].max(at.y_m + dy);
    }
    extent
}

/// The pose in every frame.
pub(super) fn frames(pose: impl Fn(f32) -> DollPose) -> Vec<DollPose> {
    (0..FRAMES).map(|frame| pose(frame as f32 / FPS as f32)).collect()
}

/// A value that passes through keys of time, value and slope along cubic curves, and rests outside them.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    keys: Vec<[f32; 3]>,
}

impl Curve {
    /// A curve that rests at `value` until it is moved.
    pub(super) fn resting(value: f32) -> Self {
        Self { keys: vec![[f32::NEG_INFINITY, value, 0.0]] }
    }

    /// Leaves what it holds at `from_s` and comes to rest at `value`.
    pub(super) fn ease(&mut self, from_s: f32, to_s: f32, value: f32) {
        self.pass(from_s, self.last(), 0.0);
        self.pass(to_s, value, 0.0);
    }

    /// Passes `value` with a slope. Keys come in order of time.
    pub(super) fn pass(&mut self, time_s: f32, value: f32, slope: f32) {
        self.keys.push([time_s, value, slope]);
    }

    fn last(&self) -> f32 {
        self.keys.last().map_or(0.0, |key| key[1])
    }

    pub(super) fn at(&self, time_s: f32) -> f32 {
        let next = self.keys.partition_point(|key| key[0] <= time_s);
        match (self.keys.get(next.wrapping_sub(1)), self.keys.get(next)) {
            (Some([from_s, from, leaving]), Some([to_s, to, coming])) if from_s.is_finite() => {
                let span_s = to_s - from_s;
                let u = (time_s - from_s) / span_s;
                let (u2, u3) = (u * u, u * u * u);
                (2.0 * u3 - 3.0 * u2 + 1.0) * from
                    + (u3 - 2.0 * u2 + u) * span_s * leaving
                    + (3.0 * u2 - 2.0 * u3) * to
                    + (u3 - u2) * span_s * coming
            }
            (Some(key), _) | (None, Some(key)) => key[1],
            (None, None) => 0.0,
        }
    }
}

/// A walk that starts from standing and ends standing, after a whole number of steps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    pub(super) height_m: f32,
    pub(super) from_x_m: f32,
    /// 1 to the right, -1 to the left.
    pub(super) side: f32,
    pub(super) speed_m_s: f32,
    pub(super) start_s: f32,
    pub(super) steps: u32,
    /// Where in its breath the person is at time zero.
    pub(super) breath_rad: f32,
}

impl Walk {
    /// Time to gain and to lose the speed.
    const RAMP_S: f32 = 0.45;
    /// How far the swinging leg overshoots, which lifts its foot off the floor.
    const LIFT_RAD: f32 = 0.16;

    /// Half the angle between the legs at a strike. Strides lengthen with the root of the speed, as people's
    /// do, and legs only open so far.
    fn opening_rad(&self) -> f32 {
        let leg_m = HIP * self.height_m;
        let froude = self.speed_m_s / (GRAVITY_M_S2 * leg_m).sqrt();
        let step_m = 0.95 * leg_m * froude.sqrt();
        (step_m / (2.0 * LEG * self.height_m)).clamp(0.2, 0.55).asin()
    }

    fn step_m(&self) -> f32 {
        2.0 * LEG * self.height_m * self.opening_rad().sin()
    }

    pub(super) fn distance_m(&self) -> f32 {
        self.step_m() * self.steps as f32
    }

    fn duration_s(&self) -> f32 {
        self.distance_m() / self.speed_m_s + Self::RAMP_S
    }

    fn ramp_m(&self) -> f32 {
        self.speed_m_s * Self::RAMP_S / 2.0
    }

    fn walked_m(&self, time_s: f32) -> f32 {
        let (since_s, left_s) = (time_s - self.start_s, self.start_s + self.duration_s() - time_s);
        let ramp = |time_s: f32| self.ramp_m() * (time_s.max(0.0) / Self::RAMP_S).powi(2);
        if since_s < Self::RAMP_S {
            ramp(since_s)
        } else if left_s < Self::RAMP_S {
            self.distance_m() - ramp(left_s)
        } else {
            self.ramp_m() + self.speed_m_s * (since_s - Self::RAMP_S)
        }
    }

    /// When a distance has been walked.
    fn time_s(&self, walked_m: f32) -> f32 {
        let ramp_s = |m: f32| Self::RAMP_S * (m.max(0.0) / self.ramp_m()).sqrt();
        let left_m = self.distance_m() - walked_m;
        self.start_s
            + if walked_m < self.ramp_m() {
                ramp_s(walked_m)
            } else if left_m < self.ramp_m() {
                self.duration_s() - ramp_s(left_m)
            } else {
                Self::RAMP_S + (walked_m - self.ramp_m()) / self.speed_m_s
            }
    }

    fn speed_at(&self, time_s: f32) -> f32 {
        let (since_s, left_s) = (time_s - self.start_s, self.start_s + self.duration_s() - time_s);
        self.speed_m_s * (since_s.min(left_s) / Self::RAMP_S).clamp(0.0, 1.0)
    }

    pub(super) fn pose(&self, time_s: f32) -> DollPose {
        let walked_m = self.walked_m(time_s);
        // Whole strides count the strikes; half way between two of them the legs pass each other.
        let stride = 0.5 + walked_m / self.step_m();
        let passed = stride.floor();
        let share = stride - passed;
        let standing = passed as usize % 2;
        let stance_rad = ((1.0 - 2.0 * share) * self.opening_rad().sin()).asin();
        let swing_rad = -stance_rad - Self::LIFT_RAD * (TAU * share).sin();
        let mut pose = DollPose {
            x_m: self.from_x_m + self.side * walked_m,
            y_m: hip_m(self.height_m, stance_rad),
            ..DollPose::default()
        };
        pose.legs_rad[standing] = self.side * stance_rad;
        pose.legs_rad[1 - standing] = self.side * swing_rad;
        let breath = (TAU * 0.3 * time_s + self.breath_rad).sin();
        pose.lean_rad = -self.side * 0.05 * self.speed_at(time_s) + 0.008 * breath;
        pose.nod_rad = -0.8 * pose.lean_rad;
        pose.arms_rad[standing] = -1.2 * self.side * stance_rad - pose.lean_rad;
        pose.arms_rad[1 - standing] = 1.2 * self.side * stance_rad - pose.lean_rad;
        pose
    }

    /// The strikes of the feet.
    pub(super) fn contacts(&self, actor: usize) -> Vec<Contact> {
        (1..=self.steps)
            .map(|step| {
                let time_s = self.time_s((step as f32 - 0.5) * self.step_m());
                let pose = self.pose(time_s);
                let (x_m, y_m) = sole_m(&pose, step as usize % 2, self.height_m);
                let speed_m_s = self.speed_at(time_s);
                Contact {
                    time_s,
                    kind: ContactKind::Step,
                    actor,
                    other: None,
                    // The slope of the swinging foot's height where it strikes.
                    speed_m_s: PI * Self::LIFT_RAD * speed_m_s,
                    // The hip falls along one arc and rises along the next.
                    impulse_n_s: 2.0 * mass_kg(self.height_m) * speed_m_s * self.opening_rad().tan(),
                    size_m: sound_size_m(self.height_m),
                    x_m,
                    y_m,
                }
            })
            .collect()
    }
}

/// A jump straight up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Jump {
    pub(super) start_s: f32,
    pub(super) speed_m_s: f32,
}

impl Jump {
    fn flight_s(self) -> f32 {
        2.0 * self.speed_m_s / GRAVITY_M_S2
    }

    pub(super) fn landing_s(self) -> f32 {
        self.start_s + self.flight_s()
    }
}

/// A person who stays in one place: stands, waves, jumps, throws or catches.
#[derive(Clone, Debug)]
pub(super) struct Stand {
    pub(super) height_m: f32,
    pub(super) x_m: f32,
    /// 1 to the right, -1 to the left.
    side: f32,
    breath_rad: f32,
    /// Angle of either leg.
    spread_rad: f32,
    jumps: Vec<Jump>,
    lean: Curve,
    /// Angles of the far and near arm from straight down, whatever the torso does.
    arms: [Curve; 2],
}

impl Stand {
    /// Time to swing down for a jump.
    pub(super) const CROUCH_S: f32 = 0.38;
    /// Time to come to rest after one.
    pub(super) const SETTLE_S: f32 = 0.3;
    /// Angle of an arm that hangs, and of one that holds something in front.
    const REST_RAD: f32 = 0.1;
    const HOLD_RAD: f32 = 0.95;

    pub(super) fn new(height_m: f32, x_m: f32, side: f32, breath_rad: f32) -> Self {
        Self {
            height_m,
            x_m,
            side,
            breath_rad,
            spread_rad: 0.16,
            jumps: Vec::new(),
            lean: Curve::resting(0.0),
            arms: [Curve::resting(-Self::REST_RAD), Curve::resting(Self::REST_RAD)],
        }
    }

    pub(super) fn pose(&self, time_s: f32) -> DollPose {
        let breath = (TAU * 0.3 * time_s + self.breath_rad).sin();
        let sway = (TAU * 0.17 * time_s + 2.0 * self.breath_rad).sin();
        let lean_rad = self.lean.at(time_s) + 0.012 * sway;
        let mut pose = DollPose {
            x_m: self.x_m,
            y_m: hip_m(self.height_m, self.spread_rad),
            lean_rad,
            // The head stays level while the torso leans.
            nod_rad: -0.7 * lean_rad + 0.02 * breath,
            arms_rad: [0, 1].map(|arm| self.arms[arm].at(time_s) - lean_rad),
            legs_rad: [-self.spread_rad, self.spread_rad],
            mouth: 0.0,
        };
        // Breath lifts hanging arms; one that is busy holds still.
        for (arm, sign) in [(0, -1.0), (1, 1.0)] {
            if self.arms[arm].keys.len() == 1 {
                pose.arms_rad[arm] += sign * 0.025 * breath;
            }
        }
        let airborne = |jump: &&Jump| (jump.start_s..jump.landing_s()).contains(&time_s);
        if let Some(jump) = self.jumps.iter().find(airborne) {
            let since_s = time_s - jump.start_s;
            pose.y_m += since_s * (jump.speed_m_s - 0.5 * GRAVITY_M_S2 * since_s);
            let apart = 0.26 * (PI * since_s / jump.flight_s()).sin().powi(2);
            pose.legs_rad = [-self.spread_rad - apart, self.spread_rad + apart];
        }
        pose
    }

    /// Swings down, jumps at `jump.start_s`, lands and settles. Jumps come in order of time.
    pub(super) fn jump(&mut self, jump: Jump) {
        let (start_s, landing_s) = (jump.start_s, jump.landing_s());
        self.lean.ease(start_s - Self::CROUCH_S, start_s - 0.1, -0.28 * self.side);
        self.lean.ease(start_s - 0.1, start_s + 0.12, 0.05 * self.side);
        self.lean.ease(landing_s - 0.1, landing_s + 0.1, -0.22 * self.side);
        self.lean.ease(landing_s + 0.1, landing_s + Self::SETTLE_S, 0.0);
        for (arm, sign) in self.arms.iter_mut().zip([-1.0, 1.0]) {
            arm.ease(start_s - Self::CROUCH_S, start_s - 0.1, -0.45 * sign);
            arm.ease(start_s - 0.1, start_s + 0.25 * jump.flight_s(), 2.2 * sign);
            arm.ease(start_s + 0.5 * jump.flight_s(), landing_s + 0.1, 0.5 * sign);
            arm.ease(landing_s + 0.1, landing_s + Self::SETTLE_S, Self::REST_RAD * sign);
        }
        self.jumps.push(jump);
    }

    /// The landings of the jumps.
    pub(super) fn contacts(&self, actor: usize) -> Vec<Contact> {
        self.jumps
            .iter()
            .map(|jump| Contact {
                time_s: jump.landing_s(),
                kind: ContactKind::Landing,
                actor,
                other: None,
                speed_m_s: jump.speed_m_s,
                impulse_n_s: mass_kg(self.height_m) * jump.speed_m_s,
                size_m: sound_size_m(self.height_m),
                x_m: self.x_m,
                y_m: 0.0,
            })
            .collect()
    }

    /// Raises the near arm and waves twice a second.
    pub(super) fn wave(&mut self, start_s: f32, end_s: f32) {
        let Self { side, .. } = *self;
        let arm = &mut self.arms[1];
        arm.ease(start_s, start_s + 0.4, 1.8 * side);
        let swings = ((end_s - start_s - 0.8) / 0.25).max(2.0) as u32;
        for swing in 1..=swings {
            let out = if swing % 2 == 1 { 2.5 } else { 1.7 };
            arm.pass(start_s + 0.4 + 0.25 * swing as f32, out * side, 0.0);
        }
        let last_s = start_s + 0.4 + 0.25 * swings as f32;
        arm.ease(last_s, last_s + 0.4, Self::REST_RAD);
    }

    /// Moves an arm a little and back while speaking.
    pub(super) fn gesture(&mut self, start_s: f32, end_s: f32) {
        for (arm, sign) in self.arms.iter_mut().zip([-1.0, 1.0]) {
            arm.ease(start_s, start_s + 0.3, 0.55 * sign);
            arm.ease(end_s.max(start_s + 0.35), end_s.max(start_s + 0.35) + 0.4, Self::REST_RAD * sign);
        }
    }

    fn reach_m(&self) -> f32 {
        ARM * self.height_m
    }

    /// The hand of the near arm.
    pub(super) fn hand_m(&self, time_s: f32) -> (f32, f32) {
        self.pose(time_s).hand_m(1, self.height_m)
    }

    /// The speed of that hand.
    pub(super) fn hand_m_s(&self, time_s: f32) -> (f32, f32) {
        const STEP_S: f32 = 2e-3;
        let (before, after) = (self.hand_m(time_s - STEP_S), self.hand_m(time_s + STEP_S));
        ((after.0 - before.0) / (2.0 * STEP_S), (after.1 - before.1) / (2.0 * STEP_S))
    }

    /// Holds something in front until it is thrown, at `time_s` with `velocity_m_s`, over the shoulder or from
    /// below.
    pub(super) fn throw(&mut self, time_s: f32, velocity_m_s: (f32, f32), over: bool) {
        let side = self.side;
        let speed_m_s = velocity_m_s.0.hypot(velocity_m_s.1);
        let rise_rad = velocity_m_s.1.atan2(side * velocity_m_s.0);
        // An arm that turns moves its hand at a right angle to itself.
        let (back, release, turn) = if over { (4.5, PI + rise_rad, -1.0) } else { (-1.0, rise_rad, 1.0) };
        let slope = turn * speed_m_s / self.reach_m();
        // Steady acceleration reaches that slope after this time.
        let swing_s = 2.0 * (release - back) / slope;
        let hold = Self::HOLD_RAD;
        let mut arm = Curve::resting(side * hold);
        let wound_s = time_s - swing_s - 0.08;
        arm.ease(wound_s - 0.55, wound_s, side * back);
        arm.pass(time_s - swing_s, side * back, 0.0);
        arm.pass(time_s, side * release, side * slope);
        // The arm follows through, and sinks.
        let through = release + turn * (0.11 * slope.abs()).min(1.1);
        arm.pass(time_s + 0.26, side * through, 0.0);
        arm.ease(time_s + 0.4, time_s + 1.0, Self::REST_RAD);
        self.arms[1] = arm;
        let mut other = Curve::resting(side * hold * 0.6);
        other.ease(wound_s - 0.55, wound_s, side * 0.9);
        other.ease(time_s - swing_s, time_s + 0.2, -side * 0.5);
        other.ease(time_s + 0.4, time_s + 1.0, -Self::REST_RAD);
        self.arms[0] = other;
        // The torso has come to rest where it lets go, so that the arm alone moves the hand.
        self.lean.ease(wound_s - 0.55, wound_s, side * 0.16);
        self.lean.ease(time_s - swing_s - 0.06, time_s, -side * 0.14);
        self.lean.ease(time_s + 0.3, time_s + 0.9, 0.0);
    }

    /// Reaches out with both arms so that they are at `arm_rad` (0 down, positive to the person's side) at
    /// `time_s`, gives with what flies in at `velocity_m_s`, and holds it in front.
    pub(super) fn catch(&mut self, time_s: f32, arm_rad: f32, velocity_m_s: (f32, f32)) {
        let side = self.side;
        let (sin, cos) = arm_rad.sin_cos();
        // What of the ball's speed goes along the hand's circle; half of it, for a hand is not as fast.
        let along = 0.5 * (side * velocity_m_s.0 * cos + velocity_m_s.1 * sin) / self.reach_m();
        let slope = along.clamp(-4.0, 4.0);
        for (arm, rest) in self.arms.iter_mut().zip([-Self::REST_RAD, Self::REST_RAD]) {
            *arm = Curve::resting(rest);
            arm.ease(time_s - 0.6, time_s - 0.16, side * (arm_rad - 0.1 * slope));
            arm.pass(time_s, side * arm_rad, side * slope);
            arm.pass(time_s + 0.12, side * (arm_rad + 0.05 * slope), 0.0);
            arm.ease(time_s + 0.25, time_s + 0.75, side * Self::HOLD_RAD);
        }
        self.lean.ease(time_s - 0.6, time_s - 0.02, -side * 0.1);
        self.lean.ease(time_s + 0.02, time_s + 0.2, side * 0.1);
        self.lean.ease(time_s + 0.3, time_s + 0.8, 0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(side: f32, speed_m_s: f32, height_m: f32) -> Walk {
        Walk { height_m, from_x_m: 4.0, side, speed_m_s, start_s: 0.2, steps: 5, breath_rad: 1.0 }
    }

    fn walks() -> Vec<Walk> {
        let mut walks = Vec::new();
        for side in [-1.0, 1.0] {
            for speed_m_s in [0.8, 1.3, 2.0] {
                for height_m in [1.6, 2.2, 3.0] {
                    walks.push(walk(side, speed_m_s, height_m));
                }
            }
        }
        walks
    }

    #[test]
    fn a_curve_passes_its_keys_and_rests_outside_them() {
        let mut curve = Curve::resting(1.0);
        curve.ease(2.0, 3.0, 4.0);
        curve.pass(5.0, 0.0, -3.0);
        for (time_s, value) in [(0.0, 1.0), (2.0, 1.0), (3.0, 4.0), (5.0, 0.0), (9.0, 0.0)] {
            assert!((curve.at(time_s) - value).abs() < 1e-6, "at {time_s}");
        }
        assert!((curve.at(4.999) - 0.003).abs() < 1e-3);
    }

    #[test]
    fn the_foot_that_stands_does_not_slide_and_no_foot_sinks() {
        for walk in walks() {
            let contacts = walk.contacts(0);
            for pair in contacts.windows(2) {
                let step = contacts.iter().position(|contact| contact == &pair[0]).unwrap() + 1;
                for share in 0..=50 {
                    let time_s = pair[0].time_s + share as f32 / 50.0 * (pair[1].time_s - pair[0].time_s);
                    let pose = walk.pose(time_s);
                    let (x_m, y_m) = sole_m(&pose, step % 2, walk.height_m);
                    assert!((x_m - pair[0].x_m).abs() < 1e-3, "slides {} m", x_m - pair[0].x_m);
                    assert!(y_m.abs() < 0.01, "stands at {y_m} m");
                    let (_, y_m) = sole_m(&pose, 1 - step % 2, walk.height_m);
                    assert!(y_m > -0.01, "swings at {y_m} m");
                }
            }
        }
    }

    #[test]
    fn a_step_is_heard_where_and_when_a_foot_comes_down() {
        for walk in walks() {
            let contacts = walk.contacts(0);
            assert_eq!(contacts.len(), 5);
            for (contact, step) in contacts.iter().zip(1_usize..) {
                let foot = |time_s| sole_m(&walk.pose(time_s), step % 2, walk.height_m);
                let at = foot(contact.time_s);
                assert!((at.0 - contact.x_m).abs() < 1e-4 && at.1.abs() < 0.01);
                let fall_m_s = (foot(contact.time_s - 2e-3).1 - at.1) / 2e-3;
                assert!(fall_m_s > 0.0);
                // The speed that the contact claims is the slope of the foot's height.
                assert!(
                    (fall_m_s / contact.speed_m_s - 1.0).abs() < 0.1,
                    "{fall_m_s} for {}",
                    contact.speed_m_s
                );
            }
        }
    }

    #[test]
    fn a_walk_covers_its_distance_at_its_speed_without_jumps() {
        for walk in walks() {
            let (first, last) = (walk.pose(-1.0), walk.pose(60.0));
            assert!((walk.side * (last.x_m - first.x_m) - walk.distance_m()).abs() < 1e-3);
            let mut fastest = 0.0_f32;
            for index in 0..4000 {
                let (one, two) = (walk.pose(index as f32 * 1e-3), walk.pose((index + 1) as f32 * 1e-3));
                fastest = fastest.max((two.x_m - one.x_m).abs() / 1e-3);
                let turned = |a: [f32; 2], b: [f32; 2]| (a[0] - b[0]).abs().max((a[1] - b[1]).abs());
                assert!(turned(one.legs_rad, two.legs_rad) < 0.01);
                assert!(turned(one.arms_rad, two.arms_rad) < 0.01);
                assert!((one.y_m - two.y_m).abs() < 4e-3);
            }
            assert!((fastest / walk.speed_m_s - 1.0).abs() < 0.02, "{fastest} of {}", walk.speed_m_s);
        }
    }

    #[test]
    fn arms_swing_against_legs() {
        let walk = walk(1.0, 1.4, 2.4);
        for frame in 10..40 {
            let pose = walk.pose(frame as f32 / 24.0);
            let arm = pose.arms_rad[1] - pose.arms_rad[0];
            let leg = pose.legs_rad[1] - pose.legs_rad[0];
            assert!(leg.abs() < 0.15 || arm * leg < 0.0);
        }
    }

    #[test]
    fn a_jump_is_a_free_fall_that_lands_when_it_says() {
        for speed_m_s in [2.2, 3.0, 3.9] {
            let mut stand = Stand::new(2.4, 4.0, 1.0, 0.3);
            let jump = Jump { start_s: 0.8, speed_m_s };
            stand.jump(jump);
            let contact = stand.contacts(0)[0];
            assert!((contact.time_s - (0.8 + 2.0 * speed_m_s / GRAVITY_M_S2)).abs() < 1e-5);
            assert!((contact.speed_m_s - speed_m_s).abs() < 1e-5);
            let hip = |time_s: f32| f64::from(stand.pose(time_s).y_m);
            let ground = hip(0.0);
            assert!(
                (hip(contact.time_s - 1e-4) - ground).abs() < 1e-3
                    && (hip(contact.time_s) - ground).abs() < 1e-6
            );
            let step_s = f64::from(contact.time_s - 0.8) / 8.0;
            for index in 1..7 {
                let at = |offset: f64| hip((0.8 + (f64::from(index) + offset) * step_s) as f32);
                let gravity = -(at(1.0) - 2.0 * at(0.0) + at(-1.0)) / step_s.powi(2);
                assert!((gravity / f64::from(GRAVITY_M_S2) - 1.0).abs() < 0.005, "{gravity}");
            }
            for index in 0..4000 {
                let time_s = index as f32 * 1e-3;
                let (pose, before) = (stand.pose(time_s), stand.pose(time_s - 1e-3));
                assert!((pose.y_m - before.y_m).abs() < 5e-3);
                for side in [0, 1] {
                    let sole = sole_m(&pose, side, 2.4);
                    assert!(sole.1 > -0.01);
                    let standing = time_s < 0.8 || time_s > contact.time_s;
                    let home = sole_m(&stand.pose(0.0), side, 2.4);
                    assert!(!standing || ((sole.0 - home.0).abs() < 0.01 && sole.1.abs() < 0.01));
                    assert!((pose.arms_rad[side] - before.arms_rad[side]).abs() < 0.04);
                }
            }
        }
    }

    #[test]
    fn a_wave_goes_to_and_fro_twice_a_second() {
        let mut stand = Stand::new(2.4, 4.0, -1.0, 0.3);
        stand.wave(0.5, 3.5);
        let arm = |time_s: f32| stand.pose(time_s).arms_rad[1];
        assert!(arm(0.3).abs() < 0.3);
        assert!((12..30_u8).all(|tenth| arm(f32::from(tenth) / 10.0).abs() > 1.6));
        let turns = (1000..3000_u32)
            .map(|ms| ms as f32 / 1000.0)
            .filter(|&t| (arm(t) - arm(t - 1e-3)) * (arm(t + 1e-3) - arm(t)) < 0.0)
            .count();
        assert!((7..=9).contains(&turns), "{turns} turns in two seconds");
    }

    #[test]
    fn the_hand_lets_go_as_fast_as_the_ball_flies() {
        for side in [-1.0, 1.0] {
            for (over, rises) in [(true, [0.1, 0.4, 0.8]), (false, [0.4, 0.8, 1.2])] {
                for rise_rad in rises {
                    for speed_m_s in [3.0_f32, 5.0, 7.0] {
                        let mut stand = Stand::new(2.2, 2.0, side, 0.0);
                        let (sin, cos) = f32::sin_cos(rise_rad);
                        stand.throw(2.0, (side * speed_m_s * cos, speed_m_s * sin), over);
                        let (x, y) = stand.hand_m_s(2.0 - 3e-3);
                        let off = (x - side * speed_m_s * cos).hypot(y - speed_m_s * sin);
                        assert!(off < 0.06 * speed_m_s, "{x} {y} for {speed_m_s} at {rise_rad}");
                    }
                }
            }
        }
    }

    #[test]
    fn limbs_never_jump_while_throwing_or_catching() {
        let mut thrower = Stand::new(2.2, 2.0, 1.0, 0.0);
        thrower.throw(2.0, (4.0, 4.0), true);
        let mut catcher = Stand::new(2.2, 2.0, -1.0, 0.0);
        catcher.catch(1.4, 1.5, (4.0, -4.0));
        for stand in [thrower, catcher] {
            for index in 0..4000 {
                let hand = |ms: i32| stand.hand_m(ms as f32 * 1e-3);
                let (one, two) = (hand(index), hand(index + 1));
                assert!((one.0 - two.0).hypot(one.1 - two.1) < 0.012, "at {index} ms");
            }
        }
    }
}
