//! What is supposed to be in one frame, and the numbers of it that can be turned to make it look as it should.
//!
//! A [`Sketch`] can be drawn; a [`Knob`] is one number of it, with the step in which a change of it can be
//! seen. INVARIANT: a knob that is not there has no effect, and no knob leaves the range of its number.

use std::f32::consts::PI;

use crate::performance::{Figure, Performance};
use crate::world::doll::Part;
use crate::world::draw::{Easel, Window};
use crate::world::{ACTORS, Actor, Body, DollPose, Fixture, Look, Name, Pose, Rgb, Shot, Skin, Stage, Track};

/// One frame's stage and actors.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sketch {
    pub(super) shot: Shot,
    pub(super) stage: Stage,
    /// Each with a track of one frame.
    pub(super) actors: Vec<Actor>,
}

/// A part of an actor that has a place of its own: one ball or block, or a whole person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limb {
    pub(super) actor: usize,
    pub(super) body: usize,
}

/// One colour of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Base,
    Accent,
    Complexion,
    Hair,
    Trousers,
}

/// One number of a sketch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Knob {
    X(Limb),
    Y(Limb),
    Turn(Limb),
    Lean(usize),
    Nod(usize),
    /// Far and near.
    Arm(usize, usize),
    Leg(usize, usize),
    Mouth(usize),
    Radius(usize),
    HalfWidth(usize),
    HalfHeight(usize),
    Height(usize),
    PivotX(usize),
    PivotY(usize),
    Colour(usize, Paint, usize),
    LightFrom,
    Warmth,
    Brightness,
    FixtureX,
    FixtureHeight,
    FixtureLength,
}

impl Sketch {
    /// The first frame of a performance.
    pub(super) fn of(performance: &Performance) -> Self {
        let mut actors = Vec::new();
        for figure in performance.actors.iter().flatten() {
            let track = match &figure.track {
                Track::Bodies(track) => Track::Bodies(track.iter().take(1).cloned().collect()),
                Track::Doll(track) => Track::Doll(track.iter().take(1).copied().collect()),
            };
            actors.push(Actor {
                body: figure.body,
                look: figure.look,
                name: Name::Cameo,
                track,
                restitution: 0.0,
            });
        }
        Self { shot: performance.shot, stage: performance.stage, actors }
    }

    /// A performance in which what `frames` show happens on the stage of the first.
    pub(super) fn perform(first: &Self, frames: &[Vec<Track>]) -> Performance {
        let mut actors: [Option<Figure>; ACTORS] = Default::default();
        for (index, (actor, slot)) in first.actors.iter().zip(&mut actors).enumerate() {
            let shown = frames.iter().filter_map(|tracks| tracks.get(index));
            let track = match &actor.track {
                Track::Bodies(_) => Track::Bodies(
                    shown
                        .filter_map(|track| match track {
                            Track::Bodies(track) => track.first().cloned(),
                            Track::Doll(_) => None,
                        })
                        .collect(),
                ),
                Track::Doll(_) => Track::Doll(
                    shown
                        .filter_map(|track| match track {
                            Track::Doll(track) => track.first().copied(),
                            Track::Bodies(_) => None,
                        })
                        .collect(),
                ),
            };
            *slot = Some(Figure { body: actor.body, look: actor.look, track });
        }
        Performance {
            shot: first.shot,
            stage: first.stage,
            frames: frames.len(),
            actors,
            impacts: Vec::new(),
            utterance: None,
        }
    }

    /// Where everybody is.
    pub(super) fn tracks(&self) -> Vec<Track> {
        self.actors.iter().map(|actor| actor.track.clone()).collect()
    }

    /// The same with everybody elsewhere.
    pub(super) fn with(&self, tracks: &[Track]) -> Self {
        let mut other = self.clone();
        for (actor, track) in other.actors.iter_mut().zip(tracks) {
            actor.track = track.clone();
        }
        other
    }

    pub(super) fn easel(&self, (width, height): (usize, usize)) -> Easel {
        Easel::new(self.shot, &self.stage, width, height)
    }

