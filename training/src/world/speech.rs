//! Speech: a phrase and a voice go in; frames of the voice, its waveform and the mouth come out.
//!
//! A phrase is a row of phonemes, each with formants for a neutral vocal tract (Peterson and Barney, 1952);
//! the frames glide from one to the next. What a frame says is independent of who speaks: the speaker's
//! [`Voice`](super::Voice) turns it into sound: harmonics and breath through a cascade of four resonators, and
//! a band of noise for what has no voice. INVARIANT: sound is a pure function of frames, voice and seed, and
//! any frames, even a model's, give finite sound.

use std::f32::consts::{PI, TAU};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{DollPose, FRAMES, SAMPLE_RATE, Speech, Voice};

/// Voice frames a second: two for each picture.
pub const VOICE_RATE: usize = 48;

/// What can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phrase {
    Hello,
    Yes,
    No,
    Wow,
    Bye,
    Go,
    Catch,
    OneTwoThree,
}

/// A voice in one instant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VoiceFrame {
    /// Amplitude of the voiced sound, 0 to 1.
    pub voiced: f32,
    /// Amplitude of the unvoiced sound, 0 to 1.
    pub noise: f32,
    /// Fundamental frequency relative to the speaker's mean.
    pub pitch: f32,
    /// First and second formant of a neutral vocal tract.
    pub formants_hz: [f32; 2],
    /// Middle of the unvoiced sound's band.
    pub noise_hz: f32,
}

/// Voice frames in a scene.
pub const VOICE_FRAMES: usize = 2 * FRAMES;
const SAMPLES_PER_VOICE_FRAME: usize = SAMPLE_RATE as usize / VOICE_RATE;

/// One sound of speech.
struct Phone {
    duration_s: f32,
    voiced: f32,
    noise: f32,
    formants_hz: [f32; 2],
    noise_hz: f32,
}

/// The band that a voiced sound would hiss in: the middle, so that glides into a hiss are short.
const RESTING_NOISE_HZ: f32 = 2500.0;

const fn vowel(duration_s: f32, first_hz: f32, second_hz: f32) -> Phone {
    Phone {
        duration_s,
        voiced: 1.0,
        noise: 0.0,
        formants_hz: [first_hz, second_hz],
        noise_hz: RESTING_NOISE_HZ,
    }
}

/// A consonant that is voiced, but less than a vowel: l, y, w, r, n, and the closed lips of b and g.
const fn glide(duration_s: f32, voiced: f32, first_hz: f32, second_hz: f32) -> Phone {
    Phone { voiced, ..vowel(duration_s, first_hz, second_hz) }
}

/// A consonant without voice, with the formants between which the voice moves around it.
const fn hiss(duration_s: f32, noise: f32, noise_hz: f32, first_hz: f32, second_hz: f32) -> Phone {
    Phone { noise, noise_hz, ..glide(duration_s, 0.0, first_hz, second_hz) }
}

const HELLO: [Phone; 5] = [
    hiss(0.06, 0.55, 1200.0, 500.0, 1700.0),
    vowel(0.1, 530.0, 1700.0),
    glide(0.08, 0.6, 350.0, 1050.0),
    vowel(0.13, 540.0, 900.0),
    vowel(0.16, 360.0, 800.0),
];
const YES: [Phone; 3] =
    [glide(0.08, 0.7, 270.0, 2250.0), vowel(0.17, 530.0, 1840.0), hiss(0.18, 0.6, 4800.0, 420.0, 1700.0)];
const NO: [Phone; 3] =
    [glide(0.1, 0.45, 250.0, 1450.0), vowel(0.15, 540.0, 950.0), vowel(0.17, 350.0, 800.0)];
const WOW: [Phone; 3] =
    [glide(0.1, 0.6, 290.0, 620.0), vowel(0.18, 730.0, 1150.0), vowel(0.18, 340.0, 780.0)];
