//! A world in motion: free motion in closed form, everything else by rapier2d.

use std::collections::BTreeSet;

use rapier2d::prelude::*;

use super::{Passes, Shape, State, World, braked};
use crate::world::{Contact, ContactKind, FPS, Fixture, GRAVITY_M_S2, Hoop};

/// Softer touches than this are rolling and resting, not impacts.
const IMPACT_M_S: f32 = 0.3;
/// A pair of bodies that touches again within this time has not parted in between.
const REPEAT_S: f32 = 0.06;
/// The solver may spread one impact over as much time as this.
const IMPACT_S: f32 = 0.008;
/// Gap within which the solver sees a contact ahead.
const AHEAD_M: f32 = 0.008;
/// The same among blocks, whose slow contacts must not be felt early.
const BLOCKS_AHEAD_M: f32 = 0.002;
/// Gap within which every step is rapier's.
const CLEARANCE_M: f32 = 0.012;
/// How far a ball that rests on a surface may seem to be off it.
const TOUCH_M: f32 = 0.006;
/// A ball whose touching point is this slow rolls.
const SLIP_M_S: f32 = 0.01;
/// Blocks this slow for this long have come to rest.
const REST_M_S: f32 = 0.02;
const REST_S: f32 = 0.1;
const NET_DRAG_PER_S: f32 = 3.5;

/// A world between two instants.
pub(super) struct Run<'a> {
    world: &'a World,
    physics: PhysicsWorld,
    bodies: Vec<RigidBodyHandle>,
    substeps: usize,
    step_s: f32,
    /// True while rapier has contacts in mind that are no more: a bounce is one off a new contact.
    stale: bool,
    /// For how long every block has been at rest.
    rest_s: f32,
    pub(super) passes: Passes,
    /// As they were noticed, which is nearly in order of time.
    pub(super) contacts: Vec<Contact>,
    /// Colliders of the contacts in which a block takes part, and the index of the contact.
    strikes: Vec<([ColliderHandle; 2], usize)>,
}

/// A surface near a ball before a step: how far, and in which direction to leave it.
struct Surface {
    kind: ContactKind,
    other: Option<usize>,
    gap_m: f32,
    normal: (f32, f32),
}

/// How a body moves while nothing new touches it.
#[derive(Clone, Copy, PartialEq)]
enum Free {
    Flies,
    /// On the floor, without slipping.
    Rolls,
    /// On the floor; the velocity of the lowest point is given.
    Slides(f32),
    /// On the ramp, without slipping.
    Descends,
    Rests,
}

impl<'a> Run<'a> {
    pub(super) fn new(world: &'a World) -> Self {
        // Blocks touch for seconds and rock slowly; balls touch for an instant, which must be exact.
        let blocks = world.solids.iter().any(|solid| matches!(solid.shape, Shape::Block { .. }));
        let upright = world.solids.iter().all(|solid| match solid.shape {
            Shape::Ball { .. } => true,
            Shape::Block { .. } => solid.angle_rad.abs() + solid.spin_rad_s.abs() < f32::EPSILON,
        });
        let (substeps, ahead_m) = if blocks { (16, BLOCKS_AHEAD_M) } else { (80, AHEAD_M) };
        let step_s = 1.0 / (FPS as f32 * substeps as f32);
        let mut physics = PhysicsWorld::new();
        physics.gravity = Vector::new(0.0, -GRAVITY_M_S2);
        physics.integration_parameters.dt = step_s;
        physics.integration_parameters.num_solver_iterations = 1;
        physics.integration_parameters.max_ccd_substeps = 0;
        physics.integration_parameters.normalized_prediction_distance = ahead_m;
        // Recycled contacts keep old anchors: cheaper for piles, less exact for a rolling ball.
        physics.integration_parameters.contact_recycling = false;
        for collider in surroundings(world) {
            physics.insert_collider(collider.build(), None);
        }
        let bodies = world
            .solids
            .iter()
            .enumerate()
            .map(|(index, solid)| {
                // A semi-implicit step moves by the velocity after gravity: half a step of it, given in
                // advance, puts every position on the exact parabola. `states` takes it off again.
                let vy_m_s = solid.velocity_m_s.1 + GRAVITY_M_S2 * step_s / 2.0;
                let body = RigidBodyBuilder::dynamic()
                    .translation(Vector::new(solid.at_m.0, solid.at_m.1))
                    .rotation(solid.angle_rad)
                    .linvel(Vector::new(solid.velocity_m_s.0, vy_m_s))
                    .angvel(solid.spin_rad_s)
                    .can_sleep(false);
                let shape = match solid.shape {
                    Shape::Ball { radius_m } => ColliderBuilder::ball(radius_m),
                    Shape::Block { half_width_m, half_height_m } => {
                        ColliderBuilder::cuboid(half_width_m, half_height_m)
                    }
                };
                let shape = shape
                    .density(1.0)
                    .restitution(solid.restitution)
                    .friction(world.friction)
                    .user_data(index as u128 + 1);
                physics.insert(body, shape).0
            })
            .collect();
        Self {
            world,
            physics,
            bodies,
            substeps,
            step_s,
            stale: false,
            rest_s: if upright { REST_S } else { 0.0 },
            passes: Passes::default(),
            contacts: Vec::new(),
            strikes: Vec::new(),
        }
    }