    /// Everything that moves.
    pub(super) fn limbs(&self) -> Vec<Limb> {
        let bodies = |actor: &Actor| match &actor.track {
            Track::Bodies(track) => track.first().map_or(0, Vec::len),
            Track::Doll(_) => 1,
        };
        let counts = self.actors.iter().map(bodies).enumerate();
        counts.flat_map(|(actor, count)| (0..count).map(move |body| Limb { actor, body })).collect()
    }

    pub(super) fn body(&self, actor: usize) -> Option<Body> {
        self.actors.get(actor).map(|actor| actor.body)
    }

    pub(super) fn skin_mut(&mut self, actor: usize) -> Option<&mut Skin> {
        match &mut self.actors.get_mut(actor)?.look {
            Look::Skin(skin) => Some(skin),
            Look::Person(person) => Some(&mut person.shirt),
        }
    }

    pub(super) fn skin(&self, actor: usize) -> Option<Skin> {
        match self.actors.get(actor)?.look {
            Look::Skin(skin) => Some(skin),
            Look::Person(person) => Some(person.shirt),
        }
    }

    pub(super) fn pose(&self, Limb { actor, body }: Limb) -> Option<Pose> {
        match &self.actors.get(actor)?.track {
            Track::Bodies(track) => track.first()?.get(body).copied(),
            Track::Doll(track) => {
                track.first().map(|pose| Pose { x_m: pose.x_m, y_m: pose.y_m, angle_rad: pose.lean_rad })
            }
        }
    }

    pub(super) fn pose_mut(&mut self, Limb { actor, body }: Limb) -> Option<&mut Pose> {
        match &mut self.actors.get_mut(actor)?.track {
            Track::Bodies(track) => track.first_mut()?.get_mut(body),
            Track::Doll(_) => None,
        }
    }

    pub(super) fn doll(&self, actor: usize) -> Option<DollPose> {
        match &self.actors.get(actor)?.track {
            Track::Doll(track) => track.first().copied(),
            Track::Bodies(_) => None,
        }
    }

    pub(super) fn doll_mut(&mut self, actor: usize) -> Option<&mut DollPose> {
        match &mut self.actors.get_mut(actor)?.track {
            Track::Doll(track) => track.first_mut(),
            Track::Bodies(_) => None,
        }
    }

    pub(super) fn remove(&mut self, actor: usize) {
        if actor < self.actors.len() {
            self.actors.remove(actor);
        }
    }

    /// Makes an actor a row of blocks that stand or lie like this.
    pub(super) fn set_row(&mut self, actor: usize, poses: Vec<Pose>) {
        let Some(actor) = self.actors.get_mut(actor) else { return };
        if let Body::Blocks { count, .. } = &mut actor.body {
            *count = poses.len();
            actor.track = Track::Bodies(vec![poses]);
        }
    }

    pub(super) fn add_block(&mut self, actor: usize, pose: Pose) {
        let Some(Track::Bodies(track)) = self.actors.get(actor).map(|actor| &actor.track) else { return };
        let mut poses = track.first().cloned().unwrap_or_default();
        poses.push(pose);
        self.set_row(actor, poses);
    }

    /// Who else may be in the picture.
    pub(super) fn others(&self) -> Vec<(Body, Look)> {
        let skin = Look::Skin(Skin { base: [128; 3], accent: None });
        let is = |kind: fn(&Body) -> bool| self.actors.iter().any(|actor| kind(&actor.body));
        let mut others: Vec<(Body, Look)> =
            [0.22, 0.3, 0.45, 0.65].map(|radius_m| (Body::Ball { radius_m }, skin)).to_vec();
        if is(|body| matches!(body, Body::Ball { .. })) && !is(|body| matches!(body, Body::Blocks { .. })) {
            others.extend([(0.15, 0.6), (0.25, 0.5), (0.35, 0.6)].map(|(half_width_m, half_height_m)| {
                (Body::Blocks { half_width_m, half_height_m, count: 1 }, skin)
            }));
        }
        others.extend(
            self.actors
                .iter()
                .filter(|actor| matches!(actor.body, Body::Person { .. }))
                .map(|actor| (actor.body, actor.look)),
        );
        others
    }