const BYE: [Phone; 4] = [
    glide(0.05, 0.12, 200.0, 800.0),
    hiss(0.015, 0.35, 700.0, 400.0, 900.0),
    vowel(0.18, 740.0, 1200.0),
    vowel(0.19, 300.0, 2150.0),
];
const GO: [Phone; 4] = [
    glide(0.05, 0.12, 200.0, 1500.0),
    hiss(0.025, 0.5, 1700.0, 300.0, 1300.0),
    vowel(0.16, 540.0, 920.0),
    vowel(0.17, 350.0, 800.0),
];
const CATCH: [Phone; 5] = [
    hiss(0.025, 0.7, 2000.0, 400.0, 1900.0),
    hiss(0.035, 0.3, 1600.0, 500.0, 1800.0),
    vowel(0.18, 660.0, 1720.0),
    hiss(0.06, 0.0, 3600.0, 400.0, 1800.0),
    hiss(0.14, 0.65, 3200.0, 350.0, 1900.0),
];
const ONE_TWO_THREE: [Phone; 11] = [
    glide(0.08, 0.6, 290.0, 650.0),
    vowel(0.13, 640.0, 1190.0),
    glide(0.1, 0.45, 250.0, 1450.0),
    hiss(0.07, 0.0, 4000.0, 300.0, 1600.0),
    hiss(0.045, 0.65, 4000.0, 320.0, 1600.0),
    vowel(0.19, 300.0, 900.0),
    hiss(0.06, 0.0, 4600.0, 300.0, 1300.0),
    hiss(0.1, 0.3, 4600.0, 320.0, 1350.0),
    glide(0.08, 0.6, 330.0, 1100.0),
    vowel(0.22, 270.0, 2290.0),
    glide(0.05, 0.3, 280.0, 2250.0),
];

impl Phrase {
    pub const ALL: [Self; 8] =
        [Self::Hello, Self::Yes, Self::No, Self::Wow, Self::Bye, Self::Go, Self::Catch, Self::OneTwoThree];

    /// How a caption writes it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Hello => "hello",
            Self::Yes => "yes",
            Self::No => "no",
            Self::Wow => "wow",
            Self::Bye => "bye",
            Self::Go => "go",
            Self::Catch => "catch",
            Self::OneTwoThree => "one two three",
        }
    }

    pub fn duration_s(self) -> f32 {
        self.phones().iter().map(|phone| phone.duration_s).sum()
    }

    fn phones(self) -> &'static [Phone] {
        match self {
            Self::Hello => &HELLO,
            Self::Yes => &YES,
            Self::No => &NO,
            Self::Wow => &WOW,
            Self::Bye => &BYE,
            Self::Go => &GO,
            Self::Catch => &CATCH,
            Self::OneTwoThree => &ONE_TWO_THREE,
        }
    }

    /// Pitch at equally spaced times from the first sound to the last.
    fn melody(self) -> &'static [f32] {
        match self {
            Self::Hello => &[0.98, 1.04, 1.24, 0.86],
            Self::Yes => &[1.12, 1.18, 0.86],
            Self::No => &[1.14, 1.08, 0.82],
            Self::Wow => &[0.9, 1.32, 0.8],
            Self::Bye => &[1.18, 1.05, 1.0, 0.92],
            Self::Go => &[1.14, 1.2, 0.92],
            Self::Catch => &[1.2, 1.16, 1.0],
            Self::OneTwoThree => &[0.98, 1.08, 0.94, 1.08, 0.96, 1.14, 0.86],
        }
    }

    /// The voice `time_s` after the phrase began.
    fn at(self, time_s: f32) -> VoiceFrame {
        // The mouth takes time: formants glide slowly, loudness faster, a hiss jumps.
        let voiced = self.glided(time_s, 0.04, |phone| phone.voiced).0;
        let noise = self.glided(time_s, 0.024, |phone| phone.noise).0;
        if voiced + noise <= 0.0 {
            return VoiceFrame::default();
        }
        let mean = |window_s, value: fn(&Phone) -> f32| {
            let (sum, share) = self.glided(time_s, window_s, value);
            sum / share.max(1e-6)
        };
        VoiceFrame {
            voiced,
            noise,
            pitch: melodic(self.melody(), time_s / self.duration_s()),
            formants_hz: [mean(0.07, |phone| phone.formants_hz[0]), mean(0.07, |phone| phone.formants_hz[1])],
            noise_hz: mean(0.04, |phone| phone.noise_hz),
        }
    }

    /// The mean of a value over a window that is silent outside the phrase, and the share of the window
    /// inside.
    fn glided(self, time_s: f32, window_s: f32, value: impl Fn(&Phone) -> f32) -> (f32, f32) {
        let (from, to) = (time_s - window_s / 2.0, time_s + window_s / 2.0);
        let (mut sum, mut share, mut start) = (0.0, 0.0, 0.0);
        for phone in self.phones() {
            let overlap = (to.min(start + phone.duration_s) - from.max(start)).max(0.0) / window_s;
            sum += overlap * value(phone);
            share += overlap;
            start += phone.duration_s;
        }
        (sum, share)
    }
}

