//! Trains the ear: phrases in made-up voices, and impacts over them, enter; an ear that reads what a voice
//! does leaves.

use burn::tensor::{Tensor, TensorData};
use kinora_harness::seed::{derive, seeded};
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::descent::{Descent, Group, Shard};
use super::sound::draw;
use super::{Lesson, TrainError};
use crate::model::ear::{AHEAD, EAR_FACTS, Ear, HEARD, Moments, Uttered, middle};
use crate::model::latents::INSTANTS_PER_S;
use crate::world::speech::{frames, synthesise};
use crate::world::{Phrase, SAMPLE_RATE, Voice, VoiceFrame};

/// Instants that a step hears.
const BATCH: usize = 256;
/// Instants of silence before and after a phrase.
const PAUSE: usize = 8;
/// Weight of what the voice says of itself while it is silent.
const FAINT: f32 = 0.02;

/// One instant: what is heard, what is uttered, and how much each number of that counts.
struct Instant {
    heard: Vec<f32>,
    uttered: [f32; EAR_FACTS],
    weights: [f32; EAR_FACTS],
}

pub(super) fn train(lesson: &Lesson<'_>, descent: Descent<'_>) -> Result<Ear, TrainError> {
    let Lesson { config, plan, seed, device } = *lesson;
    let seed = derive(seed, "ear");
    let model = seeded(device, seed, || Ear::new(config, device));
    let moments = Moments::new();
    // A phrase has some forty instants: a third of the recordings is plenty.
    let instants: Vec<Instant> = (0..plan.recordings.div_ceil(3))
        .into_par_iter()
        .flat_map_iter(|index| {
            recording(&mut ChaCha8Rng::seed_from_u64(derive(seed, "recording") ^ index), &moments)
        })
        .collect();
    let groups = |model: &Ear| vec![Group::adamw_all(model, 2e-3)];
    descent.run(model, groups, |model, Shard { step, .. }| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(step + 1);
        let chosen: Vec<&Instant> = (0..BATCH).filter_map(|_| instants.choose(&mut rng)).collect();
        let matrix = |values: Vec<f32>, width: usize| {
            let rows = values.len() / width;
            Tensor::<2>::from_data(TensorData::new(values, [rows, width]), device)
        };
        let heard = chosen.iter().flat_map(|instant| instant.heard.iter().copied());
        let heard: Vec<f32> = heard.map(|number| number + rng.random_range(-0.02..0.02_f32)).collect();
        let uttered = chosen.iter().flat_map(|instant| instant.uttered).collect();
        let weights = chosen.iter().flat_map(|instant| instant.weights).collect();
        let error = model.forward(matrix(heard, HEARD)).sub(matrix(uttered, EAR_FACTS));
        error.square().mul(matrix(weights, EAR_FACTS)).mean()
    })
}

/// The instants of one phrase in one voice, often with an impact over it, or of nothing but impacts.
fn recording(rng: &mut ChaCha8Rng, moments: &Moments) -> Vec<Instant> {
    let voice = Voice::sample(rng);
    let phrase = Phrase::ALL.choose(rng).copied().unwrap_or(Phrase::Hello);
    let mut said = vec![VoiceFrame::default(); PAUSE];
    if rng.random_bool(0.85) {
        said.extend(frames(phrase));
    }
    said.resize(said.len() + PAUSE, VoiceFrame::default());
    let mut samples = synthesise(&said, &voice, rng.random());
    let mut strikes = Vec::new();
    for _ in 0..rng.random_range(0..4) {
        let impact = draw(rng.random());
        let gain = rng.random_range(-5.2..-1.0_f32).exp();
        let start = rng.random_range(0..samples.len());
        strikes.push(start as f32 / SAMPLE_RATE as f32 * INSTANTS_PER_S);
        for (sample, value) in samples[start..].iter_mut().zip(&impact) {
            *sample += gain * value;
        }
    }
    let near: Vec<_> = (0..said.len() + AHEAD).map(|instant| moments.moment(&samples, instant)).collect();
    debug_assert!(middle(said.len()) <= samples.len());
    said.iter()
        .enumerate()
        .map(|(instant, frame)| {
            let speaks = |amplitude: f32| if amplitude > 1e-3 { 0.1 + amplitude } else { FAINT };
            let (voiced, noise) = (speaks(frame.voiced), speaks(frame.noise));
            let either = voiced.max(noise);
            let away = |strike: &f32| (instant as f32 - strike).abs();
            let nearest = strikes.iter().map(away).fold(f32::INFINITY, f32::min);
            let strike = (-0.5 * nearest * nearest).exp();
            let pitch_hz = voice.pitch_hz * frame.pitch.max(0.1);
            Instant {
                heard: Moments::heard(&near, instant),
                uttered: Uttered { frame: *frame, pitch_hz, strike }.numbers(),
                weights: [2.0, 2.0, voiced, either, 0.5 * either, 0.1 * noise, 1.0],
            }
        })
        .collect()
}
