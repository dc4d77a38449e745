//! Trains the voice encoder: phrases in made-up voices enter, an encoder that tells the voices leaves.

use burn::tensor::{Tensor, TensorData};
use kinora_harness::seed::{derive, seeded};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::descent::{Descent, Group, Shard};
use super::{Lesson, TrainError};
use crate::model::latents::VOICE_CODE;
use crate::model::voice::{HEARD, VoiceEncoder, hear};
use crate::performance::voice_numbers;
use crate::world::speech::{frames, synthesise};
use crate::world::{Phrase, Voice};

/// Recordings that a step hears.
const BATCH: usize = 64;

pub(super) fn train(lesson: &Lesson<'_>, descent: Descent<'_>) -> Result<VoiceEncoder, TrainError> {
    let Lesson { config, plan, seed, device } = *lesson;
    let seed = derive(seed, "voices");
    let model = seeded(device, seed, || VoiceEncoder::new(config, device));
    let heard: Vec<(Vec<f32>, Voice)> = (0..plan.recordings)
        .into_par_iter()
        .filter_map(|index| {
            let mut rng = ChaCha8Rng::seed_from_u64(derive(seed, "recording") ^ index);
            let voice = Voice::sample(&mut rng);
            let phrase = Phrase::ALL.choose(&mut rng).copied().unwrap_or(Phrase::Hello);
            let gain = rng.random_range(0.1..0.9_f32);
            let spoken: Vec<f32> =
                synthesise(&frames(phrase), &voice, rng.random()).into_iter().map(|s| gain * s).collect();
            hear(&spoken).map(|heard| (heard, voice))
        })
        .collect();
    let groups = |model: &VoiceEncoder| vec![Group::adamw_all(model, 1e-3)];
    descent.run(model, groups, |model, Shard { step, .. }| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(step + 1);
        let chosen: Vec<&(Vec<f32>, Voice)> = (0..BATCH).filter_map(|_| heard.choose(&mut rng)).collect();
        let numbers: Vec<f32> = chosen
            .iter()
            .flat_map(|(numbers, _)| numbers.iter().copied())
            .map(|number| number + rng.random_range(-0.01..0.01_f32))
            .collect();
        let voices: Vec<f32> = chosen.iter().flat_map(|(_, voice)| voice_numbers(voice)).collect();
        let matrix = |values: Vec<f32>, width: usize| {
            let rows = values.len() / width;
            Tensor::<2>::from_data(TensorData::new(values, [rows, width]), device)
        };
        model.forward(matrix(numbers, HEARD)).sub(matrix(voices, VOICE_CODE)).square().mean()
    })
}
