//! Finds impacts in a clip's sound: samples enter; when something strikes and how loud it is leave.
//!
//! An onset is where the spectrum grows at once (spectral flux over a few milliseconds), against the loudest
//! of what came just before, so that partials that beat do not count; its first sample is then looked for.
//! INVARIANT: silence has no onsets, and what only fades away has none either.

use std::f32::consts::TAU;

/// Samples between two looks: 2.7 ms at 12 kHz.
const HOP: usize = 32;
/// Samples in a look.
const WINDOW: usize = 128;
/// Looks back of which the loudest counts.
const BEFORE: usize = 9;
/// Magnitude from which a bin is heard.
const HEARD: f32 = 2e-3;
/// Mean rise of the logarithmic spectrum that makes an onset.
const RISE: f32 = 0.22;
/// Onsets nearer than this are one.
const NEAREST_S: f32 = 0.02;
/// Over this long an impact reaches its peak.
const PEAK_S: f32 = 0.03;

/// One onset.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Onset {
    pub(crate) time_s: f64,
    pub(crate) peak_db: f64,
}

/// Onsets, in order of time.
pub(crate) fn onsets(samples: &[f32], sample_rate: u32) -> Vec<Onset> {
    let rate = sample_rate.max(1) as f32;
    let flux = flux(samples);
    let apart = ((NEAREST_S * rate) as usize / HOP).max(1);
    let mut found: Vec<Onset> = Vec::new();
    for (look, &rise) in flux.iter().enumerate() {
        let around = &flux[look.saturating_sub(apart / 2)..(look + apart / 2 + 1).min(flux.len())];
        if rise < RISE || around.iter().any(|&other| other > rise) {
            continue;
        }
        let start = first_sample(samples, look);
        let time_s = f64::from(start as f32 / rate);
        if found.last().is_some_and(|last| time_s - last.time_s < f64::from(NEAREST_S)) {
            continue;
        }
        let peak = samples
            .iter()
            .skip(start)
            .take((PEAK_S * rate) as usize)
            .fold(1e-6, |peak: f32, sample| peak.max(sample.abs()));
        found.push(Onset { time_s, peak_db: f64::from(20.0 * peak.log10()) });
    }
    found
}

/// How much each look is louder than the loudest of those before it, in mean natural logarithms of its bins.
fn flux(samples: &[f32]) -> Vec<f32> {
    let bins = WINDOW / 2;
    let waves: Vec<(f32, f32)> = (0..WINDOW)
        .map(|index| TAU * index as f32 / WINDOW as f32)
        .map(|angle| (angle.cos(), angle.sin()))
        .collect();
    let looks: Vec<Vec<f32>> = (0..samples.len() / HOP)
        .map(|look| {
            // The newest sample of a look is the last of its hop.
            let end = (look + 1) * HOP;
            let window: Vec<f32> = (0..WINDOW)
                .map(|index| {
                    let sample = (end + index).checked_sub(WINDOW).and_then(|at| samples.get(at));
                    sample.copied().unwrap_or(0.0) * (0.5 - 0.5 * waves[index].0)
                })
                .collect();
            if window.iter().all(|sample| sample.abs() < 1e-6) {
                return vec![0.0; bins];
            }
            (1..=bins)
                .map(|bin| {
                    let (mut real, mut imaginary) = (0.0_f32, 0.0_f32);
                    for (index, sample) in window.iter().enumerate() {
                        let (cos, sin) = waves[index * bin % WINDOW];
                        real += sample * cos;
                        imaginary += sample * sin;
                    }
                    (1.0 + real.hypot(imaginary) / (WINDOW as f32 / 4.0 * HEARD)).ln()
                })
                .collect()
        })
        .collect();
    (0..looks.len())
        .map(|look| {
            let earlier = &looks[look.saturating_sub(BEFORE)..look];
            let rise = looks[look].iter().enumerate().map(|(bin, &value)| {
                let loudest = earlier.iter().map(|look| look[bin]).fold(0.0, f32::max);
                (value - loudest).max(0.0)
            });
            rise.sum::<f32>() / bins as f32
        })
        .collect()
}

