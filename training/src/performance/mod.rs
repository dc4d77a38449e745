//! What happens in a clip, in the world's own units: between the latents, which are numbers, and pictures and
//! sound, which are drawn from it.
//!
//! A scene and its codes enter and become a row of latents; a row that the model drew becomes a
//! [`Performance`] again. INVARIANT: whatever a row holds, the performance can be drawn: sizes and counts are
//! bounded here.

mod heard;
mod look;
mod row;
#[cfg(test)]
mod tests;

use crate::arcs::{self, Strike, Surroundings};
use crate::footing::on_feet;
use crate::model::latents::{INSTANTS_PER_FRAME, INSTANTS_PER_S};
use crate::phyworld::{self, Episode};
use crate::steady::steady;
use crate::world::{
    ACTORS, Actor, Backdrop, Body, Event, FPS, FRAMES, Family, FloorTexture, Light, Look, Name, Pose, Scene,
    Shot, Skin, Stage, Track, Voice, VoiceFrame, WallTexture,
};

use self::heard::sounding;
pub(crate) use self::look::{STYLES, appearance_of, look_numbers, skin_of, voice_numbers, voice_of};
pub(crate) use self::row::Row;

/// Impacts nearer than this, in instants, are heard as the louder of them.
const NEAREST: f32 = 2.0;
/// Impacts so near to the end of a window are read from the next one.
const JOINT_S: f32 = 0.1;
/// How far beside `PhyWorld`'s world a ball is followed: the largest one is out of view there.
const BEYOND_M: f64 = 4.0;

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

    /// The same as its world moves: people on their feet, balls on arcs or in hands. Where a pendulum hangs, and
    /// of blocks, what moves is only steadied.
    pub(crate) fn settled(self) -> Self {
        let heard: Vec<f32> = self.impacts.iter().map(|impact| impact.time_s * FPS as f32).collect();
        let figures = || self.actors.iter().flatten();
        let balls: Vec<arcs::Ball> = figures().filter_map(flying).collect();
        let view_m = self.shot.view_m();
        let mut settled = self.clone().steadied();
        let mut hands_m = Vec::new();
        for (figure, drawn) in settled.actors.iter_mut().flatten().zip(figures()) {
            let (Body::Person { height_m }, Track::Doll(poses)) = (drawn.body, &drawn.track) else {
                continue;
            };
            let poses = on_feet(poses, height_m, view_m, &heard);
            // The near arm throws, catches and holds.
            let hands = poses.iter().map(|pose| pose.hand_m(1, height_m));
            hands_m.push(hands.map(|(x_m, y_m)| [f64::from(x_m), f64::from(y_m)]).collect());
            figure.track = Track::Doll(poses);
        }
        let is_there = |is: fn(&Body) -> bool| figures().any(|figure| is(&figure.body));
        if is_there(|body| matches!(body, Body::Pendulum { .. })) {
            return settled;
        }
        let around = Surroundings {
            floor: self.shot != Shot::Lab,
            obstacles: self.stage.fixture.is_some() || is_there(|body| matches!(body, Body::Blocks { .. })),
            heard: heard.iter().copied().map(f64::from).collect(),
            hands_m,
            view_m: (self.shot != Shot::Lab).then_some(f64::from(view_m)),
        };
        let read = arcs::read(&balls, &around);
        let strikes: Vec<Strike> = read.iter().flat_map(|ball| ball.strikes.iter().copied()).collect();
        // In a net or among blocks, and where somebody walks or speaks, there is more to hear than these.
        let only_balls = figures().all(|figure| matches!(figure.body, Body::Ball { .. }));
        let alone = only_balls && settled.stage.fixture.is_none();
        settled.impacts = sounding(&settled.impacts, &strikes, [only_balls, alone]);
        let mut read = read.into_iter();
        for figure in settled.actors.iter_mut().flatten() {
            let (Body::Ball { .. }, Track::Bodies(frames)) = (figure.body, &mut figure.track) else {
                continue;
            };
            let places_m = read.next().into_iter().flat_map(|ball| ball.places_m);
            for (pose, [x_m, y_m]) in frames.iter_mut().flatten().zip(places_m) {
                (pose.x_m, pose.y_m) = (x_m as f32, y_m as f32);
            }
        }
        settled
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

/// A ball as arcs are read from it.
fn flying(figure: &Figure) -> Option<arcs::Ball> {
    let (Body::Ball { radius_m }, Track::Bodies(frames)) = (figure.body, &figure.track) else { return None };
    let places_m = frames.iter().flatten().map(|pose| [f64::from(pose.x_m), f64::from(pose.y_m)]).collect();
    Some(arcs::Ball { radius_m: f64::from(radius_m), places_m })
}

fn smooth<F>(frames: &mut [F], mut number: impl FnMut(&mut F) -> &mut f32) {
    let track: Vec<f32> = frames.iter_mut().map(|frame| *number(frame)).collect();
    for (frame, value) in frames.iter_mut().zip(steady(&track)) {
        *number(frame) = value;
    }
}
