//! Follows actors from frame to frame by drawing them: what they were a frame ago and a picture enter, what
//! they are now leaves.
//!
//! Each body is first put where it may have gone (on, or back off what it struck), then fitted. One that is
//! lost is looked for around. INVARIANT: a frame's poses depend on this and earlier frames alone; sizes and
//! looks stay what they were at first.

use super::fit::{Fitter, MARGIN, Target};
use super::sketch::{Knob, Limb, Sketch, window};
use crate::world::draw::{Easel, Window};
use crate::world::{Body, DollPose, FPS, GRAVITY_M_S2, Pose, Track};

/// Share of its speed that a joint is expected to keep from frame to frame.
const SWING: f32 = 0.85;
/// A body whose picture is off by this many levels more than usual is lost.
const LOST: f32 = 3.0;
/// How far around its last place a lost body is looked for, and in which steps, in pixels.
const SEARCH_PX: f32 = 14.0;
const SEARCH_STEP_PX: f32 = 3.5;
/// Turns of the joints that are tried where a person is lost.
const SWINGS_RAD: [f32; 4] = [-0.7, -0.3, 0.3, 0.7];

/// Somebody who watches.
#[derive(Debug)]
pub(super) struct Follower {
    now: Sketch,
    /// Everybody's track a frame ago.
    before: Option<Vec<Track>>,
    easel: Easel,
    fitter: Fitter,
    /// How far each limb's picture is usually off, in levels.
    usual: Vec<f32>,
}

impl Follower {
    /// Goes on from what is in a frame, for pictures of that size.
    pub(super) fn new(first: Sketch, size: (usize, usize)) -> Self {
        let (easel, limbs) = (first.easel(size), first.limbs().len());
        Self { now: first, before: None, easel, fitter: Fitter::default(), usual: vec![2.0; limbs] }
    }

    /// Everybody's pose in the next frame.
    pub(super) fn follow(&mut self, target: Target<'_>) -> Vec<Track> {
        let limbs = self.now.limbs();
        let last = self.now.clone();
        let paths: Vec<Path> = limbs.iter().filter_map(|&limb| self.path(limb)).collect();
        for path in &paths {
            path.put(&mut self.now, 0);
        }
        for path in &paths {
            self.choose(path, target);
        }
        // Bodies that touch hide a part of each other: the second time each is seen beside where the others are.
        for sweep in 0..2 {
            for path in &paths {
                let rounds = if sweep == 0 { 5 } else { 3 };
                self.settle(path.limb, target, rounds);
            }
        }
        for (place, path) in paths.iter().enumerate() {
            self.find(place, path, &last, target);
        }
        self.now.hang();
        self.roll(&last);
        self.before = Some(last.tracks());
        self.now.tracks()
    }

    /// Where a limb may be now.
    fn path(&self, limb: Limb) -> Option<Path> {
        let before = self.before.as_ref().and_then(|tracks| tracks.get(limb.actor));
        if let Some(now) = self.now.doll(limb.actor) {
            let before = match before {
                Some(Track::Doll(track)) => track.first().copied().unwrap_or(now),
                _ => now,
            };
            return Some(Path { limb, stops: Stops::Doll([swung(&now, &before), now]) });
        }
        let now = self.now.pose(limb)?;
        let before = match before {
            Some(Track::Bodies(track)) => track.first().and_then(|bodies| bodies.get(limb.body)).copied(),
            _ => None,
        };
        let before = before.unwrap_or(now);
        let (dx, dy) = (now.x_m - before.x_m, now.y_m - before.y_m);
        let turn = now.angle_rad - before.angle_rad;
        let fall = GRAVITY_M_S2 / (FPS * FPS) as f32;
        let moved =
            |dx: f32, dy: f32| Pose { x_m: now.x_m + dx, y_m: now.y_m + dy, angle_rad: now.angle_rad + turn };
        let stops = [
            moved(dx, dy),
            moved(dx, dy - fall),
            moved(dx, -0.6 * dy),
            moved(-0.6 * dx, dy),
            moved(-0.6 * dx, -0.6 * dy),
            moved(0.3 * dx, 0.3 * dy),
            now,
        ];
        Some(Path { limb, stops: Stops::Body(stops) })
    }

    fn choose(&mut self, path: &Path, target: Target<'_>) {
        let stops: Vec<Sketch> = (0..path.len())
            .map(|stop| {
                let mut sketch = self.now.clone();
                path.put(&mut sketch, stop);
                sketch
            })
            .collect();
        let within = self.around_all(&stops, path.limb);
        if let Some(best) = self.fitter.best(stops, &self.easel, target, &within) {
            self.now = best;
        }
    }

    fn settle(&mut self, limb: Limb, target: Target<'_>, rounds: usize) {
        let knobs = self.now.moves(limb);
        let within = Fitter::around(&self.now, &[limb], &self.easel);
        self.fitter.turn(&mut self.now, &knobs, &self.easel, target, &within, rounds);
    }

