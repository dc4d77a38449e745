//! A bob on a rod, and a ball in its way or none.
//!
//! The rod is rigid and weighs nothing, so one angle moves: it is integrated by fourth-order Runge-Kutta. The
//! ball rests where the bob meets it at its lowest point; there the impulse between the two has a closed form.

use std::f32::consts::PI;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Casting, Family};
use crate::world::caption::{count, name, pick};
use crate::world::physics::braked;
use crate::world::{
    Actor, Body, CLIP_S, Contact, ContactKind, Event, FPS, FRAMES, GRAVITY_M_S2, Look, Pose, Scene, Shot,
    Track,
};

const SUBSTEPS: usize = 20;
const STEP_S: f32 = 1.0 / (FPS as f32 * SUBSTEPS as f32);
/// A pass this near to the end of the clip would make the count arguable.
const EDGE_S: f32 = 0.1;
const FRICTION: f32 = 0.35;

pub(super) fn sample(seed: u64) -> Scene {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shot = Shot::sample(&mut rng);
    let strikes = rng.random_bool(0.4);
    // More passes in four seconds would need a rod shorter than the bob, or longer than the view is high.
    let passes = if strikes { rng.random_range(2..=3) } else { rng.random_range(2..=6) };
    let actors = if strikes { 2 } else { 1 };
    let event = Event::Swings { passes, strikes };
    let casting = Casting::sample(Family::Pendulum, seed, (shot, event), actors, &mut rng);
    loop {
        let Some(pendulum) = draft(shot, passes, strikes, &mut rng) else { continue };
        let Some(swing) = pendulum.swing(shot) else { continue };
        if swing.passes == passes {
            return film(&casting, &pendulum, swing);
        }
    }
}

fn film(casting: &Casting, pendulum: &Pendulum, swing: Swing) -> Scene {
    let Pendulum { pivot_m, radius_m, .. } = *pendulum;
    let bodies = [Some((Body::Pendulum { pivot_m, radius_m }, 0.0, swing.bob))];
    let struck = pendulum
        .target
        .map(|target| (Body::Ball { radius_m: target.radius_m }, target.restitution, swing.target));
    let actors = bodies.into_iter().chain([struck]).flatten().zip(&casting.looks).map(
        |((body, restitution, poses), &(skin, name))| {
            let track = Track::Bodies(poses.into_iter().map(|pose| vec![pose]).collect());
            Actor { body, look: Look::Skin(skin), name, track, restitution }
        },
    );
    let actors = actors.collect();
    casting.scene(casting.stage, actors, swing.contacts)
}

/// A pendulum at time zero, at rest.
#[derive(Clone, Copy, Debug)]
struct Pendulum {
    pivot_m: (f32, f32),
    length_m: f32,
    radius_m: f32,
    /// Of the rod, from hanging straight down, counter-clockwise.
    angle_rad: f32,
    damping_per_s: f32,
    target: Option<Target>,
}

/// The ball that the bob strikes at its lowest point.
#[derive(Clone, Copy, Debug)]
struct Target {
    radius_m: f32,
    x_m: f32,
    restitution: f32,
    rolling_drag_m_s2: f32,
}

#[derive(Debug, Default)]
struct Swing {
    bob: Vec<Pose>,
    target: Vec<Pose>,
    contacts: Vec<Contact>,
    passes: u32,
}