fn melodic(melody: &[f32], place: f32) -> f32 {
    let place = place.clamp(0.0, 1.0) * (melody.len() - 1) as f32;
    let before = (place as usize).min(melody.len() - 2);
    let share = place - before as f32;
    melody[before] + share * (melody[before + 1] - melody[before])
}

/// A phrase from its beginning to its end, a frame each 1/48 s.
pub fn frames(phrase: Phrase) -> Vec<VoiceFrame> {
    let count = (phrase.duration_s() * VOICE_RATE as f32).ceil() as usize + 1;
    (0..count).map(|row| phrase.at(row as f32 / VOICE_RATE as f32)).collect()
}

impl Speech {
    /// One of the phrases, begun at some time of the window such that it ends within it, or as soon as it can.
    pub(super) fn sample(rng: &mut impl Rng, voice: Voice, phrases: &[Phrase], window_s: (f32, f32)) -> Self {
        let phrase = phrases.choose(rng).copied().unwrap_or(Phrase::Hello);
        let latest_s = (window_s.1 - phrase.duration_s()).max(window_s.0);
        let start_s = window_s.0 + rng.random::<f32>() * (latest_s - window_s.0);
        Self { speaker: 0, voice, start_s, phrase }
    }

    /// The speaker's poses, speaking.
    pub(super) fn spoken_by(&self, mut poses: Vec<DollPose>) -> Vec<DollPose> {
        for (pose, opening) in poses.iter_mut().zip(mouth(&self.frames())) {
            pose.mouth = opening;
        }
        poses
    }

    /// The whole scene's voice, silent before and after the phrase.
    pub fn frames(&self) -> Vec<VoiceFrame> {
        (0..VOICE_FRAMES).map(|row| self.phrase.at(row as f32 / VOICE_RATE as f32 - self.start_s)).collect()
    }
}

/// How far the mouth is open in each picture.
pub fn mouth(frames: &[VoiceFrame]) -> Vec<f32> {
    frames
        .iter()
        .step_by(2)
        .map(|frame| {
            // The jaw's opening is what the first formant hears; a hiss passes nearly closed teeth.
            let frame = frame.possible();
            let jaw = ((frame.formants_hz[0] - 150.0) / 580.0).clamp(0.1, 1.0);
            (frame.voiced * jaw + 0.15 * frame.noise).clamp(0.0, 1.0)
        })
        .collect()
}

/// A two-pole resonance of unit gain at 0 Hz.
#[derive(Clone, Copy, Default)]
struct Resonator {
    gain: f32,
    first: f32,
    second: f32,
    past: [f32; 2],
}

