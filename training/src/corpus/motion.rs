//! Physics: a [`Scene`] goes in, the [`Motion`] of its balls and their impacts come out.
//!
//! rapier2d solves the world in steps of 1/1920 s, eighty a frame, wherever balls touch something; while all
//! of them fly or roll freely their motion is known, and is advanced many steps at once. An impact is recorded
//! when a ball that was approaching a surface no longer is; its time is solved within the step.
//! INVARIANT: kinetic plus potential energy never rises, and contacts are in order of time.

use rapier2d::prelude::*;
use serde::{Deserialize, Serialize};

use super::scene::{Hoop, Outcome, Scene};
use super::{FPS, FRAMES, GRAVITY_M_S2};

const SUBSTEPS: usize = 80;
const STEP_S: f32 = 1.0 / (FPS as f32 * SUBSTEPS as f32);
/// Softer touches than this are rolling and resting, not impacts.
const IMPACT_M_S: f32 = 0.3;
/// Gap within which every step is rapier's.
const CLEARANCE_M: f32 = 0.03;
const NET_DRAG_PER_S: f32 = 3.5;
const NET_DEPTH_M: f32 = 0.9;

/// Where one ball is, and how it moves, at one instant. Metres and seconds; the floor is y = 0, y is up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub x_m: f32,
    pub y_m: f32,
    /// Counter-clockwise.
    pub angle_rad: f32,
    pub vx_m_s: f32,
    pub vy_m_s: f32,
    pub spin_rad_s: f32,
}

/// What a ball struck.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContactKind {
    Floor,
    Rim,
    Board,
    Ball,
    Net,
}

/// One impact.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contact {
    pub time_s: f32,
    pub kind: ContactKind,
    /// Index of the ball that struck.
    pub ball: usize,
    /// Index of the other ball, for [`ContactKind::Ball`].
    pub other: Option<usize>,
    /// Speed of approach along the contact normal.
    pub speed_m_s: f32,
    /// Newton seconds, for balls of 1 kg per square metre.
    pub impulse_n_s: f32,
    pub x_m: f32,
    pub y_m: f32,
}

/// Everything that happens in a scene: one row of states a frame, and the impacts between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// `[frame][ball]`; frame `i` is the instant `i / FPS`.
    pub frames: Vec<Vec<State>>,
    pub contacts: Vec<Contact>,
    /// What happened, as a caption would say it; `None` when no caption fits.
    pub outcome: Option<Outcome>,
}

impl Motion {
    /// Impacts of one kind, in order of time.
    pub fn contacts_of(&self, kind: ContactKind) -> impl Iterator<Item = &Contact> {
        self.contacts.iter().filter(move |contact| contact.kind == kind)
    }
}

/// Runs the world of `scene` for the length of a clip.
pub fn simulate(scene: &Scene) -> Motion {
    simulate_while(scene, |_| true)
}

/// Like [`simulate`], but ends at the first frame whose states are not worth going on from.
pub(super) fn simulate_while(scene: &Scene, worth: impl Fn(&[State]) -> bool) -> Motion {
    let mut world = World::new(scene);
    let mut frames = Vec::with_capacity(FRAMES);
    let mut contacts = Vec::new();
    for frame in 0..FRAMES {
        let states = world.states();
        if !worth(&states) {
            break;
        }
        frames.push(states);
        let mut substep = 0;
        while substep < SUBSTEPS {
            let before = world.states();
            let free = world.free_steps(&before, SUBSTEPS - substep);
            if free > 2 {
                world.coast(&before, free);
                substep += free;
            } else {
                let start_s = (frame * SUBSTEPS + substep) as f32 * STEP_S;
                world.step(&before, start_s, &mut contacts);
                substep += 1;
            }
        }
    }
    contacts.sort_by(|a: &Contact, b| a.time_s.total_cmp(&b.time_s));
    let outcome = scene.judge(&frames, &contacts, world.passes);
    Motion { frames, contacts, outcome }
}

/// How the ball crossed the plane of the hoop between its rims.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Passes {
    pub(super) down: u32,
    pub(super) up: u32,
}

struct World<'a> {
    scene: &'a Scene,
    physics: PhysicsWorld,
    balls: Vec<RigidBodyHandle>,
    passes: Passes,
}

/// A surface near a ball before a step: how far, and in which direction to leave it.
struct Surface {
    kind: ContactKind,
    other: Option<usize>,
    gap_m: f32,
    normal: (f32, f32),
}

