//! Reads people on their feet: poses that drift enter, poses that the floor carries leave.
//!
//! Who stands or walks has the lower sole on the floor, and who does not walk stays in place; who jumps rises
//! and falls freely in between (as footskate is cleaned from captured motion: Kovar, Schreiner and Gleicher,
//! "Footskate Cleanup for Motion Capture Editing", 2002).
//! INVARIANT: outside a jump the lower sole is on the floor, and nobody jumps from one place to another.

use crate::steady::steady;
use crate::world::{DollPose, FPS, GRAVITY_M_S2, sole_m};

/// Who gets farther than this share of the view is walking.
const WALKED: f32 = 0.16;
/// Frames that may lie outside of where somebody goes.
const OFF: usize = 4;
/// A hip that rises by this share of the height is in a jump.
const JUMP: f32 = 0.06;
/// A landing that is heard within so many frames of one that is seen is the same.
const TOGETHER: f32 = 3.0;
/// Frames between two jumps at least: to land, to settle and to swing down.
const BETWEEN: f32 = 8.0;

/// A hip's free flight, in frames.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Jump {
    start: f32,
    landing: f32,
}

impl Jump {
    /// The one that rises to `height_m` at `top`.
    fn to(height_m: f32, top: f32) -> Self {
        let half = (2.0 * height_m / GRAVITY_M_S2).sqrt() * FPS as f32;
        Self { start: top - half, landing: top + half }
    }

    /// How high the hip is above where it stands.
    fn rise_m(self, frame: f32) -> f32 {
        let (since, left) = ((frame - self.start).max(0.0), (self.landing - frame).max(0.0));
        0.5 * GRAVITY_M_S2 * since * left / (FPS * FPS) as f32
    }
}

/// The poses of a person of `height_m`, one a frame, in a picture `view_m` wide, as feet carry them. `heard` is
/// when something strikes, in frames.
pub(crate) fn on_feet(poses: &[DollPose], height_m: f32, view_m: f32, heard: &[f32]) -> Vec<DollPose> {
    let mut poses = poses.to_vec();
    settle(&mut poses);
    let jumps = jumps(&poses, height_m, heard);
    if !walks(&poses, view_m) {
        let x_m = median(poses.iter().map(|pose| pose.x_m));
        let standing: Vec<DollPose> = (0..poses.len())
            .filter(|&frame| jumps.iter().all(|jump| jump.rise_m(frame as f32) == 0.0))
            .map(|frame| poses[frame])
            .collect();
        let legs = [0, 1].map(|side| median(standing.iter().map(|pose| pose.legs_rad[side])));
        for (frame, pose) in poses.iter_mut().enumerate() {
            pose.x_m = x_m;
            // Legs spread in the air alone.
            let highest = jumps.iter().map(|jump| jump.rise_m(frame as f32)).fold(0.0, f32::max);
            let free = (highest / (0.5 * JUMP * height_m)).min(1.0);
            for (leg, standing) in pose.legs_rad.iter_mut().zip(legs) {
                *leg = standing + free * (*leg - standing);
            }
        }
    }
    for (frame, pose) in poses.iter_mut().enumerate() {
        let jump = jumps.iter().find(|jump| jump.rise_m(frame as f32) > 0.0);
        // In the air the hip rises from where it stood, whatever the legs do meanwhile.
        let legs = jump.map_or(pose.legs_rad, |_| [STANCE_RAD; 2]);
        let grounded = DollPose { legs_rad: legs, ..*pose };
        pose.y_m -= lowest_m(&grounded, height_m);
        pose.y_m += jump.map_or(0.0, |jump| jump.rise_m(frame as f32));
    }
    poses
}

/// Angle of the legs of who stands.
const STANCE_RAD: f32 = 0.16;

fn lowest_m(pose: &DollPose, height_m: f32) -> f32 {
    (0..2).map(|side| sole_m(pose, side, height_m).1).fold(f32::INFINITY, f32::min)
}

