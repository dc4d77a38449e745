//! Performances as rows of latents, and rows as performances.

use std::f32::consts::PI;

use super::heard::{impact_at, impacts, voice_frames};
use super::look::{appearance_of, look_numbers, skin_of, voice_numbers, voice_of};
use super::{Figure, Performance, Utterance, kind};
use crate::model::latents::{
    ACTOR, ACTOR_TRACKS, BODY_TRACK, FAINT, FRAME_TRACKS, INSTANTS_PER_FRAME, Layout, MOTION, STAGE, VOICE,
    VOICE_FRAME,
};
use crate::size::ModelConfig;
use crate::steady;
use crate::world::{
    BLOCKS, Backdrop, Body, DollPose, FRAMES, Fixture, FloorTexture, Hoop, Light, Look, Pose, Ramp, Shot,
    Stage, Track, WallTexture,
};

/// Weights of the numbers of a track in the training: places weigh most, they are what a clip is judged by.
const ROLL_WEIGHT: f32 = 0.15;
const LEAN_WEIGHT: f32 = 0.6;

/// A row of latents, with the weight that training gives each number.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) values: Vec<f32>,
    pub(crate) weights: Vec<f32>,
}

impl Row {
    fn new(layout: Layout) -> Self {
        Self { values: Vec::with_capacity(layout.total()), weights: Vec::with_capacity(layout.total()) }
    }

    fn put(&mut self, value: f32, weight: f32) {
        self.values.push(value);
        self.weights.push(weight);
    }

    fn put_all(&mut self, values: impl IntoIterator<Item = f32>, weight: f32) {
        for value in values {
            self.put(value, weight);
        }
    }

    /// As many numbers that mean nothing.
    fn skip(&mut self, count: usize) {
        self.put_all(std::iter::repeat_n(0.0, count), FAINT);
    }
}

/// Metres to the picture's own measure: its middle is zero, its edges lie one away.
#[derive(Clone, Copy)]
struct View(Shot);

impl View {
    fn x(self, metres: f32) -> f32 {
        2.0 * metres / self.0.view_m() - 1.0
    }
    fn y(self, metres: f32) -> f32 {
        2.0 * metres / self.0.view_m() - 0.8
    }
    fn length(self, metres: f32) -> f32 {
        metres / self.0.view_m()
    }
    fn x_m(self, place: f32) -> f32 {
        // Twice the view beside it is as far as anything can leave it.
        0.5 * (place.clamp(-3.0, 3.0) + 1.0) * self.0.view_m()
    }
    fn y_m(self, place: f32) -> f32 {
        0.5 * (place.clamp(-3.0, 3.0) + 0.8) * self.0.view_m()
    }
    fn length_m(self, length: f32, least: f32, most: f32) -> f32 {
        length.clamp(least, most) * self.0.view_m()
    }
}

/// Numbers of a stage that the lab has none of.
const LIGHT_AND_COLOURS: usize = 3 + 5 + 3 + 3;
const BACKDROPS: [Backdrop; 5] =
    [Backdrop::Sky, Backdrop::Sand, Backdrop::Mint, Backdrop::Lavender, Backdrop::Stone];
const WALLS: [WallTexture; 3] = [WallTexture::Plain, WallTexture::Stripes, WallTexture::Bricks];
const FLOORS: [FloorTexture; 3] = [FloorTexture::Plain, FloorTexture::Planks, FloorTexture::Tiles];
const SHOTS: [Shot; 4] = [Shot::Close, Shot::Medium, Shot::Wide, Shot::Lab];

pub(super) fn flag(on: bool) -> f32 {
    if on { 1.0 } else { -1.0 }
}

impl Performance {
    /// A row of latents, not normalised.
    pub(crate) fn to_row(&self, config: &ModelConfig) -> Row {
        let mut row = Row::new(config.layout());
        let view = View(self.shot);
        for frame in 0..FRAMES {
            for (figure, width) in self.actors.iter().zip(ACTOR_TRACKS) {
                let end = row.values.len() + width;
                if let Some(figure) = figure {
                    if config.motion {
                        put_motion(&mut row, figure, frame, view);
                    } else {
                        row.skip(MOTION);
                    }
                    put_track(&mut row, figure, frame, view);
                }
                row.skip(end - row.values.len());
            }
        }
        row.weights[self.frames.min(FRAMES) * FRAME_TRACKS..].fill(FAINT);
        for figure in &self.actors {
            put_facts(&mut row, figure.as_ref(), view);
        }
        self.put_stage(&mut row, view);
        self.put_sound(&mut row, config);
        match &self.utterance {
            Some(utterance) => {
                row.put(1.0, 1.0);
                row.put(flag(utterance.speaker > 0), 1.0);
                row.put_all(voice_numbers(&utterance.voice), 1.0);
            }
            None => {
                row.put(-1.0, 1.0);
                row.skip(VOICE - 1);
            }
        }
        row
    }