    pub(super) fn states(&self) -> Vec<State> {
        let half_fall_m_s = GRAVITY_M_S2 * self.step_s / 2.0;
        self.bodies
            .iter()
            .map(|&handle| {
                let body = &self.physics.bodies[handle];
                let (position, velocity) = (body.translation(), body.linvel());
                State {
                    x_m: position.x,
                    y_m: position.y,
                    angle_rad: body.rotation().angle(),
                    vx_m_s: velocity.x,
                    vy_m_s: velocity.y - half_fall_m_s,
                    spin_rad_s: body.angvel(),
                }
            })
            .collect()
    }

    /// Goes on to the end of a frame.
    pub(super) fn advance(&mut self, frame: usize) {
        let mut substep = 0;
        while substep < self.substeps {
            let before = self.states();
            let free = self.free_steps(&before, self.substeps - substep);
            let start_s = (frame * self.substeps + substep) as f32 * self.step_s;
            let touches = free == 0 && self.touches(&before);
            if free > 0 && !self.stale {
                self.coast(&before, free);
                substep += free;
                continue;
            }
            if touches || free > 0 {
                self.step(&before, start_s);
            } else {
                self.coast(&before, 1);
            }
            self.stale = touches || self.stale && free == 0;
            self.follow_net(&before, start_s);
            substep += 1;
        }
    }

    /// True where a body is in touch with something that holds it, or will strike something within a step.
    /// The solver would push already at a distance.
    fn touches(&self, states: &[State]) -> bool {
        let mut touches = self.rest_s < REST_S;
        for (index, (state, solid)) in states.iter().zip(&self.world.solids).enumerate() {
            let Shape::Ball { radius_m } = solid.shape else { continue };
            let under = self.under(state, radius_m);
            self.surfaces(index, radius_m, states, |surface| {
                let speed = approach(states, index, &surface);
                let way_m = speed.max(0.0) * self.step_s + 0.0005;
                touches |= Some(surface.kind) != under && speed > -0.02 && surface.gap_m < way_m;
            });
        }
        touches
    }

