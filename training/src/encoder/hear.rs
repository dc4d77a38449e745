//! Hears: samples enter; impacts, and what somebody says, leave.
//!
//! An impact begins where the spectrum grows at once and the ear agrees that something strikes; its loudness
//! and timbre are the sound autoencoder's. Where it overlaps another or a voice, its code is fitted: what is
//! heard should be what sounded already and the impact together. INVARIANT: silence holds nothing, and what is
//! heard of an impact depends on half a second after it alone.

use burn::tensor::{Device, Tensor, TensorData};

use crate::cholesky::solve;
use crate::model::Model;
use crate::model::ear::{AHEAD, HEARD, Moments, Uttered, middle};
use crate::model::latents::INSTANTS_PER_S;
use crate::model::sound::{Atoms, IMPACT_SAMPLES, SoundAutoencoder, Spectra, loudness, spectra};
use crate::model::voice::hear;
use crate::onset::onsets;
use crate::performance::{Impact, Utterance, voice_of};
use crate::train::normalised;
use crate::world::speech::synthesise;
use crate::world::{SAMPLE_RATE, VoiceFrame};

/// An onset at which the ear hears less of a strike is none: a voice begins, or a partial beats.
const STRIKES: f32 = 0.35;
/// While somebody speaks the ear must be surer.
const STRIKES_IN_SPEECH: f32 = 0.5;
/// Instants around an onset in which the ear may hear it.
const NEAR: usize = 1;
/// An impact quieter than this is not heard.
const FAINTEST_LOUDNESS: f32 = -6.0;
/// A voice fainter than this is silence.
const FAINTEST_VOICE: f32 = 0.08;
/// Who speaks is at some time as loud as this.
const SPEAKING: f32 = 0.35;
/// Instants at least that somebody speaks.
const SHORTEST_SPEECH: usize = 5;
/// Breath of the voice that is laid under an impact.
const VOICE_SEED: u64 = 0x5eec;
/// Turns of an overlapped impact's code.
const ROUNDS: usize = 3;
/// Change of a code's number over which slopes are measured.
const CODE_STEP: f32 = 0.08;

/// What was heard.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Sounds {
    pub(super) impacts: Vec<Impact>,
    /// Its speaker is the first person.
    pub(super) utterance: Option<Utterance>,
}

/// Hears with one model.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hearer<'a> {
    pub(super) model: &'a Model,
    pub(super) atoms: &'a Atoms,
    pub(super) device: &'a Device,
}

