//! A ball that knocks over a row of blocks.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Casting, Family, rolling};
use crate::world::caption::{count, name, pick};
use crate::world::physics::{Motion, Shape, Solid, State, World};
use crate::world::{BLOCKS, ContactKind, Event, FPS, Scene, Shot};

/// A block that leans by more than this has fallen.
const FALLEN_RAD: f32 = 1.05;
/// A block that leans by less than this still stands.
const STANDS_RAD: f32 = 0.17;

pub(super) fn sample(seed: u64) -> Scene {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shot = Shot::sample(&mut rng);
    let stops = rng.random_bool(1.0 / 3.0);
    let blocks = rng.random_range(3..=if stops { BLOCKS as u32 - 1 } else { BLOCKS as u32 });
    let fallen = if stops { rng.random_range(1..blocks) } else { blocks };
    let event = Event::Topples { fallen, blocks };
    let casting = Casting::sample(Family::Dominoes, seed, (shot, event), 2, &mut rng);
    casting.play(&mut rng, |rng| draft(shot, fallen, blocks, rng), judge)
}

fn judge(world: &World, motion: &Motion) -> Option<Event> {
    let last = motion.frames.last()?;
    let (mut fallen, mut blocks) = (0, 0);
    for (state, solid) in last.iter().zip(&world.solids) {
        if !matches!(solid.shape, Shape::Block { .. }) {
            continue;
        }
        blocks += 1;
        let lean_rad = lean_rad(state);
        if lean_rad > FALLEN_RAD {
            fallen += 1;
        } else if lean_rad > STANDS_RAD {
            return None;
        }
    }
    let first = motion.contacts.first()?;
    // The first strike is heard: until then every block stands.
    let before = motion.frames.get((first.time_s * FPS as f32) as usize)?.iter().skip(1);
    let struck = first.kind == ContactKind::Block
        && first.actor == 0
        && before.map(lean_rad).fold(0.0, f32::max) < 0.005;
    struck.then_some(Event::Topples { fallen, blocks })
}

/// Angle between a block's own axis and the upright, up to a right angle.
fn lean_rad(state: &State) -> f32 {
    state.angle_rad.sin().abs().atan2(state.angle_rad.cos().abs())
}

/// Blocks in a row whose spacing is about half of their height, but for the gap that stops the chain.
fn draft(shot: Shot, fallen: u32, blocks: u32, rng: &mut ChaCha8Rng) -> Option<World> {
    let view_m = shot.view_m();
    let height_m = view_m * rng.random_range(0.11..0.21_f32);
    let width_m = height_m * rng.random_range(0.14..0.22_f32);
    let pitch_m = height_m * rng.random_range(0.5..0.72_f32);
    // A block that falls flat reaches as far as it is high, and then slides on a little.
    let gap_m = height_m * rng.random_range(1.25..1.5_f32) + width_m;
    // Struck below its middle a block would slide off its foot, not topple.
    let radius_m = (height_m * rng.random_range(0.55..0.85_f32)).clamp(0.3, 0.9);
    if radius_m < 0.53 * height_m {
        return None;
    }
    let rest_m = if fallen < blocks { gap_m - pitch_m } else { 0.0 };
    let row_m = pitch_m * (blocks - 1) as f32 + rest_m + width_m;
    let room_m = if fallen < blocks { 0.2 } else { height_m + 0.2 };
    let spare_m = view_m - row_m - room_m - 2.0 * radius_m - 0.4;
    if spare_m < 0.0 {
        return None;
    }
    let start_m = radius_m + rng.random_range(0.05..0.1 + 0.5 * spare_m);
    let run_m = rng.random_range(0.2..0.3 + 0.5 * spare_m);
    let speed_m_s = rng.random_range(1.0..2.6);
    let mut solids = vec![Solid {
        restitution: rng.random_range(0.45..0.8),
        ..rolling(radius_m, start_m, speed_m_s, rng)
    }];
    let mut x_m = start_m + radius_m + run_m + width_m / 2.0;
    for block in 0..blocks {
        solids.push(Solid::block(1, x_m, width_m / 2.0, height_m / 2.0));
        x_m += if block + 1 == fallen { gap_m } else { pitch_m };
    }
    let mut world = World { shot, solids, fixture: None, friction: 0.6, rolling_drag_m_s2: 0.25 };
    if rng.random_bool(0.5) {
        world.mirror();
    }
    Some(world)
}

pub(super) fn caption(scene: &Scene, rng: &mut ChaCha8Rng) -> String {
    let ([ball, row, ..], Event::Topples { fallen, blocks }) = (scene.actors.as_slice(), scene.event) else {
        return String::new();
    };
    let (ball, row) = (name(ball, rng), name(row, rng));
    if fallen == blocks {
        return match rng.random_range(0..6) {
            0 => format!("{ball} knocks over {row}"),
            1 => format!("{ball} knocks down {row}"),
            2 => format!("{ball} rolls into {row} and all of them fall"),
            3 => format!("{ball} hits {row} and they all fall over"),
            4 => format!("{ball} knocks over a row of {row}"),
            _ => format!("{ball} rolls into a row of {row} that all fall"),
        };
    }
    let some = count(fallen);
    let (falls, stand) =
        (if fallen == 1 { "falls" } else { "fall" }, if fallen + 1 == blocks { "stands" } else { "stand" });
    let left = count(blocks - fallen);
    match rng.random_range(0..6) {
        0 => format!("{ball} knocks over {some} of {row}"),
        1 => format!("{ball} knocks down only {some} of {row}"),
        2 => format!("{ball} rolls into {row} and only {some} {falls}"),
        3 => format!("{ball} hits {row} but only {some} {falls} over"),
        4 => format!("{ball} rolls into {row} and {left} still {stand}"),
        _ => format!(
            "{ball} {} {some} of {row} and {left} {stand}",
            pick(&["knocks over", "knocks down"], rng)
        ),
    }
}
