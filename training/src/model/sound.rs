//! The sound autoencoder: one impact's waveform enters, becomes a loudness and a short code, and leaves as a
//! mixture of damped resonances and bursts of noise.
//!
//! The decoder chooses amplitudes of a fixed bank of [`Atoms`] (as in differentiable synthesis), all of which
//! start at the onset: an impact is exact to the sample, and its timbre is what is learned. Training compares
//! magnitude spectrograms, in which a mixture is linear before the magnitude is taken.

use std::f32::consts::{PI, TAU};

use burn::module::Module;
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::mlp::Mlp;
use crate::size::ModelConfig;
use crate::world::SAMPLE_RATE;

/// Samples of an impact that the autoencoder sees: half a second.
pub(crate) const IMPACT_SAMPLES: usize = 6144;
/// Samples of an impact that are played.
const RING_SAMPLES: usize = 14_400;
const WINDOW: usize = 512;
const HOP: usize = 256;
const FRAMES: usize = IMPACT_SAMPLES / HOP;
const BINS: usize = 240;
const BANDS: usize = 32;
/// Spectrogram frames are read in pairs by the encoder.
const SEEN: usize = FRAMES / 2 * BANDS;

const LOWEST_HZ: f32 = 60.0;
const STEPS_PER_OCTAVE: f32 = 18.0;
const PITCHES: usize = 116;
const DECAYS_S: [f32; 4] = [0.1, 0.2, 0.35, 0.85];
const NOISE_EDGES_HZ: [f32; 8] = [120.0, 300.0, 600.0, 1000.0, 1700.0, 2600.0, 3700.0, 5200.0];
/// Decay and attack of the bursts.
const BURSTS_S: [(f32, f32); 4] = [(0.015, 0.0), (0.035, 0.0), (0.12, 0.0), (0.42, 0.03)];
const BURST_SEED: u64 = 0xb0_57;

/// Sounds that an impact is mixed from. Each starts at its onset and dies away.
#[derive(Clone, Debug)]
pub(crate) struct Atoms {
    waves: Vec<Vec<f32>>,
}

impl Atoms {
    pub(crate) const COUNT: usize = PITCHES * DECAYS_S.len() + (NOISE_EDGES_HZ.len() - 1) * BURSTS_S.len();

    pub(crate) fn new() -> Self {
        let mut waves = Vec::with_capacity(Self::COUNT);
        for pitch in 0..PITCHES {
            let frequency_hz = LOWEST_HZ * (pitch as f32 / STEPS_PER_OCTAVE).exp2();
            waves.extend(DECAYS_S.map(|decay_s| resonance(frequency_hz, decay_s)));
        }
        for edges in NOISE_EDGES_HZ.windows(2) {
            waves.extend(BURSTS_S.map(|(decay_s, attack_s)| burst(edges[0], edges[1], decay_s, attack_s)));
        }
        Self { waves }
    }

    /// Adds the mixture of `amplitudes` to `samples`, from its first sample on.
    pub(crate) fn play(&self, amplitudes: &[f32], gain: f32, samples: &mut [f32]) {
        for (wave, amplitude) in self.waves.iter().zip(amplitudes) {
            let amplitude = amplitude * gain;
            // Below hearing beside an impact at full scale.
            if amplitude < 1e-5 {
                continue;
            }
            for (sample, value) in samples.iter_mut().zip(wave) {
                *sample += amplitude * value;
            }
        }
    }

    /// Complex spectrograms of the atoms, real and imaginary part, each `[atoms, frames x bins]`.
    pub(crate) fn spectra(&self, device: &Device) -> Spectra {
        let impacts: Vec<&[f32]> =
            self.waves.iter().map(|wave| &wave[..IMPACT_SAMPLES.min(wave.len())]).collect();
        spectra(&impacts, device)
    }
}

