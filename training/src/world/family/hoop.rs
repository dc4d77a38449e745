//! One ball thrown at a backboard and hoop.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Casting, Family, flying};
use crate::world::caption::{name, pick};
use crate::world::physics::{Motion, Shape, Solid, World};
use crate::world::{ContactKind, Event, Fixture, GRAVITY_M_S2, Hoop, Scene, Shot};

pub(super) fn sample(seed: u64) -> Scene {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shot = Shot::sample(&mut rng);
    let event = match rng.random_range(0..8) {
        0..=2 => Event::Scores { banked: false },
        3 | 4 => Event::Scores { banked: true },
        5 | 6 => Event::Misses { rim: true },
        _ => Event::Misses { rim: false },
    };
    let casting = Casting::sample(Family::Hoop, seed, (shot, event), 1, &mut rng);
    casting.play(&mut rng, |rng| Some(draft(shot, event, rng)), judge)
}

fn judge(world: &World, motion: &Motion) -> Option<Event> {
    let Some(Fixture::Hoop(hoop)) = &world.fixture else { return None };
    let last = motion.frames.last()?.first()?;
    let Shape::Ball { radius_m } = world.solids.first()?.shape else { return None };
    if motion.passes.up > 0 || last.y_m > hoop.height_m - radius_m - 0.2 {
        return None;
    }
    match motion.passes.down {
        0 => Some(Event::Misses { rim: motion.count(ContactKind::Rim) > 0 }),
        1 => Some(Event::Scores { banked: motion.count(ContactKind::Board) > 0 }),
        _ => None,
    }
}

fn draft(shot: Shot, event: Event, rng: &mut ChaCha8Rng) -> World {
    let view_m = shot.view_m();
    let radius_m = rng.random_range(0.3..0.56_f32);
    let restitution = rng.random_range(0.45..0.8);
    let hoop = Hoop {
        height_m: view_m * rng.random_range(0.4..0.53),
        board_x_m: view_m - rng.random_range(0.6..1.1),
        mirrored: false,
    };
    let from = (view_m * rng.random_range(0.09..0.4_f32), view_m * rng.random_range(0.11..0.28_f32));
    let target_x_m = match event {
        // Aim at the hoop's image behind the board, which the bounce brings back to the centre.
        Event::Scores { banked: true } => {
            let face = hoop.board_x_m - radius_m;
            face + (face - hoop.centre_x_m()) / (0.8 * restitution) + rng.random_range(-0.4..0.4)
        }
        Event::Scores { banked: false } => hoop.centre_x_m() + rng.random_range(-0.25..0.25),
        _ => {
            let rim = event == Event::Misses { rim: true };
            let aside = rng.random_range(if rim { 0.55..1.2_f32 } else { 0.9..2.2 });
            hoop.centre_x_m() + if rng.random_bool(0.75) { -aside } else { aside }
        }
    };
    let flight_s = rng.random_range(0.95..1.4_f32) * (view_m / 8.0).sqrt();
    let rise_m = hoop.height_m - from.1;
    let velocity = ((target_x_m - from.0) / flight_s, rise_m / flight_s + GRAVITY_M_S2 * flight_s / 2.0);
    let ball = Solid {
        spin_rad_s: rng.random_range(0.0..4.0),
        restitution,
        ..flying(radius_m, from, velocity, rng)
    };
    let mut world = World {
        shot,
        solids: vec![ball],
        fixture: Some(Fixture::Hoop(hoop)),
        friction: 0.4,
        rolling_drag_m_s2: 0.0,
    };
    if rng.random_bool(0.5) {
        world.mirror();
    }
    world
}

pub(super) fn caption(scene: &Scene, rng: &mut ChaCha8Rng) -> String {
    let Some(actor) = scene.actors.first() else { return String::new() };
    let ball = name(actor, rng);
    let what = match scene.event {
        Event::Scores { banked: true } => pick(
            &[
                "hits the board and goes in",
                "hits the board and goes into the hoop",
                "hits the board and goes through the hoop",
                "bounces off the board into the hoop",
                "bounces off the board and scores",
                "is thrown into the hoop off the board",
            ],
            rng,
        ),
        Event::Scores { banked: false } => pick(
            &[
                "is thrown into the hoop",
                "goes into the hoop",
                "goes through the hoop",
                "is thrown into the basket",
                "is shot into the basket",
                "is thrown at the hoop and goes in",
                "flies through the hoop",
                "scores",
            ],
            rng,
        ),
        Event::Misses { rim: true } => pick(
            &[
                "bounces off the rim",
                "hits the rim and misses",
                "hits the rim and misses the hoop",
                "is thrown at the hoop but bounces off the rim",
                "is thrown at the basket but hits the rim and misses",
            ],
            rng,
        ),
        _ => pick(
            &[
                "misses the hoop",
                "is thrown at the hoop but misses",
                "is thrown at the hoop and misses",
                "misses the basket",
                "is shot at the basket but misses",
            ],
            rng,
        ),
    };
    format!("{ball} {what}")
}
