//! Makes what the eye recognised fit the picture: rough sketches and a frame enter, the sketch that looks most
//! like the frame leaves.
//!
//! What comes in kinds (rooms, patterns, hair) is tried one after another, what comes in numbers is fitted.

use std::f32::consts::{PI, TAU};

use super::fit::{Fitter, MARGIN, Target};
use super::sketch::{Knob, Limb, Sketch, window};
use crate::world::draw::Window;
use crate::world::identity::HairStyle;
use crate::world::{ACTORS, BLOCKS, Backdrop, Body, FloorTexture, Look, Pattern, Pose, Rgb, WallTexture};

const BACKDROPS: [Backdrop; 5] =
    [Backdrop::Sky, Backdrop::Sand, Backdrop::Mint, Backdrop::Lavender, Backdrop::Stone];
const WALLS: [WallTexture; 3] = [WallTexture::Plain, WallTexture::Stripes, WallTexture::Bricks];
const FLOORS: [FloorTexture; 3] = [FloorTexture::Plain, FloorTexture::Planks, FloorTexture::Tiles];
const HAIR: [HairStyle; 4] = [HairStyle::Short, HairStyle::Long, HairStyle::Bun, HairStyle::None];
const LIGHT: [Knob; 3] = [Knob::LightFrom, Knob::Warmth, Knob::Brightness];
const FIXTURE: [Knob; 3] = [Knob::FixtureX, Knob::FixtureHeight, Knob::FixtureLength];
/// How far from where the eye sees it a body is looked for, and in which steps, in pixels.
const SEARCH_PX: f32 = 9.0;
const SEARCH_STEP_PX: f32 = 1.8;
/// The same for fixtures and pivots.
const SCAN_PX: f32 = 16.0;
const SCAN_STEP_PX: f32 = 1.6;
/// Places that are tried where the picture is not yet what is drawn.
const PEAKS: usize = 3;
/// Shares of the radius that are tried there.
const SIZES: [f32; 3] = [0.7, 1.0, 1.4];
/// Angles in which a block is looked for.
const LEANS_RAD: [f32; 6] = [0.0, 0.5, -0.5, 1.1, -1.1, PI / 2.0];
/// An actor or a block that explains less than this much of the cost is not there.
const WORTH: f32 = 1000.0;
/// One that was not recognised must explain as much as this, and this share of the cost.
const WORTH_ADDING: f32 = 4000.0;
const WORTH_SHARE: f32 = 0.3;
/// Turns in which a pattern is tried.
const TURNS: usize = 8;
/// Turns of a joint that are tried.
const SWINGS_RAD: [f32; 4] = [-0.8, -0.4, 0.4, 0.8];

/// Fits sketches to one frame.
pub(super) struct Start<'a> {
    pub(super) target: Target<'a>,
    pub(super) size: (usize, usize),
    pub(super) fitter: Fitter,
}

