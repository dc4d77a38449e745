//! A person who throws or catches a ball, alone or with another.
//!
//! A seed goes in, a scene with one or two people and a ball comes out; a scene goes in, a sentence comes out.
//! The ball's path is solved in closed form: in a hand, along parabolas, off the floor, rolling.
//! INVARIANT: a ball that is held is at the hand, one that flies falls freely, and it passes from one to the
//! other without a jump in position.

use std::f32::consts::{PI, TAU};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Family;
use super::walk::{pick, shows, times};
use crate::world::gait::{self, Stand};
use crate::world::identity::sample_cast;
use crate::world::{
    Actor, Body, CLIP_S, Colour, Contact, ContactKind, Event, FPS, FRAMES, GRAVITY_M_S2, Look, Name, Phrase,
    Pose, Scene, Shot, Skin, Speech, Stage, Track, Voice, caption as captions,
};

/// Words in a caption at most.
const LONGEST_CAPTION: usize = 24;

/// A ball that leaves the floor slower than this rolls on.
const ROLLING_M_S: f32 = 0.5;

/// A stretch of a free path from `start_s` on.
#[derive(Clone, Copy, Debug)]
struct Flight {
    start_s: f32,
    from_m: (f32, f32),
    velocity_m_s: (f32, f32),
    /// Rolls on the floor instead of falling.
    rolls: bool,
}

impl Flight {
    /// The throw that is at `to_m` after `flight_s`.
    fn between(start_s: f32, from_m: (f32, f32), to_m: (f32, f32), flight_s: f32) -> Self {
        let velocity_m_s =
            ((to_m.0 - from_m.0) / flight_s, (to_m.1 - from_m.1) / flight_s + GRAVITY_M_S2 * flight_s / 2.0);
        Self { start_s, from_m, velocity_m_s, rolls: false }
    }

    fn gravity_m_s2(&self) -> f32 {
        if self.rolls { 0.0 } else { GRAVITY_M_S2 }
    }

    fn at(&self, time_s: f32) -> (f32, f32) {
        let since_s = time_s - self.start_s;
        (
            self.from_m.0 + self.velocity_m_s.0 * since_s,
            self.from_m.1 + (self.velocity_m_s.1 - 0.5 * self.gravity_m_s2() * since_s) * since_s,
        )
    }

    fn velocity_at(&self, time_s: f32) -> (f32, f32) {
        (self.velocity_m_s.0, self.velocity_m_s.1 - self.gravity_m_s2() * (time_s - self.start_s))
    }

    /// When the ball comes down to the floor.
    fn lands_s(&self, radius_m: f32) -> f32 {
        let (drop_m, up_m_s) = (self.from_m.1 - radius_m, self.velocity_m_s.1);
        let impact_m_s = (up_m_s * up_m_s + 2.0 * GRAVITY_M_S2 * drop_m.max(0.0)).sqrt();
        self.start_s + (up_m_s + impact_m_s) / GRAVITY_M_S2
    }
}

/// The ball of a scene, without its looks.
#[derive(Clone, Copy, Debug)]
struct Ball {
    radius_m: f32,
    restitution: f32,
    angle_rad: f32,
    spin_rad_s: f32,
}

impl Ball {
    fn sample(rng: &mut ChaCha8Rng) -> Self {
        Self {
            radius_m: rng.random_range(0.2..0.35),
            restitution: rng.random_range(0.4..0.85),
            angle_rad: rng.random_range(-PI..PI),
            spin_rad_s: rng.random_range(-5.0..5.0),
        }
    }

    /// Mass of a disc of 1 kg per square metre.
    fn mass_kg(&self) -> f32 {
        PI * self.radius_m * self.radius_m
    }