    /// For how many steps, up to `most`, nothing can touch anything in a new way.
    fn free_steps(&self, states: &[State], mut most: usize) -> usize {
        if self.rest_s < REST_S {
            return 0;
        }
        let fall_m_s = GRAVITY_M_S2 / FPS as f32;
        let fastest = states.iter().map(|state| state.speed_m_s() + fall_m_s).sum::<f32>();
        let mut clear_m = f32::INFINITY;
        for (index, (state, solid)) in states.iter().zip(&self.world.solids).enumerate() {
            let Shape::Ball { radius_m } = solid.shape else { continue };
            if let Some(hoop) = self.world.hoop() {
                clear_m = clear_m.min(from_net_m(hoop, state));
            }
            if let Free::Slides(slip_m_s) = self.free(state, radius_m) {
                let sliding_s = slip_m_s.abs() / (3.0 * self.world.friction * GRAVITY_M_S2);
                most = most.min((sliding_s / self.step_s) as usize);
            }
            let under = self.under(state, radius_m);
            self.surfaces(index, radius_m, states, |surface| {
                if Some(surface.kind) != under {
                    clear_m = clear_m.min(surface.gap_m);
                }
            });
        }
        (((clear_m - CLEARANCE_M) / (fastest * self.step_s)).max(0.0) as usize).min(most)
    }

    /// The surface that carries a ball.
    fn under(&self, state: &State, radius_m: f32) -> Option<ContactKind> {
        match self.free(state, radius_m) {
            Free::Rolls | Free::Slides(_) => Some(ContactKind::Floor),
            Free::Descends => Some(ContactKind::Ramp),
            Free::Flies | Free::Rests => None,
        }
    }

    fn free(&self, state: &State, radius_m: f32) -> Free {
        let half_fall_m_s = GRAVITY_M_S2 * self.step_s / 2.0;
        let touches =
            |gap_m: f32, leaving_m_s: f32| gap_m.abs() < TOUCH_M && leaving_m_s.abs() < 0.01 + half_fall_m_s;
        let rolling_m_s = state.spin_rad_s * radius_m;
        if touches(state.y_m - radius_m, state.vy_m_s) {
            let slip_m_s = state.vx_m_s + rolling_m_s;
            return if slip_m_s.abs() < SLIP_M_S { Free::Rolls } else { Free::Slides(slip_m_s) };
        }
        let Some(ramp) = self.world.ramp() else { return Free::Flies };
        let (along, out) = (ramp.downhill(), ramp.normal());
        let from_foot = (state.x_m - ramp.foot_x_m, state.y_m);
        let above_m = from_foot.0 * out.0 + from_foot.1 * out.1;
        let up_m = -(from_foot.0 * along.0 + from_foot.1 * along.1);
        let leaving_m_s = state.vx_m_s * out.0 + state.vy_m_s * out.1;
        let down_m_s = state.vx_m_s * along.0 + state.vy_m_s * along.1;
        let slip_m_s = down_m_s + rolling_m_s * along.0.signum();
        if (0.0..ramp.slope_m()).contains(&up_m)
            && touches(above_m - radius_m, leaving_m_s)
            && slip_m_s.abs() < SLIP_M_S
        {
            return Free::Descends;
        }
        Free::Flies
    }