impl Hearer<'_> {
    /// What sounds in samples at [`SAMPLE_RATE`], in which somebody may speak.
    pub(super) fn hear(&self, samples: &[f32], may_speak: bool) -> Sounds {
        if samples.iter().all(|sample| sample.abs() < 1e-5) {
            return Sounds::default();
        }
        let uttered = self.listen(samples);
        let utterance = if may_speak { self.utterance(&uttered, samples) } else { None };
        let strikes = strikes(&uttered, utterance.as_ref(), samples);
        Sounds { impacts: self.impacts(&strikes, utterance.as_ref(), samples), utterance }
    }

    /// What the ear reads at each instant.
    fn listen(&self, samples: &[f32]) -> Vec<Uttered> {
        let ear = Moments::new();
        let count = (samples.len() as f32 / SAMPLE_RATE as f32 * INSTANTS_PER_S).ceil() as usize;
        let moments: Vec<_> = (0..count + AHEAD).map(|instant| ear.moment(samples, instant)).collect();
        let heard: Vec<f32> = (0..count).flat_map(|instant| Moments::heard(&moments, instant)).collect();
        let heard = Tensor::<2>::from_data(TensorData::new(heard, [count, HEARD]), self.device);
        let read = self.model.ear.forward(heard);
        let width = read.dims()[1];
        // The devices hold f32 here by construction.
        let numbers: Vec<f32> = read.try_into_vec_as::<f32>().unwrap_or_default();
        numbers.chunks_exact(width).map(Uttered::of).collect()
    }

    fn utterance(&self, uttered: &[Uttered], samples: &[f32]) -> Option<Utterance> {
        let loud = |uttered: &&Uttered| uttered.frame.voiced > SPEAKING;
        if uttered.iter().filter(loud).count() < SHORTEST_SPEECH {
            return None;
        }
        let first = uttered.iter().position(|uttered| loud(&uttered))?;
        let last = uttered.iter().rposition(|uttered| loud(&uttered))?;
        let span = middle(first)..middle(last + 1).min(samples.len());
        let heard = hear(samples.get(span)?)?;
        let width = heard.len();
        let heard = Tensor::<2>::from_data(TensorData::new(heard, [1, width]), self.device);
        let numbers: Vec<f32> = self.model.voices.forward(heard).try_into_vec_as::<f32>().ok()?;
        let voice = voice_of(&numbers);
        let frames = uttered.iter().map(|uttered| {
            let frame = uttered.frame;
            let amplitude = |value: f32| if value < FAINTEST_VOICE { 0.0 } else { value };
            let (voiced, noise) = (amplitude(frame.voiced), amplitude(frame.noise));
            if voiced + noise <= 0.0 {
                return VoiceFrame::default();
            }
            VoiceFrame { voiced, noise, pitch: uttered.pitch_hz / voice.pitch_hz, ..frame }
        });
        Some(Utterance { speaker: 0, voice, frames: frames.collect() })
    }

    fn impacts(&self, strikes: &[usize], utterance: Option<&Utterance>, samples: &[f32]) -> Vec<Impact> {
        let mut sounding = utterance
            .map_or_else(Vec::new, |utterance| synthesise(&utterance.frames, &utterance.voice, VOICE_SEED));
        sounding.resize(samples.len(), 0.0);
        // Spectra of the atoms are needed, and large, where impacts overlap alone.
        let mut atoms: Option<Spectra> = None;
        let mut impacts = Vec::with_capacity(strikes.len());
        for (place, &start) in strikes.iter().enumerate() {
            let end = strikes.get(place + 1).copied().unwrap_or(samples.len()).min(samples.len());
            let whole = (start + IMPACT_SAMPLES).min(samples.len());
            let Some(wave) = samples.get(start..whole) else { continue };
            let beneath = sounding.get(start..whole).unwrap_or_default();
            let alone = end >= whole && energy(beneath) < 1e-3 * energy(wave);
            let (unit, mut loud) = normalised(wave);
            let mut code = self.code(&unit);
            if !alone {
                let atoms = atoms.get_or_insert_with(|| self.atoms.spectra(self.device));
                let own = &wave[..end.saturating_sub(start).min(wave.len())];
                let early = loudness(own);
                let hidden = loudness(&beneath[..own.len().min(beneath.len())]);
                // What is left of the loudness when what sounded already is taken away.
                let left = ((2.0 * early).exp() - (2.0 * hidden).exp()).max(0.05 * (2.0 * early).exp());
                let truncated: Vec<f32> = own.iter().map(|sample| sample * (-early).exp()).collect();
                let start = [self.code(&truncated), vec![0.5 * left.ln()]].concat();
                let fitted = self.fit(start, wave, beneath, own.len(), atoms);
                loud = fitted.last().copied().unwrap_or(early);
                code = fitted.into_iter().take(code.len()).collect();
            }
            if loud < FAINTEST_LOUDNESS {
                continue;
            }
            let amplitudes = self.amplitudes(&code, 1);
            if let (Some(rest), Some(amplitudes)) = (sounding.get_mut(start..), amplitudes.first()) {
                self.atoms.play(amplitudes, loud.exp(), rest);
            }
            impacts.push(Impact { time_s: start as f32 / SAMPLE_RATE as f32, loudness: loud, timbre: code });
        }
        impacts
    }

    fn code(&self, wave: &[f32]) -> Vec<f32> {
        let codes = self.model.sound.encode(spectra(&[wave], self.device).magnitudes());
        codes.try_into_vec_as::<f32>().unwrap_or_default()
    }

    fn amplitudes(&self, codes: &[f32], count: usize) -> Vec<Vec<f32>> {
        let width = codes.len() / count.max(1);
        let codes = Tensor::<2>::from_data(TensorData::new(codes.to_vec(), [count, width]), self.device);
        let values: Vec<f32> = self.model.sound.decode(codes).try_into_vec_as::<f32>().unwrap_or_default();
        values.chunks_exact(Atoms::COUNT).map(<[f32]>::to_vec).collect()
    }

    /// The code and loudness whose sound, with what lies beneath it, is most like what is heard of the first
    /// `own` samples, by Gauss and Newton.
    fn fit(&self, start: Vec<f32>, wave: &[f32], beneath: &[f32], own: usize, atoms: &Spectra) -> Vec<f32> {
        let heard = self.magnitudes(wave);
        let beneath = self.magnitudes(beneath);
        // Hops whose window lies before the next impact.
        let share = (own as f32 / IMPACT_SAMPLES as f32).clamp(0.0, 1.0);
        let seen = ((heard.len() as f32 * share) as usize).max(heard.len() / 24);
        let scale = start.last().map_or(1.0, |loud| (-loud).exp());
        let felt = |magnitude: f32| (20.0 * scale * magnitude).ln_1p();
        let target: Vec<f32> = heard.iter().take(seen).map(|&magnitude| felt(magnitude)).collect();
        let render = |rows: &[Vec<f32>]| -> Vec<Vec<f32>> {
            let codes: Vec<f32> =
                rows.iter().flat_map(|row| row[..row.len() - 1].iter().map(|c| c.clamp(-2.0, 2.0))).collect();
            let width = codes.len() / rows.len().max(1);
            let codes = Tensor::<2>::from_data(TensorData::new(codes, [rows.len(), width]), self.device);
            let magnitudes = SoundAutoencoder::spectra(self.model.sound.decode(codes), atoms).magnitudes();
            let length = magnitudes.dims()[1];
            let values: Vec<f32> = magnitudes.try_into_vec_as::<f32>().unwrap_or_default();
            values
                .chunks_exact(length.max(1))
                .zip(rows)
                .map(|(values, row)| {
                    let gain = row.last().map_or(0.0, |loud| loud.exp());
                    let both = values.iter().zip(&beneath).take(seen);
                    both.map(|(&own, &under)| felt((gain * own).hypot(under))).collect()
                })
                .collect()
        };
        let error = |row: &[f32]| -> f32 { row.iter().zip(&target).map(|(a, b)| (a - b).powi(2)).sum() };
        let mut best = start;
        for _ in 0..ROUNDS {
            let mut rows = vec![best.clone()];
            for place in 0..best.len() {
                let mut beside = best.clone();
                beside[place] += CODE_STEP;
                rows.push(beside);
            }
            let drawn = render(&rows);
            let Some((here, beside)) = drawn.split_first() else { break };
            let slopes: Vec<Vec<f32>> = beside
                .iter()
                .map(|row| row.iter().zip(here).map(|(a, b)| (a - b) / CODE_STEP).collect())
                .collect();
            let rest: Vec<f32> = target.iter().zip(here).map(|(a, b)| a - b).collect();
            let product = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            let mut normal: Vec<Vec<f32>> =
                slopes.iter().map(|row| slopes.iter().map(|column| product(row, column)).collect()).collect();
            for (place, row) in normal.iter_mut().enumerate() {
                // A code is not trusted to be far from where it began.
                row[place] += 0.1 * row[place] + 2.0;
            }
            let pull = slopes.iter().map(|row| product(row, &rest)).collect();
            let Some(turn) = solve(normal, pull) else { break };
            let tries: Vec<Vec<f32>> = [1.0, 0.4]
                .map(|share| best.iter().zip(&turn).map(|(b, t)| b + share * t.clamp(-1.0, 1.0)).collect())
                .to_vec();
            let errors: Vec<f32> = render(&tries).iter().map(|row| error(row)).collect();
            let Some((place, found)) = errors.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)) else {
                break;
            };
            if *found >= error(here) {
                break;
            }
            best.clone_from(&tries[place]);
        }
        for number in best.iter_mut().rev().skip(1) {
            *number = number.clamp(-2.0, 2.0);
        }
        best
    }

    fn magnitudes(&self, wave: &[f32]) -> Vec<f32> {
        spectra(&[wave], self.device).magnitudes().try_into_vec_as::<f32>().unwrap_or_default()
    }
}

/// The samples at which something strikes.
fn strikes(uttered: &[Uttered], utterance: Option<&Utterance>, samples: &[f32]) -> Vec<usize> {
    onsets(samples, SAMPLE_RATE)
        .into_iter()
        .filter_map(|onset| {
            let instant = (onset.time_s as f32 * INSTANTS_PER_S).round() as usize;
            let near = instant.saturating_sub(NEAR)..=instant + NEAR;
            let strike = near.clone().filter_map(|at| uttered.get(at)).map(|uttered| uttered.strike);
            let speaks = utterance.is_some_and(|utterance| {
                near.filter_map(|at| utterance.frames.get(at)).any(|frame| frame.voiced + frame.noise > 0.0)
            });
            let least = if speaks { STRIKES_IN_SPEECH } else { STRIKES };
            let sample = (onset.time_s * f64::from(SAMPLE_RATE)).round() as usize;
            (strike.fold(0.0, f32::max) > least).then_some(sample)
        })
        .collect()
}

fn energy(samples: &[f32]) -> f32 {
    samples.iter().map(|sample| sample * sample).sum()
}