    /// The flights that follow from the first, and the strikes on the floor.
    fn bounces(&self, first: Flight, actor: usize) -> (Vec<Flight>, Vec<Contact>) {
        let (mut flights, mut contacts) = (vec![first], Vec::new());
        let mut flight = first;
        loop {
            let time_s = flight.lands_s(self.radius_m);
            // The first strike after the clip decides what the last one in it means.
            if flight.rolls || contacts.last().is_some_and(|contact: &Contact| contact.time_s > CLIP_S) {
                return (flights, contacts);
            }
            let ((x_m, _), (along_m_s, down_m_s)) = (flight.at(time_s), flight.velocity_at(time_s));
            let up_m_s = -self.restitution * down_m_s;
            let rolls = up_m_s < ROLLING_M_S;
            let up_m_s = if rolls { 0.0 } else { up_m_s };
            contacts.push(Contact {
                time_s,
                kind: ContactKind::Floor,
                actor,
                other: None,
                speed_m_s: -down_m_s,
                impulse_n_s: self.mass_kg() * (up_m_s - down_m_s),
                size_m: self.radius_m,
                x_m,
                y_m: 0.0,
            });
            flight = Flight {
                start_s: time_s,
                from_m: (x_m, self.radius_m),
                velocity_m_s: (along_m_s, up_m_s),
                rolls,
            };
            flights.push(flight);
        }
    }
}

/// Who does what, before anybody has a face.
struct Act {
    /// Actor 0 first.
    people: Vec<Stand>,
    ball: Ball,
    /// When the thrower lets go, and the flights from then on; without a thrower it flies from the start.
    released_s: f32,
    flights: Vec<Flight>,
    /// When it is caught, and by whom.
    caught: Option<(f32, usize)>,
    contacts: Vec<Contact>,
}

impl Act {
    fn ball_m(&self, time_s: f32) -> (f32, f32) {
        let held = match self.caught {
            Some((caught_s, by)) if time_s >= caught_s => Some(by),
            _ if time_s < self.released_s => Some(0),
            _ => None,
        };
        if let Some(person) = held.and_then(|person| self.people.get(person)) {
            return person.hand_m(time_s);
        }
        let flown = self.flights.iter().rev().find(|flight| flight.start_s <= time_s);
        flown.or(self.flights.first()).map_or((0.0, 0.0), |flight| flight.at(time_s))
    }

    /// The angle turns while the ball is free, and rolls with the floor.
    fn angle_rad(&self, time_s: f32) -> f32 {
        let until_s = self.caught.map_or(time_s, |(caught_s, _)| caught_s.min(time_s));
        let rolls_s = self.flights.iter().find(|flight| flight.rolls).map_or(until_s, |roll| roll.start_s);
        let spun_s = (until_s.min(rolls_s) - self.released_s.max(0.0)).max(0.0);
        let rolled_m =
            self.flights.last().map_or(0.0, |roll| roll.velocity_m_s.0 * (until_s - rolls_s).max(0.0));
        self.ball.angle_rad + self.ball.spin_rad_s * spun_s - rolled_m / self.ball.radius_m
    }

    fn ball_track(&self) -> Vec<Vec<Pose>> {
        (0..FRAMES)
            .map(|frame| {
                let time_s = frame as f32 / FPS as f32;
                let (x_m, y_m) = self.ball_m(time_s);
                vec![Pose { x_m, y_m, angle_rad: self.angle_rad(time_s) }]
            })
            .collect()
    }

    fn is_in_view(&self, shot: Shot, ball: &[Vec<Pose>]) -> bool {
        let radius_m = self.ball.radius_m;
        let ball_in_view = ball.iter().flatten().all(|pose| {
            pose.x_m > radius_m
                && pose.x_m < shot.view_m() - radius_m
                && pose.y_m < shot.top_m() - radius_m
                && pose.y_m > radius_m - 1e-3
        });
        let in_view = |person: &Stand| {
            let poses = gait::frames(|time_s| person.pose(time_s));
            poses.iter().all(|pose| shows(shot, pose, person.height_m))
        };
        ball_in_view && self.people.iter().all(in_view)
    }

    /// The contact of the ball with the hands that meet its last flight.
    fn catch_contact(&self, time_s: f32, by: usize) -> Option<Contact> {
        let ((x_m, y_m), ball_m_s) = {
            let flight = self.flights.last()?;
            (flight.at(time_s), flight.velocity_at(time_s))
        };
        let hand_m_s = self.people.get(by)?.hand_m_s(time_s);
        let speed_m_s = (ball_m_s.0 - hand_m_s.0).hypot(ball_m_s.1 - hand_m_s.1);
        Some(Contact {
            time_s,
            kind: ContactKind::Catch,
            actor: self.people.len(),
            other: Some(by),
            speed_m_s,
            impulse_n_s: self.ball.mass_kg() * speed_m_s,
            size_m: self.ball.radius_m,
            x_m,
            y_m,
        })
    }
}

