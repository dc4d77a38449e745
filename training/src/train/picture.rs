//! Trains the picture autoencoder: drawn frames of random scenes enter, a model that repaints their pixels
//! leaves.
//!
//! Each step paints a few pixels of a few frames, more of them where balls and hoop are. Scenes are drawn for
//! this alone (any pose, any skin, any hoop), so that nothing in the codes depends on how things move.

use burn::tensor::{Device, Tensor, TensorData};
use kinora_harness::seed::{derive, seeded};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::descent::{Descent, Group};
use super::{Lesson, TrainError};
use crate::corpus::{
    Backdrop, Ball, Colour, Family, Hoop, Motion, Outcome, REFERENCE_SIDE, Scene, Skin, State, VIEW_M,
    VIEW_TOP_M, render,
};
use crate::model::latents::BALLS;
use crate::model::picture::{
    BODY_FEATURES, FACING_FEATURES, PLACE_SIDE, PORTRAIT_SIDE, PictureAutoencoder, SHADOW_FEATURES,
    STAGE_FEATURES, body_features, facing_features, shadow_features, shrink, stage_features,
};
use crate::painter::{EDGE_PIXELS, to_body, world};
use crate::performance::hoop_place;
use crate::size::ModelConfig;

/// Side of the frames that are repainted.
const SIDE: usize = 256;
/// Frames and pixels of each that a step paints.
const FRAMES: usize = 32;
const PIXELS: usize = 192;
/// Noise that codes are trained to bear.
const CODE_NOISE: f64 = 0.08;

/// One drawn frame with what it shows.
struct Drawn {
    scene: Scene,
    states: Vec<State>,
    pixels: Vec<u8>,
    place: Vec<f32>,
    portraits: Vec<f32>,
}

/// The picture of a place without balls that the scene encoder sees.
pub(crate) fn place_picture(scene: &Scene) -> Vec<f32> {
    let empty = Scene { balls: Vec::new(), ..scene.clone() };
    let motion = Motion { frames: vec![Vec::new()], contacts: Vec::new(), outcome: None };
    let side = PLACE_SIDE * 4;
    shrink(&render(&empty, &motion, side), side, PLACE_SIDE)
}

/// The picture of a ball that the skin encoder sees.
pub(crate) fn portrait(skin: Skin) -> Vec<f32> {
    shrink(&skin.reference_image(REFERENCE_SIDE), REFERENCE_SIDE, PORTRAIT_SIDE)
}

pub(super) fn train(lesson: &Lesson<'_>, descent: Descent<'_>) -> Result<PictureAutoencoder, TrainError> {
    let Lesson { config, plan, seed, device } = *lesson;
    let seed = derive(seed, "picture");
    let model = seeded(device, seed, || PictureAutoencoder::new(config, device));
    let drawn: Vec<Drawn> =
        (0..plan.picture_frames).into_par_iter().map(|index| draw(derive(seed, "frame") ^ index)).collect();
    let groups = |model: &PictureAutoencoder| vec![Group::adamw_all(model, 3e-3)];
    descent.run(model, groups, |model, step| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(step + 1);
        let chosen: Vec<&Drawn> = (0..FRAMES).filter_map(|_| drawn.choose(&mut rng)).collect();
        let batch = Batch::new(&chosen, config, &mut rng, device);
        let error = batch.paint(model).sub(batch.target.clone());
        // Close to the absolute error, which keeps edges sharp, but smooth at zero.
        error.square().add_scalar(1e-5).sqrt().mean()
    })
}