impl Resonator {
    fn tune(&mut self, centre_hz: f32, bandwidth_hz: f32) {
        let radius = (-PI * bandwidth_hz / SAMPLE_RATE as f32).exp();
        self.first = 2.0 * radius * (TAU * centre_hz / SAMPLE_RATE as f32).cos();
        self.second = -radius * radius;
        self.gain = 1.0 - self.first - self.second;
    }

    fn filter(&mut self, input: f32) -> f32 {
        let output = self.gain * input + self.first * self.past[0] + self.second * self.past[1];
        self.past = [output, self.past[0]];
        output
    }

    /// Magnitude of the response at a frequency.
    fn response(&self, hz: f32) -> f32 {
        let (sin, cos) = (TAU * hz / SAMPLE_RATE as f32).sin_cos();
        let real = 1.0 - self.first * cos - self.second * (2.0 * cos * cos - 1.0);
        let imaginary = self.first * sin + self.second * 2.0 * sin * cos;
        self.gain / real.hypot(imaginary)
    }
}

/// The throat and mouth of one speaker.
struct Tract {
    resonators: [Resonator; 4],
    scale: f32,
}

impl Tract {
    fn new(scale: f32) -> Self {
        let mut resonators = [Resonator::default(); 4];
        resonators[2].tune(2500.0 * scale, 140.0);
        resonators[3].tune(3500.0 * scale, 220.0);
        Self { resonators, scale }
    }

    fn shape(&mut self, formants_hz: [f32; 2]) {
        self.resonators[0].tune(formants_hz[0] * self.scale, 70.0);
        self.resonators[1].tune(formants_hz[1] * self.scale, 100.0);
    }

    fn filter(&mut self, input: f32) -> f32 {
        self.resonators.iter_mut().fold(input, |sample, resonator| resonator.filter(sample))
    }

    fn response(&self, hz: f32) -> f32 {
        self.resonators.iter().map(|resonator| resonator.response(hz)).product()
    }
}

/// Harmonics above this are not sounded, those from a little below it are softened, so that one that rises
/// through it does not click.
const HIGHEST_HZ: f32 = 5700.0;
const SOFTENED_HZ: f32 = 900.0;
/// Root mean square of a neutral vowel at full voice.
const VOWEL_RMS: f32 = 0.13;
const HISS_LEVEL: f32 = 0.16;
/// All breath and no voice would be this loud; breath carries less than pulses do.
const BREATH_LEVEL: f32 = 0.4;
/// No tract rings on for longer.
const RINGING_SAMPLES: usize = SAMPLE_RATE as usize / 6;
/// White noise between -1 and 1 has this root mean square.
const WHITE_RMS: f32 = 0.577;

/// The pulses of a glottis as their harmonics.
struct Glottis {
    /// Amplitudes of the harmonics by the spectrum's slope.
    harmonics: Vec<f32>,
    gain: f32,
    breath_gain: f32,
    phase: f32,
}

impl Glottis {
    fn new(voice: &Voice) -> Self {
        // Lips radiate high sounds better, by 6 dB an octave.
        let slope = (voice.tilt_db + 6.0) / 6.02;
        let count = (HIGHEST_HZ / (0.4 * voice.pitch_hz)) as usize;
        let harmonics: Vec<f32> = (1..=count).map(|n| (n as f32).powf(slope)).collect();
        // Every voice says a neutral vowel equally loud.
        let mut neutral = Tract::new(voice.tract);
        neutral.shape([500.0, 1500.0]);
        let power: f32 = harmonics
            .iter()
            .zip(1..)
            .map(|(amplitude, n)| (n as f32 * voice.pitch_hz, amplitude))
            .take_while(|&(hz, _)| hz < HIGHEST_HZ)
            .map(|(hz, amplitude)| (amplitude * softened(hz) * neutral.response(hz)).powi(2) / 2.0)
            .sum();
        let grid = (1..60).map(|n| 100.0 * n as f32);
        let passed = grid.clone().map(|hz| neutral.response(hz).powi(2)).sum::<f32>() / grid.count() as f32;
        Self {
            harmonics,
            gain: 1.0 / power.sqrt().max(1e-6),
            breath_gain: BREATH_LEVEL / (WHITE_RMS * passed.sqrt()).max(1e-6),
            phase: 0.0,
        }
    }