    fn put_stage(&self, row: &mut Row, view: View) {
        row.put_all(SHOTS.map(|shot| flag(shot == self.shot)), 1.0);
        let Stage { backdrop, wall, floor, light, fixture } = self.stage;
        let (hoop, ramp) = match fixture {
            Some(Fixture::Hoop(hoop)) => (Some(hoop), None),
            Some(Fixture::Ramp(ramp)) => (None, Some(ramp)),
            None => (None, None),
        };
        row.put(flag(hoop.is_some()), 1.0);
        row.put(flag(ramp.is_some()), 1.0);
        match hoop {
            Some(hoop) => {
                row.put_all([view.x(hoop.board_x_m), view.y(hoop.height_m), flag(hoop.mirrored)], 1.0);
            }
            None => row.skip(3),
        }
        match ramp {
            Some(ramp) => row.put_all(
                [
                    view.x(ramp.foot_x_m),
                    view.length(ramp.length_m),
                    view.length(ramp.height_m),
                    flag(ramp.mirrored),
                ],
                1.0,
            ),
            None => row.skip(4),
        }
        if self.shot == Shot::Lab {
            row.skip(LIGHT_AND_COLOURS);
            return;
        }
        row.put_all([light.from_x, light.warmth, light.brightness], 1.0);
        row.put_all(BACKDROPS.map(|other| flag(other == backdrop)), 1.0);
        row.put_all(WALLS.map(|other| flag(other == wall)), 1.0);
        row.put_all(FLOORS.map(|other| flag(other == floor)), 1.0);
    }

    fn put_sound(&self, row: &mut Row, config: &ModelConfig) {
        let heard = self.distinct_impacts();
        for instant in 0..FRAMES * INSTANTS_PER_FRAME {
            row.put_all(impact_at(instant, &heard, config.sound_code), 1.0);
            let frame = self.utterance.as_ref().and_then(|utterance| utterance.frames.get(instant));
            let frame = frame.copied().unwrap_or_default();
            let speaks = frame.voiced > 1e-3 || frame.noise > 1e-3;
            row.put(frame.voiced, 1.0);
            row.put(frame.noise, 1.0);
            if speaks {
                row.put_all(
                    [
                        frame.pitch.max(0.1).log2(),
                        frame.formants_hz[0] / 1000.0,
                        frame.formants_hz[1] / 1000.0,
                        frame.noise_hz / 1000.0,
                    ],
                    0.6,
                );
            } else {
                row.skip(VOICE_FRAME - 2);
            }
        }
    }

    /// The performance that a row of latents, not normalised, describes.
    pub(crate) fn from_row(row: &[f32], config: &ModelConfig) -> Self {
        let shapes = config.layout().shapes();
        let mut rest = row;
        let [tracks, actors, stage, sound, voice] = shapes.map(|[tokens, width]| {
            let (part, after) = rest.split_at(tokens * width);
            rest = after;
            part
        });
        let tracks = if config.motion { reconciled(tracks) } else { tracks.to_vec() };
        let shot = SHOTS[likeliest(&stage[..4])];
        let view = View(shot);
        let utterance = (voice[0] > 0.0).then(|| Utterance {
            speaker: usize::from(voice[1] > 0.0),
            voice: voice_of(&voice[2..]),
            frames: voice_frames(sound, config),
        });
        let mut first = 0;
        let figures = std::array::from_fn(|actor| {
            let facts = &actors[actor * shapes[1][1]..(actor + 1) * shapes[1][1]];
            let place = first..first + ACTOR_TRACKS[actor];
            first = place.end;
            let frames = || tracks.chunks_exact(FRAME_TRACKS).map(|frame| &frame[place.clone()]);
            figure(actor, facts, frames, view)
        });
        Self {
            shot,
            frames: FRAMES,
            stage: Stage {
                fixture: fixture(&stage[4..13], view),
                light: light(&stage[13..16]),
                backdrop: BACKDROPS[likeliest(&stage[16..21])],
                wall: WALLS[likeliest(&stage[21..24])],
                floor: FLOORS[likeliest(&stage[24..STAGE])],
            },
            actors: figures,
            impacts: impacts(sound, config),
            utterance: utterance.filter(|utterance| utterance.frames.iter().any(|frame| frame.voiced > 0.0)),
        }
    }
}