    /// Advances every body by `steps` steps of free motion.
    fn coast(&mut self, states: &[State], steps: usize) {
        let time_s = steps as f32 * self.step_s;
        for (index, (state, solid)) in states.iter().zip(&self.world.solids).enumerate() {
            let (free, radius_m) = match solid.shape {
                Shape::Ball { radius_m } => (self.free(state, radius_m), radius_m),
                Shape::Block { .. } => (Free::Rests, 0.0),
            };
            let body = &mut self.physics.bodies[self.bodies[index]];
            let velocity = body.linvel();
            let (moved, turned, velocity, spin_rad_s) = match free {
                Free::Rests => continue,
                Free::Flies => {
                    let drag_per_s = body.linear_damping();
                    // Time in which undamped motion would go as far, and the share of speed that is kept.
                    let (reach_s, keep) = if drag_per_s > 0.0 {
                        let keep = (-drag_per_s * time_s).exp();
                        ((1.0 - keep) / drag_per_s, keep)
                    } else {
                        (time_s, 1.0)
                    };
                    let (fall_m_s, fallen_m) = if drag_per_s > 0.0 {
                        let most_m_s = GRAVITY_M_S2 / drag_per_s;
                        (most_m_s * (1.0 - keep), most_m_s * (time_s - reach_s))
                    } else {
                        (GRAVITY_M_S2 * time_s, GRAVITY_M_S2 * time_s * time_s / 2.0)
                    };
                    let moved = (state.vx_m_s * reach_s, state.vy_m_s * reach_s - fallen_m);
                    let turned = state.spin_rad_s * time_s;
                    let rising_m_s = velocity.y * keep - fall_m_s;
                    (moved, turned, (velocity.x * keep, rising_m_s), state.spin_rad_s)
                }
                Free::Slides(slip_m_s) => {
                    // It rolls once the slip is gone, of which the spin takes up two thirds.
                    let most_m_s = slip_m_s.abs() / 3.0;
                    let gain_m_s =
                        -slip_m_s.signum() * (self.world.friction * GRAVITY_M_S2 * time_s).min(most_m_s);
                    let spin_gain_rad_s = 2.0 * gain_m_s / radius_m;
                    (
                        ((state.vx_m_s + gain_m_s / 2.0) * time_s, 0.0),
                        (state.spin_rad_s + spin_gain_rad_s / 2.0) * time_s,
                        (velocity.x + gain_m_s, velocity.y),
                        state.spin_rad_s + spin_gain_rad_s,
                    )
                }
                Free::Rolls => {
                    let (moved_m, speed) = braked(state.vx_m_s, self.world.rolling_drag_m_s2, time_s);
                    ((moved_m, 0.0), -moved_m / radius_m, (speed, velocity.y), -speed / radius_m)
                }
                Free::Descends => {
                    let Some(ramp) = self.world.ramp() else { continue };
                    let along = ramp.downhill();
                    // A rolling disc: a third of the work turns it.
                    let gain_m_s2 = GRAVITY_M_S2 * ramp.angle_rad().sin() * 2.0 / 3.0;
                    let start_m_s = state.vx_m_s * along.0 + state.vy_m_s * along.1;
                    let (moved_m, speed) =
                        ((start_m_s + gain_m_s2 * time_s / 2.0) * time_s, start_m_s + gain_m_s2 * time_s);
                    let turn_per_m = -along.0.signum() / radius_m;
                    (
                        (moved_m * along.0, moved_m * along.1),
                        moved_m * turn_per_m,
                        (speed * along.0, speed * along.1 + GRAVITY_M_S2 * self.step_s / 2.0),
                        speed * turn_per_m,
                    )
                }
            };
            body.set_angvel(spin_rad_s, true);
            body.set_translation(Vector::new(state.x_m + moved.0, state.y_m + moved.1), true);
            body.set_rotation(Rotation::new(state.angle_rad + turned), true);
            body.set_linvel(Vector::new(velocity.0, velocity.1), true);
        }
    }

    fn step(&mut self, before: &[State], start_s: f32) {
        let mut near: Vec<(usize, Surface, f32)> = Vec::new();
        for (index, solid) in self.world.solids.iter().enumerate() {
            let Shape::Ball { radius_m } = solid.shape else { continue };
            self.surfaces(index, radius_m, before, |surface| {
                let speed = approach(before, index, &surface);
                let within_m = speed * self.step_s + 0.004;
                if surface.kind != ContactKind::Block && speed > IMPACT_M_S && surface.gap_m < within_m {
                    near.push((index, surface, speed));
                }
            });
        }
        self.physics.step();
        if near.len() > 1 {
            self.keep_energy(before, near.iter().flat_map(|(ball, surface, _)| [Some(*ball), surface.other]));
        }
        let after = self.states();
        for (index, surface, speed) in near {
            let leaving = -approach(&after, index, &surface);
            // Still closing in: the gap is only being crossed.
            if leaving < -0.1 * speed {
                continue;
            }
            self.settle(index, &surface, (speed, leaving), before, &after);
            let solid = &self.world.solids[index];
            let (from, size_m) = (&before[index], solid.size_m());
            self.contacts.push(Contact {
                time_s: self.touch_s(start_s, surface.gap_m, speed),
                kind: surface.kind,
                actor: solid.actor,
                other: surface.other.map(|other| self.world.solids[other].actor),
                speed_m_s: speed,
                impulse_n_s: self.reduced_mass(index, surface.other) * (speed + leaving.max(0.0)),
                size_m,
                x_m: from.x_m - surface.normal.0 * size_m,
                y_m: from.y_m - surface.normal.1 * size_m,
            });
        }
        self.brake(&after);
        self.follow_blocks(before, &after, start_s);
    }

