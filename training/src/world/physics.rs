//! Rigid bodies: a [`World`] of balls and blocks goes in, the [`Motion`] of each and their impacts come out.
//!
//! rapier2d solves the world in short steps wherever something touches something; while every ball flies or
//! rolls freely and every block rests, the motion is known, and is advanced many steps at once. An impact is
//! recorded when what was approaching a surface no longer is; its time is solved within the step.
//! INVARIANT: contacts are in order of time, and without blocks kinetic plus potential energy never rises.

mod run;
#[cfg(test)]
mod tests;

use std::f32::consts::PI;

use run::Run;

use super::{CLIP_S, Contact, ContactKind, FRAMES, Fixture, Hoop, Pose, Ramp, Shot};

/// Blocks that strike more softly than this cannot be heard.
const BLOCK_IMPULSE_N_S: f32 = 0.02;
const BLOCK_RESTITUTION: f32 = 0.0;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    Ball { radius_m: f32 },
    Block { half_width_m: f32, half_height_m: f32 },
}

/// One body at time zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Solid {
    pub(super) actor: usize,
    pub(super) shape: Shape,
    pub(super) at_m: (f32, f32),
    pub(super) velocity_m_s: (f32, f32),
    pub(super) angle_rad: f32,
    pub(super) spin_rad_s: f32,
    /// Speed kept in a bounce off the floor.
    pub(super) restitution: f32,
}

impl Solid {
    /// A block that stands on the floor.
    pub(super) fn block(actor: usize, x_m: f32, half_width_m: f32, half_height_m: f32) -> Self {
        Self {
            actor,
            shape: Shape::Block { half_width_m, half_height_m },
            at_m: (x_m, half_height_m),
            velocity_m_s: (0.0, 0.0),
            angle_rad: 0.0,
            spin_rad_s: 0.0,
            restitution: BLOCK_RESTITUTION,
        }
    }

    /// Mass at 1 kg per square metre.
    pub(super) fn mass_kg(&self) -> f32 {
        match self.shape {
            Shape::Ball { radius_m } => PI * radius_m * radius_m,
            Shape::Block { half_width_m, half_height_m } => 4.0 * half_width_m * half_height_m,
        }
    }

    /// Half of the width and of the height that the body takes up when turned by `angle_rad`.
    fn reach_m(&self, angle_rad: f32) -> (f32, f32) {
        match self.shape {
            Shape::Ball { radius_m } => (radius_m, radius_m),
            Shape::Block { half_width_m, half_height_m } => {
                let (sin, cos) = angle_rad.sin_cos();
                (
                    half_width_m * cos.abs() + half_height_m * sin.abs(),
                    half_width_m * sin.abs() + half_height_m * cos.abs(),
                )
            }
        }
    }

    /// The size that the pitch of an impact follows.
    fn size_m(&self) -> f32 {
        match self.shape {
            Shape::Ball { radius_m } => radius_m,
            Shape::Block { half_height_m, .. } => half_height_m,
        }
    }
}

/// Everything that moves, and what it moves among.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct World {
    pub(super) shot: Shot,
    pub(super) solids: Vec<Solid>,
    pub(super) fixture: Option<Fixture>,
    pub(super) friction: f32,
    /// Deceleration of a ball that rolls on the floor.
    pub(super) rolling_drag_m_s2: f32,
}

impl World {
    /// Left and right exchanged.
    pub(super) fn mirror(&mut self) {
        let view_m = self.shot.view_m();
        for solid in &mut self.solids {
            solid.at_m.0 = view_m - solid.at_m.0;
            solid.velocity_m_s.0 = -solid.velocity_m_s.0;
            solid.angle_rad = -solid.angle_rad;
            solid.spin_rad_s = -solid.spin_rad_s;
        }
        self.fixture = self.fixture.map(|fixture| fixture.mirror(view_m));
    }

