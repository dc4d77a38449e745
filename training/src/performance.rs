//! What happens in a clip, in the world's own units: between the latents, which are numbers, and pictures and
//! sound, which are drawn from it.
//!
//! A scene and its codes enter and become a row of latents; a row that the model drew becomes a
//! [`Performance`] again. INVARIANT: whatever a row holds, the performance can be drawn: sizes and counts are
//! bounded here.

use std::f32::consts::PI;

use crate::model::latents::{
    ACTOR, ACTOR_TRACKS, BODY_TRACK, FAINT, FRAME_TRACKS, IMPACT_FACTS, INSTANTS_PER_FRAME, INSTANTS_PER_S,
    LOOK, Layout, MOTION, SKIN, STAGE, VOICE, VOICE_FRAME,
};
use crate::phyworld::{self, Episode};
use crate::size::ModelConfig;
use crate::steady::{self, steady};
use crate::world::identity::HairStyle;
use crate::world::{
    ACTORS, Actor, Appearance, BLOCKS, Backdrop, Body, DollPose, Event, FPS, FRAMES, Family, Fixture,
    FloorTexture, Hoop, Light, Look, Name, Pattern, Pose, Ramp, Rgb, Scene, Shot, Skin, Stage, Track, Voice,
    VoiceFrame, WallTexture,
};

/// Width, in instants, of the bump that marks an onset: wide enough to be read between instants.
const BUMP: f32 = 1.0;
/// Impacts nearer than this, in instants, are heard as the louder of them.
const NEAREST: f32 = 2.0;
/// A bump lower than this is no impact.
const FAINTEST_BUMP: f32 = 0.42;
/// Impacts so near to the end of a window are read from the next one.
const JOINT_S: f32 = 0.1;
/// Loudness that the latents count from.
const MIDDLE_LOUDNESS: f32 = -2.5;
/// A voice fainter than this is silence.
const FAINTEST_VOICE: f32 = 0.06;
/// How far beside `PhyWorld`'s world a ball is followed: the largest one is out of view there.
const BEYOND_M: f64 = 4.0;
/// Weights of the numbers of a track in the training: places weigh most, they are what a clip is judged by.
const ROLL_WEIGHT: f32 = 0.15;
const LEAN_WEIGHT: f32 = 0.6;

/// Who or what acts: its body, how it looks and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) body: Body,
    pub(crate) look: Look,
    pub(crate) track: Track,
}

impl Figure {
    /// Where it is in the first frame, from the left.
    fn x_m(&self) -> f32 {
        match &self.track {
            Track::Bodies(track) => {
                track.first().and_then(|bodies| bodies.first()).map_or(0.0, |pose| pose.x_m)
            }
            Track::Doll(track) => track.first().map_or(0.0, |pose| pose.x_m),
        }
    }
}

/// One audible impact.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Impact {
    pub(crate) time_s: f32,
    /// Logarithm of the early root mean square.
    pub(crate) loudness: f32,
    pub(crate) timbre: Vec<f32>,
}

/// What somebody says, in whose voice.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Utterance {
    pub(crate) speaker: usize,
    pub(crate) voice: Voice,
    /// One an instant of the clip.
    pub(crate) frames: Vec<VoiceFrame>,
}

/// One clip: stage, actors and sounds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Performance {
    pub(crate) shot: Shot,
    pub(crate) stage: Stage,
    /// Frames whose tracks mean something, from the first on.
    pub(crate) frames: usize,
    pub(crate) actors: [Option<Figure>; ACTORS],
    /// In order of time.
    pub(crate) impacts: Vec<Impact>,
    pub(crate) utterance: Option<Utterance>,
}

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

fn flag(on: bool) -> f32 {
    if on { 1.0 } else { -1.0 }
}

/// Which of four kinds a body is.
fn kind(body: &Body) -> usize {
    match body {
        Body::Ball { .. } => 0,
        Body::Blocks { .. } => 1,
        Body::Pendulum { .. } => 2,
        Body::Person { .. } => 3,
    }
}

