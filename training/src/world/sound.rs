//! Sound: a scene goes in, mono samples come out.
//!
//! Each contact rings a few damped modes of what was struck, from the very moment of the contact, and the
//! speaker's voice lies on top. Loudness follows the impulse, pitch the size of what struck, timbre what was
//! struck: a floor thuds, a rim clangs, a board knocks, a net swishes, balls click, blocks clack, a ramp
//! booms, a hand slaps.
//! INVARIANT: of two contacts of a kind the one with the greater impulse is the louder, and nothing else
//! sounds, so silence means that nothing touches and nobody speaks.

use std::f32::consts::TAU;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::speech::synthesise;
use super::{Contact, ContactKind, SAMPLE_RATE, SAMPLES, Scene};

/// The impulse that sounds at full strength.
const LOUD_N_S: f32 = 34.0;
/// Something of this size has the pitch that the table of timbres gives.
const MIDDLE_SIZE_M: f32 = 0.6;
/// The ear takes up to a tenth of a second to judge how loud something is.
const LOUDNESS_SAMPLES: usize = SAMPLE_RATE as usize / 10;

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

struct Timbre {
    modes: Vec<Mode>,
    burst: Burst,
    /// Root mean square of the first tenth of a second at full strength.
    rms: f32,
}

/// Four seconds of mono sound in [-1, 1] at [`SAMPLE_RATE`].
pub fn sound(scene: &Scene) -> Vec<f32> {
    let mut samples = vec![0.0; SAMPLES];
    for contact in &scene.contacts {
        add(&mut samples, start(contact), &contact_wave(contact, scene.seed));
    }
    if let Some(speech) = &scene.speech {
        add(&mut samples, 0, &synthesise(&speech.frames(), &speech.voice, scene.seed));
    }
    limit(&mut samples);
    samples
}

/// Contacts and speech together may pass full scale; this bends only the loudest parts.
pub(crate) fn limit(samples: &mut [f32]) {
    for sample in samples {
        if sample.abs() > 0.8 {
            *sample = sample.signum() * (0.8 + 0.2 * ((sample.abs() - 0.8) / 0.2).tanh());
        }
    }
}

/// One contact's own wave as it is in the scene of that seed, before the limit; it begins with the first
/// sample after the contact.
pub(crate) fn contact_wave(contact: &Contact, seed: u64) -> Vec<f32> {
    let timbre = timbre(contact.kind, MIDDLE_SIZE_M / contact.size_m);
    // How far the first sample lies behind the contact.
    let late = start(contact) as f32 - contact.time_s * SAMPLE_RATE as f32;
    let mut noise = ChaCha8Rng::seed_from_u64(seed ^ 0x50_0d ^ u64::from(contact.time_s.to_bits()) << 20);
    let mut wave = ring(&timbre, late, &mut noise);
    let judged = &wave[..LOUDNESS_SAMPLES.min(wave.len())];
    let rms = (judged.iter().map(|sample| sample * sample).sum::<f32>() / LOUDNESS_SAMPLES as f32).sqrt();
    let gain = timbre.rms * (contact.impulse_n_s / LOUD_N_S).max(0.0).sqrt() / rms.max(1e-9);
    for sample in &mut wave {
        *sample *= gain;
    }
    wave
}

/// The first sample that is not before the contact.
fn start(contact: &Contact) -> usize {
    (contact.time_s * SAMPLE_RATE as f32).ceil() as usize
}

fn add(samples: &mut [f32], start: usize, wave: &[f32]) {
    for (sample, part) in samples.iter_mut().skip(start).zip(wave) {
        *sample += part;
    }
}