    /// True while every body is wholly in view.
    fn shows(&self, states: &[State]) -> bool {
        let (view_m, top_m) = (self.shot.view_m(), self.shot.top_m());
        states.iter().zip(&self.solids).all(|(state, solid)| {
            let (across, up) = solid.reach_m(state.angle_rad);
            state.x_m > across && state.x_m < view_m - across && state.y_m < top_m - up
        })
    }

    fn hoop(&self) -> Option<&Hoop> {
        match &self.fixture {
            Some(Fixture::Hoop(hoop)) => Some(hoop),
            _ => None,
        }
    }

    fn ramp(&self) -> Option<&Ramp> {
        match &self.fixture {
            Some(Fixture::Ramp(ramp)) => Some(ramp),
            _ => None,
        }
    }
}

/// Where one body is, and how it moves, at one instant. The floor is y = 0, y is up, angles counter-clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct State {
    pub(super) x_m: f32,
    pub(super) y_m: f32,
    pub(super) angle_rad: f32,
    pub(super) vx_m_s: f32,
    pub(super) vy_m_s: f32,
    pub(super) spin_rad_s: f32,
}

impl State {
    pub(super) fn pose(&self) -> Pose {
        Pose { x_m: self.x_m, y_m: self.y_m, angle_rad: self.angle_rad }
    }

    pub(super) fn speed_m_s(&self) -> f32 {
        self.vx_m_s.hypot(self.vy_m_s)
    }

    /// Velocity of the body's matter at a point.
    fn velocity_at(&self, (x, y): (f32, f32)) -> (f32, f32) {
        (self.vx_m_s - self.spin_rad_s * (y - self.y_m), self.vy_m_s + self.spin_rad_s * (x - self.x_m))
    }

    fn to_world(self, (x, y): (f32, f32)) -> (f32, f32) {
        let (sin, cos) = self.angle_rad.sin_cos();
        (self.x_m + x * cos - y * sin, self.y_m + x * sin + y * cos)
    }
}

/// How a ball crossed the plane of the hoop between its rims.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passes {
    pub(super) down: u32,
    pub(super) up: u32,
}

/// Everything that happens in a world.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Motion {
    /// `[frame][solid]`; frame `i` is the instant `i / FPS`.
    pub(super) frames: Vec<Vec<State>>,
    pub(super) contacts: Vec<Contact>,
    pub(super) passes: Passes,
}

impl Motion {
    pub(super) fn count(&self, kind: ContactKind) -> usize {
        self.contacts.iter().filter(|contact| contact.kind == kind).count()
    }
}

/// Runs a world for the length of a clip; `None` as soon as a body leaves the view.
pub(super) fn simulate(world: &World) -> Option<Motion> {
    let mut run = Run::new(world);
    let mut frames = Vec::with_capacity(FRAMES);
    for frame in 0..FRAMES {
        let states = run.states();
        if !world.shows(&states) {
            return None;
        }
        frames.push(states);
        run.advance(frame);
    }
    let mut contacts = run.contacts;
    contacts.retain(|contact| {
        let block = matches!(contact.kind, ContactKind::Block | ContactKind::BlockFloor);
        contact.time_s < CLIP_S && (!block || contact.impulse_n_s > BLOCK_IMPULSE_N_S)
    });
    contacts.sort_by(|a, b| a.time_s.total_cmp(&b.time_s));
    Some(Motion { frames, contacts, passes: run.passes })
}

/// Way and final speed of what moves at `speed` and slows down until it stands.
pub(super) fn braked(speed: f32, drag_m_s2: f32, time_s: f32) -> (f32, f32) {
    if drag_m_s2 <= 0.0 {
        return (speed * time_s, speed);
    }
    let moving_s = time_s.min(speed.abs() / drag_m_s2);
    let end = speed - speed.signum() * drag_m_s2 * moving_s;
    (f32::midpoint(speed, end) * moving_s, end)
}