    /// Weakens impacts of one step until they add no energy. Newton's law of restitution, kept for two surfaces at
    /// once and with friction, may add some where a ball meets the floor and the foot of a ramp (Kane and Levinson,
    /// Dynamics: Theory and Applications, 1985).
    fn keep_energy(&mut self, before: &[State], balls: impl Iterator<Item = Option<usize>>) {
        let balls: BTreeSet<usize> = balls.flatten().collect();
        let after = self.states();
        // The kinetic energy is a parabola over the share of the impulses that act.
        let (mut linear, mut square) = (0.0, 0.0);
        let mut changes = Vec::new();
        for index in balls {
            let (solid, from, to) = (&self.world.solids[index], &before[index], &after[index]);
            let Shape::Ball { radius_m } = solid.shape else { continue };
            let mass_kg = solid.mass_kg();
            let inertia_kg_m2 = mass_kg * radius_m * radius_m / 2.0;
            let free = (from.vx_m_s, from.vy_m_s - GRAVITY_M_S2 * self.step_s, from.spin_rad_s);
            let change = (to.vx_m_s - free.0, to.vy_m_s - free.1, to.spin_rad_s - free.2);
            linear += mass_kg * (free.0 * change.0 + free.1 * change.1) + inertia_kg_m2 * free.2 * change.2;
            square +=
                0.5 * (mass_kg * (change.0.powi(2) + change.1.powi(2)) + inertia_kg_m2 * change.2.powi(2));
            changes.push((index, change));
        }
        let share = -linear / square;
        if !(0.0..1.0).contains(&share) {
            return;
        }
        for (index, (vx_m_s, vy_m_s, spin_rad_s)) in changes {
            let body = &mut self.physics.bodies[self.bodies[index]];
            let less = 1.0 - share;
            body.set_linvel(body.linvel() - Vector::new(vx_m_s, vy_m_s) * less, true);
            body.set_angvel(body.angvel() - spin_rad_s * less, true);
        }
    }

    /// Surfaces that a ball can strike. Each pair of balls is visited once, under the lower index.
    fn surfaces(&self, ball: usize, radius_m: f32, states: &[State], mut visit: impl FnMut(Surface)) {
        let at = &states[ball];
        visit(Surface {
            kind: ContactKind::Floor,
            other: None,
            gap_m: at.y_m - radius_m,
            normal: (0.0, 1.0),
        });
        for (other, (there, solid)) in states.iter().zip(&self.world.solids).enumerate() {
            match solid.shape {
                Shape::Ball { radius_m: second_m } if other > ball => {
                    let centre = (there.x_m, there.y_m);
                    visit(facing(at, centre, radius_m + second_m, ContactKind::Ball, Some(other)));
                }
                Shape::Ball { .. } => {}
                Shape::Block { half_width_m, half_height_m } => {
                    let (sin, cos) = there.angle_rad.sin_cos();
                    let (dx, dy) = (at.x_m - there.x_m, at.y_m - there.y_m);
                    let across = (dx * cos + dy * sin).clamp(-half_width_m, half_width_m);
                    let up = (dy * cos - dx * sin).clamp(-half_height_m, half_height_m);
                    let nearest = there.to_world((across, up));
                    visit(facing(at, nearest, radius_m, ContactKind::Block, Some(other)));
                }
            }
        }
        match &self.world.fixture {
            Some(Fixture::Hoop(hoop)) => {
                for x_m in hoop.rim_x_m() {
                    let reach = radius_m + Hoop::RIM_RADIUS_M;
                    visit(facing(at, (x_m, hoop.height_m), reach, ContactKind::Rim, None));
                }
                let (low, high) = hoop.board_box();
                let nearest = (at.x_m.clamp(low.0, high.0), at.y_m.clamp(low.1, high.1));
                visit(facing(at, nearest, radius_m, ContactKind::Board, None));
            }
            Some(Fixture::Ramp(ramp)) => {
                let along = ramp.downhill();
                let up_m = -((at.x_m - ramp.foot_x_m) * along.0 + at.y_m * along.1);
                let nearest = ramp.point_m(up_m.clamp(0.0, ramp.slope_m()));
                visit(facing(at, nearest, radius_m, ContactKind::Ramp, None));
            }
            None => {}
        }
    }

