//! What must hold of every scene of rigid bodies.

use proptest::prelude::*;

use super::*;
use crate::world::{CLIP_S, ContactKind, FPS, FRAMES, Fixture, GRAVITY_M_S2, Pose};

const RIGID: [Family; 6] =
    [Family::Bounce, Family::Hoop, Family::Collision, Family::Dominoes, Family::Pendulum, Family::Ramp];

fn poses(actor: &Actor) -> &[Vec<Pose>] {
    match &actor.track {
        Track::Bodies(frames) => frames,
        Track::Doll(_) => &[],
    }
}

/// Half of the width and height that a body takes up.
fn reach_m(body: &Body, angle_rad: f32) -> (f32, f32) {
    match *body {
        Body::Ball { radius_m } | Body::Pendulum { radius_m, .. } => (radius_m, radius_m),
        Body::Blocks { half_width_m: w, half_height_m: h, .. } => {
            let (sin, cos) = (angle_rad.sin().abs(), angle_rad.cos().abs());
            (w * cos + h * sin, w * sin + h * cos)
        }
        Body::Person { .. } => (0.0, 0.0),
    }
}

fn radius_m(actor: &Actor) -> f32 {
    reach_m(&actor.body, 0.0).0
}

fn mass_kg(actor: &Actor) -> f32 {
    PI * radius_m(actor).powi(2)
}

/// The places of a single body, one a frame.
fn path(actor: &Actor) -> Vec<(f32, f32)> {
    poses(actor).iter().map(|bodies| (bodies[0].x_m, bodies[0].y_m)).collect()
}

/// Velocity at a time of the flight whose frames `first..=last` are given, exact for a parabola.
fn flight(path: &[(f32, f32)], first: usize, last: usize, time_s: f32) -> ((f32, f32), (f32, f32)) {
    let (from_s, span_s) = (first as f32 / FPS as f32, (last - first) as f32 / FPS as f32);
    let (a, b) = (path[first], path[last]);
    let vx = (b.0 - a.0) / span_s;
    let vy = (b.1 - a.1) / span_s + GRAVITY_M_S2 * span_s / 2.0;
    let t = time_s - from_s;
    ((a.0 + vx * t, a.1 + vy * t - GRAVITY_M_S2 * t * t / 2.0), (vx, vy - GRAVITY_M_S2 * t))
}