fn resonance(frequency_hz: f32, decay_s: f32) -> Vec<f32> {
    let rate = SAMPLE_RATE as f32;
    let length = ((1.3 * decay_s * rate) as usize).min(RING_SAMPLES);
    (0..length)
        .map(|index| {
            let second = index as f32 / rate;
            (-6.91 * second / decay_s).exp() * (TAU * frequency_hz * second).sin()
        })
        .collect()
}

fn burst(low_hz: f32, high_hz: f32, decay_s: f32, attack_s: f32) -> Vec<f32> {
    let rate = SAMPLE_RATE as f32;
    let mut noise = ChaCha8Rng::seed_from_u64(BURST_SEED ^ u64::from(low_hz.to_bits()));
    let smooth = |hz: f32| 1.0 - (-TAU * hz / rate).exp();
    let (fast, slow) = (smooth(high_hz), smooth(low_hz));
    let (mut upper, mut lower) = (0.0_f32, 0.0_f32);
    (0..(1.3 * decay_s * rate) as usize)
        .map(|index| {
            upper += fast * (noise.random_range(-1.0..1.0_f32) - upper);
            lower += slow * (upper - lower);
            let second = index as f32 / rate;
            let attack = if attack_s > 0.0 { (second / attack_s).min(1.0) } else { 1.0 };
            attack * (-6.91 * second / decay_s).exp() * (upper - lower)
        })
        .collect()
}

/// Real and imaginary parts of spectrograms, each `[impacts, frames x bins]`.
#[derive(Clone, Debug)]
pub(crate) struct Spectra {
    real: Tensor<2>,
    imaginary: Tensor<2>,
}

impl Spectra {
    /// `[impacts, frames x bins]`
    pub(crate) fn magnitudes(self) -> Tensor<2> {
        self.real.square().add(self.imaginary.square()).add_scalar(1e-6).sqrt()
    }
}

/// Spectrograms of impacts, which may be shorter than [`IMPACT_SAMPLES`].
pub(crate) fn spectra(impacts: &[&[f32]], device: &Device) -> Spectra {
    let mut windows = vec![0.0_f32; impacts.len() * FRAMES * WINDOW];
    for (impact, block) in impacts.iter().zip(windows.chunks_exact_mut(FRAMES * WINDOW)) {
        for (frame, window) in block.chunks_exact_mut(WINDOW).enumerate() {
            for (index, value) in window.iter_mut().enumerate() {
                // The first window begins one hop early, so that the onset lies in its middle.
                let sample = (frame * HOP + index).checked_sub(HOP).and_then(|at| impact.get(at));
                let hann = 0.5 - 0.5 * (TAU * index as f32 / WINDOW as f32).cos();
                *value = sample.copied().unwrap_or(0.0) * hann;
            }
        }
    }
    let windows = Tensor::<2>::from_data(TensorData::new(windows, [impacts.len() * FRAMES, WINDOW]), device);
    let transform = |phase: f32| {
        let basis = (0..WINDOW).flat_map(|index| {
            (0..BINS).map(move |bin| {
                // Reduced before the cosine, which is exact for small angles only.
                let turns = ((index * bin) % WINDOW) as f32 / WINDOW as f32;
                (TAU * turns - phase).cos() / 64.0
            })
        });
        let basis: Vec<f32> = basis.collect();
        let basis = Tensor::<2>::from_data(TensorData::new(basis, [WINDOW, BINS]), device);
        windows.clone().matmul(basis).reshape([impacts.len(), FRAMES * BINS])
    };
    Spectra { real: transform(0.0), imaginary: transform(PI / 2.0) }
}

/// Loudness of an impact: the logarithm of its early root mean square.
pub(crate) fn loudness(impact: &[f32]) -> f32 {
    let early = &impact[..impact.len().min(1200)];
    let mean = early.iter().map(|sample| sample * sample).sum::<f32>() / early.len().max(1) as f32;
    mean.sqrt().max(1e-5).ln()
}

#[derive(Module, Debug)]
pub(crate) struct SoundAutoencoder {
    encoder: Mlp,
    decoder: Mlp,
}