    /// Puts a ball, and what it struck, where an instant impact at the very touch would have them after a step.
    fn settle(
        &mut self,
        index: usize,
        surface: &Surface,
        (speed, leaving): (f32, f32),
        before: &[State],
        after: &[State],
    ) {
        let moved = |solid: usize| {
            let (from, to) = (&before[solid], &after[solid]);
            (to.x_m - from.x_m) * surface.normal.0 + (to.y_m - from.y_m) * surface.normal.1
        };
        let gap_m = surface.gap_m + moved(index) - surface.other.map_or(0.0, moved);
        let since_s = self.step_s - (surface.gap_m / speed).clamp(-self.step_s, self.step_s);
        let lacking_m = leaving.max(0.0) * since_s - gap_m;
        let share = self.reduced_mass(index, surface.other) / self.world.solids[index].mass_kg();
        let mut shift = |solid: usize, by_m: f32| {
            let body = &mut self.physics.bodies[self.bodies[solid]];
            let at = body.translation();
            let normal = Vector::new(surface.normal.0, surface.normal.1);
            body.set_translation(at + normal * by_m, true);
        };
        shift(index, lacking_m * share);
        if let Some(other) = surface.other {
            shift(other, -lacking_m * (1.0 - share));
        }
    }

    /// When a gap closes, from what it is before a step. The solver begins to push a little before the touch.
    fn touch_s(&self, start_s: f32, gap_m: f32, speed_m_s: f32) -> f32 {
        start_s + (gap_m / speed_m_s).clamp(-self.step_s, 3.0 * self.step_s)
    }

    fn reduced_mass(&self, index: usize, other: Option<usize>) -> f32 {
        let mass = self.world.solids[index].mass_kg();
        other.map_or(mass, |other| {
            let second = self.world.solids[other].mass_kg();
            mass * second / (mass + second)
        })
    }

    /// Slows balls that roll on the floor.
    fn brake(&mut self, after: &[State]) {
        if self.world.rolling_drag_m_s2 <= 0.0 {
            return;
        }
        for (index, (state, solid)) in after.iter().zip(&self.world.solids).enumerate() {
            let Shape::Ball { radius_m } = solid.shape else { continue };
            if self.free(state, radius_m) == Free::Rolls {
                let (_, speed) = braked(state.vx_m_s, self.world.rolling_drag_m_s2, self.step_s);
                let body = &mut self.physics.bodies[self.bodies[index]];
                body.set_linvel(Vector::new(speed, body.linvel().y), true);
                body.set_angvel(-speed / radius_m, true);
            }
        }
    }