/// All numbers of the poses without trembling; mouths stay as they are. Arms may wave, the rest is slow.
fn settle(poses: &mut [DollPose]) {
    type Number = fn(&mut DollPose) -> &mut f32;
    let numbers: [(usize, Number); 8] = [
        (3, |pose| &mut pose.x_m),
        (3, |pose| &mut pose.y_m),
        (3, |pose| &mut pose.lean_rad),
        (3, |pose| &mut pose.nod_rad),
        (3, |pose| &mut pose.legs_rad[0]),
        (3, |pose| &mut pose.legs_rad[1]),
        (2, |pose| &mut pose.arms_rad[0]),
        (2, |pose| &mut pose.arms_rad[1]),
    ];
    for (turns, number) in numbers {
        let mut track: Vec<f32> = poses.iter_mut().map(|pose| *number(pose)).collect();
        for _ in 0..turns {
            track = steady(&track);
        }
        for (pose, value) in poses.iter_mut().zip(track) {
            *number(pose) = value;
        }
    }
}

fn walks(poses: &[DollPose], view_m: f32) -> bool {
    let mut places_m: Vec<f32> = poses.iter().map(|pose| pose.x_m).collect();
    places_m.sort_by(f32::total_cmp);
    // A few frames at either side may be off.
    let aside = OFF.min(places_m.len() / 2);
    let range_m = places_m.get(aside).zip(places_m.iter().rev().nth(aside));
    range_m.is_some_and(|(left, right)| right - left > WALKED * view_m)
}

/// The jumps, highest first found, each the free flight that is most like how the hip moves.
fn jumps(poses: &[DollPose], height_m: f32, heard: &[f32]) -> Vec<Jump> {
    let level_m = standing_m(poses, height_m);
    let mut rises_m: Vec<f32> = poses.iter().map(|pose| pose.y_m - level_m).collect();
    let mut jumps: Vec<Jump> = Vec::new();
    while let Some(top) = (0..rises_m.len()).max_by(|&a, &b| rises_m[a].total_cmp(&rises_m[b]))
        && rises_m[top] > JUMP * height_m
    {
        let mut jump = flight(&rises_m, top);
        let landing =
            heard.iter().min_by(|a, b| (*a - jump.landing).abs().total_cmp(&(*b - jump.landing).abs()));
        if let Some(&landing) = landing.filter(|landing| (*landing - jump.landing).abs() < TOGETHER) {
            let late = landing - jump.landing;
            jump = Jump { start: jump.start + late, landing };
        }
        let apart =
            |other: &Jump| jump.start > other.landing + BETWEEN || jump.landing < other.start - BETWEEN;
        if jumps.iter().all(apart) {
            jumps.push(jump);
        }
        // What belongs to this flight is told.
        for (frame, rise_m) in rises_m.iter_mut().enumerate() {
            let away = (jump.start - frame as f32).max(frame as f32 - jump.landing);
            if away < BETWEEN / 2.0 {
                *rise_m = 0.0;
            }
        }
        rises_m[top] = 0.0;
    }
    jumps
}

/// The hip's height of who stands. It is what most poses say, near to what legs say.
fn standing_m(poses: &[DollPose], height_m: f32) -> f32 {
    let grounded = |pose: &DollPose| pose.y_m - lowest_m(pose, height_m);
    let legs_m = median(poses.iter().map(grounded));
    let hip_m = median(poses.iter().map(|pose| pose.y_m));
    hip_m.max(legs_m - JUMP * height_m).min(legs_m + 0.5 * JUMP * height_m)
}