pub(super) fn sample(seed: u64) -> Scene {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shot = Shot::sample(&mut rng);
    let stage = Stage::sample(&mut rng);
    let event = sample_event(&mut rng);
    let (act, track) = loop {
        let act = match event {
            Event::Catches => draft_catch(&mut rng, shot),
            Event::Throws { caught: true, .. } => draft_pass(&mut rng, shot),
            Event::Throws { bounces, .. } => draft_throw(&mut rng, shot, bounces),
            _ => None,
        };
        let Some(act) = act else { continue };
        let track = act.ball_track();
        if act.is_in_view(shot, &track) {
            break (act, track);
        }
    };
    let cast = sample_cast(&mut rng, act.people.len());
    let speech = cast
        .first()
        .filter(|_| rng.random_bool(0.5))
        .map(|speaker| sample_speech(&mut rng, speaker.identity.voice, &act));
    let mut actors: Vec<Actor> = act
        .people
        .iter()
        .zip(&cast)
        .enumerate()
        .map(|(index, (person, role))| {
            let poses = gait::frames(|time_s| person.pose(time_s));
            let poses = match &speech {
                Some(speech) if speech.speaker == index => speech.spoken_by(poses),
                _ => poses,
            };
            Actor {
                body: Body::Person { height_m: person.height_m },
                look: Look::Person(role.identity.appearance),
                name: role.name,
                track: Track::Doll(poses),
                restitution: 0.0,
            }
        })
        .collect();
    let worn: Vec<Name> = cast.iter().map(|role| role.name).collect();
    let (look, name) = sample_ball_look(&mut rng, &worn);
    actors.push(Actor {
        body: Body::Ball { radius_m: act.ball.radius_m },
        look,
        name,
        track: Track::Bodies(track),
        restitution: act.ball.restitution,
    });
    Scene { family: Family::Throw, seed, shot, stage, actors, contacts: act.contacts, speech, event }
}

fn sample_event(rng: &mut ChaCha8Rng) -> Event {
    match rng.random_range(0..20) {
        0..=5 => Event::Catches,
        6..=12 => Event::Throws { caught: true, bounces: 0 },
        13..=14 => Event::Throws { caught: false, bounces: 0 },
        15..=17 => Event::Throws { caught: false, bounces: 1 },
        _ => Event::Throws { caught: false, bounces: 2 },
    }
}

/// Colours other than those of the shirts.
fn sample_ball_look(rng: &mut ChaCha8Rng, worn: &[Name]) -> (Look, Name) {
    let is_worn =
        |colour: Colour| worn.iter().any(|name| matches!(name, Name::Colours(shirt, _) if *shirt == colour));
    let free: Vec<Colour> = Colour::ALL.into_iter().filter(|&colour| !is_worn(colour)).collect();
    let mut chosen = free.choose_multiple(rng, 2).copied();
    let base = chosen.next().unwrap_or(Colour::Red);
    let second = chosen.next().filter(|_| rng.random_bool(0.2));
    (Look::Skin(Skin::sample_named(rng, base, second)), Name::Colours(base, second))
}

/// Who throws speaks first; who catches may also speak afterwards.
fn sample_speech(rng: &mut ChaCha8Rng, voice: Voice, act: &Act) -> Speech {
    let after_s = act.caught.filter(|&(_, by)| by == 0).map(|(caught_s, _)| caught_s + 0.15);
    match after_s {
        Some(after_s) => Speech::sample(rng, voice, &Phrase::ALL, (after_s, CLIP_S - 0.2)),
        None => {
            let phrases = [Phrase::Catch, Phrase::Go, Phrase::OneTwoThree, Phrase::Hello];
            let phrases = if rng.random_bool(0.7) { &phrases[..] } else { &Phrase::ALL[..] };
            Speech::sample(rng, voice, phrases, (0.1, act.released_s))
        }
    }
}

fn sample_person(rng: &mut ChaCha8Rng, shot: Shot, x_m: f32, side: f32) -> Stand {
    let height_m = (shot.view_m() * rng.random_range(0.27..0.35)).clamp(1.6, 3.0);
    Stand::new(height_m, x_m, side, rng.random_range(0.0..TAU))
}

