//! First guesses: one frame enters, what the eye takes it for leaves.

use burn::tensor::Device;

use super::sketch::Sketch;
use crate::judge::figure::{resample, taps};
use crate::model::eye::{EYE_SIDE, Eye, seen};
use crate::model::latents::{ACTOR, FRAME_TRACKS, Normalisation};
use crate::performance::Performance;
use crate::size::ModelConfig;
use crate::world::ACTORS;

/// Shots that a picture may be: where the eye is wrong about it, everything else is of another size.
const SHOTS: usize = 4;

/// What the eye needs to be understood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recogniser<'a> {
    pub(super) eye: &'a Eye,
    pub(super) config: &'a ModelConfig,
    pub(super) normalisation: &'a Normalisation,
    pub(super) device: &'a Device,
}

impl Recogniser<'_> {
    /// What a frame may show, once for each shot.
    pub(super) fn guesses(&self, pixels: &[u8], (width, height): (usize, usize)) -> Vec<Sketch> {
        let picture = square(pixels, width, height);
        let read = self.eye.forward(seen([picture.as_slice()], self.device));
        // The devices hold f32 here by construction.
        let glance: Vec<f32> = read.try_into_vec_as::<f32>().unwrap_or_default();
        let layout = self.config.layout();
        let mut row = layout.row_of_glance(&glance);
        self.normalisation.undo(&mut row, layout);
        let glance = layout.glance(&row);
        (0..SHOTS)
            .map(|shot| {
                let mut glance = glance.clone();
                let flags = glance.iter_mut().skip(FRAME_TRACKS + ACTORS * ACTOR).take(SHOTS);
                for (place, flag) in flags.enumerate() {
                    *flag = if place == shot { 1.0 } else { -1.0 };
                }
                let performance = Performance::from_row(&layout.row_of_glance(&glance), self.config).cut(1);
                Sketch::of(&performance)
            })
            .collect()
    }
}

/// The square picture of the world in a frame, as the eye sees it.
fn square(pixels: &[u8], width: usize, height: usize) -> Vec<u8> {
    let side = width.min(height);
    let (left, top) = ((width - side) / 2, height - side);
    let step = side as f32 / EYE_SIDE as f32;
    let columns = taps(left as f32, step, EYE_SIDE, width);
    let rows = taps(top as f32, step, EYE_SIDE, height);
    resample(pixels, width, &columns, &rows)
}