    /// Adds an actor about a place, and says which it is; `None` where there is no room.
    pub(super) fn add(
        &mut self,
        body: Body,
        look: Look,
        (x_m, y_m): (f32, f32),
        colour: Rgb,
    ) -> Option<usize> {
        if self.actors.len() >= ACTORS {
            return None;
        }
        let track = match body {
            Body::Person { height_m } => Track::Doll(vec![DollPose {
                x_m,
                y_m: y_m - 0.08 * height_m,
                arms_rad: [-0.2, 0.2],
                legs_rad: [-0.15, 0.15],
                ..DollPose::default()
            }]),
            _ => Track::Bodies(vec![vec![Pose { x_m, y_m, angle_rad: 0.0 }]]),
        };
        let look = match look {
            Look::Skin(skin) => Look::Skin(Skin { base: colour, ..skin }),
            Look::Person(_) => look,
        };
        self.actors.push(Actor { body, look, name: Name::Cameo, track, restitution: 0.0 });
        Some(self.actors.len() - 1)
    }

    /// Puts actors and blocks in the corpus's order: bobs and people, of these who is nearest to the ball
    /// first; balls; blocks, those nearest to the ball first. A third actor is always a ball.
    pub(super) fn arrange(&mut self) {
        let rank = |actor: &Actor| match actor.body {
            Body::Pendulum { .. } | Body::Person { .. } => 0,
            Body::Ball { .. } => 1,
            Body::Blocks { .. } => 2,
        };
        let x_m = |actor: &Actor| match &actor.track {
            Track::Bodies(track) => track.first().and_then(|bodies| bodies.first()).map(|pose| pose.x_m),
            Track::Doll(track) => track.first().map(|pose| pose.x_m),
        };
        let ball_m = self.actors.iter().find(|actor| rank(actor) == 1).and_then(x_m);
        let away_m = |actor: &Actor| match (ball_m, x_m(actor)) {
            (Some(ball_m), Some(x_m)) if rank(actor) == 0 => (x_m - ball_m).abs(),
            (_, x_m) => x_m.unwrap_or(0.0),
        };
        self.actors.sort_by(|a, b| rank(a).cmp(&rank(b)).then(away_m(a).total_cmp(&away_m(b))));
        if self.actors.get(2).is_some_and(|actor| rank(actor) != 1) {
            self.actors.truncate(2);
        }
        for actor in self.actors.iter_mut().filter(|actor| rank(actor) == 2) {
            if let Track::Bodies(track) = &mut actor.track {
                for poses in track {
                    poses.sort_by(|a, b| a.x_m.total_cmp(&b.x_m));
                    let last_m = poses.last().map_or(0.0, |pose| pose.x_m);
                    let first_m = poses.first().map_or(0.0, |pose| pose.x_m);
                    if ball_m.is_some_and(|ball_m| (last_m - ball_m).abs() < (first_m - ball_m).abs()) {
                        poses.reverse();
                    }
                }
            }
        }
    }

    /// A bob's angle is that of its rod.
    pub(super) fn hang(&mut self) {
        for actor in &mut self.actors {
            if let (Body::Pendulum { pivot_m, .. }, Track::Bodies(track)) = (actor.body, &mut actor.track) {
                for pose in track.iter_mut().flatten() {
                    pose.angle_rad = (pose.x_m - pivot_m.0).atan2(pivot_m.1 - pose.y_m);
                }
            }
        }
    }

    /// The knobs that move a limb from frame to frame.
    pub(super) fn moves(&self, limb: Limb) -> Vec<Knob> {
        let place = [Knob::X(limb), Knob::Y(limb)];
        let rest: &[Knob] = match self.body(limb.actor) {
            Some(Body::Blocks { .. }) => &[Knob::Turn(limb)],
            // A ball of one colour looks the same however it is turned.
            Some(Body::Ball { .. }) if self.skin(limb.actor).is_some_and(|skin| skin.accent.is_some()) => {
                &[Knob::Turn(limb)]
            }
            Some(Body::Person { .. }) => {
                let actor = limb.actor;
                &[
                    Knob::Lean(actor),
                    Knob::Nod(actor),
                    Knob::Arm(actor, 0),
                    Knob::Arm(actor, 1),
                    Knob::Leg(actor, 0),
                    Knob::Leg(actor, 1),
                    Knob::Mouth(actor),
                ]
            }
            _ => &[],
        };
        place.into_iter().chain(rest.iter().copied()).collect()
    }

