//! The voice encoder: a recording of somebody speaking enters, the numbers of their voice leave.
//!
//! It hears what does not change with the words: which delays repeat (the pitch) and the mean spectrum (the
//! vocal tract, the breath and the tilt). The numbers are those of
//! [`voice_numbers`](crate::performance::voice_numbers).

use std::f32::consts::TAU;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::latents::VOICE_CODE;
use super::mlp::Mlp;
use crate::size::ModelConfig;
use crate::world::SAMPLE_RATE;

/// Samples of a window: 40 ms hold two periods of the lowest voice.
const WINDOW: usize = 480;
const HOP: usize = 240;
/// Delays at which a voice may repeat, in samples: 400 Hz down to 60 Hz.
const SHORTEST: usize = 30;
const LONGEST: usize = 200;
const BANDS: usize = 40;
const LOWEST_HZ: f32 = 80.0;
const HIGHEST_HZ: f32 = 5600.0;
/// Numbers that a recording is heard as.
pub(crate) const HEARD: usize = LONGEST - SHORTEST + 1 + BANDS;
/// Windows fainter than this share of the loudest say nothing of the voice.
const FAINTEST: f32 = 0.05;

#[derive(Module, Debug)]
pub(crate) struct VoiceEncoder {
    layers: Mlp,
}

impl VoiceEncoder {
    pub(crate) fn new(config: &ModelConfig, device: &Device) -> Self {
        let width = config.sound_width;
        Self { layers: Mlp::new(&[HEARD, width, width, VOICE_CODE], device) }
    }

    /// # Shapes
    /// - heard: `[recordings, HEARD]`; output: `[recordings, 4]`.
    pub(crate) fn forward(&self, heard: Tensor<2>) -> Tensor<2> {
        self.layers.forward(heard)
    }
}

/// A recording at [`SAMPLE_RATE`] as the encoder hears it; `None` where nobody speaks.
pub(crate) fn hear(samples: &[f32]) -> Option<Vec<f32>> {
    let windows: Vec<&[f32]> = samples.windows(WINDOW).step_by(HOP).collect();
    let energy = |window: &[f32]| window.iter().map(|sample| sample * sample).sum::<f32>();
    let loudest = windows.iter().map(|window| energy(window)).fold(0.0, f32::max);
    if loudest < 1e-4 {
        return None;
    }
    let mut heard = vec![0.0_f32; HEARD];
    let (delays, bands) = heard.split_at_mut(LONGEST - SHORTEST + 1);
    let mut weight = 0.0;
    for window in windows {
        let energy = energy(window);
        if energy < FAINTEST * loudest {
            continue;
        }
        weight += energy;
        for (delay, sum) in (SHORTEST..=LONGEST).zip(delays.iter_mut()) {
            let (early, late) = (&window[..WINDOW - delay], &window[delay..]);
            let product: f32 = early.iter().zip(late).map(|(a, b)| a * b).sum();
            let scale: f32 =
                early.iter().map(|a| a * a).sum::<f32>() * late.iter().map(|b| b * b).sum::<f32>();
            *sum += energy * product / scale.sqrt().max(1e-6);
        }
        for (band, sum) in bands.iter_mut().enumerate() {
            *sum += energy * (band_energy(window, band) / energy).max(1e-6).ln();
        }
    }
    for sum in delays {
        *sum /= weight;
    }
    for sum in bands {
        *sum = (*sum / weight + 4.0) / 3.0;
    }
    Some(heard)
}

/// Energy of a window about the middle of a band.
fn band_energy(window: &[f32], band: usize) -> f32 {
    let hz = LOWEST_HZ * (HIGHEST_HZ / LOWEST_HZ).powf(band as f32 / (BANDS - 1) as f32);
    let turn = TAU * hz / SAMPLE_RATE as f32;
    let (mut real, mut imaginary) = (0.0_f32, 0.0_f32);
    for (index, sample) in window.iter().enumerate() {
        let hann = 0.5 - 0.5 * (TAU * index as f32 / WINDOW as f32).cos();
        let (sin, cos) = (turn * index as f32).sin_cos();
        real += hann * sample * cos;
        imaginary += hann * sample * sin;
    }
    (real * real + imaginary * imaginary) / WINDOW as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_that_repeats_is_the_period() {
        let tone: Vec<f32> = (0..6000).map(|i| 0.5 * (TAU * 150.0 * i as f32 / 12_000.0).sin()).collect();
        let heard = hear(&tone).unwrap();
        let best = (0..=LONGEST - SHORTEST).max_by(|&a, &b| heard[a].total_cmp(&heard[b])).unwrap();
        let period = best + SHORTEST;
        assert!(period.abs_diff(80) <= 1 || period.abs_diff(160) <= 1, "{period}");
    }

    #[test]
    fn silence_is_no_voice() {
        assert!(hear(&vec![0.0; 12_000]).is_none());
        assert!(hear(&[]).is_none());
    }
}
