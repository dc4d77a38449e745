//! Trains the look encoder: portraits of made-up looks enter, an encoder that reads them leaves.

use burn::tensor::{Tensor, TensorData};
use kinora_harness::seed::{derive, seeded};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::descent::{Descent, Group, Shard};
use super::{Lesson, TrainError};
use crate::model::latents::LOOK;
use crate::model::looks::{LookEncoder, PORTRAIT_SIDE, seen};
use crate::performance::look_numbers;
use crate::world::draw::portrait;
use crate::world::{Appearance, Colour, Look, Skin};

/// Portraits that a step looks at.
const BATCH: usize = 64;

pub(super) fn train(lesson: &Lesson<'_>, descent: Descent<'_>) -> Result<LookEncoder, TrainError> {
    let Lesson { config, plan, seed, device } = *lesson;
    let seed = derive(seed, "looks");
    let model = seeded(device, seed, || LookEncoder::new(config, device));
    let drawn: Vec<(Vec<f32>, Look)> = (0..plan.portraits)
        .into_par_iter()
        .map(|index| {
            let look = sample(&mut ChaCha8Rng::seed_from_u64(derive(seed, "portrait") ^ index));
            (seen(&portrait(&look, PORTRAIT_SIDE)).collect(), look)
        })
        .collect();
    let groups = |model: &LookEncoder| vec![Group::adamw_all(model, 1e-3)];
    descent.run(model, groups, |model, Shard { step, .. }| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(step + 1);
        let chosen: Vec<&(Vec<f32>, Look)> = (0..BATCH).filter_map(|_| drawn.choose(&mut rng)).collect();
        let pixels: Vec<f32> = chosen
            .iter()
            .flat_map(|(pixels, _)| pixels.iter().copied())
            // A picture that somebody brings is not as clean as a drawn one.
            .map(|pixel| pixel + rng.random_range(-0.02..0.02_f32))
            .collect();
        let target: Vec<f32> = chosen.iter().flat_map(|(_, look)| look_numbers(look).0).collect();
        let matrix = |values: Vec<f32>| {
            let width = values.len() / BATCH;
            Tensor::<2>::from_data(TensorData::new(values, [BATCH, width]), device)
        };
        let error = model.forward(matrix(pixels)).sub(matrix(target));
        debug_assert_eq!(error.dims(), [BATCH, LOOK]);
        error.square().mean()
    })
}

/// A look of any kind.
fn sample(rng: &mut ChaCha8Rng) -> Look {
    let colour = |rng: &mut ChaCha8Rng| Colour::ALL.choose(rng).copied().unwrap_or(Colour::Red);
    match rng.random_range(0..6) {
        0 => Look::Skin(Skin::sample_identity(rng)),
        1 => {
            let base = colour(rng);
            let second = rng.random_bool(0.5).then(|| colour(rng));
            Look::Skin(Skin::sample_named(rng, base, second))
        }
        2 => {
            let (shirt, trousers) = (colour(rng), colour(rng));
            Look::Person(Appearance::sample_named(rng, shirt, trousers))
        }
        _ => Look::Person(Appearance::sample_identity(rng)),
    }
}