/// The first sample that stands out of what came before it, near a look at which the spectrum grows.
fn first_sample(samples: &[f32], look: usize) -> usize {
    let middle = ((look + 1) * HOP).saturating_sub(WINDOW / 2);
    let start = middle.saturating_sub(WINDOW / 2 + HOP);
    let end = (middle + WINDOW / 2).min(samples.len());
    let loudest = |from: usize, to: usize| {
        samples[from.min(samples.len())..to.min(samples.len())]
            .iter()
            .fold(0.0_f32, |peak, s| peak.max(s.abs()))
    };
    let peak = loudest(start, end);
    let before = loudest(start.saturating_sub(WINDOW), start);
    let level = (1.2 * before).max(0.06 * peak);
    (start..end).find(|&at| samples[at].abs() > level).unwrap_or(middle)
}

/// An onset and the contact that it belongs to, by their places in what was matched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Pair {
    pub(crate) onset: usize,
    pub(crate) contact: usize,
    /// Onset minus contact.
    pub(crate) offset_s: f64,
}

/// Onsets matched one to one with contacts, nearest first.
pub(crate) fn pairs(onsets: &[Onset], contacts_s: &[f64], within_s: f64) -> Vec<Pair> {
    let all = onsets.iter().enumerate().flat_map(|(onset, sound)| {
        contacts_s.iter().enumerate().map(move |(contact, time_s)| Pair {
            onset,
            contact,
            offset_s: sound.time_s - time_s,
        })
    });
    let mut near: Vec<Pair> = all.filter(|pair| pair.offset_s.abs() <= within_s).collect();
    near.sort_by(|a, b| a.offset_s.abs().total_cmp(&b.offset_s.abs()));
    let mut matched: Vec<Pair> = Vec::new();
    for pair in near {
        if !matched.iter().any(|other| other.onset == pair.onset || other.contact == pair.contact) {
            matched.push(pair);
        }
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::sound::sound;
    use crate::world::{Family, SAMPLE_RATE};

    fn struck(times_s: &[f32]) -> Vec<f32> {
        let mut samples = vec![0.0_f32; 24_000];
        for start_s in times_s {
            let start = (start_s * 12_000.0) as usize;
            for index in 0..4000 {
                let t = index as f32 / 12_000.0;
                samples[start + index] += 0.3 * (-20.0 * t).exp() * ((1200.0 * t).sin() + (3100.0 * t).sin());
            }
        }
        samples
    }

    #[test]
    fn a_struck_tone_starts_where_it_starts() {
        let found = onsets(&struck(&[0.25, 0.648, 1.2]), 12_000);
        assert_eq!(found.len(), 3, "{found:?}");
        for (onset, time_s) in found.iter().zip([0.25, 0.648, 1.2]) {
            assert!((onset.time_s - time_s).abs() < 0.002, "{found:?}");
        }
    }

    #[test]
    fn silence_and_what_fades_have_no_onsets() {
        assert_eq!(onsets(&vec![0.0; 12_000], 12_000), []);
        assert_eq!(onsets(&struck(&[0.25]), 12_000).len(), 1);
        let fading = onsets(&struck(&[0.25])[4000..], 12_000);
        assert!(fading.iter().all(|onset| onset.time_s < 0.02), "only the cut itself: {fading:?}");
        assert_eq!(onsets(&[], 12_000), []);
    }

    #[test]
    fn the_world_sounds_when_it_strikes() {
        let (mut offsets, mut heard, mut struck) = (Vec::new(), 0, 0);
        for seed in 0..40 {
            let scene = Family::Bounce.sample(seed);
            let found = onsets(&sound(&scene), SAMPLE_RATE);
            let contacts: Vec<f64> = scene.contacts.iter().map(|contact| f64::from(contact.time_s)).collect();
            offsets.extend(pairs(&found, &contacts, 0.1).iter().map(|pair| pair.offset_s.abs()));
            (heard, struck) = (heard + found.len(), struck + contacts.len());
        }
        assert_eq!((offsets.len(), heard), (struck, struck));
        offsets.sort_by(f64::total_cmp);
        let median = offsets[offsets.len() / 2];
        assert!(median < 0.002, "{median}");
    }

    #[test]
    fn each_contact_is_matched_once() {
        let onset = |time_s| Onset { time_s, peak_db: 0.0 };
        let matched = pairs(&[onset(1.0), onset(1.01), onset(3.0)], &[1.008, 2.0], 0.1);
        assert_eq!(matched.len(), 1);
        assert_eq!((matched[0].onset, matched[0].contact), (1, 0));
        assert!((matched[0].offset_s - 0.002).abs() < 1e-9);
    }
}
