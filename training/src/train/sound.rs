//! Trains the sound autoencoder: single impacts of the corpus enter, a model that mixes them again leaves.
//!
//! Impacts are drawn for this alone, of every kind, size and strength, and compared by their magnitude
//! spectrograms at unit loudness.

use burn::tensor::{Tensor, TensorData};
use kinora_harness::seed::{derive, seeded};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::descent::{Descent, Group, Shard};
use super::{Lesson, TrainError};
use crate::model::sound::{Atoms, IMPACT_SAMPLES, SoundAutoencoder, loudness, spectra};
use crate::world::sound::contact_wave;
use crate::world::{Contact, ContactKind};

/// Impacts that a step hears.
const BATCH: usize = 48;

/// The waveform of one contact, as if nothing else sounded.
pub(crate) fn impact_wave(contact: &Contact, seed: u64) -> Vec<f32> {
    let mut samples = contact_wave(contact, seed);
    samples.truncate(IMPACT_SAMPLES);
    samples
}

/// An impact at unit loudness, and its loudness.
pub(crate) fn normalised(wave: &[f32]) -> (Vec<f32>, f32) {
    let loudness = loudness(wave);
    let gain = (-loudness).exp();
    (wave.iter().map(|sample| sample * gain).collect(), loudness)
}

pub(super) fn train(lesson: &Lesson<'_>, descent: Descent<'_>) -> Result<SoundAutoencoder, TrainError> {
    let Lesson { config, plan, seed, device } = *lesson;
    let seed = derive(seed, "sound");
    let model = seeded(device, seed, || SoundAutoencoder::new(config, device));
    let impacts: Vec<Vec<f32>> =
        (0..plan.sound_impacts).into_par_iter().map(|index| draw(derive(seed, "impact") ^ index)).collect();
    let waves: Vec<&[f32]> = impacts.iter().map(Vec::as_slice).collect();
    let plain = device.clone().inner();
    let heard: Vec<Vec<f32>> = waves
        .chunks(64)
        .flat_map(|chunk| {
            let magnitudes = spectra(chunk, &plain).magnitudes();
            let width = magnitudes.dims()[1];
            let values: Vec<f32> = magnitudes.try_into_vec_as::<f32>().unwrap_or_default();
            values.chunks_exact(width).map(<[f32]>::to_vec).collect::<Vec<_>>()
        })
        .collect();
    let atoms = Atoms::new().spectra(device);
    let groups = |model: &SoundAutoencoder| vec![Group::adamw_all(model, 2e-3)];
    descent.run(model, groups, |model, Shard { step, .. }| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(step + 1);
        let rows: Vec<f32> = (0..BATCH)
            .filter_map(|_| heard.choose(&mut rng))
            .flat_map(|magnitudes| magnitudes.iter().copied())
            .collect();
        let width = rows.len() / BATCH;
        let target = Tensor::<2>::from_data(TensorData::new(rows, [BATCH, width]), device);
        let codes = model.encode(target.clone());
        let noise: Vec<f32> =
            (0..BATCH * config.sound_code).map(|_| rng.random_range(-0.12..0.12_f32)).collect();
        let noise = Tensor::<2>::from_data(TensorData::new(noise, [BATCH, config.sound_code]), device);
        let mixed = SoundAutoencoder::spectra(model.decode(codes.add(noise)), &atoms).magnitudes();
        // Both the loud parts and, through the logarithm, the quiet tails.
        let loud = mixed.clone().sub(target.clone()).abs().mean();
        let quiet = (mixed.mul_scalar(20.0).log1p()).sub(target.mul_scalar(20.0).log1p()).abs().mean();
        loud.mul_scalar(2.0).add(quiet)
    })
}

/// Any impact, at unit loudness.
pub(super) fn draw(seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let contact = Contact {
        time_s: 0.0,
        kind: ContactKind::ALL.choose(&mut rng).copied().unwrap_or(ContactKind::Floor),
        actor: 0,
        other: None,
        speed_m_s: 1.0,
        impulse_n_s: rng.random_range(-2.0..3.6_f32).exp(),
        size_m: rng.random_range(0.2..1.1),
        x_m: 0.0,
        y_m: 0.0,
    };
    normalised(&impact_wave(&contact, seed)).0
}
