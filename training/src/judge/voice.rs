//! Whose voice is it: samples enter, an embedding leaves, near for one voice and far for two.
//!
//! A voice is heard in the windows in which somebody speaks with it: each with its spectrum, its pitch and how
//! clearly that repeats. One small network looks at each window, so that it may know which vowel it is and
//! hear the throat behind it; mean and spread over the windows are what does not change with the words.
//! INVARIANT: a recording that is louder as a whole has the same features.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Tensor, TensorData};

use super::hearing::{Mel, WINDOW, pitch};
use super::identity::EMBEDDING;
use crate::world::Voice;

const BANDS: usize = 36;
/// Numbers that a window is heard as: its spectrum, its pitch and the clarity of that.
const NUMBERS: usize = BANDS + 2;
/// Windows of a recording.
const HEARD: usize = 24;
/// Numbers that a recording is heard as.
pub(super) const FEATURES: usize = HEARD * NUMBERS;
const HIDDEN: usize = 96;
/// What a voice is made of.
pub(super) const TRAITS: usize = 4;
const HOP: usize = 128;
/// Windows that repeat less clearly are no vowel.
const CLEAR: f32 = 0.35;
/// Windows fainter than this share of the loudest vowel say little of the voice.
const FAINT: f32 = 0.015;
/// Windows in which somebody must speak.
const FEWEST: usize = 6;

#[derive(Module, Debug)]
pub(super) struct Ear {
    first: Linear,
    second: Linear,
    mind: Linear,
    head: Linear,
    traits: Linear,
}

/// What an ear makes of recordings.
#[derive(Debug)]
pub(super) struct Told {
    /// `[recordings, EMBEDDING]`
    pub(super) embedding: Tensor<2>,
    /// What the voices are made of, `[recordings, TRAITS]`: a lesson, and no part of the judgement.
    pub(super) traits: Tensor<2>,
}

impl Ear {
    pub(super) fn new(device: &Device) -> Self {
        let layer = |from, to| LinearConfig::new(from, to).init(device);
        Self {
            first: layer(NUMBERS, HIDDEN),
            second: layer(HIDDEN, HIDDEN),
            mind: layer(2 * HIDDEN, HIDDEN),
            head: layer(HIDDEN, EMBEDDING),
            traits: layer(HIDDEN, TRAITS),
        }
    }

    /// # Shapes
    /// - heard: `[recordings, FEATURES]`.
    pub(super) fn forward(&self, heard: Tensor<2>) -> Told {
        let [recordings, _] = heard.dims();
        let windows = heard.reshape([recordings * HEARD, NUMBERS]);
        let hidden = relu(self.second.forward(relu(self.first.forward(windows))));
        let hidden = hidden.reshape([recordings, HEARD, HIDDEN]);
        let mean = hidden.clone().mean_dim(1);
        let spread = hidden.sub(mean.clone()).square().mean_dim(1).add_scalar(1e-5).sqrt();
        let both = Tensor::cat(vec![mean, spread], 2).reshape([recordings, 2 * HIDDEN]);
        let mind = relu(self.mind.forward(both));
        Told { embedding: self.head.forward(mind.clone()), traits: self.traits.forward(mind) }
    }
}

/// What a voice is made of, each from about -1 to 1.
pub(super) fn traits(voice: &Voice) -> [f32; TRAITS] {
    [
        (voice.pitch_hz.log2() - 7.27) / 0.95,
        (voice.tract - 1.035) / 0.215,
        (voice.breath - 0.25) / 0.25,
        (voice.tilt_db + 9.0) / 5.0,
    ]
}

/// Recordings as an ear hears them, `[recordings, FEATURES]`.
pub(super) fn batch<'a>(heard: impl IntoIterator<Item = &'a [f32]>, device: &Device) -> Tensor<2> {
    let values: Vec<f32> = heard.into_iter().flatten().copied().collect();
    let count = values.len() / FEATURES;
    Tensor::from_data(TensorData::new(values, [count, FEATURES]), device)
}

