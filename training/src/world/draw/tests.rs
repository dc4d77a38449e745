//! What must hold of every picture.

use proptest::prelude::*;

use super::sprite::{Finish, Shape, skin, tone};
use super::{Canvas, Shading, Window, portrait, render, render_frame, render_stage};
use crate::world::identity::{Appearance, HairStyle};
use crate::world::{
    Actor, Backdrop, Body, Colour, DollPose, FRAMES, Family, Fixture, FloorTexture, Hoop, Light, Look, Name,
    Pattern, Pose, Ramp, Scene, Shot, Skin, Stage, Track, WallTexture,
};

const NOON: Light = Light { from_x: 0.4, warmth: 0.5, brightness: 1.0 };
const SKIN: Skin = Skin { base: [220, 42, 48], accent: Some((Pattern::Stripe, [250, 250, 248])) };

fn pose(x_m: f32, y_m: f32, angle_rad: f32) -> Pose {
    Pose { x_m, y_m, angle_rad }
}

fn stage(fixture: Option<Fixture>) -> Stage {
    Stage {
        backdrop: Backdrop::Mint,
        wall: WallTexture::Bricks,
        floor: FloorTexture::Tiles,
        light: NOON,
        fixture,
    }
}

fn scene(shot: Shot, fixture: Option<Fixture>, actors: Vec<Actor>) -> Scene {
    Scene {
        family: Family::Bounce,
        seed: 0,
        shot,
        stage: stage(fixture),
        actors,
        contacts: Vec::new(),
        speech: None,
        event: crate::world::Event::Stands,
    }
}

fn actor(body: Body, look: Look, track: Track) -> Actor {
    Actor { body, look, name: Name::Cameo, track, restitution: 0.0 }
}

fn bodies(body: Body, poses: Vec<Pose>) -> Actor {
    actor(body, Look::Skin(SKIN), Track::Bodies(vec![poses]))
}

fn ball(x_m: f32, y_m: f32) -> Actor {
    bodies(Body::Ball { radius_m: 0.5 }, vec![pose(x_m, y_m, 0.3)])
}

fn pendulum(bob: Pose) -> Actor {
    bodies(Body::Pendulum { pivot_m: (4.0, 6.4), radius_m: 0.5 }, vec![bob])
}

fn appearance() -> Appearance {
    Appearance {
        complexion: [236, 188, 158],
        hair: [92, 56, 34],
        hair_style: HairStyle::Short,
        shirt: SKIN,
        trousers: Colour::Blue.rgb(),
    }
}

fn person(pose: DollPose, look: Appearance) -> Actor {
    actor(Body::Person { height_m: 2.8 }, Look::Person(look), Track::Doll(vec![pose]))
}

fn standing(x_m: f32) -> DollPose {
    DollPose { x_m, y_m: 0.42 * 2.8, arms_rad: [-0.4, 0.4], legs_rad: [-0.1, 0.1], ..DollPose::default() }
}

fn hoop() -> Fixture {
    Fixture::Hoop(Hoop { height_m: 3.6, board_x_m: 7.0, mirrored: false })
}

fn ramp() -> Fixture {
    Fixture::Ramp(Ramp { foot_x_m: 5.0, length_m: 4.0, height_m: 2.0, mirrored: true })
}

/// One of everything that moves.
fn cast() -> Vec<Actor> {
    let block = Body::Blocks { half_width_m: 0.15, half_height_m: 0.6, count: 2 };
    vec![
        pendulum(pose(5.2, 2.0, 0.2)),
        bodies(block, vec![pose(1.0, 0.6, 0.0), pose(1.8, 0.5, -0.6)]),
        person(standing(3.0), appearance()),
    ]
}

fn painted(ground: u8, shape: &Shape, finish: Finish, side: usize) -> Vec<u8> {
    let mut pixels = vec![ground; side * side * 3];
    let mut canvas =
        Canvas { pixels: &mut pixels, width: side, left: 0, top: 0, window: Window::whole(side, side) };
    canvas.paint(shape, &Shading::new(NOON), finish, skin(SKIN, shape));
    pixels
}

/// How much of each pixel a shape covers: what a white ground loses of its lead over a black one.
fn covered(shape: &Shape, side: usize) -> Vec<f32> {
    let (black, white) = (painted(0, shape, Finish::GLOSS, side), painted(255, shape, Finish::GLOSS, side));
    let lead = |(white, black): (&[u8], &[u8])| {
        let lead: i32 = white.iter().zip(black).map(|(&w, &b)| i32::from(w) - i32::from(b)).sum();
        1.0 - lead as f32 / 765.0
    };
    white.chunks_exact(3).zip(black.chunks_exact(3)).map(lead).collect()
}

/// Area and centre of what is covered.
fn moments(cover: &[f32], side: usize) -> (f32, f32, f32) {
    let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
    for (index, share) in cover.iter().enumerate() {
        area += share;
        x += share * ((index % side) as f32 + 0.5);
        y += share * ((index / side) as f32 + 0.5);
    }
    (area, x / area, y / area)
}