    /// Looks around for a limb that is not seen where it should be.
    fn find(&mut self, place: usize, path: &Path, last: &Sketch, target: Target<'_>) {
        let limb = path.limb;
        let off = |follower: &mut Self| {
            let within = Fitter::around(&follower.now, &[limb], &follower.easel);
            follower.fitter.mean_difference(&follower.now, &follower.easel, target, &within)
        };
        let found = off(self);
        let usual = self.usual.get(place).copied().unwrap_or(0.0);
        if found > 1.5 * usual + LOST {
            let settled = self.now.clone();
            let tries = self.tries(limb, last);
            let within = self.around_all(tries.iter().chain([&settled]), limb);
            let held = self.fitter.cost(&settled, &self.easel, target, &within);
            if let Some(best) = self.fitter.best(tries, &self.easel, target, &within) {
                self.now = best;
                self.settle(limb, target, 8);
                if self.fitter.cost(&self.now, &self.easel, target, &within) > held {
                    self.now = settled;
                }
            }
        }
        let now = off(self);
        if let Some(usual) = self.usual.get_mut(place) {
            *usual += 0.1 * (now.min(2.0 * *usual + 1.0) - *usual);
        }
    }

    /// Places and poses around the present and the last one.
    fn tries(&self, limb: Limb, last: &Sketch) -> Vec<Sketch> {
        let mut tries = Vec::new();
        let reach = (SEARCH_PX / SEARCH_STEP_PX) as i32;
        let step_m = SEARCH_STEP_PX / self.easel.scale();
        for from in [&self.now, last] {
            let mut base = self.now.clone();
            let (x, y) = (Knob::X(limb), Knob::Y(limb));
            let mut origin = from.clone();
            let (x_m, y_m) = (x.value(&mut origin), y.value(&mut origin));
            for row in -reach..=reach {
                for column in -reach..=reach {
                    x.set(&mut base, x_m + column as f32 * step_m);
                    y.set(&mut base, y_m + row as f32 * step_m);
                    tries.push(base.clone());
                }
            }
        }
        let joints = self.now.moves(limb);
        for joint in
            joints.into_iter().filter(|knob| matches!(knob, Knob::Arm(..) | Knob::Leg(..) | Knob::Turn(_)))
        {
            for swing_rad in SWINGS_RAD {
                let mut sketch = self.now.clone();
                let angle = joint.value(&mut sketch);
                joint.set(&mut sketch, angle + swing_rad);
                tries.push(sketch);
            }
        }
        tries
    }

    fn around_all<'a>(&self, sketches: impl IntoIterator<Item = &'a Sketch>, limb: Limb) -> Window {
        let bounds: Vec<[f32; 4]> =
            sketches.into_iter().filter_map(|sketch| sketch.bounds(limb, &self.easel)).collect();
        window(&bounds, MARGIN, self.easel.size())
    }

    /// A plain ball's turning cannot be seen: on the floor it rolls, in the air it keeps turning.
    fn roll(&mut self, last: &Sketch) {
        for limb in self.now.limbs() {
            let Some(Body::Ball { radius_m }) = self.now.body(limb.actor) else { continue };
            if self.now.skin(limb.actor).is_some_and(|skin| skin.accent.is_some()) {
                continue;
            }
            let before = match self.before.as_ref().and_then(|tracks| tracks.get(limb.actor)) {
                Some(Track::Bodies(track)) => track.first().and_then(|bodies| bodies.first()).copied(),
                _ => None,
            };
            let (Some(last), Some(now)) = (last.pose(limb), self.now.pose_mut(limb)) else { continue };
            let rests = now.y_m < 1.1 * radius_m && last.y_m < 1.1 * radius_m;
            let turn = if rests {
                (last.x_m - now.x_m) / radius_m.max(1e-3)
            } else {
                before.map_or(0.0, |before| last.angle_rad - before.angle_rad)
            };
            now.angle_rad = last.angle_rad + turn;
        }
    }
}

/// Where one limb may be now, the likeliest first.
struct Path {
    limb: Limb,
    stops: Stops,
}

enum Stops {
    Body([Pose; 7]),
    Doll([DollPose; 2]),
}

impl Path {
    fn len(&self) -> usize {
        match &self.stops {
            Stops::Body(stops) => stops.len(),
            Stops::Doll(stops) => stops.len(),
        }
    }

    fn put(&self, sketch: &mut Sketch, stop: usize) {
        match &self.stops {
            Stops::Body(stops) => {
                if let (Some(pose), Some(stop)) = (sketch.pose_mut(self.limb), stops.get(stop)) {
                    *pose = *stop;
                }
            }
            Stops::Doll(stops) => {
                if let (Some(pose), Some(stop)) = (sketch.doll_mut(self.limb.actor), stops.get(stop)) {
                    *pose = *stop;
                }
            }
        }
    }
}

/// A person who goes on moving as from one frame to the next.
fn swung(now: &DollPose, before: &DollPose) -> DollPose {
    let on = |now: f32, before: f32| now + SWING * (now - before);
    let both = |now: [f32; 2], before: [f32; 2]| [on(now[0], before[0]), on(now[1], before[1])];
    DollPose {
        x_m: 2.0 * now.x_m - before.x_m,
        y_m: 2.0 * now.y_m - before.y_m,
        lean_rad: on(now.lean_rad, before.lean_rad),
        nod_rad: on(now.nod_rad, before.nod_rad),
        arms_rad: both(now.arms_rad, before.arms_rad),
        legs_rad: both(now.legs_rad, before.legs_rad),
        mouth: now.mouth,
    }
}
