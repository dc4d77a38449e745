//! A person who walks, jumps, waves and speaks.
//!
//! A seed goes in, a scene with one person comes out; a scene goes in, a sentence comes out.
//! INVARIANT: what the event says is what the person does, wholly in view.

use std::f32::consts::TAU;

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Family;
use crate::world::gait::{self, Jump, Stand, Walk};
use crate::world::identity::sample_cast;
use crate::world::{
    Actor, Body, CLIP_S, Contact, DollPose, Event, GRAVITY_M_S2, Look, Phrase, Scene, Shot, Speech, Stage,
    Track, caption as captions,
};

/// The person's motion.
struct Act {
    poses: Vec<DollPose>,
    contacts: Vec<Contact>,
}

pub(super) fn sample(seed: u64) -> Scene {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shot = Shot::sample(&mut rng);
    let stage = Stage::sample(&mut rng);
    let event = sample_event(&mut rng);
    let (act, height_m, speech, role) = loop {
        let height_m = sample_height_m(&mut rng, shot);
        let Some(role) = sample_cast(&mut rng, 1).pop() else { continue };
        let speaks = event == Event::Stands || rng.random_bool(0.6);
        let speech = speaks.then(|| {
            let phrases: &[Phrase] = match event {
                Event::Waves if rng.random_bool(0.6) => &[Phrase::Hello, Phrase::Bye],
                _ => &Phrase::ALL,
            };
            Speech::sample(&mut rng, role.identity.voice, phrases, (0.2, CLIP_S - 0.2))
        });
        let act = sample_act(&mut rng, event, shot, height_m, speech.as_ref());
        if act.poses.iter().all(|pose| shows(shot, pose, height_m)) && is_event(event, shot, &act) {
            break (act, height_m, speech, role);
        }
    };
    let poses = match &speech {
        Some(speech) => speech.spoken_by(act.poses),
        None => act.poses,
    };
    let actor = Actor {
        body: Body::Person { height_m },
        look: Look::Person(role.identity.appearance),
        name: role.name,
        track: Track::Doll(poses),
        restitution: 0.0,
    };
    Scene {
        family: Family::Walk,
        seed,
        shot,
        stage,
        actors: vec![actor],
        contacts: act.contacts,
        speech,
        event,
    }
}

fn sample_event(rng: &mut ChaCha8Rng) -> Event {
    match rng.random_range(0..20) {
        0..=7 => Event::Walks { right: rng.random_bool(0.5) },
        8..=12 => Event::Jumps(rng.random_range(1..=3)),
        13..=16 => Event::Waves,
        _ => Event::Stands,
    }
}

/// A height that fills about a third of the picture.
fn sample_height_m(rng: &mut ChaCha8Rng, shot: Shot) -> f32 {
    (shot.view_m() * rng.random_range(0.28..0.37)).clamp(1.6, 3.0)
}

/// True while a person is wholly in view.
pub(super) fn shows(shot: Shot, pose: &DollPose, height_m: f32) -> bool {
    let [left, right, bottom, top] = gait::extent_m(pose, height_m);
    left > 0.0 && right < shot.view_m() && bottom > -0.02 * height_m && top < shot.top_m()
}

fn sample_act(rng: &mut ChaCha8Rng, event: Event, shot: Shot, height_m: f32, speech: Option<&Speech>) -> Act {
    let breath_rad = rng.random_range(0.0..TAU);
    if let Event::Walks { right } = event {
        let side = if right { 1.0 } else { -1.0 };
        // People's speed goes with the root of their size.
        let speed_m_s = rng.random_range(0.3..0.62) * (0.42 * height_m * GRAVITY_M_S2).sqrt();
        let start_s = rng.random_range(-1.0..0.7);
        let mut walk = Walk {
            height_m,
            from_x_m: 0.0,
            side,
            speed_m_s,
            start_s,
            steps: rng.random_range(3..=12),
            breath_rad,
        };
        let margin_m = 0.3 * height_m;
        let room_m = (shot.view_m() - 2.0 * margin_m - walk.distance_m()).max(0.0);
        let from_edge_m = margin_m + rng.random::<f32>() * room_m;
        walk.from_x_m = if right { from_edge_m } else { shot.view_m() - from_edge_m };
        let mut contacts = walk.contacts(0);
        contacts.retain(|contact| (0.0..CLIP_S).contains(&contact.time_s));
        return Act { poses: gait::frames(|time_s| walk.pose(time_s)), contacts };
    }
    let x_m = shot.view_m() * rng.random_range(0.2..0.8);
    let side = if rng.random_bool(0.5) { 1.0 } else { -1.0 };
    let mut stand = Stand::new(height_m, x_m, side, breath_rad);
    match event {
        Event::Jumps(count) => jump(rng, &mut stand, count),
        Event::Waves => {
            let start_s = rng.random_range(0.1..0.9);
            stand.wave(start_s, rng.random_range(start_s + 1.8..CLIP_S - 0.1));
        }
        _ => {
            if let Some(speech) = speech.filter(|_| rng.random_bool(0.6)) {
                stand.gesture(speech.start_s - 0.15, speech.start_s + speech.phrase.duration_s());
            }
        }
    }
    Act { poses: gait::frames(|time_s| stand.pose(time_s)), contacts: stand.contacts(0) }
}

