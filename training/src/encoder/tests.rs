//! What must hold of everything that is read.

use burn::tensor::Device;

use super::fit::{Fitter, Target};
use super::floor::{film, floor_seed};
use super::follow::Follower;
use super::sketch::{Knob, Sketch};
use super::start::Start;
use super::{EncodeError, Encoder};
use crate::clip::Clip;
use crate::model::Model;
use crate::model::flow::Sampling;
use crate::model::latents::Measure;
use crate::model::sound::Atoms;
use crate::performance::{Figure, Performance};
use crate::size::ModelSize;
use crate::train::TrainPlan;
use crate::weights::ModelCard;
use crate::words::Vocabulary;
use crate::world::draw::render;
use crate::world::{ACTORS, Backdrop, Family, Scene, Track, WallTexture};

/// What is seen of a scene.
pub(super) fn performance(scene: &Scene) -> Performance {
    let mut actors: [Option<Figure>; ACTORS] = Default::default();
    for (figure, actor) in actors.iter_mut().zip(&scene.actors) {
        *figure = Some(Figure { body: actor.body, look: actor.look, track: actor.track.clone() });
    }
    Performance {
        shot: scene.shot,
        stage: scene.stage,
        frames: scene.frames(),
        actors,
        impacts: Vec::new(),
        utterance: None,
    }
}

/// Follows a scene that is known at first.
fn followed(scene: &Scene, side: usize) -> Performance {
    let pixels = render(scene, side, side);
    let first = Sketch::of(&performance(scene));
    let mut follower = Follower::new(first.clone(), (side, side));
    let mut tracks = vec![first.tracks()];
    for frame in pixels.chunks_exact(side * side * 3).skip(1) {
        tracks.push(follower.follow(Target { pixels: frame, width: side }));
    }
    Sketch::perform(&first, &tracks)
}

/// Distances between two tracks, in metres.
fn apart_m(found: &Track, truth: &Track) -> Vec<f32> {
    match (found, truth) {
        (Track::Bodies(found), Track::Bodies(truth)) => found
            .iter()
            .flatten()
            .zip(truth.iter().flatten())
            .map(|(a, b)| (a.x_m - b.x_m).hypot(a.y_m - b.y_m))
            .collect(),
        (Track::Doll(found), Track::Doll(truth)) => {
            found.iter().zip(truth).map(|(a, b)| (a.x_m - b.x_m).hypot(a.y_m - b.y_m)).collect()
        }
        _ => vec![f32::INFINITY],
    }
}

/// The distance below which a share of the centres lie, in pixels of a picture of 128.
fn centre_px(found: &Performance, scene: &Scene, share: f32) -> f32 {
    let figures = found.actors.iter().flatten().zip(&scene.actors);
    let mut away: Vec<f32> =
        figures.flat_map(|(figure, actor)| apart_m(&figure.track, &actor.track)).collect();
    away.sort_by(f32::total_cmp);
    away[(share * (away.len() - 1) as f32) as usize] * 128.0 / scene.shot.view_m()
}

#[test]
fn what_is_known_at_first_is_followed_to_a_small_part_of_a_pixel() {
    for family in Family::ALL {
        let scene = family.sample(floor_seed(1, 3));
        let found = followed(&scene, 96);
        assert_eq!(found.frames, scene.frames());
        let (median, most) = (centre_px(&found, &scene, 0.5), centre_px(&found, &scene, 0.95));
        assert!(median < 0.02 && most < 0.1, "{family:?}: {median} and {most} px");
    }
}

#[test]
fn joints_and_mouths_are_followed() {
    let scene = Family::Walk.sample(900);
    let found = followed(&scene, 128);
    let Some(Figure { track: Track::Doll(found), .. }) = &found.actors[0] else { panic!("nobody") };
    let Track::Doll(truth) = &scene.actors[0].track else { panic!("nobody") };
    let mut away: Vec<f32> = found
        .iter()
        .zip(truth)
        .flat_map(|(a, b)| [a.arms_rad[0] - b.arms_rad[0], a.legs_rad[1] - b.legs_rad[1], a.mouth - b.mouth])
        .map(f32::abs)
        .collect();
    away.sort_by(f32::total_cmp);
    assert!(away[away.len() * 9 / 10] < 0.05, "{}", away[away.len() * 9 / 10]);
}

