//! Pictures to learn looks from: a look and a room go in, a short clip of somebody in any pose and place comes
//! out.
//!
//! The poses are wider than any that scenes play, and follow no law of motion: a judge should know a look, not
//! the way that it usually moves. INVARIANT: the first actor wears the look, and whoever else is there does
//! not.

use std::f32::consts::PI;

use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;

use super::figure::{Crop, GLANCES, Kind, crops};
use crate::clip::Clip;
use crate::world::doll::HIP;
use crate::world::draw::render;
use crate::world::{
    Actor, Body, Colour, DollPose, Event, FPS, Family, Look, Name, Pose, SAMPLE_RATE, Scene, Shot, Skin,
    Stage, Track,
};

/// A room and how much of it is shown.
pub(super) type Room = (Shot, Stage);

/// The room of a scene.
pub(super) fn room(seed: u64) -> Room {
    let scene = Family::Bounce.sample(seed);
    (scene.shot, scene.stage)
}

/// A silent clip of a made-up scene.
pub(super) fn clip_of(look: Look, room: Room, rng: &mut ChaCha8Rng) -> Clip {
    film(&pose(look, room, rng), rng)
}

/// Crops of the first actor of a made-up scene.
pub(super) fn crops_of(look: Look, room: Room, rng: &mut ChaCha8Rng) -> Vec<Crop> {
    let scene = pose(look, room, rng);
    let clip = film(&scene, rng);
    let mut crops = crops(&clip, Kind::of(&look));
    let first = scene.actors.first();
    crops.retain(|crop| {
        first.is_some_and(|actor| middles(actor, crop.frame, scene.shot).any(|place| crop.spans(place)))
    });
    crops
}

/// Crops of a scene of the corpus, each with the actors whose middles are in it.
pub(super) fn crops_of_scene(scene: &Scene, kind: Kind, rng: &mut ChaCha8Rng) -> Vec<(Crop, Vec<usize>)> {
    let mut scene = scene.clone();
    for actor in &mut scene.actors {
        thin(&mut actor.track);
    }
    let crops = crops(&film(&scene, rng), kind).into_iter();
    crops
        .map(|crop| {
            let is_in = |actor: &Actor| middles(actor, crop.frame, scene.shot).any(|place| crop.spans(place));
            let shown = scene.actors.iter().enumerate().filter(|(_, actor)| is_in(actor));
            let shown = shown.map(|(index, _)| index).collect();
            (crop, shown)
        })
        .collect()
}

/// As many frames of a track as are glanced at.
fn thin(track: &mut Track) {
    let every = |frames: usize| frames.div_ceil(GLANCES).max(1);
    match track {
        Track::Bodies(frames) => *frames = frames.iter().step_by(every(frames.len())).cloned().collect(),
        Track::Doll(frames) => *frames = frames.iter().step_by(every(frames.len())).copied().collect(),
    }
}

fn film(scene: &Scene, rng: &mut ChaCha8Rng) -> Clip {
    let side = *[96, 128, 192].choose(rng).unwrap_or(&96);
    Clip {
        width: side,
        height: side,
        fps: FPS,
        frames: render(scene, side, side),
        sample_rate: SAMPLE_RATE,
        samples: Vec::new(),
    }
}

/// Where the middles of an actor's bodies are, as shares of the picture, y down.
fn middles(actor: &Actor, frame: usize, shot: Shot) -> impl Iterator<Item = (f32, f32)> {
    let places: Vec<(f32, f32)> = match &actor.track {
        Track::Bodies(frames) => {
            frames.get(frame).into_iter().flatten().map(|pose| (pose.x_m, pose.y_m)).collect()
        }
        Track::Doll(frames) => frames.get(frame).into_iter().map(|pose| (pose.x_m, pose.y_m)).collect(),
    };
    places.into_iter().map(move |(x_m, y_m)| (x_m / shot.view_m(), (shot.top_m() - y_m) / shot.view_m()))
}