/// A pass is a quarter of a period after the release, the next ones each half a period later.
fn draft(shot: Shot, passes: u32, strikes: bool, rng: &mut ChaCha8Rng) -> Option<Pendulum> {
    let (view_m, top_m) = (shot.view_m(), shot.top_m());
    let n = passes as f32;
    let half_period_s = rng.random_range((CLIP_S + EDGE_S) / (n + 0.5)..(CLIP_S - EDGE_S) / (n - 0.5));
    let side = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    let most_rad = if strikes { 0.75 } else { 1.25 };
    let angle_rad = -side * rng.random_range(0.3..most_rad);
    // A wide swing takes longer, by a sixteenth of its squared amplitude.
    let slow = 1.0 + angle_rad * angle_rad / 16.0;
    let length_m = GRAVITY_M_S2 * (half_period_s / (PI * slow)).powi(2);
    let (low, high) = if strikes { (0.4, 0.75_f32) } else { (0.25, 0.65_f32) };
    let high = high.min(0.6 * length_m);
    if low >= high {
        return None;
    }
    let radius_m = rng.random_range(low..high);
    let lowest_m = if strikes { radius_m + 0.05 } else { radius_m + 0.15 };
    let pivot_y_m = if strikes {
        lowest_m + length_m
    } else {
        let least_m = (lowest_m + length_m).max(0.55 * top_m);
        if least_m >= 0.97 * top_m {
            return None;
        }
        rng.random_range(least_m..0.97 * top_m)
    };
    let aside_m = length_m * angle_rad.sin().abs() + radius_m + 0.05;
    if 2.0 * aside_m >= view_m {
        return None;
    }
    let pivot_m = (rng.random_range(aside_m..view_m - aside_m), pivot_y_m);
    let target = strikes.then(|| {
        let second_m = rng.random_range(0.3..radius_m / 1.15);
        // The two are not equally high, so they touch a little off the horizontal.
        let reach_m = ((radius_m + second_m).powi(2) - (lowest_m - second_m).powi(2)).sqrt();
        Target {
            radius_m: second_m,
            x_m: pivot_m.0 + side * reach_m,
            restitution: rng.random_range(0.45..0.95),
            rolling_drag_m_s2: rng.random_range(0.1..1.2),
        }
    });
    let damping_per_s = rng.random_range(0.01..0.12);
    Some(Pendulum { pivot_m, length_m, radius_m, angle_rad, damping_per_s, target })
}

impl Pendulum {
    /// Runs for the length of a clip; `None` where something leaves the view or the count is arguable.
    fn swing(&self, shot: Shot) -> Option<Swing> {
        let (mut angle, mut speed) = (self.angle_rad, 0.0_f32);
        let mut swing = Swing::default();
        let mut launch = None;
        let steps = FRAMES * SUBSTEPS;
        let edge = (EDGE_S / STEP_S) as usize;
        for step in 0..steps + edge {
            let time_s = step as f32 * STEP_S;
            if step % SUBSTEPS == 0 && step < steps {
                let bob = self.bob(angle);
                swing.bob.push(bob);
                if !in_view(shot, &bob, self.radius_m) {
                    return None;
                }
                if let Some(target) = &self.target {
                    let pose = target.pose(launch, time_s);
                    let apart_m = (pose.x_m - bob.x_m).hypot(pose.y_m - bob.y_m);
                    if !in_view(shot, &pose, target.radius_m)
                        || apart_m < self.radius_m + target.radius_m - 0.002
                    {
                        return None;
                    }
                    swing.target.push(pose);
                }
            }
            let (next_angle, next_speed) = self.advance(angle, speed, STEP_S);
            if next_angle * angle > 0.0 {
                (angle, speed) = (next_angle, next_speed);
                continue;
            }
            if step >= steps - edge {
                return None;
            }
            swing.passes += 1;
            let share = angle / (angle - next_angle);
            let passing = speed + (next_speed - speed) * share;
            (angle, speed) = (next_angle, next_speed);
            if let (Some(target), None) = (&self.target, launch) {
                let struck_s = time_s + share * STEP_S;
                let (after, pushed_m_s, contact) = self.strike(target, passing, struck_s);
                // A bob that the ball throws back does not pass.
                if after / passing < 0.25 {
                    return None;
                }
                launch = Some((struck_s, pushed_m_s));
                swing.contacts.push(contact);
                (angle, speed) = self.advance(0.0, after, (1.0 - share) * STEP_S);
            }
        }
        Some(swing)
    }

    /// Angle and angular speed after `time_s`.
    fn advance(&self, angle: f32, speed: f32, time_s: f32) -> (f32, f32) {
        let gain =
            |angle: f32, speed: f32| -GRAVITY_M_S2 / self.length_m * angle.sin() - self.damping_per_s * speed;
        let half_s = time_s / 2.0;
        let first = (speed, gain(angle, speed));
        let second = (speed + half_s * first.1, gain(angle + half_s * first.0, speed + half_s * first.1));
        let third = (speed + half_s * second.1, gain(angle + half_s * second.0, speed + half_s * second.1));
        let fourth = (speed + time_s * third.1, gain(angle + time_s * third.0, speed + time_s * third.1));
        let mean = |a: f32, b: f32, c: f32, d: f32| (a + 2.0 * b + 2.0 * c + d) / 6.0;
        (
            angle + time_s * mean(first.0, second.0, third.0, fourth.0),
            speed + time_s * mean(first.1, second.1, third.1, fourth.1),
        )
    }