/// Where an actor's first body is, or where a person stands.
fn place_m(track: &Track, frame: usize) -> Option<(f32, f32)> {
    match track {
        Track::Bodies(frames) => frames.get(frame)?.first().map(|pose| (pose.x_m, pose.y_m)),
        Track::Doll(frames) => frames.get(frame).map(|pose| (pose.x_m, pose.y_m)),
    }
}

/// How far a figure has moved since the frame before: nothing that comes later, as what is known of a clip is
/// its beginning.
fn put_motion(row: &mut Row, figure: &Figure, frame: usize, view: View) {
    let before = frame.checked_sub(1).and_then(|before| place_m(&figure.track, before));
    match before.zip(place_m(&figure.track, frame)) {
        Some((before, now)) => {
            row.put_all([2.0 * view.length(now.0 - before.0), 2.0 * view.length(now.1 - before.1)], 1.0);
        }
        None => row.skip(MOTION),
    }
}

/// How much less finely a place is known than a movement, squared: as places and movements differ.
const PLACE_TRUST: f32 = 0.003;

/// Tracks whose places agree best with the movements that were drawn beside them.
fn reconciled(tracks: &[f32]) -> Vec<f32> {
    let mut agreed = tracks.to_vec();
    let mut first = 0;
    for width in ACTOR_TRACKS {
        for axis in first..first + MOTION {
            let along = |number: usize| -> Vec<f32> {
                tracks.iter().skip(number).step_by(FRAME_TRACKS).copied().collect()
            };
            let places = steady::agree(&along(axis + MOTION), &along(axis), PLACE_TRUST);
            for (number, place) in agreed.iter_mut().skip(axis + MOTION).step_by(FRAME_TRACKS).zip(places) {
                *number = place;
            }
        }
        first += width;
    }
    agreed
}

/// Puts one frame of a track.
fn put_track(row: &mut Row, figure: &Figure, frame: usize, view: View) {
    match &figure.track {
        Track::Bodies(frames) => {
            let turns = if kind(&figure.body) == 1 { LEAN_WEIGHT } else { ROLL_WEIGHT };
            for pose in frames.get(frame).into_iter().flatten() {
                row.put_all([view.x(pose.x_m), view.y(pose.y_m)], 1.0);
                // A bob hangs on its rod: its angle follows from its place.
                let weight = if kind(&figure.body) == 2 { FAINT } else { turns };
                row.put_all([pose.angle_rad.cos(), pose.angle_rad.sin()], weight);
            }
        }
        Track::Doll(frames) => {
            let pose = frames.get(frame).copied().unwrap_or_default();
            row.put_all([view.x(pose.x_m), view.y(pose.y_m)], 1.0);
            row.skip(2);
            let [far_arm, near_arm] = pose.arms_rad;
            let [far_leg, near_leg] = pose.legs_rad;
            row.put_all([pose.lean_rad, pose.nod_rad], LEAN_WEIGHT);
            row.put_all([far_arm, near_arm, far_leg, near_leg], LEAN_WEIGHT);
            row.put(pose.mouth, LEAN_WEIGHT);
        }
    }
}

fn put_facts(row: &mut Row, figure: Option<&Figure>, view: View) {
    let Some(figure) = figure else {
        row.put_all([-1.0; 4], 1.0);
        row.skip(ACTOR - 4);
        return;
    };
    let this = kind(&figure.body);
    row.put_all((0..4).map(|kind| flag(kind == this)), 1.0);
    match figure.body {
        Body::Blocks { count, .. } => row.put_all((0..BLOCKS).map(|block| flag(block < count)), 1.0),
        _ => row.skip(BLOCKS),
    }
    let mut sizes = [None; 4];
    let mut pivot = None;
    match figure.body {
        Body::Ball { radius_m } => sizes[0] = Some(radius_m),
        Body::Blocks { half_width_m, half_height_m, .. } => {
            (sizes[1], sizes[2]) = (Some(half_width_m), Some(half_height_m));
        }
        Body::Pendulum { pivot_m, radius_m } => (sizes[0], pivot) = (Some(radius_m), Some(pivot_m)),
        Body::Person { height_m } => sizes[3] = Some(height_m),
    }
    for size in sizes {
        match size {
            Some(metres) => row.put(view.length(metres), 1.0),
            None => row.skip(1),
        }
    }
    match pivot {
        Some((x_m, y_m)) => row.put_all([view.x(x_m), view.y(y_m)], 1.0),
        None => row.skip(2),
    }
    let (numbers, present) = look_numbers(&figure.look);
    for (number, present) in numbers.into_iter().zip(present) {
        row.put(number, if present { 1.0 } else { FAINT });
    }
}