    /// Records the impacts in which blocks take part, from what the solver did in the last step.
    fn follow_blocks(&mut self, before: &[State], after: &[State], start_s: f32) {
        let blocks = after
            .iter()
            .zip(&self.world.solids)
            .filter(|(_, solid)| matches!(solid.shape, Shape::Block { .. }));
        let (mut any, mut still) = (false, true);
        for (state, solid) in blocks {
            any = true;
            let fall_m_s = GRAVITY_M_S2 * self.step_s / 2.0;
            let speed = state.vx_m_s.hypot(state.vy_m_s + fall_m_s);
            still &= speed.max(state.spin_rad_s.abs() * solid.size_m()) < REST_M_S;
        }
        if !any {
            return;
        }
        self.rest_s = if still { self.rest_s + self.step_s } else { 0.0 };
        for pair in self.physics.narrow_phase.contact_pairs() {
            let handles = [pair.collider1, pair.collider2];
            let solids = handles.map(|handle| {
                self.physics.colliders.get(handle).and_then(|c| (c.user_data as usize).checked_sub(1))
            });
            let block = solids
                .iter()
                .flatten()
                .copied()
                .find(|&solid| matches!(self.world.solids[solid].shape, Shape::Block { .. }));
            let Some(block) = block else { continue };
            let mut impulse_n_s = 0.0;
            let mut hardest: Option<Touch> = None;
            for manifold in pair.manifolds() {
                let normal = manifold.data.normal;
                for point in manifold.points.iter().filter(|point| point.data.impulse > 0.0) {
                    impulse_n_s += point.data.impulse;
                    let at = match solids {
                        [Some(first), _] => before[first].to_world((point.local_p1.x, point.local_p1.y)),
                        [None, Some(second)] => before[second].to_world((point.local_p2.x, point.local_p2.y)),
                        [None, None] => continue,
                    };
                    let [first, second] =
                        solids.map(|solid| solid.map_or((0.0, 0.0), |solid| before[solid].velocity_at(at)));
                    let speed = (first.0 - second.0) * normal.x + (first.1 - second.1) * normal.y;
                    if hardest.as_ref().is_none_or(|touch| touch.speed < speed) {
                        hardest = Some(Touch { speed, gap_m: point.dist, at });
                    }
                }
            }
            let Some(touch) = hardest else { continue };
            let known = self.strikes.iter().rposition(|(strike, _)| *strike == handles);
            if let Some(contact) = known.and_then(|known| self.contacts.get_mut(self.strikes[known].1)) {
                let since_s = start_s - contact.time_s;
                if since_s < IMPACT_S {
                    contact.impulse_n_s += impulse_n_s;
                }
                if since_s < REPEAT_S {
                    continue;
                }
            }
            let ball = solids
                .iter()
                .flatten()
                .copied()
                .find(|&solid| matches!(self.world.solids[solid].shape, Shape::Ball { .. }));
            let on_floor = solids.contains(&None);
            // What rocks on its foot has not fallen on the floor.
            let fallen = before[block].angle_rad.sin().abs() > 0.7;
            if touch.speed < IMPACT_M_S || on_floor && !fallen {
                continue;
            }
            self.strikes.push((handles, self.contacts.len()));
            let striker = ball.unwrap_or(block);
            self.contacts.push(Contact {
                time_s: self.touch_s(start_s, touch.gap_m, touch.speed),
                kind: if on_floor { ContactKind::BlockFloor } else { ContactKind::Block },
                actor: self.world.solids[striker].actor,
                other: (!on_floor).then_some(self.world.solids[block].actor),
                speed_m_s: touch.speed,
                impulse_n_s,
                size_m: self.world.solids[block].size_m(),
                x_m: touch.at.0,
                y_m: touch.at.1,
            });
        }
    }