impl<'a> World<'a> {
    fn new(scene: &'a Scene) -> Self {
        let mut physics = PhysicsWorld::new();
        physics.gravity = Vector::new(0.0, -GRAVITY_M_S2);
        physics.integration_parameters.dt = STEP_S;
        physics.integration_parameters.num_solver_iterations = 1;
        // Recycled contacts keep old anchors: cheaper for piles, less exact for a rolling ball.
        physics.integration_parameters.contact_recycling = false;

        physics.insert_collider(
            solid(ColliderBuilder::cuboid(40.0, 1.0), 1.0, scene.friction)
                .translation(Vector::new(4.0, -1.0))
                .build(),
            None,
        );
        if let Some(hoop) = &scene.hoop {
            for x_m in hoop.rim_x_m() {
                physics.insert_collider(
                    solid(ColliderBuilder::ball(Hoop::RIM_RADIUS_M), 0.85, scene.friction)
                        .translation(Vector::new(x_m, hoop.height_m))
                        .build(),
                    None,
                );
            }
            let (low, high) = hoop.board_box();
            physics.insert_collider(
                solid(
                    ColliderBuilder::cuboid((high.0 - low.0) / 2.0, (high.1 - low.1) / 2.0),
                    0.8,
                    scene.friction,
                )
                .translation(Vector::new(f32::midpoint(low.0, high.0), f32::midpoint(low.1, high.1)))
                .build(),
                None,
            );
        }
        let balls = scene
            .balls
            .iter()
            .map(|ball| {
                // A semi-implicit step moves by the velocity after gravity: half a step of it, given in
                // advance, puts every position on the exact parabola. `states` takes it off again.
                let vy_m_s = ball.vy_m_s + GRAVITY_M_S2 * STEP_S / 2.0;
                let body = RigidBodyBuilder::dynamic()
                    .translation(Vector::new(ball.x_m, ball.y_m))
                    .rotation(ball.angle_rad)
                    .linvel(Vector::new(ball.vx_m_s, vy_m_s))
                    .angvel(ball.spin_rad_s)
                    .can_sleep(false);
                let shape = ColliderBuilder::ball(ball.radius_m)
                    .density(1.0)
                    .restitution(ball.restitution)
                    .friction(scene.friction);
                physics.insert(body, shape).0
            })
            .collect();
        Self { scene, physics, balls, passes: Passes::default() }
    }

    fn states(&self) -> Vec<State> {
        self.balls.iter().map(|&handle| state(&self.physics.bodies[handle])).collect()
    }

    /// For how many steps, up to `most`, nothing can touch anything in a new way.
    fn free_steps(&self, states: &[State], most: usize) -> usize {
        let fall_m_s = GRAVITY_M_S2 / FPS as f32;
        let fastest = states.iter().map(|state| state.vx_m_s.hypot(state.vy_m_s) + fall_m_s).sum::<f32>();
        let mut clear_m = f32::INFINITY;
        for (ball, state) in states.iter().enumerate() {
            if self.scene.hoop.as_ref().is_some_and(|hoop| near_net(hoop, state)) {
                return 0;
            }
            let rolling = self.rolls(ball, state);
            for surface in self.surfaces(ball, states) {
                if !(rolling && surface.kind == ContactKind::Floor) {
                    clear_m = clear_m.min(surface.gap_m);
                }
            }
        }
        (((clear_m - CLEARANCE_M) / (fastest * STEP_S)).max(0.0) as usize).min(most)
    }

    /// True for a ball that rolls on the floor without slipping.
    fn rolls(&self, ball: usize, state: &State) -> bool {
        let radius = self.scene.balls[ball].radius_m;
        (state.y_m - radius).abs() < 0.006
            && state.vy_m_s.abs() < 0.01
            && (state.vx_m_s + state.spin_rad_s * radius).abs() < 0.01
    }

    /// Advances every ball by `steps` steps of free flight or free rolling.
    fn coast(&mut self, states: &[State], steps: usize) {
        let time_s = steps as f32 * STEP_S;
        for (ball, state) in states.iter().enumerate() {
            let fall_m_s = if self.rolls(ball, state) { 0.0 } else { GRAVITY_M_S2 * time_s };
            let rise_m = if fall_m_s > 0.0 { (state.vy_m_s - fall_m_s / 2.0) * time_s } else { 0.0 };
            let body = &mut self.physics.bodies[self.balls[ball]];
            let velocity = body.linvel();
            body.set_translation(Vector::new(state.x_m + state.vx_m_s * time_s, state.y_m + rise_m), true);
            body.set_rotation(Rotation::new(state.angle_rad + state.spin_rad_s * time_s), true);
            body.set_linvel(Vector::new(velocity.x, velocity.y - fall_m_s), true);
        }
    }

    fn step(&mut self, before: &[State], start_s: f32, contacts: &mut Vec<Contact>) {
        let mut near: Vec<(usize, Surface, f32)> = Vec::new();
        for ball in 0..before.len() {
            for surface in self.surfaces(ball, before) {
                let speed = approach(before, ball, &surface);
                if speed > IMPACT_M_S && surface.gap_m < 0.03 {
                    near.push((ball, surface, speed));
                }
            }
        }
        self.physics.step();
        let after = self.states();
        for (ball, surface, speed) in near {
            let leaving = -approach(&after, ball, &surface);
            // Still closing in: the gap is only being crossed.
            if leaving < -0.1 * speed {
                continue;
            }
            let mass = self.reduced_mass(ball, surface.other);
            let from = &before[ball];
            let radius = self.scene.balls[ball].radius_m;
            contacts.push(Contact {
                time_s: start_s + (surface.gap_m / speed).clamp(0.0, STEP_S),
                kind: surface.kind,
                ball,
                other: surface.other,
                speed_m_s: speed,
                impulse_n_s: mass * (speed + leaving.max(0.0)),
                x_m: from.x_m - surface.normal.0 * radius,
                y_m: from.y_m - surface.normal.1 * radius,
            });
        }
        self.follow_net(start_s, before, &after, contacts);
    }