    /// The knobs of an actor's size.
    pub(super) fn sizes(&self, actor: usize) -> Vec<Knob> {
        match self.body(actor) {
            Some(Body::Ball { .. }) => vec![Knob::Radius(actor)],
            Some(Body::Pendulum { .. }) => {
                vec![Knob::Radius(actor), Knob::PivotX(actor), Knob::PivotY(actor)]
            }
            Some(Body::Blocks { .. }) => vec![Knob::HalfWidth(actor), Knob::HalfHeight(actor)],
            Some(Body::Person { .. }) => vec![Knob::Height(actor)],
            None => Vec::new(),
        }
    }

    /// The knobs of an actor's colours.
    pub(super) fn colours(&self, actor: usize) -> Vec<Knob> {
        let Some(look) = self.actors.get(actor).map(|actor| actor.look) else { return Vec::new() };
        let mut paints = vec![Paint::Base];
        if self.skin(actor).is_some_and(|skin| skin.accent.is_some()) {
            paints.push(Paint::Accent);
        }
        if matches!(look, Look::Person(_)) {
            paints.extend([Paint::Complexion, Paint::Hair, Paint::Trousers]);
        }
        let channels = |paint: Paint| (0..3).map(move |channel| Knob::Colour(actor, paint, channel));
        paints.into_iter().flat_map(channels).collect()
    }

    /// Where on a picture a limb is: left, upper, right and lower edge in pixels.
    pub(super) fn bounds(&self, limb: Limb, easel: &Easel) -> Option<[f32; 4]> {
        let mut bounds = [f32::INFINITY, f32::INFINITY, f32::NEG_INFINITY, f32::NEG_INFINITY];
        let mut add = |(x_m, y_m): (f32, f32), reach_m: f32| {
            let ((x, y), reach) = (easel.place(x_m, y_m), reach_m * easel.scale());
            bounds = [
                bounds[0].min(x - reach),
                bounds[1].min(y - reach),
                bounds[2].max(x + reach),
                bounds[3].max(y + reach),
            ];
        };
        match (self.body(limb.actor)?, self.pose(limb)?) {
            (Body::Ball { radius_m }, pose) => add((pose.x_m, pose.y_m), radius_m),
            (Body::Pendulum { pivot_m, radius_m }, pose) => {
                add((pose.x_m, pose.y_m), radius_m);
                add(pivot_m, 0.1);
            }
            (Body::Blocks { half_width_m, half_height_m, .. }, pose) => {
                add((pose.x_m, pose.y_m), half_width_m.hypot(half_height_m));
            }
            (Body::Person { height_m }, _) => {
                for (part, pose) in Part::ALL.into_iter().zip(self.doll(limb.actor)?.parts(height_m)) {
                    let [wide, high, _] = part.shape();
                    // A bun and a shoe reach beyond their part.
                    add((pose.x_m, pose.y_m), 1.2 * wide.max(high) * height_m);
                }
            }
        }
        bounds.iter().all(|edge| edge.is_finite()).then_some(bounds)
    }
}

/// The window around some bounds, and `margin` pixels more.
pub(super) fn window(bounds: &[[f32; 4]], margin: f32, (width, height): (usize, usize)) -> Window {
    let low = |side: usize, end: usize| {
        let edge = bounds.iter().map(|bounds| bounds[side]).fold(f32::INFINITY, f32::min);
        ((edge - margin).floor().max(0.0) as usize).min(end)
    };
    let high = |side: usize, end: usize| {
        let edge = bounds.iter().map(|bounds| bounds[side]).fold(f32::NEG_INFINITY, f32::max);
        ((edge + margin).ceil().max(0.0) as usize).min(end)
    };
    let (left, top) = (low(0, width), low(1, height));
    Window { columns: left..high(2, width).max(left), rows: top..high(3, height).max(top) }
}