impl Start<'_> {
    /// The fitted sketch; `None` without a sketch to begin with.
    pub(super) fn fit(&mut self, guesses: Vec<Sketch>) -> Option<Sketch> {
        let whole = self.whole();
        // Each with the room that suits it best: a wrong shot is then seen by its skirting and its grain.
        let rooms = guesses.into_iter().map(|mut guess| {
            self.fit_kinds(&mut guess);
            guess
        });
        let rooms: Vec<Sketch> = rooms.collect();
        let mut sketch = self.cheapest(rooms, &whole)?;
        self.fit_room(&mut sketch);
        for _ in 0..2 {
            for actor in 0..sketch.actors.len() {
                self.place(&mut sketch, actor);
            }
        }
        self.fit_stage(&mut sketch);
        self.fit_looks(&mut sketch, true);
        self.leave_out(&mut sketch);
        self.put_in(&mut sketch);
        // Under the right light and without strangers the room is seen better than at first.
        self.fit_kinds(&mut sketch);
        self.fit_looks(&mut sketch, false);
        for _ in 0..2 {
            for actor in 0..sketch.actors.len() {
                self.fit_actor(&mut sketch, actor, 8);
            }
        }
        // Who was put in for what the others now explain.
        self.leave_out(&mut sketch);
        sketch.hang();
        sketch.arrange();
        Some(sketch)
    }

    fn fit_looks(&mut self, sketch: &mut Sketch, patterns: bool) {
        for actor in 0..sketch.actors.len() {
            self.fit_look(sketch, actor, patterns);
        }
        self.fit_stage(sketch);
    }

    /// Fits the numbers of what stands still.
    fn fit_stage(&mut self, sketch: &mut Sketch) {
        let whole = self.whole();
        self.fit_numbers(sketch, &LIGHT, &whole, 3);
        if sketch.stage.fixture.is_some() {
            self.fit_numbers(sketch, &FIXTURE, &whole, 5);
        }
    }

    fn total(&mut self, sketch: &Sketch) -> f32 {
        let easel = sketch.easel(self.size);
        self.fitter.cost(sketch, &easel, self.target, &self.whole())
    }

    /// Finds an actor in the picture.
    fn place(&mut self, sketch: &mut Sketch, actor: usize) {
        match sketch.body(actor) {
            Some(Body::Blocks { .. }) => self.fit_row(sketch, actor),
            Some(Body::Pendulum { .. }) => {
                // The beam reaches from edge to edge.
                let whole = self.whole();
                for knob in [Knob::PivotY(actor), Knob::PivotX(actor), Knob::PivotY(actor)] {
                    self.scan(sketch, knob, &whole);
                }
                self.look_for(sketch, Limb { actor, body: 0 });
            }
            _ => self.look_for(sketch, Limb { actor, body: 0 }),
        }
    }

    /// Sets a knob to the best of many values around its own.
    fn scan(&mut self, sketch: &mut Sketch, knob: Knob, within: &Window) {
        let easel = sketch.easel(self.size);
        let (reach, step_m) = ((SCAN_PX / SCAN_STEP_PX) as i32, SCAN_STEP_PX / easel.scale());
        let value = knob.value(sketch);
        let tries = (-reach..=reach).map(|at| {
            let mut other = sketch.clone();
            knob.set(&mut other, value + at as f32 * step_m);
            other
        });
        let tries: Vec<Sketch> = tries.collect();
        let best = if knob.is_of_stage() { self.cheapest(tries, within) } else { self.likest(tries, within) };
        if let Some(best) = best {
            *sketch = best;
        }
    }

    /// Places at which the picture is least what is drawn, for something of that size in pixels.
    fn peaks(&mut self, sketch: &Sketch, half: (f32, f32), count: usize) -> Vec<(f32, f32)> {
        let easel = sketch.easel(self.size);
        let (width, height) = self.size;
        let off = self.fitter.differences(sketch, &easel, self.target, &self.whole());
        let mut off: Vec<f32> =
            off.chunks_exact(3).map(|pixel| pixel.iter().map(|d| d.abs()).sum::<f32>().min(150.0)).collect();
        let (half_width, half_height) = (half.0.max(1.0) as usize, half.1.max(1.0) as usize);
        let mut found = Vec::new();
        for _ in 0..count {
            let sums = running_sums(&off, width);
            let sum = |x: usize, y: usize| {
                let (left, right) = (x.saturating_sub(half_width), (x + half_width + 1).min(width));
                let (top, bottom) = (y.saturating_sub(half_height), (y + half_height + 1).min(height));
                let at = |x: usize, y: usize| sums[y * (width + 1) + x];
                at(right, bottom) + at(left, top) - at(left, bottom) - at(right, top)
            };
            let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
            let Some((x, y)) = places.max_by(|&a, &b| sum(a.0, a.1).total_cmp(&sum(b.0, b.1))) else { break };
            found.push((x as f32 + 0.5, y as f32 + 0.5));
            for row in y.saturating_sub(half_height)..(y + half_height + 1).min(height) {
                let columns = x.saturating_sub(half_width)..(x + half_width + 1).min(width);
                off[row * width + columns.start..row * width + columns.end].fill(0.0);
            }
        }
        found
    }

    /// Puts blocks one after another where the picture is not yet what is drawn.
    fn fit_row(&mut self, sketch: &mut Sketch, actor: usize) {
        let Some(Body::Blocks { half_width_m, half_height_m, .. }) = sketch.body(actor) else { return };
        let (mut row, easel) = (sketch.clone(), sketch.easel(self.size));
        row.set_row(actor, Vec::new());
        let mut cost = self.total(&row);
        let half = (half_width_m * easel.scale(), half_height_m * easel.scale());
        for body in 0..BLOCKS {
            let limb = Limb { actor, body };
            let mut tries = Vec::new();
            for lying in [false, true] {
                let half = if lying { (half.1, half.0) } else { half };
                for (x, y) in self.peaks(&row, half, PEAKS) {
                    let (x_m, y_m) = easel.point(x, y);
                    for angle_rad in LEANS_RAD {
                        let mut other = row.clone();
                        other.add_block(actor, Pose { x_m, y_m, angle_rad });
                        tries.push(other);
                    }
                }
            }
            let whole = self.whole();
            let Some(mut next) = self.likest(tries, &whole) else { break };
            let mut knobs = next.moves(limb);
            if body == 0 {
                knobs.extend(next.colours(actor));
            }
            let within = Fitter::around(&next, &[limb], &easel);
            self.fitter.turn(&mut next, &knobs, &easel, self.target, &within, 6);
            self.fit_actor(&mut next, actor, 3);
            let found = self.total(&next);
            if found > cost - WORTH.max(0.02 * cost) {
                break;
            }
            (row, cost) = (next, found);
        }
        if cost < self.total(sketch) {
            *sketch = row;
            self.fit_actor(sketch, actor, 5);
        }
    }

    /// Leaves out who is not there: without whom the others, fitted again, look as well.
    fn leave_out(&mut self, sketch: &mut Sketch) {
        for actor in (0..sketch.actors.len()).rev() {
            if sketch.actors.len() < 2 {
                return;
            }
            let mut without = sketch.clone();
            without.remove(actor);
            for other in 0..without.actors.len() {
                self.fit_actor(&mut without, other, 5);
            }
            if self.total(&without) < self.total(sketch) + WORTH {
                *sketch = without;
            }
        }
    }

    /// Puts in who was not recognised, where the picture is not what is drawn.
    fn put_in(&mut self, sketch: &mut Sketch) {
        while sketch.actors.len() < ACTORS {
            let cost = self.total(sketch);
            let (easel, mut best) = (sketch.easel(self.size), None);
            for (body, look) in sketch.others() {
                let (wide_m, high_m) = reach_m(body);
                let half = (wide_m * easel.scale(), high_m * easel.scale());
                for (x, y) in self.peaks(sketch, half, 2) {
                    let mut other = sketch.clone();
                    let colour = self.colour(x, y);
                    let Some(actor) = other.add(body, look, easel.point(x, y), colour) else { continue };
                    self.fit_actor(&mut other, actor, 8);
                    let found = self.total(&other);
                    if best.as_ref().is_none_or(|(least, _)| found < *least) {
                        best = Some((found, other));
                    }
                }
            }
            match best {
                Some((found, other)) if found < (cost * (1.0 - WORTH_SHARE)).min(cost - WORTH_ADDING) => {
                    *sketch = other;
                }
                _ => return,
            }
        }
    }

    /// The colour of the frame at a place.
    fn colour(&self, x: f32, y: f32) -> Rgb {
        let at = (y as usize).min(self.size.1.saturating_sub(1)) * self.size.0 + x as usize;
        let pixel = self.target.pixels.get(at * 3..at * 3 + 3);
        pixel.and_then(|pixel| pixel.try_into().ok()).unwrap_or([128; 3])
    }

    fn whole(&self) -> Window {
        Window::whole(self.size.0, self.size.1)
    }

    /// The sketch that is most like the frame, of sketches with stages of their own.
    fn cheapest(&mut self, sketches: impl IntoIterator<Item = Sketch>, within: &Window) -> Option<Sketch> {
        let costs = sketches.into_iter().map(|sketch| {
            let easel = sketch.easel(self.size);
            (self.fitter.cost(&sketch, &easel, self.target, within), sketch)
        });
        costs.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, sketch)| sketch)
    }

    /// The same for sketches on one stage.
    fn likest(&mut self, sketches: Vec<Sketch>, within: &Window) -> Option<Sketch> {
        let easel = sketches.first()?.easel(self.size);
        self.fitter.best(sketches, &easel, self.target, within)
    }

    fn fit_numbers(&mut self, sketch: &mut Sketch, knobs: &[Knob], within: &Window, rounds: usize) {
        let easel = sketch.easel(self.size);
        self.fitter.turn(sketch, knobs, &easel, self.target, within, rounds);
    }

    fn fit_room(&mut self, sketch: &mut Sketch) {
        let whole = self.whole();
        if sketch.stage.fixture.is_some() {
            for knob in FIXTURE.into_iter().chain(FIXTURE) {
                self.scan(sketch, knob, &whole);
            }
        }
        // A light can make one backdrop look like another: each is seen under the light that suits it.
        let backdrops = BACKDROPS.map(|backdrop| {
            let mut other = sketch.clone();
            other.stage.backdrop = backdrop;
            self.fit_numbers(&mut other, &LIGHT, &whole, 3);
            other
        });
        self.keep(sketch, backdrops, &whole);
        for _ in 0..2 {
            self.fit_kinds(sketch);
            self.fit_stage(sketch);
        }
    }

    /// Tries every backdrop, wall and floor.
    fn fit_kinds(&mut self, sketch: &mut Sketch) {
        let whole = self.whole();
        let backdrops = BACKDROPS.map(|backdrop| {
            let mut other = sketch.clone();
            other.stage.backdrop = backdrop;
            other
        });
        self.keep(sketch, backdrops, &whole);
        let walls = WALLS.map(|wall| {
            let mut other = sketch.clone();
            other.stage.wall = wall;
            other
        });
        self.keep(sketch, walls, &whole);
        let floors = FLOORS.map(|floor| {
            let mut other = sketch.clone();
            other.stage.floor = floor;
            other
        });
        self.keep(sketch, floors, &whole);
    }

    fn keep(&mut self, sketch: &mut Sketch, others: impl IntoIterator<Item = Sketch>, within: &Window) {
        if let Some(best) = self.cheapest(others, within) {
            *sketch = best;
        }
    }

    /// Moves a limb to where it is seen: near where the eye sees it, or where the picture shows more than is
    /// drawn without it.
    fn look_for(&mut self, sketch: &mut Sketch, limb: Limb) {
        let easel = sketch.easel(self.size);
        let (reach, step_m) = ((SEARCH_PX / SEARCH_STEP_PX) as i32, SEARCH_STEP_PX / easel.scale());
        let mut tries = Vec::new();
        let (x, y) = (Knob::X(limb), Knob::Y(limb));
        let (x_m, y_m) = (x.value(sketch), y.value(sketch));
        for row in -reach..=reach {
            for column in -reach..=reach {
                let mut other = sketch.clone();
                x.set(&mut other, x_m + column as f32 * step_m);
                y.set(&mut other, y_m + row as f32 * step_m);
                tries.push(other);
            }
        }
        let mut without = sketch.clone();
        if !matches!(sketch.body(limb.actor), Some(Body::Pendulum { .. })) {
            without.remove(limb.actor);
        }
        let (wide_m, high_m) = sketch.body(limb.actor).map_or((0.4, 0.4), reach_m);
        for size in SIZES {
            let half = (size * wide_m * easel.scale(), size * high_m * easel.scale());
            for (peak_x, peak_y) in self.peaks(&without, half, PEAKS) {
                let (peak_x_m, peak_y_m) = easel.point(peak_x, peak_y);
                let mut other = sketch.clone();
                x.set(&mut other, peak_x_m);
                y.set(&mut other, peak_y_m - hip_m(sketch.body(limb.actor)));
                if matches!(sketch.body(limb.actor), Some(Body::Ball { .. })) {
                    let radius = Knob::Radius(limb.actor);
                    let radius_m = radius.value(&mut other);
                    radius.set(&mut other, size * radius_m);
                }
                tries.push(other);
            }
        }
        for other in &mut tries {
            other.hang();
        }
        let bounds: Vec<[f32; 4]> = tries.iter().filter_map(|other| other.bounds(limb, &easel)).collect();
        let within = window(&bounds, MARGIN, self.size);
        if let Some(best) = self.likest(tries, &within) {
            *sketch = best;
        }
        let knobs: Vec<Knob> = sketch.moves(limb).into_iter().chain(sketch.sizes(limb.actor)).collect();
        let within = Fitter::around(sketch, &[limb], &easel);
        self.fitter.turn(sketch, &knobs, &easel, self.target, &within, 6);
        self.fit_colours(sketch, limb.actor);
    }

    /// Tries patterns, hair and joints.
    fn fit_look(&mut self, sketch: &mut Sketch, actor: usize, patterns: bool) {
        self.fit_actor(sketch, actor, 5);
        if patterns {
            self.fit_pattern(sketch, actor);
        }
        if let Some(Look::Person(_)) = sketch.actors.get(actor).map(|actor| actor.look) {
            let styles = HAIR.map(|style| {
                let mut other = sketch.clone();
                if let Some(Look::Person(person)) = other.actors.get_mut(actor).map(|actor| &mut actor.look) {
                    person.hair_style = style;
                }
                self.fit_colours(&mut other, actor);
                other
            });
            self.keep_of(sketch, actor, styles.to_vec());
            for joint in [Knob::Arm(actor, 0), Knob::Arm(actor, 1), Knob::Leg(actor, 0), Knob::Leg(actor, 1)]
            {
                let angle = joint.value(sketch);
                let mut tries = vec![sketch.clone()];
                for swing_rad in SWINGS_RAD {
                    let mut other = sketch.clone();
                    joint.set(&mut other, angle + swing_rad);
                    self.fit_actor(&mut other, actor, 2);
                    tries.push(other);
                }
                self.keep_of(sketch, actor, tries);
            }
        }
    }

    /// Keeps the best of what differs in one actor.
    fn keep_of(&mut self, sketch: &mut Sketch, actor: usize, tries: Vec<Sketch>) {
        let easel = sketch.easel(self.size);
        let limbs = limbs(sketch, actor);
        let bounds: Vec<[f32; 4]> = tries
            .iter()
            .flat_map(|other| limbs.iter().filter_map(|&limb| other.bounds(limb, &easel)))
            .collect();
        let within = window(&bounds, MARGIN, self.size);
        if let Some(best) = self.likest(tries, &within) {
            *sketch = best;
        }
    }

    fn fit_colours(&mut self, sketch: &mut Sketch, actor: usize) {
        let easel = sketch.easel(self.size);
        let limbs = limbs(sketch, actor);
        let within = Fitter::around(sketch, &limbs, &easel);
        let knobs = sketch.colours(actor);
        self.fitter.turn(sketch, &knobs, &easel, self.target, &within, 3);
    }

    fn fit_pattern(&mut self, sketch: &mut Sketch, actor: usize) {
        let Some(skin) = sketch.skin(actor) else { return };
        let second = skin.accent.map_or(skin.base, |(_, second)| second);
        let upright = matches!(
            sketch.body(actor),
            Some(Body::Person { .. } | Body::Pendulum { .. } | Body::Blocks { .. })
        );
        let limb = Limb { actor, body: 0 };
        let angle = Knob::Turn(limb).value(sketch);
        let mut plain = sketch.clone();
        if let Some(skin) = plain.skin_mut(actor) {
            skin.accent = None;
        }
        self.fit_colours(&mut plain, actor);
        let mut tries = vec![plain];
        for pattern in Pattern::ALL {
            let turns = if upright { 1 } else { TURNS };
            for turn in 0..turns {
                let mut other = sketch.clone();
                if let Some(skin) = other.skin_mut(actor) {
                    skin.accent = Some((pattern, second));
                }
                if !upright {
                    Knob::Turn(limb).set(&mut other, wrapped(angle + TAU * turn as f32 / turns as f32));
                }
                self.fit_colours(&mut other, actor);
                tries.push(other);
            }
        }
        self.keep_of(sketch, actor, tries);
    }

    /// Fits all numbers of an actor.
    fn fit_actor(&mut self, sketch: &mut Sketch, actor: usize, rounds: usize) {
        let easel = sketch.easel(self.size);
        let limbs = limbs(sketch, actor);
        let within = Fitter::around(sketch, &limbs, &easel);
        let mut knobs: Vec<Knob> = limbs.iter().flat_map(|&limb| sketch.moves(limb)).collect();
        knobs.extend(sketch.sizes(actor));
        knobs.extend(sketch.colours(actor));
        self.fitter.turn(sketch, &knobs, &easel, self.target, &within, rounds);
    }
}