    fn bob(&self, angle: f32) -> Pose {
        let (sin, cos) = angle.sin_cos();
        let (x, y) = self.pivot_m;
        Pose { x_m: x + self.length_m * sin, y_m: y - self.length_m * cos, angle_rad: angle }
    }

    /// The bob at its lowest point meets the ball: its angular speed afterwards, the ball's speed, the impact.
    /// Rod and floor take what is not horizontal.
    fn strike(&self, target: &Target, speed: f32, time_s: f32) -> (f32, f32, Contact) {
        let bob = self.bob(0.0);
        let (bob_kg, ball_kg) = (PI * self.radius_m.powi(2), PI * target.radius_m.powi(2));
        let reach_m = self.radius_m + target.radius_m;
        let normal = ((target.x_m - bob.x_m) / reach_m, (target.radius_m - bob.y_m) / reach_m);
        let bob_m_s = speed * self.length_m;
        let push_n_s = (1.0 + target.restitution) * bob_m_s / (1.0 / bob_kg + 1.0 / ball_kg);
        let contact = Contact {
            time_s,
            kind: ContactKind::Ball,
            actor: 0,
            other: Some(1),
            speed_m_s: bob_m_s * normal.0,
            impulse_n_s: push_n_s / normal.0,
            size_m: target.radius_m,
            x_m: bob.x_m + normal.0 * self.radius_m,
            y_m: bob.y_m + normal.1 * self.radius_m,
        };
        ((bob_m_s - push_n_s / bob_kg) / self.length_m, push_n_s / ball_kg, contact)
    }
}

impl Target {
    /// Where the ball is: it slides after the push, then rolls, slower and slower.
    fn pose(&self, launch: Option<(f32, f32)>, time_s: f32) -> Pose {
        let rest = Pose { x_m: self.x_m, y_m: self.radius_m, angle_rad: 0.0 };
        let Some((struck_s, speed)) = launch.filter(|&(struck_s, _)| time_s > struck_s) else { return rest };
        let since_s = time_s - struck_s;
        let slow_m_s2 = FRICTION * GRAVITY_M_S2;
        // A sliding disc rolls once it has lost a third of its speed.
        let sliding_s = (speed.abs() / (3.0 * slow_m_s2)).min(since_s);
        let (slid_m, speed) = braked(speed, slow_m_s2, sliding_s);
        let (rolled_m, _) = braked(speed, self.rolling_drag_m_s2, since_s - sliding_s);
        let slid_rad = speed.signum() * slow_m_s2 * sliding_s.powi(2) / self.radius_m;
        Pose { x_m: self.x_m + slid_m + rolled_m, angle_rad: -slid_rad - rolled_m / self.radius_m, ..rest }
    }
}

fn in_view(shot: Shot, pose: &Pose, radius_m: f32) -> bool {
    let view_m = shot.view_m();
    pose.x_m > radius_m && pose.x_m < view_m - radius_m && pose.y_m < shot.top_m() - radius_m
}

pub(super) fn caption(scene: &Scene, rng: &mut ChaCha8Rng) -> String {
    let (Some(bob), Event::Swings { passes, .. }) = (scene.actors.first(), scene.event) else {
        return String::new();
    };
    let bob = name(bob, rng);
    let times = if passes == 2 { "twice".to_owned() } else { format!("{} times", count(passes)) };
    if let Some(ball) = scene.actors.get(1) {
        let ball = name(ball, rng);
        return match rng.random_range(0..6) {
            0 => format!("{bob} on a rod swings into {ball}"),
            1 => format!("{bob} on a rod hits {ball}"),
            2 => format!("{bob} swings on a rod and hits {ball}"),
            3 => format!("{bob} swings and knocks {ball} away"),
            4 => format!("{bob} swings {times} and hits {ball}"),
            _ => format!("{bob} hangs on a rod and hits {ball}"),
        };
    }
    match rng.random_range(0..6) {
        0 => format!("{bob} swings {times}"),
        1 => format!("{bob} swings {times} on a rod"),
        2 => format!("{bob} on a rod swings {times}"),
        3 => format!("{bob} hangs on a rod and swings {times}"),
        4 => format!("{bob} swings from side to side {times}"),
        _ => format!("{bob} {} {times}", pick(&["swings on a rod", "on a rod swings to and fro"], rng)),
    }
}