/// Equal jumps with time before, between and after them.
fn jump(rng: &mut ChaCha8Rng, stand: &mut Stand, count: u32) {
    let times = count as f32;
    let around_s = times * (Stand::CROUCH_S + Stand::SETTLE_S);
    let longest_s = ((CLIP_S - 0.2 - around_s) / times).min(0.85);
    let flight_s = rng.random_range(0.46..longest_s);
    let spare_s = (CLIP_S - 0.2 - around_s - times * flight_s) / (times + 1.0);
    let mut now_s = 0.0;
    for _ in 0..count {
        let start_s = now_s + rng.random_range(0.0..spare_s.max(1e-3)) + Stand::CROUCH_S;
        let jump = Jump { start_s, speed_m_s: GRAVITY_M_S2 * flight_s / 2.0 };
        stand.jump(jump);
        now_s = jump.landing_s() + Stand::SETTLE_S;
    }
}

/// True when an onlooker would say that this is what happens.
fn is_event(event: Event, shot: Shot, act: &Act) -> bool {
    match (event, act.poses.first(), act.poses.last()) {
        (Event::Walks { right }, Some(first), Some(last)) => {
            let walked_m = if right { last.x_m - first.x_m } else { first.x_m - last.x_m };
            walked_m > 0.25 * shot.view_m() && act.contacts.len() >= 2
        }
        _ => true,
    }
}

pub(super) fn caption(scene: &Scene, rng: &mut ChaCha8Rng) -> String {
    let Some(actor) = scene.actors.first() else { return String::new() };
    let person = captions::name(actor, rng);
    let words = scene.speech.as_ref().map(|speech| speech.phrase.words());
    let deed = deed(scene.event, rng);
    let Some(words) = words else { return format!("{person} {deed}") };
    if scene.event == Event::Stands {
        let says = pick(
            &["says", "stands and says", "is saying", "saying", "is standing and says", "stands saying"],
            rng,
        );
        return format!("{person} {says} {words}");
    }
    match rng.random_range(0..5) {
        0 => format!("{person} says {words} and {}", finite(scene.event, rng)),
        1 => format!("{person} {deed} saying {words}"),
        2 => format!("{person} says {words} while {}", during(scene.event, rng)),
        _ => format!("{person} {deed} and says {words}"),
    }
}

/// What the person does, after the name.
fn deed(event: Event, rng: &mut ChaCha8Rng) -> String {
    match rng.random_range(0..5) {
        0 => format!("is {}", during(event, rng)),
        1 => during(event, rng),
        _ => finite(event, rng),
    }
}

fn finite(event: Event, rng: &mut ChaCha8Rng) -> String {
    match event {
        Event::Walks { right } => format!("walks {}", towards(right, rng)),
        Event::Jumps(count) => format!("{} {}", pick(&["jumps", "jumps", "hops"], rng), times(count, rng)),
        Event::Waves => {
            pick(&["waves", "waves", "stands and waves", "is standing and waves"], rng).to_owned()
        }
        _ => "stands".to_owned(),
    }
}

fn during(event: Event, rng: &mut ChaCha8Rng) -> String {
    match event {
        Event::Walks { right } => format!("walking {}", towards(right, rng)),
        Event::Jumps(count) => {
            format!("{} {}", pick(&["jumping", "jumping", "hopping"], rng), times(count, rng))
        }
        Event::Waves => pick(&["waving", "standing and waving"], rng).to_owned(),
        _ => "standing".to_owned(),
    }
}

fn towards(right: bool, rng: &mut ChaCha8Rng) -> String {
    let side = if right { "right" } else { "left" };
    format!("{}{side}", pick(&["to the ", "to the ", ""], rng))
}

/// How often.
pub(super) fn times(count: u32, rng: &mut ChaCha8Rng) -> &'static str {
    match count {
        1 => pick(&["once", "once", "one time"], rng),
        2 => pick(&["twice", "twice", "two times"], rng),
        _ => "three times",
    }
}