/// What a contact sounds like; `pitch` scales what depends on the size of what struck.
fn timbre(kind: ContactKind, pitch: f32) -> Timbre {
    let mode = |frequency_hz, amplitude, decay_s| Mode { frequency_hz, amplitude, decay_s };
    match kind {
        ContactKind::Floor => Timbre {
            modes: vec![
                mode(112.0 * pitch, 0.62, 0.34),
                mode(187.0 * pitch, 0.34, 0.26),
                mode(311.0 * pitch, 0.2, 0.2),
                mode(742.0 * pitch, 0.18, 0.3),
                mode(1180.0 * pitch, 0.1, 0.18),
            ],
            burst: Burst { amplitude: 0.5, decay_s: 0.035, attack_s: 0.0, low_hz: 120.0, high_hz: 2200.0 },
            rms: 0.3,
        },
        ContactKind::Rim => Timbre {
            modes: vec![
                mode(438.0, 0.3, 1.0),
                mode(1092.0, 0.34, 0.9),
                mode(1871.0, 0.26, 0.7),
                mode(2930.0, 0.18, 0.5),
                mode(4110.0, 0.1, 0.35),
            ],
            burst: Burst { amplitude: 0.35, decay_s: 0.02, attack_s: 0.0, low_hz: 800.0, high_hz: 5000.0 },
            rms: 0.3,
        },
        ContactKind::Board => Timbre {
            modes: vec![
                mode(196.0, 0.5, 0.22),
                mode(417.0, 0.42, 0.18),
                mode(868.0, 0.26, 0.13),
                mode(1540.0, 0.12, 0.1),
            ],
            burst: Burst { amplitude: 0.6, decay_s: 0.025, attack_s: 0.0, low_hz: 300.0, high_hz: 3500.0 },
            rms: 0.28,
        },
        ContactKind::Ball => Timbre {
            modes: vec![
                mode(905.0 * pitch, 0.4, 0.14),
                mode(1630.0 * pitch, 0.36, 0.1),
                mode(2480.0 * pitch, 0.24, 0.08),
            ],
            burst: Burst { amplitude: 0.55, decay_s: 0.012, attack_s: 0.0, low_hz: 900.0, high_hz: 5200.0 },
            rms: 0.18,
        },
        ContactKind::Net => Timbre {
            modes: Vec::new(),
            burst: Burst { amplitude: 0.8, decay_s: 0.42, attack_s: 0.03, low_hz: 1800.0, high_hz: 5200.0 },
            rms: 0.16,
        },
        ContactKind::Block => Timbre {
            modes: vec![
                mode(610.0 * pitch, 0.5, 0.09),
                mode(1390.0 * pitch, 0.34, 0.06),
                mode(2270.0 * pitch, 0.2, 0.04),
            ],
            burst: Burst { amplitude: 0.3, decay_s: 0.01, attack_s: 0.0, low_hz: 700.0, high_hz: 4500.0 },
            rms: 0.2,
        },
        ContactKind::BlockFloor => Timbre {
            modes: vec![
                mode(238.0 * pitch, 0.5, 0.12),
                mode(517.0 * pitch, 0.42, 0.09),
                mode(1060.0 * pitch, 0.3, 0.06),
                mode(1810.0 * pitch, 0.16, 0.05),
            ],
            burst: Burst { amplitude: 0.7, decay_s: 0.025, attack_s: 0.0, low_hz: 250.0, high_hz: 4200.0 },
            rms: 0.22,
        },
        // The board has its own pitch, but a large ball weighs it down a little.
        ContactKind::Ramp => Timbre {
            modes: vec![
                mode(148.0 * pitch.sqrt(), 0.6, 0.32),
                mode(263.0 * pitch.sqrt(), 0.36, 0.28),
                mode(441.0 * pitch.sqrt(), 0.24, 0.2),
                mode(655.0 * pitch.sqrt(), 0.12, 0.14),
            ],
            burst: Burst { amplitude: 0.3, decay_s: 0.03, attack_s: 0.0, low_hz: 150.0, high_hz: 1600.0 },
            rms: 0.24,
        },
        ContactKind::Step => Timbre {
            modes: vec![mode(172.0 * pitch, 0.4, 0.08), mode(334.0 * pitch, 0.2, 0.05)],
            burst: Burst { amplitude: 0.7, decay_s: 0.045, attack_s: 0.002, low_hz: 200.0, high_hz: 1200.0 },
            rms: 0.15,
        },
        ContactKind::Landing => Timbre {
            modes: vec![
                mode(84.0 * pitch, 0.7, 0.2),
                mode(139.0 * pitch, 0.4, 0.15),
                mode(226.0 * pitch, 0.2, 0.1),
            ],
            burst: Burst { amplitude: 0.9, decay_s: 0.06, attack_s: 0.001, low_hz: 80.0, high_hz: 900.0 },
            rms: 0.3,
        },
        ContactKind::Catch => Timbre {
            modes: vec![mode(268.0 * pitch, 0.3, 0.05), mode(571.0 * pitch, 0.2, 0.04)],
            burst: Burst { amplitude: 1.0, decay_s: 0.04, attack_s: 0.0, low_hz: 500.0, high_hz: 4800.0 },
            rms: 0.22,
        },
    }
}