    /// The net brakes a ball that falls through the hoop, and rustles when it enters.
    fn follow_net(&mut self, before: &[State], start_s: f32) {
        let Some(hoop) = self.world.hoop() else { return };
        let after = self.states();
        let (Some(from), Some(to), Some(solid)) = (before.first(), after.first(), self.world.solids.first())
        else {
            return;
        };
        let within = hoop.spans(to.x_m);
        if within && from.y_m >= hoop.height_m && to.y_m < hoop.height_m {
            self.passes.down += 1;
            let speed = from.speed_m_s();
            self.contacts.push(Contact {
                time_s: start_s + (from.y_m - hoop.height_m) / (from.y_m - to.y_m) * self.step_s,
                kind: ContactKind::Net,
                actor: solid.actor,
                other: None,
                speed_m_s: speed,
                impulse_n_s: solid.mass_kg() * speed * 0.25,
                size_m: solid.size_m(),
                x_m: to.x_m,
                y_m: to.y_m,
            });
        }
        if within && from.y_m < hoop.height_m && to.y_m >= hoop.height_m {
            self.passes.up += 1;
        }
        let in_net = within && (hoop.height_m - Hoop::NET_DEPTH_M..hoop.height_m).contains(&to.y_m);
        let drag = if in_net && self.passes.down > 0 { NET_DRAG_PER_S } else { 0.0 };
        let body = &mut self.physics.bodies[self.bodies[0]];
        if (body.linear_damping() - drag).abs() > f32::EPSILON {
            body.set_linear_damping(drag);
        }
    }
}

/// The hardest point of a contact between two bodies.
struct Touch {
    speed: f32,
    gap_m: f32,
    at: (f32, f32),
}

/// What stands still: the floor, and the parts of a fixture.
fn surroundings(world: &World) -> Vec<ColliderBuilder> {
    let solid = |shape: ColliderBuilder, restitution: f32| {
        shape
            .restitution(restitution)
            .restitution_combine_rule(CoefficientCombineRule::Multiply)
            .friction(world.friction)
    };
    let mut colliders =
        vec![solid(ColliderBuilder::cuboid(40.0, 1.0), 1.0).translation(Vector::new(4.0, -1.0))];
    match &world.fixture {
        Some(Fixture::Hoop(hoop)) => {
            for x_m in hoop.rim_x_m() {
                let rim = solid(ColliderBuilder::ball(Hoop::RIM_RADIUS_M), 0.85);
                colliders.push(rim.translation(Vector::new(x_m, hoop.height_m)));
            }
            let (low, high) = hoop.board_box();
            let board = ColliderBuilder::cuboid((high.0 - low.0) / 2.0, (high.1 - low.1) / 2.0);
            let middle = Vector::new(f32::midpoint(low.0, high.0), f32::midpoint(low.1, high.1));
            colliders.push(solid(board, 0.8).translation(middle));
        }
        Some(Fixture::Ramp(ramp)) => {
            let [foot, top, back] = ramp.corners().map(|(x, y)| Vector::new(x, y));
            colliders.push(solid(ColliderBuilder::triangle(foot, top, back), 1.0));
        }
        None => {}
    }
    colliders
}

/// How far a ball's centre is from the edge of the net, on either side of it: there it begins or ends to brake.
fn from_net_m(hoop: &Hoop, state: &State) -> f32 {
    let aside_m = (state.x_m - hoop.centre_x_m()).abs() - Hoop::OPENING_M / 2.0;
    let half_m = Hoop::NET_DEPTH_M / 2.0;
    let beyond_m = (state.y_m - hoop.height_m + half_m).abs() - half_m;
    if aside_m.max(beyond_m) <= 0.0 {
        -aside_m.max(beyond_m)
    } else {
        aside_m.max(0.0).hypot(beyond_m.max(0.0))
    }
}

fn facing(at: &State, point: (f32, f32), reach: f32, kind: ContactKind, other: Option<usize>) -> Surface {
    let (dx, dy) = (at.x_m - point.0, at.y_m - point.1);
    let distance = dx.hypot(dy).max(1e-6);
    Surface { kind, other, gap_m: distance - reach, normal: (dx / distance, dy / distance) }
}

/// Speed at which a ball closes in on `surface`; negative when it leaves.
fn approach(states: &[State], ball: usize, surface: &Surface) -> f32 {
    let at = &states[ball];
    let (ux, uy) = surface.other.map_or((0.0, 0.0), |other| (states[other].vx_m_s, states[other].vy_m_s));
    -((at.vx_m_s - ux) * surface.normal.0 + (at.vy_m_s - uy) * surface.normal.1)
}