impl Knob {
    /// A change that can be seen, in the knob's own unit; the fit measures slopes over it.
    pub(super) fn step(self, sketch: &Sketch, easel: &Easel) -> f32 {
        let pixel = 1.0 / easel.scale();
        let height_m = |actor: usize| match sketch.body(actor) {
            Some(Body::Person { height_m }) => height_m,
            _ => 1.0,
        };
        match self {
            Self::X(_) | Self::Y(_) | Self::PivotX(_) | Self::PivotY(_) => 0.35 * pixel,
            Self::Turn(limb) => {
                let arm_m = match sketch.body(limb.actor) {
                    Some(Body::Ball { radius_m }) => 0.6 * radius_m,
                    Some(Body::Blocks { half_width_m, half_height_m, .. }) => half_width_m.max(half_height_m),
                    _ => 1.0,
                };
                (0.35 * pixel / arm_m.max(1e-3)).min(0.2)
            }
            Self::Lean(actor) => (0.4 * pixel / (0.4 * height_m(actor))).min(0.2),
            Self::Nod(actor) => (0.4 * pixel / (0.1 * height_m(actor))).min(0.2),
            Self::Arm(actor, _) | Self::Leg(actor, _) => (0.4 * pixel / (0.3 * height_m(actor))).min(0.2),
            Self::Mouth(_) => 0.1,
            Self::Radius(_) | Self::HalfWidth(_) | Self::HalfHeight(_) => 0.25 * pixel,
            Self::Height(_) => 0.8 * pixel,
            Self::Colour(..) => 6.0,
            Self::LightFrom | Self::Warmth => 0.06,
            Self::Brightness => 0.02,
            Self::FixtureX | Self::FixtureHeight | Self::FixtureLength => 0.4 * pixel,
        }
    }

    /// How far the number may be from what was expected before that counts against it, in its own unit: where
    /// nothing can be seen of it, it stays as expected.
    pub(super) fn spread(self, sketch: &Sketch, easel: &Easel) -> f32 {
        match self {
            Self::X(_) | Self::Y(_) => 12.0 / easel.scale(),
            Self::Turn(_) => 0.6,
            Self::Lean(_) | Self::Nod(_) => 0.2,
            Self::Arm(..) | Self::Leg(..) => 0.4,
            Self::Mouth(_) => 0.5,
            Self::Colour(..) => 60.0,
            _ => 12.0 * self.step(sketch, easel),
        }
    }

    /// Whether what stands still changes with it.
    pub(super) fn is_of_stage(self) -> bool {
        matches!(
            self,
            Self::LightFrom
                | Self::Warmth
                | Self::Brightness
                | Self::FixtureX
                | Self::FixtureHeight
                | Self::FixtureLength
        )
    }

    pub(super) fn value(self, sketch: &mut Sketch) -> f32 {
        if let Self::Colour(actor, paint, channel) = self {
            return sketch.paint(actor, paint).map_or(0.0, |colour| f32::from(colour[channel.min(2)]));
        }
        sketch.number(self).map_or(0.0, |number| *number)
    }

    pub(super) fn set(self, sketch: &mut Sketch, value: f32) {
        if let Self::Colour(actor, paint, channel) = self {
            if let Some(colour) = sketch.paint(actor, paint) {
                colour[channel.min(2)] = value.round().clamp(0.0, 255.0) as u8;
            }
            return;
        }
        let (low, high) = self.range();
        if let Some(number) = sketch.number(self)
            && value.is_finite()
        {
            *number = value.clamp(low, high);
        }
    }

    fn range(self) -> (f32, f32) {
        match self {
            Self::X(_) | Self::Y(_) | Self::PivotX(_) | Self::PivotY(_) => (-20.0, 20.0),
            Self::Turn(_) => (-1e3, 1e3),
            Self::Lean(_) | Self::Nod(_) | Self::Arm(..) | Self::Leg(..) => (-2.0 * PI, 2.0 * PI),
            Self::Mouth(_) | Self::Warmth => (0.0, 1.0),
            Self::Radius(_) => (0.18, 2.0),
            Self::HalfWidth(_) | Self::HalfHeight(_) => (0.03, 2.0),
            Self::Height(_) => (0.8, 5.0),
            Self::Colour(..) => (0.0, 255.0),
            Self::LightFrom => (-1.0, 1.0),
            Self::Brightness => (0.6, 1.1),
            Self::FixtureX => (-1.0, 11.0),
            Self::FixtureHeight | Self::FixtureLength => (0.2, 9.0),
        }
    }
}

