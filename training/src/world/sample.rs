//! The corpus: an endless, seeded supply of clips with everything that is known about them.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::caption::caption;
use super::draw::{portrait, render};
use super::sound::sound;
use super::{FPS, Name, SAMPLE_RATE, Scene};
use crate::clip::Clip;

/// Side of a cameo's portrait in pixels.
const PORTRAIT_SIDE: usize = 32;

/// One clip.
#[derive(Clone, Debug)]
pub struct Sample {
    pub clip: Clip,
    pub caption: String,
    /// Portraits of the actors that the caption calls cameos, RGB8 of 32 x 32 pixels.
    pub portraits: Vec<Vec<u8>>,
    pub scene: Scene,
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
        let scene = Scene::sample(rng.random());
        Sample {
            caption: caption(&scene, &mut rng),
            portraits: scene
                .actors
                .iter()
                .filter(|actor| actor.name == Name::Cameo)
                .map(|actor| portrait(&actor.look, PORTRAIT_SIDE))
                .collect(),
            clip: Clip {
                width: self.size,
                height: self.size,
                fps: FPS,
                frames: render(&scene, self.size, self.size),
                sample_rate: SAMPLE_RATE,
                samples: sound(&scene),
            },
            scene,
        }
    }
}