/// Rows and columns at which two pictures differ.
fn differences<'a>(a: &'a [u8], b: &'a [u8], width: usize) -> impl Iterator<Item = (usize, usize)> + 'a {
    let pairs = a.chunks_exact(3).zip(b.chunks_exact(3)).enumerate();
    pairs.filter(|(_, (a, b))| a != b).map(move |(index, _)| (index / width, index % width))
}

proptest! {
    #[test]
    fn a_ball_is_where_its_pose_says(
        x in 20.0..28.0_f32, y in 20.0..28.0_f32, radius in 4.0..16.0_f32, angle_rad in -3.0..3.0_f32,
    ) {
        let side = 48;
        let shape = Shape { x, y, half_width: radius, half_height: radius, corner: radius, angle_rad };
        let (area, seen_x, seen_y) = moments(&covered(&shape, side), side);
        prop_assert!((seen_x - x).abs() < 0.03 && (seen_y - y).abs() < 0.03, "{seen_x} {seen_y}");
        let seen_radius = (area / std::f32::consts::PI).sqrt();
        prop_assert!((seen_radius - radius).abs() < 0.04, "{seen_radius}");
    }

    #[test]
    fn a_box_covers_its_area_at_any_angle(
        x in 20.0..28.0_f32, half_width in 0.1..6.0_f32, half_height in 6.0..16.0_f32, angle_rad in -3.0..3.0_f32,
    ) {
        let side = 48;
        let shape = Shape { x, y: 24.3, half_width, half_height, corner: 0.0, angle_rad };
        let (area, _, _) = moments(&covered(&shape, side), side);
        let true_area = 4.0 * half_width * half_height;
        prop_assert!((area - true_area).abs() < 0.04 * true_area + 1.0, "{area} {true_area}");
    }

    #[test]
    fn no_pose_is_too_extreme_to_draw(
        x in prop::sample::select(vec![-1e30_f32, -9.0, 0.0, 3.0, 8.0, f32::MAX]),
        y in prop::sample::select(vec![f32::MIN, -5.0, 0.0, 7.2, 1e20_f32]),
        angle in prop::sample::select(vec![-1e12_f32, 0.0, 1.57, 40.0]),
        width in 0_usize..40,
        height in 0_usize..40,
    ) {
        let doll = DollPose {
            x_m: x, y_m: y, lean_rad: angle, nod_rad: -angle, arms_rad: [angle; 2], legs_rad: [angle, -angle],
            mouth: angle,
        };
        let block = Body::Blocks { half_width_m: 0.1, half_height_m: 0.9, count: 1 };
        let actors = vec![
            pendulum(pose(x, y, angle)),
            person(doll, appearance()),
            bodies(block, vec![pose(x, y, angle)]),
            bodies(Body::Ball { radius_m: 0.0 }, vec![pose(x, y, angle)]),
        ];
        let frame = render_frame(&scene(Shot::Wide, Some(hoop()), actors), 200, width, height);
        prop_assert_eq!(frame.len(), width * height * 3);
    }
}

#[test]
fn a_scene_is_drawn_the_same_each_time() {
    let scene = Scene::sample(3);
    let frames = render(&scene, 48, 32);
    assert_eq!(frames.len(), FRAMES * 48 * 32 * 3);
    assert_eq!(frames, render(&scene, 48, 32));
    assert_eq!(frames[48 * 32 * 3..][..48 * 32 * 3], render_frame(&scene, 1, 48, 32));
}

#[test]
fn a_scene_without_actors_is_its_stage() {
    let empty = scene(Shot::Close, Some(hoop()), Vec::new());
    let peopled = Scene { actors: cast(), ..empty.clone() };
    assert_eq!(render_stage(&peopled, 64, 64), render_frame(&empty, 0, 64, 64));
    assert_ne!(render_stage(&peopled, 64, 64), render_frame(&peopled, 0, 64, 64));
}

#[test]
fn a_moved_actor_changes_its_own_places_alone() {
    let side = 96;
    let scale = side as f32 / 8.0;
    let places = [(1.5, 3.0), (2.2, 2.4)];
    let [before, after] = places.map(|(x_m, y_m)| {
        let mut actors = cast();
        actors.push(ball(x_m, y_m));
        render_frame(&scene(Shot::Medium, None, actors), 0, side, side)
    });
    let mut changed = 0;
    for (row, column) in differences(&before, &after, side) {
        let (x_m, y_m) = ((column as f32 + 0.5) / scale, 7.2 - (row as f32 + 0.5) / scale);
        let near = places.iter().any(|place| (x_m - place.0).hypot(y_m - place.1) < 0.5 + 1.0 / scale);
        let in_shadow = y_m.abs() < 0.4 && places.iter().any(|place| (x_m - place.0).abs() < 0.8);
        assert!(near || in_shadow, "({x_m}, {y_m})");
        changed += 1;
    }
    assert!(changed > 50, "{changed}");
}