fn sample_side(rng: &mut ChaCha8Rng) -> f32 {
    if rng.random_bool(0.5) { 1.0 } else { -1.0 }
}

/// A share of the picture's width, counted from the edge behind a person who faces `side`.
fn place_m(shot: Shot, side: f32, share: f32) -> f32 {
    shot.view_m() * if side > 0.0 { share } else { 1.0 - share }
}

/// One throws; the ball strikes the floor `bounces` times.
fn draft_throw(rng: &mut ChaCha8Rng, shot: Shot, bounces: u32) -> Option<Act> {
    let side = sample_side(rng);
    let x_m = place_m(shot, side, rng.random_range(0.14..0.34));
    let mut person = sample_person(rng, shot, x_m, side);
    let ball = Ball::sample(rng);
    let over = rng.random_bool(0.5);
    let rise_rad: f32 = if over { rng.random_range(0.1..0.8) } else { rng.random_range(0.45..1.2) };
    let speed_m_s = rng.random_range(0.3..0.8) * (GRAVITY_M_S2 * shot.view_m()).sqrt();
    let velocity_m_s = (side * speed_m_s * rise_rad.cos(), speed_m_s * rise_rad.sin());
    // The fewer the bounces, the later the throw.
    let released_s = match bounces {
        0 => rng.random_range(2.7..3.5),
        1 => rng.random_range(1.3..3.0),
        _ => rng.random_range(1.0..2.4),
    };
    person.throw(released_s, velocity_m_s, over);
    let first = Flight { start_s: released_s, from_m: person.hand_m(released_s), velocity_m_s, rolls: false };
    let (flights, mut contacts) = ball.bounces(first, 1);
    // A strike too soft to see, or at the very edge of the clip, would make the count arguable.
    let arguable = |contact: &Contact| {
        (contact.time_s < CLIP_S && contact.speed_m_s < 1.5)
            || (CLIP_S - 0.12..CLIP_S + 0.06).contains(&contact.time_s)
    };
    if contacts.iter().any(arguable) {
        return None;
    }
    contacts.retain(|contact| contact.time_s < CLIP_S);
    (contacts.len() == bounces as usize).then_some(Act {
        people: vec![person],
        ball,
        released_s,
        flights,
        caught: None,
        contacts,
    })
}

/// One throws, the other catches.
fn draft_pass(rng: &mut ChaCha8Rng, shot: Shot) -> Option<Act> {
    let side = sample_side(rng);
    let thrower_x_m = place_m(shot, side, rng.random_range(0.14..0.26));
    let catcher_x_m = place_m(shot, side, rng.random_range(0.74..0.86));
    let thrower = sample_person(rng, shot, thrower_x_m, side);
    let catcher = sample_person(rng, shot, catcher_x_m, -side);
    let ball = Ball::sample(rng);
    let over = rng.random_bool(0.5);
    let released_s = rng.random_range(1.0..2.4);
    let flight_s = rng.random_range(0.6..1.15);
    let caught_s = released_s + flight_s;
    let arm_rad = rng.random_range(1.0..2.1);
    let catching = |velocity_m_s| {
        let mut catcher = catcher.clone();
        catcher.catch(caught_s, arm_rad, velocity_m_s);
        catcher
    };
    let throwing = |velocity_m_s| {
        let mut thrower = thrower.clone();
        thrower.throw(released_s, velocity_m_s, over);
        thrower
    };
    // Where the hand lets go depends on how it throws, and that on where it lets go; this soon settles, for
    // the ball flies much farther than the hand reaches.
    let target_m = catching((0.0, 0.0)).hand_m(caught_s);
    let mut flight = Flight::between(released_s, (thrower.x_m, thrower.height_m), target_m, flight_s);
    for _ in 0..16 {
        let from_m = throwing(flight.velocity_m_s).hand_m(released_s);
        flight = Flight::between(released_s, from_m, target_m, flight_s);
    }
    let rise_rad = flight.velocity_m_s.1.atan2(side * flight.velocity_m_s.0);
    let comfortable = if over { 0.0..0.85 } else { 0.35..1.25 };
    if !comfortable.contains(&rise_rad) {
        return None;
    }
    let people = vec![throwing(flight.velocity_m_s), catching(flight.velocity_at(caught_s))];
    caught(Act {
        people,
        ball,
        released_s,
        flights: vec![flight],
        caught: Some((caught_s, 1)),
        contacts: Vec::new(),
    })
}