pub(super) fn pick(options: &[&'static str], rng: &mut ChaCha8Rng) -> &'static str {
    options.choose(rng).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{ContactKind, FPS, FRAMES, Name, VoiceFrame};

    fn poses(scene: &Scene) -> &[DollPose] {
        match &scene.actors[0].track {
            Track::Doll(poses) => poses,
            Track::Bodies(_) => panic!("a person has a doll's track"),
        }
    }

    fn height_m(scene: &Scene) -> f32 {
        match scene.actors[0].body {
            Body::Person { height_m } => height_m,
            _ => panic!("actor 0 is a person"),
        }
    }

    #[test]
    fn everybody_stays_in_view_and_does_what_the_event_says() {
        for seed in 0..300 {
            let scene = sample(seed);
            let (poses, height_m) = (poses(&scene), height_m(&scene));
            assert_eq!(poses.len(), FRAMES);
            assert!((1.6..=3.0).contains(&height_m));
            assert!(poses.iter().all(|pose| shows(scene.shot, pose, height_m)), "seed {seed}");
            assert!(scene.contacts.windows(2).all(|pair| pair[0].time_s <= pair[1].time_s));
            assert!(scene.contacts.iter().all(|c| (0.0..CLIP_S).contains(&c.time_s) && c.impulse_n_s > 0.0));
            let count = |kind| scene.contacts.iter().filter(|contact| contact.kind == kind).count();
            let moved_m = poses[FRAMES - 1].x_m - poses[0].x_m;
            match scene.event {
                Event::Walks { right } => {
                    assert!(if right { moved_m > 1.0 } else { moved_m < -1.0 }, "seed {seed}: {moved_m}");
                    assert_eq!(count(ContactKind::Step), scene.contacts.len());
                }
                Event::Jumps(times) => {
                    assert_eq!(count(ContactKind::Landing), times as usize);
                    let ground = poses[0].y_m;
                    let off: Vec<bool> = poses.iter().map(|pose| pose.y_m > ground + 0.05).collect();
                    let flights = off.windows(2).filter(|pair| !pair[0] && pair[1]).count();
                    assert_eq!(flights, times as usize, "seed {seed}");
                }
                Event::Waves => {
                    let up = poses.iter().filter(|p| (p.arms_rad[1] + p.lean_rad).abs() > 1.6).count();
                    assert!(up > 20 && scene.contacts.is_empty(), "seed {seed}: {up}");
                }
                Event::Stands => assert!(scene.speech.is_some() && scene.contacts.is_empty()),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_foot_is_on_the_floor_at_every_step_and_nothing_moves_too_far_in_a_frame() {
        for seed in 0..300 {
            let scene = sample(seed);
            let (poses, height_m) = (poses(&scene), height_m(&scene));
            for contact in scene.contacts.iter().filter(|contact| contact.kind == ContactKind::Step) {
                let place = contact.time_s * FPS as f32;
                let Some(pair) = poses.get(place as usize..place as usize + 2) else { continue };
                let lowest = |pose: &DollPose| {
                    (0..2).map(|side| gait::sole_m(pose, side, height_m).1).fold(f32::INFINITY, f32::min)
                };
                assert!(pair.iter().all(|pose| lowest(pose).abs() < 0.03), "seed {seed}");
                let near = |pose: &DollPose| {
                    (0..2)
                        .map(|side| (gait::sole_m(pose, side, height_m).0 - contact.x_m).abs())
                        .fold(f32::INFINITY, f32::min)
                };
                assert!(near(&pair[1]) < 0.03, "seed {seed}: {} m beside the step", near(&pair[1]));
            }
            for pair in poses.windows(2) {
                let moved_m = (pair[1].x_m - pair[0].x_m).hypot(pair[1].y_m - pair[0].y_m);
                assert!(moved_m < 5.0 / FPS as f32, "seed {seed}: {moved_m}");
            }
        }
    }

    #[test]
    fn the_mouth_moves_with_the_speech_of_most_scenes() {
        let scenes: Vec<Scene> = (0..300).map(sample).collect();
        let speaking = scenes.iter().filter(|scene| scene.speech.is_some()).count();
        assert!((170..=230).contains(&speaking), "{speaking} of 300 speak");
        let cameos = scenes.iter().filter(|scene| scene.actors[0].name == Name::Cameo).count();
        assert!((50..=100).contains(&cameos), "{cameos} of 300 are cameos");
        for scene in &scenes {
            let rows = scene.speech.as_ref().map_or_else(Vec::new, Speech::frames);
            for (frame, pose) in poses(scene).iter().enumerate() {
                let row = rows.get(2 * frame).copied().unwrap_or_default();
                assert_eq!(pose.mouth > 0.0, row != VoiceFrame::default(), "seed {}", scene.seed);
            }
            if let Some(speech) = &scene.speech {
                assert!(speech.start_s + speech.phrase.duration_s() < CLIP_S);
            }
        }
    }

    #[test]
    fn captions_say_what_happens_in_varied_words() {
        for seed in 0..100 {
            let scene = sample(seed);
            let mut seen = std::collections::BTreeSet::new();
            for wording in 0..60 {
                let text = caption(&scene, &mut ChaCha8Rng::seed_from_u64(wording));
                assert!(text.split(' ').count() <= 24, "{text}");
                let says = |word: &str| text.split(' ').any(|other| other == word);
                match scene.event {
                    Event::Walks { right } => assert!(says(if right { "right" } else { "left" }), "{text}"),
                    Event::Jumps(count) => {
                        let word = ["once", "twice", "three"][count as usize - 1];
                        let counted = scene.speech.as_ref().map(|s| s.phrase) == Some(Phrase::OneTwoThree);
                        assert!(counted || says(word) || says("one") || says("two"), "{text}");
                    }
                    Event::Waves => assert!(says("waves") || says("waving"), "{text}"),
                    _ => {}
                }
                if let Some(speech) = &scene.speech {
                    assert!(text.contains(speech.phrase.words()), "{text}");
                }
                seen.insert(text);
            }
            assert!(seen.len() >= 5, "{seen:?}");
        }
    }
}
