//! A ball that rolls down a ramp.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Casting, Family, flying};
use crate::world::caption::{name, pick};
use crate::world::physics::{Motion, Solid, World};
use crate::world::{CLIP_S, ContactKind, Event, Fixture, GRAVITY_M_S2, Ramp, Scene, Shot};

pub(super) fn sample(seed: u64) -> Scene {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shot = Shot::sample(&mut rng);
    let strikes = rng.random_bool(0.5);
    let actors = if strikes { 2 } else { 1 };
    let casting = Casting::sample(Family::Ramp, seed, (shot, Event::Rolls { strikes }), actors, &mut rng);
    casting.play(&mut rng, |rng| draft(shot, strikes, rng), judge)
}

fn judge(world: &World, motion: &Motion) -> Option<Event> {
    let (last, Some(Fixture::Ramp(ramp))) = (motion.frames.last()?.first()?, &world.fixture) else {
        return None;
    };
    let mut strikes = motion.contacts.iter().filter(|contact| contact.kind == ContactKind::Block);
    if let Some(strike) = strikes.next() {
        let clear = strike.speed_m_s > 0.8 && strike.time_s < CLIP_S - 0.3;
        return clear.then_some(Event::Rolls { strikes: true });
    }
    let rests = last.speed_m_s() < 0.05;
    let past = (last.x_m - ramp.foot_x_m) * ramp.downhill().0.signum();
    (world.solids.len() == 1 && rests && past > 0.3).then_some(Event::Rolls { strikes: false })
}

/// A ramp that rises to the left, mirrored half of the time.
fn draft(shot: Shot, strikes: bool, rng: &mut ChaCha8Rng) -> Option<World> {
    let view_m = shot.view_m();
    let length_m = view_m * rng.random_range(0.25..0.45_f32);
    let height_m = length_m * rng.random_range(15.0..34.0_f32).to_radians().tan();
    let foot_x_m = length_m + rng.random_range(0.05..0.06 * view_m);
    let ramp = Ramp { foot_x_m, length_m, height_m, mirrored: true };
    let radius_m = rng.random_range(0.3..0.7_f32);
    let along_m = ramp.slope_m() * rng.random_range(0.55..0.97_f32);
    let (touch, out) = (ramp.point_m(along_m), ramp.normal());
    let drop_m = if rng.random_bool(0.3) { rng.random_range(0.1..0.6_f32) } else { 0.0 };
    let at = (touch.0 + radius_m * out.0, touch.1 + radius_m * out.1 + drop_m);
    if at.0 < radius_m + 0.02 {
        return None;
    }
    // A rolling disc keeps two thirds of what it falls through as speed.
    let floor_m_s2 = 4.0 / 3.0 * GRAVITY_M_S2 * (along_m * ramp.angle_rad().sin());
    let room_m = view_m - foot_x_m - 2.0 * radius_m;
    let rolling_drag_m_s2 = floor_m_s2 / (2.0 * room_m * rng.random_range(0.2..1.1_f32));
    let ball = Solid {
        spin_rad_s: 0.0,
        restitution: rng.random_range(0.45..0.65),
        ..flying(radius_m, at, (0.0, 0.0), rng)
    };
    let mut solids = vec![ball];
    if strikes {
        let (half_width_m, half_height_m) =
            (rng.random_range(0.15..0.4_f32), rng.random_range(0.35..0.8_f32));
        let nearest_m = foot_x_m + radius_m + half_width_m;
        let farthest_m = view_m - half_width_m - 0.3;
        if nearest_m >= farthest_m {
            return None;
        }
        solids.push(Solid::block(1, rng.random_range(nearest_m..farthest_m), half_width_m, half_height_m));
    }
    let mut world =
        World { shot, solids, fixture: Some(Fixture::Ramp(ramp)), friction: 0.5, rolling_drag_m_s2 };
    if rng.random_bool(0.5) {
        world.mirror();
    }
    Some(world)
}

pub(super) fn caption(scene: &Scene, rng: &mut ChaCha8Rng) -> String {
    let Some(ball) = scene.actors.first() else { return String::new() };
    let ball = name(ball, rng);
    let dropped = scene.contacts.iter().any(|contact| contact.kind == ContactKind::Ramp);
    let down = if dropped {
        pick(&["drops on a ramp and rolls down", "falls on a ramp and rolls down", "rolls down a ramp"], rng)
    } else {
        pick(&["rolls down a ramp", "rolls down the ramp", "rolls off a ramp", "comes down a ramp"], rng)
    };
    match scene.actors.get(1) {
        Some(block) => {
            let block = name(block, rng);
            match rng.random_range(0..4) {
                0 => format!("{ball} {down} into {block}"),
                1 => format!("{ball} {down} and crashes into {block}"),
                _ => format!("{ball} {down} and hits {block}"),
            }
        }
        None => {
            let end = pick(&["", "", " and stops", " and stops on the floor", " and comes to rest"], rng);
            format!("{ball} {down}{end}")
        }
    }
}