/// One catches a ball that is in flight when the clip begins.
fn draft_catch(rng: &mut ChaCha8Rng, shot: Shot) -> Option<Act> {
    let side = sample_side(rng);
    let ball = Ball::sample(rng);
    // The catcher faces the edge from which the ball comes.
    let catcher_x_m = place_m(shot, side, rng.random_range(0.2..0.5));
    let catcher = sample_person(rng, shot, catcher_x_m, side);
    let edge_m = ball.radius_m + rng.random_range(0.05..0.4);
    let from_m = (
        if side > 0.0 { shot.view_m() - edge_m } else { edge_m },
        shot.top_m() * rng.random_range(0.2..0.75),
    );
    let caught_s = rng.random_range(0.65..1.4);
    let arm_rad = rng.random_range(1.0..2.2);
    let catching = |velocity_m_s| {
        let mut catcher = catcher.clone();
        catcher.catch(caught_s, arm_rad, velocity_m_s);
        catcher
    };
    let target_m = catching((0.0, 0.0)).hand_m(caught_s);
    let flight = Flight::between(0.0, from_m, target_m, caught_s);
    caught(Act {
        people: vec![catching(flight.velocity_at(caught_s))],
        ball,
        released_s: f32::NEG_INFINITY,
        flights: vec![flight],
        caught: Some((caught_s, 0)),
        contacts: Vec::new(),
    })
}

fn caught(mut act: Act) -> Option<Act> {
    let (caught_s, by) = act.caught?;
    act.contacts = vec![act.catch_contact(caught_s, by)?];
    Some(act)
}

/// The first wording that is short enough.
pub(super) fn caption(scene: &Scene, rng: &mut ChaCha8Rng) -> String {
    let mut text = wording(scene, false, rng);
    for attempt in 0..60 {
        if text.split(' ').count() <= LONGEST_CAPTION {
            break;
        }
        text = wording(scene, attempt > 6, rng);
    }
    text
}

/// A `brief` one leaves out who catches.
fn wording(scene: &Scene, brief: bool, rng: &mut ChaCha8Rng) -> String {
    let mut name =
        |index: usize| scene.actors.get(index).map_or_else(String::new, |a| captions::name(a, rng));
    let person = name(0);
    match scene.event {
        Event::Throws { caught: true, .. } => {
            let (other, ball) = (name(1), name(2));
            let other = if brief || rng.random_bool(0.2) {
                pick(&["another", "another person"], rng)
            } else {
                &other
            };
            let subject = speaking(scene, &person, rng);
            let verb = pick(&["throws", "tosses"], rng);
            match rng.random_range(0..5) {
                0 | 1 => format!("{subject} {verb} {ball} to {other} who catches it"),
                2 => format!("{subject} {verb} {ball} and {other} catches it"),
                3 => format!("{subject} {verb} {ball} then {other} catches it"),
                _ => format!("{subject} {verb} {ball} to {other} and it is a catch"),
            }
        }
        Event::Throws { bounces, .. } => {
            let ball = name(1);
            let subject = speaking(scene, &person, rng);
            let verb = pick(&["throws", "throws", "tosses"], rng);
            let right = ball_goes_right(scene);
            let towards = match rng.random_range(0..4) {
                0 if right => " to the right",
                0 => " to the left",
                _ => "",
            };
            if bounces == 0 {
                let stands = pick(&["", "", "", " stands and", " is standing and"], rng);
                let subject = if scene.speech.is_some() { subject } else { format!("{subject}{stands}") };
                return format!("{subject} {verb} {ball}{towards}");
            }
            let then = pick(&["and it", "and it", "then it"], rng);
            let floor = pick(&["", "", " on the floor"], rng);
            format!("{subject} {verb} {ball}{towards} {then} bounces {}{floor}", times(bounces, rng))
        }
        _ => {
            let ball = name(1);
            let from = match rng.random_range(0..3) {
                0 if ball_goes_right(scene) => " from the left",
                0 => " from the right",
                _ => "",
            };
            let said = scene.speech.as_ref().map_or_else(String::new, |speech| {
                format!(" {} says {}", pick(&["and", "then"], rng), speech.phrase.words())
            });
            match rng.random_range(0..5) {
                0 => format!("{person} stands and catches {ball}{from}{said}"),
                1 => format!("{ball} falls to {person} who catches it{said}"),
                2 => format!("{person} is standing and catches {ball}{from}{said}"),
                _ => format!("{person} catches {ball}{from}{said}"),
            }
        }
    }
}