/// What is heard of a voice; `None` where nobody speaks.
pub(super) fn listen(samples: &[f32], sample_rate: u32) -> Option<Vec<f32>> {
    let energy = |window: &[f32]| window.iter().map(|sample| sample * sample).sum::<f32>();
    let windows: Vec<(&[f32], f32)> =
        samples.windows(WINDOW).step_by(HOP).map(|window| (window, energy(window))).collect();
    let loudest = windows.iter().map(|(_, energy)| *energy).fold(0.0, f32::max);
    if !loudest.is_finite() || loudest < 1e-3 {
        return None;
    }
    let mut vowels = Vec::new();
    for &(window, energy) in windows.iter().filter(|(_, energy)| *energy > 1e-3 * loudest) {
        if let Some(heard) = pitch(window, sample_rate).filter(|heard| heard.clarity > CLEAR) {
            vowels.push((window, energy, heard));
        }
    }
    let least = FAINT * vowels.iter().map(|(_, energy, _)| *energy).fold(0.0, f32::max);
    vowels.retain(|(_, energy, _)| *energy > least);
    if vowels.len() < FEWEST {
        return None;
    }
    let mel = Mel::new(BANDS, sample_rate);
    let mut features = Vec::with_capacity(FEATURES);
    for chosen in 0..HEARD {
        let (window, energy, heard) = vowels.get(chosen * vowels.len() / HEARD)?;
        let gain = (WINDOW as f32 / energy).sqrt();
        let even: Vec<f32> = window.iter().map(|sample| gain * sample).collect();
        features.extend(mel.log_power(&even).into_iter().map(|power| (power + 1.0) / 3.0));
        features.push(2.0 * (heard.hz.log2() - MIDDLE_OCTAVE));
        features.push(4.0 * (heard.clarity - 0.8));
    }
    Some(features)
}

/// Voices lie around this many octaves above 1 Hz.
const MIDDLE_OCTAVE: f32 = 7.3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::speech::{frames, synthesise};
    use crate::world::{Phrase, SAMPLE_RATE, Voice};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const VOICE: Voice = Voice { pitch_hz: 140.0, tract: 1.0, breath: 0.2, tilt_db: -8.0 };

    fn spoken(phrase: Phrase, voice: &Voice) -> Vec<f32> {
        let mut samples = vec![0.0; 4000];
        samples.extend(synthesise(&frames(phrase), voice, 3));
        samples
    }

    #[test]
    fn every_phrase_is_heard_at_its_pitch_whatever_its_loudness() {
        for phrase in Phrase::ALL {
            let samples = spoken(phrase, &VOICE);
            let heard = listen(&samples, SAMPLE_RATE).unwrap();
            assert_eq!(heard.len(), FEATURES);
            let mut octaves: Vec<f32> = heard.chunks(NUMBERS).map(|window| window[BANDS]).collect();
            octaves.sort_by(f32::total_cmp);
            let middle_hz = (octaves[HEARD / 2] / 2.0 + MIDDLE_OCTAVE).exp2();
            assert!((middle_hz / VOICE.pitch_hz - 1.0).abs() < 0.2, "{phrase:?}: {middle_hz}");
            let soft: Vec<f32> = samples.iter().map(|sample| 0.3 * sample).collect();
            let again = listen(&soft, SAMPLE_RATE).unwrap();
            assert!(heard.iter().zip(again).all(|(a, b)| (a - b).abs() < 0.02), "{phrase:?}");
        }
    }

    #[test]
    fn silence_and_noise_are_nobody() {
        assert!(listen(&[], SAMPLE_RATE).is_none());
        assert!(listen(&vec![0.0; 24_000], SAMPLE_RATE).is_none());
        assert!(listen(&vec![f32::NAN; 24_000], SAMPLE_RATE).is_none());
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let hiss: Vec<f32> = (0..24_000).map(|_| rng.random_range(-0.5..0.5)).collect();
        assert!(listen(&hiss, SAMPLE_RATE).is_none());
    }
}
