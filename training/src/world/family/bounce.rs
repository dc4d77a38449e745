//! One ball that bounces on the floor.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Casting, Family, flying};
use crate::world::caption::{name, pick};
use crate::world::physics::{Solid, World};
use crate::world::{CLIP_S, Event, FPS, GRAVITY_M_S2, Scene, Shot, Track};

pub(super) fn sample(seed: u64) -> Scene {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shot = Shot::sample(&mut rng);
    // Under the edge of a close shot no flight lasts long enough for one bounce in four seconds.
    let fewest = if shot == Shot::Close { 2 } else { 1 };
    let count = rng.random_range(fewest..=4);
    let casting = Casting::sample(Family::Bounce, seed, (shot, Event::Bounces(count)), 1, &mut rng);
    casting.play(
        &mut rng,
        |rng| draft(shot, count, rng),
        |_, motion| {
            // A bounce too soft to see, or at the very edge of the clip, would make the count arguable.
            let clear = motion.contacts.iter().all(|c| c.speed_m_s > 2.0 && c.time_s < CLIP_S - 0.12);
            clear.then_some(Event::Bounces(motion.contacts.len() as u32))
        },
    )
}

/// A flight from the floor takes `flight` seconds, the next ones e, e^2, ... of it; the first contact comes
/// after `start` of it (half for a drop, up to the whole for a toss). So contact n is at
/// `flight * (start + e + ... + e^(n-1))`, which brackets `flight` between two bounds.
fn draft(shot: Shot, count: u32, rng: &mut ChaCha8Rng) -> Option<World> {
    let radius_m = rng.random_range(0.3..0.9_f32);
    let restitution = rng.random_range(0.45..0.95_f32);
    let start = if rng.random_bool(0.5) { 0.5 } else { rng.random_range(0.5..1.0_f32) };
    let until_last = start + (1..count).map(|n| restitution.powi(n as i32)).sum::<f32>();
    let until_next = until_last + restitution.powi(count as i32);
    let highest_m = shot.top_m() - 0.1 - 2.0 * radius_m;
    let longest_s = (8.0 * highest_m / GRAVITY_M_S2).sqrt().min((CLIP_S - 0.15) / until_last);
    let shortest_s = (CLIP_S + 0.06) / until_next;
    if shortest_s >= longest_s {
        return None;
    }
    let flight_s = rng.random_range(shortest_s..longest_s);
    let impact_m_s = GRAVITY_M_S2 * flight_s / 2.0;
    let vy_m_s = GRAVITY_M_S2 * flight_s * (start - 0.5);
    let y_m = radius_m + (impact_m_s * impact_m_s - vy_m_s * vy_m_s) / (2.0 * GRAVITY_M_S2);
    let (low, high) = (radius_m + 0.1, shot.view_m() - radius_m - 0.1);
    let (x_m, end_m) = (rng.random_range(low..high), rng.random_range(low..high));
    let vx_m_s = (end_m - x_m) / CLIP_S * rng.random_range(0.3..1.0_f32);
    let ball = Solid { restitution, ..flying(radius_m, (x_m, y_m), (vx_m_s, vy_m_s), rng) };
    Some(World { shot, solids: vec![ball], fixture: None, friction: 0.3, rolling_drag_m_s2: 0.0 })
}

pub(super) fn caption(scene: &Scene, rng: &mut ChaCha8Rng) -> String {
    let Some(actor) = scene.actors.first() else { return String::new() };
    let ball = name(actor, rng);
    let times = match scene.event {
        Event::Bounces(1) => pick(&["once", "once", "one time"], rng),
        Event::Bounces(2) => pick(&["twice", "twice", "two times"], rng),
        Event::Bounces(3) => "three times",
        _ => "four times",
    };
    let rise_m_s = match &actor.track {
        Track::Bodies(frames) => match frames.as_slice() {
            [first, second, ..] => {
                first.iter().zip(second).map(|(a, b)| (b.y_m - a.y_m) * FPS as f32).sum::<f32>()
            }
            _ => 0.0,
        },
        Track::Doll(_) => 0.0,
    };
    let start = if rise_m_s > 1.0 {
        pick(&["is tossed up", "is thrown up", "flies up"], rng)
    } else {
        pick(&["is dropped", "drops", "falls"], rng)
    };
    match rng.random_range(0..6) {
        0..=2 => format!("{ball} bounces {times}{}", pick(&["", "", " on the floor"], rng)),
        3 => format!("{ball} hits the floor {times}"),
        _ => format!("{ball} {start} and bounces {times}"),
    }
}