    fn next(&mut self, pitch_hz: f32) -> f32 {
        self.phase = (self.phase + pitch_hz / SAMPLE_RATE as f32).fract();
        // cos(n x) from the two before it.
        let twice = 2.0 * (TAU * self.phase).cos();
        let (mut before, mut now) = (1.0, twice / 2.0);
        let mut sum = 0.0;
        for (amplitude, n) in self.harmonics.iter().zip(1..) {
            let hz = n as f32 * pitch_hz;
            if hz >= HIGHEST_HZ {
                break;
            }
            sum += amplitude * softened(hz) * now;
            (before, now) = (now, twice * now - before);
        }
        self.gain * sum
    }
}

fn softened(hz: f32) -> f32 {
    ((HIGHEST_HZ - hz) / SOFTENED_HZ).min(1.0)
}

/// A band of noise around a frequency.
#[derive(Default)]
struct Band {
    input: [f32; 2],
    output: [f32; 2],
}

impl Band {
    fn filter(&mut self, input: f32, centre_hz: f32) -> f32 {
        let (sin, cos) = (TAU * centre_hz / SAMPLE_RATE as f32).sin_cos();
        let alpha = sin / 2.4;
        let output = (alpha * (input - self.input[1]) + 2.0 * cos * self.output[0]
            - (1.0 - alpha) * self.output[1])
            / (1.0 + alpha);
        self.input = [input, self.input[0]];
        self.output = [output, self.output[0]];
        output
    }
}

/// What frames say in a voice, at [`SAMPLE_RATE`]; the seed is that of the noise.
pub fn synthesise(frames: &[VoiceFrame], voice: &Voice, seed: u64) -> Vec<f32> {
    let voice = voice.possible();
    let mut noise = ChaCha8Rng::seed_from_u64(seed);
    let (mut tract, mut glottis, mut band) = (Tract::new(voice.tract), Glottis::new(&voice), Band::default());
    // A little wavering; a pitch that is too even sounds like a machine.
    let waver_start: f32 = noise.random();
    let mut samples = vec![0.0; frames.len() * SAMPLES_PER_VOICE_FRAME];
    let mut said =
        VoiceFrame { pitch: 1.0, formants_hz: [500.0, 1500.0], noise_hz: 2500.0, ..VoiceFrame::default() };
    tract.shape(said.formants_hz);
    let mut silent = RINGING_SAMPLES;
    for (index, sample) in samples.iter_mut().enumerate() {
        let row = index / SAMPLES_PER_VOICE_FRAME;
        let share = (index % SAMPLES_PER_VOICE_FRAME) as f32 / SAMPLES_PER_VOICE_FRAME as f32;
        let now = frames.get(row).copied().unwrap_or_default();
        let next = frames.get(row + 1).copied().unwrap_or_default();
        said = between(&now, &next, share, &said);
        let (mut source, mut hiss) = (0.0, 0.0);
        silent += 1;
        if said.voiced > 0.0 || said.noise > 0.0 {
            silent = 0;
            let white = noise.random_range(-1.0..1.0_f32);
            let waver = (TAU * (5.3 * index as f32 / SAMPLE_RATE as f32 + waver_start)).sin();
            let pulses = glottis.next(voice.pitch_hz * said.pitch * (1.0 + 0.006 * waver));
            // Air rushes most while the glottis is open, which is between the pulses.
            let open = 0.6 - 0.4 * (TAU * glottis.phase).cos();
            let breath = glottis.breath_gain * open * white;
            // Close vowels pass less sound, and are spoken with more effort.
            let effort = (500.0 / said.formants_hz[0]).sqrt();
            source = effort * said.voiced * ((1.0 - voice.breath) * pulses + voice.breath * breath);
            hiss = said.noise * white / WHITE_RMS;
            tract.shape(said.formants_hz);
        } else if silent > RINGING_SAMPLES {
            continue;
        }
        *sample = VOWEL_RMS * tract.filter(source) + HISS_LEVEL * band.filter(hiss, said.noise_hz);
    }
    samples
}