fn draw(seed: u64) -> Drawn {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let hoop = rng.random_bool(0.5).then(|| {
        let mirrored = rng.random_bool(0.5);
        // Wider than the corpus: the model may put a hoop where the corpus has none.
        let x_m: f32 = rng.random_range(5.6..7.7);
        Hoop {
            height_m: rng.random_range(2.6..4.6),
            board_x_m: if mirrored { VIEW_M - x_m } else { x_m },
            mirrored,
        }
    });
    let balls: Vec<Ball> = (0..BALLS).map(|_| ball(&mut rng)).collect();
    let states = balls
        .iter()
        .map(|ball| {
            let at_hoop = hoop.filter(|_| rng.random_bool(0.5));
            let (x_m, y_m) = match at_hoop {
                Some(hoop) => (
                    hoop.centre_x_m() + rng.random_range(-1.0..1.0),
                    hoop.height_m + rng.random_range(-1.3..0.6),
                ),
                None => {
                    // Half of them low, where their shadows are.
                    let top = if rng.random_bool(0.5) { VIEW_TOP_M } else { 2.0 };
                    (rng.random_range(0.0..VIEW_M), rng.random_range(ball.radius_m..top))
                }
            };
            State { x_m, y_m, angle_rad: rng.random_range(-3.2..3.2), ..State::default() }
        })
        .collect::<Vec<State>>();
    let scene = Scene {
        family: Family::Bounce,
        seed,
        balls,
        hoop,
        friction: 0.3,
        backdrop: Backdrop::ALL.choose(&mut rng).copied().unwrap_or(Backdrop::Sky),
        outcome: Outcome::Bounces(1),
    };
    let motion = Motion { frames: vec![states.clone()], contacts: Vec::new(), outcome: None };
    Drawn {
        pixels: render(&scene, &motion, SIDE),
        place: place_picture(&scene),
        portraits: scene.balls.iter().flat_map(|ball| portrait(ball.skin)).collect(),
        scene,
        states,
    }
}

fn ball(rng: &mut ChaCha8Rng) -> Ball {
    let colour = |rng: &mut ChaCha8Rng| Colour::ALL.choose(rng).copied().unwrap_or(Colour::Red);
    let skin = match rng.random_range(0..3) {
        0 => Skin::sample_identity(rng),
        1 => {
            let (base, second) = (colour(rng), colour(rng));
            Skin::sample_named(rng, base, Some(second))
        }
        _ => {
            let base = colour(rng);
            Skin::sample_named(rng, base, None)
        }
    };
    Ball {
        radius_m: rng.random_range(0.34..0.92),
        x_m: 0.0,
        y_m: 0.0,
        vx_m_s: 0.0,
        vy_m_s: 0.0,
        angle_rad: 0.0,
        spin_rad_s: 0.0,
        restitution: 0.5,
        skin,
        colours: None,
    }
}

/// Pixels of some frames: where each lies relative to what is drawn, and its colour.
struct Batch {
    places: Tensor<2>,
    /// Of each ball in turn.
    portraits: [Tensor<2>; BALLS],
    stage: Tensor<3>,
    body: [Tensor<3>; BALLS],
    facing: [Tensor<3>; BALLS],
    distance: [Tensor<3>; BALLS],
    shadow: [Tensor<3>; BALLS],
    noise: [Tensor<2>; BALLS + 1],
    target: Tensor<3>,
}

impl Batch {
    fn new(drawn: &[&Drawn], config: &ModelConfig, rng: &mut ChaCha8Rng, device: &Device) -> Self {
        let frames = drawn.len();
        let mut stage = Vec::with_capacity(frames * PIXELS * STAGE_FEATURES);
        let mut body: [Vec<f32>; BALLS] = Default::default();
        let mut facing: [Vec<f32>; BALLS] = Default::default();
        let mut distance: [Vec<f32>; BALLS] = Default::default();
        let mut shadow: [Vec<f32>; BALLS] = Default::default();
        let mut target = Vec::with_capacity(frames * PIXELS * 3);
        let scale = SIDE as f32 / VIEW_M;
        for frame in drawn {
            let hoop = frame.scene.hoop.as_ref().map(hoop_place);
            for _ in 0..PIXELS {
                let (column, row) = pick_pixel(frame, rng);
                let point = world(column as f32 + 0.5, row as f32 + 0.5, SIDE);
                stage.extend(stage_features(point.0, point.1, hoop));
                for (ball, (state, looks)) in frame.states.iter().zip(&frame.scene.balls).enumerate() {
                    let (dx, dy) = (point.0 - state.x_m, state.y_m - point.1);
                    let (nx, ny) = bounded(dx / looks.radius_m, dy / looks.radius_m);
                    let (sin, cos) = state.angle_rad.sin_cos();
                    let (u, v) = to_body(nx, ny, sin, cos);
                    body[ball].extend(body_features(u, v));
                    facing[ball].extend(facing_features(nx, ny));
                    let inside = (looks.radius_m - dx.hypot(dy)) * scale;
                    distance[ball].push(inside.clamp(-EDGE_PIXELS, EDGE_PIXELS));
                    shadow[ball].extend(shadow_features(point, (state.x_m, state.y_m), looks.radius_m));
                }
                let at = (row * SIDE + column) * 3;
                target.extend(frame.pixels[at..at + 3].iter().map(|&channel| f32::from(channel) / 255.0));
            }
        }
        let rows = |values: Vec<f32>, width: usize| {
            Tensor::<3>::from_data(TensorData::new(values, [frames, PIXELS, width]), device)
        };
        let flat = |values: Vec<f32>| {
            let width = values.len() / frames;
            Tensor::<2>::from_data(TensorData::new(values, [frames, width]), device)
        };
        let mut noise = |width: usize| {
            let values = (0..frames * width).map(|_| {
                let uniform: f64 = rng.random_range(-1.0..1.0);
                (uniform * CODE_NOISE * 1.7) as f32
            });
            flat(values.collect())
        };
        let portrait = PORTRAIT_SIDE * PORTRAIT_SIDE * 3;
        Self {
            places: flat(drawn.iter().flat_map(|frame| frame.place.iter().copied()).collect()),
            portraits: std::array::from_fn(|ball| {
                let part = ball * portrait..(ball + 1) * portrait;
                flat(drawn.iter().flat_map(|frame| frame.portraits[part.clone()].iter().copied()).collect())
            }),
            stage: rows(stage, STAGE_FEATURES),
            body: body.map(|values| rows(values, BODY_FEATURES)),
            facing: facing.map(|values| rows(values, FACING_FEATURES)),
            distance: distance.map(|values| rows(values, 1)),
            shadow: shadow.map(|values| rows(values, SHADOW_FEATURES)),
            noise: [noise(config.skin_code), noise(config.skin_code), noise(config.scene_code)],
            target: rows(target, 3),
        }
    }