impl Performance {
    /// What happens in a `PhyWorld` video, at the clip's own rate.
    pub(crate) fn of_episode(episode: &Episode) -> Self {
        let last_s = (phyworld::FRAMES - 1) as f64 * phyworld::DT_S;
        let radii: Vec<f64> = episode.balls.iter().map(|ball| ball.radius).collect();
        Self::of_lab(&radii, last_s, |ball, time_s| episode.centre(ball, time_s))
    }

    /// Balls in the empty world of `PhyWorld`, of which `centre` tells where each is until `last_s`.
    pub(crate) fn of_lab(radii: &[f64], last_s: f64, centre: impl Fn(usize, f64) -> phyworld::Point) -> Self {
        let mut actors: [Option<Figure>; ACTORS] = Default::default();
        for (index, (figure, &radius)) in actors.iter_mut().zip(radii).enumerate() {
            let place = |frame: usize| {
                // Where a ball falls once it is out of view is nobody's business.
                let [x, y] = centre(index, (frame as f64 / f64::from(FPS)).min(last_s))
                    .map(|place| place.clamp(-BEYOND_M, phyworld::WORLD + BEYOND_M));
                vec![Pose { x_m: x as f32, y_m: y as f32, angle_rad: 0.0 }]
            };
            *figure = Some(Figure {
                body: Body::Ball { radius_m: radius as f32 },
                look: Look::Skin(Skin { base: phyworld::COLOURS[index], accent: None }),
                track: Track::Bodies((0..FRAMES).map(place).collect()),
            });
        }
        Self {
            shot: Shot::Lab,
            stage: Stage {
                backdrop: Backdrop::Stone,
                wall: WallTexture::Plain,
                floor: FloorTexture::Plain,
                light: Light { from_x: 0.0, warmth: 0.5, brightness: 1.0 },
                fixture: None,
            },
            frames: (last_s * f64::from(FPS)) as usize + 1,
            actors,
            impacts: Vec::new(),
            utterance: None,
        }
    }

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

    /// This and then `next`, whose first `overlap` frames are this one's last.
    pub(crate) fn followed_by(mut self, next: Self, overlap: usize) -> Self {
        for (figure, later) in self.actors.iter_mut().zip(next.actors) {
            let (Some(figure), Some(later)) = (figure, later) else { continue };
            match (&mut figure.track, later.track) {
                (Track::Bodies(track), Track::Bodies(later)) => track.extend(later.into_iter().skip(overlap)),
                (Track::Doll(track), Track::Doll(later)) => track.extend(later.into_iter().skip(overlap)),
                _ => {}
            }
        }
        let start_s = self.frames.saturating_sub(overlap) as f32 / FPS as f32;
        let joint_s = self.frames as f32 / FPS as f32;
        // What strikes at the joint is heard once: in the window that sees both of its sides.
        self.impacts.retain(|impact| impact.time_s < joint_s - JOINT_S);
        self.impacts.extend(
            next.impacts
                .into_iter()
                .map(|impact| Impact { time_s: impact.time_s + start_s, ..impact })
                .filter(|impact| impact.time_s >= joint_s - JOINT_S),
        );
        let instants = self.frames * INSTANTS_PER_FRAME;
        if let Some(later) = next.utterance {
            let utterance = self.utterance.get_or_insert_with(|| Utterance {
                speaker: later.speaker,
                voice: later.voice,
                frames: Vec::new(),
            });
            utterance.frames.resize(instants, VoiceFrame::default());
            utterance.frames.extend(later.frames.into_iter().skip(overlap * INSTANTS_PER_FRAME));
        }
        self.frames += next.frames.saturating_sub(overlap);
        self
    }

