//! Sound: each contact rings a few damped modes of what was struck, from the very sample of the contact.
//!
//! A scene and its motion go in, mono samples at 12 kHz come out. Loudness follows the impulse, pitch the
//! size of the ball, timbre what was struck: a floor thuds, a rim clangs, a board knocks, balls click, a net
//! swishes. Nothing else sounds, so silence means that nothing touches.

use std::f32::consts::TAU;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::motion::{Contact, ContactKind, Motion};
use super::scene::Scene;
use super::{SAMPLE_RATE, SAMPLES};

/// The impulse that sounds at full strength.
const LOUD_N_S: f32 = 34.0;

/// One damped sinusoid.
struct Mode {
    frequency_hz: f32,
    amplitude: f32,
    /// Time to fall by 60 dB.
    decay_s: f32,
}

/// A burst of noise between two frequencies.
struct Burst {
    amplitude: f32,
    decay_s: f32,
    attack_s: f32,
    low_hz: f32,
    high_hz: f32,
}

struct Voice {
    modes: Vec<Mode>,
    burst: Burst,
}

/// Four seconds of mono sound in [-1, 1] at [`SAMPLE_RATE`].
pub fn sound(scene: &Scene, motion: &Motion) -> Vec<f32> {
    let mut samples = vec![0.0; SAMPLES];
    let mut noise = ChaCha8Rng::seed_from_u64(scene.seed ^ 0x50_0d);
    for contact in &motion.contacts {
        let radius_m = scene.balls.get(contact.ball).map_or(0.6, |ball| ball.radius_m);
        let voice = voice(contact, radius_m);
        let level = 0.85 * (contact.impulse_n_s / LOUD_N_S).min(1.2).powf(0.6);
        let start = (contact.time_s * SAMPLE_RATE as f32).round() as usize;
        if let Some(tail) = samples.get_mut(start..) {
            ring(tail, &voice, level, &mut noise);
        }
    }
    // Overlapping contacts may pass full scale; this bends only the loudest parts.
    for sample in &mut samples {
        if sample.abs() > 0.8 {
            *sample = sample.signum() * (0.8 + 0.2 * ((sample.abs() - 0.8) / 0.2).tanh());
        }
    }
    samples
}

fn voice(contact: &Contact, radius_m: f32) -> Voice {
    let mode = |frequency_hz, amplitude, decay_s| Mode { frequency_hz, amplitude, decay_s };
    let pitch = 0.6 / radius_m;
    match contact.kind {
        ContactKind::Floor => Voice {
            modes: vec![
                mode(112.0 * pitch, 0.62, 0.34),
                mode(187.0 * pitch, 0.34, 0.26),
                mode(311.0 * pitch, 0.2, 0.2),
                mode(742.0 * pitch, 0.18, 0.3),
                mode(1180.0 * pitch, 0.1, 0.18),
            ],
            burst: Burst { amplitude: 0.5, decay_s: 0.035, attack_s: 0.0, low_hz: 120.0, high_hz: 2200.0 },
        },
        ContactKind::Rim => Voice {
            modes: vec![
                mode(438.0, 0.3, 1.0),
                mode(1092.0, 0.34, 0.9),
                mode(1871.0, 0.26, 0.7),
                mode(2930.0, 0.18, 0.5),
                mode(4110.0, 0.1, 0.35),
            ],
            burst: Burst { amplitude: 0.35, decay_s: 0.02, attack_s: 0.0, low_hz: 800.0, high_hz: 5000.0 },
        },
        ContactKind::Board => Voice {
            modes: vec![
                mode(196.0, 0.5, 0.22),
                mode(417.0, 0.42, 0.18),
                mode(868.0, 0.26, 0.13),
                mode(1540.0, 0.12, 0.1),
            ],
            burst: Burst { amplitude: 0.6, decay_s: 0.025, attack_s: 0.0, low_hz: 300.0, high_hz: 3500.0 },
        },
        ContactKind::Ball => Voice {
            modes: vec![
                mode(905.0 * pitch, 0.4, 0.14),
                mode(1630.0 * pitch, 0.36, 0.1),
                mode(2480.0 * pitch, 0.24, 0.08),
            ],
            burst: Burst { amplitude: 0.55, decay_s: 0.012, attack_s: 0.0, low_hz: 900.0, high_hz: 5200.0 },
        },
        ContactKind::Net => Voice {
            modes: Vec::new(),
            burst: Burst { amplitude: 0.8, decay_s: 0.42, attack_s: 0.03, low_hz: 1800.0, high_hz: 5200.0 },
        },
    }
}

fn ring(samples: &mut [f32], voice: &Voice, level: f32, noise: &mut ChaCha8Rng) {
    let rate = SAMPLE_RATE as f32;
    let per_sample = |decay_s: f32| (-6.91 / (decay_s * rate)).exp();
    for mode in voice.modes.iter().filter(|mode| mode.frequency_hz < 0.46 * rate) {
        // A damped rotation: two multiplications a sample instead of a sine.
        let (sin, cos) = (TAU * mode.frequency_hz / rate).sin_cos();
        let decay = per_sample(mode.decay_s);
        let (mut x, mut y) = (1.0_f32, 0.0_f32);
        let gain = level * mode.amplitude;
        for sample in samples.iter_mut().take((1.3 * mode.decay_s * rate) as usize) {
            *sample += gain * y;
            (x, y) = (decay * (x * cos - y * sin), decay * (x * sin + y * cos));
        }
    }
    let burst = &voice.burst;
    let decay = per_sample(burst.decay_s);
    let smooth = |hz: f32| 1.0 - (-TAU * hz / rate).exp();
    let (fast, slow) = (smooth(burst.high_hz), smooth(burst.low_hz));
    let (mut upper, mut lower, mut envelope) = (0.0_f32, 0.0_f32, 1.0_f32);
    for (index, sample) in samples.iter_mut().take((1.3 * burst.decay_s * rate) as usize).enumerate() {
        let white = noise.random_range(-1.0..1.0_f32);
        upper += fast * (white - upper);
        lower += slow * (upper - lower);
        let attack =
            if burst.attack_s > 0.0 { (index as f32 / (burst.attack_s * rate)).min(1.0) } else { 1.0 };
        *sample += level * burst.amplitude * envelope * attack * (upper - lower);
        envelope *= decay;
    }
}