fn pose(look: Look, (shot, stage): Room, rng: &mut ChaCha8Rng) -> Scene {
    let mut actors = vec![match look {
        Look::Person(_) => person(look, shot, rng),
        Look::Skin(_) => ball(look, shot, rng),
    }];
    if rng.random_bool(0.3) {
        let colour = Colour::ALL.choose(rng).copied().unwrap_or(Colour::Red);
        let other = if rng.random_bool(0.5) {
            Skin::sample_named(rng, colour, None)
        } else {
            Skin::sample_identity(rng)
        };
        actors.push(ball(Look::Skin(other), shot, rng));
    }
    Scene {
        family: Family::Walk,
        seed: 0,
        shot,
        stage: Stage { fixture: None, ..stage },
        actors,
        contacts: Vec::new(),
        speech: None,
        event: Event::Stands,
    }
}

fn ball(look: Look, shot: Shot, rng: &mut ChaCha8Rng) -> Actor {
    let radius_m = rng.random_range(0.3..0.9_f32);
    let (left, right) = (radius_m, shot.view_m() - radius_m);
    let poses = (0..GLANCES).map(|_| {
        vec![Pose {
            x_m: rng.random_range(left..right),
            // Often on the floor, where things roll.
            y_m: if rng.random_bool(0.3) {
                radius_m
            } else {
                rng.random_range(radius_m..shot.top_m() - radius_m)
            },
            angle_rad: rng.random_range(-PI..PI),
        }]
    });
    actor(Body::Ball { radius_m }, look, Track::Bodies(poses.collect()))
}

fn person(look: Look, shot: Shot, rng: &mut ChaCha8Rng) -> Actor {
    let height_m = rng.random_range(1.5..0.5 * shot.view_m());
    let (left, right) = (0.3 * height_m, shot.view_m() - 0.3 * height_m);
    let (from_m, to_m) = (rng.random_range(left..right), rng.random_range(left..right));
    let (walks, jumps, waves) = (rng.random_bool(0.5), rng.random_bool(0.2), rng.random_bool(0.4));
    let speaks = rng.random_bool(0.4);
    let poses = (0..GLANCES).map(|frame| {
        let share = frame as f32 / (GLANCES - 1) as f32;
        let stride = if walks { rng.random_range(0.0..0.55_f32) } else { rng.random_range(0.08..0.2) };
        let mut arm = || if waves { rng.random_range(-2.9..2.9_f32) } else { rng.random_range(-0.6..0.6) };
        let arms_rad = [arm(), arm()];
        let rise_m = if jumps { rng.random_range(0.0..0.25) * height_m } else { 0.0 };
        DollPose {
            x_m: if walks { from_m + share * (to_m - from_m) } else { from_m },
            y_m: rise_m + height_m * (HIP - 0.36 * (1.0 - stride.cos())),
            lean_rad: rng.random_range(-0.15..0.15),
            nod_rad: rng.random_range(-0.2..0.2),
            arms_rad,
            legs_rad: if rng.random_bool(0.5) { [stride, -stride] } else { [-stride, stride] },
            mouth: if speaks { rng.random_range(0.0..1.0) } else { 0.0 },
        }
    });
    actor(Body::Person { height_m }, look, Track::Doll(poses.collect()))
}

fn actor(body: Body, look: Look, track: Track) -> Actor {
    Actor { body, look, name: Name::Cameo, track, restitution: 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::Appearance;
    use rand::SeedableRng;

    #[test]
    fn most_frames_of_most_made_up_clips_show_their_figure() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let (mut people, mut balls) = (0, 0);
        for seed in 0..12 {
            let person = Look::Person(Appearance::sample_identity(&mut rng));
            people += crops_of(person, room(seed), &mut rng).len();
            let ball = Look::Skin(Skin::sample_identity(&mut rng));
            balls += crops_of(ball, room(seed), &mut rng).len();
        }
        let all = 12 * GLANCES;
        assert!(people > 9 * all / 10 && balls > 8 * all / 10, "{people} and {balls} of {all}");
    }
}
