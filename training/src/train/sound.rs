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

use super::descent::{Descent, Group};
use super::{Lesson, TrainError};
use crate::corpus::{Backdrop, Ball, Contact, ContactKind, Family, Motion, Outcome, Scene, Skin, sound};
use crate::model::sound::{Atoms, IMPACT_SAMPLES, SoundAutoencoder, loudness, spectra};

/// Impacts that a step hears.
const BATCH: usize = 48;

/// The waveform of one contact of a scene, as if nothing else sounded.
pub(crate) fn impact_wave(scene: &Scene, contact: &Contact) -> Vec<f32> {
    let alone = Contact { time_s: 0.0, ..*contact };
    let motion = Motion { frames: Vec::new(), contacts: vec![alone], outcome: None };
    let mut samples = sound(scene, &motion);
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
    descent.run(model, groups, |model, step| {
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

fn draw(seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let kinds = [
        ContactKind::Floor,
        ContactKind::Floor,
        ContactKind::Rim,
        ContactKind::Board,
        ContactKind::Ball,
        ContactKind::Net,
    ];
    let scene = Scene {
        family: Family::Bounce,
        seed,
        balls: vec![Ball {
            radius_m: rng.random_range(0.34..0.92),
            x_m: 0.0,
            y_m: 0.0,
            vx_m_s: 0.0,
            vy_m_s: 0.0,
            angle_rad: 0.0,
            spin_rad_s: 0.0,
            restitution: 0.5,
            skin: Skin { base: [0; 3], accent: None },
            colours: None,
        }],
        hoop: None,
        friction: 0.3,
        backdrop: Backdrop::Sky,
        outcome: Outcome::Bounces(1),
    };
    let contact = Contact {
        time_s: 0.0,
        kind: kinds.choose(&mut rng).copied().unwrap_or(ContactKind::Floor),
        ball: 0,
        other: None,
        speed_m_s: 1.0,
        impulse_n_s: rng.random_range(0.0..3.6_f32).exp(),
        x_m: 0.0,
        y_m: 0.0,
    };
    normalised(&impact_wave(&scene, &contact)).0
}