#[test]
fn another_aspect_shows_the_square_picture_and_more() {
    let side = 72;
    for shot in [Shot::Close, Shot::Medium, Shot::Wide] {
        for fixture in [None, Some(hoop()), Some(ramp())] {
            let scene = scene(shot, fixture, cast());
            let square = render_frame(&scene, 0, side, side);
            for (width, height) in [(128, side), (side, 128), (129, side)] {
                let picture = render_frame(&scene, 0, width, height);
                let (left, top) = ((width - side) / 2, height - side);
                for row in 0..side {
                    let start = ((row + top) * width + left) * 3;
                    let (seen, wanted) =
                        (&picture[start..start + side * 3], &square[row * side * 3..(row + 1) * side * 3]);
                    assert_eq!(seen, wanted, "{shot:?} {fixture:?} {width}x{height} row {row}");
                }
            }
        }
    }
}

#[test]
fn the_floor_line_is_a_tenth_of_the_square_above_the_lower_edge() {
    for (width, height) in [(100, 100), (160, 100), (100, 160)] {
        let resting = ball(4.0, 0.5);
        let full = render_frame(&scene(Shot::Medium, None, vec![resting]), 0, width, height);
        let away = render_frame(&scene(Shot::Medium, None, vec![ball(4.0, 40.0)]), 0, width, height);
        let topmost = differences(&full, &away, width).map(|(row, _)| row).min();
        // The ball's top is a metre, 12.5 pixels, above the line.
        assert_eq!(topmost, Some(height - 10 - 13));
    }
}

#[test]
fn light_falls_from_its_side() {
    let side = 40;
    let shape = Shape { x: 20.0, y: 20.0, half_width: 15.0, half_height: 15.0, corner: 15.0, angle_rad: 0.0 };
    for from_x in [-1.0, 1.0] {
        let mut pixels = vec![0; side * side * 3];
        let mut canvas =
            Canvas { pixels: &mut pixels, width: side, left: 0, top: 0, window: Window::whole(side, side) };
        canvas.paint(&shape, &Shading::new(Light { from_x, ..NOON }), Finish::MATT, tone([128; 3]));
        let red = |column: usize| f32::from(pixels[(20 * side + column) * 3]);
        assert!((red(30) - red(9)) * from_x > 10.0);
        let bright = render_stage(
            &Scene {
                stage: Stage { light: Light { from_x, ..NOON }, ..stage(None) },
                ..scene(Shot::Wide, None, vec![])
            },
            side,
            side,
        );
        let half = |columns: std::ops::Range<usize>| -> u32 {
            columns.map(|column| u32::from(bright[(12 * side + column) * 3])).sum()
        };
        assert_eq!(half(20..40) > half(0..20), from_x > 0.0);
    }
}

#[test]
fn a_rod_reaches_from_the_pivot_to_the_bob() {
    let side = 160;
    let scene = scene(Shot::Medium, None, vec![pendulum(pose(6.0, 2.4, 0.5))]);
    let (bare, drawn) = (render_stage(&scene, side, side), render_frame(&scene, 0, side, side));
    for step in 1..10 {
        let share = step as f32 / 10.0;
        let (x, y) = ((4.0 + 2.0 * share) * 20.0, (7.2 - 6.4 + 4.0 * share) * 20.0);
        let offset = (y as usize * side + x as usize) * 3;
        assert_ne!(bare[offset..offset + 3], drawn[offset..offset + 3], "{share}");
    }
}

#[test]
fn a_mouth_darkens_as_it_opens() {
    let darkness = |mouth: f32| -> u32 {
        let talking = DollPose { mouth, ..standing(4.0) };
        let frame =
            render_frame(&scene(Shot::Medium, None, vec![person(talking, appearance())]), 0, 128, 128);
        frame.iter().map(|&channel| 255 - u32::from(channel)).sum()
    };
    let steps = [0.0, 0.25, 0.5, 0.75, 1.0].map(darkness);
    assert!(steps.windows(2).all(|pair| pair[1] > pair[0] + 300), "{steps:?}");
}

#[test]
fn a_portrait_tells_identities_apart() {
    let side = 64;
    let first = portrait(&Look::Person(appearance()), side);
    assert_eq!(first, portrait(&Look::Person(appearance()), side));
    let others = [
        Appearance { hair_style: HairStyle::Long, ..appearance() },
        Appearance { complexion: [120, 80, 60], ..appearance() },
        Appearance { trousers: Colour::Black.rgb(), ..appearance() },
        Appearance { shirt: Skin { accent: None, ..SKIN }, ..appearance() },
    ];
    for other in others {
        assert!(differences(&first, &portrait(&Look::Person(other), side), side).count() > 20, "{other:?}");
    }
}

#[test]
fn a_portrait_fills_its_picture() {
    let side = 100;
    let grey = vec![198; side * side * 3];
    for (look, low) in [(Look::Skin(SKIN), 5), (Look::Person(appearance()), 7)] {
        let picture = portrait(&look, side);
        let rows: Vec<usize> = differences(&picture, &grey, side).map(|(row, _)| row).collect();
        let (first, last) = (rows.iter().min().copied(), rows.iter().max().copied());
        assert!(first <= Some(low) && first >= Some(2), "{first:?}");
        assert!(last >= Some(94) && last <= Some(98), "{last:?}");
    }
}