    /// The model's colours of the batch's pixels: layers laid over each other from back to front.
    fn paint(&self, model: &PictureAutoencoder) -> Tensor<3> {
        let scenes = model.encode_scenes(self.places.clone()).add(self.noise[BALLS].clone());
        let stage = model.stage(self.stage.clone(), scenes);
        let mut canvas = stage.back;
        for shadow in &self.shadow {
            canvas = canvas.clone().sub(canvas.mul(model.shade(shadow.clone())));
        }
        for ball in 0..BALLS {
            let skins = model.encode_skins(self.portraits[ball].clone()).add(self.noise[ball].clone());
            let surface = model.surface(self.body[ball].clone(), skins);
            let light = model.light(self.facing[ball].clone());
            let lit = surface.mul(light.clone().narrow(2, 0, 1)).add(light.narrow(2, 1, 1));
            canvas = over(canvas, lit, model.coverage(self.distance[ball].clone()));
        }
        over(canvas, stage.front, stage.cover)
    }
}

fn over(below: Tensor<3>, above: Tensor<3>, cover: Tensor<3>) -> Tensor<3> {
    below.clone().add(above.sub(below).mul(cover))
}

/// Points outside a ball count as on its edge: nothing of them is seen.
fn bounded(nx: f32, ny: f32) -> (f32, f32) {
    let reach = nx.hypot(ny).max(1e-6);
    let keep = (1.05 / reach).min(1.0);
    (nx * keep, ny * keep)
}

/// A pixel to paint: anywhere, on or around a ball, in its shadow, or about the hoop.
fn pick_pixel(frame: &Drawn, rng: &mut ChaCha8Rng) -> (usize, usize) {
    let balls = frame.states.iter().zip(&frame.scene.balls).collect::<Vec<_>>();
    let (mut x_m, mut y_m) =
        (rng.random_range(0.0..VIEW_M), rng.random_range(VIEW_TOP_M - VIEW_M..VIEW_TOP_M));
    let choice: f32 = rng.random();
    if choice < 0.45 {
        if let Some((state, ball)) = balls.choose(rng) {
            let reach = ball.radius_m * 1.15;
            x_m = state.x_m + rng.random_range(-reach..reach);
            y_m = state.y_m + rng.random_range(-reach..reach);
        }
    } else if choice < 0.6 {
        if let Some((state, ball)) = balls.choose(rng) {
            x_m = state.x_m + rng.random_range(-1.8..1.8_f32) * ball.radius_m;
            y_m = rng.random_range(-0.4..0.35);
        }
    } else if choice < 0.85
        && let Some(hoop) = &frame.scene.hoop
    {
        x_m = hoop.board_x_m + rng.random_range(-1.9..1.9_f32);
        y_m = hoop.height_m + rng.random_range(-1.0..1.8_f32);
    }
    let pixel = |value: f32| (value / VIEW_M * SIDE as f32).clamp(0.0, SIDE as f32 - 1.0) as usize;
    (pixel(x_m), pixel(VIEW_TOP_M - y_m))
}