pub(super) fn likeliest(flags: &[f32]) -> usize {
    (0..flags.len()).max_by(|&a, &b| flags[a].total_cmp(&flags[b])).unwrap_or(0)
}

fn figure<'a, I: Iterator<Item = &'a [f32]>>(
    actor: usize,
    facts: &[f32],
    frames: impl Fn() -> I,
    view: View,
) -> Option<Figure> {
    let likeliest = likeliest(&facts[..4]);
    // There is always a first actor: every caption has one. The third can only be a ball.
    if actor > 0 && facts[likeliest] < 0.0 {
        return None;
    }
    let kind = if ACTOR_TRACKS[actor] == MOTION + BODY_TRACK { 0 } else { likeliest };
    let (blocks, rest) = facts[4..].split_at(BLOCKS);
    let (sizes, rest) = rest.split_at(4);
    let (pivot, look) = rest.split_at(2);
    let radius_m = view.length_m(sizes[0], 0.015, 0.22);
    let body = match kind {
        0 => Body::Ball { radius_m },
        1 => Body::Blocks {
            half_width_m: view.length_m(sizes[1], 0.005, 0.12),
            half_height_m: view.length_m(sizes[2], 0.01, 0.2),
            count: blocks.iter().take_while(|&&block| block > 0.0).count().max(1),
        },
        2 => Body::Pendulum { pivot_m: (view.x_m(pivot[0]), view.y_m(pivot[1])), radius_m },
        _ => Body::Person { height_m: view.length_m(sizes[3], 0.1, 0.5) },
    };
    let pose = |numbers: &[f32]| Pose {
        x_m: view.x_m(numbers[0]),
        y_m: view.y_m(numbers[1]),
        angle_rad: numbers[3].atan2(numbers[2]),
    };
    let bodies = || frames().map(|frame| &frame[MOTION..]);
    let track = match body {
        Body::Ball { .. } => Track::Bodies(bodies().map(|frame| vec![pose(frame)]).collect()),
        Body::Blocks { count, .. } => Track::Bodies(
            bodies().map(|frame| frame.chunks_exact(BODY_TRACK).take(count).map(pose).collect()).collect(),
        ),
        Body::Pendulum { pivot_m, .. } => Track::Bodies(
            bodies()
                .map(|frame| {
                    let Pose { x_m, y_m, .. } = pose(frame);
                    vec![Pose { x_m, y_m, angle_rad: (x_m - pivot_m.0).atan2(pivot_m.1 - y_m) }]
                })
                .collect(),
        ),
        Body::Person { .. } => Track::Doll(bodies().map(|frame| doll(frame, view)).collect()),
    };
    let look = if kind == 3 { Look::Person(appearance_of(look)) } else { Look::Skin(skin_of(look)) };
    Some(Figure { body, look, track })
}

fn doll(frame: &[f32], view: View) -> DollPose {
    let angle = |number: f32| number.clamp(-2.0 * PI, 2.0 * PI);
    DollPose {
        x_m: view.x_m(frame[0]),
        y_m: view.y_m(frame[1]),
        lean_rad: angle(frame[4]),
        nod_rad: angle(frame[5]),
        arms_rad: [angle(frame[6]), angle(frame[7])],
        legs_rad: [angle(frame[8]), angle(frame[9])],
        mouth: frame[10].clamp(0.0, 1.0),
    }
}

fn fixture(facts: &[f32], view: View) -> Option<Fixture> {
    let likeliest = likeliest(&facts[..2]);
    if facts[likeliest] < 0.0 {
        return None;
    }
    Some(if likeliest == 0 {
        let [x, y, mirrored] = [facts[2], facts[3], facts[4]];
        Fixture::Hoop(Hoop {
            board_x_m: view.x_m(x.clamp(-1.0, 1.0)),
            height_m: view.y_m(y.clamp(-0.8, 1.2)),
            mirrored: mirrored > 0.0,
        })
    } else {
        let [foot, length, height, mirrored] = [facts[5], facts[6], facts[7], facts[8]];
        Fixture::Ramp(Ramp {
            foot_x_m: view.x_m(foot.clamp(-1.0, 1.0)),
            length_m: view.length_m(length, 0.05, 1.0),
            height_m: view.length_m(height, 0.02, 0.9),
            mirrored: mirrored > 0.0,
        })
    })
}

fn light(facts: &[f32]) -> Light {
    Light {
        from_x: facts[0].clamp(-1.0, 1.0),
        warmth: facts[1].clamp(0.0, 1.0),
        brightness: facts[2].clamp(0.6, 1.1),
    }
}