/// The frames of the flights between the contacts of one ball, two frames of it at least.
fn flights(times_s: &[f32]) -> Vec<(usize, usize)> {
    let edges = std::iter::once(0.0).chain(times_s.iter().copied()).chain([CLIP_S]);
    let edges: Vec<f32> = edges.collect();
    edges
        .windows(2)
        .map(|edge| ((edge[0] * FPS as f32 + 0.1).ceil(), (edge[1] * FPS as f32 - 0.1).floor()))
        .map(|(first, last)| (first.max(0.0) as usize, (last.max(0.0) as usize).min(FRAMES - 1)))
        .filter(|(first, last)| first + 1 < *last)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn everything_stays_in_view_and_contacts_are_in_order(seed in any::<u64>(), family in 0..6_usize) {
        let scene = RIGID[family].sample(seed);
        let (view_m, top_m) = (scene.shot.view_m(), scene.shot.top_m());
        for actor in &scene.actors {
            prop_assert_eq!(poses(actor).len(), FRAMES);
            for pose in poses(actor).iter().flatten() {
                let (across, up) = reach_m(&actor.body, pose.angle_rad);
                prop_assert!(pose.x_m >= across && pose.x_m <= view_m - across, "{:?}", pose);
                prop_assert!(pose.y_m >= up - 0.03 && pose.y_m <= top_m - up, "{:?}", pose);
            }
        }
        prop_assert!(scene.contacts.is_sorted_by(|a, b| a.time_s <= b.time_s));
        for contact in &scene.contacts {
            prop_assert!((0.0..=CLIP_S).contains(&contact.time_s), "{:?}", contact);
            prop_assert!(contact.speed_m_s > 0.25 && contact.impulse_n_s > 0.01, "{:?}", contact);
            prop_assert!(contact.actor < scene.actors.len());
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn nothing_turns_without_a_contact(seed in any::<u64>(), family in 0..3_usize) {
        let scene = RIGID[family].sample(seed);
        for (index, actor) in scene.actors.iter().enumerate() {
            let path = path(actor);
            for (frame, way) in path.windows(3).enumerate() {
                let turn = |axis: fn(&(f32, f32)) -> f32| {
                    (axis(&way[2]) - 2.0 * axis(&way[1]) + axis(&way[0])) * FPS as f32
                };
                let (across, up) = (turn(|at| at.0), turn(|at| at.1));
                // Gravity, friction and the net's drag change less in a frame.
                if across.abs() < 1.2 && up.abs() < 1.2 {
                    continue;
                }
                let (from_s, to_s) = (frame as f32 / FPS as f32, (frame + 2) as f32 / FPS as f32);
                let struck = scene.contacts.iter().any(|contact| {
                    (contact.actor == index || contact.other == Some(index))
                        && (from_s - 1e-3..=to_s + 1e-3).contains(&contact.time_s)
                });
                prop_assert!(struck, "actor {} turns by {} m/s unheard at {} s", index, up, to_s);
            }
        }
    }

    #[test]
    fn flights_follow_gravity_and_end_at_the_contacts(seed in any::<u64>()) {
        let scene = Family::Bounce.sample(seed);
        let path = path(&scene.actors[0]);
        let times_s: Vec<f32> = scene.contacts.iter().map(|contact| contact.time_s).collect();
        for &(first, last) in &flights(&times_s) {
            let middle = usize::midpoint(first, last);
            let early = (middle - first) as f32 / FPS as f32;
            let late = (last - middle) as f32 / FPS as f32;
            if early.min(late) < 0.15 {
                continue;
            }
            let slope = |a: usize, b: usize, s: f32| (path[b].1 - path[a].1) / s;
            let fall = slope(first, middle, early) - slope(middle, last, late);
            let gravity = 2.0 * fall / (early + late);
            prop_assert!((gravity / GRAVITY_M_S2 - 1.0).abs() < 1e-3, "{}", gravity);
        }
        for contact in &scene.contacts {
            // The arcs before and after meet on the floor at the very time of the contact.
            for &(first, last) in &flights(&times_s) {
                let (from_s, to_s) = (first as f32 / FPS as f32, last as f32 / FPS as f32);
                if (to_s - contact.time_s).abs() < 1.2 / FPS as f32
                    || (from_s - contact.time_s).abs() < 1.2 / FPS as f32
                {
                    let ((_, y), (_, vy)) = flight(&path, first, last, contact.time_s);
                    let late_s = (y - radius_m(&scene.actors[0])) / vy.abs();
                    prop_assert!(late_s.abs() < 1e-3, "{} s off at {}", late_s, contact.time_s);
                }
            }
        }
    }

    #[test]
    fn the_bounces_of_the_track_are_counted(seed in any::<u64>()) {
        let scene = Family::Bounce.sample(seed);
        let path = path(&scene.actors[0]);
        let rises: Vec<bool> = path.windows(2).map(|pair| pair[1].1 > pair[0].1).collect();
        let turns = rises.windows(2).filter(|pair| !pair[0] && pair[1]).count() as u32;
        // One that ends within the first or last frame has no fall before it, or no rise after it.
        prop_assert_eq!(scene.event, Event::Bounces(turns));
        for contact in &scene.contacts {
            prop_assert_eq!(contact.kind, ContactKind::Floor);
            let kept = scene.actors[0].restitution;
            let impulse = mass_kg(&scene.actors[0]) * contact.speed_m_s * (1.0 + kept);
            prop_assert!((contact.impulse_n_s / impulse - 1.0).abs() < 0.02);
        }
    }

    #[test]
    fn momentum_is_kept_where_balls_meet_in_the_air(seed in any::<u64>()) {
        let scene = Family::Collision.sample(seed);
        let times_s: Vec<f32> = scene.contacts.iter().map(|contact| contact.time_s).collect();
        let meeting = scene.contacts.iter().find(|contact| contact.kind == ContactKind::Ball).unwrap();
        if scene.event == (Event::Collides { airborne: false }) {
            return Ok(());
        }
        let at = meeting.time_s * FPS as f32;
        let flights = flights(&times_s);
        let before = flights.iter().find(|&&(_, last)| (last as f32 - at).abs() < 1.2);
        let after = flights.iter().find(|&&(first, _)| (first as f32 - at).abs() < 1.2);
        let (Some(&before), Some(&after)) = (before, after) else { return Ok(()) };
        let momentum = |(first, last): (usize, usize)| {
            scene.actors.iter().fold((0.0, 0.0, 0.0), |(x, y, size), actor| {
                let (_, (vx, vy)) = flight(&path(actor), first, last, meeting.time_s);
                let mass = mass_kg(actor);
                (x + mass * vx, y + mass * vy, size + mass * vx.hypot(vy))
            })
        };
        let ((ax, ay, size), (bx, by, _)) = (momentum(before), momentum(after));
        prop_assert!((ax - bx).hypot(ay - by) < 0.01 * size, "({ax}, {ay}) then ({bx}, {by})");
    }

    #[test]
    fn a_ball_scores_by_falling_between_the_rims(seed in any::<u64>()) {
        let scene = Family::Hoop.sample(seed);
        let Some(Fixture::Hoop(hoop)) = scene.stage.fixture else { panic!("no hoop") };
        let falls = path(&scene.actors[0]).windows(2).filter(|pair| {
            let (from, to) = (pair[0], pair[1]);
            let share = (from.1 - hoop.height_m) / (from.1 - to.1);
            from.1 >= hoop.height_m && to.1 < hoop.height_m
                && hoop.spans(from.0 + share * (to.0 - from.0))
        }).count();
        let struck = |kind| scene.contacts.iter().any(|contact| contact.kind == kind);
        prop_assert_eq!(falls > 0, matches!(scene.event, Event::Scores { .. }));
        match scene.event {
            Event::Scores { banked } => prop_assert_eq!(banked, struck(ContactKind::Board)),
            Event::Misses { rim } => prop_assert_eq!(rim, struck(ContactKind::Rim)),
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn blocks_fall_or_stand_as_counted(seed in any::<u64>()) {
        let scene = Family::Dominoes.sample(seed);
        let last = poses(&scene.actors[1]).last().unwrap();
        let degrees: Vec<f32> =
            last.iter().map(|pose| pose.angle_rad.cos().abs().acos().to_degrees()).collect();
        let fallen = degrees.iter().filter(|&&lean| lean > 60.0).count() as u32;
        prop_assert!(degrees.iter().all(|&lean| !(10.0..=60.0).contains(&lean)), "{:?}", degrees);
        prop_assert_eq!(scene.event, Event::Topples { fallen, blocks: last.len() as u32 });
        // Each block but the first is knocked over by another.
        let knocks = scene.contacts.iter().filter(|c| c.kind == ContactKind::Block && c.actor == 1);
        prop_assert!(knocks.count() as u32 >= fallen - 1);
        let first = scene.contacts.first().unwrap();
        prop_assert_eq!((first.kind, first.actor), (ContactKind::Block, 0));
        // The ball rolls freely until it strikes: solve by hand when.
        let (ball, row) = (path(&scene.actors[0]), poses(&scene.actors[1])[0].clone());
        let Body::Blocks { half_width_m, .. } = scene.actors[1].body else { panic!("no blocks") };
        let way_m = (row[0].x_m - ball[0].0).abs() - half_width_m - radius_m(&scene.actors[0]);
        let step = |frame: usize| (ball[frame].0 - ball[0].0).abs();
        let last_free = (first.time_s * FPS as f32 - 0.1).floor() as usize;
        if last_free >= 4 {
            let (half_s, whole_s) = ((last_free / 2) as f32 / FPS as f32, last_free as f32 / FPS as f32);
            let (half, whole) = (step(last_free / 2) / half_s, step(last_free) / whole_s);
            let drag = (half - whole) / (whole_s - half_s);
            let speed = whole + drag * whole_s;
            let there_m = speed * first.time_s - drag * first.time_s.powi(2);
            let end_m_s = speed - 2.0 * drag * first.time_s;
            prop_assert!(((there_m - way_m) / end_m_s).abs() < 1e-3, "{there_m} of {way_m} m");
        }
    }

    #[test]
    fn passes_of_the_pendulum_are_counted_and_its_rod_is_rigid(seed in any::<u64>()) {
        let scene = Family::Pendulum.sample(seed);
        let Body::Pendulum { pivot_m: (x, y), .. } = scene.actors[0].body else { panic!("no pendulum") };
        let bob = path(&scene.actors[0]);
        let lengths: Vec<f32> = bob.iter().map(|at| (at.0 - x).hypot(at.1 - y)).collect();
        prop_assert!(lengths.iter().all(|length| (length - lengths[0]).abs() < 1e-4));
        let passes = bob.windows(2).filter(|pair| (pair[0].0 - x) * (pair[1].0 - x) <= 0.0).count();
        let strikes = !scene.contacts.is_empty();
        prop_assert_eq!(scene.event, Event::Swings { passes: passes as u32, strikes });
        prop_assert_eq!(strikes, scene.actors.len() == 2);
        // Each turning point is lower than the one before.
        let peaks: Vec<f32> = bob
            .windows(3)
            .filter(|at| at[1].1 > at[0].1 && at[1].1 >= at[2].1)
            .map(|at| at[1].1)
            .collect();
        prop_assert!(peaks.iter().all(|&peak| peak <= bob[0].1 + 1e-4));
        if let Some(contact) = scene.contacts.first() {
            prop_assert_eq!(scene.contacts.len(), 1);
            let ball = path(&scene.actors[1]);
            let frame = (contact.time_s * FPS as f32) as usize;
            prop_assert!((ball[frame].0 - ball[0].0).abs() < 1e-5);
            prop_assert!((ball[FRAMES - 1].0 - ball[0].0) * (ball[0].0 - x) > 0.0);
            // The two push each other as hard, whatever they weigh.
            let (bob_kg, ball_kg) = (mass_kg(&scene.actors[0]), mass_kg(&scene.actors[1]));
            let reduced = bob_kg * ball_kg / (bob_kg + ball_kg);
            let reach = radius_m(&scene.actors[0]) + radius_m(&scene.actors[1]);
            let across = (ball[0].0 - x).abs() / reach;
            let impulse = reduced * (1.0 + scene.actors[1].restitution) * contact.speed_m_s.abs() / across.powi(2);
            prop_assert!((contact.impulse_n_s / impulse - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn a_ball_on_a_ramp_gains_what_a_rolling_disc_gains(seed in any::<u64>()) {
        let scene = Family::Ramp.sample(seed);
        let Some(Fixture::Ramp(ramp)) = scene.stage.fixture else { panic!("no ramp") };
        let ball = path(&scene.actors[0]);
        let struck = scene.contacts.iter().any(|contact| contact.kind == ContactKind::Block);
        prop_assert_eq!(scene.event, Event::Rolls { strikes: struck });
        prop_assert_eq!(scene.actors.len(), if struck { 2 } else { 1 });
        if !struck {
            let (last, before) = (ball[FRAMES - 1], ball[FRAMES - 3]);
            prop_assert!((last.0 - before.0).abs() < 0.01, "still rolls");
        }
        let dropped = scene.contacts.iter().any(|contact| contact.kind == ContactKind::Ramp);
        if !dropped {
            let way = |frame: usize| (ball[frame].0 - ball[0].0).hypot(ball[frame].1 - ball[0].1);
            let frame = 10;
            let time_s = frame as f32 / FPS as f32;
            let expected = GRAVITY_M_S2 * ramp.angle_rad().sin() / 3.0 * time_s * time_s;
            prop_assert!((way(frame) / expected - 1.0).abs() < 0.01, "{} of {}", way(frame), expected);
            let turned = turned_rad(poses(&scene.actors[0]), 0, frame).abs();
            prop_assert!((turned * radius_m(&scene.actors[0]) / way(frame) - 1.0).abs() < 0.01);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_scene(seed in any::<u64>(), family in 0..6_usize) {
        let scene = RIGID[family].sample(seed);
        prop_assert_eq!(&scene, &RIGID[family].sample(seed));
        prop_assert_ne!(scene.actors, RIGID[family].sample(seed ^ 1).actors);
    }
}

/// By how much a body turns between two frames, when by less than half a turn from each to the next.
fn turned_rad(poses: &[Vec<Pose>], first: usize, last: usize) -> f32 {
    let wrap = |angle: f32| (angle + PI).rem_euclid(2.0 * PI) - PI;
    (first..last).map(|frame| wrap(poses[frame + 1][0].angle_rad - poses[frame][0].angle_rad)).sum()
}

#[test]
fn families_and_shots_come_as_often_as_they_should() {
    let mut counts = [0_u32; 8];
    for seed in 0..4000 {
        let family = Family::of(seed);
        counts[Family::ALL.iter().position(|&other| other == family).unwrap()] += 1;
    }
    for (count, family) in counts.into_iter().zip(Family::ALL) {
        assert!(count.abs_diff(40 * family.percent()) < 120, "{family:?}: {count}");
    }
    let medium = (0..400).filter(|&seed| Family::Pendulum.sample(seed).shot == Shot::Medium).count();
    assert!((240..320).contains(&medium), "{medium}");
}