/// The frame a `share` of the way from one to the next. What a silent frame says of pitch and formants does
/// not matter; between two silent ones they stay as they were.
fn between(now: &VoiceFrame, next: &VoiceFrame, share: f32, last: &VoiceFrame) -> VoiceFrame {
    let (now, next) = (now.possible(), next.possible());
    let mix = |a: f32, b: f32, weight: f32| a + weight * (b - a);
    let weigh = |a: f32, b: f32| {
        let (a, b) = ((1.0 - share) * a, share * b);
        if a + b > 0.0 { Some(b / (a + b)) } else { None }
    };
    let loudness = weigh(now.voiced + now.noise, next.voiced + next.noise);
    let hiss = weigh(now.noise, next.noise);
    VoiceFrame {
        voiced: mix(now.voiced, next.voiced, share),
        noise: mix(now.noise, next.noise, share),
        pitch: loudness.map_or(last.pitch, |weight| mix(now.pitch, next.pitch, weight)),
        formants_hz: loudness.map_or(last.formants_hz, |weight| {
            [0, 1].map(|n| mix(now.formants_hz[n], next.formants_hz[n], weight))
        }),
        noise_hz: hiss.map_or(last.noise_hz, |weight| mix(now.noise_hz, next.noise_hz, weight)),
    }
}

impl VoiceFrame {
    /// The nearest frame that a person could utter.
    fn possible(&self) -> Self {
        Self {
            voiced: within(self.voiced, 0.0, 1.0),
            noise: within(self.noise, 0.0, 1.0),
            pitch: within(self.pitch, 0.4, 2.5),
            formants_hz: [
                within(self.formants_hz[0], 150.0, 1200.0),
                within(self.formants_hz[1], 500.0, 3000.0),
            ],
            noise_hz: within(self.noise_hz, 300.0, 5500.0),
        }
    }
}

impl Voice {
    /// The nearest voice that a person could have.
    fn possible(&self) -> Self {
        Self {
            pitch_hz: within(self.pitch_hz, 60.0, 400.0),
            tract: within(self.tract, 0.7, 1.4),
            breath: within(self.breath, 0.0, 1.0),
            tilt_db: within(self.tilt_db, -20.0, 0.0),
        }
    }
}

