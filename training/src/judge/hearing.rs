//! What the judges hear: samples enter; loudness in mel bands, the pitch of a voice and onsets leave.
//!
//! INVARIANT: any samples give finite numbers, and nothing here depends on how loud a recording is as a whole
//! but where it says so.

use std::f32::consts::{PI, TAU};

/// Samples of a window, 43 ms at 12 kHz: two periods of the lowest voice.
pub(crate) const WINDOW: usize = 512;
/// Periods of voices, in Hz.
const LOWEST_VOICE_HZ: f32 = 65.0;
const HIGHEST_VOICE_HZ: f32 = 380.0;
const LOWEST_BAND_HZ: f32 = 90.0;
/// Bands end here, as a share of the sample rate.
const HIGHEST_BAND: f32 = 0.47;
/// Energies below this are silence.
const SILENCE: f32 = 1e-7;

/// Windows in which power is measured, `bands` mel bands wide.
#[derive(Debug)]
pub(crate) struct Mel {
    /// For each band, the bins and their weights.
    bands: Vec<Vec<(usize, f32)>>,
    hann: Vec<f32>,
}

impl Mel {
    pub(crate) fn new(bands: usize, sample_rate: u32) -> Self {
        let rate = sample_rate as f32;
        let mel = |hz: f32| 1127.0 * (1.0 + hz / 700.0).ln();
        let (low, high) = (mel(LOWEST_BAND_HZ), mel(HIGHEST_BAND * rate));
        let edge = |index: usize| {
            let mel = low + (high - low) * index as f32 / (bands + 1) as f32;
            700.0 * ((mel / 1127.0).exp() - 1.0) * WINDOW as f32 / rate
        };
        let weights = |band: usize| {
            let (left, middle, right) = (edge(band), edge(band + 1), edge(band + 2));
            let weight = |bin: usize| {
                let bin = bin as f32;
                // A triangle, but never so narrow that it falls between two bins.
                let rise = (bin - left.min(middle - 1.0)) / (middle - left).max(1.0);
                let fall = (right.max(middle + 1.0) - bin) / (right - middle).max(1.0);
                rise.min(fall).max(0.0)
            };
            let bins: Vec<(usize, f32)> =
                (0..WINDOW / 2).map(|bin| (bin, weight(bin))).filter(|(_, weight)| *weight > 0.0).collect();
            let sum: f32 = bins.iter().map(|(_, weight)| weight).sum();
            bins.into_iter().map(|(bin, weight)| (bin, weight / sum)).collect()
        };
        Self {
            bands: (0..bands).map(weights).collect(),
            hann: (0..WINDOW).map(|i| 0.5 - 0.5 * (TAU * i as f32 / WINDOW as f32).cos()).collect(),
        }
    }

    /// Logarithm of the power in each band of one window; samples beyond its end are silent.
    pub(crate) fn log_power(&self, window: &[f32]) -> Vec<f32> {
        let mut buffer: Vec<[f32; 2]> = vec![[0.0; 2]; WINDOW];
        for ((slot, sample), hann) in buffer.iter_mut().zip(window).zip(&self.hann) {
            slot[0] = hann * sound(*sample);
        }
        transform(&mut buffer);
        let power = |bin: usize| (buffer[bin][0].powi(2) + buffer[bin][1].powi(2)) / WINDOW as f32;
        let band =
            |bins: &Vec<(usize, f32)>| bins.iter().map(|&(bin, weight)| weight * power(bin)).sum::<f32>();
        self.bands.iter().map(|bins| (band(bins) + SILENCE).ln()).collect()
    }
}

/// A sample, or silence where it is no number.
fn sound(sample: f32) -> f32 {
    if sample.is_finite() { sample.clamp(-8.0, 8.0) } else { 0.0 }
}

/// The discrete Fourier transform of a power of two of complex numbers, in place.
fn transform(values: &mut [[f32; 2]]) {
    let count = values.len();
    let bits = count.trailing_zeros();
    for index in 0..count {
        let other = index.reverse_bits() >> (usize::BITS - bits.max(1));
        if index < other {
            values.swap(index, other);
        }
    }
    let mut half = 1;
    while half < count {
        let turns: Vec<(f32, f32)> = (0..half).map(|k| (-PI * k as f32 / half as f32).sin_cos()).collect();
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for ((a, b), &(sin, cos)) in low.iter_mut().zip(high).zip(&turns) {
                let turned = [b[0] * cos - b[1] * sin, b[0] * sin + b[1] * cos];
                *b = [a[0] - turned[0], a[1] - turned[1]];
                *a = [a[0] + turned[0], a[1] + turned[1]];
            }
        }
        half *= 2;
    }
}

/// The pitch of a window and how clearly it repeats, from 0 (noise) to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pitch {
    pub(crate) hz: f32,
    pub(crate) clarity: f32,
}