    /// The first `frames` frames.
    pub(crate) fn cut(mut self, frames: usize) -> Self {
        for figure in self.actors.iter_mut().flatten() {
            match &mut figure.track {
                Track::Bodies(track) => track.truncate(frames),
                Track::Doll(track) => track.truncate(frames),
            }
        }
        let end_s = frames as f32 / FPS as f32;
        self.impacts.retain(|impact| impact.time_s < end_s);
        if let Some(utterance) = &mut self.utterance {
            utterance.frames.truncate(frames * INSTANTS_PER_FRAME);
        }
        self.frames = self.frames.min(frames);
        self
    }

    /// `frames` frames from `first` on, as a clip of their own.
    pub(crate) fn span(&self, first: usize, frames: usize) -> Self {
        let mut span = self.clone();
        let start_s = first as f32 / FPS as f32;
        for figure in span.actors.iter_mut().flatten() {
            match &mut figure.track {
                Track::Bodies(track) => drop(track.drain(..first.min(track.len()))),
                Track::Doll(track) => drop(track.drain(..first.min(track.len()))),
            }
        }
        span.impacts.retain(|impact| impact.time_s >= start_s);
        for impact in &mut span.impacts {
            impact.time_s -= start_s;
        }
        if let Some(utterance) = &mut span.utterance {
            utterance.frames.drain(..(first * INSTANTS_PER_FRAME).min(utterance.frames.len()));
        }
        span.frames = span.frames.saturating_sub(first);
        span.cut(frames)
    }

    /// One frame of it, silent. Two actors of a kind are put in the order in which they stand, left first: a
    /// picture says no more about who of the two is which. `None` past the end.
    pub(crate) fn moment(&self, frame: usize) -> Option<Self> {
        let now = |figure: &Figure| {
            let track = match &figure.track {
                Track::Bodies(track) => Track::Bodies(vec![track.get(frame)?.clone()]),
                Track::Doll(track) => Track::Doll(vec![*track.get(frame)?]),
            };
            Some(Figure { track, ..*figure })
        };
        let mut actors: [Option<Figure>; ACTORS] = Default::default();
        for (actor, figure) in actors.iter_mut().zip(&self.actors) {
            *actor = match figure {
                Some(figure) => Some(now(figure)?),
                None => None,
            };
        }
        if let [Some(first), Some(second), _] = &actors
            && kind(&first.body) == kind(&second.body)
            && first.x_m() > second.x_m()
        {
            actors.swap(0, 1);
        }
        Some(Self { frames: 1, actors, impacts: Vec::new(), utterance: None, ..*self })
    }

    /// The scene to draw: who is where on which stage. It holds no contacts.
    pub(crate) fn scene(&self) -> Scene {
        let actors = self.actors.iter().flatten().map(|figure| Actor {
            body: figure.body,
            look: figure.look,
            name: Name::Cameo,
            track: figure.track.clone(),
            restitution: 0.0,
        });
        Scene {
            family: Family::Bounce,
            seed: 0,
            shot: self.shot,
            stage: self.stage,
            actors: actors.collect(),
            contacts: Vec::new(),
            speech: None,
            event: Event::Bounces(0),
        }
    }

    /// The same with tracks that do not tremble.
    pub(crate) fn steadied(mut self) -> Self {
        for figure in self.actors.iter_mut().flatten() {
            match &mut figure.track {
                Track::Bodies(frames) => {
                    let bodies = frames.first().map_or(0, Vec::len);
                    for body in 0..bodies {
                        smooth(frames, |frame| &mut frame[body].x_m);
                        smooth(frames, |frame| &mut frame[body].y_m);
                    }
                }
                Track::Doll(frames) => {
                    smooth(frames, |pose| &mut pose.x_m);
                    smooth(frames, |pose| &mut pose.y_m);
                }
            }
        }
        self
    }