/// The thrower, who may say something first.
fn speaking(scene: &Scene, person: &str, rng: &mut ChaCha8Rng) -> String {
    match &scene.speech {
        Some(speech) => {
            let then = pick(&["and", "and", "then"], rng);
            format!("{person} says {} {then}", speech.phrase.words())
        }
        None => person.to_owned(),
    }
}

fn ball_goes_right(scene: &Scene) -> bool {
    let Some(Track::Bodies(poses)) = scene.actors.last().map(|ball| &ball.track) else { return false };
    let x_m = |pose: Option<&Vec<Pose>>| pose.and_then(|bodies| bodies.first()).map_or(0.0, |pose| pose.x_m);
    x_m(poses.last()) > x_m(poses.first())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::DollPose;

    fn doll(scene: &Scene, index: usize) -> (&[DollPose], f32) {
        match (&scene.actors[index].track, scene.actors[index].body) {
            (Track::Doll(poses), Body::Person { height_m }) => (poses, height_m),
            _ => panic!("actor {index} is a person"),
        }
    }

    fn ball(scene: &Scene) -> (Vec<Pose>, f32) {
        let actor = scene.actors.last().unwrap();
        match (&actor.track, actor.body) {
            (Track::Bodies(bodies), Body::Ball { radius_m }) => {
                (bodies.iter().map(|bodies| bodies[0]).collect(), radius_m)
            }
            _ => panic!("the last actor is a ball"),
        }
    }

    fn gap_m(pose: &Pose, hand: (f32, f32)) -> f32 {
        (pose.x_m - hand.0).hypot(pose.y_m - hand.1)
    }

    #[test]
    fn all_stay_in_view_and_do_what_the_event_says() {
        for seed in 0..300 {
            let scene = sample(seed);
            let (poses, radius_m) = ball(&scene);
            for pose in &poses {
                assert!(pose.x_m > radius_m && pose.x_m < scene.shot.view_m() - radius_m, "seed {seed}");
                assert!(
                    pose.y_m > radius_m - 2e-3 && pose.y_m < scene.shot.top_m() - radius_m,
                    "seed {seed}"
                );
            }
            for index in 0..scene.actors.len() - 1 {
                let (poses, height_m) = doll(&scene, index);
                assert!(poses.iter().all(|pose| shows(scene.shot, pose, height_m)), "seed {seed}");
            }
            let floor = scene.contacts.iter().filter(|c| c.kind == ContactKind::Floor).count();
            let caught = scene.contacts.iter().any(|c| c.kind == ContactKind::Catch);
            match scene.event {
                Event::Throws { caught: expected, bounces } => {
                    assert_eq!((floor, caught), (bounces as usize, expected), "seed {seed}");
                    assert_eq!(scene.actors.len(), if expected { 3 } else { 2 });
                }
                Event::Catches => assert_eq!((floor, caught, scene.actors.len()), (0, true, 2)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn the_ball_is_at_the_hand_when_it_is_caught_and_stays_there() {
        for seed in 0..300 {
            let scene = sample(seed);
            let (poses, _) = ball(&scene);
            for contact in scene.contacts.iter().filter(|contact| contact.kind == ContactKind::Catch) {
                let (dolls, height_m) = doll(&scene, contact.other.unwrap());
                let first = (contact.time_s * FPS as f32).ceil() as usize;
                for frame in first..FRAMES {
                    assert!(gap_m(&poses[frame], dolls[frame].hand_m(1, height_m)) < 0.01, "seed {seed}");
                }
                // The flight before it ends where the contact is: extrapolate from the last three frames.
                let place = contact.time_s * FPS as f32 - (first - 1) as f32;
                let [a, b, c] = [first - 3, first - 2, first - 1].map(|frame| poses[frame]);
                let onwards = |a: f32, b: f32, c: f32| {
                    let (slope, bend) = (c - b, c - 2.0 * b + a);
                    c + place * slope + 0.5 * place * (place + 1.0) * bend
                };
                let end = Pose {
                    x_m: onwards(a.x_m, b.x_m, c.x_m),
                    y_m: onwards(a.y_m, b.y_m, c.y_m),
                    angle_rad: 0.0,
                };
                assert!(gap_m(&end, (contact.x_m, contact.y_m)) < 0.01, "seed {seed}");
            }
        }
    }

    #[test]
    fn a_thrown_ball_leaves_the_hand_and_falls_freely() {
        for seed in 0..300 {
            let scene = sample(seed);
            let (poses, radius_m) = ball(&scene);
            let (dolls, height_m) = doll(&scene, 0);
            let held = |frame: usize| gap_m(&poses[frame], dolls[frame].hand_m(1, height_m)) < 1e-3;
            let free = if scene.event == Event::Catches {
                0
            } else {
                assert!(held(0), "seed {seed}");
                (0..FRAMES).find(|&frame| !held(frame)).unwrap()
            };
            let end = scene.contacts.first().map_or(FRAMES, |c| (c.time_s * FPS as f32).ceil() as usize);
            for frame in free + 1..end.saturating_sub(1) {
                let bend = poses[frame + 1].y_m - 2.0 * poses[frame].y_m + poses[frame - 1].y_m;
                let gravity = -bend * (FPS * FPS) as f32;
                assert!((gravity / GRAVITY_M_S2 - 1.0).abs() < 0.005, "seed {seed}: {gravity}");
            }
            // Nothing that is seen in two frames is farther apart than the ball's speed explains.
            for pair in poses.windows(2) {
                assert!(gap_m(&pair[1], (pair[0].x_m, pair[0].y_m)) < 14.0 / FPS as f32, "seed {seed}");
            }
            for contact in scene.contacts.iter().filter(|contact| contact.kind == ContactKind::Floor) {
                let frame = (contact.time_s * FPS as f32) as usize;
                let lowest = poses[frame.saturating_sub(1)..(frame + 3).min(FRAMES)]
                    .iter()
                    .fold(f32::INFINITY, |low, pose| low.min(pose.y_m));
                assert!(lowest < radius_m + 0.5 * contact.speed_m_s / FPS as f32 + 0.02, "seed {seed}");
            }
        }
    }

    #[test]
    fn what_bounces_keeps_its_share_of_the_speed() {
        let ball = Ball { radius_m: 0.3, restitution: 0.7, angle_rad: 0.0, spin_rad_s: 1.0 };
        let first = Flight { start_s: 0.0, from_m: (1.0, 2.0), velocity_m_s: (1.0, 2.0), rolls: false };
        let (flights, contacts) = ball.bounces(first, 1);
        for pair in contacts.windows(2) {
            assert!((pair[1].speed_m_s / pair[0].speed_m_s - 0.7).abs() < 1e-4);
        }
        for (flight, contact) in flights.iter().zip(&contacts) {
            let (x_m, y_m) = flight.at(contact.time_s);
            assert!((y_m - 0.3).abs() < 1e-4 && (x_m - contact.x_m).abs() < 1e-4);
        }
        assert!((contacts[0].speed_m_s - (4.0 + 2.0 * 9.81 * 1.7_f32).sqrt()).abs() < 1e-4);
    }

    #[test]
    fn captions_say_what_happens_in_varied_words() {
        for seed in 0..120 {
            let scene = sample(seed);
            let mut seen = std::collections::BTreeSet::new();
            for wording in 0..60 {
                let text = caption(&scene, &mut ChaCha8Rng::seed_from_u64(wording));
                assert!(text.split(' ').count() <= LONGEST_CAPTION, "{text}");
                let is_catch = matches!(scene.event, Event::Catches | Event::Throws { caught: true, .. });
                let says_catch = ["catches", "is a catch"].iter().any(|words| text.contains(words));
                assert_eq!(is_catch, says_catch, "{text}");
                assert_eq!(
                    matches!(scene.event, Event::Throws { caught: false, bounces: 1.. }),
                    text.contains("bounces")
                );
                if let Some(speech) = &scene.speech {
                    assert!(text.contains(speech.phrase.words()), "{text}");
                }
                seen.insert(text);
            }
            assert!(seen.len() >= 5, "{seen:?}");
        }
    }
}