fn limbs(sketch: &Sketch, actor: usize) -> Vec<Limb> {
    sketch.limbs().into_iter().filter(|limb| limb.actor == actor).collect()
}

/// Half the width and height of what a body covers, in metres.
fn reach_m(body: Body) -> (f32, f32) {
    match body {
        Body::Ball { radius_m } | Body::Pendulum { radius_m, .. } => (radius_m, radius_m),
        Body::Blocks { half_width_m, half_height_m, .. } => (half_width_m, half_height_m),
        Body::Person { height_m } => (0.15 * height_m, 0.45 * height_m),
    }
}

/// How far the middle of what a body covers lies above its place.
fn hip_m(body: Option<Body>) -> f32 {
    match body {
        Some(Body::Person { height_m }) => 0.08 * height_m,
        _ => 0.0,
    }
}

/// Sums over everything above and to the left of each corner of a picture's pixels.
fn running_sums(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0.0; (width + 1) * (values.len() / width.max(1) + 1)];
    for (row, line) in values.chunks_exact(width.max(1)).enumerate() {
        let mut sum = 0.0;
        for (column, value) in line.iter().enumerate() {
            sum += value;
            sums[(row + 1) * (width + 1) + column + 1] = sums[row * (width + 1) + column + 1] + sum;
        }
    }
    sums
}

/// An angle between minus a half and a half turn.
fn wrapped(angle_rad: f32) -> f32 {
    (angle_rad + PI).rem_euclid(TAU) - PI
}