#[test]
fn a_rough_guess_of_a_frame_becomes_exact() {
    for (family, seed) in [(Family::Bounce, 5), (Family::Collision, 2), (Family::Pendulum, 4)] {
        let scene = family.sample(floor_seed(2, seed));
        let (side, truth) = (96, performance(&scene));
        let pixels = render(&scene, side, side);
        let mut guess = Sketch::of(&truth);
        guess.stage.backdrop = Backdrop::Mint;
        guess.stage.wall = WallTexture::Bricks;
        guess.stage.light.brightness = 0.9;
        for limb in guess.limbs() {
            let x_m = Knob::X(limb).value(&mut guess);
            Knob::X(limb).set(&mut guess, x_m + 0.35);
            for knob in guess.sizes(limb.actor).into_iter().chain(guess.colours(limb.actor)) {
                let value = knob.value(&mut guess);
                knob.set(&mut guess, 0.95 * value);
            }
        }
        let target = Target { pixels: &pixels[..side * side * 3], width: side };
        let mut start = Start { target, size: (side, side), fitter: Fitter::default() };
        let found = start.fit(vec![guess]).unwrap();
        assert_eq!(found.stage.backdrop, scene.stage.backdrop, "{family:?}");
        assert_eq!(found.stage.wall, scene.stage.wall, "{family:?}");
        assert_eq!(found.actors.len(), scene.actors.len(), "{family:?}");
        let likeness_db = super::likeness_db(&found, target, (side, side));
        assert!(likeness_db > 45.0, "{family:?}: {likeness_db} dB");
    }
}

/// A model that has learned nothing.
struct Untrained {
    model: Model,
    card: ModelCard,
    atoms: Atoms,
    device: Device,
}

impl Untrained {
    fn new() -> Self {
        let (config, device) = (ModelSize::Nano.config(), Device::flex());
        let layout = config.layout();
        let mut measure = Measure::new(layout);
        for seed in 0..24 {
            let row = performance(&Scene::sample(seed)).to_row(&config);
            measure.add(&row.values, &row.weights);
        }
        let vocabulary = Vocabulary::of_corpus();
        let card = ModelCard {
            format: ModelCard::FORMAT,
            vocabulary: vocabulary.clone(),
            normalisation: measure.finish(),
            plan: TrainPlan::smoke(),
            seed: 0,
            sampling: Sampling::default(),
            distilled: false,
            code_version: String::new(),
            model: config.clone(),
        };
        Self { model: Model::new(&config, vocabulary.len(), &device), card, atoms: Atoms::new(), device }
    }

    fn encoder(&self) -> Encoder<'_> {
        Encoder { model: &self.model, card: &self.card, atoms: &self.atoms, device: &self.device }
    }
}

/// The first frames of a scene and their sound.
fn beginning(scene: &Scene, side: usize, frames: usize) -> Clip {
    let mut clip = film(scene, side);
    clip.frames.truncate(frames * clip.frame_len());
    clip.samples.truncate(frames * 500);
    clip
}

#[test]
fn frame_by_frame_is_the_same_as_whole_and_nothing_looks_ahead() {
    let untrained = Untrained::new();
    let encoder = untrained.encoder();
    let scene = Family::Bounce.sample(floor_seed(3, 1));
    let (long, short) = (beginning(&scene, 32, 12), beginning(&scene, 32, 5));
    let whole = encoder.read(&long).unwrap();
    let mut watch = encoder.watch(32, 32).unwrap();
    for (frame, samples) in long.frames.chunks_exact(long.frame_len()).zip(long.samples.chunks(500)) {
        watch.see(frame);
        watch.listen(samples);
    }
    assert_eq!(watch.finish().unwrap(), whole);
    let first = encoder.read(&short).unwrap().performance;
    let cut = whole.performance.cut(5);
    assert_eq!(first.actors, cut.actors);
    assert_eq!(first.stage, cut.stage);
}

#[test]
fn any_clip_can_be_read() {
    let untrained = Untrained::new();
    let encoder = untrained.encoder();
    let clip = |width: usize, height: usize, fps: u32, frames: Vec<u8>, samples: Vec<f32>| Clip {
        width,
        height,
        fps,
        frames,
        sample_rate: 16_000,
        samples,
    };
    let noise = |count: usize| (0..count).map(|at| (at * 7919 % 251) as u8).collect::<Vec<u8>>();
    // One picture without sound, as for a clip from an image.
    let image = encoder.read(&clip(20, 30, 24, noise(20 * 30 * 3), Vec::new())).unwrap();
    assert_eq!(image.performance.frames, 1);
    assert!(image.performance.impacts.is_empty() && image.performance.utterance.is_none());
    assert!(image.performance.actors[0].is_some());
    let row = image.performance.to_row(&untrained.card.model);
    assert_eq!(row.values.len(), untrained.card.model.layout().total());
    // Black frames, another rate and samples that are no numbers.
    let black = clip(33, 21, 30, vec![0; 33 * 21 * 3 * 5], vec![f32::NAN; 2000]);
    assert_eq!(encoder.read(&black).unwrap().performance.frames, 4);
    // Slower than the world: frames are held.
    let slow = clip(16, 16, 8, noise(16 * 16 * 3 * 2), vec![0.3; 4000]);
    assert_eq!(encoder.read(&slow).unwrap().performance.frames, 6);
    for (broken, expected) in [
        (clip(16, 16, 24, Vec::new(), Vec::new()), EncodeError::NoPicture),
        (clip(0, 16, 24, Vec::new(), Vec::new()), EncodeError::NoPicture),
        (clip(16, 16, 0, noise(16 * 16 * 3), Vec::new()), EncodeError::Rate),
    ] {
        let error = encoder.read(&broken).unwrap_err();
        assert_eq!(error, expected);
        assert!(!error.to_string().contains('\n'));
    }
}