    /// The impacts without those that a louder one hides.
    pub(crate) fn distinct_impacts(&self) -> Vec<&Impact> {
        let mut heard: Vec<&Impact> = Vec::new();
        // What strikes as the clip ends has no bump to be read from.
        let last_s = (FRAMES * INSTANTS_PER_FRAME - 2) as f32 / INSTANTS_PER_S;
        for impact in self.impacts.iter().filter(|impact| impact.time_s < last_s) {
            match heard.last_mut() {
                Some(last) if (impact.time_s - last.time_s) * INSTANTS_PER_S < NEAREST => {
                    if impact.loudness > last.loudness {
                        *last = impact;
                    }
                }
                _ => heard.push(impact),
            }
        }
        heard
    }
}

fn smooth<F>(frames: &mut [F], mut number: impl FnMut(&mut F) -> &mut f32) {
    let track: Vec<f32> = frames.iter_mut().map(|frame| *number(frame)).collect();
    for (frame, value) in frames.iter_mut().zip(steady(&track)) {
        *number(frame) = value;
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

fn likeliest(flags: &[f32]) -> usize {
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

const STYLES: [HairStyle; 4] = [HairStyle::Short, HairStyle::Long, HairStyle::Bun, HairStyle::None];

/// A look as numbers in [-1, 1], and which of them mean something: a skin, or a person's shirt, comes first.
pub(crate) fn look_numbers(look: &Look) -> ([f32; LOOK], [bool; LOOK]) {
    let (mut numbers, mut present) = ([0.0; LOOK], [false; LOOK]);
    let skin = match look {
        Look::Skin(skin) => skin,
        Look::Person(person) => {
            let rest = &mut numbers[SKIN..];
            put_colour(&mut rest[..3], person.complexion);
            put_colour(&mut rest[3..6], person.hair);
            put_colour(&mut rest[6..9], person.trousers);
            for (number, style) in rest[9..].iter_mut().zip(STYLES) {
                *number = flag(style == person.hair_style);
            }
            present[SKIN..].fill(true);
            &person.shirt
        }
    };
    put_colour(&mut numbers[..3], skin.base);
    let pattern = skin.accent.map(|(pattern, _)| pattern);
    for (number, other) in numbers[6..SKIN].iter_mut().zip(Pattern::ALL) {
        *number = flag(pattern == Some(other));
    }
    present[..3].fill(true);
    present[6..SKIN].fill(true);
    if let Some((_, second)) = skin.accent {
        put_colour(&mut numbers[3..6], second);
        present[3..6].fill(true);
    }
    (numbers, present)
}

fn put_colour(numbers: &mut [f32], colour: Rgb) {
    for (number, channel) in numbers.iter_mut().zip(colour) {
        *number = f32::from(channel) / 127.5 - 1.0;
    }
}

fn colour_of(numbers: &[f32]) -> Rgb {
    std::array::from_fn(|channel| ((numbers[channel] + 1.0) * 127.5).clamp(0.0, 255.0).round() as u8)
}

fn skin_of(numbers: &[f32]) -> Skin {
    let patterns = &numbers[6..SKIN];
    let likeliest = likeliest(patterns);
    let accent = (patterns[likeliest] > 0.0).then(|| (Pattern::ALL[likeliest], colour_of(&numbers[3..6])));
    Skin { base: colour_of(numbers), accent }
}

fn appearance_of(numbers: &[f32]) -> Appearance {
    let rest = &numbers[SKIN..];
    Appearance {
        shirt: skin_of(numbers),
        complexion: colour_of(rest),
        hair: colour_of(&rest[3..]),
        trousers: colour_of(&rest[6..]),
        hair_style: STYLES[likeliest(&rest[9..])],
    }
}

fn light(facts: &[f32]) -> Light {
    Light {
        from_x: facts[0].clamp(-1.0, 1.0),
        warmth: facts[1].clamp(0.0, 1.0),
        brightness: facts[2].clamp(0.6, 1.1),
    }
}

/// A voice as numbers of about the same range.
pub(crate) fn voice_numbers(voice: &Voice) -> [f32; 4] {
    [
        (voice.pitch_hz / 150.0).log2(),
        4.0 * voice.tract.log2(),
        4.0 * voice.breath - 1.0,
        (voice.tilt_db + 9.0) / 4.0,
    ]
}

/// The inverse of [`voice_numbers`], within what can be heard.
pub(crate) fn voice_of(numbers: &[f32]) -> Voice {
    Voice {
        pitch_hz: (150.0 * numbers[0].exp2()).clamp(60.0, 400.0),
        tract: (numbers[1] / 4.0).exp2().clamp(0.75, 1.35),
        breath: ((numbers[2] + 1.0) / 4.0).clamp(0.0, 0.7),
        tilt_db: (4.0 * numbers[3] - 9.0).clamp(-18.0, -2.0),
    }
}

/// The bump, and what is said under it, of the impact nearest to an instant.
fn impact_at(instant: usize, impacts: &[&Impact], code: usize) -> Vec<f32> {
    let away = |impact: &Impact| (instant as f32 - impact.time_s * INSTANTS_PER_S).abs();
    let nearest = impacts.iter().min_by(|a, b| away(a).total_cmp(&away(b)));
    let mut numbers = vec![0.0; IMPACT_FACTS + code];
    if let Some(impact) = nearest {
        let bump = (-0.5 * (away(impact) / BUMP).powi(2)).exp();
        numbers[0] = bump;
        numbers[1] = bump * (impact.loudness - MIDDLE_LOUDNESS);
        for (number, timbre) in numbers[IMPACT_FACTS..].iter_mut().zip(&impact.timbre) {
            *number = bump * timbre;
        }
    }
    numbers
}

/// Reads impacts back: the bumps' peaks, placed between instants by their shoulders.
fn impacts(sound: &[f32], config: &ModelConfig) -> Vec<Impact> {
    let width = IMPACT_FACTS + config.sound_code;
    let instants: Vec<&[f32]> =
        sound.chunks_exact(config.layout().instant).map(|instant| &instant[..width]).collect();
    let bump = |instant: usize| instants.get(instant).map_or(0.0, |numbers| numbers[0]);
    let mut found: Vec<Impact> = Vec::new();
    for (instant, numbers) in instants.iter().enumerate() {
        let (before, here, after) = (instant.checked_sub(1).map_or(0.0, bump), numbers[0], bump(instant + 1));
        if here < FAINTEST_BUMP || here < before || here <= after {
            continue;
        }
        let time_s = ((instant as f32 + between(before, here, after)) / INSTANTS_PER_S).max(0.0);
        let too_near = |last: &Impact| (time_s - last.time_s) * INSTANTS_PER_S < NEAREST;
        if found.last().is_some_and(too_near) {
            continue;
        }
        // Shoulders say the same under a lower bump: all three together say it best.
        let around = &instants[instant.saturating_sub(1)..(instant + 2).min(instants.len())];
        let weight: f32 = around.iter().map(|numbers| numbers[0].max(0.0)).sum();
        let mean = |place: usize| around.iter().map(|numbers| numbers[place]).sum::<f32>() / weight;
        found.push(Impact {
            time_s,
            loudness: (mean(1) + MIDDLE_LOUDNESS).clamp(-8.0, 0.0),
            timbre: (IMPACT_FACTS..width).map(|place| mean(place).clamp(-2.0, 2.0)).collect(),
        });
    }
    found
}

/// Where, in instants from the middle one, a bump through three values peaks.
fn between(before: f32, here: f32, after: f32) -> f32 {
    let [before, here, after] = [before, here, after].map(|value| value.max(0.02).ln());
    let curvature = before - 2.0 * here + after;
    if curvature > -1e-3 { 0.0 } else { (0.5 * (before - after) / curvature).clamp(-0.6, 0.6) }
}

fn voice_frames(sound: &[f32], config: &ModelConfig) -> Vec<VoiceFrame> {
    let skipped = IMPACT_FACTS + config.sound_code;
    let loud = |amplitude: f32| if amplitude < FAINTEST_VOICE { 0.0 } else { amplitude.min(1.0) };
    sound
        .chunks_exact(config.layout().instant)
        .map(|instant| {
            let numbers = &instant[skipped..];
            VoiceFrame {
                voiced: loud(numbers[0]),
                noise: loud(numbers[1]),
                pitch: numbers[2].clamp(-1.0, 1.0).exp2(),
                formants_hz: [
                    (1000.0 * numbers[3]).clamp(200.0, 1100.0),
                    (1000.0 * numbers[4]).clamp(500.0, 3000.0),
                ],
                noise_hz: (1000.0 * numbers[5]).clamp(300.0, 5500.0),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::latents::Measure;
    use crate::phyworld::{Domain, Task};
    use crate::size::ModelSize;
    use crate::train::latents::{phyworld_caption, tell_family};
    use crate::words::{UNKNOWN, Vocabulary};

    /// What a scene is without its autoencoders: impacts with made-up timbres.
    fn performance(scene: &Scene, config: &ModelConfig) -> Performance {
        let mut actors: [Option<Figure>; ACTORS] = Default::default();
        for (figure, actor) in actors.iter_mut().zip(&scene.actors) {
            *figure = Some(Figure { body: actor.body, look: actor.look, track: actor.track.clone() });
        }
        Performance {
            shot: scene.shot,
            stage: scene.stage,
            frames: FRAMES,
            actors,
            impacts: scene
                .contacts
                .iter()
                .map(|contact| Impact {
                    time_s: contact.time_s,
                    loudness: -1.5,
                    timbre: vec![0.75; config.sound_code],
                })
                .collect(),
            utterance: scene.speech.as_ref().map(|speech| Utterance {
                speaker: speech.speaker,
                voice: speech.voice,
                frames: speech.frames(),
            }),
        }
    }

    fn near(one: Pose, other: Pose) -> bool {
        let turn = (one.angle_rad - other.angle_rad).rem_euclid(2.0 * PI);
        (one.x_m - other.x_m).abs() < 1e-3
            && (one.y_m - other.y_m).abs() < 1e-3
            && turn.min(2.0 * PI - turn) < 1e-2
    }

    proptest! {
        #[test]
        fn every_family_comes_back_from_its_row(
            family in prop::sample::select(Family::ALL.to_vec()), seed in 0_u64..400,
        ) {
            let config = ModelSize::Nano.config();
            let told = tell_family(family, seed);
            let original = performance(&told.scene, &config);
            let mut row = original.to_row(&config);
            prop_assert_eq!(row.values.len(), config.layout().total());
            prop_assert_eq!(row.weights.len(), row.values.len());
            let mut measure = Measure::new(config.layout());
            measure.add(&row.values, &row.weights);
            let normalisation = measure.finish();
            normalisation.apply(&mut row.values, &row.weights, config.layout());
            normalisation.undo(&mut row.values, config.layout());
            let back = Performance::from_row(&row.values, &config);
            prop_assert_eq!(back.shot, original.shot);
            prop_assert_eq!(back.stage.backdrop, original.stage.backdrop);
            prop_assert_eq!(back.stage.fixture.is_some(), original.stage.fixture.is_some());
            prop_assert_eq!(back.utterance.is_some(), original.utterance.is_some());
            for (figure, expected) in back.actors.iter().zip(&original.actors) {
                prop_assert_eq!(figure.is_some(), expected.is_some());
                let (Some(figure), Some(expected)) = (figure, expected) else { continue };
                prop_assert_eq!(figure.look, expected.look);
                match (&figure.track, &expected.track) {
                    (Track::Bodies(found), Track::Bodies(true_ones)) => {
                        for (found, expected) in found.iter().flatten().zip(true_ones.iter().flatten()) {
                            let hangs = kind(&figure.body) == 2;
                            let expected = if hangs { Pose { angle_rad: found.angle_rad, ..*expected } } else { *expected };
                            prop_assert!(near(*found, expected), "{found:?} for {expected:?}");
                        }
                        prop_assert_eq!(found[0].len(), true_ones[0].len());
                    }
                    (Track::Doll(found), Track::Doll(true_ones)) => {
                        for (found, expected) in found.iter().zip(true_ones) {
                            prop_assert!((found.x_m - expected.x_m).abs() < 1e-3);
                            prop_assert!((found.arms_rad[1] - expected.arms_rad[1]).abs() < 1e-3);
                            prop_assert!((found.mouth - expected.mouth).abs() < 1e-3);
                        }
                    }
                    _ => prop_assert!(false, "another kind of track came back"),
                }
            }
            let heard = original.distinct_impacts();
            for impact in &back.impacts {
                let nearest = heard.iter().map(|other| (other.time_s - impact.time_s).abs()).fold(9.0, f32::min);
                // Bumps that overlap draw their tops together.
                let beside = heard.iter().filter(|other| (other.time_s - impact.time_s).abs() < 0.09).count();
                let most_s = if beside > 1 { 0.011 } else { 0.004 };
                prop_assert!(nearest < most_s, "an impact at {} that is {nearest} s away", impact.time_s);
            }
            // Bumps that overlap may be read as one; what stands alone is always heard.
            for alone in &heard {
                let near = |other: f32, within: f32| (other - alone.time_s).abs() < within;
                if heard.iter().filter(|other| near(other.time_s, 0.09)).count() == 1 {
                    prop_assert!(back.impacts.iter().any(|impact| near(impact.time_s, 0.004)), "{}", alone.time_s);
                }
            }
        }

        #[test]
        fn any_row_can_be_drawn(seed in any::<u32>()) {
            let config = ModelSize::Nano.config();
            let row: Vec<f32> = (0..config.layout().total() as u32)
                .map(|place| ((place.wrapping_mul(2_654_435_761) ^ seed) % 4001) as f32 / 500.0 - 4.0)
                .collect();
            let drawn = Performance::from_row(&row, &config);
            prop_assert!(drawn.actors[0].is_some());
            prop_assert!(drawn.impacts.iter().all(|impact| impact.time_s.is_finite() && impact.loudness <= 0.0));
            let frames = crate::world::draw::render_frame(&drawn.scene(), 50, 32, 32);
            prop_assert_eq!(frames.len(), 32 * 32 * 3);
        }
    }

    #[test]
    fn every_caption_can_be_read_whole() {
        let vocabulary = Vocabulary::of_corpus();
        for family in Family::ALL {
            for seed in 0..300 {
                for sentence in tell_family(family, seed).sentences {
                    assert!(
                        vocabulary.unknown(&sentence).is_empty(),
                        "{sentence}: {:?}",
                        vocabulary.unknown(&sentence)
                    );
                    let words =
                        sentence.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).count();
                    assert!(words <= crate::model::text::PROMPT_WORDS, "{sentence}");
                }
            }
        }
        for task in Task::ALL {
            assert!(!vocabulary.numbers(phyworld_caption(task)).contains(&UNKNOWN));
        }
    }

    #[test]
    fn a_phyworld_episode_comes_back_at_its_own_frames() {
        let config = ModelSize::Nano.config();
        for task in Task::ALL {
            let episode = task.sample(Domain::InDistribution, 3);
            let row = Performance::of_episode(&episode).to_row(&config);
            let back = Performance::from_row(&row.values, &config);
            assert_eq!(back.shot, Shot::Lab);
            let Some(Figure { body: Body::Ball { radius_m }, track: Track::Bodies(frames), .. }) =
                &back.actors[0]
            else {
                panic!("no ball");
            };
            assert!((f64::from(*radius_m) - episode.balls[0].radius).abs() < 1e-3);
            // Frame 12 of 24 a second is frame 5 of ten.
            let centre = episode.balls[0].centres[5];
            if (0.0..10.0).contains(&centre[1]) {
                assert!((f64::from(frames[12][0].x_m) - centre[0]).abs() < 1e-3);
                assert!((f64::from(frames[12][0].y_m) - centre[1]).abs() < 1e-3);
            }
        }
    }
}