/// A timbre that was struck `late` samples before the first one.
fn ring(timbre: &Timbre, late: f32, noise: &mut ChaCha8Rng) -> Vec<f32> {
    let rate = SAMPLE_RATE as f32;
    let per_sample = |decay_s: f32| (-6.91 / (decay_s * rate)).exp();
    let length = |decay_s: f32| (1.3 * decay_s * rate) as usize;
    let burst = &timbre.burst;
    let longest_s = timbre.modes.iter().map(|mode| mode.decay_s).fold(burst.decay_s, f32::max);
    let mut samples = vec![0.0; length(longest_s)];
    for mode in timbre.modes.iter().filter(|mode| mode.frequency_hz < 0.46 * rate) {
        // A damped rotation: two multiplications a sample instead of a sine.
        let turn = TAU * mode.frequency_hz / rate;
        let (sin, cos) = turn.sin_cos();
        let decay = per_sample(mode.decay_s);
        let gain = mode.amplitude * decay.powf(late);
        let (mut x, mut y) = ((turn * late).cos(), (turn * late).sin());
        for sample in samples.iter_mut().take(length(mode.decay_s)) {
            *sample += gain * y;
            (x, y) = (decay * (x * cos - y * sin), decay * (x * sin + y * cos));
        }
    }
    let decay = per_sample(burst.decay_s);
    let smooth = |hz: f32| 1.0 - (-TAU * hz / rate).exp();
    let (fast, slow) = (smooth(burst.high_hz), smooth(burst.low_hz));
    let (mut upper, mut lower, mut envelope) = (0.0_f32, 0.0_f32, decay.powf(late));
    for (index, sample) in samples.iter_mut().take(length(burst.decay_s)).enumerate() {
        let white = noise.random_range(-1.0..1.0_f32);
        upper += fast * (white - upper);
        lower += slow * (upper - lower);
        // The square root makes the first moment audible.
        let attack = if burst.attack_s > 0.0 {
            ((index as f32 + late) / (burst.attack_s * rate)).min(1.0).sqrt()
        } else {
            1.0
        };
        *sample += burst.amplitude * envelope * attack * (upper - lower);
        envelope *= decay;
    }
    samples
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{
        Backdrop, Event, Family, FloorTexture, Light, Phrase, Shot, Speech, Stage, Voice, WallTexture,
    };
    use rand::seq::IndexedRandom;

    const KINDS: [ContactKind; 11] = [
        ContactKind::Floor,
        ContactKind::Rim,
        ContactKind::Board,
        ContactKind::Net,
        ContactKind::Ball,
        ContactKind::Block,
        ContactKind::BlockFloor,
        ContactKind::Ramp,
        ContactKind::Step,
        ContactKind::Landing,
        ContactKind::Catch,
    ];

    fn contact(kind: ContactKind, rng: &mut ChaCha8Rng) -> Contact {
        Contact {
            time_s: rng.random_range(0.0..3.5),
            kind,
            actor: 0,
            other: None,
            speed_m_s: 1.0,
            impulse_n_s: *[0.1, 0.4, 1.0, 2.5, 8.0, 30.0].choose(rng).unwrap() * rng.random_range(1.0..2.0),
            size_m: rng.random_range(0.2..0.9),
            x_m: 0.0,
            y_m: 0.0,
        }
    }

    fn rms(wave: &[f32]) -> f32 {
        let judged = &wave[..LOUDNESS_SAMPLES.min(wave.len())];
        (judged.iter().map(|sample| sample * sample).sum::<f32>() / LOUDNESS_SAMPLES as f32).sqrt()
    }

    #[test]
    fn a_harder_contact_is_louder() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for kind in KINDS {
            let mut heard: Vec<(f32, f32)> = (0..100)
                .map(|seed| (contact(kind, &mut rng), seed))
                .map(|(contact, seed)| (contact.impulse_n_s, rms(&contact_wave(&contact, seed))))
                .collect();
            heard.sort_by(|a, b| a.0.total_cmp(&b.0));
            // Ranks that agree everywhere are a rank correlation of one.
            assert!(heard.windows(2).all(|pair| pair[0].1 <= pair[1].1 * 1.000_01), "{kind:?}");
            assert!(heard[99].1 > 3.0 * heard[0].1, "{kind:?}");
        }
    }

    #[test]
    fn a_contact_is_heard_from_its_very_moment() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for kind in KINDS {
            for seed in 0..40 {
                let contact = contact(kind, &mut rng);
                let wave = contact_wave(&contact, seed);
                let peak = wave.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
                let first = wave.iter().position(|sample| sample.abs() > 0.02 * peak).unwrap();
                let onset_s = (start(&contact) + first) as f32 / SAMPLE_RATE as f32;
                let offset_s = onset_s - contact.time_s;
                assert!((-1e-6..1e-3).contains(&offset_s), "{kind:?} {seed}: {offset_s}");
            }
        }
    }

    #[test]
    fn the_larger_sounds_the_deeper() {
        // Zero crossings a second of what a floor sounds like once the burst is over.
        let crossings = |size_m: f32| {
            let mut rng = ChaCha8Rng::seed_from_u64(3);
            let wave = contact_wave(&Contact { size_m, ..contact(ContactKind::Floor, &mut rng) }, 3);
            wave[800..2000].windows(2).filter(|pair| pair[0].signum() != pair[1].signum()).count()
        };
        assert!(crossings(0.3) > crossings(0.5) && crossings(0.5) > crossings(0.9));
    }

    #[test]
    fn kinds_sound_different() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let one = contact(ContactKind::Floor, &mut rng);
        let waves: Vec<Vec<f32>> = KINDS
            .iter()
            .map(|&kind| contact_wave(&Contact { kind, impulse_n_s: 5.0, ..one }, 1))
            .map(|mut wave| {
                wave.resize(LOUDNESS_SAMPLES, 0.0);
                wave
            })
            .collect();
        for (index, wave) in waves.iter().enumerate() {
            for other in &waves[..index] {
                let dot: f32 = wave.iter().zip(other).map(|(a, b)| a * b).sum();
                let alike = dot / (rms(wave) * rms(other) * LOUDNESS_SAMPLES as f32);
                assert!(alike < 0.9, "{alike}");
            }
        }
    }

    fn scene(contacts: Vec<Contact>, speech: Option<Speech>) -> Scene {
        Scene {
            family: Family::Walk,
            seed: 7,
            shot: Shot::Medium,
            stage: Stage {
                backdrop: Backdrop::Sky,
                wall: WallTexture::Plain,
                floor: FloorTexture::Plain,
                light: Light { from_x: 0.0, warmth: 0.5, brightness: 1.0 },
                fixture: None,
            },
            actors: Vec::new(),
            contacts,
            speech,
            event: Event::Stands,
        }
    }

    #[test]
    fn silence_means_that_nothing_touches_and_nobody_speaks() {
        assert!(sound(&scene(Vec::new(), None)).iter().all(|&sample| sample == 0.0));
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let contact = Contact { time_s: 1.5, ..contact(ContactKind::Catch, &mut rng) };
        let samples = sound(&scene(vec![contact], None));
        assert!(samples[..18_000].iter().all(|&sample| sample == 0.0));
        assert!(samples[18_000..18_012].iter().any(|&sample| sample != 0.0));
        assert!(samples[20_400..].iter().all(|&sample| sample == 0.0));
    }

    #[test]
    fn speech_and_contacts_are_both_heard() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let step = Contact { time_s: 1.2, impulse_n_s: 1.0, ..contact(ContactKind::Step, &mut rng) };
        for phrase in Phrase::ALL {
            let speech = Speech { speaker: 0, voice: Voice::sample(&mut rng), start_s: 1.0, phrase };
            let spoken = sound(&scene(Vec::new(), Some(speech.clone())));
            let wave = contact_wave(&step, 7);
            let loudest = spoken.chunks(LOUDNESS_SAMPLES).map(rms).fold(0.0, f32::max);
            assert!((0.3..8.0).contains(&(loudest / rms(&wave) / 3.0)), "{phrase:?}: {loudest}");
            let both = sound(&scene(vec![step], Some(speech)));
            assert!(both.iter().all(|sample| sample.abs() <= 1.0));
            // Below the limit the two simply add up.
            for (index, part) in wave.iter().enumerate() {
                let at = start(&step) + index;
                let sum = spoken[at] + part;
                assert!(sum.abs() > 0.8 || (both[at] - sum).abs() < 1e-6);
            }
        }
    }
}
