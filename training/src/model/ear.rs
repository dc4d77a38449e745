//! The ear: sound around an instant enters; what a voice does there, as in a [`VoiceFrame`], and whether something
//! strikes leave.
//!
//! It hears loudness in mel bands and what repeats, at the instant and at its neighbours, so it answers two
//! instants late. INVARIANT: any samples give finite numbers.

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::latents::{INSTANTS_PER_S, VOICE_FRAME};
use super::mlp::Mlp;
use crate::judge::hearing::{Mel, WINDOW, pitch};
use crate::size::ModelConfig;
use crate::world::{SAMPLE_RATE, VoiceFrame};

const BANDS: usize = 24;
/// Mel bands, the pitch and how clear it is.
const MOMENT: usize = BANDS + 2;
/// Instants that are heard together.
const TOGETHER: usize = 5;
/// Instants of these that come later than the one that is asked about.
pub(crate) const AHEAD: usize = 2;
/// Numbers that an instant is heard as.
pub(crate) const HEARD: usize = TOGETHER * MOMENT;
/// Numbers that the ear reads of an instant: a voice frame, and how near an impact is.
pub(crate) const EAR_FACTS: usize = VOICE_FRAME + 1;
/// Pitches count from this one, in octaves.
const MIDDLE_HZ: f32 = 150.0;

#[derive(Module, Debug)]
pub(crate) struct Ear {
    layers: Mlp,
}

impl Ear {
    pub(crate) fn new(config: &ModelConfig, device: &Device) -> Self {
        let width = config.sound_width;
        Self { layers: Mlp::new(&[HEARD, width, width, EAR_FACTS], device) }
    }

    /// # Shapes
    /// - heard: `[instants, HEARD]`, of [`Moments`]; output: `[instants, 7]`, of [`Uttered`].
    pub(crate) fn forward(&self, heard: Tensor<2>) -> Tensor<2> {
        self.layers.forward(heard)
    }
}

/// What sounds at one instant: a voice, with its pitch in Hz instead of relative to a speaker, and an impact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Uttered {
    pub(crate) frame: VoiceFrame,
    pub(crate) pitch_hz: f32,
    /// 1 where something strikes, falling to 0 within two instants.
    pub(crate) strike: f32,
}

impl Uttered {
    /// The ear's numbers of it.
    pub(crate) fn numbers(&self) -> [f32; EAR_FACTS] {
        let frame = &self.frame;
        [
            frame.voiced,
            frame.noise,
            (self.pitch_hz.max(1.0) / MIDDLE_HZ).log2(),
            frame.formants_hz[0] / 1000.0,
            frame.formants_hz[1] / 1000.0,
            frame.noise_hz / 1000.0,
            self.strike,
        ]
    }

    /// The inverse of [`Uttered::numbers`], within what a voice can do.
    pub(crate) fn of(numbers: &[f32]) -> Self {
        let number = |place: usize, low: f32, high: f32| {
            numbers.get(place).copied().filter(|number| number.is_finite()).unwrap_or(0.0).clamp(low, high)
        };
        Self {
            frame: VoiceFrame {
                voiced: number(0, 0.0, 1.0),
                noise: number(1, 0.0, 1.0),
                pitch: 1.0,
                formants_hz: [1000.0 * number(3, 0.15, 1.2), 1000.0 * number(4, 0.5, 3.0)],
                noise_hz: 1000.0 * number(5, 0.3, 5.5),
            },
            pitch_hz: MIDDLE_HZ * number(2, -1.5, 1.5).exp2(),
            strike: number(6, 0.0, 1.0),
        }
    }
}

/// Hears samples at [`SAMPLE_RATE`] instant by instant.
#[derive(Debug)]
pub(crate) struct Moments {
    mel: Mel,
}

impl Moments {
    pub(crate) fn new() -> Self {
        Self { mel: Mel::new(BANDS, SAMPLE_RATE) }
    }

    /// The instant alone, without its neighbours.
    pub(crate) fn moment(&self, samples: &[f32], instant: usize) -> [f32; MOMENT] {
        let first = middle(instant) as isize - (WINDOW / 2) as isize;
        let at = |index: usize| usize::try_from(first + index as isize).ok();
        let window: Vec<f32> = (0..WINDOW)
            .map(|index| at(index).and_then(|at| samples.get(at)).copied().unwrap_or(0.0))
            .collect();
        let mut numbers = [0.0; MOMENT];
        for (number, power) in numbers.iter_mut().zip(self.mel.log_power(&window)) {
            *number = (power + 9.0) / 4.0;
        }
        if let Some(pitch) = pitch(&window, SAMPLE_RATE) {
            numbers[BANDS] = pitch.clarity * (pitch.hz / MIDDLE_HZ).log2();
            numbers[BANDS + 1] = pitch.clarity;
        }
        numbers
    }

    /// What the ear is told of an instant, from the moments up to [`AHEAD`] after it.
    pub(crate) fn heard(moments: &[[f32; MOMENT]], instant: usize) -> Vec<f32> {
        let last = moments.len().saturating_sub(1);
        let near = (instant + AHEAD + 1).saturating_sub(TOGETHER)..=instant + AHEAD;
        // The first instants hear the very first one in place of what was before.
        let missing = TOGETHER - near.clone().count();
        let places = std::iter::repeat_n(0, missing).chain(near).map(|place| place.min(last));
        places.filter_map(|place| moments.get(place)).flatten().copied().collect()
    }
}

/// The sample at an instant.
pub(crate) const fn middle(instant: usize) -> usize {
    instant * SAMPLE_RATE as usize / INSTANTS_PER_S as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_uttered_comes_back_from_its_numbers() {
        let frame = VoiceFrame {
            voiced: 0.7,
            noise: 0.1,
            pitch: 1.0,
            formants_hz: [540.0, 1700.0],
            noise_hz: 2500.0,
        };
        let uttered = Uttered { frame, pitch_hz: 210.0, strike: 0.5 };
        let back = Uttered::of(&uttered.numbers());
        assert!((back.pitch_hz - 210.0).abs() < 0.1 && (back.frame.formants_hz[1] - 1700.0).abs() < 0.1);
        assert!((back.frame.voiced - 0.7).abs() < 1e-6 && (back.strike - 0.5).abs() < 1e-6);
        assert!(Uttered::of(&[f32::NAN; 6]).frame.voiced.abs() < f32::EPSILON);
        assert!(Uttered::of(&[]).frame.noise.abs() < f32::EPSILON);
    }

    #[test]
    fn what_comes_later_than_needed_is_not_heard() {
        let samples: Vec<f32> = (0..12_000).map(|i| (0.07 * i as f32).sin() * 0.3).collect();
        let moments = Moments::new();
        let hear = |samples: &[f32], instant: usize| {
            let heard: Vec<_> = (0..=instant + AHEAD).map(|at| moments.moment(samples, at)).collect();
            Moments::heard(&heard, instant)
        };
        for instant in [0, 1, 7, 20] {
            let heard = hear(&samples, instant);
            assert_eq!(heard.len(), HEARD);
            assert_eq!(heard, hear(&samples[..middle(instant + AHEAD) + WINDOW / 2], instant));
        }
    }
}