    /// Surfaces that ball `ball` can strike. Each pair of balls is listed once, under the lower index.
    fn surfaces(&self, ball: usize, states: &[State]) -> Vec<Surface> {
        let at = &states[ball];
        let radius = self.scene.balls[ball].radius_m;
        let mut surfaces = vec![Surface {
            kind: ContactKind::Floor,
            other: None,
            gap_m: at.y_m - radius,
            normal: (0.0, 1.0),
        }];
        for (other, there) in states.iter().enumerate().skip(ball + 1) {
            let reach = radius + self.scene.balls[other].radius_m;
            surfaces.push(facing(at, (there.x_m, there.y_m), reach, ContactKind::Ball, Some(other)));
        }
        if let Some(hoop) = &self.scene.hoop {
            for x_m in hoop.rim_x_m() {
                let reach = radius + Hoop::RIM_RADIUS_M;
                surfaces.push(facing(at, (x_m, hoop.height_m), reach, ContactKind::Rim, None));
            }
            let (low, high) = hoop.board_box();
            let nearest = (at.x_m.clamp(low.0, high.0), at.y_m.clamp(low.1, high.1));
            surfaces.push(facing(at, nearest, radius, ContactKind::Board, None));
        }
        surfaces
    }

    fn reduced_mass(&self, ball: usize, other: Option<usize>) -> f32 {
        let mass = self.scene.balls[ball].mass_kg();
        other.map_or(mass, |other| {
            let second = self.scene.balls[other].mass_kg();
            mass * second / (mass + second)
        })
    }

    /// The net brakes a ball that falls through the hoop, and rustles when it enters.
    fn follow_net(&mut self, start_s: f32, before: &[State], after: &[State], contacts: &mut Vec<Contact>) {
        let Some(hoop) = &self.scene.hoop else { return };
        let (Some(from), Some(to)) = (before.first(), after.first()) else { return };
        let within = hoop.spans(to.x_m);
        if within && from.y_m >= hoop.height_m && to.y_m < hoop.height_m {
            self.passes.down += 1;
            let speed = from.vx_m_s.hypot(from.vy_m_s);
            contacts.push(Contact {
                time_s: start_s,
                kind: ContactKind::Net,
                ball: 0,
                other: None,
                speed_m_s: speed,
                impulse_n_s: self.scene.balls[0].mass_kg() * speed * 0.25,
                x_m: to.x_m,
                y_m: to.y_m,
            });
        }
        if within && from.y_m < hoop.height_m && to.y_m >= hoop.height_m {
            self.passes.up += 1;
        }
        let in_net = within && (hoop.height_m - NET_DEPTH_M..hoop.height_m).contains(&to.y_m);
        let drag = if in_net && self.passes.down > 0 { NET_DRAG_PER_S } else { 0.0 };
        let body = &mut self.physics.bodies[self.balls[0]];
        if (body.linear_damping() - drag).abs() > f32::EPSILON {
            body.set_linear_damping(drag);
        }
    }
}

/// True where a step could cross the plane of the hoop, or is braked by the net.
fn near_net(hoop: &Hoop, state: &State) -> bool {
    let aside_m = (state.x_m - hoop.centre_x_m()).abs() - Hoop::OPENING_M / 2.0;
    let below_m = hoop.height_m - state.y_m;
    aside_m < 0.4 && (-0.5..NET_DEPTH_M + 0.5).contains(&below_m)
}

fn solid(shape: ColliderBuilder, restitution: f32, friction: f32) -> ColliderBuilder {
    shape
        .restitution(restitution)
        .restitution_combine_rule(CoefficientCombineRule::Multiply)
        .friction(friction)
}

fn state(body: &RigidBody) -> State {
    let (position, velocity) = (body.translation(), body.linvel());
    State {
        x_m: position.x,
        y_m: position.y,
        angle_rad: body.rotation().angle(),
        vx_m_s: velocity.x,
        vy_m_s: velocity.y - GRAVITY_M_S2 * STEP_S / 2.0,
        spin_rad_s: body.angvel(),
    }
}

fn facing(at: &State, point: (f32, f32), reach: f32, kind: ContactKind, other: Option<usize>) -> Surface {
    let (dx, dy) = (at.x_m - point.0, at.y_m - point.1);
    let distance = dx.hypot(dy).max(1e-6);
    Surface { kind, other, gap_m: distance - reach, normal: (dx / distance, dy / distance) }
}

/// Speed at which `ball` closes in on `surface`; negative when it leaves.
fn approach(states: &[State], ball: usize, surface: &Surface) -> f32 {
    let at = &states[ball];
    let (ux, uy) = surface.other.map_or((0.0, 0.0), |other| (states[other].vx_m_s, states[other].vy_m_s));
    -((at.vx_m_s - ux) * surface.normal.0 + (at.vy_m_s - uy) * surface.normal.1)
}
