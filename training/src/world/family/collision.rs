//! Two balls that run into each other.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Casting, Family, flying, rolling};
use crate::world::caption::{name, pick};
use crate::world::physics::{Motion, Shape, Solid, World};
use crate::world::{CLIP_S, ContactKind, Event, GRAVITY_M_S2, Scene, Shot};

pub(super) fn sample(seed: u64) -> Scene {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shot = Shot::sample(&mut rng);
    let airborne = rng.random_bool(0.4);
    let event = Event::Collides { airborne };
    let casting = Casting::sample(Family::Collision, seed, (shot, event), 2, &mut rng);
    let draft = |rng: &mut ChaCha8Rng| if airborne { draft_clash(shot, rng) } else { draft_roll(shot, rng) };
    casting.play(&mut rng, draft, judge)
}

fn judge(world: &World, motion: &Motion) -> Option<Event> {
    let meeting = motion.contacts.iter().find(|contact| contact.kind == ContactKind::Ball)?;
    let largest_m = world.solids.iter().map(|solid| match solid.shape {
        Shape::Ball { radius_m } => radius_m,
        Shape::Block { .. } => 0.0,
    });
    let airborne = meeting.y_m > largest_m.fold(0.0, f32::max) * 1.6;
    (motion.count(ContactKind::Ball) == 1 && meeting.speed_m_s > 1.0).then_some(Event::Collides { airborne })
}

/// Two balls on the floor, at least one of them rolling towards the other.
fn draft_roll(shot: Shot, rng: &mut ChaCha8Rng) -> Option<World> {
    let view_m = shot.view_m();
    let restitution = rng.random_range(0.6..0.95);
    let left_m_s = rng.random_range(0.9..3.2);
    let right_m_s = if rng.random_bool(0.35) { 0.0 } else { -rng.random_range(0.4..2.2_f32) };
    let mut ball = |actor, share: std::ops::Range<f32>, speed_m_s| {
        let radius_m = rng.random_range(0.3..0.9_f32);
        let x_m = (view_m * rng.random_range(share)).clamp(radius_m + 0.1, view_m - radius_m - 0.1);
        Solid { actor, restitution, ..rolling(radius_m, x_m, speed_m_s, rng) }
    };
    let solids = [ball(0, 0.07..0.33, left_m_s), ball(1, 0.57..0.93, right_m_s)];
    let [left_m, right_m] = solids.map(|solid| solid.at_m.0);
    let [first_m, second_m] = solids.map(|solid| solid.at_m.1);
    let meet_s = (right_m - left_m - 2.0 * (first_m * second_m).sqrt()) / (left_m_s - right_m_s);
    if !(0.2..CLIP_S - 0.5).contains(&meet_s) || !stay(&solids, shot, meet_s, 0.0) {
        return None;
    }
    let solids = solids.to_vec();
    let mut world = World { shot, solids, fixture: None, friction: 0.25, rolling_drag_m_s2: 0.0 };
    if rng.random_bool(0.5) {
        world.mirror();
    }
    Some(world)
}

/// Whether two balls that meet after `meet_s`, falling with `gravity_m_s2` or rolling, can be in view after it:
/// an estimate that spares the simulation of most scenes that would be refused.
fn stay(balls: &[Solid; 2], shot: Shot, meet_s: f32, gravity_m_s2: f32) -> bool {
    let places = balls.map(|ball| {
        let (vx, vy) = ball.velocity_m_s;
        let fall_m = gravity_m_s2 * meet_s * meet_s / 2.0;
        (ball.at_m.0 + vx * meet_s, ball.at_m.1 + vy * meet_s - fall_m)
    });
    let [first, second] = places;
    let apart_m = (second.0 - first.0).hypot(second.1 - first.1);
    let normal = ((second.0 - first.0) / apart_m, (second.1 - first.1) / apart_m);
    let [(ax, ay), (bx, by)] = balls.map(|ball| ball.velocity_m_s);
    let closing_m_s = (ax - bx) * normal.0 + (ay - by) * normal.1;
    let [first_kg, second_kg] = balls.map(|ball| ball.mass_kg());
    let push_n_s = (1.0 + balls[0].restitution) * closing_m_s / (1.0 / first_kg + 1.0 / second_kg);
    let left_s = CLIP_S - meet_s;
    balls.iter().zip(places).zip([-push_n_s, push_n_s]).all(|((ball, (x_m, y_m)), push_n_s)| {
        let Shape::Ball { radius_m } = ball.shape else { return false };
        let gain_m_s = push_n_s / ball.mass_kg();
        // The floor's friction takes about a third of what the meeting gave.
        let end_m = x_m + left_s * (ball.velocity_m_s.0 + gain_m_s * normal.0 * 2.0 / 3.0);
        let rise_m_s = (ball.velocity_m_s.1 - gravity_m_s2 * meet_s + gain_m_s * normal.1).max(0.0);
        let peak_m = y_m + if gravity_m_s2 > 0.0 { rise_m_s * rise_m_s / (2.0 * gravity_m_s2) } else { 0.0 };
        end_m > radius_m && end_m < shot.view_m() - radius_m && peak_m < shot.top_m() - radius_m
    })
}

/// Two balls thrown so that they meet in the air.
fn draft_clash(shot: Shot, rng: &mut ChaCha8Rng) -> Option<World> {
    let view_m = shot.view_m();
    let restitution = rng.random_range(0.5..0.85);
    let meet_s = rng.random_range(0.6..1.25_f32) * (view_m / 8.0).sqrt();
    let meet = (view_m * rng.random_range(0.42..0.58_f32), view_m * rng.random_range(0.3..0.65_f32));
    let mut ball = |actor, side: f32| {
        let radius_m = rng.random_range(0.3..0.8_f32);
        let edge_m = rng.random_range(radius_m + 0.1..0.25 * view_m);
        let x_m = if side < 0.0 { edge_m } else { view_m - edge_m };
        let at = (x_m, rng.random_range(0.9..0.5 * view_m).max(radius_m));
        let target = (meet.0 + side * radius_m, meet.1 + rng.random_range(-0.35..0.35) * radius_m);
        let rise_m_s = (target.1 - at.1) / meet_s + GRAVITY_M_S2 * meet_s / 2.0;
        let velocity = ((target.0 - at.0) / meet_s, rise_m_s);
        Solid { actor, restitution, ..flying(radius_m, at, velocity, rng) }
    };
    let solids = [ball(0, -1.0), ball(1, 1.0)];
    if !stay(&solids, shot, meet_s, GRAVITY_M_S2) {
        return None;
    }
    let solids = solids.to_vec();
    let mut world = World { shot, solids, fixture: None, friction: 0.3, rolling_drag_m_s2: 0.0 };
    if rng.random_bool(0.5) {
        world.mirror();
    }
    Some(world)
}

pub(super) fn caption(scene: &Scene, rng: &mut ChaCha8Rng) -> String {
    let [first, second, ..] = scene.actors.as_slice() else { return String::new() };
    let (first, second) = (name(first, rng), name(second, rng));
    let airborne = scene.event == Event::Collides { airborne: true };
    let place =
        if airborne { pick(&["", " in the air"], rng) } else { pick(&["", "", " on the floor"], rng) };
    match rng.random_range(0..7) {
        0 | 1 => format!("{first} and {second} collide{place}"),
        2 => format!("{first} and {second} crash into each other{place}"),
        3 => format!("{first} hits {second}{place}"),
        4 if airborne => format!("{first} and {second} meet in the air"),
        4 | 5 => format!("{first} and {second} bounce off each other"),
        _ => format!("{first} crashes into {second}{place}"),
    }
}
