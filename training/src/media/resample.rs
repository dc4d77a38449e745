//! Sample rates: sound goes in at one rate and comes out at another, band-limited by a windowed sinc.

use std::f32::consts::PI;

/// Zero crossings of the sinc on each side.
const CROSSINGS: usize = 16;

/// Resamples by a polyphase filter; equal rates return the sound as it is.
pub(crate) fn resample(sound: &[f32], from_hz: u32, to_hz: u32) -> Vec<f32> {
    if from_hz == to_hz || from_hz == 0 || to_hz == 0 {
        return sound.to_vec();
    }
    let divisor = gcd(from_hz, to_hz);
    let (step, phases) = ((from_hz / divisor) as usize, (to_hz / divisor) as usize);
    // Going down, the filter also removes what the lower rate cannot hold.
    let cutoff = (to_hz as f32 / from_hz as f32).min(1.0);
    let half = (CROSSINGS as f32 / cutoff).ceil() as usize;
    let bank: Vec<Vec<f32>> =
        (0..phases).map(|phase| taps(phase as f32 / phases as f32, half, cutoff)).collect();
    let length = (sound.len() * phases).div_ceil(step);
    (0..length)
        .map(|index| {
            let (whole, phase) = (index * step / phases, index * step % phases);
            let taps = &bank[phase];
            // Tap k weighs the sample at whole + 1 - half + k.
            let skipped = (half - 1).saturating_sub(whole);
            let first = (whole + 1).saturating_sub(half);
            sound[first.min(sound.len())..]
                .iter()
                .zip(&taps[skipped..])
                .map(|(sample, weight)| sample * weight)
                .sum()
        })
        .collect()
}

/// Weights of the 2 x `half` samples around a point `fraction` after a sample.
fn taps(fraction: f32, half: usize, cutoff: f32) -> Vec<f32> {
    let mut weights: Vec<f32> = (0..2 * half)
        .map(|tap| {
            let distance = tap as f32 + 1.0 - half as f32 - fraction;
            let window = 0.5 + 0.5 * (PI * distance / (half as f32 + 0.5)).cos();
            let angle = PI * distance * cutoff;
            let sinc = if angle.abs() < 1e-6 { 1.0 } else { angle.sin() / angle };
            cutoff * sinc * window
        })
        .collect();
    let sum: f32 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= sum;
    }
    weights
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::resample;
    use std::f32::consts::TAU;

    #[test]
    fn a_tone_keeps_its_pitch_level_and_phase() {
        for (from_hz, to_hz) in [(12_000, 48_000), (16_000, 48_000), (44_100, 48_000), (48_000, 12_000)] {
            let tone = |rate: u32, index: usize| (TAU * 1000.0 * index as f32 / rate as f32).sin();
            let sound: Vec<f32> = (0..from_hz as usize).map(|index| tone(from_hz, index)).collect();
            let out = resample(&sound, from_hz, to_hz);
            assert_eq!(out.len(), to_hz as usize);
            let worst = (1000..out.len() - 1000)
                .map(|index| (out[index] - tone(to_hz, index)).abs())
                .fold(0.0, f32::max);
            assert!(worst < 0.01, "{from_hz} to {to_hz}: off by {worst}");
        }
    }
}