/// As `clamp`, but what is no number becomes the lower bound.
fn within(value: f32, low: f32, high: f32) -> f32 {
    value.max(low).min(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Voice = Voice { pitch_hz: 120.0, tract: 1.0, breath: 0.1, tilt_db: -12.0 };

    fn held(formants_hz: [f32; 2], count: usize) -> Vec<VoiceFrame> {
        vec![VoiceFrame { voiced: 1.0, noise: 0.0, pitch: 1.0, formants_hz, noise_hz: 2500.0 }; count]
    }

    fn rms(samples: &[f32]) -> f32 {
        (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
    }

    /// Frequency of the highest peak of the autocorrelation, refined by a parabola.
    fn pitch_hz(samples: &[f32]) -> f32 {
        let at = |lag: usize| -> f32 {
            let (a, b) = (&samples[..samples.len() - lag], &samples[lag..]);
            let dot: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
            dot / (rms(a) * rms(b) * a.len() as f32)
        };
        let rate = SAMPLE_RATE as f32;
        let heights: Vec<f32> = (0..(rate / 65.0) as usize).map(at).collect();
        let highest =
            |lags: std::ops::Range<usize>| lags.max_by(|&a, &b| heights[a].total_cmp(&heights[b])).unwrap();
        let longest = highest((rate / 350.0) as usize..heights.len() - 1);
        // Twice the period correlates as well; the period is the shortest part of it that nearly does.
        let peak = (1..=4)
            .rev()
            .map(|part| longest / part)
            .filter(|&lag| lag > (rate / 350.0) as usize)
            .map(|lag| highest(lag - 1..lag + 3))
            .find(|&lag| heights[lag] > 0.75 * heights[longest])
            .unwrap();
        let (a, b, c) = (heights[peak - 1], heights[peak], heights[peak + 1]);
        rate / (peak as f32 + 0.5 * (a - c) / (a - 2.0 * b + c))
    }

    /// Magnitude of one frequency.
    fn level(samples: &[f32], hz: f32) -> f32 {
        let (mut real, mut imaginary) = (0.0_f64, 0.0_f64);
        for (index, &sample) in samples.iter().enumerate() {
            let angle = f64::from(TAU * hz) * index as f64 / f64::from(SAMPLE_RATE);
            let window = 0.5 - 0.5 * (f64::from(TAU) * index as f64 / samples.len() as f64).cos();
            real += window * f64::from(sample) * angle.cos();
            imaginary += window * f64::from(sample) * angle.sin();
        }
        real.hypot(imaginary) as f32
    }

    #[test]
    fn a_vowel_has_the_pitch_of_the_voice() {
        for pitch in [80.0_f32, 97.0, 131.0, 178.0, 240.0, 300.0] {
            for tract in [0.82, 1.0, 1.25] {
                for breath in [0.0, 0.25, 0.5] {
                    let voice = Voice { pitch_hz: pitch, tract, breath, tilt_db: -9.0 };
                    for formants in [[730.0, 1090.0], [270.0, 2290.0], [540.0, 900.0]] {
                        let samples = synthesise(&held(formants, 40), &voice, 1);
                        let heard = pitch_hz(&samples[1000..9000]);
                        assert!((heard / pitch - 1.0).abs() < 0.02, "{heard} for {voice:?} {formants:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_first_two_formants_are_where_the_tract_puts_them() {
        for tract in [0.85, 1.0, 1.2] {
            // A low and steady tilt lets the harmonics sample the envelope densely and fairly.
            let voice = Voice { pitch_hz: 80.0, tract, breath: 0.0, tilt_db: -6.0 };
            for formants in [[730.0, 1500.0], [530.0, 1840.0], [400.0, 1700.0]] {
                let samples = synthesise(&held(formants, 40), &voice, 1);
                let harmonics: Vec<(f32, f32)> = (2..50)
                    .map(|n| 80.0 * n as f32)
                    .map(|hz| (hz, level(&samples[2000..9000], hz)))
                    .collect();
                for expected in formants.map(|hz| hz * tract) {
                    let near = harmonics.iter().filter(|(hz, _)| (hz - expected).abs() < 250.0);
                    let peak = near.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap().0;
                    assert!((peak - expected).abs() <= 60.0, "{peak} for {expected}");
                }
            }
        }
    }

    #[test]
    fn a_phrase_lasts_as_long_as_one_says_it_and_is_loud_enough() {
        for phrase in Phrase::ALL {
            let duration = phrase.duration_s();
            assert!((0.35..=1.3).contains(&duration), "{phrase:?} lasts {duration} s");
            for voice in [PLAIN, Voice { pitch_hz: 260.0, tract: 1.2, breath: 0.4, tilt_db: -5.0 }] {
                let samples = synthesise(&frames(phrase), &voice, 3);
                let loud = rms(&samples);
                let peak = samples.iter().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
                assert!((0.03..0.3).contains(&loud) && peak < 1.2, "{phrase:?} {voice:?}: {loud}, {peak}");
            }
        }
    }

    #[test]
    fn speech_neither_starts_nor_ends_with_a_click() {
        for phrase in Phrase::ALL {
            let speech = Speech { speaker: 0, voice: PLAIN, start_s: 1.234, phrase };
            let rows = speech.frames();
            assert_eq!(rows.len(), VOICE_FRAMES);
            let samples = synthesise(&rows, &PLAIN, 5);
            assert_eq!(samples.len(), super::super::SAMPLES);
            let (from, to) = (1.234 - 0.05, 1.234 + phrase.duration_s() + 0.1);
            let silent = |time_s: f32| time_s < from || time_s > to;
            for (index, pair) in samples.windows(2).enumerate() {
                let time_s = index as f32 / SAMPLE_RATE as f32;
                assert!(!silent(time_s) || pair[0].abs() < 1e-3, "{phrase:?} sounds at {time_s}");
            }
            // The first and last thousandth of a second carry nearly nothing.
            let first = samples.iter().position(|sample| *sample != 0.0).unwrap();
            assert!(rms(&samples[first..first + 24]) < 0.02, "{phrase:?}");
        }
    }

    #[test]
    fn the_mouth_is_shut_in_silence_and_opens_in_speech() {
        for phrase in Phrase::ALL {
            let speech = Speech { speaker: 0, voice: PLAIN, start_s: 0.7, phrase };
            let mouth = mouth(&speech.frames());
            assert_eq!(mouth.len(), FRAMES);
            for (frame, &opening) in mouth.iter().enumerate() {
                let time_s = frame as f32 / 24.0 - 0.7;
                let speaking = (-0.03..phrase.duration_s() + 0.03).contains(&time_s);
                assert!(speaking || opening == 0.0, "{phrase:?} at {time_s}");
            }
            assert!(mouth.iter().copied().fold(0.0, f32::max) > 0.2, "{phrase:?}");
        }
    }

    #[test]
    fn an_open_vowel_opens_the_mouth_wider() {
        assert!(mouth(&held([730.0, 1090.0], 2))[0] > 2.0 * mouth(&held([270.0, 2290.0], 2))[0]);
    }

    #[test]
    fn two_voices_say_the_same_words_differently() {
        let rows = frames(Phrase::Hello);
        let voices = [
            PLAIN,
            Voice { pitch_hz: 200.0, ..PLAIN },
            Voice { tract: 1.2, ..PLAIN },
            Voice { breath: 0.45, ..PLAIN },
            Voice { tilt_db: -5.0, ..PLAIN },
        ];
        let sounds = voices.map(|voice| synthesise(&rows, &voice, 1));
        for (index, one) in sounds.iter().enumerate() {
            for other in &sounds[..index] {
                let difference: Vec<f32> = one.iter().zip(other).map(|(a, b)| a - b).collect();
                assert!(rms(&difference) > 0.15 * rms(one));
            }
            let again = synthesise(&rows, &voices[index], 1);
            assert_eq!(one, &again);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_frames_give_finite_sound(
            values in proptest::collection::vec(proptest::num::f32::ANY, 12),
            voice in proptest::array::uniform4(proptest::num::f32::ANY),
        ) {
            let rows: Vec<VoiceFrame> = values
                .chunks(6)
                .map(|v| VoiceFrame {
                    voiced: v[0],
                    noise: v[1],
                    pitch: v[2],
                    formants_hz: [v[3], v[4]],
                    noise_hz: v[5],
                })
                .collect();
            let [pitch_hz, tract, breath, tilt_db] = voice;
            let samples = synthesise(&rows, &Voice { pitch_hz, tract, breath, tilt_db }, 1);
            proptest::prop_assert!(samples.iter().all(|sample| sample.is_finite()));
            proptest::prop_assert!(mouth(&rows).iter().all(|open| (0.0..=1.0).contains(open)));
        }
    }
}