impl SoundAutoencoder {
    pub(crate) fn new(config: &ModelConfig, device: &Device) -> Self {
        let (width, code) = (config.sound_width, config.sound_code);
        Self {
            encoder: Mlp::new(&[SEEN, width, width, code], device),
            decoder: Mlp::new(&[code, width, width, Atoms::COUNT], device),
        }
    }

    /// Timbre codes in (-2, 2) of impacts at unit loudness.
    ///
    /// # Shapes
    /// - magnitudes: `[impacts, frames x bins]`; output: `[impacts, sound code]`.
    pub(crate) fn encode(&self, magnitudes: Tensor<2>) -> Tensor<2> {
        let device = magnitudes.device();
        let [impacts, _] = magnitudes.dims();
        let banded = magnitudes.reshape([impacts * FRAMES, BINS]).matmul(bands(&device));
        let paired = banded.reshape([impacts, FRAMES / 2, 2, BANDS]).mean_dim(2);
        let seen = paired.reshape([impacts, SEEN]).mul_scalar(10.0).log1p();
        self.encoder.forward(seen).tanh().mul_scalar(2.0)
    }

    /// Amplitudes of the atoms, none negative.
    ///
    /// # Shapes
    /// - codes: `[impacts, sound code]`; output: `[impacts, atoms]`.
    pub(crate) fn decode(&self, codes: Tensor<2>) -> Tensor<2> {
        softplus(self.decoder.forward(codes).mul_scalar(2.0).sub_scalar(4.0), 1.0)
    }

    /// Spectrograms of decoded impacts, before the magnitude is taken.
    pub(crate) fn spectra(amplitudes: Tensor<2>, atoms: &Spectra) -> Spectra {
        Spectra {
            real: amplitudes.clone().matmul(atoms.real.clone()),
            imaginary: amplitudes.matmul(atoms.imaginary.clone()),
        }
    }
}

/// Averages bins into bands whose width grows with frequency, `[bins, bands]`.
fn bands(device: &Device) -> Tensor<2> {
    let mut weights = vec![0.0_f32; BINS * BANDS];
    let edge = |band: usize| ((band as f32 / BANDS as f32).powf(1.7) * BINS as f32).round() as usize;
    for band in 0..BANDS {
        let low = edge(band).max(band);
        let high = edge(band + 1).max(low + 1).min(BINS);
        for bin in low..high {
            weights[bin * BANDS + band] = 1.0 / (high - low) as f32;
        }
    }
    Tensor::from_data(TensorData::new(weights, [BINS, BANDS]), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spectrogram_finds_the_pitch_at_the_onset() {
        let device = Device::flex();
        let wave = resonance(1500.0, 0.35);
        let magnitudes: Vec<f32> = spectra(&[&wave], &device).magnitudes().try_into_vec_as::<f32>().unwrap();
        let first = &magnitudes[..BINS];
        let loudest = (0..BINS).max_by(|&a, &b| first[a].total_cmp(&first[b])).unwrap();
        assert_eq!(loudest, 64, "1500 Hz lies in bin 64");
        let last = &magnitudes[(FRAMES - 1) * BINS..];
        assert!(last[64] < 0.05 * first[64]);
    }

    #[test]
    fn every_band_reads_some_bin() {
        let weights: Vec<f32> = bands(&Device::flex()).try_into_vec_as::<f32>().unwrap();
        for band in 0..BANDS {
            let sum: f32 = (0..BINS).map(|bin| weights[bin * BANDS + band]).sum();
            assert!((sum - 1.0).abs() < 1e-5, "band {band}: {sum}");
        }
    }

    #[test]
    fn atoms_are_counted_and_end() {
        let atoms = Atoms::new();
        assert_eq!(atoms.waves.len(), Atoms::COUNT);
        assert!(atoms.waves.iter().all(|wave| wave.len() <= RING_SAMPLES && wave.len() > 100));
        assert!(atoms.waves.iter().flatten().all(|value| value.is_finite()));
    }
}