impl Sketch {
    fn paint(&mut self, actor: usize, paint: Paint) -> Option<&mut Rgb> {
        match (paint, &mut self.actors.get_mut(actor)?.look) {
            (Paint::Base, Look::Skin(skin)) => Some(&mut skin.base),
            (Paint::Base, Look::Person(person)) => Some(&mut person.shirt.base),
            (Paint::Accent, Look::Skin(skin)) => skin.accent.as_mut().map(|(_, colour)| colour),
            (Paint::Accent, Look::Person(person)) => person.shirt.accent.as_mut().map(|(_, colour)| colour),
            (Paint::Complexion, Look::Person(person)) => Some(&mut person.complexion),
            (Paint::Hair, Look::Person(person)) => Some(&mut person.hair),
            (Paint::Trousers, Look::Person(person)) => Some(&mut person.trousers),
            (_, Look::Skin(_)) => None,
        }
    }

    fn number(&mut self, knob: Knob) -> Option<&mut f32> {
        match knob {
            Knob::X(limb) => match &mut self.actors.get_mut(limb.actor)?.track {
                Track::Doll(track) => track.first_mut().map(|pose| &mut pose.x_m),
                Track::Bodies(track) => track.first_mut()?.get_mut(limb.body).map(|pose| &mut pose.x_m),
            },
            Knob::Y(limb) => match &mut self.actors.get_mut(limb.actor)?.track {
                Track::Doll(track) => track.first_mut().map(|pose| &mut pose.y_m),
                Track::Bodies(track) => track.first_mut()?.get_mut(limb.body).map(|pose| &mut pose.y_m),
            },
            Knob::Turn(limb) => self.pose_mut(limb).map(|pose| &mut pose.angle_rad),
            Knob::Lean(actor) => self.doll_mut(actor).map(|pose| &mut pose.lean_rad),
            Knob::Nod(actor) => self.doll_mut(actor).map(|pose| &mut pose.nod_rad),
            Knob::Arm(actor, side) => self.doll_mut(actor).and_then(|pose| pose.arms_rad.get_mut(side)),
            Knob::Leg(actor, side) => self.doll_mut(actor).and_then(|pose| pose.legs_rad.get_mut(side)),
            Knob::Mouth(actor) => self.doll_mut(actor).map(|pose| &mut pose.mouth),
            Knob::Radius(actor) => match &mut self.actors.get_mut(actor)?.body {
                Body::Ball { radius_m } | Body::Pendulum { radius_m, .. } => Some(radius_m),
                _ => None,
            },
            Knob::HalfWidth(actor) => match &mut self.actors.get_mut(actor)?.body {
                Body::Blocks { half_width_m, .. } => Some(half_width_m),
                _ => None,
            },
            Knob::HalfHeight(actor) => match &mut self.actors.get_mut(actor)?.body {
                Body::Blocks { half_height_m, .. } => Some(half_height_m),
                _ => None,
            },
            Knob::Height(actor) => match &mut self.actors.get_mut(actor)?.body {
                Body::Person { height_m } => Some(height_m),
                _ => None,
            },
            Knob::PivotX(actor) | Knob::PivotY(actor) => match &mut self.actors.get_mut(actor)?.body {
                Body::Pendulum { pivot_m, .. } => {
                    Some(if knob == Knob::PivotX(actor) { &mut pivot_m.0 } else { &mut pivot_m.1 })
                }
                _ => None,
            },
            Knob::LightFrom => Some(&mut self.stage.light.from_x),
            Knob::Warmth => Some(&mut self.stage.light.warmth),
            Knob::Brightness => Some(&mut self.stage.light.brightness),
            Knob::FixtureX => self.stage.fixture.as_mut().map(|fixture| match fixture {
                Fixture::Hoop(hoop) => &mut hoop.board_x_m,
                Fixture::Ramp(ramp) => &mut ramp.foot_x_m,
            }),
            Knob::FixtureHeight => self.stage.fixture.as_mut().map(|fixture| match fixture {
                Fixture::Hoop(hoop) => &mut hoop.height_m,
                Fixture::Ramp(ramp) => &mut ramp.height_m,
            }),
            Knob::FixtureLength => match self.stage.fixture.as_mut() {
                Some(Fixture::Ramp(ramp)) => Some(&mut ramp.length_m),
                _ => None,
            },
            Knob::Colour(..) => None,
        }
    }
}