/// The free flight about a top that leaves least.
fn flight(rises_m: &[f32], top: usize) -> Jump {
    const GRAIN: f32 = 0.25;
    let highest_m = rises_m[top];
    let left = |jump: &Jump| -> f32 {
        let reach = 0.5 * (jump.landing - jump.start) + 3.0;
        let middle = f32::midpoint(jump.start, jump.landing);
        let near = rises_m.iter().enumerate().filter(|(frame, _)| (*frame as f32 - middle).abs() < reach);
        let (sum, count) = near.fold((0.0, 0.0), |(sum, count), (frame, rise_m)| {
            (sum + (rise_m.max(0.0) - jump.rise_m(frame as f32)).powi(2), count + 1.0)
        });
        sum / f32::max(count, 1.0)
    };
    let candidates = (-16..=16).flat_map(|late| {
        (12..=26)
            .map(move |share| Jump::to(highest_m * share as f32 / 20.0, top as f32 + GRAIN * late as f32))
    });
    candidates.min_by(|a, b| left(a).total_cmp(&left(b))).unwrap_or_else(|| Jump::to(highest_m, top as f32))
}

fn median(values: impl Iterator<Item = f32>) -> f32 {
    let mut values: Vec<f32> = values.collect();
    values.sort_by(f32::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::world::{Body, Event, Family, Scene, Track};

    struct Person {
        poses: Vec<DollPose>,
        height_m: f32,
        heard: Vec<f32>,
    }

    fn person(scene: &Scene) -> Person {
        let (Body::Person { height_m }, Track::Doll(poses)) = (scene.actors[0].body, &scene.actors[0].track)
        else {
            panic!("{scene:?}")
        };
        let heard = scene.contacts.iter().map(|contact| contact.time_s * FPS as f32).collect();
        Person { poses: poses.clone(), height_m, heard }
    }

    fn trembling(person: &Person, seed: u64) -> Vec<DollPose> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let reach = 0.015 * person.height_m;
        let shaken = |pose: &DollPose| DollPose {
            x_m: pose.x_m + rng.random_range(-reach..reach),
            y_m: pose.y_m + rng.random_range(-reach..reach),
            ..*pose
        };
        person.poses.iter().map(shaken).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_worlds_own_people_stay(seed in any::<u64>()) {
            let scene = Family::Walk.sample(seed);
            let person = person(&scene);
            let read = on_feet(&person.poses, person.height_m, scene.shot.view_m(), &person.heard);
            for (frame, (read, own)) in read.iter().zip(&person.poses).enumerate() {
                let apart = (read.x_m - own.x_m).hypot(read.y_m - own.y_m) / person.height_m;
                prop_assert!(apart < 0.05, "{:?}, frame {frame}: {apart}", scene.event);
            }
        }

        #[test]
        fn who_trembles_stands_and_jumps_as_often(seed in any::<u64>()) {
            let scene = Family::Walk.sample(seed);
            let person = person(&scene);
            let drawn = trembling(&person, seed);
            let read = on_feet(&drawn, person.height_m, scene.shot.view_m(), &person.heard);
            let soles: Vec<f32> = read.iter().map(|pose| lowest_m(pose, person.height_m)).collect();
            let in_air = |soles: &[f32]| soles.iter().map(|sole| *sole > 0.04 * person.height_m).collect::<Vec<_>>();
            let jumps = in_air(&soles).chunk_by(|a, b| a == b).filter(|run| run[0]).count();
            let expected = if let Event::Jumps(count) = scene.event { count as usize } else { 0 };
            prop_assert_eq!(jumps, expected);
            prop_assert!(soles.iter().all(|sole| *sole > -1e-3), "{:?}", soles);
            if expected == 0 {
                prop_assert!(soles.iter().all(|sole| *sole < 1e-3), "{:?}", soles);
            }
        }

        #[test]
        fn any_poses_are_read(
            places in prop::collection::vec([-20.0..20.0_f32, -20.0..20.0_f32, -9.0..9.0_f32], 1..100),
        ) {
            let poses: Vec<DollPose> = places
                .iter()
                .map(|&[x_m, y_m, leg]| DollPose { x_m, y_m, legs_rad: [leg, -leg], ..DollPose::default() })
                .collect();
            let read = on_feet(&poses, 2.0, 8.0, &[3.0]);
            prop_assert_eq!(read.len(), poses.len());
            prop_assert!(read.iter().all(|pose| pose.x_m.is_finite() && pose.y_m.is_finite()));
        }
    }
}
