//! Trains the eye: frames of the corpus at random instants enter, an eye that reads single frames leaves.
//!
//! Frames are drawn as they are needed, from the clips that the transformer learns from; the loss is that of
//! a row of latents, with its weights. Two actors of a kind cannot be told apart by what a frame shows, so
//! they are put in the order in which they stand ([`moment`](crate::performance::Performance::moment)).

use burn::tensor::{Tensor, TensorData};
use kinora_harness::seed::{derive, seeded};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::descent::{Descent, Group, Shard};
use super::latents::{Clip, LatentSet};
use super::{Lesson, TrainError};
use crate::model::eye::{EYE_SIDE, Eye, seen};
use crate::model::latents::{GLANCE, Normalisation};
use crate::size::ModelConfig;
use crate::world::draw::render_frame;

/// Frames that a step looks at.
const BATCH: usize = 32;
/// Levels by which a pixel that somebody brings may differ from one that is drawn.
const GRAIN: i16 = 4;

pub(super) fn train(lesson: &Lesson<'_>, set: &LatentSet, descent: Descent<'_>) -> Result<Eye, TrainError> {
    let Lesson { config, seed, device, .. } = *lesson;
    let seed = derive(seed, "eye");
    let model = seeded(device, seed, || Eye::new(device));
    let groups = |model: &Eye| vec![Group::adamw_all(model, 2e-3)];
    descent.run(model, groups, |model, Shard { step, index, device }| {
        let drawn: Vec<Glance> = (0..BATCH as u64)
            .into_par_iter()
            .filter_map(|place| {
                let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "glance") ^ index as u64);
                rng.set_stream((step + 1) * BATCH as u64 + place);
                Glance::draw(set.clips.choose(&mut rng)?, config, &set.normalisation, &mut rng)
            })
            .collect();
        let rows = drawn.len();
        let matrix =
            |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, [rows, GLANCE]), device);
        let read = model.forward(seen(drawn.iter().map(|glance| glance.pixels.as_slice()), device));
        let error = read.sub(matrix(drawn.iter().flat_map(|glance| glance.values.clone()).collect()));
        error.square().mul(matrix(drawn.iter().flat_map(|glance| glance.weights.clone()).collect())).mean()
    })
}

/// One frame and what is to be read of it.
struct Glance {
    pixels: Vec<u8>,
    values: Vec<f32>,
    weights: Vec<f32>,
}

impl Glance {
    fn draw(
        clip: &Clip,
        config: &ModelConfig,
        normalisation: &Normalisation,
        rng: &mut ChaCha8Rng,
    ) -> Option<Self> {
        let performance = &clip.performance;
        let moment = performance.moment(rng.random_range(0..performance.frames.max(1)))?;
        let mut pixels = render_frame(&moment.scene(), 0, EYE_SIDE, EYE_SIDE);
        for pixel in &mut pixels {
            *pixel = pixel.saturating_add_signed(rng.random_range(-GRAIN..=GRAIN) as i8);
        }
        let (layout, mut row) = (config.layout(), moment.to_row(config));
        normalisation.apply(&mut row.values, &row.weights, layout);
        Some(Self { pixels, values: layout.glance(&row.values), weights: layout.glance(&row.weights) })
    }
}