/// What repeats in a window: the first of the highest peaks of its normalised autocorrelation.
pub(crate) fn pitch(window: &[f32], sample_rate: u32) -> Option<Pitch> {
    let rate = sample_rate as f32;
    let (shortest, longest) = ((rate / HIGHEST_VOICE_HZ) as usize, (rate / LOWEST_VOICE_HZ) as usize);
    if shortest < 2 || window.len() < 2 * longest {
        return None;
    }
    let mut energies = vec![0.0_f32; window.len() + 1];
    for (index, sample) in window.iter().enumerate() {
        energies[index + 1] = energies[index] + sound(*sample).powi(2);
    }
    let total = energies[window.len()];
    if total < SILENCE {
        return None;
    }
    let alike = |delay: usize| {
        let (early, late) = (&window[..window.len() - delay], &window[delay..]);
        let product: f32 = early.iter().zip(late).map(|(a, b)| sound(*a) * sound(*b)).sum();
        let scale = energies[window.len() - delay] * (total - energies[delay]);
        product / scale.sqrt().max(1e-3 * total)
    };
    let heights: Vec<f32> = (shortest - 1..=longest + 1).map(alike).collect();
    let peaks = || {
        (1..heights.len() - 1)
            .filter(|&i| heights[i] >= heights[i - 1] && heights[i] > heights[i + 1])
            .map(|i| (i, heights[i]))
    };
    let highest = peaks().map(|(_, height)| height).fold(0.0, f32::max);
    // Twice the period repeats as well.
    let (at, clarity) = peaks().find(|(_, height)| *height > 0.92 * highest)?;
    let (before, after) = (heights[at - 1], heights[at + 1]);
    let shift = 0.5 * (before - after) / (before - 2.0 * clarity + after).min(-1e-9);
    let period = (shortest - 1 + at) as f32 + shift.clamp(-0.5, 0.5);
    Some(Pitch { hz: rate / period, clarity: clarity.clamp(0.0, 1.0) })
}

/// Seconds at which something strikes: where a few milliseconds are far louder than what came just before.
pub(crate) fn onsets(samples: &[f32], sample_rate: u32) -> Vec<f32> {
    const HOP_S: f32 = 0.004;
    const BEFORE: usize = 8;
    const RISE: f32 = 4.0;
    const NEAREST_S: f32 = 0.07;
    let hop = ((HOP_S * sample_rate as f32) as usize).max(1);
    let energies: Vec<f32> = samples
        .chunks(hop)
        .map(|chunk| chunk.iter().map(|sample| sound(*sample).powi(2)).sum::<f32>() / chunk.len() as f32)
        .collect();
    let loudest = energies.iter().copied().fold(0.0, f32::max);
    let mut found: Vec<f32> = Vec::new();
    for (look, &energy) in energies.iter().enumerate() {
        let floor = (1e-4 * loudest).max(1e-6);
        let before = energies[look.saturating_sub(BEFORE)..look].iter().copied().fold(floor, f32::max);
        let time_s = (look * hop) as f32 / sample_rate as f32;
        if energy > RISE * before && found.last().is_none_or(|last| time_s - last > NEAREST_S) {
            found.push(time_s);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::sound::sound as heard;
    use crate::world::{Event, Family, SAMPLE_RATE};
    use proptest::prelude::*;

    #[test]
    fn the_transform_of_a_tone_is_one_bin() {
        let mut values: Vec<[f32; 2]> =
            (0..WINDOW).map(|i| [(TAU * 37.0 * i as f32 / WINDOW as f32).cos(), 0.0]).collect();
        transform(&mut values);
        for (bin, [real, imaginary]) in values.iter().enumerate() {
            let expected = if bin == 37 || bin == WINDOW - 37 { WINDOW as f32 / 2.0 } else { 0.0 };
            assert!(
                (real - expected).abs() < 0.01 && imaginary.abs() < 0.01,
                "bin {bin}: {real} {imaginary}"
            );
        }
    }

    #[test]
    fn a_tone_is_loudest_in_its_band() {
        let mel = Mel::new(16, SAMPLE_RATE);
        let loudest = |hz: f32| {
            let tone: Vec<f32> =
                (0..WINDOW).map(|i| (TAU * hz * i as f32 / SAMPLE_RATE as f32).sin()).collect();
            let power = mel.log_power(&tone);
            (0..16).max_by(|&a, &b| power[a].total_cmp(&power[b])).unwrap()
        };
        let bands: Vec<usize> = [150.0, 400.0, 900.0, 1800.0, 3000.0, 5000.0].map(loudest).to_vec();
        assert!(bands.windows(2).all(|pair| pair[0] < pair[1]), "{bands:?}");
    }

    #[test]
    fn a_repeating_wave_has_its_pitch() {
        for hz in [72.0, 110.0, 185.0, 320.0] {
            let wave: Vec<f32> = (0..WINDOW)
                .map(|i| {
                    (1..6).map(|n| (TAU * hz * (n * i) as f32 / SAMPLE_RATE as f32).sin() / n as f32).sum()
                })
                .collect();
            let heard = pitch(&wave, SAMPLE_RATE).unwrap();
            assert!((heard.hz / hz - 1.0).abs() < 0.02 && heard.clarity > 0.9, "{heard:?} of {hz}");
        }
    }

    #[test]
    fn every_bounce_is_heard_once() {
        for seed in 0..12 {
            let scene = Family::Bounce.sample(seed);
            let Event::Bounces(count) = scene.event else { panic!() };
            assert_eq!(onsets(&heard(&scene), SAMPLE_RATE).len(), count as usize, "{seed}");
        }
    }

    proptest! {
        #[test]
        fn any_samples_can_be_heard(samples in proptest::collection::vec(proptest::num::f32::ANY, 0..1200)) {
            let window = &samples[..samples.len().min(WINDOW)];
            prop_assert!(Mel::new(12, SAMPLE_RATE).log_power(window).iter().all(|power| power.is_finite()));
            if let Some(pitch) = pitch(window, SAMPLE_RATE) {
                prop_assert!(pitch.hz.is_finite() && (0.0..=1.0).contains(&pitch.clarity));
            }
            prop_assert!(onsets(&samples, SAMPLE_RATE).iter().all(|time| time.is_finite()));
        }
    }
}
