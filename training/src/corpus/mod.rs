//! The corpus: a small physics world that renders clips with the sound of their contacts.
//!
//! A seed and an index go in; a [`Sample`] comes out: frames, sound, a caption, the reference picture of a
//! cameo, and the ground truth that the evaluation measures against (scene, trajectories, contacts).
//! INVARIANT: a sample depends on nothing but seed, index and size, so any number of threads draw the same.

pub mod caption;
pub mod draw;
pub mod export;
pub mod motion;
pub mod scene;
pub mod skin;
pub mod sound;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use caption::{VOCABULARY, caption};
pub use draw::render;
pub use export::{CorpusManifest, ExportError, ExportOptions, render_to};
pub use motion::{Contact, ContactKind, Motion, State, simulate};
pub use scene::{Backdrop, Ball, Family, Hoop, Outcome, Scene};
pub use skin::{Colour, Pattern, Rgb, Skin};
pub use sound::sound;

use crate::clip::Clip;

/// Frames a second.
pub const FPS: u32 = 24;
/// Frames in a clip: four seconds.
pub const FRAMES: usize = 96;
/// Length of a clip in seconds.
pub const CLIP_S: f32 = 4.0;
/// Sound samples a second.
pub const SAMPLE_RATE: u32 = 12_000;
/// Sound samples a frame.
pub const SAMPLES_PER_FRAME: usize = 500;
/// Sound samples in a clip.
pub const SAMPLES: usize = FRAMES * SAMPLES_PER_FRAME;
/// Side of a cameo's reference picture in pixels.
pub const REFERENCE_SIDE: usize = 32;
/// Gravity in the corpus world.
pub const GRAVITY_M_S2: f32 = 9.81;
/// Width and height of the view in metres.
pub const VIEW_M: f32 = 8.0;
/// Height of the view's upper edge above the floor.
pub const VIEW_TOP_M: f32 = 7.2;

/// One clip with everything that is known about it.
#[derive(Clone, Debug)]
pub struct Sample {
    pub clip: Clip,
    pub caption: String,
    /// Portrait of ball 0, RGB8 of [`REFERENCE_SIDE`] squared, when the caption calls it the cameo.
    pub reference: Option<Vec<u8>>,
    pub scene: Scene,
    pub motion: Motion,
}

/// An endless, seeded supply of samples.
#[derive(Clone, Copy, Debug)]
pub struct Corpus {
    seed: u64,
    size: usize,
}

impl Corpus {
    /// Clips of `size` x `size` pixels.
    pub fn new(seed: u64, size: usize) -> Self {
        Self { seed, size }
    }

    /// The sample at an index.
    pub fn sample(&self, index: u64) -> Sample {
        // The stream number keeps neighbouring indexes independent of each other.
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index);
        let seed = rng.random();
        let (scene, motion) = Scene::sample_with_motion(Scene::family_of(seed), seed);
        let caption = caption(&scene, &mut rng);
        self.compose(scene, motion, caption)
    }

    fn compose(&self, scene: Scene, motion: Motion, caption: String) -> Sample {
        let reference = scene
            .balls
            .first()
            .filter(|ball| ball.is_cameo())
            .map(|ball| ball.skin.reference_image(REFERENCE_SIDE));
        let clip = Clip {
            width: self.size,
            height: self.size,
            fps: FPS,
            frames: render(&scene, &motion, self.size),
            sample_rate: SAMPLE_RATE,
            samples: sound(&scene, &motion),
        };
        Sample { clip, caption, reference, scene, motion }
    }
}

#[cfg(test)]
mod tests;
